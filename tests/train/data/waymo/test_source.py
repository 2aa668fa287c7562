"""The source of frames, in both formats: what it lists, what it returns, where it looks."""

import dataclasses
import os
import pickle
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.train.data.damage import refused, refused_at
from tests.train.data.waymo.conftest import tiny_frame, tiny_split, write_split
from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.waymo import CLASS_NAMES, SPEC, Waymo, list_sequences, schema
from train.data.waymo import records as records_module
from train.data.waymo import table_frames as tables_module
from train.data.waymo.classes import RAW_TO_TRAIN
from train.data.waymo.frame import Frame, LaserName
from train.data.waymo.layout import OFFICIAL_TEST_FRAMES
from train.data.waymo.range_image import points
from train.data.waymo.write import write_segment_v1, write_segment_v2

both = pytest.mark.parametrize("data_format", ["v1", "v2"])

LABELS = {"seg_b": [True, False, True], "seg_a": [False, True]}


def assert_is(lidar_frame: LidarFrame, frame: Frame) -> None:
    """Check that a frame has the points of a frame, bit for bit."""
    expected = points(frame)
    assert lidar_frame.name == f"{frame.context}/{frame.timestamp_micros}"
    assert lidar_frame.coord.tobytes() == expected.coord.tobytes()
    assert lidar_frame.strength.tobytes() == expected.strength.tobytes()
    np.testing.assert_array_equal(lidar_frame.pose, frame.pose)
    assert (lidar_frame.segment is None) == (expected.segment is None)
    if lidar_frame.segment is not None:
        np.testing.assert_array_equal(lidar_frame.segment, expected.segment)
        assert lidar_frame.segment.dtype == np.int64
    assert (lidar_frame.coord.dtype, lidar_frame.strength.dtype) == (np.float32, np.float32)
    assert lidar_frame.strength.shape == (len(lidar_frame.coord), 1)


def test_classes_are_the_22_of_the_format_less_one():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 22
    assert {raw: train for raw, train in RAW_TO_TRAIN.items() if raw in (0, 1, 7, 22)} == {
        0: -1,
        1: CLASS_NAMES.index("car"),
        7: CLASS_NAMES.index("pedestrian"),
        22: CLASS_NAMES.index("sidewalk"),
    }


@both
def test_frames_come_in_order_of_segment_and_time_and_hold_what_was_written(
    write_root, data_format: str
):
    root = write_root(data_format, training=LABELS)
    frames = tiny_split(LABELS)
    labeled = SPEC.open(root)
    assert labeled.format == data_format
    assert labeled.names == ("seg_a/1100", "seg_b/1000", "seg_b/1200")
    assert (labeled.skipped_unlabeled, labeled.skipped_without_lidar) == (2, 0)
    expected = [frames["seg_a"][1], frames["seg_b"][0], frames["seg_b"][2]]
    for lidar_frame, frame in zip((labeled[i] for i in range(3)), expected, strict=True):
        assert_is(lidar_frame, frame)
    everything = SPEC.open(root, require_labels=False)
    assert len(everything) == 5
    assert everything.skipped_unlabeled == 0
    for index, frame in enumerate([*frames["seg_a"], *frames["seg_b"]]):
        assert_is(everything[index], frame)


@both
def test_any_order_of_reading_gives_the_same(write_root, data_format: str, tmp_path: Path):
    frames = tiny_split({"seg": [True] * 9})
    write_split(tmp_path / "training", data_format, frames)
    if data_format == "v2":
        # Several frames share a row group, the last has fewer.
        write_segment_v2(tmp_path / "training", "seg", frames["seg"], frames_per_group=4)
    source = SPEC.open(tmp_path)
    for index in (0, 8, 3, 3, 2, 7, 1, 0, 5, 6, 4):
        assert_is(source[index], frames["seg"][index])


@both
def test_frames_that_lie_in_the_file_out_of_order_are_served_in_order(
    tmp_path: Path, data_format: str
):
    frames = tiny_split({"seg": [True] * 5})["seg"]
    jumbled = [frames[i] for i in (3, 0, 4, 2, 1)]
    write_split(tmp_path / "training", data_format, {"seg": jumbled})
    source = SPEC.open(tmp_path)
    assert source.names == tuple(frame.name for frame in frames)
    for index, frame in enumerate(frames):
        assert_is(source[index], frame)


IMAGES = (schema.LIDAR, schema.LIDAR_POSE, schema.SEGMENTATION)


def shuffle_rows(folder: Path, context: str, rows_per_group: int) -> None:
    """Put the rows of a segment's tables into another order each, as the format allows."""
    for number, table in enumerate(schema.TABLES):
        path = folder / table.tag / f"{context}.parquet"
        rows = pq.read_table(path)
        order = np.random.default_rng(number).permutation(len(rows))
        pq.write_table(rows.take(pa.array(order)), path, row_group_size=rows_per_group)


@both
@pytest.mark.parametrize("order", ["as written", "shuffled"])
@pytest.mark.parametrize("frames_a_pass", [64, 3])
def test_reading_in_the_order_of_the_file_gives_each_frame_once(
    tmp_path: Path, monkeypatch, data_format: str, order: str, frames_a_pass: int
):
    split = tiny_split({"seg_a": [True, False] * 6, "seg_b": [True] * 4})
    monkeypatch.setattr(tables_module, "_MAX_FRAMES_A_PASS", frames_a_pass)
    write_split(tmp_path / "training", data_format, split)
    if data_format == "v2":
        for context, frames in split.items():
            write_segment_v2(tmp_path / "training", context, frames, frames_per_group=3)
            if order == "shuffled":
                shuffle_rows(tmp_path / "training", context, 7)
    source = SPEC.open(tmp_path)
    wanted = [9, 1, 8, 0, 2, 5]
    found = dict(source.read_in_file_order(wanted))
    assert sorted(found) == sorted(wanted)
    frames = [*split["seg_a"][::2], *split["seg_b"]]
    for index, lidar_frame in found.items():
        assert_is(lidar_frame, frames[index])
    assert len(list(source.read_in_file_order(range(len(source))))) == len(source) == 10


@pytest.mark.parametrize("order", ["as written", "shuffled"])
def test_reading_in_the_order_of_the_file_decodes_every_row_once(
    tmp_path: Path, monkeypatch, order: str
):
    frames = tiny_split({"seg": [True] * 12})["seg"]
    write_segment_v2(tmp_path / "training", "seg", frames, frames_per_group=4)
    if order == "shuffled":
        shuffle_rows(tmp_path / "training", "seg", 10)
    source = SPEC.open(tmp_path)
    started = []
    original = pq.ParquetFile.iter_batches

    def counted(self, **options):
        started.append(options["row_groups"])
        yield from original(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    assert len(list(source.read_in_file_order(range(12)))) == 12
    groups = sum(
        pq.ParquetFile(tmp_path / "training" / table.tag / "seg.parquet").num_row_groups
        for table in IMAGES
    )
    assert len(started) == groups >= 6


def test_only_what_waits_for_its_other_rows_is_held(tmp_path: Path, monkeypatch):
    frames = tiny_split({"seg": [True] * 40})["seg"]
    write_segment_v2(tmp_path / "training", "seg", frames, frames_per_group=20)
    held = []
    original = tables_module._RowsOnce.row

    def watched(self, number: int):
        cells = original(self, number)
        held.append(len(self._kept))
        return cells

    monkeypatch.setattr(tables_module._RowsOnce, "row", watched)
    source = SPEC.open(tmp_path)
    assert len(list(source.read_in_file_order(range(40)))) == 40
    assert max(held) == 0
    shuffle_rows(tmp_path / "training", "seg", 50)
    held.clear()
    assert len(list(SPEC.open(tmp_path).read_in_file_order(range(40)))) == 40
    assert 0 < max(held) < 40 * 5


@both
def test_in_the_order_of_the_file_a_bad_frame_comes_as_its_error(tmp_path: Path, data_format: str):
    frames = tiny_split({"seg_a": [True] * 4, "seg_b": [True]})
    bad = dataclasses.replace(frames["seg_a"][1], pose=np.zeros((4, 4)))
    frames["seg_a"][1] = bad
    write_split(tmp_path / "training", data_format, frames, **(
        {"frames_per_group": 4} if data_format == "v2" else {}
    ))  # fmt: skip
    source = SPEC.open(tmp_path)
    found = dict(source.read_in_file_order(range(5)))
    assert isinstance(found[1], UserError)
    assert str(found[1]) == refused(lambda: source[1])
    for index in (0, 2, 3, 4):
        assert found[index].coord.tobytes() == source[index].coord.tobytes()
    for path in source.files(4):
        path.unlink()
    found = dict(source.read_in_file_order([3, 4]))
    assert isinstance(found[4], UserError)
    assert not isinstance(found[3], UserError)


def test_a_damaged_page_leaves_the_frames_before_it_and_of_other_row_groups(tmp_path: Path):
    frames = tiny_split({"seg": [True] * 9})["seg"]
    write_segment_v2(tmp_path / "training", "seg", frames, frames_per_group=3)
    path = tmp_path / "training/lidar/seg.parquet"
    whole = pq.read_table(path)
    # A row a page, so that there are rows before and behind the damage.
    pq.write_table(whole, path, row_group_size=15, data_page_size=1, write_batch_size=1,
                   use_dictionary=False, compression="none", write_page_checksum=True)  # fmt: skip
    # Not in the frame's first row: pyarrow looks at the next page before it gives a list.
    rear = next(laser for laser in frames[4].lasers if laser.name == LaserName.REAR)
    data = bytearray(path.read_bytes())
    data[data.index(rear.returns[0][0, 0, :2].tobytes())] ^= 1
    path.write_bytes(data)
    source = SPEC.open(tmp_path)
    for found in (dict(source.read_in_file_order(range(9))), {4: None, 5: None}):
        for index in found:
            if index not in (4, 5):
                assert_is(found[index], frames[index])
                continue
            # pyarrow goes no further in a row group than the damage.
            said = refused_at(path, partial(source.__getitem__, index), "as parquet (", "CRC")
            assert found[index] is None or str(found[index]) == said
    for index in (0, 3, 6, 8):
        assert_is(source[index], frames[index])


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lz4"},
        {"compression": "snappy", "data_page_version": "2.0"},
        {"compression": "gzip", "use_dictionary": False},
        {"dictionary_pagesize_limit": 100, "data_page_size": 300},
        {"use_dictionary": False, "use_byte_stream_split": True},
    ],
)
def test_tables_may_be_written_in_any_way(tmp_path: Path, options: dict):
    frames = tiny_split({"seg": [True] * 3})["seg"]
    write_segment_v2(tmp_path / "training", "seg", frames)
    for table in IMAGES:
        path = tmp_path / "training" / table.tag / "seg.parquet"
        chosen = dict(options)
        if chosen.pop("use_byte_stream_split", False) and table is not schema.SEGMENTATION:
            names = [name for name in table.values if name.endswith(schema.VALUES)]
            chosen["use_byte_stream_split"] = [f"{name}.list.element" for name in names]
        pq.write_table(pq.read_table(path), path, **chosen)
    source = SPEC.open(tmp_path)
    for index in (2, 0, 1):
        assert_is(source[index], frames[index])


@both
def test_each_split_reads_its_own_folder_and_named_segments_come_from_any(
    write_root, data_format: str
):
    root = write_root(
        data_format,
        training={"seg_a": [True]},
        validation={"seg_b": [True], "seg_d": [True]},
        testing={"seg_c": [False]},
        testing_location={"seg_e": [False]},  # as older downloads have it
    )
    assert SPEC.open(root).names == ("seg_a/1000",)
    assert SPEC.open(root, "validation").names == ("seg_b/1000", "seg_d/1000")
    test = SPEC.open(root, "test", require_labels=False)
    assert test.names == ("seg_c/1000", "seg_e/1000")
    assert test[1].name == "seg_e/1000"
    assert list_sequences(root) == ("seg_a", "seg_b", "seg_c", "seg_d", "seg_e")
    source = SPEC.open(root, "training", sequences=["seg_d", "seg_a"])
    assert source.names == ("seg_d/1000", "seg_a/1000")
    assert_is(source[0], tiny_split({"seg_d": [True]})["seg_d"][0])
    refused(
        lambda: SPEC.open(root, sequences=["seg_x", "seg_a"]), "has no segment seg_x; copy it there"
    )


def test_a_record_file_of_any_name_is_found_by_the_segment_in_it(tmp_path: Path):
    frames = tiny_split({"seg_a": [True], "seg_b": [True]})
    write_segment_v1(tmp_path / "training/part_0/mine.tfrecord", frames["seg_a"])
    write_segment_v1(tmp_path / "training/part_1/yours.tfrecord", frames["seg_b"])
    assert SPEC.open(tmp_path).names == ("seg_a/1000", "seg_b/1000")
    source = SPEC.open(tmp_path, sequences=["seg_b"])
    assert source.names == ("seg_b/1000",)
    assert_is(source[0], frames["seg_b"][0])
    # What is listed can be asked for.
    assert list_sequences(tmp_path) == ("mine", "yours")
    assert SPEC.open(tmp_path, sequences=["yours"]).names == ("seg_b/1000",)


@both
def test_frames_without_lidar_are_counted_and_left_out(tmp_path: Path, data_format: str):
    frames = [
        tiny_frame(timestamp=1, labeled=True),
        tiny_frame(timestamp=2, lasers=[]),
        tiny_frame(timestamp=3, labeled=False),
    ]
    write_split(tmp_path / "training", data_format, {"seg_a": frames})
    source = SPEC.open(tmp_path)
    assert source.names == ("seg_a/1",)
    assert (source.skipped_unlabeled, source.skipped_without_lidar) == (1, 1)
    everything = SPEC.open(tmp_path, require_labels=False)
    assert everything.names == ("seg_a/1", "seg_a/3")
    assert (everything.skipped_unlabeled, everything.skipped_without_lidar) == (0, 1)


@both
def test_a_frame_of_some_lidars_has_their_points(tmp_path: Path, data_format: str):
    frame = tiny_frame(lasers=[LaserName.SIDE_LEFT, LaserName.TOP])
    write_split(tmp_path / "training", data_format, {"seg_a": [frame]})
    assert_is(SPEC.open(tmp_path)[0], frame)


@both
def test_frames_all_without_labels_are_refused_with_the_counts(write_root, data_format: str):
    root = write_root(data_format, training={"seg_a": [False, False]})
    refused_at(root / "training", lambda: SPEC.open(root), "no frame is left: 2 have no labels")


@both
def test_the_official_list_chooses_test_frames(write_root, data_format: str):
    root = write_root(data_format, testing={"seg_a": [False] * 3, "seg_b": [False]})
    everything = SPEC.open(root, "test", require_labels=False)
    listed = root / OFFICIAL_TEST_FRAMES
    listed.write_text("seg_b,1000\n\nseg_a,1200\n")
    assert SPEC.open(root, "test", require_labels=False).names == ("seg_a/1200", "seg_b/1000")
    chosen = SPEC.open(root, "test", sequences=["seg_a"], require_labels=False)
    assert len(chosen) == 3 < len(everything), "the list is for the whole split"
    for text, said in (
        (b"seg_b,1000\nseg_c,7\n", f"1 are not in {root} (seg_c/7 for example)"),
        (b"seg_b 1000\n", "line 1 is 'seg_b 1000'"),
        (b"seg_b,x\n", "line 1"),
        (b"\n", "no frame"),
        (b"\xff", "cannot be read as text"),
    ):
        listed.write_bytes(text)
        refused_at(listed, lambda: SPEC.open(root, "test", require_labels=False), said)


@both
def test_a_frame_names_its_files(write_root, data_format: str):
    root = write_root(data_format, training=LABELS)
    source = SPEC.open(root)
    files = source.files(1)
    assert source[1].path == files[0]
    assert all(path.is_file() for path in files)
    assert len(files) == (1 if data_format == "v1" else 5)
    assert all("seg_b" in path.name for path in files)


@both
def test_labels_of_other_lidars_than_top_are_none(tmp_path: Path, data_format: str):
    frame = tiny_frame(labeled=False)
    lasers = tuple(
        dataclasses.replace(one, labels=tuple(np.ones((2, 3, 2), np.int32) for _ in range(2)))
        if one.name == LaserName.FRONT
        else one
        for one in frame.lasers
    )
    # The index reads no further than TOP: the others come before it.
    labeled = dataclasses.replace(frame, lasers=lasers[::-1])
    write_split(tmp_path / "training", data_format, {"seg_a": [labeled]})
    refused(lambda: SPEC.open(tmp_path), "1 have no labels")
    assert SPEC.open(tmp_path, require_labels=False)[0].segment is None


def _read(source: Waymo, index: int) -> LidarFrame:
    return source[index]


def _owner(source: Waymo) -> tuple[int, int]:
    source[0]
    assert source._open is not None
    return source._open[0], os.getpid()


def test_a_forked_process_opens_its_own_tables(write_root):
    source = SPEC.open(write_root("v2", training=LABELS))
    source[0]
    context = get_context("fork")
    queue = context.SimpleQueue()
    # Handed over by the fork itself, open files and all, and not by pickling.
    child = context.Process(target=lambda: queue.put(_owner(source)))
    child.start()
    owner, process = queue.get()
    child.join()
    assert owner == process != os.getpid()


def test_a_frame_in_the_place_of_another_of_its_size_is_noticed(tmp_path: Path):
    frame = tiny_frame(timestamp=1000)
    path = tmp_path / "training/x.tfrecord"
    write_segment_v1(path, [frame])
    source = SPEC.open(tmp_path)
    write_segment_v1(path, [dataclasses.replace(frame, timestamp_micros=1001)])
    refused_at(path, lambda: source[0], "has changed since it was opened; start again")


@both
def test_a_source_travels_to_another_process(write_root, data_format: str):
    source = SPEC.open(write_root(data_format, training=LABELS))
    before = source[0]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.names == source.names
    np.testing.assert_array_equal(copy[0].coord, before.coord)
    # A forked process has its parent's open files: reading there must not disturb it.
    with get_context("fork").Pool(1) as pool:
        others = pool.starmap(_read, [(source, 2), (source, 1)])
    np.testing.assert_array_equal(others[0].coord, source[2].coord)
    np.testing.assert_array_equal(others[1].coord, source[1].coord)


@both
def test_a_pickled_source_is_small(tmp_path: Path, data_format: str):
    write_split(tmp_path / "training", data_format, tiny_split({"seg": [True] * 50}))
    source = SPEC.open(tmp_path)
    source.points_of(source.names[0])
    assert len(pickle.dumps(source)) < 10_000


@both
def test_top_pixels_are_those_of_the_points(write_root, data_format: str):
    source = SPEC.open(write_root(data_format, training=LABELS))
    expected = points(tiny_split(LABELS)["seg_b"][2])
    found = source.points_of("seg_b/1200")
    np.testing.assert_array_equal(found.top_pixel, expected.top_pixel)
    assert found.top_shape == (4, 6)
    refused(lambda: source.points_of("seg_b/1100"), "has no frame seg_b/1100")


@both
def test_the_index_is_built_once_and_again_when_a_file_changes(
    write_root, data_format: str, monkeypatch, tmp_path: Path
):
    root = write_root(data_format, training=LABELS)
    module = records_module if data_format == "v1" else tables_module
    name = "_summaries" if data_format == "v1" else "_index_segment"
    calls = []
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda one: calls.append(one.name) or original(one))
    cache = tmp_path / "cache"
    SPEC.open(root, cache_dir=cache)
    assert calls == ["seg_a", "seg_b"]
    again = SPEC.open(root, cache_dir=cache)
    assert len(calls) == 2
    assert_is(again[0], tiny_split(LABELS)["seg_a"][1])
    # One segment alone is not the whole folder, and does not push its index out.
    SPEC.open(root, sequences=["seg_b"], cache_dir=cache)
    SPEC.open(root, sequences=["seg_b"], cache_dir=cache)
    SPEC.open(root, cache_dir=cache)
    assert calls == ["seg_a", "seg_b", "seg_b"]
    write_split(root / "training", data_format, tiny_split({"seg_a": [True, True, True]}))
    assert len(SPEC.open(root, cache_dir=cache)) == 5
    assert len(calls) == 5
    (index,) = [path for path in cache.iterdir() if path.name.endswith("training.index")]
    index.write_bytes(index.read_bytes()[:-7])
    assert len(SPEC.open(root, cache_dir=cache)) == 5
    assert len(calls) == 7


@both
def test_a_file_that_changes_after_opening_is_named(write_root, data_format: str):
    root = write_root(data_format, training={"seg_a": [True, True, True]})
    source = SPEC.open(root)
    frames = tiny_split({"seg_a": [True, True, True]})["seg_a"]
    write_split(root / "training", data_format, {"seg_a": [frames[2], frames[1], frames[0]]})
    assert refused(lambda: source[0]).startswith(str(root / "training"))


@both
def test_a_frame_that_comes_twice_is_named_with_both_files(
    write_root, data_format: str, tmp_path: Path
):
    root = write_root(data_format, training={"seg_a": [True]}, validation={"seg_a": [True]})
    assert len(SPEC.open(root)) == 1
    said = refused(lambda: SPEC.open(root, sequences=["seg_a"]), "frame seg_a/1000 is in", " too")
    assert said.startswith(str(root / "validation"))
    assert f"in {root / 'training'}/" in said
