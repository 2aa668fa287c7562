"""The sensors of the three datasets: what they see of flat ground, beside a real frame."""

from pathlib import Path

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import flat_scene, scan
from train.simulation.simulator import models
from train.simulation.simulator.sensor import SpinningLidar
from train.simulation.simulator.surfaces import Kind


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
