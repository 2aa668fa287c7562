"""Reading tables: whole ones however they are written, and every way in which one is damaged."""

import json
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.damage import check_sound, edits, mutate, refused, refused_at
from tests.train.data.nuscenes.conftest import token
from train.core.errors import UserError
from train.data.index import FOLDER
from train.data.nuscenes import CLASS_NAMES, SPEC, NuScenes, tables
from train.data.nuscenes.classes import CATEGORY_NAMES, CATEGORY_TO_TRAIN
from train.data.nuscenes.layout import SCENES
from train.data.nuscenes.tables import Row, read_rows


def rows_of(path: Path) -> list[dict[str, object]]:
    return [row.values for row in read_rows(path)]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_rows_come_as_json_reads_them_wherever_the_chunks_end(
    tmp_path: Path, monkeypatch, rows, indent, ascii_only, chunk
):
    monkeypatch.setattr(tables, "_CHUNK_CHARACTERS", chunk)
    path = tmp_path / "table.json"
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(b" \n" + text.encode("utf-8", "surrogatepass") + b"\r\n")
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        with pytest.raises(UserError, match="no UTF-8"):
            rows_of(path)
    else:
        assert rows_of(path) == expected == rows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty, expected a JSON array"),
        (" \n", "is empty, expected a JSON array"),
        ("{}", "begins with '{', expected a JSON array"),
        ("[", "ends where there should be '{' at the begin of row 0"),
        ('[{"a": 1}', "ends where there should be ',' or ']' after row 0"),
        ('[{"a": 1},', "ends where there should be '{' at the begin of row 1"),
        ('[{"a": 1}, ]', "has ']' where there should be '{' at the begin of row 1"),
        ('[{"a": 1} {"b": 2}]', "has '{' where there should be ',' or ']' after row 0"),
        ('[{"a": 1}, 5]', "has '5' where there should be '{' at the begin of row 1"),
        ('[{"a": 1}, {"b": ]', "row 1 is no JSON object (Expecting value"),
        ('[{"a": 1}, {"b": "', "row 1 is no JSON object (Unterminated string"),
        ('[{"a": 1}] []', "goes on with '[' after the array's end"),
        ('[{"a": ' + "[" * 100_000, "row 0 is no JSON object (maximum recursion depth"),
        ('[{"a": ' + "9" * 10_000 + "}]", "row 0 is no JSON object (Exceeds the limit"),
        ('[{"a": "' + "x" * (2 * tables.MAX_ROW_CHARACTERS), "row 0 is no JSON object (Unterm"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "table.json"
    path.write_text(text)
    refused_at(path, lambda: rows_of(path), f"{path}: {reason}")


def test_other_bytes_than_utf_8_and_missing_files_are_named(tmp_path: Path):
    path = tmp_path / "table.json"
    path.write_bytes(b'[{"a": "\xff"}]')
    refused_at(path, lambda: rows_of(path), "no UTF-8")
    for wrong in (tmp_path / "gone.json", tmp_path):
        refused_at(wrong, partial(rows_of, wrong), "cannot be read")


def test_a_long_table_and_a_row_without_end_take_little_memory(tmp_path: Path):
    path = tmp_path / "table.json"
    row = json.dumps({"token": "0" * 32, "filename": "x" * 200})
    path.write_text("[" + ",\n".join([row] * 60_000) + "]")
    endless = tmp_path / "endless.json"
    endless.write_text('[{"a": "' + "x" * 30_000_000)
    assert path.stat().st_size > 15_000_000
    tracemalloc.start()
    assert sum(1 for _ in read_rows(path)) == 60_000
    refused_at(endless, lambda: rows_of(endless), "row 0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


GOOD = {
    "token": "0a-b_9", "name": "scene 1", "filename": "a/b.bin", "flag": True, "number": -5,
    "rotation": [1, 0, 0, 0], "translation": [1, 2.5, 3],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "read", "wrong"),
    [
        ("token", Row.token, ["", "../x", "a b", "a\n", "a" * 65, 5, None, "ä", ["a"], {}]),
        ("name", lambda row: row.text("name"), ["", "a\nb", 5, "\ud800", True]),
        (
            "filename",
            Row.file_name,
            ["/a", "a/../b", "..", ".", "a//b", "a\\b", "", "a\0b", "x/" * 200 + "y", 3],
        ),
        ("flag", lambda row: row.flag("flag"), [0, 1, "true", None]),
        ("number", lambda row: row.integer("number"), [True, 1.0, "1", 1 << 63, -(1 << 63)]),
        (
            "rotation",
            Row.transform,
            [[0, 0, 0, 0], [1, 0, 0], [2, 0, 0, 0], [float("nan")] * 4, ["1", 0, 0, 0], {"w": 1},
             [True, 0, 0, 0], None, [1, 0, 0, 0, 0], [float("inf"), 0, 0, 0], [10**400] * 4],
        ),
        ("translation", Row.transform, [[0, 0], [0, 0, float("-inf")], [0, 0, 1e30], "abc"]),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_named_with_its_row(key: str, read, wrong: list[object]):
    path = Path("table.json")
    read(Row(path, 7, GOOD))
    for value in wrong:
        message = refused(partial(read, Row(path, 7, GOOD | {key: value})))
        assert message.startswith(f"table.json: row 7 (counted from 0): {key!r} ")
        assert len(message) < 250
    without = {name: value for name, value in GOOD.items() if name != key}
    refused_at("table.json", partial(read, Row(path, 7, without)), "row 7 ", f" has no {key!r}")


def test_a_transform_by_hand():
    half = 0.5**0.5
    for turn, place, point, expected in (
        # A quarter turn to the left about z: forward becomes left.
        ([half, 0, 0, half], [10, 20, 30], [1, 0, 0, 1], [10, 21, 30, 1]),
        # A half turn about x, given a little too long, and a quarter about y.
        ([0, 1.005, 0, 0], [0, 0, 0], [1, 2, 3, 1], [1, -2, -3, 1]),
        ([half, 0, half, 0], [0, 0, 0], [1, 2, 3, 1], [3, 2, -1, 1]),
    ):
        row = Row(Path("t"), 0, {"rotation": turn, "translation": place})
        np.testing.assert_allclose(row.transform() @ point, expected, atol=1e-12)


@pytest.mark.oracle
@given(turn=st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_turns_are_scipy_s(turn: list[float]):
    from scipy.spatial.transform import Rotation

    length = float(np.linalg.norm(turn))
    if length < 0.1:
        turn, length = [1.0, 0.0, 0.0, 0.0], 1.0
    w, x, y, z = (value / length for value in turn)
    row = Row(Path("t"), 0, {"rotation": [w, x, y, z], "translation": [0, 0, 0]})
    np.testing.assert_allclose(
        row.transform()[:3, :3], Rotation.from_quat([x, y, z, w]).as_matrix(), atol=1e-12
    )


# The challenge's own numbers of the 32 categories in their usual order, 0 = ignored, by hand.
CHALLENGE = [
    0, 0, 7, 7, 7, 0, 7, 0, 0, 1, 0, 0, 8, 0, 2, 3, 3, 4, 5, 0, 0, 6, 9, 10, 11, 12, 13, 14, 15, 0,
    16, 0,
]  # fmt: skip


def test_class_map_is_the_challenge_s_shifted_by_one():
    assert [CATEGORY_TO_TRAIN[name] + 1 for name in CATEGORY_NAMES] == CHALLENGE
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 16


def test_the_official_splits_have_their_sizes_and_do_not_overlap():
    train, val = (set(SCENES[split]["v1.0-trainval"]) for split in ("training", "validation"))
    test = set(SCENES["test"]["v1.0-test"])
    assert (len(train), len(val), len(test)) == (700, 150, 150)
    assert not train & val
    assert not test & (train | val)
    mini = SCENES["training"]["v1.0-mini"], SCENES["validation"]["v1.0-mini"]
    assert (len(mini[0]), mini[1]) == (8, ("scene-0103", "scene-0916"))


@pytest.mark.real_data
def test_the_official_splits_are_the_published_lists(real_data: Path):
    path = real_data / "nuscenes/splits/nuscenes_scene_splits.json"
    published = json.loads(path.read_text())
    for split, version, name in (
        ("training", "v1.0-trainval", "train"),
        ("validation", "v1.0-trainval", "val"),
        ("test", "v1.0-test", "test"),
        ("training", "v1.0-mini", "mini_train"),
        ("validation", "v1.0-mini", "mini_val"),
    ):
        assert SCENES[split][version] == tuple(sorted(published[name]))


@pytest.mark.real_data
def test_the_categories_are_those_of_a_published_table(real_data: Path):
    path = real_data / "nuscenes/dev_tiny40/v1.0-trainval/category.json"
    rows = json.loads(path.read_text())
    assert {row["index"]: row["name"] for row in rows} == dict(enumerate(CATEGORY_NAMES))


USED = ["scene", "sample", "sample_data", "calibrated_sensor", "ego_pose", "lidarseg", "category"]


@pytest.fixture
def pair(write_root) -> tuple[Path, Path, Path]:
    """Return a root with one good frame of three points, its point file and its label file."""
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
        refused_at(points, read, "200000000000 bytes is more than a frame of 10,000,000 points")
    with points.open("r+b") as stream:
        stream.truncate(60)
    with labels.open("r+b") as stream:
        stream.truncate(10**11)
    refused_at(labels, lambda: source[0], "100000000000 bytes, but the frame has 3 points")


@pytest.mark.parametrize("value", [256.0, -1.0])
def test_an_intensity_that_no_frame_has_is_named(pair, value: float):
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
        frame = source[at]
        check_sound(frame, 16, frame.path.stat().st_size // 20)
        assert 0 <= frame.strength.min() <= frame.strength.max() <= 1
        assert frame.segment is not None
        rotation = frame.pose[:3, :3]
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
def test_damaged_tables_give_sound_frames_or_the_documented_error(
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
