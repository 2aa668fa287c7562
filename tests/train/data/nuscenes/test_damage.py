"""Damaged files of nuScenes: found when opening where sizes tell, otherwise when reading."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.damage import check_sound, edits, mutate, refused_at
from tests.train.data.nuscenes.rows import token
from train.core.errors import UserError
from train.data.index import FOLDER
from train.data.nuscenes import SPEC, NuScenes

USED = ["scene", "sample", "sample_data", "calibrated_sensor", "ego_pose", "lidarseg", "category"]


@pytest.fixture
def pair(write_root) -> tuple[Path, Path, Path]:
    """Return a root with one good sweep of three points, its point file and its label file."""
    root = write_root({"scene-0001": 1})
    (points,) = (root / "samples/LIDAR_TOP").iterdir()
    (labels,) = (root / "lidarseg/v1.0-trainval").iterdir()
    return root, points, labels


def test_files_that_the_tables_name_but_are_not_there_are_counted(write_root):
    root = write_root({"scene-0001": 3, "scene-0002": 1})
    gone = sorted((root / "samples/LIDAR_TOP").glob("scene-0001*"))
    for path in gone[1:]:
        path.unlink()
    refused_at(
        gone[1],
        lambda: SPEC.open(root, "training"),
        "it and 1 more files are named",
        "v1.0-trainval",
        "unpack all parts",
    )
    assert len(SPEC.open(root, "training", sequences=["scene-0002"])) == 1
    (label,) = (root / "lidarseg/v1.0-trainval").glob(f"{token('scene-0002', 0)}*")
    label.unlink()
    refused_at(label, lambda: SPEC.open(root, "training", sequences=["scene-0002"]), "it is named")


@pytest.mark.parametrize("size", [1, 16, 19, 21, 59, 61, 72])
def test_a_size_that_is_no_multiple_of_20_is_found_when_opening(pair, size: int):
    root, points, _ = pair
    points.write_bytes(b"\0" * size)
    refused_at(points, lambda: SPEC.open(root, "training"), f"{size} bytes", "no multiple of 20")


def test_an_empty_sweep_is_found_when_opening(pair):
    root, points, labels = pair
    points.write_bytes(b"")
    labels.write_bytes(b"")
    refused_at(points, lambda: SPEC.open(root, "training"), "(0 bytes)")


def test_a_file_that_would_fill_the_memory_is_not_read(pair):
    root, points, labels = pair
    source = SPEC.open(root, "training")
    with points.open("r+b") as stream:
        stream.truncate(2 * 10**11)  # sparse: it takes no room on the disk
    for read in (lambda: SPEC.open(root, "training"), lambda: source[0]):
        refused_at(points, read, "200000000000 bytes is more than a sweep of 10,000,000 points")
    with points.open("r+b") as stream:
        stream.truncate(60)
    with labels.open("r+b") as stream:
        stream.truncate(10**11)
    refused_at(labels, lambda: source[0], "more than a sweep")


@pytest.mark.parametrize("size", [0, 2, 4, 12])
def test_a_label_file_of_another_length_is_found_when_opening(pair, size: int):
    root, _, labels = pair
    labels.write_bytes(b"\0" * size)
    refused_at(labels, lambda: SPEC.open(root, "training"), f"{size} bytes", "3 points")


def test_files_that_change_after_opening_are_found_when_reading(pair):
    root, points, labels = pair
    source = SPEC.open(root, "training")
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    refused_at(labels, lambda: source[0], "2 bytes")
    labels.write_bytes(whole)
    points.write_bytes(points.read_bytes()[:-1])
    refused_at(points, lambda: source[0], "no multiple of 20")
    points.unlink()
    refused_at(points, lambda: source[0], "cannot be read", "No such file")


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        *((value, column, "NaN or infinite values (first: point 1, x y z intensity ring = ")
          for value in (np.nan, np.inf, -np.inf) for column in range(5)),
        *((value, column, "more than 1000 m out (first: point 1, ")
          for value in (1000.5, -1e30) for column in range(3)),
        (256.0, 3, "an intensity outside 0..255 (first: point 1, "),
        (-1.0, 3, "an intensity outside 0..255 (first: point 1, "),
    ],
)  # fmt: skip
def test_a_value_that_no_sweep_has_is_named(pair, value: float, column: int, message: str):
    root, path, _ = pair
    points = np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 5).copy()
    points[1, column] = value
    path.write_bytes(points.tobytes())
    source = SPEC.open(root, "training")
    refused_at(path, lambda: source[0], "1 of 3 points", message)


@pytest.mark.parametrize("first", ["# .PCD v0.7 - Point Cloud Data\n", "VERSION 0.7\n", "FIELDS x"])
def test_a_pcd_with_a_header_is_told_from_bare_numbers(pair, first: str):
    root, path, _ = pair
    path.write_bytes((first + "FIELDS x y z intensity\n").encode().ljust(60, b"\0"))
    source = SPEC.open(root, "training")
    refused_at(path, lambda: source[0], "PCD header", "float32")


def test_an_unknown_label_number_is_named(pair):
    root, _, path = pair
    path.write_bytes(bytes([0, 77, 32]))
    source = SPEC.open(root, "training")
    refused_at(path, lambda: source[0], "2 labels", "(32, 77; first at point 1)", "category.json")


def check_all(source: NuScenes) -> None:
    """Check that whatever was read has the promised form."""
    assert len(source) >= 1
    for at in range(len(source)):
        sweep = source[at]
        check_sound(sweep, 16, sweep.path.stat().st_size // 20)
        assert 0 <= sweep.strength.min() <= sweep.strength.max() <= 1
        assert sweep.segment is not None
        rotation = sweep.pose[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(point_edits=edits, label_edits=edits)
def test_damaged_files_give_a_sound_sweep_or_the_documented_error(pair, point_edits, label_edits):
    root, point_path, label_path = pair
    originals = {path: path.read_bytes() for path in (point_path, label_path)}
    point_path.write_bytes(mutate(originals[point_path], point_edits))
    label_path.write_bytes(mutate(originals[label_path], label_edits))
    try:
        check_all(SPEC.open(root, "training"))
    except UserError as error:
        message = str(error)
        assert message.startswith((f"{point_path}: ", f"{label_path}: "))
        assert "\n" not in message
    finally:
        for path, data in originals.items():
            path.write_bytes(data)


# Values that a JSON table may hold in place of the right ones.
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.just("../x"),
    st.lists(st.floats(), max_size=5),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    name=st.sampled_from(USED),
    byte_edits=edits,
    row_edit=st.none() | st.tuples(st.integers(0, 40), st.integers(0, 10), odd_values),
)
def test_damaged_tables_give_sound_sweeps_or_the_documented_error(
    pair, name: str, byte_edits, row_edit
):
    root, _, _ = pair
    path = root / f"v1.0-trainval/{name}.json"
    original = path.read_bytes()
    data = original
    if row_edit is not None:
        rows = json.loads(original)
        row = rows[row_edit[0] % len(rows)]
        row[list(row)[row_edit[1] % len(row)]] = row_edit[2]
        data = json.dumps(rows).encode()
    path.write_bytes(mutate(data, byte_edits))
    # Not the time of change but the contents matter here: no index from the example before.
    for stored in (root / FOLDER).glob("*"):
        stored.unlink()
    try:
        check_all(SPEC.open(root, "training"))
    except UserError as error:
        message = str(error)
        assert message.startswith(str(root))
        assert "\n" not in message
    finally:
        path.write_bytes(original)
