"""The reader of nuScenes: what it returns, and what a submission of it holds."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.damage import refused, refused_at
from tests.train.data.nuscenes.conftest import edit_table, token
from tests.train.data.submissions import entries
from train.data.nuscenes import CLASS_NAMES, SPEC, NuScenesSubmission, keyframes, list_scenes
from train.data.nuscenes.classes import CATEGORY_NAMES


def test_a_frame_by_hand(tmp_path: Path):
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
    source = SPEC.open(root, "training")
    assert (len(source), source.names, source.version) == (1, ("d",), "v1.0-trainval")
    frame = source[0]
    np.testing.assert_array_equal(frame.coord, [[1, 10, -0.5], [-2, 0, 0.25]])
    np.testing.assert_array_equal(frame.strength, np.float32([[0.2], [1.0]]))
    assert (frame.coord.dtype, frame.strength.dtype) == (np.float32, np.float32)
    assert frame.segment is not None
    assert frame.segment.dtype == np.int64
    assert frame.segment.tolist() == [3, -1]
    assert CLASS_NAMES[3] == "car"
    assert (frame.name, frame.path) == ("d", root / "samples/LIDAR_TOP/x.pcd.bin")
    # Ten meters ahead of the sensor and 1 to its right: 11 ahead of the car, which faces north.
    assert frame.pose is not None
    assert (frame.pose.shape, frame.pose.dtype) == ((4, 4), np.float64)
    np.testing.assert_allclose(frame.pose @ [1, 10, -0.5, 1], [101, 211, 1.5, 1], atol=1e-9)
    np.testing.assert_allclose(frame.pose @ [-2, 0, 0.25, 1], [98, 201, 2.25, 1], atol=1e-9)
    # What a caller does to a frame stays with it.
    frame.pose[:] = 0
    frame.coord[:] = 0
    again = source[0]
    assert again.pose is not None
    assert again.pose[3, 3] == 1
    assert again.coord[0, 1] == 10


def test_only_lidar_keyframes_in_order_of_scene_and_time(write_root):
    root = write_root({"scene-0002": 2, "scene-0003": 9, "scene-0001": 3})
    source = SPEC.open(root, "training")
    assert source.sequences == ("scene-0001", "scene-0002")
    assert source.names == tuple(
        token(scene, number) for scene, count in (("scene-0001", 3), ("scene-0002", 2))
        for number in range(count)
    )  # fmt: skip
    assert [len(source[at].coord) for at in range(len(source))] == [3, 4, 5, 3, 4]
    assert len(source.missing_sequences) == 698
    assert (source.split, source.skipped_unlabeled) == ("training", 0)
    assert SPEC.open(root, "validation").sequences == ("scene-0003",)
    assert list_scenes(root) == ("scene-0001", "scene-0002", "scene-0003")


def test_named_scenes_come_in_the_order_asked_for_whatever_their_split(write_root):
    root = write_root({"scene-0001": 2, "scene-0002": 1, "scene-0003": 2})
    source = SPEC.open(root, "training", sequences=["scene-0003", "scene-0001"])
    assert source.sequences == ("scene-0003", "scene-0001")
    assert source.missing_sequences == ()
    assert source.names == tuple(
        token(scene, number) for scene in ("scene-0003", "scene-0001") for number in range(2)
    )


def test_labels_go_by_the_names_in_the_table(write_root):
    root = write_root({"scene-0001": 30})
    source = SPEC.open(root, "training")
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
    root = write_root({"scene-0077": 3}, "v1.0-test", labeled=False)
    assert SPEC.open(root, "training").version == "v1.0-mini"
    assert SPEC.open(root, "validation").sequences == ("scene-0103",)
    test = SPEC.open(root, "test", require_labels=False)
    assert (test.version, len(test)) == ("v1.0-test", 3)
    assert test[2].segment is None
    assert test[2].pose is not None
    # Scenes by name are found wherever they are.
    assert SPEC.open(root, "test", sequences=["scene-0103"]).version == "v1.0-mini"
    # Once the full data is there, it is preferred, and 0553 is a validation scene in it.
    write_root({"scene-0001": 1, "scene-0553": 1}, "v1.0-trainval")
    training = SPEC.open(root, "training")
    assert (training.version, training.sequences) == ("v1.0-trainval", ("scene-0001",))
    assert SPEC.open(root, "validation").sequences == ("scene-0553",)
    assert SPEC.open(root, "training", sequences=["scene-0061"]).version == "v1.0-mini"
    assert list_scenes(root) == (
        "scene-0001", "scene-0061", "scene-0077", "scene-0103", "scene-0553",
    )  # fmt: skip


def test_keyframes_without_labels_are_skipped_and_counted_or_come_without(write_root):
    root = write_root({"scene-0001": 3})
    edit_table(root / "v1.0-trainval/lidarseg.json", lambda rows: rows.pop(0))
    source = SPEC.open(root, "training")
    assert (source.names, source.skipped_unlabeled) == (
        (token("scene-0001", 0), token("scene-0001", 1)), 1,
    )  # fmt: skip
    everything = SPEC.open(root, "training", require_labels=False)
    assert (len(everything), everything.skipped_unlabeled) == (3, 0)
    assert everything[1].segment is not None
    assert everything[2].segment is None


def test_the_files_of_a_frame_are_there_and_are_those_that_it_is_made_of(write_root):
    root = write_root({"scene-0001": 2})
    edit_table(root / "v1.0-trainval/lidarseg.json", lambda rows: rows.pop(0))
    source = SPEC.open(root, "training", require_labels=False)
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


def test_the_tables_are_read_once_until_they_change(write_root, tmp_path: Path, monkeypatch):
    root = write_root({"scene-0001": 2})
    read = []
    rows = keyframes.read_rows
    monkeypatch.setattr(keyframes, "read_rows", lambda path: read.append(path.stem) or rows(path))
    first = SPEC.open(root, "training")
    assert sorted(read) == [
        "calibrated_sensor", "ego_pose", "lidarseg", "sample", "sample_data", "scene",
    ]  # fmt: skip
    second = SPEC.open(root, "training")
    assert len(read) == 6
    assert second.names == first.names
    edit_table(
        root / "v1.0-trainval/ego_pose.json", lambda rows: rows[0].update(translation=[7, 8, 9])
    )
    third = SPEC.open(root, "training")
    assert len(read) == 12
    assert not np.array_equal(third[1].pose, first[1].pose)
    elsewhere = tmp_path / "indices"
    SPEC.open(root, "training", cache_dir=elsewhere)
    assert len(read) == 18
    assert len(list(elsewhere.iterdir())) == 1


def test_large_tables_are_announced_once(write_root, monkeypatch, capsys):
    root = write_root({"scene-0001": 2})
    monkeypatch.setattr(keyframes, "_LARGE_BYTES", 1_000)
    SPEC.open(root, "training")
    said = capsys.readouterr().err
    assert f"{root / 'v1.0-trainval'}: reading 0.0 GB of tables, once" in said
    SPEC.open(root, "training")
    assert capsys.readouterr().err == ""


def test_damaged_frames_are_refused_or_left_out_where_asked(write_root):
    root = write_root({"scene-0001": 4})
    points = [root / f for f in sorted((root / "samples/LIDAR_TOP").iterdir())]
    points[0].unlink()
    points[1].write_bytes(b"")
    refused(lambda: SPEC.open(root, "training"))
    source = SPEC.open(root, "training", strict=False)
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
    refused_at(points[0], lambda: SPEC.open(root, "training", strict=False), "cannot be read")


@pytest.mark.real_data
def test_the_real_keyframe_has_the_published_values(real_data: Path, tmp_path: Path):
    root = real_data / "nuscenes/dev_tiny40"
    source = SPEC.open(root, "validation", cache_dir=tmp_path)
    assert source.version == "v1.0-trainval"
    assert source.sequences == ("scene-0003",)
    assert source.names == ("5f6c1e0a0c3b444b97e78d2aa3fa34d2",)
    frame = source[0]
    assert len(frame.coord) == 40
    np.testing.assert_allclose(frame.coord.min(axis=0), [-29.89, -55.80, -2.45], atol=0.006)
    np.testing.assert_allclose(frame.coord.max(axis=0), [25.90, 15.11, 8.90], atol=0.006)
    assert (frame.strength.min() * 255, frame.strength.max() * 255) == (1.0, 79.0)
    # 17:2 24:15 27:1 28:12 30:1 31:9, and 31, the car itself, does not count
    assert frame.segment is not None
    counts = np.bincount(frame.segment + 1, minlength=17)
    assert {at - 1: n for at, n in enumerate(counts.tolist()) if n} == {
        -1: 9, 3: 2, 10: 15, 13: 1, 14: 12, 15: 1,
    }  # fmt: skip
    # The ground is at the world's height 0.
    assert frame.pose is not None
    world = np.c_[frame.coord, np.ones(40)] @ frame.pose.T
    assert np.abs(world[frame.segment == 10, 2]).max() < 0.5
    np.testing.assert_allclose(frame.pose[:2, 3], [250.82, 917.48], atol=0.01)
    refused_at(
        root / "v1.0-trainval/scene.json",
        lambda: SPEC.open(root, "training", cache_dir=tmp_path),
        "none of the 700 scenes",
        "scene-0003",
    )


def test_twenty_thousand_frames_open_fast_the_second_time(write_root):
    root = write_root({"scene-0001": 1})
    version = root / "v1.0-trainval"
    this = token("scene-0001", 0)
    for name in ("sample_data", "lidarseg"):
        rows = json.loads((version / f"{name}.json").read_text())
        row = next(row for row in rows if row["token"] == this)
        # All frames share one file: the tables are what this is about.
        many = [
            row | {"token": f"{at:032x}", "sample_data_token": f"{at:032x}", "timestamp": at}
            for at in range(20_000)
        ]
        (version / f"{name}.json").write_text(json.dumps(many))
    first = SPEC.open(root, "training")
    start = time.perf_counter()
    second = SPEC.open(root, "training")
    elapsed = time.perf_counter() - start
    assert len(second) == 20_000
    assert second.names == first.names
    assert second[19_999].name == f"{19_999:032x}"
    assert elapsed < 2.0  # usually a tenth of it


# ---- submissions ---------------------------------------------------------------------------------


def write(path: Path, source) -> dict[str, bytes]:
    submission = NuScenesSubmission(path, source)
    for at in range(len(source)):
        submission.add(source[at], np.arange(len(source[at].coord)) % 16)
    return entries(submission.finish())


def test_files_hold_the_server_s_names_and_ids(write_root, tmp_path: Path):
    root = write_root({"scene-0077": 30, "scene-0078": 2}, "v1.0-test", labeled=False)
    found = write(tmp_path / "s.zip", SPEC.open(root, "test", require_labels=False))
    content = found[f"lidarseg/test/{token('scene-0077', 29)}_lidarseg.bin"]
    assert list(content) == [*range(1, 17), *range(1, 17)]
    assert json.loads(found["test/submission.json"]) == {
        "meta": {
            "use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False,
            "use_external": False,
        }
    }  # fmt: skip
    assert len(found) == 33
    assert {name.rpartition("/")[0] for name in found} == {"test", "lidarseg/test"}


def test_the_folder_is_named_by_the_split(write_root, tmp_path: Path):
    root = write_root({"scene-0001": 1, "scene-0003": 1})
    write_root({"scene-0061": 1, "scene-0103": 1}, "v1.0-mini")
    for name, split, scene in (
        ("train", "training", "scene-0001"),
        ("val", "validation", "scene-0003"),
        ("mini_train", "training", "scene-0061"),
        ("mini_val", "validation", "scene-0103"),
    ):
        found = write(tmp_path / f"{name}.zip", SPEC.open(root, split, sequences=[scene]))
        assert list(found) == [
            f"{name}/submission.json", f"lidarseg/{name}/{token(scene, 0)}_lidarseg.bin",
        ]  # fmt: skip


def test_another_dataset_s_source_is_a_mistake_of_the_caller(tmp_path: Path):
    with pytest.raises(TypeError, match="must be a NuScenes, not a list"):
        NuScenesSubmission(tmp_path / "s.zip", [])
