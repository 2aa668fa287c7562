"""Where each ray of a turn ends, in numba: every primitive that a column can see, then the ground.

The compiled functions stay together in this file: numba's cache notices a change in the file of the
function that it compiled, not in the files of those it calls.

Chance (what a leaf lets through) comes from a hash of (seed, ray, primitive), so that a ray's fate
does not depend on the order in which rays are cast.

Shape letters: A azimuth columns, B beams, P primitives, K planes.
"""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from train.simulation.simulator.ground import ACROSS_M, ALONG_M, COARSE_M, RAISED
from train.simulation.simulator.scene import Scene, Shape
from train.simulation.simulator.surfaces import Kind, Material

_BOX, _CYLINDER, _WHEEL = int(Shape.BOX), int(Shape.CYLINDER), int(Shape.WHEEL)
_ELLIPSOID, _FOLIAGE, _HEDGE = int(Shape.ELLIPSOID), int(Shape.FOLIAGE), int(Shape.HEDGE)
_MESH, _FACADE, _POLYTOPE = int(Shape.MESH), int(Shape.FACADE), int(Shape.POLYTOPE)

_ROAD, _MARKING, _PARKING = int(Kind.ROAD), int(Kind.LANE_MARKING), int(Kind.PARKING)
_CURB, _SIDEWALK, _TERRAIN = int(Kind.CURB), int(Kind.SIDEWALK), int(Kind.TERRAIN)
_OTHER_GROUND, _RAIL = int(Kind.OTHER_GROUND), int(Kind.RAIL)
_ROAD_MARKING, _ISLAND = int(Kind.ROAD_MARKING), int(Kind.TRAFFIC_ISLAND)

_ASPHALT, _PAINT, _PAVING = int(Material.ASPHALT), int(Material.PAINT), int(Material.PAVING)
_CURBSTONE, _GRAVEL, _GRASS = int(Material.CURBSTONE), int(Material.GRAVEL), int(Material.GRASS)
_GLASS, _WOOD, _METAL = int(Material.GLASS), int(Material.WOOD), int(Material.METAL)

_ALONG_M, _ACROSS_M, _COARSE_M, _RAISED = ALONG_M, ACROSS_M, COARSE_M, RAISED
_MISS = math.inf
_STOREY_M = 2.9

# With a pitched sensor a column of rays is no exact vertical plane.
_COLUMN_SLACK_RAD = math.radians(0.5)


@njit(cache=True)
def _chance(seed: int, ray: int, primitive: int) -> float:
    """Return a number in [0, 1) that depends on its arguments alone (splitmix64's mixing)."""
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    for word in (np.uint64(ray), np.uint64(primitive)):
        state = state ^ word
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return float(state >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def meet_box(ox, oy, oz, dx, dy, dz, hx, hy, hz):  # type: ignore[no-untyped-def]
    """Return entry, exit and the axis entered through (0, 1, 2) of a ray in a box's own frame."""
    near, far, axis = -_MISS, _MISS, 0
    for i in range(3):
        o = ox if i == 0 else (oy if i == 1 else oz)
        d = dx if i == 0 else (dy if i == 1 else dz)
        h = hx if i == 0 else (hy if i == 1 else hz)
        if abs(d) < 1e-12:
            if abs(o) > h:
                return _MISS, -_MISS, 0
            continue
        a, b = (-h - o) / d, (h - o) / d
        if a > b:
            a, b = b, a
        if a > near:
            near, axis = a, i
        far = min(far, b)
    return near, far, axis


@njit(cache=True)
def meet_cylinder(ox, oy, oz, dx, dy, dz, radius, half):  # type: ignore[no-untyped-def]
    """Return entry, exit and whether a cap was entered, of a ray and a cylinder along z."""
    near, far, cap = -_MISS, _MISS, False
    a = dx * dx + dy * dy
    c = ox * ox + oy * oy - radius * radius
    if a < 1e-12:
        if c > 0.0:
            return _MISS, -_MISS, False
    else:
        b = ox * dx + oy * dy
        root = b * b - a * c
        if root < 0.0:
            return _MISS, -_MISS, False
        root = math.sqrt(root)
        near, far = (-b - root) / a, (-b + root) / a
    if abs(dz) < 1e-12:
        if abs(oz) > half:
            return _MISS, -_MISS, False
    else:
        p, q = (-half - oz) / dz, (half - oz) / dz
        if p > q:
            p, q = q, p
        if p > near:
            near, cap = p, True
        far = min(far, q)
    return near, far, cap


@njit(cache=True)
def meet_ellipsoid(ox, oy, oz, dx, dy, dz, hx, hy, hz):  # type: ignore[no-untyped-def]
    """Return entry and exit of a ray and an ellipsoid in its own frame."""
    px, py, pz, vx, vy, vz = ox / hx, oy / hy, oz / hz, dx / hx, dy / hy, dz / hz
    a = vx * vx + vy * vy + vz * vz
    b = px * vx + py * vy + pz * vz
    root = b * b - a * (px * px + py * py + pz * pz - 1.0)
    if root < 0.0:
        return _MISS, -_MISS
    root = math.sqrt(root)
    return (-b - root) / a, (-b + root) / a


@njit(cache=True)
def meet_polytope(ox, oy, oz, dx, dy, dz, planes, first, count):  # type: ignore[no-untyped-def]
    """Return entry, exit and the plane entered through, of a ray and an intersection of planes."""
    near, far, face = -_MISS, _MISS, first
    for k in range(first, first + count):
        along = planes[k, 0] * dx + planes[k, 1] * dy + planes[k, 2] * dz
        room = planes[k, 3] - (planes[k, 0] * ox + planes[k, 1] * oy + planes[k, 2] * oz)
        if abs(along) < 1e-12:
            if room < 0.0:
                return _MISS, -_MISS, first
            continue
        t = room / along
        if along < 0.0:
            if t > near:
                near, face = t, k
        else:
            far = min(far, t)
    return near, far, face


@njit(cache=True)
def ground_kind(x, y, ground, cells):  # type: ignore[no-untyped-def]
    """Return the kind of the ground at a place, and whether it lies at the height of the curb."""
    across = y - ground[2] * math.sin(x / ground[3])
    i = min(max(int((x - ground[7]) / _ALONG_M), 0), cells.shape[0] - 1)
    j = min(max(int((across + ground[8]) / _ACROSS_M), 0), cells.shape[1] - 1)
    cell = int(cells[i, j])
    return cell % _RAISED, cell >= _RAISED


@njit(cache=True)
def bare_height(x, y, ground):  # type: ignore[no-untyped-def]
    """Return the height of the ground without curb and swells: hills, and the road's crown."""
    across = y - ground[2] * math.sin(x / ground[3])
    return ground[4] * math.sin(x / ground[5]) - 0.015 * min(abs(across), ground[0])


@njit(cache=True)
def _swell_at(x, y, ground, swell):  # type: ignore[no-untyped-def]
    """Return how freely terrain may swell at a place, between the middles of coarse cells."""
    across = y - ground[2] * math.sin(x / ground[3])
    u = min(max((x - ground[7]) / _COARSE_M - 0.5, 0.0), swell.shape[0] - 1.001)
    v = min(max((across + ground[8]) / _COARSE_M - 0.5, 0.0), swell.shape[1] - 1.001)
    i, j = int(u), int(v)
    u, v = u - i, v - j
    low = swell[i, j] * (1.0 - v) + swell[i, j + 1] * v
    high = swell[i + 1, j] * (1.0 - v) + swell[i + 1, j + 1] * v
    return low * (1.0 - u) + high * u


@njit(cache=True)
def ground_height(x, y, ground, cells, swell):  # type: ignore[no-untyped-def]
    """Return the height of the ground at a place, meters."""
    height = bare_height(x, y, ground)
    kind, raised = ground_kind(x, y, ground, cells)
    if raised:
        height += ground[1]
    if kind == _TERRAIN:
        free = _swell_at(x, y, ground, swell)
        wave = math.sin(0.9 * x + 1.7 * math.sin(0.31 * y)) * math.sin(0.8 * y + 0.6)
        slow = math.sin(0.11 * x + 0.4) * math.sin(0.13 * y)
        height += ground[6] * (0.4 + 0.6 * free) * wave + 6.0 * ground[6] * free * slow
    return height


@njit(cache=True)
def _ground_material(kind):  # type: ignore[no-untyped-def]
    """Return what the ground is made of."""
    if kind == _ROAD:
        return _ASPHALT
    if kind in (_MARKING, _ROAD_MARKING):
        return _PAINT
    if kind in (_PARKING, _SIDEWALK, _ISLAND):
        return _PAVING
    if kind == _OTHER_GROUND:
        return _GRAVEL
    if kind == _CURB:
        return _CURBSTONE
    if kind == _RAIL:
        return _METAL
    return _GRASS


@njit(cache=True)
def _march_ground(ox, oy, oz, dx, dy, dz, reach, ground, cells, swell):  # type: ignore[no-untyped-def]
    """Return how far along a ray the ground is (infinite beyond reach), kind, cos incidence."""
    lift = ground[1] + 8.0 * ground[6]
    ceiling = abs(ground[4]) + lift + 0.05
    floor = -abs(ground[4]) - 8.0 * ground[6] - 0.2
    if dz > -1e-6:
        if oz + dz * reach > ceiling:
            return _MISS, _TERRAIN, 1.0
        start, stop = 0.5, reach
    else:
        start = max(0.5, (ceiling - oz) / dz)
        stop = min(reach, (floor - oz) / dz)
    before = start
    t = start
    while True:
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        # What the map says matters only close to the ground.
        close = z <= bare_height(x, y, ground) + lift
        if close and z <= ground_height(x, y, ground, cells, swell):
            break
        if not t < stop:
            return _MISS, _TERRAIN, 1.0
        before = t
        t = min(t + max(0.2, 0.015 * t), stop)
    low, high = before, t
    for _ in range(18):
        middle = 0.5 * (low + high)
        x, y, z = ox + middle * dx, oy + middle * dy, oz + middle * dz
        if z <= ground_height(x, y, ground, cells, swell):
            high = middle
        else:
            low = middle
    x, y, z = ox + high * dx, oy + high * dy, oz + high * dz
    kind, _ = ground_kind(x, y, ground, cells)
    if ground_height(x, y, ground, cells, swell) - z > 0.02:
        # The ray is well below the surface it has just met: it went through the riser of a step.
        return high, _CURB, math.sqrt(max(1.0 - dz * dz, 0.0)) * 0.7
    return high, kind, max(-dz, 0.01)


@njit(cache=True, nogil=True)
def _cast(  # type: ignore[no-untyped-def]
    first_column,
    last_column,
    origins,
    directions,
    column_start,
    column_items,
    nearness,
    shape,
    kinds,
    materials,
    center,
    half,
    extra,
    cos_yaw,
    sin_yaw,
    planes,
    ground,
    cells,
    swell,
    reach,
    seed,
    out_range,
    out_hit,
    out_kind,
    out_material,
    out_cosine,
):
    """Fill the outputs for some columns; `out_hit`: a primitive, -1 the ground, -2 none."""
    beams = directions.shape[1]
    for column in range(first_column, last_column):
        for beam in range(beams):
            ray = column * beams + beam
            wx, wy, wz = (
                directions[column, beam, 0],
                directions[column, beam, 1],
                directions[column, beam, 2],
            )
            sx, sy, sz = (
                origins[column, beam, 0],
                origins[column, beam, 1],
                origins[column, beam, 2],
            )
            best, hit, cosine = reach, -2, 1.0
            material = 0
            for item in range(column_start[column], column_start[column + 1]):
                p = column_items[item]
                # Sorted: neither it nor any that follows is as near as what was met.
                if nearness[p] > best:
                    break
                rx, ry, oz = sx - center[p, 0], sy - center[p, 1], sz - center[p, 2]
                # Too high or too low for this beam at the distances where the primitive is.
                flat = math.sqrt(rx * rx + ry * ry)
                size = math.sqrt(half[p, 0] ** 2 + half[p, 1] ** 2)
                level = math.sqrt(max(wx * wx + wy * wy, 1e-12))
                nearest, farthest = max(flat - size, 0.0) / level, (flat + size) / level
                if nearest > best:
                    continue
                z0, z1 = oz + nearest * wz, oz + farthest * wz
                if min(z0, z1) > half[p, 2] + 0.01 or max(z0, z1) < -half[p, 2] - 0.01:
                    continue
                c, s = cos_yaw[p], sin_yaw[p]
                ox, oy = c * rx + s * ry, -s * rx + c * ry
                dx, dy, dz = c * wx + s * wy, -s * wx + c * wy, wz
                hx, hy, hz = half[p, 0], half[p, 1], half[p, 2]
                what = shape[p]
                if what in (_BOX, _MESH, _HEDGE, _FACADE):
                    near, far, axis = meet_box(ox, oy, oz, dx, dy, dz, hx, hy, hz)
                    if near > far or far <= 0.0 or near >= best:
                        continue
                    if what == _HEDGE:
                        near = max(near, 0.0) - extra[p, 0] * math.log(1.0 - _chance(seed, ray, p))
                        if near < far and 0.3 < near < best:
                            best, hit, material = near, p, materials[p]
                            cosine = 0.4 + 0.6 * _chance(seed + 1, ray, p)
                        continue
                    if near <= 0.0:
                        continue
                    if what == _MESH and _chance(seed, ray, p) < extra[p, 0]:
                        continue
                    d = dx if axis == 0 else (dy if axis == 1 else dz)
                    best, hit, cosine, material = near, p, abs(d), materials[p]
                    if what == _FACADE and axis != 2:
                        along = oy + near * dy if axis == 0 else ox + near * dx
                        up = oz + near * dz + hz
                        bay = (along + extra[p, 2]) / extra[p, 0]
                        within = abs(bay - math.floor(bay) - 0.5) * 2.0
                        storey = up - _STOREY_M * math.floor(up / _STOREY_M)
                        door = math.floor(bay) % 4 == 1 and up < _STOREY_M
                        if within < extra[p, 1]:
                            if door and storey < 2.1:
                                material = _WOOD
                                best = near + 0.25 / max(cosine, 0.3)
                            elif not door and 0.9 < storey < 2.2:
                                material = _GLASS
                                best = near + 0.12 / max(cosine, 0.3)
                elif what in (_CYLINDER, _WHEEL):
                    if what == _CYLINDER:
                        near, far, cap = meet_cylinder(ox, oy, oz, dx, dy, dz, hx, hz)
                    else:
                        near, far, cap = meet_cylinder(ox, oz, oy, dx, dz, dy, hx, hy)
                    if near > far or near <= 0.0 or near >= best:
                        continue
                    if what == _WHEEL and _chance(seed, ray, p) < extra[p, 0]:
                        continue
                    best, hit, material = near, p, materials[p]
                    if what == _CYLINDER:
                        if cap:
                            cosine = abs(dz)
                        else:
                            cosine = abs((ox + near * dx) * dx + (oy + near * dy) * dy) / hx
                    elif cap:
                        cosine = abs(dy)
                    else:
                        cosine = abs((ox + near * dx) * dx + (oz + near * dz) * dz) / hx
                elif what in (_ELLIPSOID, _FOLIAGE):
                    near, far = meet_ellipsoid(ox, oy, oz, dx, dy, dz, hx, hy, hz)
                    if near > far or far <= 0.0 or near >= best:
                        continue
                    if what == _FOLIAGE:
                        near = max(near, 0.0) - extra[p, 0] * math.log(1.0 - _chance(seed, ray, p))
                        if near < far and 0.3 < near < best:
                            best, hit, material = near, p, materials[p]
                            cosine = 0.4 + 0.6 * _chance(seed + 1, ray, p)
                        continue
                    if near <= 0.0:
                        continue
                    best, hit, material = near, p, materials[p]
                    nx = (ox + near * dx) / (hx * hx)
                    ny = (oy + near * dy) / (hy * hy)
                    nz = (oz + near * dz) / (hz * hz)
                    cosine = abs(nx * dx + ny * dy + nz * dz) / math.sqrt(
                        nx * nx + ny * ny + nz * nz
                    )
                else:
                    near, far, face = meet_polytope(
                        ox, oy, oz, dx, dy, dz, planes, int(extra[p, 0]), int(extra[p, 1])
                    )
                    if near > far or near <= 0.0 or near >= best:
                        continue
                    best, hit, material = near, p, materials[p]
                    cosine = abs(planes[face, 0] * dx + planes[face, 1] * dy + planes[face, 2] * dz)
            kind = kinds[hit] if hit >= 0 else 0
            t, ground_is, ground_cosine = _march_ground(
                sx, sy, sz, wx, wy, wz, best, ground, cells, swell
            )
            if t < best:
                best, hit, cosine = t, -1, ground_cosine
                kind, material = ground_is, _ground_material(ground_is)
            out_range[column, beam] = best if hit > -2 else _MISS
            out_hit[column, beam] = hit
            out_kind[column, beam] = kind
            out_material[column, beam] = material
            out_cosine[column, beam] = cosine


class Hits:
    """Where the rays of one turn ended, a cell for each (column, beam).

    Attributes
    ----------
    range_m
        (A, B) float64, infinite where nothing was hit.
    kind, material, instance
        (A, B) int64; meaningless where nothing was hit.
    cosine
        (A, B) float64: of the angle between ray and surface normal.
    """

    def __init__(self, columns: int, beams: int) -> None:
        self.range_m = np.empty((columns, beams))
        self.hit = np.empty((columns, beams), dtype=np.int64)
        self.kind = np.empty((columns, beams), dtype=np.int64)
        self.material = np.empty((columns, beams), dtype=np.int64)
        self.instance = np.zeros((columns, beams), dtype=np.int64)
        self.cosine = np.empty((columns, beams))


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
    start, items, nearness = _visible(scene, origins, directions, reach_m, slack_rad)
    hits = Hits(directions.shape[0], directions.shape[1])
    arguments = (
        origins,
        directions,
        start,
        items,
        nearness,
        scene.shape,
        scene.kind,
        scene.material,
        scene.center,
        scene.half,
        scene.extra,
        np.cos(scene.yaw),
        np.sin(scene.yaw),
        scene.planes,
        scene.ground.packed(),
        scene.ground.cells,
        scene.ground.swell,
        reach_m,
        seed,
        hits.range_m,
        hits.hit,
        hits.kind,
        hits.material,
        hits.cosine,
    )
    # Not numba.get_num_threads(): it starts OpenMP, and so changes the number of torch's threads.
    threads = threads or config.NUMBA_NUM_THREADS
    # A thread takes the next few columns when it is done with others: some are dearer.
    edges = np.linspace(0, len(directions), (8 * threads if threads > 1 else 1) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        # Its results are asked for so that an error in a thread is not lost.
        list(pool.map(lambda ends: _cast(*ends, *arguments), itertools.pairwise(edges.tolist())))
    if len(scene.instance):
        hits.instance = np.where(hits.hit >= 0, scene.instance[np.maximum(hits.hit, 0)], 0)
    return hits


def _visible(
    scene: Scene,
    origins: NDArray[np.float64],
    directions: NDArray[np.float64],
    reach_m: float,
    slack_rad: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return, for each column, what it may meet, and how near each primitive may be.

    Returns
    -------
    starts, items
        (A + 1,) starts into a list, nearest first.
    nearness
        (P,) meters: no ray meets the primitive nearer than that.
    """
    ends = origins.reshape(-1, 3)[:, :2]
    middle = (ends.min(axis=0) + ends.max(axis=0)) / 2
    # As the sensor moves, everything may be off by as much as the sensor is from its middle.
    moved = np.sqrt(((ends - middle) ** 2).sum(axis=1).max())
    offset = scene.center[:, :2] - middle
    distance = np.hypot(offset[:, 0], offset[:, 1])
    radius = np.hypot(scene.half[:, 0], scene.half[:, 1]) + moved
    flat = directions[:, :, :2].sum(axis=1)
    azimuth = np.arctan2(flat[:, 1], flat[:, 0])
    half_angle = (
        np.where(
            distance > radius,
            np.arcsin(np.minimum(radius / np.maximum(distance, 1e-9), 1.0)),
            np.pi,
        )
        + slack_rad
    )
    towards = np.arctan2(offset[:, 1], offset[:, 0])
    nearness = distance - radius
    near = np.flatnonzero(nearness < reach_m)
    near = near[np.argsort(nearness[near], kind="stable")]
    start, items = _list_visible(azimuth, towards[near], half_angle[near], near)
    return start, items, nearness


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
