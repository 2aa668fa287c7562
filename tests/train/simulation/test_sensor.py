"""The spinning LiDAR's geometry against hand-computed rays, and the sensors of three datasets."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import EXACT, WALL, flat_scene, lidar_of, raised, scan
from train.simulation.simulator import models
from train.simulation.simulator.drive import drive
from train.simulation.simulator.scene import Frame
from train.simulation.simulator.sensor import (
    Motion,
    Roof,
    Shadow,
    SpinningLidar,
    moving_along,
    rotations,
)
from train.simulation.simulator.surfaces import Kind


def moving(frame_at, along_m: float = 0.0, speed_m_s: float = 8.0, **settings) -> Motion:
    settings = {"period_s": 0.1, "tilt_deg": 0.0, "rng": np.random.default_rng(0)} | settings
    return moving_along(frame_at, along_m, speed_m_s=speed_m_s, **settings)


def driving(speed_m_s: float, period_s: float, turn_rad_m: float = 0.0) -> Motion:
    """Return the motion along a circle (or a line), half of it before and half after the origin."""

    def frame_at(along: float) -> Frame:
        if turn_rad_m == 0.0:
            return Frame(along, 0.0, 0.0, 0.0)
        angle = along * turn_rad_m
        return Frame(np.sin(angle) / turn_rad_m, (1 - np.cos(angle)) / turn_rad_m, 0.0, angle)

    return moving(frame_at, speed_m_s=speed_m_s, period_s=period_s)


# ------------------------------------------------------------------ where rays go


@pytest.mark.parametrize("starts", [None, (0.2, 0.1, 0.3)], ids=["origin", "higher"])
def test_flat_ground_is_seen_in_rings_of_height_over_tangent(starts):
    heights = None if starts is None else np.array(starts)
    returns = scan(lidar_of(-5.0, -10.0, -20.0, beam_heights_m=heights), flat_scene())
    radius = np.hypot(returns.coord[:, 0], returns.coord[:, 1])
    for row, elevation in enumerate((5.0, 10.0, 20.0)):
        expected = (2.0 + (starts or (0.0,) * 3)[row]) / np.tan(np.deg2rad(elevation))
        np.testing.assert_allclose(radius[returns.row == row], expected, atol=1e-3)
    np.testing.assert_allclose(returns.coord[:, 2], -2.0, atol=1e-3)
    # A few percent of any surface's rays are lost, the others are all there.
    assert 0.95 * 3 * 360 < len(radius) <= 3 * 360


@pytest.mark.parametrize("clockwise", [False, True])
def test_columns_start_where_they_should_and_go_round(clockwise: bool):
    lidar = lidar_of(-10.0, azimuth_steps=8, first_azimuth_deg=30.0, clockwise=clockwise)
    returns = scan(lidar, flat_scene())
    azimuth = np.rad2deg(np.arctan2(returns.coord[:, 1], returns.coord[:, 0]))
    way = -1.0 if clockwise else 1.0
    expected = 30.0 + way * (returns.column + 0.5) * 45.0
    np.testing.assert_allclose((azimuth - expected + 180.0) % 360.0 - 180.0, 0.0, atol=1e-4)
    assert (np.diff(returns.column) > 0).all()


def test_azimuths_come_in_whole_steps_of_the_encoder():
    lidar = lidar_of(-10.0, azimuth_steps=2150, azimuth_quantum_deg=0.09)
    coord = scan(lidar, flat_scene()).coord.astype(np.float64)
    azimuth = np.rad2deg(np.arctan2(coord[:, 1], coord[:, 0]))
    np.testing.assert_allclose(azimuth / 0.09, np.round(azimuth / 0.09), atol=2e-3)
    # As in a real frame, a step of 0.09 for every six of 0.18 degrees.
    step = np.diff(azimuth)
    assert 0.12 < (np.abs(step - 0.09) < 0.01).mean() < 0.16


def test_listed_by_beam_every_ring_turns_from_straight_ahead_to_the_left():
    returns = scan(lidar_of(-5.0, -10.0, by_beam=True), flat_scene())
    assert (np.diff(returns.row) >= 0).all()
    azimuth = np.rad2deg(np.arctan2(returns.coord[:, 1], returns.coord[:, 0])) % 360.0
    for row in (0, 1):
        assert (np.diff(azimuth[returns.row == row]) > 0).all()
    in_time = scan(lidar_of(-5.0, -10.0), flat_scene())
    assert (np.diff(in_time.column) >= 0).all()
    assert sorted(map(bytes, returns.coord)) == sorted(map(bytes, in_time.coord))


def test_points_are_in_the_axes_of_the_sensor_not_of_the_vehicle():
    returns = scan(lidar_of(0.0, mount=raised(2.0, yaw=-np.pi / 2)), flat_scene(WALL))
    # x to the right: what is ahead of the vehicle lies along y.
    np.testing.assert_allclose(returns.coord[:, 1], 12.0, atol=1e-5)
    assert len(returns.coord) > 90


def test_coordinates_ranges_and_cells_agree():
    lidar = lidar_of(3.0, -4.0, -9.0, first_azimuth_deg=10.0, clockwise=True)
    returns = scan(lidar, flat_scene(WALL))
    azimuth = np.deg2rad(10.0 - (returns.column + 0.5))
    elevation = np.deg2rad(lidar.elevations_deg[returns.row])
    level = np.cos(elevation)
    towards = [level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)]
    expected = returns.range_m[:, None] * np.stack(towards, axis=1)
    np.testing.assert_allclose(returns.coord, expected, atol=1e-4)
    assert set(returns.kind) == {Kind.WALL, Kind.SIDEWALK, Kind.CURB}


# ------------------------------------------------------------------ motion during a turn


@pytest.mark.parametrize("turn_rad_m", [0.0, 0.05])
def test_a_wall_seen_from_a_moving_sensor_is_where_it_is(turn_rad_m: float):
    motion = driving(20.0, 0.1, turn_rad_m)
    lidar = lidar_of(0.0, 5.0, mount=raised(2.0, yaw=0.4))
    returns = scan(lidar, flat_scene(WALL), motion)
    poses = motion.poses((returns.column + 0.5) / 360) @ lidar.mount
    world = np.einsum("nij,nj->ni", poses[:, :3, :3], returns.coord) + poses[:, :3, 3]
    on_wall = returns.kind == Kind.WALL
    assert on_wall.sum() > 200
    np.testing.assert_allclose(world[on_wall, 0], 12.0, atol=1e-4)
    # Taken as one moment's view the wall is bent: the motion matters.
    middle = motion.poses(np.array([0.5]))[0] @ lidar.mount
    naive = returns.coord @ middle[:3, :3].T + middle[:3, 3]
    assert np.abs(naive[on_wall, 0] - 12.0).max() > 0.2


@pytest.mark.parametrize("turn_rad_m", [0.0, 0.05])
@pytest.mark.parametrize("moment", [0.5, 1.0])
def test_compensated_points_are_those_seen_from_one_moment(turn_rad_m: float, moment: float):
    motion = driving(20.0, 0.1, turn_rad_m)
    lidar = lidar_of(0.0, 5.0, mount=raised(2.0, yaw=0.4), seen_from=moment)
    returns = scan(lidar, flat_scene(WALL), motion)
    place = motion.poses(np.array([moment]))[0] @ lidar.mount
    world = returns.coord @ place[:3, :3].T + place[:3, 3]
    on_wall = returns.kind == Kind.WALL
    np.testing.assert_allclose(world[on_wall, 0], 12.0, atol=1e-4)
    np.testing.assert_allclose(world[~on_wall, 2], 0.0, atol=1e-4)


def test_a_sensor_that_fires_at_once_sees_from_the_middle_of_the_way():
    motion = driving(20.0, 0.1)
    moving = scan(lidar_of(0.0, period_s=0.0), flat_scene(WALL), motion)
    standing = scan(lidar_of(0.0, period_s=0.0), flat_scene(WALL))
    np.testing.assert_allclose(moving.coord, standing.coord, atol=1e-5)


def test_a_vehicle_moves_along_its_street_and_leans_with_it():
    motion = moving(lambda along: Frame(along, 2.0, 0.1 * along, 0.0), 5.0)
    states = motion.states(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(states[:, 0], [4.6, 5.0, 5.4], atol=1e-12)
    np.testing.assert_allclose(states[:, 2], [0.46, 0.5, 0.54], atol=1e-12)
    # Uphill lifts the nose, which is a negative pitch.
    np.testing.assert_allclose(states[:, 4], -np.arctan(0.1), atol=1e-12)
    ahead = motion.poses(np.array([0.5]))[0, :3, 0]
    np.testing.assert_allclose(ahead[2] / ahead[0], 0.1, atol=1e-12)


def test_a_vehicle_rocks_by_chance_and_by_as_much_as_it_should():
    states = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        motion = moving(lambda along: Frame(along, 0.0, 0.0, 0.0), tilt_deg=1.0, rng=rng)
        states.append(motion.states(np.array([0.5]))[0])
    roll, pitch = np.rad2deg(np.array(states)[:, 3:5]).T
    assert np.std(roll) == pytest.approx(1.0, abs=0.15)
    assert np.std(pitch) == pytest.approx(1.0, abs=0.15)
    assert abs(np.corrcoef(roll, pitch)[0, 1]) < 0.3


def test_the_sensor_rolls_then_pitches_then_turns():
    quarter, some = np.pi / 2, 0.2
    ahead, left, up = np.eye(3)

    def rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
        return rotations(*np.array([[roll], [pitch], [yaw]]))[0]

    # Pitch lowers the nose, which then points where the yaw says.
    nose = rotation(0.0, some, quarter) @ ahead
    np.testing.assert_allclose(nose, [0.0, np.cos(some), -np.sin(some)], atol=1e-12)
    # Roll lifts the left side and leaves the nose alone.
    tilted = rotation(some, 0.0, 0.0)
    np.testing.assert_allclose(tilted @ left, [0.0, np.cos(some), np.sin(some)], atol=1e-12)
    np.testing.assert_allclose(tilted @ ahead, ahead, atol=1e-12)
    both = rotation(some, quarter, 0.0)
    np.testing.assert_allclose(both @ up, [np.cos(some), -np.sin(some), 0.0], atol=1e-12)


# ------------------------------------------------------------------ the vehicle itself


def test_the_vehicle_hides_what_its_shadows_say_and_nothing_else():
    shadow = Shadow(90.0, -15.0, 10.0, 5.0)

    def directions(*shadows: Shadow) -> tuple[np.ndarray, np.ndarray]:
        lidar = lidar_of(*np.linspace(-2, -25, 60), shadows=shadows)
        coord = scan(lidar, flat_scene()).coord.astype(np.float64)
        azimuth = np.degrees(np.arctan2(coord[:, 1], coord[:, 0]))
        return azimuth, np.degrees(np.arcsin(coord[:, 2] / np.linalg.norm(coord, axis=1)))

    def inside(azimuth: np.ndarray, elevation: np.ndarray, scale: float) -> np.ndarray:
        return ((azimuth - 90.0) / 10.0) ** 2 + ((elevation + 15.0) / 5.0) ** 2 < scale

    everywhere, hidden = directions(), directions(shadow)
    assert inside(*everywhere, 1.0).sum() > 100
    assert inside(*hidden, 0.99).sum() == 0
    lost = len(everywhere[0]) - len(hidden[0])
    assert inside(*everywhere, 0.99).sum() <= lost <= inside(*everywhere, 1.01).sum()


def test_shadows_are_shifted_from_beam_to_beam():
    shadow = Shadow(90.0, -15.0, 10.0, 5.0)
    lidar = lidar_of(-15.1, -14.9, shadows=(shadow,), shadow_shift_deg=3.0)
    returns = scan(lidar, flat_scene())
    azimuth = np.degrees(np.arctan2(returns.coord[:, 1], returns.coord[:, 0]))
    for row, middle in ((0, 93.0), (1, 87.0)):
        around = np.sort(np.abs(azimuth[returns.row == row] - middle))
        assert around[0] == pytest.approx(10.0, abs=0.6)
        # Both edges are that far.
        assert around[1] == pytest.approx(10.0, abs=1.1)


def test_the_roof_is_seen_where_it_is_in_the_axes_of_the_vehicle():
    roof = Roof(below_m=0.3, ahead_m=0.6, behind_m=1.2, half_width_m=0.5)
    echo = dataclasses.replace(EXACT, closest_m=0.3)
    mount = raised(2.0, yaw=-np.pi / 2)
    lidar = lidar_of(-15.0, -25.0, -60.0, echo=echo, roof=roof, mount=mount)
    returns = scan(lidar, flat_scene())
    own = returns.kind == Kind.OWN_VEHICLE
    right, ahead, up = returns.coord[own].T
    np.testing.assert_allclose(up, -0.3, atol=1e-6)
    assert ahead.max() == pytest.approx(0.6, abs=0.05)
    assert ahead.min() == pytest.approx(-0.3 / np.tan(np.deg2rad(15.0)), abs=0.01)
    assert np.abs(right).max() == pytest.approx(0.5, abs=0.01)
    # The steepest beam sees nothing else, the flattest nearly always passes.
    assert own[returns.row == 2].all()
    assert 0.0 < own[returns.row == 0].mean() < 0.4


def test_rays_without_a_return_are_listed_where_the_sensor_was():
    motion = driving(8.0, 0.05)
    lidar = lidar_of(10.0, -20.0, lists_misses=True, seen_from=1.0, period_s=0.05)
    returns = scan(lidar, flat_scene(), motion)
    assert len(returns.coord) == 2 * 360
    up = returns.row == 0
    assert (returns.range_m[up] == 0.0).all()
    assert (returns.kind[up] == Kind.OWN_VEHICLE).all()
    # At the first column the vehicle had 0.4 m to go.
    gone = 0.4 * (1.0 - (returns.column[up] + 0.5) / 360)
    np.testing.assert_allclose(returns.coord[up, 0], -gone, atol=1e-5)
    np.testing.assert_allclose(returns.coord[up, 1:], 0.0, atol=1e-6)
    assert (returns.kind[~up & (returns.range_m > 0)] != Kind.OWN_VEHICLE).all()
    assert (returns.intensity[up] == returns.intensity[up][0]).all()


# ------------------------------------------------------------------ chance


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads():
    stop = next(drive(1, (3, 0)))
    motion = driving(8.0, 0.1)
    lidar = models.waymo_top(200)
    scans = [
        lidar.scan(stop.scene, motion, np.random.default_rng(seed), threads=threads)
        for seed, threads in ((5, 1), (5, 2), (5, 7), (5, 50), (6, 1))
    ]
    first, *same, other = ([column.tobytes() for column in returns] for returns in scans)
    assert same == [first] * 3
    assert other != first


def test_beams_have_gains_of_their_own_which_belong_to_the_unit():
    def by_beam(spread: float, **settings) -> np.ndarray:
        echo = dataclasses.replace(EXACT, beam_spread=spread)
        returns = scan(lidar_of(*np.linspace(-4, -24, 24), echo=echo, **settings), flat_scene())
        return np.array([returns.intensity[returns.row == row].mean() for row in range(24)])

    equal, spread, same, other = by_beam(0.0), by_beam(0.2), by_beam(0.2), by_beam(0.2, unit=65)
    np.testing.assert_array_equal(spread, same)
    assert 0.1 < np.std(spread / equal) < 0.3
    assert np.abs(spread - other).max() > 0.05


def test_beams_are_off_by_the_unit_s_own_angles():
    def radii(**settings) -> np.ndarray:
        returns = scan(lidar_of(*np.linspace(-10, -24, 24), **settings), flat_scene())
        radius = np.hypot(returns.coord[:, 0], returns.coord[:, 1])
        return np.array([np.median(radius[returns.row == row]) for row in range(24)])

    off = np.rad2deg(np.arctan(2.0 / radii(beam_offset_deg=0.1))) - np.linspace(10, 24, 24)
    assert 0.06 < off.std() < 0.15
    np.testing.assert_allclose(radii(), 2.0 / np.tan(np.deg2rad(np.linspace(10, 24, 24))), 1e-4)


# ---- the sensors of the datasets -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lidar", "rays", "nearest_m"),
    [
        (models.hdl64(), 64 * 2150, 4.4),
        (models.hdl32(), 32 * 1084, 3.6),
        (models.waymo_top(), 64 * 2650, 7.2),
        (models.waymo_short_range((3.25, 1.0, 0.98), 90.0), 40 * 200, 0.9),
    ],
    ids=["hdl64", "hdl32", "waymo_top", "waymo_short_range"],
)
def test_a_sensor_sees_the_ground_around_it(lidar: SpinningLidar, rays: int, nearest_m: float):
    assert len(lidar.elevations_deg) * lidar.azimuth_steps == rays
    assert (np.diff(lidar.elevations_deg) < 0).all()
    returns = scan(lidar, flat_scene())
    cells = np.stack([returns.row, returns.column, returns.number])
    assert len(np.unique(cells, axis=1).T) == len(returns.row)
    ground = np.isin(returns.kind, [Kind.SIDEWALK, Kind.CURB])
    at = returns.coord[ground] @ lidar.mount[:3, :3].T + lidar.mount[:3, 3]
    assert np.abs(at[:, 2]).max() < 0.15
    assert returns.range_m[ground].min() == pytest.approx(nearest_m, rel=0.07)
    assert 0.0 <= returns.intensity.min() < returns.intensity.max() <= lidar.echo.intensity_top
    if lidar.echo.intensity_step:
        steps = returns.intensity / lidar.echo.intensity_step
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_waymo_s_small_lidars_look_away_from_the_car():
    for yaw_deg in (0.0, 90.0, -90.0, 180.0):
        lidar = models.waymo_short_range((0.0, 0.0, 0.7), yaw_deg)
        returns = scan(lidar, flat_scene())
        at = returns.coord @ lidar.mount[:3, :3].T
        azimuth = np.rad2deg(np.arctan2(at[:, 1], at[:, 0])) - yaw_deg
        assert np.abs((azimuth + 180.0) % 360.0 - 180.0).max() < 86.0
        assert returns.range_m.max() < 20.0


@pytest.mark.real_data
def test_the_lower_rings_are_those_of_a_real_frame(real_data: Path):
    # Only they meet mere ground nearly everywhere, whatever the street.
    path = real_data / "semantickitti/dev/sequences/00/velodyne/000000.bin"
    real = np.fromfile(path, "<f4").reshape(-1, 4)[:, :3].astype(np.float64)
    around = np.rad2deg(np.arctan2(real[:, 1], real[:, 0])) % 360.0
    rings = np.split(real, np.flatnonzero(np.diff(around) < -180.0) + 1)
    assert len(rings) == 64
    returns = scan(models.hdl64(), flat_scene())
    for row in range(40, 64):
        ring = returns.coord[returns.row == row].astype(np.float64)
        # The car hides the same share of the turn, and the sensor makes as many points of the rest.
        assert len(ring) == pytest.approx(len(rings[row]), rel=0.1)
        # The real road is no plane: a few decimetres of range.
        middle = np.median(np.linalg.norm(ring, axis=1))
        expected = np.median(np.linalg.norm(rings[row], axis=1))
        assert middle == pytest.approx(expected, rel=0.07)
