"""Reading tables: whole ones however they are written, and every way in which one is damaged."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.damage import refused_at
from train.core.errors import UserError
from train.data.nuscenes import tables
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
    with pytest.raises(UserError, match="no UTF-8"):
        rows_of(path)
    for wrong in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(UserError) as error:
            rows_of(wrong)
        assert str(error.value).startswith(f"{wrong}: cannot be read")


def test_a_long_table_and_a_row_without_end_take_little_memory(tmp_path: Path):
    path = tmp_path / "table.json"
    row = json.dumps({"token": "0" * 32, "filename": "x" * 200})
    path.write_text("[" + ",\n".join([row] * 60_000) + "]")
    endless = tmp_path / "endless.json"
    endless.write_text('[{"a": "' + "x" * 30_000_000)
    assert path.stat().st_size > 15_000_000
    tracemalloc.start()
    assert sum(1 for _ in read_rows(path)) == 60_000
    with pytest.raises(UserError, match="row 0"):
        rows_of(endless)
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
        with pytest.raises(UserError) as error:
            read(Row(path, 7, GOOD | {key: value}))
        message = str(error.value)
        assert message.startswith(f"table.json: row 7 (counted from 0): {key!r} ")
        assert "\n" not in message
        assert len(message) < 250
    with pytest.raises(UserError, match=f"row 7 .* has no '{key}'"):
        read(Row(path, 7, {name: value for name, value in GOOD.items() if name != key}))


def test_a_transform_by_hand():
    # A quarter turn to the left about z: forward becomes left.
    half = 0.5**0.5
    row = Row(Path("t"), 0, {"rotation": [half, 0, 0, half], "translation": [10, 20, 30]})
    np.testing.assert_allclose(row.transform() @ [1, 0, 0, 1], [10, 21, 30, 1], atol=1e-12)
    # A half turn about x, a quarter about y, each given a little too long.
    row = Row(Path("t"), 0, {"rotation": [0, 1.005, 0, 0], "translation": [0, 0, 0]})
    np.testing.assert_allclose(row.transform() @ [1, 2, 3, 1], [1, -2, -3, 1], atol=1e-12)
    row = Row(Path("t"), 0, {"rotation": [half, 0, half, 0], "translation": [0, 0, 0]})
    np.testing.assert_allclose(row.transform() @ [1, 2, 3, 1], [3, 2, -1, 1], atol=1e-12)


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
