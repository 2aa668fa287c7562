"""A sensor without noise on flat ground, for tests that compute by hand what it sees."""

import numpy as np

from train.simulation.simulator.echoes import EchoModel
from train.simulation.simulator.ground import Ground
from train.simulation.simulator.scene import Frame, Scene, SceneBuilder, Shape
from train.simulation.simulator.sensor import Motion, Returns, SpinningLidar, rotations
from train.simulation.simulator.surfaces import Kind, Material

EXACT = EchoModel(range_noise_m=0.0, half_signal_m=1e6)

# What a wall at x = 12 is to a sensor; the sensor is far from its edges.
WALL = (Frame(12.5, 0.0, 0.0, 0.0), (0.5, 30.0, 4.0))


def flat_scene(*walls: tuple) -> Scene:
    """Return paved ground at height 0, with boxes on it: frame, half sizes, kind and material."""
    ground = Ground(
        half_road_m=0.0,
        parking_left_m=0.0,
        sidewalk_left_m=300.0,
        sidewalk_right_m=300.0,
        curb_m=0.0,
        bump_m=0.0,
    )
    builder = SceneBuilder()
    for frame, half, *what in walls:
        what = what or (Kind.WALL, Material.WOOD)
        builder.add(Shape.BOX, frame, (0.0, 0.0, half[2]), half, *what)
    return builder.build(ground)


def reaches(scene: Scene, heading: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each primitive reaches along and across a heading."""
    cos, sin = np.abs(np.cos(scene.yaw - heading)), np.abs(np.sin(scene.yaw - heading))
    half = scene.half
    return cos * half[:, 0] + sin * half[:, 1], sin * half[:, 0] + cos * half[:, 1]


def returns_of(coord: list, intensity: list, kinds: list, **cells) -> Returns:
    """Return first returns at some places, as a sensor reports them."""
    zeros = np.zeros(len(coord), np.int64)
    cells = {"row": zeros, "column": zeros, "instance": zeros} | cells
    at = np.array(coord, np.float32)
    return Returns(
        coord=at,
        range_m=np.linalg.norm(at, axis=1),
        intensity=np.array(intensity, np.float32),
        elongation_m=np.zeros(len(coord), np.float32),
        number=zeros + 1,
        kind=np.array(kinds),
        **{name: np.array(values) for name, values in cells.items()},
    )


def fan(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Return unit vectors (A, B, 3) of columns and beams, given their angles in radians."""
    a, e = np.meshgrid(azimuth, elevation, indexing="ij")
    return np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)


def raised(height_m: float, yaw: float = 0.0) -> np.ndarray:
    mount = np.eye(4)
    mount[:3, :3] = rotations(*np.array([[0.0], [0.0], [yaw]]))[0]
    mount[2, 3] = height_m
    return mount


def lidar_of(*elevations_deg: float, **settings) -> SpinningLidar:
    """Return a sensor 2 m above the ground whose returns are exact."""
    settings = {"echo": EXACT, "azimuth_steps": 360, "mount": raised(2.0)} | settings
    return SpinningLidar(elevations_deg=np.array(elevations_deg), **settings)


def scan(lidar: SpinningLidar, scene: Scene, motion: Motion | None = None, **settings) -> Returns:
    motion = Motion(np.zeros((1, 6))) if motion is None else motion
    return lidar.scan(scene, motion, np.random.default_rng(0), **settings)
