"""The reader of SemanticKITTI: what it returns, and what it says about everything that is wrong."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.damage import refused, refused_at
from train.data.semantickitti import (
    CLASS_NAMES,
    FILES,
    SPEC,
    TEST_SEQUENCES,
    TRAIN_SEQUENCES,
    VALIDATION_SEQUENCES,
    classes,
)

# The official learning map in its own numbers, 0 = ignored, copied by hand.
OFFICIAL_MAP = {
    0: 0, 1: 0, 10: 1, 11: 2, 13: 5, 15: 3, 16: 5, 18: 4, 20: 5, 30: 6, 31: 7, 32: 8, 40: 9, 44: 10,
    48: 11, 49: 12, 50: 13, 51: 14, 52: 0, 60: 9, 70: 15, 71: 16, 72: 17, 80: 18, 81: 19, 99: 0,
    252: 1, 253: 7, 254: 6, 255: 8, 256: 5, 257: 5, 258: 4, 259: 5,
}  # fmt: skip


def test_class_map_is_the_official_one_shifted_by_one():
    assert {raw: train + 1 for raw, train in classes.RAW_TO_TRAIN.items()} == OFFICIAL_MAP
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 19


def test_inverse_map_leads_back_to_the_same_class():
    assert len(classes.TRAIN_TO_RAW) == 19
    for train, raw in enumerate(classes.TRAIN_TO_RAW):
        assert classes.RAW_TO_TRAIN[raw] == train
        assert classes.RAW_NAMES[raw] == CLASS_NAMES[train]


@pytest.mark.real_data
def test_names_maps_and_splits_agree_with_the_official_yaml(real_data: Path):
    text = (real_data / "semantickitti/config/semantic-kitti.yaml").read_text()

    def section(name: str) -> dict[int, str]:
        body = re.search(rf"^{name}:.*\n((?:[ ]+.*\n|#.*\n)+)", text, re.MULTILINE)
        assert body is not None
        rows = re.findall(r"^ +(\d+) *: *\"?([\w-]+)", body[1], re.MULTILINE)
        return {int(key): value for key, value in rows}

    assert section("labels") == classes.RAW_NAMES
    learning = {raw: int(train) for raw, train in section("learning_map").items()}
    assert learning == {raw: train + 1 for raw, train in classes.RAW_TO_TRAIN.items()}
    inverse = section("learning_map_inv")
    assert [int(inverse[train + 1]) for train in range(19)] == list(classes.TRAIN_TO_RAW)
    split = re.search(r"^split:.*\n((?:.*\n)+)", text, re.MULTILINE)
    assert split is not None
    parts = re.split(r"^ +(train|valid|test):", split[1], flags=re.MULTILINE)
    lists = {
        name: tuple(f"{int(n):02d}" for n in re.findall(r"- (\d+)", body))
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    expected = {"train": TRAIN_SEQUENCES, "valid": VALIDATION_SEQUENCES, "test": TEST_SEQUENCES}
    assert lists == expected


def test_what_is_written_is_what_is_read(tmp_path: Path):
    rng = np.random.default_rng(3)
    points = rng.uniform(-80, 80, (500, 4)).astype("<f4")
    raw = rng.choice(sorted(OFFICIAL_MAP), 500)
    instance = rng.integers(0, 1 << 16, 500)
    for folder in ("velodyne", "labels"):
        (tmp_path / "sequences/07" / folder).mkdir(parents=True)
    point_path = tmp_path / "sequences/07/velodyne/000042.bin"
    point_path.write_bytes(points.tobytes())
    (tmp_path / "sequences/07/labels/000042.label").write_bytes(
        (raw + (instance << 16)).astype("<u4").tobytes()
    )
    source = SPEC.open(tmp_path, sequences=["07"])
    assert len(source) == 1
    assert source.names == ("07/000042",)
    frame = source[0]
    np.testing.assert_array_equal(frame.coord, points[:, :3])
    np.testing.assert_array_equal(frame.strength, points[:, 3:])
    assert frame.segment is not None
    assert frame.segment.tolist() == [OFFICIAL_MAP[number] - 1 for number in raw.tolist()]
    assert (frame.coord.dtype, frame.strength.dtype) == (np.float32, np.float32)
    assert frame.segment.dtype == np.int64
    assert (frame.name, frame.path) == ("07/000042", point_path)


def test_frames_come_in_the_order_asked_for(write_tree):
    # Many files, made in a jumbled order: no file system happens to list them sorted.
    numbers = np.random.default_rng(0).permutation(40).tolist()
    jumbled = {f"{number:06d}": (number + 1, True) for number in numbers}
    source = SPEC.open(write_tree({"03": jumbled, "01": jumbled}), sequences=["03", "01"])
    in_order = [f"{number:06d}" for number in range(40)]
    assert source.names == tuple(f"{seq}/{stem}" for seq in ("03", "01") for stem in in_order)
    assert [len(source[i].coord) for i in range(80)] == [*range(1, 41), *range(1, 41)]


def test_the_archive_s_own_top_folder_is_found(write_tree):
    root = write_tree({"00": {"000000": (4, True)}}, below="dataset/sequences")
    assert SPEC.open(root, sequences=["00"]).names == ("00/000000",)


def test_unlabeled_frames_are_skipped_and_counted_or_come_without_labels(write_tree):
    root = write_tree({"00": {"000000": (4, True), "000001": (5, False), "000002": (6, False)}})
    source = SPEC.open(root, sequences=["00"])
    assert (source.names, source.skipped_unlabeled) == (("00/000000",), 2)
    everything = SPEC.open(root, sequences=["00"], require_labels=False)
    assert (len(everything), everything.skipped_unlabeled) == (3, 0)
    assert everything[0].segment is not None
    assert everything[1].segment is None


@pytest.mark.real_data
def test_real_frames_have_the_published_counts_and_labels(real_data: Path):
    root = real_data / "semantickitti/dev"
    labeled = SPEC.open(root, sequences=["00"])
    assert (labeled.names, labeled.skipped_unlabeled) == (("00/000000",), 2)
    source = SPEC.open(root, sequences=["00"], require_labels=False)
    assert [len(source[i].coord) for i in range(3)] == [124_668, 124_605, 124_478]
    frame = source[0]
    low, high = [-78.09, -55.72, -11.56], [77.97, 44.88, 2.83]
    np.testing.assert_allclose(frame.coord.min(axis=0), low, atol=0.006)
    np.testing.assert_allclose(frame.coord.max(axis=0), high, atol=0.006)
    assert frame.strength.min() == 0.0
    assert frame.strength.max() == np.float32(0.99)
    assert frame.segment is not None
    # fmt: off
    assert np.bincount(frame.segment + 1, minlength=20).tolist() == [
        4886, 4234, 0, 0, 0, 0, 0, 0, 88, 35281, 3268, 26360, 0, 18268, 370, 27123, 1192, 2964, 532,
        102,
    ]
    # fmt: on


@pytest.mark.real_data
def test_the_tiny_real_file_reads(real_data: Path):
    frame = SPEC.open(real_data / "semantickitti/dev_tiny", sequences=["00"])[0]
    assert len(frame.coord) == 50
    assert frame.segment is not None
    # 0:2 50:25 52:1 70:17 71:3 80:2, and 52 does not count
    counts = np.bincount(frame.segment + 1, minlength=20)
    assert {i: n for i, n in enumerate(counts.tolist()) if n} == {
        0: 3,
        13: 25,
        15: 17,
        16: 3,
        18: 2,
    }


# ------------------------------------------------------------------ the folder


def test_the_parent_of_the_archive_s_own_top_folder_is_recognized(write_tree):
    root = write_tree({"00": {"000000": (4, True)}}, below="dataset/sequences")
    refused(lambda: SPEC.open(root.parent, sequences=["00"]), f"give {root / 'dataset'} instead")


ONE = {"000000": (4, True)}


@pytest.mark.parametrize(
    ("layout", "sequences", "said"),
    [
        (
            {"00": ONE, "08": ONE}, ["00", "01", "02"],
            ["kitti/sequences: missing 01/velodyne, 02/velodyne", "present: 00, 08"],
        ),
        ({"00": {}}, ["00"], ["sequences/00/velodyne: no frames", "NNNNNN.bin"]),
        (
            {"00": {"000000": (4, False), "000001": (4, False)}}, ["00"],
            ["kitti/sequences: none of the 2 frames", "labels/NNNNNN.label"],
        ),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(write_tree, layout, sequences: list[str], said: list[str]):
    root = write_tree(layout)
    refused(lambda: SPEC.open(root, sequences=sequences), root, *said)


def test_a_dangling_link_is_found_when_opening(write_tree):
    root = write_tree({"00": {"000000": (10, True)}})
    folder = root / "sequences/00/velodyne"
    (folder / "000001.bin").symlink_to(root / "gone.bin")
    refused(lambda: SPEC.open(root, sequences=["00"]), folder, "cannot be read")


def test_unknown_label_ids_are_named_and_many_are_cut(tmp_path: Path):
    path = tmp_path / "x.label"
    for unknown in (2, 19, 100, 251, 260, 65535):
        path.write_bytes(np.array([10, unknown | (9 << 16)], dtype="<u4").tobytes())
        refused_at(path, lambda: FILES.read_segment(path, 2), "1 labels", f"({unknown};", "point 1")
    path.write_bytes(np.arange(100, 120, dtype="<u4").tobytes())
    shown = "100, 101, 102, 103, 104, 105, 106, 107, ...;"
    refused_at(path, lambda: FILES.read_segment(path, 20), "20 labels", shown)
