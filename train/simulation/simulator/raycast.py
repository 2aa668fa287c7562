"""Where each ray of a turn or an image ends, the normals there, and the sun's share at a place.

Shape letters: A azimuth columns, B beams, P primitives, R places.
"""

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from train.simulation.simulator import kernels
from train.simulation.simulator.scene import Scene

_STRIP_M: Final = 0.5
"""Places are sorted into strips along the sun's direction, so wide."""

# With a pitched sensor a column of rays is no exact vertical plane.
_COLUMN_SLACK_RAD: Final = math.radians(0.5)


class Hits(NamedTuple):
    """Where the rays of one turn ended, a cell for each (column, beam).

    Attributes
    ----------
    range_m
        (A, B) float64, infinite where nothing was hit.
    hit
        (A, B) int64: a primitive's number, -1 for the ground, -2 for nothing.
    kind, material, instance
        (A, B) int64; meaningless where nothing was hit.
    cosine
        (A, B) float64: of the angle between ray and surface normal.
    """

    range_m: NDArray[np.float64]
    hit: NDArray[np.int64]
    kind: NDArray[np.int64]
    material: NDArray[np.int64]
    instance: NDArray[np.int64]
    cosine: NDArray[np.float64]

    @classmethod
    def empty(cls, columns: int, beams: int) -> "Hits":
        """Return cells to be filled."""
        numbers, words = (np.empty((2, columns, beams)), np.empty((4, columns, beams), np.int64))
        return cls(numbers[0], words[0], words[1], words[2], words[3], numbers[1])


class Visible(NamedTuple):
    """What each column may meet, nearest first.

    Attributes
    ----------
    start
        (A + 1,) where each column's part of `items` begins.
    items
        Primitives.
    nearness
        (P,) meters: no ray meets the primitive nearer than that.
    """

    start: NDArray[np.int64]
    items: NDArray[np.int64]
    nearness: NDArray[np.float64]


def cast(
    scene: Scene,
    origins: NDArray[np.float64],
    directions: NDArray[np.float64],
    *,
    reach_m: float,
    seed: int,
    threads: int | None = None,
    slack_rad: float = _COLUMN_SLACK_RAD,
) -> Hits:
    """Return what each ray of a turn, or of an image, meets first.

    Parameters
    ----------
    scene
        The world.
    origins
        Where each ray starts, (A, B, 3) or anything that broadcasts to it; within a few meters of
        one another.
    directions
        (A, B, 3) unit vectors in the world; the rays of a column lie close to one vertical plane.
    reach_m
        Nothing further away is hit.
    seed
        For what porous volumes let through; at least 0.
    threads
        How many share the work; numba's setting if None. The result does not depend on it.
    slack_rad
        How far from its column's mean azimuth a ray may lie.
    """
    origins = np.ascontiguousarray(np.broadcast_to(origins, directions.shape))
    directions = np.ascontiguousarray(directions)
    visible = _visible(scene, origins, directions, reach_m, slack_rad)
    hits = Hits.empty(directions.shape[0], directions.shape[1])
    ground = scene.ground.packed

    def fill(first: int, last: int) -> None:
        kernels.cast_columns(
            first, last, origins, directions, visible, scene.solids, ground, reach_m, seed, hits
        )

    _in_threads(fill, len(directions), threads)
    return hits


def _in_threads(fill: Callable[[int, int], None], count: int, threads: int | None) -> None:
    """Fill parts of `count` things, each from a first to a last, side by side."""
    # Not numba.get_num_threads(): it starts OpenMP, and so changes the number of torch's threads.
    threads = threads or config.NUMBA_NUM_THREADS
    # A thread takes the next few when it is done with others: some are dearer.
    edges = np.linspace(0, count, (8 * threads if threads > 1 else 1) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        # Its results are asked for so that an error in a thread is not lost.
        list(pool.map(lambda ends: fill(*ends), itertools.pairwise(edges.tolist())))


def _visible(
    scene: Scene,
    origins: NDArray[np.float64],
    directions: NDArray[np.float64],
    reach_m: float,
    slack_rad: float,
) -> Visible:
    """Return what each column may meet."""
    ends = origins.reshape(-1, 3)[:, :2]
    middle = (ends.min(axis=0) + ends.max(axis=0)) / 2
    # As the sensor moves, everything may be off by as much as the sensor is from its middle.
    moved = np.sqrt(((ends - middle) ** 2).sum(axis=1).max())
    offset = scene.center[:, :2] - middle
    distance = np.hypot(offset[:, 0], offset[:, 1])
    radius = np.hypot(scene.half[:, 0], scene.half[:, 1]) + moved
    flat = directions[:, :, :2].sum(axis=1)
    azimuth = np.arctan2(flat[:, 1], flat[:, 0])
    angle = np.arcsin(np.minimum(radius / np.maximum(distance, 1e-9), 1.0))
    half_angle = np.where(distance > radius, angle, np.pi) + slack_rad
    towards = np.arctan2(offset[:, 1], offset[:, 0])
    nearness = distance - radius
    near = np.flatnonzero(nearness < reach_m)
    near = near[np.argsort(nearness[near], kind="stable")]
    start, items = _list_visible(azimuth, towards[near], half_angle[near], near)
    return Visible(start, items, nearness)


@njit(cache=True)
def _list_visible(azimuth, towards, half_angle, near):  # type: ignore[no-untyped-def]
    """Return the starts and the list of primitives within their half angle of each column."""
    start = np.zeros(len(azimuth) + 1, dtype=np.int64)
    for fill in range(2):
        items = np.empty(start[-1] if fill else 0, dtype=np.int64)
        count = 0
        for column in range(len(azimuth)):
            for k in range(len(near)):
                apart = abs(azimuth[column] - towards[k])
                # Both lie within half a turn of 0.
                if min(apart, 2 * math.pi - apart) <= half_angle[k]:
                    if fill:
                        items[count] = near[k]
                    count += 1
            start[column + 1] = count
    return start, items


def surface_normals(
    scene: Scene, hits: Hits, origin: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the unit normals of what rays met, (A, B, 3), on the side from which they came.

    Parameters
    ----------
    scene, hits, directions
        As they went into and came out of `raycast.cast`.
    origin
        (3,) where all rays start.

    Returns
    -------
    ndarray
        Zero where nothing was hit. Leaves lie every way within a few centimeters.
    """
    normals = np.zeros((*hits.range_m.shape, 3))
    origin, directions = np.ascontiguousarray(origin), np.ascontiguousarray(directions)
    kernels.fill_normals(origin, directions, hits, scene.solids, scene.ground.packed, normals)
    return normals


def sunlight(
    scene: Scene,
    places: NDArray[np.float64],
    own: NDArray[np.int64],
    towards_sun: NDArray[np.float64],
    *,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Return which share of the sun's light reaches places, (R,) from 0 to 1.

    Parameters
    ----------
    scene
        Its primitives throw shadows; its ground does not.
    places
        (R, 3) on surfaces.
    own
        (R,) the primitive that each lies on, which throws none on itself unless it is porous; below
        0 for the ground.
    towards_sun
        (3,) unit vector, above the horizon.
    threads
        How many share the work; numba's setting if None. The result does not depend on it.

    Notes
    -----
    All rays are parallel. Seen from above they run along strips, so that a ray meets only what
    reaches into its strip. Porous volumes let through exp(-length / mean free path).
    """
    light = np.ones(len(places))
    level = float(np.hypot(towards_sun[0], towards_sun[1]))
    if towards_sun[2] <= 0 or not len(places) or not len(scene.shape):
        return light
    ahead = towards_sun[:2] / level if level > 1e-9 else np.array([1.0, 0.0])
    aside = np.array([-ahead[1], ahead[0]])
    strips = places[:, :2] @ aside
    lowest = float(strips.min())
    strip_of = np.floor((strips - lowest) / _STRIP_M).astype(np.int64)
    count = int(strip_of.max()) + 1
    radius = np.hypot(scene.half[:, 0], scene.half[:, 1])
    across = scene.center[:, :2] @ aside
    first = np.floor((across - radius - lowest) / _STRIP_M).astype(np.int64)
    last = np.floor((across + radius - lowest) / _STRIP_M).astype(np.int64)
    behind = scene.center[:, :2] @ ahead + radius < float((places[:, :2] @ ahead).min())
    below = scene.center[:, 2] + scene.half[:, 2] < float(places[:, 2].min())
    used = np.flatnonzero((last >= 0) & (first < count) & ~behind & ~below)
    first, last = np.maximum(first[used], 0), np.minimum(last[used], count - 1)
    start, items = _list_strips(first, last, used, count)
    places, rise = np.ascontiguousarray(places), towards_sun[2] / max(level, 1e-9)

    def fill(begin: int, end: int) -> None:
        kernels.fill_light(
            begin, end, places, own, strip_of, start, items,
            towards_sun, ahead, rise, radius, scene.solids, light,
        )  # fmt: skip

    _in_threads(fill, len(places), threads)
    return light


@njit(cache=True)
def _list_strips(first, last, used, count):  # type: ignore[no-untyped-def]
    """Return the starts and the list of what reaches into each strip."""
    start = np.zeros(count + 1, dtype=np.int64)
    for k in range(len(used)):
        for strip in range(first[k], last[k] + 1):
            start[strip + 1] += 1
    for strip in range(count):
        start[strip + 1] += start[strip]
    items = np.empty(start[count], dtype=np.int64)
    at = start.copy()
    for k in range(len(used)):
        for strip in range(first[k], last[k] + 1):
            items[at[strip]] = used[k]
            at[strip] += 1
    return start, items
