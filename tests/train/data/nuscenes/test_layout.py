"""Folders and tables of nuScenes that are laid out otherwise, cut short or at odds."""

import re
from pathlib import Path

import pytest

from tests.train.data.nuscenes.rows import edit_table, one_line
from train.core.errors import UserError
from train.data.nuscenes import SPEC

USED = ["scene", "sample", "sample_data", "calibrated_sensor", "ego_pose", "lidarseg", "category"]


def test_a_root_that_is_none_is_described(tmp_path: Path):
    gone = tmp_path / "gone"
    with pytest.raises(UserError) as error:
        SPEC.open(gone, "training")
    one_line(error, gone, "no such folder", "samples/LIDAR_TOP/")
    with pytest.raises(UserError) as error:
        SPEC.open(tmp_path, "training")
    one_line(error, tmp_path, "the folder is empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        SPEC.open(tmp_path / "file", "training")
    one_line(error, tmp_path / "file", "is a file")
    for number in range(8):
        (tmp_path / f"f{number}").mkdir()
    with pytest.raises(UserError) as error:
        SPEC.open(tmp_path, "training")
    one_line(error, tmp_path, "not laid out as nuScenes", "found f0, f1", "f5 and 3 more")


@pytest.mark.parametrize(
    "level", ["..", "v1.0-trainval", "samples", "samples/LIDAR_TOP", "lidarseg/v1.0-trainval"]
)
def test_the_wrong_level_is_answered_with_the_right_one(write_root, level: str):
    root = write_root({"scene-0001": 1})
    with pytest.raises(UserError) as error:
        SPEC.open(root / level, "training")
    one_line(error, root / level, "instead")
    proposed = Path(re.search(r"give (\S+) instead", str(error.value))[1])
    assert proposed.resolve() == root.resolve()
    assert len(SPEC.open(proposed, "training")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "split must be one of training, validation, test, not train"),
        ({"sequences": "scene-0001"}, "must be a list of names"),
        ({"sequences": ["scene-0001", "scene-0001"]}, "named twice"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(write_root, arguments, message: str):
    with pytest.raises(UserError, match=message):
        SPEC.open(write_root({"scene-0001": 1}), **arguments)


def test_splits_and_scenes_that_are_not_there_are_named_with_those_that_are(write_root):
    root = write_root({"scene-0001": 1, "scene-0002": 1})
    with pytest.raises(UserError) as error:
        SPEC.open(root, "test", require_labels=False)
    one_line(error, root, "has no v1.0-test", "it has v1.0-trainval")
    table = root / "v1.0-trainval/scene.json"
    with pytest.raises(UserError) as error:
        SPEC.open(root, "validation")
    one_line(error, table, "none of the 150 scenes", "scene-0001, scene-0002")
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training", sequences=["scene-0001", "scene-0003"])
    one_line(error, table, "has no scene-0003", "it has scene-0001, scene-0002")
    edit_table(root / "v1.0-trainval/sample_data.json", lambda rows: rows.clear())
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training", require_labels=False)
    one_line(error, table.with_name("sample_data.json"), "no LIDAR_TOP keyframe of the 2 scenes")


@pytest.mark.parametrize("name", USED)
def test_a_missing_or_damaged_table_is_named(write_root, name: str):
    root = write_root({"scene-0001": 2})
    path = root / f"v1.0-trainval/{name}.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training")
    one_line(error, path, "damaged or cut short")
    path.unlink()
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training")
    one_line(error, path, "unpack")


def test_without_lidarseg_the_sweeps_can_still_be_predicted(write_root):
    root = write_root({"scene-0001": 2}, labeled=False)
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training")
    path = root / "v1.0-trainval/lidarseg.json"
    one_line(error, path, "no row for any of the 2 keyframes")
    path.unlink()
    (root / "v1.0-trainval/category.json").unlink()
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training")
    one_line(error, path, "download of their own")
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
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training")
    one_line(error, path, "row 0", f"{key!r} points to nowhere, which is not in {target}")


@pytest.mark.parametrize("name", ["scene", "sample_data"])
def test_two_of_a_kind_are_refused(write_root, name: str):
    root = write_root({"scene-0001": 2, "scene-0002": 1})
    path = root / f"v1.0-trainval/{name}.json"
    key = {"scene": "name", "sample_data": "token"}[name]
    edit_table(path, lambda rows: [row.update({key: "same"}) for row in rows])
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training", sequences=["same"] if name == "scene" else [])
    one_line(error, path, "have the same")


def test_a_file_outside_the_root_is_not_opened(write_root, tmp_path: Path):
    root = write_root({"scene-0001": 1})
    (tmp_path / "LIDAR_TOP").mkdir()
    (tmp_path / "LIDAR_TOP/secret.pcd.bin").write_bytes(bytes(60))
    for name in ("../LIDAR_TOP/secret.pcd.bin", str(tmp_path / "LIDAR_TOP/secret.pcd.bin")):
        path = root / "v1.0-trainval/sample_data.json"
        edit_table(path, lambda rows, name=name: rows[0].update(filename=name))
        with pytest.raises(UserError) as error:
            SPEC.open(root, "training")
        one_line(error, path, "not a file below the data root")


def test_the_base_download_s_categories_are_told_from_lidarseg_s(write_root):
    root = write_root({"scene-0001": 1})
    path = root / "v1.0-trainval/category.json"
    whole = path.read_text()
    edit_table(path, lambda rows: [row.pop("index") for row in rows])
    with pytest.raises(UserError) as error:
        SPEC.open(root, "training")
    one_line(error, path, "have no 'index'", "nuScenes-lidarseg")
    for change, message in (
        ({"name": "vehicle.spaceship"}, "'vehicle.spaceship' is not one of"),
        ({"index": 31}, "'index' 31 of"),
        ({"index": 256}, "'index' 256 of"),
        ({"index": -1}, "'index' -1 of"),
        ({"index": "5"}, "'index' is '5', not a whole number"),
    ):
        path.write_text(whole)
        edit_table(path, lambda rows, change=change: rows[3].update(change))
        with pytest.raises(UserError) as error:
            SPEC.open(root, "training")
        one_line(error, path, "row 3", message)
