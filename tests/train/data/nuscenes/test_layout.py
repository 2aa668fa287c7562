"""Folders and tables of nuScenes that are laid out otherwise, cut short or at odds."""

from functools import partial
from pathlib import Path

import pytest

from tests.train.data.damage import refused_at
from tests.train.data.nuscenes.conftest import edit_table
from train.data.nuscenes import SPEC

USED = ["scene", "sample", "sample_data", "calibrated_sensor", "ego_pose", "lidarseg", "category"]


def test_splits_and_scenes_that_are_not_there_are_named_with_those_that_are(write_root):
    root = write_root({"scene-0001": 1, "scene-0002": 1})
    table, both = root / "v1.0-trainval/scene.json", "scene-0001, scene-0002"
    wanted = ["scene-0001", "scene-0003"]
    for path, split, sequences, said in (
        (root, "test", (), ("has no v1.0-test", "it has v1.0-trainval")),
        (table, "validation", (), ("none of the 150 scenes", both)),
        (table, "training", wanted, ("has no scene-0003", f"it has {both}")),
    ):
        refused_at(path, partial(SPEC.open, root, split, sequences=sequences), *said)
    edit_table(root / "v1.0-trainval/sample_data.json", lambda rows: rows.clear())
    refused_at(
        table.with_name("sample_data.json"),
        lambda: SPEC.open(root, "training", require_labels=False),
        "no LIDAR_TOP keyframe of the 2 scenes",
    )


@pytest.mark.parametrize("name", USED)
def test_a_missing_or_damaged_table_is_named(write_root, name: str):
    root = write_root({"scene-0001": 2})
    path = root / f"v1.0-trainval/{name}.json"
    path.write_text(path.read_text()[:-30])
    refused_at(path, lambda: SPEC.open(root, "training"), "damaged or cut short")
    path.unlink()
    refused_at(path, lambda: SPEC.open(root, "training"), "unpack")


def test_without_lidarseg_the_frames_can_still_be_predicted(write_root):
    root = write_root({"scene-0001": 2}, labeled=False)
    path = root / "v1.0-trainval/lidarseg.json"
    refused_at(path, lambda: SPEC.open(root, "training"), "no row for any of the 2 keyframes")
    path.unlink()
    (root / "v1.0-trainval/category.json").unlink()
    refused_at(path, lambda: SPEC.open(root, "training"), "download of their own")
    assert SPEC.open(root, "training", require_labels=False)[1].segment is None


@pytest.mark.parametrize(
    ("table", "key", "target"),
    [
        ("sample", "scene_token", "scene.json"),
        ("sample_data", "sample_token", "sample.json"),
        ("sample_data", "ego_pose_token", "ego_pose.json"),
        ("sample_data", "calibrated_sensor_token", "calibrated_sensor.json"),
    ],
)
def test_a_token_that_points_nowhere_is_named(write_root, table: str, key: str, target: str):
    root = write_root({"scene-0001": 1})
    path = root / f"v1.0-trainval/{table}.json"
    edit_table(path, lambda rows: rows[0].update({key: "nowhere"}))
    said = "row 0", f"{key!r} points to nowhere, which is not in {target}"
    refused_at(path, lambda: SPEC.open(root, "training"), *said)


@pytest.mark.parametrize(
    ("name", "key", "sequences"), [("scene", "name", ["same"]), ("sample_data", "token", [])]
)
def test_two_of_a_kind_are_refused(write_root, name: str, key: str, sequences: list[str]):
    root = write_root({"scene-0001": 2, "scene-0002": 1})
    path = root / f"v1.0-trainval/{name}.json"
    edit_table(path, lambda rows: [row.update({key: "same"}) for row in rows])
    refused_at(path, lambda: SPEC.open(root, sequences=sequences), "have the same")


def test_a_file_outside_the_root_is_not_opened(write_root, tmp_path: Path):
    root = write_root({"scene-0001": 1})
    (tmp_path / "LIDAR_TOP").mkdir()
    (tmp_path / "LIDAR_TOP/secret.pcd.bin").write_bytes(bytes(60))
    for name in ("../LIDAR_TOP/secret.pcd.bin", str(tmp_path / "LIDAR_TOP/secret.pcd.bin")):
        path = root / "v1.0-trainval/sample_data.json"
        edit_table(path, lambda rows, name=name: rows[0].update(filename=name))
        refused_at(path, lambda: SPEC.open(root, "training"), "not a file below the data root")


def test_the_base_download_s_categories_are_told_from_lidarseg_s(write_root):
    root = write_root({"scene-0001": 1})
    path = root / "v1.0-trainval/category.json"
    whole = path.read_text()
    edit_table(path, lambda rows: [row.pop("index") for row in rows])
    refused_at(path, lambda: SPEC.open(root, "training"), "have no 'index'", "nuScenes-lidarseg")
    for change, message in (
        ({"name": "vehicle.spaceship"}, "'vehicle.spaceship' is not one of"),
        ({"index": 31}, "'index' 31 of"),
        ({"index": 256}, "'index' 256 of"),
        ({"index": -1}, "'index' -1 of"),
        ({"index": "5"}, "'index' is '5', not a whole number"),
    ):
        path.write_text(whole)
        edit_table(path, lambda rows, change=change: rows[3].update(change))
        refused_at(path, lambda: SPEC.open(root, "training"), "row 3", message)
