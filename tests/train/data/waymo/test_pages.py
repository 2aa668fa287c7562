"""Single lists out of pages: what pyarrow wrote in any way, and what is left to pyarrow."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.waymo import schema
from train.data.waymo.page_heads import Unsupported
from train.data.waymo.pages import ListColumn
from train.data.waymo.protobuf import varint
from train.data.waymo.tables import Rows


def lists(kind: str) -> list[np.ndarray | None]:
    """Return lists of numbers: few different ones, many, long, short, missing."""
    rng = np.random.default_rng(0)
    few = rng.choice([-1.0, 0.5, 3.0], 5_000).astype(kind)
    many = (rng.normal(size=20_000) * 1000).astype(kind)
    return [few, many, None, few[:1], many[:300], few[:4000], None, None, many[:15_000], few[:8]]


def column_of(path: Path, values: list[np.ndarray | None]) -> ListColumn:
    """Return the lists of a file's first row group, with the lengths that they have."""
    file = pq.ParquetFile(path)
    lengths = np.array([-1 if one is None else len(one) for one in values])
    return ListColumn(path, file.metadata.row_group(0).column(0), file.schema.column(0), lengths)


def write(path: Path, values: list[np.ndarray | None], kind: str, **options) -> None:
    """Write lists as one column."""
    arrow = pa.array(values, pa.list_(pa.from_numpy_dtype(kind)))
    pq.write_table(pa.table({"x": arrow}), path, **options)


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "i8"])
@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "brotli", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_list_is_what_was_written(tmp_path: Path, kind: str, compression: str, version: str):
    values = lists(kind)
    for number, options in enumerate(
        [
            {"use_dictionary": True},
            {"use_dictionary": False, "data_page_size": 5_000, "write_page_checksum": True},
            # A dictionary that runs over: first looked up, then plain.
            {"dictionary_pagesize_limit": 2_000, "data_page_size": 30_000},
        ]
    ):
        path = tmp_path / f"{number}.parquet"
        write(path, values, kind, compression=compression, data_page_version=version, **options)
        column = column_of(path, values)
        for row in (1, 0, 2, 9, 8, 7, 3, 5, 4, 6, 1):
            found = column.row(row)
            if values[row] is None:
                assert found is None
            else:
                assert found is not None
                assert found.dtype == values[row].dtype
                np.testing.assert_array_equal(found, values[row])


@given(
    sizes=st.lists(st.none() | st.integers(1, 40), min_size=1, max_size=30),
    distinct=st.integers(1, 40),
    page=st.integers(1, 200),
)
def test_small_lists_in_small_pages(tmp_path_factory, sizes, distinct: int, page: int):
    rng = np.random.default_rng(distinct)
    values = [None if n is None else rng.integers(0, distinct, n).astype("f4") for n in sizes]
    path = tmp_path_factory.mktemp("pages") / "x.parquet"
    write(path, values, "f4", data_page_size=page, write_batch_size=3)
    column = column_of(path, values)
    for row, expected in enumerate(values):
        found = column.row(row)
        assert (found is None) == (expected is None)
        if expected is not None:
            np.testing.assert_array_equal(found, expected)


def test_real_tables_are_read_this_way(write_root, monkeypatch):
    root = write_root("v2", training={"seg_a": [True, True]})
    for table in (schema.LIDAR, schema.LIDAR_POSE, schema.SEGMENTATION):
        rows = Rows(root / "training" / table.tag / "seg_a.parquet", table)
        # A stream would fail: none is needed.
        monkeypatch.setattr("train.data.waymo.row_group.RowGroup._start_stream", None)
        assert all(len(rows.row(number)) for number in range(len(rows)))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lz4"},
        {"use_dictionary": False, "use_byte_stream_split": True},
        {"use_dictionary": False, "column_encoding": "DELTA_BINARY_PACKED"},
    ],
)
def test_what_is_laid_out_otherwise_is_left_to_pyarrow_and_read_the_same(
    write_root, monkeypatch, options: dict
):
    root = write_root("v2", training={"seg_a": [True] * 3})
    table = schema.LIDAR if "use_byte_stream_split" in options else schema.SEGMENTATION
    path = root / "training" / table.tag / "seg_a.parquet"
    expected = [Rows(path, table).row(number) for number in range(3)]
    whole = pq.read_table(path)
    if "use_byte_stream_split" in options:
        options = options | {"use_byte_stream_split": [f"{n}.list.element" for n in table.values]}
    if "column_encoding" in options:
        names = {f"{n}.list.element": "DELTA_BINARY_PACKED" for n in table.values}
        options = options | {"column_encoding": names}
    pq.write_table(whole, path, **options)
    rows = Rows(path, table)
    for number in (2, 0, 1, 1):
        found = rows.row(number)
        for name, cell in expected[number].items():
            np.testing.assert_array_equal(found[name], cell)
    assert rows._group is not None
    assert rows._group[1]._paged is None


def test_lengths_that_are_not_those_of_the_lists_are_left_to_pyarrow(tmp_path: Path):
    values = [np.zeros(4, "f4"), None, np.ones(6, "f4")]
    path = tmp_path / "x.parquet"
    write(path, values, "f4")
    for wrong in ([4, -1, 5], [4, 4, 6], [4, -1, 0], [3, -1]):
        with pytest.raises(Unsupported):
            column_of(path, [None if n < 0 else np.zeros(n) for n in wrong])
    # As many in all, but the lists end elsewhere.
    column = column_of(path, [np.zeros(5), None, np.zeros(5)])
    for row in range(3):
        with pytest.raises(Unsupported):
            column.row(row)
    column = column_of(path, [np.zeros(4), np.zeros(1), np.zeros(6)])
    with pytest.raises(Unsupported):
        column.row(1)


def test_a_list_with_a_missing_number_is_left_to_pyarrow(tmp_path: Path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": pa.array([[1.0, None], [2.0]], pa.list_(pa.float32()))}), path)
    column = column_of(path, [np.zeros(2), np.zeros(1)])
    with pytest.raises(Unsupported):
        column.row(0)
    np.testing.assert_array_equal(column.row(1), [2.0])


def test_a_flipped_bit_is_left_to_pyarrow_to_refuse(tmp_path: Path):
    values = [np.arange(1000, dtype="f4")]
    path = tmp_path / "x.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    write(path, values, "f4", **options)
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(500.0).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(Unsupported):
        column_of(path, values).row(0)


def zigzag(value: int) -> bytes:
    """Return a signed number as Thrift's compact form has it."""
    return varint(2 * value)


def page(repeats: list[int], numbers: list[float]) -> bytes:
    """Return a data page of plain numbers, none missing, every level a run of its own."""
    content = b""
    for levels in (repeats, [3] * len(numbers)):
        runs = b"".join(bytes([2, level]) for level in levels)
        content += len(runs).to_bytes(4, "little") + runs
    content += np.array(numbers, "<f4").tobytes()
    size = b"\x15" + zigzag(len(content))
    head = b"\x15\x00" + size + size + b"\x2c\x15" + zigzag(len(numbers))
    return head + bytes.fromhex("15 00 15 06 15 06 00 00") + content


def test_a_list_may_go_on_over_several_pages(tmp_path: Path):
    # pyarrow begins pages with a list; other writers cut lists where a page is full.
    path = tmp_path / "x"
    pages = [page([0, 1, 1, 0], [1, 2, 3, 4]), page([1, 1], [5, 6]), page([1, 0], [7, 8])]
    path.write_bytes(b"PAR1" + b"".join(pages))
    chunk = SimpleNamespace(
        physical_type="FLOAT",
        compression="UNCOMPRESSED",
        data_page_offset=4,
        dictionary_page_offset=None,
        total_compressed_size=sum(map(len, pages)),
    )
    column = SimpleNamespace(
        max_definition_level=3, max_repetition_level=1, logical_type=SimpleNamespace(type="NONE")
    )
    lists = ListColumn(path, chunk, column, np.array([3, 4, 1]))
    found = [lists.row(row) for row in (1, 0, 2, 1)]
    assert [row.tolist() for row in found] == [[4, 5, 6, 7], [1, 2, 3], [8], [4, 5, 6, 7]]
    for lengths, wrong in (([3, 3, 2], 2), ([2, 5, 1], 0), ([2, 5, 1], 1), ([4, 3, 1], 0)):
        with pytest.raises(Unsupported):
            ListColumn(path, chunk, column, np.array(lengths)).row(wrong)
