"""LiDAR frames as clouds of one size: cropped, drawn, and in a unit that is known.

All frames are clouds of one class, a street; the semantic classes of their points are the parts.
Scale and origin are kept: coordinates are divided by one number of meters, the same for all frames.

Shape letters: B frames, N points of each, C classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX, FrameSource, LidarFrame
from train.dataset_distillation.objects.clouds import NO_PART, ObjectClouds

STREET: Final = "street"
"""The one class that all frames are of."""


@dataclass(frozen=True, kw_only=True)
class FrameOptions:
    """What is taken of each frame, and of how many.

    Attributes
    ----------
    points
        N, drawn without repeats of those within the range.
    range_m
        Points farther from the origin than this, along the ground or in height, are cropped. It is
        the unit of the coordinates.
    most
        Frames that are read, evenly spread over those there are.
    seed
        Of the draw.
    """

    points: int = 1024
    range_m: float = 25.0
    most: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no frame can be taken with."""
        for name, flag, least in (("points", "--points", 2), ("most", "--frames", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{flag} {getattr(self, name)}: at least {least}")
        if not 0 < self.range_m < float("inf"):
            raise UserError(f"--range-m {self.range_m}: a number of meters above 0")


@dataclass(frozen=True, eq=False)
class FrameClouds:
    """Frames of one size.

    Attributes
    ----------
    clouds
        Coordinates in units of `meters`; parts are train ids, `NO_PART` where the label does not
        count.
    strength
        (B, N) float32, about 0 to 1.
    meters
        One unit of the coordinates.
    names
        What the frames are called.
    """

    clouds: ObjectClouds
    strength: NDArray[np.float32]
    meters: float
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check what the annotations cannot say."""
        if self.clouds.parts is None:
            raise ValueError("FrameClouds: clouds have no parts; give the class of each point")
        if self.strength.shape != self.clouds.points.shape[:2]:
            raise ValueError(
                f"FrameClouds: strength has shape {self.strength.shape}; give "
                f"{self.clouds.points.shape[:2]}"
            )
        if len(self.names) != len(self.clouds):
            raise ValueError(f"FrameClouds: {len(self.names)} names of {len(self.clouds)} frames")

    def __len__(self) -> int:
        """Return B."""
        return len(self.clouds)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the semantic classes, by train id."""
        return self.clouds.part_names

    @property
    def segment(self) -> NDArray[np.int64]:
        """Return (B, N) train ids."""
        assert self.clouds.parts is not None
        return self.clouds.parts

    @property
    def coord_m(self) -> NDArray[np.float32]:
        """Return (B, N, 3) coordinates in meters."""
        return self.clouds.points * np.float32(self.meters)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "FrameClouds":
        """Return some of the frames."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            clouds=self.clouds.take(index),
            strength=self.strength[index],
            names=tuple(self.names[row] for row in index.tolist()),
        )

    def with_points(self, points: NDArray[np.float32]) -> "FrameClouds":
        """Return the same frames with other coordinates, in the same unit."""
        return replace(self, clouds=self.clouds.with_points(points))

    def class_counts(self) -> NDArray[np.int64]:
        """Return how many points each class has, (C,)."""
        labeled = self.segment[self.segment != NO_PART]
        return np.bincount(labeled, minlength=len(self.class_names)).astype(np.int64)

    def absent(self) -> tuple[str, ...]:
        """Return the classes that no point has."""
        counts = self.class_counts()
        return tuple(
            name for name, count in zip(self.class_names, counts, strict=True) if not count
        )


def read_frames(
    source: FrameSource, class_names: Sequence[str], options: FrameOptions
) -> FrameClouds:
    """Read frames evenly spread over a source.

    Parameters
    ----------
    source
        With labels.
    class_names
        By train id.
    options
        What is taken of each.

    Raises
    ------
    UserError
        As `frame_clouds`; if a frame cannot be read.
    """
    number = min(options.most, len(source))
    chosen = np.linspace(0, len(source) - 1, number).round().astype(np.int64)
    return frame_clouds((source[int(index)] for index in chosen), class_names, options)


def frame_clouds(
    frames: Iterable[LidarFrame], class_names: Sequence[str], options: FrameOptions
) -> FrameClouds:
    """Return frames as clouds of one size; those without a point that counts are left out.

    Parameters
    ----------
    frames
        With labels. What is drawn of each depends on the seed and its place here.
    class_names
        By train id.
    options
        What is taken of each.

    Raises
    ------
    UserError
        If a frame has fewer points in the range than are asked for, or no labels, or no frame has a
        point that counts.
    """
    points, strengths, parts, names, seen = [], [], [], [], 0
    for place, frame in enumerate(frames):
        seen += 1
        if frame.segment is None:
            raise UserError(f"{frame.path}: frame {frame.name} has no labels; leave it out")
        inside = within(frame.coord, options.range_m)
        if len(inside) < options.points:
            raise UserError(
                f"{frame.path}: frame {frame.name} has {len(inside)} points within "
                f"{options.range_m:g} m, fewer than the {options.points} asked for; ask for fewer "
                "(--points), or for a larger --range-m"
            )
        rng = np.random.default_rng([options.seed, place])
        rows = inside[rng.choice(len(inside), size=options.points, replace=False)]
        if (frame.segment[rows] == IGNORE_INDEX).all():
            continue
        points.append(frame.coord[rows] / np.float32(options.range_m))
        strengths.append(frame.strength[rows, 0])
        parts.append(np.where(frame.segment[rows] == IGNORE_INDEX, NO_PART, frame.segment[rows]))
        names.append(frame.name)
    if not points:
        raise UserError(
            f"none of {seen} frames has a point with a class that counts within "
            f"{options.range_m:g} m: nothing can be learned; look at the labels and at how they "
            "are mapped to classes"
        )
    clouds = ObjectClouds(
        np.stack(points).astype(np.float32),
        np.zeros(len(points), dtype=np.int64),
        (STREET,),
        np.stack(parts).astype(np.int64),
        tuple(class_names),
    )
    strength = np.stack(strengths).astype(np.float32)
    return FrameClouds(clouds, strength, float(options.range_m), tuple(names))


def within(coord: NDArray[np.float32], range_m: float) -> NDArray[np.int64]:
    """Return which points (N, 3) lie within a range along the ground, and in height."""
    near = np.hypot(coord[:, 0], coord[:, 1]) <= range_m
    return np.flatnonzero(near & (np.abs(coord[:, 2]) <= range_m)).astype(np.int64)


def stretched(clouds: ObjectClouds, factor: float) -> ObjectClouds:
    """Return clouds with all heights times a factor."""
    return clouds.with_points(clouds.points * np.array([1, 1, factor], dtype=np.float32))
