"""The sensors of the three datasets, as numbers: what their makers and their recordings say."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.echoes import EchoModel
from train.simulation.simulator.sensor import Roof, Shadow, SpinningLidar, rotations

HDL64_AZIMUTH_STEPS: Final = 2150
HDL32_AZIMUTH_STEPS: Final = 1084
WAYMO_TOP_AZIMUTH_STEPS: Final = 2650
WAYMO_SHORT_AZIMUTH_STEPS: Final = 600

WAYMO_SHORT_ROWS: Final = 200
WAYMO_SHORT_ROW_STEP: Final = 5
WAYMO_SHORT_COLUMN_STEP: Final = 3
"""A short-range lidar fills one in so many rows and columns of its range image."""

_WAYMO_ECHO: Final = EchoModel(
    closest_m=0.4,
    range_noise_m=0.015,
    half_signal_m=100.0,
    fading_m=110.0,
    intensity_scale=0.6,
    retro_gain=7.0,
    beam_spread=0.03,
    stray_share=0.03,
    second_share=0.6,
    separation_m=0.5,
    outlier_share=2e-5,
)
"""What Waymo's lidars have in common: raw intensities without a top, two returns."""

KITTI_WAGON: Final = (
    Shadow(-1.0, -26.0, 20.0, 4.3),
    Shadow(30.0, -25.4, 7.0, 1.7),
    Shadow(-30.0, -25.3, 7.0, 1.6),
    Shadow(-66.0, -20.3, 10.5, 5.0),
    Shadow(160.0, -16.4, 4.5, 3.0),
    Shadow(-160.5, -16.4, 5.0, 3.0),
    Shadow(-179.5, -25.4, 31.0, 6.2),
    Shadow(131.0, -24.7, 6.0, 3.6),
    Shadow(141.0, -25.0, 3.5, 1.3),
    Shadow(-129.5, -24.5, 5.5, 3.6),
    Shadow(-139.0, -24.9, 3.0, 1.4),
)
"""What KITTI's car with its roof rack hides, read off where three real frames are empty."""


def hdl64(azimuth_steps: int = HDL64_AZIMUTH_STEPS) -> SpinningLidar:
    """Return KITTI's Velodyne HDL-64E: 64 beams in two blocks, the upper one finer.

    The numbers are fitted to real frames. A ring's elevation there changes with range just as if
    the upper block's beams started 0.21 m above the origin and the lower one's 0.12 m; with that
    taken off, the upper rings are 0.34 degrees apart and the lower ones 0.52. There are 2150
    columns a turn, with azimuths in steps of 0.09 degrees. The radii of the lowest rings put the
    origin 1.77 m above the road, a little higher than the dataset's papers say.

    Fewer columns a turn make smaller frames.
    """
    return SpinningLidar(
        elevations_deg=np.concatenate(
            [np.linspace(1.93, -8.72, 32), np.linspace(-9.0, -25.15, 32)]
        ),
        beam_heights_m=np.repeat([0.207, 0.12], 32),
        echo=EchoModel(
            closest_m=1.2,
            reach_m=80.0,
            range_noise_m=0.02,
            half_signal_m=75.0,
            fading_m=45.0,
            intensity_step=0.01,
            intensity_top=0.99,
            blank_at=0.085,
            beam_spread=0.06,
            stray_share=0.2,
            outlier_share=5e-5,
        ),
        azimuth_steps=azimuth_steps,
        azimuth_quantum_deg=0.09 if azimuth_steps == HDL64_AZIMUTH_STEPS else 0.0,
        azimuth_noise_deg=0.01,
        beam_offset_deg=0.05,
        mount=_mount((0.0, 0.0, 1.77)),
        period_s=0.1,
        seen_from=0.5,
        by_beam=True,
        shadows=KITTI_WAGON,
        shadow_shift_deg=1.3,
        unit=64,
    )


def hdl32(azimuth_steps: int = HDL32_AZIMUTH_STEPS) -> SpinningLidar:
    """Return nuScenes' Velodyne HDL-32E: 32 beams 4/3 degrees apart, 20 turns a second.

    Its axes are x to the right, y forward. A turn starts at the left and goes clockwise. As real
    frames show, points are given as seen from where the turn ends: rays without a return are listed
    at range 0, and come to lie where the sensor was, a few decimetres back. The sensor sees the
    car's own roof. The dataset's ring number is 31 minus the row.

    Fewer columns a turn make smaller frames.
    """
    return SpinningLidar(
        elevations_deg=np.linspace(10.67, -30.67, 32),
        echo=EchoModel(
            closest_m=0.4,
            reach_m=105.0,
            range_noise_m=0.02,
            half_signal_m=65.0,
            fading_m=60.0,
            intensity_scale=50.0,
            intensity_step=1.0,
            intensity_top=255.0,
            retro_gain=4.0,
            beam_spread=0.25,
            stray_share=0.2,
            outlier_share=1e-3,
        ),
        azimuth_steps=azimuth_steps,
        first_azimuth_deg=180.0,
        clockwise=True,
        azimuth_noise_deg=0.02,
        beam_offset_deg=0.05,
        mount=_mount((0.94, 0.0, 1.84), yaw_deg=-90.0),
        period_s=0.05,
        seen_from=1.0,
        roof=Roof(below_m=0.35, ahead_m=1.0, behind_m=0.7, half_width_m=0.5),
        lists_misses=True,
        unit=32,
    )


def waymo_top(azimuth_steps: int = WAYMO_TOP_AZIMUTH_STEPS) -> SpinningLidar:
    """Return Waymo's long-range lidar: 64 unevenly spaced beams, two returns, cut at 75 m."""
    yaw_deg = 148.5
    return SpinningLidar(
        elevations_deg=waymo_top_inclinations_deg()[::-1],
        echo=replace(_WAYMO_ECHO, reach_m=75.0),
        azimuth_steps=azimuth_steps,
        first_azimuth_deg=180.0 - yaw_deg,
        clockwise=True,
        mount=_mount((1.43, 0.0, 2.184), yaw_deg, pitch_deg=0.1, roll_deg=0.1),
        period_s=0.1,
        unit=1,
    )


def waymo_short_range(
    place_m: tuple[float, float, float],
    yaw_deg: float,
    azimuth_steps: int = WAYMO_SHORT_AZIMUTH_STEPS,
) -> SpinningLidar:
    """Return one of Waymo's lidars on the car's sides: -90 to 30 degrees, cut at 20 m.

    It sits at a place in the vehicle's frame and looks away from the car, which hides the inner
    half. Its beams meet the middles of every fifth row and third column of a range image of 200
    rows; the columns are a multiple of three.
    """
    rows = np.arange(WAYMO_SHORT_ROW_STEP // 2, WAYMO_SHORT_ROWS, WAYMO_SHORT_ROW_STEP)
    return SpinningLidar(
        elevations_deg=30.0 - 120.0 * (rows + 0.5) / WAYMO_SHORT_ROWS,
        echo=replace(_WAYMO_ECHO, reach_m=20.0),
        azimuth_steps=azimuth_steps // WAYMO_SHORT_COLUMN_STEP,
        first_azimuth_deg=180.0 - yaw_deg,
        clockwise=True,
        mount=_mount(place_m, yaw_deg),
        period_s=0.0,
        shadows=(Shadow(180.0, -30.0, 95.0, 1e6),),
        unit=2,
    )


def waymo_top_inclinations_deg() -> NDArray[np.float64]:
    """Return the 64 inclinations, ascending: 0.6 degrees apart at the bottom, 0.17 at the top."""
    gaps = np.maximum(0.62 * (1.0 - np.arange(63) / 63) ** 1.2, 0.17)
    ascending = np.concatenate([[0.0], np.cumsum(gaps)])
    return np.asarray(-17.6 + 20.0 * ascending / ascending[-1])


def _mount(
    place_m: tuple[float, float, float],
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
) -> NDArray[np.float64]:
    """Return the transform (4, 4) from a sensor's axes to its vehicle's."""
    mount = np.eye(4)
    angles = np.deg2rad([[roll_deg], [pitch_deg], [yaw_deg]])
    mount[:3, :3] = rotations(*angles)[0]
    mount[:3, 3] = place_m
    return mount
