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


@pytest.mark.parametrize("value", [256.0, -1.0])
def test_an_intensity_that_no_sweep_has_is_named(pair, value: float):
    root, path, _ = pair
    points = np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 5).copy()
    points[1, 3] = value
    path.write_bytes(points.tobytes())
    source = SPEC.open(root, "training")
    said = "an intensity outside 0..255 (first: point 1, x y z intensity ring = "
    refused_at(path, lambda: source[0], "1 of 3 points", said)


@pytest.mark.parametrize("first", ["# .PCD v0.7 - Point Cloud Data\n", "VERSION 0.7\n", "FIELDS x"])
def test_a_pcd_with_a_header_is_told_from_bare_numbers(pair, first: str):
    root, path, _ = pair
    path.write_bytes((first + "FIELDS x y z intensity\n").encode().ljust(60, b"\0"))
    source = SPEC.open(root, "training")
    refused_at(path, lambda: source[0], "PCD header", "float32")


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
