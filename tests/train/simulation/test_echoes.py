"""What comes back along a ray: noise, losses, weak and strong echoes, second returns."""

import dataclasses

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import EXACT, flat_scene, lidar_of, scan
from train.simulation.simulator.scene import Frame, Scene
from train.simulation.simulator.sensor import Returns
from train.simulation.simulator.surfaces import Kind, Material

NEAR_WALL = (Frame(6.0, 0.0, 0.0, 0.0), (0.1, 1.0, 5.0))
FAR_WALL = (Frame(8.0, 0.0, 0.0, 0.0), (0.1, 20.0, 5.0))
LEVEL = tuple(np.linspace(8.0, -8.0, 33))


def with_echo(
    *elevations_deg: float, azimuth_steps: int = 720, scene: Scene, **settings
) -> Returns:
    echo = dataclasses.replace(EXACT, **settings)
    return scan(lidar_of(*elevations_deg, echo=echo, azimuth_steps=azimuth_steps), scene)


def two_boxes(kind: Kind, right: Material, left: Material) -> Scene:
    places = (Frame(8.0, across, 0.0, 0.0) for across in (-2.0, 2.0))
    rows = zip(places, (right, left), strict=True)
    return flat_scene(*((frame, (0.1, 1.0, 2.0), kind, material) for frame, material in rows))


def test_ranges_are_off_by_the_sensor_s_noise():
    beams = tuple(np.linspace(-8.0, -24.0, 30))
    still, noisy = (
        with_echo(*beams, scene=flat_scene(), range_noise_m=noise).range_m for noise in (0.0, 0.02)
    )
    assert len(still) == len(noisy) > 5000
    difference = noisy.astype(np.float64) - still
    assert difference.std() == pytest.approx(0.02, rel=0.05)
    assert abs(difference.mean()) < 0.001


def test_far_and_dark_surfaces_lose_more_returns():
    returns = with_echo(-2.0, -6.0, scene=flat_scene(), half_signal_m=75.0)
    far, near = ((returns.row == row).sum() for row in (0, 1))
    assert far < 0.5 * near


def test_echoes_weaken_with_range_down_to_half_where_they_should():
    beams = tuple(np.linspace(-2.0, -20.0, 60))
    returns = with_echo(*beams, scene=flat_scene(), fading_m=30.0)
    none = with_echo(*beams, scene=flat_scene(), fading_m=1e9)
    np.testing.assert_array_equal(returns.range_m, none.range_m)
    ratio = returns.intensity / none.intensity
    # Grazing rays fade a little sooner: at an incidence with cosine c, at 30 m times c to the 0.2.
    half = (returns.range_m > 15.5) & (returns.range_m < 18.5)
    expected = 1.0 / (1.0 + (returns.range_m / (30.0 * (2.0 / returns.range_m) ** 0.2)) ** 4)
    np.testing.assert_allclose(ratio[half], expected[half], rtol=1e-3)


def test_intensities_come_in_steps_up_to_a_top():
    scene = flat_scene(NEAR_WALL)
    returns = with_echo(
        *LEVEL, scene=scene, intensity_scale=60.0, intensity_step=1.0, intensity_top=20.0
    )
    np.testing.assert_array_equal(returns.intensity, np.round(returns.intensity))
    assert returns.intensity.max() == 20.0
    assert 2 < len(np.unique(returns.intensity)) <= 21


def test_weak_echoes_are_reported_with_no_intensity_more_often_than_strong_ones():
    scene = two_boxes(Kind.WALL, Material.PLASTER, Material.BLACK_PAINT)
    steps = np.linspace(10.0, -10.0, 200)
    returns = with_echo(*steps, scene=scene, blank_at=0.15)
    wall = returns.kind == Kind.WALL
    blank = [
        (returns.intensity[wall & side] == 0.0).mean()
        for side in (returns.coord[:, 1] < 0, returns.coord[:, 1] > 0)
    ]
    assert 0.0 <= blank[0] < 0.1 < 0.7 < blank[1] < 1.0
    without = with_echo(*steps, scene=scene)
    assert (without.intensity[without.kind == Kind.WALL] == 0.0).mean() < 0.03


def test_reflectors_shine_and_nothing_else_does():
    scene = two_boxes(Kind.SIGN, Material.REFLECTOR, Material.PLASTER)

    def medians(retro_gain: float) -> tuple[float, float]:
        returns = with_echo(*LEVEL, scene=scene, retro_gain=retro_gain)
        sign, left = returns.kind == Kind.SIGN, returns.coord[:, 1] > 0
        return tuple(float(np.median(returns.intensity[sign & side])) for side in (~left, left))

    plain, shining = medians(1.0), medians(7.0)
    assert shining[0] / plain[0] == pytest.approx(7.0, rel=0.3)
    assert shining[1] / plain[1] == pytest.approx(1.0, rel=0.1)


def test_some_rays_at_an_edge_return_from_between_it_and_what_is_behind():
    scene = flat_scene(NEAR_WALL, FAR_WALL)

    def between(share: float) -> int:
        x = with_echo(*LEVEL, scene=scene, stray_share=share).coord[:, 0]
        return int(((x > 6.2) & (x < 7.7)).sum())

    ground = between(0.0)
    # One edge a beam looks on towards the wall behind.
    assert 5 < between(0.5) - ground < 30


def test_a_ray_at_an_edge_returns_twice_and_the_second_time_from_what_is_behind():
    scene = flat_scene(NEAR_WALL, FAR_WALL)
    returns = with_echo(*LEVEL, scene=scene, second_share=1.0)
    second = returns.number == 2
    assert (returns.number[: second.argmax()] == 1).all()
    assert second.sum() > 20
    first_at = {
        cell: at
        for at, cell in enumerate(zip(returns.row, returns.column, strict=True))
        if returns.number[at] == 1
    }
    for at in np.flatnonzero(second):
        first = first_at[returns.row[at], returns.column[at]]
        assert returns.range_m[at] > returns.range_m[first] + EXACT.separation_m
        assert returns.kind[first] == Kind.WALL
        if returns.kind[first] == returns.kind[at] == Kind.WALL:
            assert returns.coord[first, 0] == pytest.approx(5.9, abs=0.05)
            # On the same ray, as far as the wall behind is on the ray next to it.
            assert 7.8 < returns.coord[at, 0] < 8.1
    assert (returns.kind[second] == Kind.WALL).sum() > 12
    half = with_echo(*LEVEL, scene=scene, second_share=0.5)
    assert 0.25 < (half.number == 2).sum() / second.sum() < 0.75
    assert returns.intensity[second].mean() < returns.intensity[~second].mean()


def test_without_edges_and_without_a_share_nothing_returns_twice():
    flat = with_echo(-4.0, -9.0, scene=flat_scene(), second_share=1.0)
    assert (flat.number == 1).all()
    # Nor at the foot of a wall, where two beams meet ground and wall meters apart.
    foot = with_echo(-8.0, -20.0, scene=flat_scene(FAR_WALL), second_share=1.0)
    assert set(foot.kind[foot.coord[:, 0] > 5.0]) >= {Kind.WALL, Kind.SIDEWALK}
    assert (foot.number[np.abs(foot.coord[:, 1]) < 15.0] == 1).all()
    edges = with_echo(*LEVEL, scene=flat_scene(NEAR_WALL, FAR_WALL))
    assert (edges.number == 1).all()


def test_echoes_are_longer_where_a_beam_meets_a_surface_at_a_slant():
    returns = with_echo(-3.0, -30.0, scene=flat_scene(), footprint_rad=0.003)
    flat, steep = (returns.elongation_m[returns.row == row].mean() for row in (0, 1))
    # Half of footprint x range / tan(elevation) on average.
    assert flat == pytest.approx(0.5 * 0.003 * 2.0 / np.sin(0.05236) / np.tan(0.05236), rel=0.1)
    assert steep < 0.02 * flat


def test_a_few_rays_return_from_nothing():
    returns = with_echo(-10.0, 5.0, scene=flat_scene(), azimuth_steps=4000, outlier_share=0.01)
    outlier = returns.kind == Kind.OUTLIER
    assert outlier.sum() == pytest.approx(80, abs=35)
    assert (returns.row[outlier] == 1).any()
    assert (returns.instance[outlier] == 0).all()
    # Not beyond what the ray would have met.
    assert (
        returns.range_m[outlier & (returns.row == 0)].max() < 2.0 / np.sin(np.deg2rad(10.0)) + 0.1
    )
