"""Damaged and foreign files: each is one line that starts with its path."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.train.data.damage import refused, refused_at
from tests.train.data.waymo.conftest import tiny_frame, tiny_split, write_split
from train.data.waymo import SPEC, schema
from train.data.waymo.frame import Frame, LaserName
from train.data.waymo.frame_proto import write_frame
from train.data.waymo.protobuf import write_content, write_double, write_integer, write_text
from train.data.waymo.tfrecord import write_records

both = pytest.mark.parametrize("data_format", ["v1", "v2"])
each_table = pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.tag)

SEGMENT = {"seg_a": [True, True]}


def read_all(root: Path) -> None:
    """Read every frame of the training split."""
    source = SPEC.open(root, require_labels=False)
    for index in range(len(source)):
        source[index]


# ------------------------------------------------------------------ frames of either format


Change = Callable[[Any], Any]


def of(part: str, change: Change, name: LaserName = LaserName.TOP) -> Callable[[Frame], Frame]:
    """Return what changes a part of a frame's lidar, which becomes the last one."""

    def changed(frame: Frame) -> Frame:
        (laser,) = (one for one in frame.lasers if one.name == name)
        others = (one for one in frame.lasers if one is not laser)
        new = dataclasses.replace(laser, **{part: change(getattr(laser, part))})
        return dataclasses.replace(frame, lasers=(*others, new))

    return changed


def first(change: Change) -> Change:
    """Return what changes the image of the first return."""
    return lambda images: (change(images[0]), images[1])


def second(change: Change) -> Change:
    """Return what changes the image of the second return."""
    return lambda images: (images[0], change(images[1]))


def put(value: float, channel: int) -> Change:
    """Return what puts another value into an image's first pixel."""

    def changed(image: np.ndarray) -> np.ndarray:
        image = image.copy()
        image[0, 0, channel] = value
        return image

    return changed


def without_returns(frame: Frame) -> Frame:
    lasers = (
        dataclasses.replace(laser, returns=(-np.abs(laser.returns[0]), None))
        for laser in frame.lasers
    )
    return dataclasses.replace(frame, lasers=tuple(lasers))


# A change of a frame, and what is said of it.
SPOILT: list[tuple[Callable[[Frame], Frame], str]] = [
    *(
        (of("returns", first(put(value, 0)), name), f"1 pixels of return 1 of {name.name} have a")
        for value in (np.nan, np.inf, 1000.5, 3e38)
        for name in (LaserName.TOP, LaserName.REAR)
    ),
    (of("returns", second(put(2e3, 0))), "1 pixels of return 2 of TOP have a range that is no"),
    *(
        (of("returns", first(put(value, 1)), LaserName.FRONT), "1 intensities are no numbers")
        for value in (np.nan, np.inf, -np.inf)
    ),
    *(
        (of("labels", first(put(raw, 1))), f"1 labels have ids that Waymo does not have ({raw})")
        for raw in (-1, 23, 2**31 - 1, -(2**31))
    ),
    *(
        (of("pixel_pose", put(value, 5)), "the poses of TOP's pixels do not belong to")
        for value in (np.nan, 3e38, -5000.0)
    ),
    (of("returns", second(lambda image: image[:, :5])), "return 2 of TOP has shape (4, 5, 4)"),
    (of("returns", first(lambda image: image[..., :3])), "shape (4, 6, 3), expected (rows, colum"),
    (of("labels", first(lambda image: image[:, 1:])), "labels of return 1 of TOP have shape (4, 5"),
    (of("labels", second(lambda image: image[1:])), "labels of return 2 of TOP have shape (3, 6"),
    (of("pixel_pose", lambda pose: pose[1:]), "pixel poses of return 1 of TOP have shape (3, 6, 6"),
    (
        of("calibration", lambda c: dataclasses.replace(c, inclinations=c.inclinations[:3])),
        "3 beam inclinations for an image of 4 rows",
    ),
    (
        of("calibration", lambda c: dataclasses.replace(c, extrinsic=np.zeros((4, 4)))),
        "the extrinsic of TOP is no rotation",
    ),
    (without_returns, "no lidar has a point"),
    (lambda frame: dataclasses.replace(frame, pose=np.zeros((4, 4))), "no rotation with a transla"),
]


@both
@pytest.mark.parametrize(("change", "said"), SPOILT)
def test_a_frame_with_impossible_values_is_named(
    tmp_path: Path, data_format: str, change: Callable[[Frame], Frame], said: str
):
    good, bad = tiny_split(SEGMENT)["seg_a"]
    write_split(tmp_path / "training", data_format, {"seg_a": [good, change(bad)]})
    source = SPEC.open(tmp_path)
    if data_format == "v1" or not ("beam" in said or "extrinsic" in said):
        # One bad frame does not spoil the others; a table of calibrations is all frames'.
        assert len(source[0].coord) > 0
    assert refused(lambda: source[1], said).startswith(str(tmp_path / "training"))
    # It stays so: a damaged frame leaves nothing behind that the next one would read.
    refused(lambda: source[1], said)


def test_missing_pixel_poses_are_named(tmp_path: Path):
    frame = of("pixel_pose", lambda pose: None)(tiny_frame())
    write_split(tmp_path / "training", "v1", {"seg_a": [frame]})
    refused(lambda: read_all(tmp_path), "TOP has no pixel poses")


# ------------------------------------------------------------------ v1


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return a file of two frames; its data root is two levels up."""
    write_split(tmp_path / "training", "v1", tiny_split(SEGMENT))
    return tmp_path / "training/segment-seg_a_with_camera_labels.tfrecord"


def root_of(record: Path) -> Path:
    """Return the data root of a record file."""
    return record.parent.parent


@pytest.mark.parametrize("size", [0, 5, 12, 100, -1, -4, -5])
def test_a_record_file_that_is_cut_short_is_named_when_opening(record: Path, size: int):
    record.write_bytes(record.read_bytes()[:size])
    refused_at(record, lambda: SPEC.open(root_of(record)))


def test_a_flipped_bit_is_found_when_reading(record: Path):
    data = bytearray(record.read_bytes())
    data[len(data) - 40] ^= 8
    record.write_bytes(data)
    source = SPEC.open(root_of(record))
    source[0]
    refused_at(record, lambda: source[1], "does not match its checksum")


def test_a_record_file_that_goes_away_is_named(record: Path):
    source = SPEC.open(root_of(record))
    record.unlink()
    refused_at(record, lambda: source[0], "cannot be read (No such file or directory)")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "no context name or no timestamp"),
        (b"\xff" * 40, "no Waymo Open frame"),
        (write_double(1, 0.1) * 3, "field 1 has wire type 1, expected 2"),
        (write_content(1, b"") + write_integer(2, 5), "no context name"),
        (write_content(1, write_text(1, "seg_a")), "no context name or no timestamp"),
        (write_content(1, write_text(1, "x" * 2000)), "name has 2000 bytes"),
        (write_content(1, write_text(1, "seg_a\n")), "unprintable"),
        (b"\x0a\x7f\x0a\x05seg_a", "claims 127 bytes"),
        (write_content(1, write_text(1, "seg_b")) + write_integer(2, 5), "is of segment seg_b"),
        (write_content(1, write_text(1, "seg_a")) + write_text(2, "x"), "field 2 has wire type 2"),
        (
            write_content(1, write_text(1, "seg_a"))
            + write_integer(2, 5)
            + write_content(5, write_text(1, "x")),
            "field 1 has wire type 2",
        ),
    ],
)
def test_a_record_that_is_no_frame_of_the_segment_is_named(record: Path, payload: bytes, said: str):
    write_records(record, [write_frame(tiny_frame()), payload])
    refused_at(record, lambda: SPEC.open(root_of(record)), said)


def test_a_record_that_cannot_be_read_again_is_named(record: Path):
    # What the index does not look at is found when the frame is read.
    frame = write_frame(tiny_frame())
    write_records(record, [frame + write_content(3, b"\x09")])
    source = SPEC.open(root_of(record))
    refused_at(record, lambda: source[0], "the frame at byte 12 is damaged", "claims 8 bytes")


def test_labels_without_ranges_are_named(record: Path):
    frame = of("returns", lambda images: (None, None))(tiny_frame())
    write_records(record, [write_frame(frame)])
    source = SPEC.open(root_of(record))
    refused_at(record, lambda: source[0], "TOP has labels, but no ranges")


# ------------------------------------------------------------------ v2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data root with one segment of two frames."""
    write_split(tmp_path / "training", "v2", tiny_split(SEGMENT))
    return tmp_path


def path_of(root: Path, table: schema.Table) -> Path:
    """Return the file of a table."""
    return root / "training" / table.tag / "seg_a.parquet"


def edit(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a changed table in the place of a table."""
    pq.write_table(change(pq.read_table(path)), path)


@each_table
@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PAR1", b"PAR1" + bytes(50) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_named(root: Path, table: schema.Table, content: bytes):
    path = path_of(root, table)
    path.write_bytes(content)
    refused_at(path, lambda: read_all(root))


@each_table
def test_a_table_that_is_cut_short_is_named(root: Path, table: schema.Table):
    path = path_of(root, table)
    path.write_bytes(path.read_bytes()[:-20])
    refused_at(path, lambda: read_all(root), "cannot be read as parquet", "copy the file again")


@each_table
def test_a_flipped_bit_in_a_page_is_found_by_its_checksum(root: Path, table: schema.Table):
    path = path_of(root, table)
    column = pq.ParquetFile(path).metadata.row_group(0).column(len(table.columns) - 1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 2] ^= 1
    path.write_bytes(data)
    refused_at(path, lambda: read_all(root))


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table in schema.TABLES for column in table.columns],
    ids=lambda value: getattr(value, "tag", value),
)
def test_a_missing_column_and_one_of_another_kind_are_named(
    root: Path, table: schema.Table, column: str
):
    path = path_of(root, table)
    whole = pq.read_table(path)
    edit(path, lambda t: t.drop_columns([column]))
    refused_at(path, lambda: read_all(root), f"has no column {column}", table.tag)
    position = whole.schema.get_field_index(column)
    wrong = pa.array([b"x"] * len(whole), pa.binary())
    pq.write_table(whole.set_column(position, column, wrong), path)
    refused_at(path, lambda: read_all(root), f"column {column} holds binary, expected")


@each_table
def test_other_columns_types_and_orders_make_no_difference(root: Path, table: schema.Table):
    source = SPEC.open(root)
    expected = [source[index] for index in range(2)]
    wider = {
        pa.string(): pa.large_string(),
        pa.int8(): pa.int64(),
        pa.list_(pa.float32()): pa.large_list(pa.float64()),
        pa.list_(pa.int32()): pa.large_list(pa.int64()),
        pa.list_(pa.int32(), 3): pa.list_(pa.int64()),
        pa.list_(pa.float64(), 16): pa.list_(pa.float64()),
    }

    def change(whole: pa.Table) -> pa.Table:
        columns = {"index": pa.array(["x"] * len(whole))}
        for field in reversed(whole.schema):
            plain = whole.column(field.name).to_pylist()
            kind = field.type
            for known, other in wider.items():
                if kind.equals(known):
                    kind = other
            columns[field.name] = pa.array(plain, kind)
        return pa.table(columns).take(list(reversed(range(len(whole)))))

    edit(path_of(root, table), change)
    again = SPEC.open(root)
    for index in range(2):
        assert again[index].coord.tobytes() == expected[index].coord.tobytes()
        np.testing.assert_array_equal(again[index].segment, expected[index].segment)


def without(column: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """Return a change that leaves out the rows of a key."""
    return lambda table: table.filter(pc.not_equal(table.column(column), value))


def with_cells(column: str, change: Callable[[int, Any], object]) -> Callable[[pa.Table], pa.Table]:
    """Return a change of a column's cells, given the row and what is there."""

    def changed(table: pa.Table) -> pa.Table:
        position = table.schema.get_field_index(column)
        cells = [change(row, cell) for row, cell in enumerate(table.column(column).to_pylist())]
        kind = table.schema.field(column).type
        return table.set_column(position, column, pa.array(cells, kind))

    return changed


def twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(1, 1)])


FIRST_SHAPE = schema.image_columns(schema.LIDAR, 0)[1]
NO_ROW = ["frame 1100", "there is no such row"]
KEY = ["no timestamp or a lidar number other than 1 to 5"]
INDEXED = [table for table in schema.TABLES if table is not schema.CALIBRATION]
OTHER_SEGMENT = with_cells(schema.CONTEXT, lambda row, cell: "seg_b")
# Which table is changed and how, and what is said of it.
DAMAGED = [
    (schema.LIDAR_POSE, without(schema.TIMESTAMP, 1100), NO_ROW),
    (schema.VEHICLE_POSE, without(schema.TIMESTAMP, 1100), NO_ROW),
    # Labels, but no ranges.
    (schema.LIDAR, without(schema.TIMESTAMP, 1100), NO_ROW),
    (schema.LIDAR, without(schema.LASER, 1), ["lidar 1", "there is no such row"]),
    (schema.CALIBRATION, without(schema.LASER, 4), ["no row for lidar 4 (SIDE_RIGHT)"]),
    *((table, OTHER_SEGMENT, ["holds rows of segment 'seg_b'"]) for table in schema.TABLES),
    *((table, twice, ["two rows for lidar"]) for table in INDEXED),
    (schema.LIDAR, with_cells(schema.LASER, lambda row, cell: cell if row else 6), KEY),
    (schema.LIDAR, with_cells(schema.TIMESTAMP, lambda row, cell: cell if row else None), KEY),
    *(
        (
            schema.LIDAR,
            with_cells(FIRST_SHAPE, lambda row, old, shape=shape: old if row % 5 else shape),
            ["frame 1000, lidar 1", said],
        )
        for shape, said in (
            ([4, 6, 3], "shape (4, 6, 3), expected (rows, columns, 4)"),
            ([4, 5, 4], "has 96 values, its shape (4, 5, 4) needs 80"),
            ([0, 0, 4], "shape (0, 0, 4)"),
            ([-4, -6, 4], "shape (-4, -6, 4)"),
            ([1 << 16, 1 << 16, 4], "shape (65536, 65536, 4)"),
        )
    ),
    *(
        (table, with_cells(column, lambda row, cell, new=new: new), [said])
        for table, column, new, said in (
            (schema.VEHICLE_POSE, schema.VEHICLE_TRANSFORM, [None] * 16, "missing numbers"),
            (schema.VEHICLE_POSE, schema.VEHICLE_TRANSFORM, None, "0 numbers, expected 16"),
            (schema.CALIBRATION, schema.EXTRINSIC, [None] * 16, "missing numbers"),
            (schema.CALIBRATION, schema.INCLINATION_MAX, None, "a beam inclination"),
        )
    ),
]


@pytest.mark.parametrize(("table", "change", "said"), DAMAGED)
def test_a_damaged_row_is_named(root: Path, table: schema.Table, change, said: list[str]):
    path = path_of(root, table)
    edit(path, change)
    refused_at(path, lambda: read_all(root), *said)


@each_table
def test_a_negative_number_of_rows_is_named(root: Path, table: schema.Table):
    path = path_of(root, table)
    data = path.read_bytes()
    rows = pq.ParquetFile(path).metadata.row_group(0).num_rows
    # A field's header and a number of up to 63, as the footer has them; negative ones are odd.
    field, at = bytes([0x16, 2 * rows]), len(data)
    while pq.ParquetFile(path).metadata.row_group(0).num_rows == rows:
        at = data.rindex(field, 0, at)
        path.write_bytes(data[:at] + bytes([0x16, 2 * rows - 1]) + data[at + 2 :])
    refused_at(path, lambda: read_all(root), "says that it has", "rows; copy")


@pytest.mark.parametrize("change", [OTHER_SEGMENT, twice])
@pytest.mark.parametrize("table", INDEXED, ids=lambda table: table.tag)
def test_keys_that_are_wrong_are_found_when_opening(root: Path, table: schema.Table, change):
    path = path_of(root, table)
    edit(path, change)
    refused_at(path, lambda: SPEC.open(root))


def test_beams_straight_down_are_angles_also_as_float32(root: Path):
    path = path_of(root, schema.CALIBRATION)
    expected = [frame.coord for frame in map(SPEC.open(root).__getitem__, range(2))]

    def change(whole: pa.Table) -> pa.Table:
        position = whole.schema.get_field_index(schema.INCLINATION_MIN)
        low = pa.array([-np.pi / 2] * len(whole), pa.float32())
        return whole.set_column(position, schema.INCLINATION_MIN, low)

    edit(path, change)
    assert SPEC.open(root)[1].coord.shape == expected[1].shape
