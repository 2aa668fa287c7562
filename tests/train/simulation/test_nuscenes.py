"""Simulated nuScenes on disk: the layout, the bytes, what the real loader makes of it."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from tests.train.simulation.exact_sensor import returns_of
from tests.train.simulation.test_datasets import digest
from train.core.errors import UserError
from train.data.dataset_spec import RECORD
from train.data.frame import LidarFrame
from train.data.nuscenes import CLASS_NAMES, SPEC
from train.data.nuscenes.layout import SCENES
from train.data.nuscenes.tables import read_rows
from train.simulation import nuscenes as simulated
from train.simulation.nuscenes import SimulatedTables, nuscenes_bytes, simulate_nuscenes
from train.simulation.simulator.drive import Stop
from train.simulation.simulator.models import hdl32
from train.simulation.simulator.surfaces import Kind

SMALL = {"num_frames": 2, "num_validation_frames": 1, "azimuth_steps": 60}
TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "lidarseg", "log", "map",
    "sample", "sample_annotation", "sample_data", "scene", "sensor", "visibility",
)  # fmt: skip


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a somewhat longer simulation that several tests look at."""
    root = tmp_path_factory.mktemp("drive") / "data"
    simulate_nuscenes(root, num_frames=6, num_validation_frames=2, azimuth_steps=400)
    return root


def test_the_layout_is_nuscenes_s(tmp_path: Path):
    made = simulate_nuscenes(tmp_path / "data", **SMALL)
    assert (made.training_sequences, made.validation_sequences) == (
        ("scene-0001",), ("scene-0003",),
    )  # fmt: skip
    files = digest(made.root)
    training, validation = SPEC.open(made.root, "training"), SPEC.open(made.root, "validation")
    assert (len(training), len(validation)) == (2, 1)
    assert set(files) == {
        RECORD,
        *(f"v1.0-trainval/{name}.json" for name in TABLES),
        *(f"lidarseg/v1.0-trainval/{name}_lidarseg.bin" for name in training.names),
        *(f"lidarseg/v1.0-trainval/{name}_lidarseg.bin" for name in validation.names),
        *(
            f"samples/LIDAR_TOP/simulated-{scene}__LIDAR_TOP__{time}.pcd.bin"
            for scene, time in (
                # Hours 1 and 2 of 2018, half a second apart.
                ("scene-0001", 1514768400000000),
                ("scene-0001", 1514768400500000),
                ("scene-0003", 1514772000000000),
            )
        ),
    }
    again = simulate_nuscenes(tmp_path / "data", **SMALL)
    assert (made.reused, again.reused) == (False, True)
    (tmp_path / "data/lidarseg/v1.0-trainval" / f"{validation.names[0]}_lidarseg.bin").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        simulate_nuscenes(tmp_path / "data", **SMALL)


def sizes(root: Path) -> dict[str, int]:
    return {name: len(table(root, name)) for name in TABLES}


def table(root: Path, name: str) -> list[dict[str, object]]:
    return json.loads((root / f"v1.0-trainval/{name}.json").read_text())


def test_every_reference_in_the_tables_leads_somewhere(drive: Path):
    assert sizes(drive) == {
        "attribute": 0, "calibrated_sensor": 3, "category": 32, "ego_pose": 8, "instance": 0,
        "lidarseg": 8, "log": 3, "map": 0, "sample": 8, "sample_annotation": 0, "sample_data": 8,
        "scene": 3, "sensor": 1, "visibility": 0,
    }  # fmt: skip
    tokens = {name: {row["token"] for row in table(drive, name)} for name in TABLES}
    for name in TABLES:
        assert len(tokens[name]) == len(table(drive, name))
        for row in table(drive, name):
            for key, value in row.items():
                target = key.removeprefix("first_").removeprefix("last_").removesuffix("_token")
                if key in ("prev", "next"):
                    assert value == "" or value in tokens[name]
                elif key != "token" and key.endswith("_token"):
                    assert value in tokens[target], (name, key)
                if key == "filename":
                    assert (drive / value).is_file()
    assert tokens["lidarseg"] == tokens["sample_data"] == tokens["ego_pose"]
    for name in ("sample", "sample_data"):
        rows = {row["token"]: row for row in table(drive, name)}
        for row in rows.values():
            if row["next"]:
                assert rows[row["next"]]["prev"] == row["token"]
                assert rows[row["next"]]["timestamp"] - row["timestamp"] == 500_000
        assert sum(row["next"] == "" for row in rows.values()) == 3
    samples = {row["token"]: row for row in table(drive, "sample")}
    for row in table(drive, "scene"):
        assert samples[row["first_sample_token"]]["prev"] == ""
        assert samples[row["last_sample_token"]]["next"] == ""
        own = [one for one in samples.values() if one["scene_token"] == row["token"]]
        assert len(own) == row["nbr_samples"]


def test_the_files_hold_what_the_format_says(drive: Path):
    seen = set()
    for split in ("training", "validation"):
        for frame in iter_frames(split, drive):
            raw = np.fromfile(frame.path, "<f4").reshape(-1, 5)
            assert 5_000 < len(raw) <= 400 * 32
            intensity, ring = raw[:, 3], raw[:, 4]
            assert np.array_equal(intensity, np.round(intensity))
            assert 0 <= intensity.min() < 20 < intensity.max() <= 255
            assert set(ring.tolist()) <= set(range(32))
            # Ring 0 is the lowest beam; a real one looks 30.7 degrees down, ring 31 10.7 up.
            elevation = np.rad2deg(np.arctan2(raw[:, 2], np.hypot(raw[:, 0], raw[:, 1])))
            # What is near, the roof and rays without a return, is seen from elsewhere: points are
            # given as from where the turn ends.
            away = np.hypot(raw[:, 0], raw[:, 1]) > 2.5
            for number in np.unique(ring):
                expected = -30.67 + number * 4 / 3
                assert abs(np.median(elevation[away & (ring == number)]) - expected) < 0.4
            # Columns are listed one after the other, each from the lowest beam up.
            assert (np.diff(ring) < 0).sum() < 400
            np.testing.assert_array_equal(frame.strength[:, 0], intensity / np.float32(255))
            assert frame.segment is not None
            seen |= set(frame.segment.tolist())
    assert len(seen) >= 9


def iter_frames(split: str, root: Path) -> list[LidarFrame]:
    source = SPEC.open(root, split)
    return [source[at] for at in range(len(source))]


def test_poses_lay_the_frames_of_a_scene_over_each_other(drive: Path):
    still = [CLASS_NAMES.index(name) for name in ("manmade", "driveable_surface", "sidewalk")]
    frames = iter_frames("training", drive)[:4]
    world = []
    for frame in frames:
        assert frame.pose is not None
        kept = np.isin(frame.segment, still)
        homogeneous = np.c_[frame.coord, np.ones(len(frame.coord))][kept]
        world.append((homogeneous @ frame.pose.T)[:, :3])
    for before, after in itertools.pairwise(world):
        assert np.median(cKDTree(before).query(after[after[:, 2] > 2.0])[0]) < 0.5
    # The car drives forward: 4 m from one keyframe to the next, along the y axis of the sensor.
    steps = [a.pose[:3, 3] - b.pose[:3, 3] for b, a in itertools.pairwise(frames)]
    for frame, step in zip(frames, steps, strict=False):
        assert 3.8 < np.linalg.norm(step) < 4.2
        assert step @ frame.pose[:3, 1] > 3.8
    # Its sensor sits 1.84 m above the road.
    for frame in frames:
        near = (frame.segment == 10) & (np.linalg.norm(frame.coord, axis=1) < 6)
        assert abs(np.median(frame.coord[near, 2]) + 1.84) < 0.15


def test_the_pose_is_the_sensor_s_at_the_end_of_the_turn(tmp_path: Path, monkeypatch):
    motions = []

    def record(stop, *arguments):
        motions.append(motion(stop, *arguments))
        return motions[-1]

    motion = Stop.motion
    monkeypatch.setattr(Stop, "motion", record)
    made = simulate_nuscenes(tmp_path / "data", **SMALL)
    frames = iter_frames("training", made.root) + iter_frames("validation", made.root)
    for frame, motion in zip(frames, motions, strict=True):
        first, last = motion.poses(np.array([0.0, 1.0])) @ hdl32().mount
        assert np.linalg.norm(last[:3, 3] - first[:3, 3]) > 0.3
        np.testing.assert_allclose(frame.pose, last, atol=1e-9)


def test_bytes_by_hand():
    # Two columns; the first saw row 5 (ring 26), then row 30 (ring 1).
    returns = returns_of(
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        [10, 255, 0],
        [Kind.CAR, Kind.OWN_VEHICLE, Kind.TRUNK],
        row=[5, 30, 31],
        column=[0, 0, 1],
    )
    points, labels = nuscenes_bytes(returns)
    assert np.frombuffer(points, "<f4").tolist() == [
        4, 5, 6, 255, 1, 1, 2, 3, 10, 26, 7, 8, 9, 0, 0,
    ]  # fmt: skip
    # vehicle.ego, vehicle.car, static.vegetation
    assert list(labels) == [31, 17, 30]


def test_frames_are_shared_out_over_the_official_scenes(tmp_path: Path, monkeypatch):
    asked = {}
    monkeypatch.setattr(simulated, "simulate", lambda root, **wanted: asked.update(wanted))
    for count, each, last in ((1, 1, 1), (4, 4, 4), (9, 4, 1), (2800, 4, 4), (2801, 5, 1)):
        simulate_nuscenes(tmp_path, num_frames=count)
        counts = list(asked["training"].values())
        assert sum(counts) == count
        assert (counts[0], counts[-1]) == (each, last)
        assert tuple(asked["training"]) == SCENES["training"]["v1.0-trainval"][: len(counts)]
    simulate_nuscenes(tmp_path, num_frames=28_000, num_validation_frames=6_000)
    assert set(asked["training"].values()) == set(asked["validation"].values()) == {40}
    assert (len(asked["training"]), len(asked["validation"])) == (700, 150)
    with pytest.raises(UserError, match=r"num_validation_frames is 6001; .* hold at most 6000"):
        simulate_nuscenes(tmp_path, num_validation_frames=6_001)


@given(
    turn=st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    place=st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
    half_turn=st.booleans(),
)
def test_poses_survive_the_tables(tmp_path_factory, turn, place, half_turn):
    from scipy.spatial.transform import Rotation

    quaternion = np.array(turn)
    if half_turn:
        quaternion[0] = 0.0  # the case in which the usual formula divides by zero
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([0.0, 0.0, 0.0, 1.0])
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(quaternion[[1, 2, 3, 0]]).as_matrix()
    pose[:3, 3] = place
    tables = SimulatedTables(0)
    tables.add_scene("scene-0001", 1, np.eye(4))
    tables.add_keyframe(0, pose)
    folder = tmp_path_factory.mktemp("tables") / "v1.0-trainval"
    tables.write(folder)
    (row,) = read_rows(folder / "ego_pose.json")
    np.testing.assert_allclose(row.transform(), pose, atol=1e-9)
