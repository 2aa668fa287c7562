"""Simulated Waymo data: the official layout, the same every time, read back as it was cast."""

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import EXACT, WALL, flat_scene
from tests.train.simulation.test_datasets import digest
from train.core.errors import UserError
from train.data.waymo import SPEC
from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.frame import Frame, LaserName
from train.data.waymo.range_image import points
from train.simulation import waymo as simulated
from train.simulation.simulator.drive import Stop
from train.simulation.simulator.scene import Frame as Place
from train.simulation.simulator.surfaces import THINGS
from train.simulation.waymo import ELONGATION_STEP_M, simulate_waymo, waymo_lidars

SMALL = {"num_frames": 5, "num_validation_frames": 1, "azimuth_steps": 100}
FIRST, SECOND = "100000000000000000_0000_000_0020_000", "100000000000000001_0001_000_0021_000"
VALIDATION = "200000000000000000_0000_000_0020_000"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the same simulation in both formats."""
    base = tmp_path_factory.mktemp("waymo")
    for file_format in ("v1", "v2"):
        simulate_waymo(base / file_format, file_format=file_format, seed=4, **SMALL)
    return {file_format: base / file_format for file_format in ("v1", "v2")}


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Return a segment's frames as they go to the writers: labeled, not, labeled."""
    return list(simulated._Segment("some", (7, 0, 0), waymo_lidars(400)).frames(2))


def laser_of(frame: Frame, name: LaserName = LaserName.TOP):
    return next(laser for laser in frame.lasers if laser.name == name)


# ------------------------------------------------------------------ on disk


def test_the_layout_is_waymo_s(roots: dict[str, Path]):
    tags = ("lidar", "lidar_calibration", "lidar_pose", "lidar_segmentation", "vehicle_pose")
    segments = (("training", FIRST), ("training", SECOND), ("validation", VALIDATION))
    assert set(digest(roots["v2"])) == {
        "simulation.json",
        *(f"{split}/{tag}/{name}.parquet" for tag in tags for split, name in segments),
    }
    assert set(digest(roots["v1"])) == {
        "simulation.json",
        *(f"{split}/segment-{name}_with_camera_labels.tfrecord" for split, name in segments),
    }


def test_frames_are_labeled_frames_and_others_lie_in_between(roots: dict[str, Path]):
    for root in roots.values():
        training, validation = SPEC.open(root, "training"), SPEC.open(root, "validation")
        assert (len(training), len(validation)) == (5, 1)
        # One after the first and one after the third frame of a segment.
        assert (training.skipped_unlabeled, validation.skipped_unlabeled) == (3, 1)
        assert [name.split("/")[0] for name in training.names] == [FIRST] * 4 + [SECOND]
        everything = SPEC.open(root, "training", require_labels=False)
        times = np.array([int(name.split("/")[1]) for name in everything.names if FIRST in name])
        assert (np.diff(times) > 0).all()
        assert np.diff(times)[0] == 100_000


def test_tables_are_those_of_the_dataset_in_several_row_groups(roots: dict[str, Path]):
    import pyarrow.parquet as pq

    keys = ["key.segment_context_name: string", "key.frame_timestamp_micros: int64"]
    laser = [*keys, "key.laser_name: int8"]

    def images(component: str, values: str, *numbers: int) -> list[str]:
        prefixes = [f"[{component}].range_image_return{number}" for number in numbers]
        kinds = (f"values: list<{values}>", "shape: fixed_size_list<int32>[3]")
        return [*laser, *(f"{prefix}.{kind}" for prefix in prefixes for kind in kinds)]

    expected = {
        "lidar": images("LiDARComponent", "float", 1, 2),
        "lidar_pose": images("LiDARPoseComponent", "float", 1),
        "lidar_calibration": [
            *(keys[0], laser[2]),
            "[LiDARCalibrationComponent].extrinsic.transform: fixed_size_list<double>[16]",
            "[LiDARCalibrationComponent].beam_inclination.min: double",
            "[LiDARCalibrationComponent].beam_inclination.max: double",
            "[LiDARCalibrationComponent].beam_inclination.values: list<double>",
        ],
        "lidar_segmentation": images("LiDARSegmentationLabelComponent", "int32", 1, 2),
        "vehicle_pose": [
            *keys,
            "[VehiclePoseComponent].world_from_vehicle.transform: fixed_size_list<double>[16]",
        ],
    }
    for tag, columns in expected.items():
        file = pq.ParquetFile(roots["v2"] / "training" / tag / f"{FIRST}.parquet")
        found = [
            f"{field.name}: {field.type}".replace("element: ", "").replace("item: ", "")
            for field in file.schema_arrow
        ]
        assert found == columns
        rows = {"lidar": 6 * 5, "lidar_calibration": 5, "lidar_segmentation": 4}
        assert file.metadata.num_rows == rows.get(tag, 6)
        if tag != "lidar_calibration":
            assert file.metadata.num_row_groups == 3


def test_both_formats_hold_the_same(roots: dict[str, Path]):
    tables, records = SPEC.open(roots["v2"], "training"), SPEC.open(roots["v1"], "training")
    assert tables.names == records.names
    for one, other in zip(tables, records, strict=True):
        for field in ("coord", "strength", "segment", "pose"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_every_segment_is_a_drive_of_its_own(roots: dict[str, Path]):
    frames = [SPEC.open(roots["v2"], sequences=[name])[0] for name in (FIRST, SECOND, VALIDATION)]
    for one, other in itertools.combinations(frames, 2):
        assert len(one.coord) != len(other.coord) or not np.array_equal(one.coord, other.coord)
        assert np.linalg.norm(one.pose[:3, 3] - other.pose[:3, 3]) > 100.0


def test_what_is_there_is_reused_and_another_format_is_refused(roots: dict[str, Path]):
    assert simulate_waymo(roots["v1"], file_format="v1", seed=4, **SMALL).reused
    with pytest.raises(UserError, match="file_format v1 instead of v2"):
        simulate_waymo(roots["v1"], seed=4, **SMALL)


# ------------------------------------------------------------------ what a frame holds


@pytest.fixture(scope="module")
def world() -> simulated._World:
    """Return where the wall's street lies."""
    return simulated._Segment("some", (2,), {}).world


def in_street(frame: Frame, world: simulated._World, coord: np.ndarray) -> np.ndarray:
    """Return points of a frame in the street's own coordinates, where the scene was made."""
    to_street = np.linalg.inv(world.from_street) @ frame.pose
    return coord @ to_street[:3, :3].T + to_street[:3, 3]


@pytest.fixture(scope="module")
def wall_frame(world: simulated._World) -> Frame:
    """Return a frame of exact sensors that pass a wall at x = 12 of the street, turning."""

    def sensor_frame(along: float) -> Place:
        angle = 0.05 * along
        return Place(20 * np.sin(angle), 20 * (1 - np.cos(angle)), 0.0, angle)

    lidars = {
        name: dataclasses.replace(
            lidar, echo=dataclasses.replace(EXACT, reach_m=lidar.echo.reach_m)
        )
        for name, lidar in waymo_lidars(600).items()
    }
    rng = np.random.default_rng(1)
    street = SimpleNamespace(sensor_frame=sensor_frame)
    stop = Stop(0, street, 0.0, 0.0, flat_scene(WALL), rng)
    segment = simulated._Segment("some", (2,), lidars)
    assert segment.world.start_micros == world.start_micros
    return segment.frame(stop, labeled=True)


def test_a_wall_decodes_to_where_it_is_through_the_reader(
    wall_frame: Frame, world: simulated._World
):
    found = points(wall_frame)
    street = in_street(wall_frame, world, found.coord)
    label = found.segment
    on_wall = (label == CLASS_NAMES.index("building")) & (np.abs(street[:, 1]) < 29.9)
    assert on_wall.sum() > 1000
    # Poses are kept in float32 in a world kilometers wide: half a millimeter each way.
    np.testing.assert_allclose(street[on_wall, 0], 12.0, atol=0.002)
    on_ground = label == CLASS_NAMES.index("sidewalk")
    assert on_ground.sum() > 1000
    np.testing.assert_allclose(street[on_ground, 2], 0.0, atol=0.002)
    # The small lidars' rays are cast and decoded from the frame's own pose.
    others = street[found.top_pixel < 0]
    assert len(others) > 1000
    off = np.minimum(np.abs(others[:, 2]), np.abs(others[:, 0] - 12.0))
    assert off.max() < 0.002
    assert (np.abs(others[:, 0] - 12.0) < 0.002).sum() > 50


def test_without_pixel_poses_the_wall_would_be_bent(wall_frame: Frame):
    top = laser_of(wall_frame)
    still = top.pixel_pose.copy()
    still[:] = still[:, still.shape[1] // 2, None]
    lasers = tuple(
        dataclasses.replace(laser, pixel_pose=still) if laser is top else laser
        for laser in wall_frame.lasers
    )
    found = points(dataclasses.replace(wall_frame, lasers=lasers))
    on_wall = found.coord[found.segment == CLASS_NAMES.index("building")].astype(np.float64)
    far = on_wall - on_wall.mean(axis=0)
    normal = np.linalg.svd(far, full_matrices=False)[2][2]
    assert np.abs(far @ normal).max() > 0.05


def test_what_is_read_back_is_what_was_cast(tmp_path: Path, frames: list[Frame]):
    simulated.write_segment_v1(tmp_path / "v1/training/segment-some.tfrecord", frames)
    simulated.write_segment_v2(tmp_path / "v2/training", "some", frames)
    for file_format in ("v1", "v2"):
        source = SPEC.open(tmp_path / file_format, require_labels=False)
        assert len(source) == 3
        for lidar_frame, frame in zip(source, frames, strict=True):
            cast = points(frame)
            np.testing.assert_array_equal(lidar_frame.coord, cast.coord)
            np.testing.assert_array_equal(lidar_frame.strength, cast.strength)
            np.testing.assert_array_equal(lidar_frame.pose, frame.pose)
            if cast.segment is None:
                assert lidar_frame.segment is None
            else:
                np.testing.assert_array_equal(lidar_frame.segment, cast.segment)


def test_only_top_has_labels_and_poses_and_only_labeled_frames_have_labels(frames: list[Frame]):
    assert [laser_of(frame).labels[0] is not None for frame in frames] == [True, False, True]
    for frame in frames:
        assert sorted(laser.name for laser in frame.lasers) == list(LaserName)
        for laser in frame.lasers:
            if laser.name != LaserName.TOP:
                assert laser.labels == (None, None)
                assert laser.pixel_pose is None
                assert laser.calibration.inclinations is None


def test_images_have_waymo_s_shapes_ranges_and_empty_pixels(frames: list[Frame]):
    for laser in frames[0].lasers:
        top = laser.name == LaserName.TOP
        reach = 75.0 if top else 20.0
        for image in laser.returns:
            assert image.shape == ((64, 400, 4) if top else (200, 90, 4))
            seen = image[..., 0] > 0
            assert (image[~seen] == -1.0).all()
            assert 0.4 < image[seen, 0].min() < image[seen, 0].max() < reach
            assert (image[seen, 1] >= 0).all()
        share = (laser.returns[0][..., 0] > 0).mean()
        assert share > 0.6 if top else 0.005 < share < 0.05


def test_values_are_quantized_as_in_the_dataset(frames: list[Frame]):
    for laser in frames[0].lasers:
        for image in laser.returns:
            seen = image[image[..., 0] > 0]
            assert (np.ascontiguousarray(seen[:, 1]).view(np.uint32) & 0xFFFF == 0).all()
            steps = seen[:, 2].astype(np.float64) / ELONGATION_STEP_M
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    elongation = laser_of(frames[0]).returns[0][..., 2]
    assert len(np.unique(elongation)) > 20


def test_second_returns_lie_behind_first_ones_and_have_labels(frames: list[Frame]):
    top = laser_of(frames[0])
    first, second = (image[..., 0] for image in top.returns)
    both = second > 0
    assert (first[both] > 0).all()
    assert (second[both] - first[both] > 0.4).all()
    assert 0.003 < both.sum() / (first > 0).sum() < 0.2
    classes = [label[..., 1] for label in top.labels]
    assert (classes[0][first <= 0] == 0).all()
    assert (classes[1][~both] == 0).all()
    assert (classes[1][both] > 0).mean() > 0.9
    # Many a second return is of another thing than the first.
    assert (classes[0][both] != classes[1][both]).mean() > 0.1


def test_instances_are_of_things_alone(frames: list[Frame]):
    counted = np.zeros(23, dtype=bool)
    for kind in THINGS:
        counted[kind.waymo] = True
    stuff = {8, 9, 10, 11, *range(14, 23)}
    assert not counted[list(stuff)].any()
    for frame in (frames[0], frames[2]):
        for label in laser_of(frame).labels:
            assert label.dtype == np.int32
            assert (label[np.isin(label[..., 1], list(stuff)), 0] == 0).all()
    label = laser_of(frames[0]).labels[0]
    things = np.isin(label[..., 1], np.flatnonzero(counted[1:]) + 1)
    assert things.sum() > 50
    assert (label[things, 0] > 0).all()
    assert len(np.unique(label[things, 0])) > 3


def test_the_no_label_zone_is_a_place_in_the_street(wall_frame: Frame, world: simulated._World):
    top = laser_of(wall_frame)
    found = points(dataclasses.replace(wall_frame, lasers=(top,)))
    zone = np.concatenate([image[image[..., 0] > 0, 3] for image in top.returns])
    assert set(zone) == {-1.0, 1.0}
    street = in_street(wall_frame, world, found.coord)
    x_from, x_to, y_from, y_to = world.no_label_zone
    depth = np.min(
        [street[:, 0] - x_from, x_to - street[:, 0], street[:, 1] - y_from, y_to - street[:, 1]],
        axis=0,
    )
    clear = np.abs(depth) > 0.01
    np.testing.assert_array_equal(zone[clear] > 0, depth[clear] > 0)
    for laser in wall_frame.lasers:
        if laser is not top:
            assert all((image[..., 3] == -1.0).all() for image in laser.returns)


def test_poses_move_from_column_to_column_about_the_frame_s(frames: list[Frame]):
    for frame in frames:
        pose = laser_of(frame).pixel_pose
        assert pose.shape == (64, 400, 6)
        assert (pose == pose[:1]).all()
        place = pose[0, :, 3:].astype(np.float64)
        middle = (place[199] + place[200]) / 2
        np.testing.assert_allclose(middle, frame.pose[:3, 3], atol=2e-3)
        # 8 m/s for 0.1 s.
        assert np.linalg.norm(place[-1] - place[0]) == pytest.approx(0.8, abs=0.01)
        assert np.linalg.norm(frame.pose[:2, 3]) > 100.0


def test_widths_may_be_any(tmp_path: Path):
    lidars = waymo_lidars(2650)
    assert lidars[LaserName.TOP].azimuth_steps == 2650
    assert lidars[LaserName.REAR].azimuth_steps == 200
    made = simulate_waymo(
        tmp_path / "data", num_frames=1, num_validation_frames=1, azimuth_steps=37
    )
    lidar_frame = SPEC.open(made.root, sequences=made.validation_sequences)[0]
    assert 1500 < len(lidar_frame.coord) < 64 * 37 * 2
