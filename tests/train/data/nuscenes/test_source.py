"""The reader of nuScenes: what it returns, and what it says about everything that is wrong."""

import json
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.nuscenes.rows import edit_table, token
from train.data.index import FOLDER
from train.data.nuscenes import CLASS_NAMES, NuScenes, keyframes, list_scenes
from train.data.nuscenes.classes import CATEGORY_NAMES
from train.errors import UserError


def one_line(error: pytest.ExceptionInfo[UserError], path: object, *parts: object) -> None:
    """Check that a message is one line, begins with the path and says all of the parts."""
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    for part in parts:
        assert str(part) in message, f"{part!r} is not in {message!r}"


def test_a_sweep_by_hand(tmp_path: Path):
    """Two points; every number in what is read is worked out on paper."""
    root = tmp_path / "by-hand"
    folder = root / "v1.0-trainval"
    folder.mkdir(parents=True)
    tables = {
        "scene": '[{"token": "s", "name": "scene-0001"}]',
        "sample": '[{"token": "m", "scene_token": "s"}]',
        # The car at (100, 200), turned a quarter to the left: its forward is the world's y.
        "ego_pose": '[{"token": "e", "rotation": [0.7071067811865476, 0, 0, 0.7071067811865476],'
        ' "translation": [100, 200, 0]}]',
        # The sensor 1 m ahead, 2 m up, turned a quarter to the right: its y is the car's forward.
        "calibrated_sensor": '[{"token": "c", "sensor_token": "t", "translation": [1, 0, 2],'
        ' "rotation": [0.7071067811865476, 0, 0, -0.7071067811865476]}]',
        "sample_data": '[{"token": "d", "sample_token": "m", "ego_pose_token": "e",'
        ' "calibrated_sensor_token": "c", "timestamp": 1, "is_key_frame": true,'
        ' "filename": "samples/LIDAR_TOP/x.pcd.bin"}]',
        "category": '[{"name": "vehicle.car", "index": 3}, {"name": "noise", "index": 200}]',
        "lidarseg": '[{"sample_data_token": "d", "filename": "lidarseg/v1.0-trainval/d.bin"}]',
    }
    for name, text in tables.items():
        (folder / f"{name}.json").write_text(text)
    (root / "samples/LIDAR_TOP").mkdir(parents=True)
    (root / "lidarseg/v1.0-trainval").mkdir(parents=True)
    # float32 1, 10, -0.5, 51, 7 and -2, 0, 0.25, 255, 31 as bytes, the lowest first.
    (root / "samples/LIDAR_TOP/x.pcd.bin").write_bytes(
        bytes.fromhex("0000803f 00002041 000000bf 00004c42 0000e040")
        + bytes.fromhex("000000c0 00000000 0000803e 00007f43 0000f841")
    )
    (root / "lidarseg/v1.0-trainval/d.bin").write_bytes(bytes([3, 200]))
    source = NuScenes(root, "training")
    assert (len(source), source.names, source.version) == (1, ("d",), "v1.0-trainval")
    sweep = source[0]
    np.testing.assert_array_equal(sweep.coord, [[1, 10, -0.5], [-2, 0, 0.25]])
    np.testing.assert_array_equal(sweep.strength, np.float32([[0.2], [1.0]]))
    assert (sweep.coord.dtype, sweep.strength.dtype) == (np.float32, np.float32)
    assert sweep.segment is not None
    assert sweep.segment.dtype == np.int64
    assert sweep.segment.tolist() == [3, -1]
    assert CLASS_NAMES[3] == "car"
    assert (sweep.name, sweep.path) == ("d", root / "samples/LIDAR_TOP/x.pcd.bin")
    # Ten metres ahead of the sensor and 1 to its right: 11 ahead of the car, which faces north.
    assert sweep.pose is not None
    assert (sweep.pose.shape, sweep.pose.dtype) == ((4, 4), np.float64)
    np.testing.assert_allclose(sweep.pose @ [1, 10, -0.5, 1], [101, 211, 1.5, 1], atol=1e-9)
    np.testing.assert_allclose(sweep.pose @ [-2, 0, 0.25, 1], [98, 201, 2.25, 1], atol=1e-9)
    # What a caller does to a sweep stays with it.
    sweep.pose[:] = 0
    sweep.coord[:] = 0
    again = source[0]
    assert again.pose is not None
    assert again.pose[3, 3] == 1
    assert again.coord[0, 1] == 10


def test_only_lidar_keyframes_in_order_of_scene_and_time(write_root):
    root = write_root({"scene-0002": 2, "scene-0003": 9, "scene-0001": 3})
    source = NuScenes(root, "training")
    assert source.sequences == ("scene-0001", "scene-0002")
    assert source.names == tuple(
        token(scene, number) for scene, count in (("scene-0001", 3), ("scene-0002", 2))
        for number in range(count)
    )  # fmt: skip
    assert [len(source[at].coord) for at in range(len(source))] == [3, 4, 5, 3, 4]
    assert len(source.missing_sequences) == 698
    assert (source.split, source.skipped_unlabelled) == ("training", 0)
    assert NuScenes(root, "validation").sequences == ("scene-0003",)
    assert list_scenes(root) == ("scene-0001", "scene-0002", "scene-0003")


def test_named_scenes_come_in_the_order_asked_for_whatever_their_split(write_root):
    root = write_root({"scene-0001": 2, "scene-0002": 1, "scene-0003": 2})
    source = NuScenes(root, "training", sequences=["scene-0003", "scene-0001"])
    assert source.sequences == ("scene-0003", "scene-0001")
    assert source.missing_sequences == ()
    assert source.names == tuple(
        token(scene, number) for scene in ("scene-0003", "scene-0001") for number in range(2)
    )


def test_labels_go_by_the_names_in_the_table(write_root):
    root = write_root({"scene-0001": 30})
    source = NuScenes(root, "training")
    path = root / f"lidarseg/v1.0-trainval/{token('scene-0001', 29)}_lidarseg.bin"
    names = [CATEGORY_NAMES[31 - raw] for raw in path.read_bytes()]
    segment = source[29].segment
    assert segment is not None
    assert len(set(names)) > 10
    meaning = {"human.pedestrian.child": 6, "flat.sidewalk": 12, "static.other": -1, "noise": -1}
    for name in meaning:
        raw = 31 - CATEGORY_NAMES.index(name)
        path.write_bytes(bytes([raw]) * 32)
        np.testing.assert_array_equal(source[29].segment, meaning[name])


def test_the_version_is_that_of_the_split(write_root):
    write_root({"scene-0061": 1, "scene-0103": 2}, "v1.0-mini")
    root = write_root({"scene-0077": 3}, "v1.0-test", labelled=False)
    assert NuScenes(root, "training").version == "v1.0-mini"
    assert NuScenes(root, "validation").sequences == ("scene-0103",)
    test = NuScenes(root, "test", require_labels=False)
    assert (test.version, len(test)) == ("v1.0-test", 3)
    assert test[2].segment is None
    assert test[2].pose is not None
    # Scenes by name are found wherever they are.
    assert NuScenes(root, "test", sequences=["scene-0103"]).version == "v1.0-mini"
    # Once the full data is there, it is preferred, and 0553 is a validation scene in it.
    write_root({"scene-0001": 1, "scene-0553": 1}, "v1.0-trainval")
    training = NuScenes(root, "training")
    assert (training.version, training.sequences) == ("v1.0-trainval", ("scene-0001",))
    assert NuScenes(root, "validation").sequences == ("scene-0553",)
    assert NuScenes(root, "training", sequences=["scene-0061"]).version == "v1.0-mini"
    assert list_scenes(root) == (
        "scene-0001", "scene-0061", "scene-0077", "scene-0103", "scene-0553",
    )  # fmt: skip


def test_keyframes_without_labels_are_skipped_and_counted_or_come_without(write_root):
    root = write_root({"scene-0001": 3})
    edit_table(root / "v1.0-trainval/lidarseg.json", lambda rows: rows.pop(0))
    source = NuScenes(root, "training")
    assert (source.names, source.skipped_unlabelled) == (
        (token("scene-0001", 0), token("scene-0001", 1)), 1,
    )  # fmt: skip
    everything = NuScenes(root, "training", require_labels=False)
    assert (len(everything), everything.skipped_unlabelled) == (3, 0)
    assert everything[1].segment is not None
    assert everything[2].segment is None


def test_the_files_of_a_sweep_are_there_and_are_those_that_it_is_made_of(write_root):
    root = write_root({"scene-0001": 2})
    edit_table(root / "v1.0-trainval/lidarseg.json", lambda rows: rows.pop(0))
    source = NuScenes(root, "training", require_labels=False)
    this = token("scene-0001", 0)
    tables = ["sample_data", "calibrated_sensor", "ego_pose"]
    assert source.files(1) == (
        source[1].path,
        *(root / f"v1.0-trainval/{name}.json" for name in tables),
    )
    assert source.files(0) == (
        source[0].path,
        root / f"lidarseg/v1.0-trainval/{this}_lidarseg.bin",
        *(root / f"v1.0-trainval/{name}.json" for name in [*tables, "lidarseg", "category"]),
    )
    assert all(path.is_file() for path in source.files(0))


def test_a_source_goes_to_another_process_and_back(write_root):
    source = NuScenes(write_root({"scene-0001": 3}), "training")
    twin = pickle.loads(pickle.dumps(source))
    assert twin.names == source.names
    np.testing.assert_array_equal(twin[2].segment, source[2].segment)
    np.testing.assert_array_equal(twin[2].pose, source[2].pose)


def test_the_tables_are_read_once_until_they_change(write_root, tmp_path: Path, monkeypatch):
    root = write_root({"scene-0001": 2})
    read = []
    rows = keyframes.read_rows

    def count(path: Path):
        read.append(path.stem)
        return rows(path)

    monkeypatch.setattr(keyframes, "read_rows", count)
    first = NuScenes(root, "training")
    assert sorted(read) == [
        "calibrated_sensor", "ego_pose", "lidarseg", "sample", "sample_data", "scene",
    ]  # fmt: skip
    second = NuScenes(root, "training")
    assert len(read) == 6
    assert second.names == first.names
    edit_table(
        root / "v1.0-trainval/ego_pose.json", lambda rows: rows[0].update(translation=[7, 8, 9])
    )
    third = NuScenes(root, "training")
    assert len(read) == 12
    assert not np.array_equal(third[1].pose, first[1].pose)
    elsewhere = tmp_path / "indices"
    NuScenes(root, "training", cache_dir=elsewhere)
    assert len(read) == 18
    assert len(list(elsewhere.iterdir())) == 1


def test_large_tables_are_announced_once(write_root, monkeypatch, capsys):
    root = write_root({"scene-0001": 2})
    monkeypatch.setattr(keyframes, "_LARGE_BYTES", 1_000)
    NuScenes(root, "training")
    said = capsys.readouterr().err
    assert f"{root / 'v1.0-trainval'}: reading 0.0 GB of tables, once" in said
    NuScenes(root, "training")
    assert capsys.readouterr().err == ""


def test_damaged_sweeps_are_refused_or_left_out_where_asked(write_root):
    root = write_root({"scene-0001": 4})
    points = [root / f for f in sorted((root / "samples/LIDAR_TOP").iterdir())]
    points[0].unlink()
    points[1].write_bytes(b"")
    with pytest.raises(UserError):
        NuScenes(root, "training")
    source = NuScenes(root, "training", strict=False)
    names = [token("scene-0001", number) for number in range(4)]
    assert source.names == (names[2], names[3])
    assert [len(source[at].coord) for at in range(2)] == [5, 6]
    assert source[1].pose is not None
    assert source[1].pose[0, 3] == 104.0
    assert set(source.unreadable) == {names[0], names[1]}
    assert source.unreadable[names[0]].startswith(f"{points[0]}: cannot be read")
    assert source.unreadable[names[1]].startswith(f"{points[1]}: the file is empty")
    for path in points[2:]:
        path.unlink()
    with pytest.raises(UserError) as error:
        NuScenes(root, "training", strict=False)
    one_line(error, points[0], "cannot be read")


@pytest.mark.real_data
def test_the_real_keyframe_has_the_published_values(real_data: Path, tmp_path: Path):
    root = real_data / "nuscenes/dev_tiny40"
    source = NuScenes(root, "validation", cache_dir=tmp_path)
    assert source.version == "v1.0-trainval"
    assert source.sequences == ("scene-0003",)
    assert source.names == ("5f6c1e0a0c3b444b97e78d2aa3fa34d2",)
    sweep = source[0]
    assert len(sweep.coord) == 40
    np.testing.assert_allclose(sweep.coord.min(axis=0), [-29.89, -55.80, -2.45], atol=0.006)
    np.testing.assert_allclose(sweep.coord.max(axis=0), [25.90, 15.11, 8.90], atol=0.006)
    assert (sweep.strength.min() * 255, sweep.strength.max() * 255) == (1.0, 79.0)
    # 17:2 24:15 27:1 28:12 30:1 31:9, and 31, the car itself, does not count
    assert sweep.segment is not None
    counts = np.bincount(sweep.segment + 1, minlength=17)
    assert {at - 1: n for at, n in enumerate(counts.tolist()) if n} == {
        -1: 9, 3: 2, 10: 15, 13: 1, 14: 12, 15: 1,
    }  # fmt: skip
    # The ground is at the world's height 0.
    assert sweep.pose is not None
    world = np.c_[sweep.coord, np.ones(40)] @ sweep.pose.T
    assert np.abs(world[sweep.segment == 10, 2]).max() < 0.5
    np.testing.assert_allclose(sweep.pose[:2, 3], [250.82, 917.48], atol=0.01)
    with pytest.raises(UserError) as error:
        NuScenes(root, "training", cache_dir=tmp_path)
    one_line(error, root / "v1.0-trainval/scene.json", "none of the 700 scenes", "scene-0003")


# ------------------------------------------------------------------ the folder


def test_a_root_that_is_none_is_described(tmp_path: Path):
    gone = tmp_path / "gone"
    with pytest.raises(UserError) as error:
        NuScenes(gone, "training")
    one_line(error, gone, "no such folder", "samples/LIDAR_TOP/")
    with pytest.raises(UserError) as error:
        NuScenes(tmp_path, "training")
    one_line(error, tmp_path, "the folder is empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        NuScenes(tmp_path / "file", "training")
    one_line(error, tmp_path / "file", "is a file")
    for number in range(8):
        (tmp_path / f"f{number}").mkdir()
    with pytest.raises(UserError) as error:
        NuScenes(tmp_path, "training")
    one_line(error, tmp_path, "not laid out as nuScenes", "found f0, f1", "f5 and 3 more")


@pytest.mark.parametrize(
    "level", ["..", "v1.0-trainval", "samples", "samples/LIDAR_TOP", "lidarseg/v1.0-trainval"]
)
def test_the_wrong_level_is_answered_with_the_right_one(write_root, level: str):
    root = write_root({"scene-0001": 1})
    with pytest.raises(UserError) as error:
        NuScenes(root / level, "training")
    one_line(error, root / level, "instead")
    proposed = Path(re.search(r"give (\S+) instead", str(error.value))[1])
    assert proposed.resolve() == root.resolve()
    assert len(NuScenes(proposed, "training")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "split must be one of training, validation, test, not 'train'"),
        ({"sequences": "scene-0001"}, "must be a list of scenes' names"),
        ({"sequences": ["scene-0001", "scene-0001"]}, "named twice"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(write_root, arguments, message: str):
    with pytest.raises(UserError, match=message):
        NuScenes(write_root({"scene-0001": 1}), **arguments)


def test_splits_and_scenes_that_are_not_there_are_named_with_those_that_are(write_root):
    root = write_root({"scene-0001": 1, "scene-0002": 1})
    with pytest.raises(UserError) as error:
        NuScenes(root, "test", require_labels=False)
    one_line(error, root, "has no v1.0-test", "it has v1.0-trainval")
    table = root / "v1.0-trainval/scene.json"
    with pytest.raises(UserError) as error:
        NuScenes(root, "validation")
    one_line(error, table, "none of the 150 scenes", "scene-0001, scene-0002")
    with pytest.raises(UserError) as error:
        NuScenes(root, "training", sequences=["scene-0001", "scene-0003"])
    one_line(error, table, "has no scene-0003", "it has scene-0001, scene-0002")
    edit_table(root / "v1.0-trainval/sample_data.json", lambda rows: rows.clear())
    with pytest.raises(UserError) as error:
        NuScenes(root, "training", require_labels=False)
    one_line(error, table.with_name("sample_data.json"), "no LIDAR_TOP keyframe of the 2 scenes")


# ------------------------------------------------------------------ the tables

USED = ["scene", "sample", "sample_data", "calibrated_sensor", "ego_pose", "lidarseg", "category"]


@pytest.mark.parametrize("name", USED)
def test_a_missing_or_damaged_table_is_named(write_root, name: str):
    root = write_root({"scene-0001": 2})
    path = root / f"v1.0-trainval/{name}.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, path, "damaged or cut short")
    path.unlink()
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, path, "unpack")


def test_without_lidarseg_the_sweeps_can_still_be_predicted(write_root):
    root = write_root({"scene-0001": 2}, labelled=False)
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    path = root / "v1.0-trainval/lidarseg.json"
    one_line(error, path, "no row for any of the 2 keyframes")
    path.unlink()
    (root / "v1.0-trainval/category.json").unlink()
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, path, "download of their own")
    assert NuScenes(root, "training", require_labels=False)[1].segment is None


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
        NuScenes(root, "training")
    one_line(error, path, "row 0", f"{key!r} points to nowhere, which is not in {target}")


@pytest.mark.parametrize("name", ["scene", "sample_data"])
def test_two_of_a_kind_are_refused(write_root, name: str):
    root = write_root({"scene-0001": 2, "scene-0002": 1})
    path = root / f"v1.0-trainval/{name}.json"
    key = {"scene": "name", "sample_data": "token"}[name]
    edit_table(path, lambda rows: [row.update({key: "same"}) for row in rows])
    with pytest.raises(UserError) as error:
        NuScenes(root, "training", sequences=["same"] if name == "scene" else [])
    one_line(error, path, "have the same")


def test_a_file_outside_the_root_is_not_opened(write_root, tmp_path: Path):
    root = write_root({"scene-0001": 1})
    (tmp_path / "LIDAR_TOP").mkdir()
    (tmp_path / "LIDAR_TOP/secret.pcd.bin").write_bytes(bytes(60))
    for name in ("../LIDAR_TOP/secret.pcd.bin", str(tmp_path / "LIDAR_TOP/secret.pcd.bin")):
        path = root / "v1.0-trainval/sample_data.json"
        edit_table(path, lambda rows, name=name: rows[0].update(filename=name))
        with pytest.raises(UserError) as error:
            NuScenes(root, "training")
        one_line(error, path, "not a file below the data root")


def test_the_base_download_s_categories_are_told_from_lidarseg_s(write_root):
    root = write_root({"scene-0001": 1})
    path = root / "v1.0-trainval/category.json"
    whole = path.read_text()
    edit_table(path, lambda rows: [row.pop("index") for row in rows])
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
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
            NuScenes(root, "training")
        one_line(error, path, "row 3", message)


# -------------------------------------------------- sizes: found when opening


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
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, gone[1], "it and 1 more files are named", "v1.0-trainval", "unpack all parts")
    assert len(NuScenes(root, "training", sequences=["scene-0002"])) == 1
    (label,) = (root / "lidarseg/v1.0-trainval").glob(f"{token('scene-0002', 0)}*")
    label.unlink()
    with pytest.raises(UserError) as error:
        NuScenes(root, "training", sequences=["scene-0002"])
    one_line(error, label, "it is named")


@pytest.mark.parametrize("size", [1, 16, 19, 21, 59, 61, 72])
def test_a_size_that_is_no_multiple_of_20_is_found_when_opening(pair, size: int):
    root, points, _ = pair
    points.write_bytes(b"\0" * size)
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, points, f"{size} bytes", "no multiple of 20")


def test_an_empty_sweep_is_found_when_opening(pair):
    root, points, labels = pair
    points.write_bytes(b"")
    labels.write_bytes(b"")
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, points, "(0 bytes)")


def test_a_file_that_would_fill_the_memory_is_not_read(pair):
    root, points, labels = pair
    source = NuScenes(root, "training")
    with points.open("r+b") as stream:
        stream.truncate(2 * 10**11)  # sparse: it takes no room on the disk
    for read in (lambda: NuScenes(root, "training"), lambda: source[0]):
        with pytest.raises(UserError) as error:
            read()
        one_line(error, points, "200000000000 bytes is more than a sweep of 10,000,000 points")
    with points.open("r+b") as stream:
        stream.truncate(60)
    with labels.open("r+b") as stream:
        stream.truncate(10**11)
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, labels, "more than a sweep")


@pytest.mark.parametrize("size", [0, 2, 4, 12])
def test_a_label_file_of_another_length_is_found_when_opening(pair, size: int):
    root, _, labels = pair
    labels.write_bytes(b"\0" * size)
    with pytest.raises(UserError) as error:
        NuScenes(root, "training")
    one_line(error, labels, f"{size} bytes", "3 points")


# -------------------------------------------------- contents: found when reading


def test_files_that_change_after_opening_are_found_when_reading(pair):
    root, points, labels = pair
    source = NuScenes(root, "training")
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, labels, "2 bytes")
    labels.write_bytes(whole)
    points.write_bytes(points.read_bytes()[:-1])
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, points, "no multiple of 20")
    points.unlink()
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, points, "cannot be read", "No such file")


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        *((value, column, "NaN or infinite values (first: point 1, x y z intensity ring = ")
          for value in (np.nan, np.inf, -np.inf) for column in range(5)),
        *((value, column, "more than 1000 m out (first: point 1, ")
          for value in (1000.5, -1e30) for column in range(3)),
        (256.0, 3, "an intensity outside 0..255 (first: point 1, "),
        (-1.0, 3, "an intensity outside 0..255 (first: point 1, "),
    ],
)  # fmt: skip
def test_a_value_that_no_sweep_has_is_named(pair, value: float, column: int, message: str):
    root, path, _ = pair
    points = np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 5).copy()
    points[1, column] = value
    path.write_bytes(points.tobytes())
    source = NuScenes(root, "training")
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, path, "1 of 3 points", message)


@pytest.mark.parametrize("first", ["# .PCD v0.7 - Point Cloud Data\n", "VERSION 0.7\n", "FIELDS x"])
def test_a_pcd_with_a_header_is_told_from_bare_numbers(pair, first: str):
    root, path, _ = pair
    path.write_bytes((first + "FIELDS x y z intensity\n").encode().ljust(60, b"\0"))
    source = NuScenes(root, "training")
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, path, "PCD header", "float32")


def test_an_unknown_label_number_is_named(pair):
    root, _, path = pair
    path.write_bytes(bytes([0, 77, 32]))
    source = NuScenes(root, "training")
    with pytest.raises(UserError) as error:
        source[0]
    one_line(error, path, "2 labels", "(32, 77; first at point 1)", "category.json")


# ------------------------------------------------------------------ mutated bytes

edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert"]),
        st.integers(0, 10_000),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=4,
)


def mutate(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Return the bytes with some overwritten, cut off or put in."""
    for what, where, new in changes:
        at = where % (len(data) + 1)
        if what == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif what == "cut":
            data = data[:at]
        else:
            data = data[:at] + new + data[at:]
    return data


def check_sound(source: NuScenes) -> None:
    """Check that whatever was read has the promised form."""
    assert len(source) >= 1
    for at in range(len(source)):
        sweep = source[at]
        count = sweep.path.stat().st_size // 20
        assert sweep.coord.shape == (count, 3)
        assert sweep.strength.shape == (count, 1)
        assert np.isfinite(sweep.coord).all()
        assert np.abs(sweep.coord).max() <= 1000.0
        assert 0 <= sweep.strength.min() <= sweep.strength.max() <= 1
        assert sweep.segment is not None
        assert sweep.segment.shape == (count,)
        assert -1 <= sweep.segment.min() <= sweep.segment.max() <= 15
        assert sweep.pose is not None
        assert np.isfinite(sweep.pose).all()
        np.testing.assert_allclose(sweep.pose[:3, :3] @ sweep.pose[:3, :3].T, np.eye(3), atol=1e-9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(point_edits=edits, label_edits=edits)
def test_damaged_files_give_a_sound_sweep_or_the_documented_error(pair, point_edits, label_edits):
    root, point_path, label_path = pair
    originals = {path: path.read_bytes() for path in (point_path, label_path)}
    point_path.write_bytes(mutate(originals[point_path], point_edits))
    label_path.write_bytes(mutate(originals[label_path], label_edits))
    try:
        check_sound(NuScenes(root, "training"))
    except UserError as error:
        message = str(error)
        assert message.startswith((f"{point_path}: ", f"{label_path}: "))
        assert "\n" not in message
    finally:
        for path, data in originals.items():
            path.write_bytes(data)


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
        check_sound(NuScenes(root, "training"))
    except UserError as error:
        message = str(error)
        assert message.startswith(str(root))
        assert "\n" not in message
    finally:
        path.write_bytes(original)


def test_twenty_thousand_sweeps_open_fast_the_second_time(write_root):
    root = write_root({"scene-0001": 1})
    version = root / "v1.0-trainval"
    this = token("scene-0001", 0)
    for name in ("sample_data", "lidarseg"):
        rows = json.loads((version / f"{name}.json").read_text())
        row = next(row for row in rows if row["token"] == this)
        # All sweeps share one file: the tables are what this is about.
        many = [
            row | {"token": f"{at:032x}", "sample_data_token": f"{at:032x}", "timestamp": at}
            for at in range(20_000)
        ]
        (version / f"{name}.json").write_text(json.dumps(many))
    first = NuScenes(root, "training")
    start = time.perf_counter()
    second = NuScenes(root, "training")
    elapsed = time.perf_counter() - start
    assert len(second) == 20_000
    assert second.names == first.names
    assert second[19_999].name == f"{19_999:032x}"
    assert elapsed < 2.0  # usually a tenth of it
