"""What a camera needs beyond where its rays end: surface normals, and the sun's share at a place.

Compiled functions here call those of `raycast`: after a change there, change this file too, or
numba's cache will not notice it.

Shape letters: A columns, B pixels of a column, R places, P primitives.
"""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from train.simulation.simulator.raycast import (
    Hits,
    bare_height,
    ground_height,
    meet_box,
    meet_cylinder,
    meet_ellipsoid,
    meet_polytope,
)
from train.simulation.simulator.scene import Scene, Shape
from train.simulation.simulator.surfaces import Kind

_BOX, _CYLINDER, _WHEEL = int(Shape.BOX), int(Shape.CYLINDER), int(Shape.WHEEL)
_ELLIPSOID, _FOLIAGE, _HEDGE = int(Shape.ELLIPSOID), int(Shape.FOLIAGE), int(Shape.HEDGE)
_MESH, _FACADE, _POLYTOPE = int(Shape.MESH), int(Shape.FACADE), int(Shape.POLYTOPE)
_CURB, _TERRAIN = int(Kind.CURB), int(Kind.TERRAIN)

_STRIP_M: Final = 0.5
"""Places are sorted into strips along the sun's direction, so wide."""

_TOUCH_M = 2e-3
_DARK = 0.02
_LEAF_M = 0.08


def surface_normals(
    scene: Scene,
    hits: Hits,
    origin: NDArray[np.float64],
    directions: NDArray[np.float64],
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
    _fill_normals(
        np.ascontiguousarray(origin),
        np.ascontiguousarray(directions),
        hits.range_m,
        hits.hit,
        hits.kind,
        scene.shape,
        scene.center,
        scene.half,
        scene.extra,
        np.cos(scene.yaw),
        np.sin(scene.yaw),
        scene.planes,
        scene.ground.packed(),
        scene.ground.cells,
        scene.ground.swell,
        normals,
    )
    return normals


@njit(cache=True)
def _leaf(x, y, z, salt):  # type: ignore[no-untyped-def]
    """Return a number in [-1, 1) for the leaf at a place."""
    i, j, k = math.floor(x / _LEAF_M), math.floor(y / _LEAF_M), math.floor(z / _LEAF_M)
    mixed = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791) ^ (salt * 2654435761)
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return float((mixed ^ (mixed >> 16)) & 0xFFFF) / 32768.0 - 1.0


@njit(cache=True)
def _fill_normals(  # type: ignore[no-untyped-def]
    origin,
    directions,
    range_m,
    hit,
    kinds,
    shape,
    center,
    half,
    extra,
    cos_yaw,
    sin_yaw,
    planes,
    ground,
    cells,
    swell,
    out,
):
    """Fill in the normals."""
    for column in range(directions.shape[0]):
        for row in range(directions.shape[1]):
            p = hit[column, row]
            if p == -2:
                continue
            wx, wy, wz = directions[column, row]
            t = range_m[column, row]
            x, y, z = origin[0] + t * wx, origin[1] + t * wy, origin[2] + t * wz
            if p == -1:
                kind, e = kinds[column, row], 0.1
                if kind == _CURB and ground_height(x, y, ground, cells, swell) - z > 0.02:
                    # The riser of a step; it faces whoever sees it.
                    nx, ny, nz = -wx, -wy, 0.0
                elif kind == _TERRAIN:
                    nx = -(
                        ground_height(x + e, y, ground, cells, swell)
                        - ground_height(x - e, y, ground, cells, swell)
                    )
                    ny = -(
                        ground_height(x, y + e, ground, cells, swell)
                        - ground_height(x, y - e, ground, cells, swell)
                    )
                    nz = 2.0 * e
                    if abs(nx) + abs(ny) > nz:  # at a step of the curb
                        nx, ny, nz = 0.0, 0.0, 1.0
                else:
                    nx = -(bare_height(x + e, y, ground) - bare_height(x - e, y, ground))
                    ny = -(bare_height(x, y + e, ground) - bare_height(x, y - e, ground))
                    nz = 2.0 * e
            else:
                c, s = cos_yaw[p], sin_yaw[p]
                rx, ry, lz = x - center[p, 0], y - center[p, 1], z - center[p, 2]
                lx, ly = c * rx + s * ry, -s * rx + c * ry
                hx, hy, hz = half[p, 0], half[p, 1], half[p, 2]
                what = shape[p]
                mx, my, mz = 0.0, 0.0, 0.0
                if what in (_BOX, _MESH, _FACADE):
                    # The face that the place lies on, or (a window) not far behind.
                    dx, dy, dz = hx - abs(lx), hy - abs(ly), hz - abs(lz)
                    if dx <= dy and dx <= dz:
                        mx = 1.0 if lx > 0 else -1.0
                    elif dy <= dz:
                        my = 1.0 if ly > 0 else -1.0
                    else:
                        mz = 1.0 if lz > 0 else -1.0
                elif what == _CYLINDER:
                    if hz - abs(lz) < hx - math.sqrt(lx * lx + ly * ly):
                        mz = 1.0 if lz > 0 else -1.0
                    else:
                        mx, my = lx, ly
                elif what == _WHEEL:
                    if hy - abs(ly) < hx - math.sqrt(lx * lx + lz * lz):
                        my = 1.0 if ly > 0 else -1.0
                    else:
                        mx, mz = lx, lz
                elif what == _ELLIPSOID:
                    mx, my, mz = lx / (hx * hx), ly / (hy * hy), lz / (hz * hz)
                elif what in (_FOLIAGE, _HEDGE):
                    mx, my, mz = lx / hx, ly / hy, lz / hz
                    size = math.sqrt(mx * mx + my * my + mz * mz) + 1e-9
                    mx = mx / size + _leaf(lx, ly, lz, 1)
                    my = my / size + _leaf(lx, ly, lz, 2)
                    mz = mz / size + 0.4 + _leaf(lx, ly, lz, 3)
                else:
                    first = int(extra[p, 0])
                    face, least = first, -math.inf
                    for k in range(first, first + int(extra[p, 1])):
                        out_of = planes[k, 0] * lx + planes[k, 1] * ly + planes[k, 2] * lz
                        if out_of - planes[k, 3] > least:
                            face, least = k, out_of - planes[k, 3]
                    mx, my, mz = planes[face, 0], planes[face, 1], planes[face, 2]
                nx, ny, nz = c * mx - s * my, s * mx + c * my, mz
            size = math.sqrt(nx * nx + ny * ny + nz * nz)
            if size < 1e-12:
                nx, ny, nz, size = 0.0, 0.0, 1.0, 1.0
            if nx * wx + ny * wy + nz * wz > 0.0:
                size = -size
            out[column, row, 0] = nx / size
            out[column, row, 1] = ny / size
            out[column, row, 2] = nz / size


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
    start, items = _list_strips(
        np.maximum(first[used], 0), np.minimum(last[used], count - 1), used, count
    )
    arguments = (
        np.ascontiguousarray(places),
        own,
        strip_of,
        start,
        items,
        towards_sun,
        ahead,
        towards_sun[2] / max(level, 1e-9),
        radius,
        scene.shape,
        scene.center,
        scene.half,
        scene.extra,
        np.cos(scene.yaw),
        np.sin(scene.yaw),
        scene.planes,
        light,
    )
    threads = threads or config.NUMBA_NUM_THREADS
    edges = np.linspace(0, len(places), (8 * threads if threads > 1 else 1) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        # Its results are asked for so that an error in a thread is not lost.
        list(
            pool.map(
                lambda ends: _fill_light(*ends, *arguments), itertools.pairwise(edges.tolist())
            )
        )
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


@njit(cache=True, nogil=True)
def _fill_light(  # type: ignore[no-untyped-def]
    begin,
    end,
    places,
    own,
    strip_of,
    start,
    items,
    towards,
    ahead,
    rise,
    radius,
    shape,
    center,
    half,
    extra,
    cos_yaw,
    sin_yaw,
    planes,
    out,
):
    """Fill in the light at some places."""
    wx, wy, wz = towards[0], towards[1], towards[2]
    for place in range(begin, end):
        x, y, z = places[place, 0], places[place, 1], places[place, 2]
        light = 1.0
        for item in range(start[strip_of[place]], start[strip_of[place] + 1]):
            p = items[item]
            what = shape[p]
            porous = what in (_FOLIAGE, _HEDGE)
            if p == own[place] and not porous:
                continue
            rx, ry, oz = x - center[p, 0], y - center[p, 1], z - center[p, 2]
            along = -(rx * ahead[0] + ry * ahead[1])
            if along + radius[p] < 0.0:
                continue
            # Over or under it where it stands.
            if oz + max(along - radius[p], 0.0) * rise > half[p, 2]:
                continue
            if oz + (along + radius[p]) * rise < -half[p, 2]:
                continue
            c, s = cos_yaw[p], sin_yaw[p]
            ox, oy = c * rx + s * ry, -s * rx + c * ry
            dx, dy, dz = c * wx + s * wy, -s * wx + c * wy, wz
            hx, hy, hz = half[p, 0], half[p, 1], half[p, 2]
            if what in (_BOX, _MESH, _HEDGE, _FACADE):
                near, far, _ = meet_box(ox, oy, oz, dx, dy, dz, hx, hy, hz)
            elif what == _CYLINDER:
                near, far, _ = meet_cylinder(ox, oy, oz, dx, dy, dz, hx, hz)
            elif what == _WHEEL:
                near, far, _ = meet_cylinder(ox, oz, oy, dx, dz, dy, hx, hy)
            elif what in (_ELLIPSOID, _FOLIAGE):
                near, far = meet_ellipsoid(ox, oy, oz, dx, dy, dz, hx, hy, hz)
            else:
                near, far, _ = meet_polytope(
                    ox, oy, oz, dx, dy, dz, planes, int(extra[p, 0]), int(extra[p, 1])
                )
            if near > far or far <= _TOUCH_M:
                continue
            if porous:
                light *= math.exp(-(far - max(near, 0.0)) / extra[p, 0])
            elif what in (_MESH, _WHEEL):
                light *= extra[p, 0]
            else:
                light = 0.0
            if light < _DARK:
                light = 0.0
                break
        out[place] = light
