"""Pinhole cameras in a simulated street: which the vehicles carry, and the images that they take.

Each column of pixels of a level camera is a vertical plane, which is what the ray caster wants; the
little that a rolling or pitching vehicle tilts them is allowed for.

Shape letters: H and W pixels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.appearance import Appearance
from train.simulation.simulator.raycast import cast, sunlight, surface_normals
from train.simulation.simulator.scene import Scene
from train.simulation.simulator.sensor import SpinningLidar

REACH_M: Final = 180.0
"""What is further away is sky."""

NOTHING: Final = -1
"""The kind of a pixel of the sky."""

_SKY_HIT: Final = -2
_MEAN_LIGHT: Final = 0.42
_GAMMA: Final = 1.0 / 2.2


@dataclass(frozen=True)
class PinholeCamera:
    """How a camera looks at the world and where it sits.

    Attributes
    ----------
    name
        What its dataset calls it.
    mount
        (4, 4) from its optical frame (x right, y down, z forward) to the vehicle's.
    focal_px
        Focal length in pixels, both ways.
    width, height
        Pixels; the axis goes through the middle.
    yaw_deg
        Where it looks, from the vehicle's heading to the left.
    """

    name: str
    mount: NDArray[np.float64]
    focal_px: float
    width: int = 320
    height: int = 160
    yaw_deg: float = 0.0

    @cached_property
    def intrinsic(self) -> NDArray[np.float64]:
        """The matrix (3, 3) of `train.data.frame.CameraImage`."""
        focal, middle = self.focal_px, (self.width / 2, self.height / 2)
        return np.array([[focal, 0.0, middle[0]], [0.0, focal, middle[1]], [0.0, 0.0, 1.0]])

    @cached_property
    def rays(self) -> NDArray[np.float64]:
        """Unit vectors (W, H, 3) through the pixels' centers, in the optical frame."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal_px
        y = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal_px
        rays = np.stack([*np.meshgrid(x, y, indexing="ij"), np.ones((len(x), len(y)))], axis=-1)
        return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def pinhole(
    name: str,
    place_m: tuple[float, float, float],
    yaw_deg: float,
    view_deg: float,
    *,
    width: int = 320,
    height: int = 160,
) -> PinholeCamera:
    """Return a level camera on a vehicle, so many pixels wide and high.

    Its place is forward, left, up in the vehicle's frame; it looks `yaw_deg` from ahead to the
    left, and its whole image is `view_deg` wide.
    """
    yaw = np.deg2rad(yaw_deg)
    mount = np.eye(4)
    # Columns: what the camera's right, down and forward are to the vehicle.
    mount[:3, :3] = np.array(
        [[np.sin(yaw), 0.0, np.cos(yaw)], [-np.cos(yaw), 0.0, np.sin(yaw)], [0.0, -1.0, 0.0]]
    )
    mount[:3, 3] = place_m
    focal_px = width / 2 / float(np.tan(np.deg2rad(view_deg / 2)))
    return PinholeCamera(name, mount, focal_px, width, height, yaw_deg)


_NUSCENES: Final = (
    ("CAM_FRONT", (1.70, 0.0, 1.51), 0.0, 70.0),
    ("CAM_FRONT_RIGHT", (1.55, -0.49, 1.50), -55.0, 70.0),
    ("CAM_BACK_RIGHT", (1.01, -0.48, 1.56), -110.0, 70.0),
    ("CAM_BACK", (0.03, 0.0, 1.57), 180.0, 110.0),
    ("CAM_BACK_LEFT", (1.04, 0.48, 1.56), 110.0, 70.0),
    ("CAM_FRONT_LEFT", (1.52, 0.49, 1.51), 55.0, 70.0),
)
_WAYMO: Final = (
    ("FRONT", (1.54, -0.02, 2.12), 0.0, 50.0),
    ("FRONT_LEFT", (1.49, 0.09, 2.12), 45.0, 50.0),
    ("FRONT_RIGHT", (1.49, -0.10, 2.12), -45.0, 50.0),
    ("SIDE_LEFT", (1.43, 0.12, 2.12), 90.0, 50.0),
    ("SIDE_RIGHT", (1.43, -0.11, 2.12), -90.0, 50.0),
)
_KITTI: Final = (("image_2", (0.27, 0.06, 1.68), 0.0, 82.0),)


def nuscenes_cameras() -> tuple[PinholeCamera, ...]:
    """Return nuScenes' six cameras, about where they are mounted, as wide as they see.

    Images are 320 x 160 instead of 1600 x 900, and so a little flatter.
    """
    return tuple(pinhole(*row) for row in _NUSCENES)


def waymo_cameras() -> tuple[PinholeCamera, ...]:
    """Return Waymo's five cameras, in the order of their numbers, without a lens's distortion."""
    return tuple(pinhole(*row) for row in _WAYMO)


def kitti_cameras() -> tuple[PinholeCamera, ...]:
    """Return KITTI's left color camera; the vehicle's frame is on the ground below the lidar."""
    return tuple(pinhole(*row) for row in _KITTI)


def share_of_turn(lidar: SpinningLidar, yaw_deg: float) -> float:
    """Return when in its turn a lidar looks where a camera does, as a share of the turn.

    Cameras are triggered then, so that both see the same moment. The camera looks `yaw_deg` from
    the vehicle's heading to the left; the lidar's mount may be turned about the vertical axis.
    """
    mounted_deg = float(np.rad2deg(np.arctan2(lidar.mount[1, 0], lidar.mount[0, 0])))
    turned = yaw_deg - mounted_deg - lidar.first_azimuth_deg
    return float((-turned if lidar.clockwise else turned) % 360.0 / 360.0)


class Rendering(NamedTuple):
    """An image and what is behind its pixels.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8 red, green, blue.
    kind
        (H, W) int64: `surfaces.Kind`, `NOTHING` for the sky.
    depth_m
        (H, W) float64 along the camera's axis, infinite for the sky.
    """

    pixels: NDArray[np.uint8]
    kind: NDArray[np.int64]
    depth_m: NDArray[np.float64]


def render(
    camera: PinholeCamera,
    scene: Scene,
    world_from_vehicle: NDArray[np.float64],
    appearance: Appearance,
    rng: np.random.Generator,
    *,
    threads: int | None = None,
) -> Rendering:
    """Return the image that a camera takes.

    Parameters
    ----------
    camera, scene
        What looks at what; everything stands still meanwhile.
    world_from_vehicle
        (4, 4) at the time of the image.
    appearance
        The street's.
    rng
        Leaves, exposure and noise.
    threads
        How many share the work; numba's setting if None. The result does not depend on it.
    """
    world_from_camera = world_from_vehicle @ camera.mount
    origin = world_from_camera[:3, 3]
    directions = np.ascontiguousarray(camera.rays @ world_from_camera[:3, :3].T)
    seed, slack = int(rng.integers(1 << 31)), _slack(directions)
    hits = cast(
        scene, origin, directions, reach_m=REACH_M, seed=seed, threads=threads, slack_rad=slack
    )
    seen = hits.hit != _SKY_HIT
    towards, range_m = directions[seen], hits.range_m[seen]
    places = origin + range_m[:, None] * towards
    normals = surface_normals(scene, hits, origin, directions)[seen]
    hit, kind, material = hits.hit[seen], hits.kind[seen], hits.material[seen]
    footprint_m = range_m / camera.focal_px
    albedo = appearance.albedo(scene, hit, kind, material, places, footprint_m)
    light, towards_sun = np.zeros(len(places)), appearance.towards_sun
    facing = normals @ towards_sun > 0
    light[facing] = sunlight(scene, places[facing], hit[facing], towards_sun, threads=threads)
    radiance = np.empty((*hits.range_m.shape, 3))
    radiance[seen] = appearance.lit(albedo, normals, light, towards, range_m)
    radiance[~seen] = appearance.sky(directions[~seen])
    return Rendering(
        pixels=_exposed(radiance.transpose(1, 0, 2), rng),
        kind=np.where(seen, hits.kind, NOTHING).T,
        depth_m=(hits.range_m * camera.rays[..., 2]).T,
    )


def _slack(directions: NDArray[np.float64]) -> float:
    """Return how far the rays of a column lie from its mean azimuth at most, and a little more."""
    mean = directions[..., :2].sum(axis=1, keepdims=True)
    cross = directions[..., 0] * mean[..., 1] - directions[..., 1] * mean[..., 0]
    dot = (directions[..., :2] * mean).sum(axis=-1)
    return float(np.abs(np.arctan2(cross, dot)).max()) + 1e-3


def _exposed(radiance: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what a sensor makes of light (H, W, 3): exposed for the mean, noisy, in 8 bits."""
    gain = -np.log(1.0 - _MEAN_LIGHT) / max(float(np.median(radiance)), 1e-6)
    gain *= float(np.exp(0.2 * rng.normal()))
    # Highlights roll off: 1 is never reached.
    light = 1.0 - np.exp(-gain * radiance)
    noise = rng.normal(size=radiance.shape) * np.sqrt(0.0002 + 0.0006 * light)
    balance = 1.0 + 0.04 * rng.normal(size=3)
    shown = np.clip((light + noise) * balance, 0.0, 1.0) ** _GAMMA
    return np.asarray(np.round(255.0 * shown), dtype=np.uint8)
