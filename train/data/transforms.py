"""Between a frame and the network: augmentation, clipping, voxels and the crop.

The values of appendix C.3, with the rulings: rotation about z by up to half a turn either way with
probability 0.5, scaling 0.9 to 1.1, flips, jitter of 5 mm clipped at 2 cm, grid sampling at 5 cm.

Shape letters: N points of the frame, V voxels.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import LidarFrame, Views

ClipRange = tuple[float, float, float, float, float, float]
"""A box: its lower corner, then its upper one, meters."""

MAX_GRID = (1 << 16) - 1
"""Voxels along an axis at most: a curve has 16 bits an axis, and its depth rule wants one cell more
than there are voxels (see `train.networks.ptv3.serialization.curve_depth`)."""


@dataclass(frozen=True)
class Augmentation:
    """What a training frame is put through, in this order: rotate, scale, flip, jitter.

    Attributes
    ----------
    rotation_probability, rotation_max_deg
        How often the frame is turned about z, and by how much at most, either way, uniformly.
    scale_min, scale_max
        One factor for all three axes, uniform; always applied.
    flip_x_probability, flip_y_probability
        How often x (y) changes its sign, independently.
    jitter_sigma_m, jitter_clip_m
        Deviation of the normal noise on each coordinate, and the bound it is clipped at.
    """

    rotation_probability: float = 0.5
    rotation_max_deg: float = 180.0
    scale_min: float = 0.9
    scale_max: float = 1.1
    flip_x_probability: float = 0.5
    flip_y_probability: float = 0.5
    jitter_sigma_m: float = 0.005
    jitter_clip_m: float = 0.02

    def __post_init__(self) -> None:
        for name in ("rotation_probability", "flip_x_probability", "flip_y_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"Augmentation: {name} must be in 0..1, not {getattr(self, name)}")
        if not 0.0 <= self.rotation_max_deg <= 180.0:
            raise UserError(
                f"Augmentation: rotation_max_deg must be in 0..180, not {self.rotation_max_deg}"
            )
        if not 0.0 < self.scale_min <= self.scale_max < np.inf:
            raise UserError(
                "Augmentation: needs 0 < scale_min <= scale_max, "
                f"not {self.scale_min} and {self.scale_max}"
            )
        for name in ("jitter_sigma_m", "jitter_clip_m"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise UserError(
                    f"Augmentation: {name} must be at least 0, not {getattr(self, name)}"
                )


PAPER_AUGMENTATION = Augmentation()
"""Appendix C.3's values."""


@dataclass(frozen=True)
class VoxelFrame:
    """A frame with one point for each occupied voxel, and the way back to every point.

    Attributes
    ----------
    coord
        (V, 3) float32 meters: the picked point's position (not the voxel's center).
    strength
        (V, 1) float32.
    grid_coord
        (V, 3) int64, the smallest on each axis 0; rows are unique, in lexicographic order.
    segment
        (V,) int64: the picked point's train id; None without labels.
    inverse
        (N,) int64: the voxel that each point of the frame lies in.
    raw_segment
        (N,) int64 train ids of all points; None without labels.
    name, path
        The frame's.
    views
        What the cameras see: pixels of picked points, by voxel; None where nobody asked for them.
    rays_without_return
        The frame's.
    """

    coord: NDArray[np.float32]
    strength: NDArray[np.float32]
    grid_coord: NDArray[np.int64]
    segment: NDArray[np.int64] | None
    inverse: NDArray[np.int64]
    raw_segment: NDArray[np.int64] | None
    name: str
    path: Path
    views: Views | None = None
    rays_without_return: int = 0


def augment(frame: LidarFrame, rng: np.random.Generator, augmentation: Augmentation) -> LidarFrame:
    """Return a randomly turned, scaled, flipped and jittered copy of a frame.

    Parameters
    ----------
    frame
        Left as it is.
    rng
        The only source of chance.
    augmentation
        Which, how often, how much.
    """
    coord = frame.coord.astype(np.float64)
    if rng.random() < augmentation.rotation_probability:
        largest = np.deg2rad(augmentation.rotation_max_deg)
        angle = rng.uniform(-largest, largest)
        cos, sin = np.cos(angle), np.sin(angle)
        coord = coord @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    coord *= rng.uniform(augmentation.scale_min, augmentation.scale_max)
    if rng.random() < augmentation.flip_x_probability:
        coord[:, 0] *= -1.0
    if rng.random() < augmentation.flip_y_probability:
        coord[:, 1] *= -1.0
    if augmentation.jitter_sigma_m > 0.0:
        noise = rng.normal(scale=augmentation.jitter_sigma_m, size=coord.shape)
        coord += np.clip(noise, -augmentation.jitter_clip_m, augmentation.jitter_clip_m)
    return dataclasses.replace(frame, coord=coord.astype(np.float32))


def clip(frame: LidarFrame, clip_range_m: ClipRange) -> LidarFrame:
    """Return a copy whose points beyond a box are moved onto its faces; no point is dropped.

    Parameters
    ----------
    frame
        Left as it is.
    clip_range_m
        (x, y, z) of the box's lower corner, then of its upper one, meters.

    Raises
    ------
    UserError
        If the box has not six finite numbers or a lower bound is above its upper one.
    """
    if len(clip_range_m) != 6 or not np.isfinite(clip_range_m).all():
        raise UserError(f"clip_range_m must be six finite numbers, not {clip_range_m!r}")
    box = np.array(clip_range_m, dtype=np.float32)
    lower, upper = box[:3], box[3:]
    if (lower > upper).any():
        raise UserError(
            "clip_range_m must be (x, y, z) lower, then (x, y, z) upper, each lower <= upper, "
            f"not {clip_range_m!r}"
        )
    return dataclasses.replace(frame, coord=np.clip(frame.coord, lower, upper))


def check_grid_size(grid_size_m: float) -> None:
    """Refuse a voxel's edge that is none."""
    if not 0.0 < grid_size_m < np.inf:
        raise UserError(f"grid_size_m must be a positive number of meters, not {grid_size_m}")


def _rounded_up(value: float) -> str:
    """Return a positive number in two digits, never below it."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit) * unit:.2g}"


def voxelize(
    frame: LidarFrame, grid_size_m: float, *, rng: np.random.Generator | None = None
) -> VoxelFrame:
    """Return the frame with one point for each occupied voxel.

    Parameters
    ----------
    frame
        At least one point, finite coordinates.
    grid_size_m
        The voxels' edge; voxel boundaries lie on whole multiples of it.
    rng
        Picks the voxel's point at random among its members (training). Without it the member
        nearest to the voxel's center is picked, of equally near ones the first: always the same.

    Raises
    ------
    UserError
        If the grid size is not positive, or so small that an axis has more than `MAX_GRID` voxels,
        or the frame is empty or has a coordinate that is not finite.
    """
    check_grid_size(grid_size_m)
    if len(frame.coord) == 0:
        raise UserError(f"{frame.path}: frame {frame.name} has no points; remove the frame")
    # Axis by axis, (3, N): reductions over rows of three numbers are many times slower.
    scaled = frame.coord.T.astype(np.float64, order="C") / grid_size_m
    if not np.isfinite(scaled).all():
        raise UserError(
            f"{frame.path}: frame {frame.name} has a coordinate that is not finite; the file is "
            "damaged, copy it again or remove the frame"
        )
    cell = np.floor(scaled)
    lowest = cell.min(axis=1, keepdims=True)
    widest = float((cell.max(axis=1, keepdims=True) - lowest).max()) + 1.0
    if widest > MAX_GRID:
        # Where boundaries fall at another grid size is not known: leave room for one voxel.
        extent = float((scaled.max(axis=1) - scaled.min(axis=1)).max())
        raise UserError(
            f"{frame.path}: at grid_size_m={grid_size_m:g} frame {frame.name} needs {widest:.0f} "
            f"voxels along an axis, more than {MAX_GRID}; set grid_size_m to at least "
            f"{_rounded_up(extent * grid_size_m / (MAX_GRID - 1))}, or remove the points far away"
        )
    scaled -= cell
    cell -= lowest
    grid = cell.astype(np.int64)
    key = (grid[0] * MAX_GRID + grid[1]) * MAX_GRID + grid[2]
    order = np.argsort(key, kind="stable")
    first_of_voxel = np.flatnonzero(np.diff(key[order], prepend=-1))
    members = np.diff(first_of_voxel, append=len(order))
    if rng is None:
        from_center = ((scaled - 0.5) ** 2).sum(axis=0)
        pick = order[_first_smallest(from_center[order], first_of_voxel, members)]
    else:
        pick = order[first_of_voxel + rng.integers(members)]
    inverse = np.empty(len(key), dtype=np.int64)
    inverse[order] = np.repeat(np.arange(len(members)), members)
    views = frame.views
    if views is not None:
        voxel_of = np.full(len(key), -1, dtype=np.int64)
        voxel_of[pick] = np.arange(len(pick))
        views = views.renumbered(voxel_of)
    return VoxelFrame(
        coord=frame.coord.take(pick, axis=0),
        strength=frame.strength.take(pick, axis=0),
        grid_coord=np.ascontiguousarray(grid.take(pick, axis=1).T),
        segment=None if frame.segment is None else frame.segment[pick],
        inverse=inverse,
        raw_segment=frame.segment,
        name=frame.name,
        path=frame.path,
        views=views,
        rays_without_return=frame.rays_without_return,
    )


def _first_smallest(
    values: NDArray[np.float64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where each group of consecutive values has its smallest, of equal ones the first."""
    group = np.repeat(np.arange(len(starts)), lengths)
    smallest = np.flatnonzero(values == np.minimum.reduceat(values, starts)[group])
    return smallest[np.flatnonzero(np.diff(group[smallest], prepend=-1))]


def crop(voxels: VoxelFrame, max_voxels: int, rng: np.random.Generator) -> VoxelFrame:
    """Return the voxels nearest to a random one, for training in bounded memory.

    Points of the frame whose voxel is cut away are cut away too (`inverse`, `raw_segment`), and
    `grid_coord` starts at 0 again. A frame that is small enough is returned as it is.

    Parameters
    ----------
    voxels
        Left as they are.
    max_voxels
        How many may stay.
    rng
        Picks the center.

    Raises
    ------
    UserError
        If `max_voxels` is below 1.
    """
    if max_voxels < 1:
        raise UserError(f"max_voxels must be at least 1, not {max_voxels}")
    if len(voxels.coord) <= max_voxels:
        return voxels
    coord = voxels.coord.astype(np.float64)
    distance = ((coord - coord[rng.integers(len(coord))]) ** 2).sum(axis=1)
    keep = np.sort(np.argsort(distance, kind="stable")[:max_voxels])
    new_index = np.full(len(coord), -1, dtype=np.int64)
    new_index[keep] = np.arange(len(keep))
    inverse = new_index[voxels.inverse]
    stays = inverse >= 0
    grid = voxels.grid_coord[keep]
    return VoxelFrame(
        coord=voxels.coord[keep],
        strength=voxels.strength[keep],
        grid_coord=grid - grid.min(axis=0),
        segment=None if voxels.segment is None else voxels.segment[keep],
        inverse=inverse[stays],
        raw_segment=None if voxels.raw_segment is None else voxels.raw_segment[stays],
        name=voxels.name,
        path=voxels.path,
        views=None if voxels.views is None else voxels.views.renumbered(new_index),
        rays_without_return=voxels.rays_without_return,
    )
