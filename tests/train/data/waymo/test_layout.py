"""Where frames are looked for, and what is said about every other folder."""

import re
import shutil
from pathlib import Path

import pytest

from tests.train.data.damage import refused_at
from train.data.waymo import SPEC

both = pytest.mark.parametrize("data_format", ["v1", "v2"])
ONE = {"seg_a": [True]}


def refused(root: Path, *said: object, at: Path | None = None, split: str = "training") -> str:
    """Check that opening ends in one line that starts with a path and says all of the parts."""
    return refused_at(at or root, lambda: SPEC.open(root, split), *said)


def test_archives_that_were_not_unpacked_are_listed(tmp_path: Path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training_0000.tar").write_bytes(b"")
    refused(tmp_path, "found training, training_0000.tar")


@pytest.mark.parametrize("level", ["..", "../..", "training"])
def test_the_wrong_level_is_answered_with_the_right_one(write_root, level: str, tmp_path: Path):
    made = write_root("v1", training=ONE)
    root = tmp_path / "a/b/waymo"
    root.parent.mkdir(parents=True)
    made.rename(root)
    message = refused(root / level)
    proposed = Path(re.search(r"give (\S+) instead", message)[1])
    assert proposed.resolve() == root.resolve()
    assert len(SPEC.open(proposed)) == 1


def test_a_folder_that_is_only_called_training_is_no_reason_to_go_up(tmp_path: Path):
    (tmp_path / "training/mine/x").mkdir(parents=True)
    refused(tmp_path / "training/mine", "not laid out", "found x")


def test_both_formats_in_one_root_are_refused(write_root):
    root = write_root("v2", training=ONE, validation=ONE)
    other = write_root("v1", validation=ONE)
    assert len(SPEC.open(root)) == 1
    for path in (other / "validation").iterdir():
        shutil.copy(path, root / "validation")
    refused(root, "holds both parquet tables (training, validation)", "(validation)", "twice")


@both
def test_a_split_that_was_not_downloaded_is_named(write_root, data_format: str):
    root = write_root(data_format, training=ONE, testing=ONE)
    refused(root, "present: training, testing", at=root / "validation", split="validation")


@both
def test_a_split_folder_without_files_is_named(write_root, data_format: str):
    root = write_root(data_format, training=ONE)
    (root / "validation").mkdir()
    if data_format == "v1":
        refused(root, "no *.tfrecord", at=root / "validation", split="validation")
        return
    refused(root, "no such folder", at=root / "validation/lidar", split="validation")
    for tag in ("lidar", "lidar_pose", "lidar_calibration", "vehicle_pose"):
        (root / "validation" / tag).mkdir()
    refused(root, "no lidar/*.parquet", at=root / "validation", split="validation")


@pytest.mark.parametrize("tag", ["lidar", "lidar_pose", "lidar_calibration", "vehicle_pose"])
def test_a_table_that_was_not_downloaded_is_named(write_root, tag: str):
    root = write_root("v2", training={"seg_a": [True], "seg_b": [True]})
    folder = root / "training" / tag
    if tag != "lidar":
        (folder / "seg_b.parquet").unlink()
        refused(root, "lidar/seg_b.parquet is there", at=folder / "seg_b.parquet")
    shutil.rmtree(folder)
    refused(root, "no such folder", "lidar_segmentation", at=folder)


def test_segments_without_a_table_of_labels_have_none(write_root):
    root = write_root("v2", training={"seg_a": [True], "seg_b": [True, True]})
    (root / "training/lidar_segmentation/seg_b.parquet").unlink()
    source = SPEC.open(root)
    assert (source.names, source.skipped_unlabeled) == (("seg_a/1000",), 2)
    shutil.rmtree(root / "training/lidar_segmentation")
    refused(root, "3 have no labels", "lidar_segmentation", at=root / "training")
    assert len(SPEC.open(root, require_labels=False)) == 3


def test_hidden_files_and_other_files_are_passed_over(write_root):
    root = write_root("v1", training=ONE)
    (root / "training/.x.tfrecord").write_bytes(b"x")
    (root / "training/notes.txt").write_text("x")
    (root / "training/.hidden").mkdir()
    assert len(SPEC.open(root)) == 1
    root = write_root("v2", training=ONE)
    (root / "training/lidar/_SUCCESS").write_text("")
    (root / "training/camera_image").mkdir()
    assert len(SPEC.open(root)) == 1
