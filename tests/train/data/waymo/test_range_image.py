"""Points of range images against numbers worked out by hand and against plain matrices.

What cannot be is refused in test_damaged.py, through files of either format.
"""

import dataclasses
import math

import numpy as np
import pytest

from tests.train.data.waymo.conftest import rotation, tiny_frame, transform
from train.data.frame import IGNORE_INDEX
from train.data.waymo.frame import Calibration, Frame, FrameError, Laser, LaserName
from train.data.waymo.range_image import NO_PIXEL, points

LEVEL = Calibration(np.eye(4), None, 0.0, 0.0)


def frame_of(*lasers: Laser, pose: np.ndarray | None = None) -> Frame:
    """Return a frame of some lidars."""
    return Frame("seg", 1, np.eye(4) if pose is None else pose, lasers)


def image_of(ranges: list[list[float]], intensity: float = 0.0) -> np.ndarray:
    """Return a range image of these ranges."""
    image = np.zeros((len(ranges), len(ranges[0]), 4), dtype=np.float32)
    image[..., 0], image[..., 1] = ranges, intensity
    return image


def front(ranges: list[list[float]], calibration: Calibration = LEVEL, **more) -> Laser:
    """Return a lidar without pixel poses."""
    return Laser(LaserName.FRONT, calibration, (image_of(ranges, **more), None))


def test_a_two_by_four_image_has_the_points_worked_out_by_hand():
    # Beams at 30 degrees up and down; the columns look to 135, 45, -45, -135 degrees.
    calibration = Calibration(np.eye(4), np.array([-math.pi / 6, math.pi / 6]), 0.0, 0.0)
    ranges = [[2.0, 2.0, 2.0, 2.0], [4.0, -1.0, 0.0, 4.0]]
    found = points(frame_of(front(ranges, calibration)))
    a = math.sqrt(1.5)  # 2 cos 30 cos 45
    expected = [
        [-a, a, 1.0], [a, a, 1.0], [a, -a, 1.0], [-a, -a, 1.0],
        [-2 * a, 2 * a, -2.0], [-2 * a, -2 * a, -2.0],
    ]  # fmt: skip
    np.testing.assert_allclose(found.coord, expected, atol=1e-6)
    assert found.coord.dtype == np.float32


def test_a_turned_lidar_has_its_seam_turned_too():
    # The sensor is turned left by 90 degrees and stands at (1, 2, 3): azimuths count from the
    # vehicle's own axes, so that column 1 still looks to 45 degrees.
    calibration = Calibration(transform([0, 0, math.pi / 2], [1, 2, 3]), None, 0.0, 0.0)
    found = points(frame_of(front([[0.0, math.sqrt(2.0), 0.0, 0.0]], calibration)))
    np.testing.assert_allclose(found.coord, [[2.0, 3.0, 3.0]], atol=1e-6)


def test_beams_that_are_not_listed_are_evenly_spaced_between_the_edges():
    # Four beams between -80 and 80 degrees: 60, 20, -20, -60, the highest in row 0.
    calibration = Calibration(np.eye(4), None, -math.radians(80), math.radians(80))
    found = points(frame_of(front([[1.0]] * 4, calibration)))
    inclination = np.degrees(np.arcsin(found.coord[:, 2].astype(float)))
    np.testing.assert_allclose(inclination, [60, 20, -20, -60], atol=1e-4)
    np.testing.assert_allclose(found.coord[:, 0], np.cos(np.radians(inclination)), atol=1e-6)


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        # A point at (1, 2, 3) after a quarter turn each; with several, roll comes first.
        ((0, 0, 90), (-2, 1, 3)),
        ((0, 90, 0), (3, 2, -1)),
        ((90, 0, 0), (1, -3, 2)),
        ((90, 90, 0), (2, -3, -1)),
        ((90, 90, 90), (3, 2, -1)),
    ],
)
def test_pixel_poses_turn_by_roll_then_pitch_then_yaw(angles, expected):
    # A single column looks forward: the lidar at (0, 2, 3) sees the point (1, 2, 3).
    calibration = Calibration(transform([0, 0, 0], [0, 2, 3]), None, 0.0, 0.0)
    pose = np.zeros((1, 1, 6), dtype=np.float32)
    pose[..., :3] = np.radians(angles)
    top = Laser(LaserName.TOP, calibration, (image_of([[1.0]]), None), pose)
    np.testing.assert_allclose(points(frame_of(top)).coord, [expected], atol=1e-6)


def test_the_vehicle_s_way_during_the_turn_is_taken_out():
    # When the pixel was measured the vehicle was 2 m further north than at the frame's pose, which
    # looks north: the point 1 m ahead of it then is 3 m ahead of the frame.
    pose = np.zeros((1, 1, 6), dtype=np.float32)
    pose[..., 2:] = (math.pi / 2, 1000.0, 5002.0, 30.0)
    top = Laser(LaserName.TOP, LEVEL, (image_of([[1.0]]), None), pose)
    place = transform([0, 0, math.pi / 2], [1000.0, 5000.0, 30.0])
    np.testing.assert_allclose(points(frame_of(top, pose=place)).coord, [[3, 0, 0]], atol=1e-4)


def test_both_returns_use_the_poses_of_the_first():
    pose = np.zeros((1, 1, 6), dtype=np.float32)
    pose[..., 3] = 7.0
    top = Laser(LaserName.TOP, LEVEL, (image_of([[1.0]]), image_of([[2.0]])), pose)
    np.testing.assert_allclose(points(frame_of(top)).coord, [[8, 0, 0], [9, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("axis", range(6))
def test_each_pixel_of_a_column_has_its_own_pose(axis: int):
    calibration = Calibration(transform([0, 0, 0], [0, 2, 3]), np.zeros(3), 0.0, 0.0)
    pose = np.full((3, 1, 6), 0.25, dtype=np.float32)
    pose[1, 0, axis] = 0.5
    top = Laser(LaserName.TOP, calibration, (image_of([[1.0]] * 3), None), pose)
    found = points(frame_of(top)).coord
    expected = [
        (transform(row[:3], row[3:]) @ [1, 2, 3, 1])[:3] for row in pose[:, 0].astype(float)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def plain_points(frame: Frame) -> np.ndarray:
    """Return the points of a frame, one pixel after the other, by plain matrices."""
    found = []
    for index in range(2):
        for laser in sorted(frame.lasers, key=lambda laser: laser.name):
            image, calibration = laser.returns[index], laser.calibration
            height, width = image.shape[:2]
            turned = math.atan2(calibration.extrinsic[1, 0], calibration.extrinsic[0, 0])
            for row in range(height):
                low, high = calibration.inclination_min, calibration.inclination_max
                up = height - 1 - row
                if calibration.inclinations is None:
                    inclination = low + (up + 0.5) / height * (high - low)
                else:
                    inclination = calibration.inclinations[up]
                for column in range(width):
                    azimuth = (2 * (width - column - 0.5) / width - 1) * math.pi - turned
                    distance = float(image[row, column, 0])
                    if distance <= 0:
                        continue
                    direction = rotation(0, -inclination, 0) @ [distance, 0, 0]
                    point = np.append(rotation(0, 0, azimuth) @ direction, 1.0)
                    point = calibration.extrinsic @ point
                    if laser.pixel_pose is not None:
                        pose = laser.pixel_pose[row, column].astype(float)
                        point = transform(pose[:3], pose[3:]) @ point
                        point = np.linalg.solve(frame.pose, point)
                    found.append(point[:3])
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
def test_points_are_those_of_plain_matrices_in_the_order_of_returns_lidars_and_rows(seed: int):
    frame = tiny_frame(seed=seed)
    shuffled = dataclasses.replace(frame, lasers=frame.lasers[::-1])
    expected = plain_points(frame)
    assert len(expected) > 30
    for given in (frame, shuffled):
        np.testing.assert_allclose(points(given).coord, expected, atol=2e-5)


def test_strength_is_tanh_of_the_intensity():
    found = points(frame_of(front([[1.0, 0.0], [2.0, 3.0]], intensity=27.1)))
    np.testing.assert_array_equal(found.strength, np.full((3, 1), np.tanh(np.float32(27.1))))
    found = points(frame_of(front([[1.0]], intensity=0.5)))
    np.testing.assert_allclose(found.strength, [[0.46211716]], rtol=1e-6)


def test_labels_are_those_of_top_less_one_and_nothing_elsewhere():
    frame = tiny_frame()
    found = points(frame)
    assert found.segment is not None
    top = next(laser for laser in frame.lasers if laser.name == LaserName.TOP)
    raw = np.concatenate(
        [
            label[..., 1][image[..., 0] > 0]
            for image, label in zip(top.returns, top.labels, strict=True)
        ]
    )
    of_top = found.top_pixel != NO_PIXEL
    np.testing.assert_array_equal(found.segment[of_top], raw.astype(int) - 1)
    assert (found.segment[~of_top] == IGNORE_INDEX).all()
    assert 0 < of_top.sum() < len(of_top)


def test_top_pixels_lead_back_to_the_range_images():
    frame = tiny_frame()
    found = points(frame)
    top = next(laser for laser in frame.lasers if laser.name == LaserName.TOP)
    assert found.top_shape == (4, 6)
    intensity = np.stack([image[..., 1] for image in top.returns]).reshape(-1)
    of_top = found.top_pixel != NO_PIXEL
    np.testing.assert_array_equal(
        np.tanh(intensity[found.top_pixel[of_top]]), found.strength[of_top, 0]
    )
    ranges = np.stack([image[..., 0] for image in top.returns]).reshape(-1)
    np.testing.assert_array_equal(found.top_pixel[of_top], np.flatnonzero(ranges > 0))


def test_a_frame_without_labels_has_none():
    assert points(tiny_frame(labeled=False)).segment is None


def test_a_frame_without_top_has_points_and_no_pixels():
    found = points(tiny_frame(lasers=[LaserName.REAR, LaserName.FRONT]))
    assert len(found.coord) > 2
    assert found.top_shape == (0, 0)
    assert (found.top_pixel == NO_PIXEL).all()


def test_a_second_return_that_is_not_there_is_no_return():
    frame = tiny_frame()
    lasers = tuple(dataclasses.replace(one, returns=(one.returns[0], None)) for one in frame.lasers)
    found = points(dataclasses.replace(frame, lasers=lasers))
    first = points(frame)
    np.testing.assert_array_equal(found.coord, first.coord[: len(found.coord)])


def changed(frame: Frame, name: LaserName, /, **parts) -> Frame:
    """Return a frame in which one lidar is another."""
    lasers = tuple(
        dataclasses.replace(laser, **parts) if laser.name == name else laser
        for laser in frame.lasers
    )
    return dataclasses.replace(frame, lasers=lasers)


def spoilt(frame: Frame, name: LaserName, channel: int, value: float) -> Frame:
    """Return a frame in which one pixel with a return has another value."""
    laser = next(laser for laser in frame.lasers if laser.name == name)
    image = laser.returns[0].copy()
    image[0, 0, channel] = value
    return changed(frame, name, returns=(image, laser.returns[1]))


@pytest.mark.parametrize("value", [-1.0, -0.0, -1000.5, -np.inf])
def test_a_range_that_is_not_above_zero_is_no_return(value: float):
    whole = points(tiny_frame())
    found = points(spoilt(tiny_frame(), LaserName.TOP, 0, value))
    assert len(found.coord) == len(whole.coord) - 1
    np.testing.assert_array_equal(found.coord, whole.coord[1:])


def test_labels_where_nothing_was_seen_do_not_matter():
    frame = tiny_frame()
    top = next(laser for laser in frame.lasers if laser.name == LaserName.TOP)
    label = top.labels[0].copy()
    label[top.returns[0][..., 0] <= 0] = 99
    assert points(changed(frame, LaserName.TOP, labels=(label, top.labels[1]))).segment is not None


def test_a_lidar_that_comes_twice_and_a_frame_without_any_point_are_refused():
    twice = changed(tiny_frame(), LaserName.TOP, name=LaserName.REAR)
    for frame, said in (
        (twice, "comes twice"),
        (frame_of(front([[-1.0, 0.0]])), "no lidar has a point"),
        (frame_of(), "no lidar has a point"),
    ):
        with pytest.raises(FrameError, match=said):
            points(frame)
