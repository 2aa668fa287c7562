"""The compiled functions of the ray caster: shapes, ground, and what a ray or a shadow meets.

They stay together in this file: numba's cache notices a change in the file of the function that it
compiled, not in the files of those it calls. The cache also names the classes of their arguments
(`Solids`, `PackedGround`, `Visible`, `Hits`): who renames or moves one removes `__pycache__`.

Chance (what a leaf lets through) comes from a hash of (seed, ray, primitive), so that a ray's fate
does not depend on the order in which rays are cast.

Shape letters: A azimuth columns, B beams, P primitives, K planes, R places.
"""

import math

import numpy as np
from numba import njit

from train.simulation.simulator.ground import ACROSS_M, ALONG_M, COARSE_M, RAISED
from train.simulation.simulator.scene import Shape
from train.simulation.simulator.surfaces import Kind, Material

_BOX, _CYLINDER, _WHEEL = int(Shape.BOX), int(Shape.CYLINDER), int(Shape.WHEEL)
_ELLIPSOID, _FOLIAGE, _HEDGE = int(Shape.ELLIPSOID), int(Shape.FOLIAGE), int(Shape.HEDGE)
_MESH, _FACADE = int(Shape.MESH), int(Shape.FACADE)

_CURB, _TERRAIN = int(Kind.CURB), int(Kind.TERRAIN)
_GLASS, _WOOD = int(Material.GLASS), int(Material.WOOD)

_ALONG_M, _ACROSS_M, _COARSE_M, _RAISED = ALONG_M, ACROSS_M, COARSE_M, RAISED
_MADE_OF = {
    Kind.ROAD: Material.ASPHALT,
    Kind.LANE_MARKING: Material.PAINT,
    Kind.ROAD_MARKING: Material.PAINT,
    Kind.PARKING: Material.PAVING,
    Kind.SIDEWALK: Material.PAVING,
    Kind.TRAFFIC_ISLAND: Material.PAVING,
    Kind.OTHER_GROUND: Material.GRAVEL,
    Kind.CURB: Material.CURBSTONE,
    Kind.RAIL: Material.METAL,
}
_GROUND_MATERIAL = np.array([_MADE_OF.get(kind, Material.GRASS) for kind in Kind], dtype=np.int64)
_MISS = math.inf
_TOUCH_M, _DARK, _LEAF_M = 2e-3, 0.02, 0.08

# Windows and doors of a facade: where in a storey they begin and end, and how deep they lie.
_STOREY_M = 2.9
_DOOR_M, _DOOR_DEEP_M = 2.1, 0.25
_SILL_M, _LINTEL_M, _WINDOW_DEEP_M = 0.9, 2.2, 0.12


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
def _meet_box(ox, oy, oz, dx, dy, dz, hx, hy, hz):  # type: ignore[no-untyped-def]
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
def _meet_cylinder(ox, oy, oz, dx, dy, dz, radius, half):  # type: ignore[no-untyped-def]
    """Return entry, exit and the face (0 the side, 1 a cap) of a ray and a cylinder along z."""
    near, far, cap = -_MISS, _MISS, 0
    a = dx * dx + dy * dy
    c = ox * ox + oy * oy - radius * radius
    if a < 1e-12:
        if c > 0.0:
            return _MISS, -_MISS, 0
    else:
        b = ox * dx + oy * dy
        root = b * b - a * c
        if root < 0.0:
            return _MISS, -_MISS, 0
        root = math.sqrt(root)
        near, far = (-b - root) / a, (-b + root) / a
    if abs(dz) < 1e-12:
        if abs(oz) > half:
            return _MISS, -_MISS, 0
    else:
        p, q = (-half - oz) / dz, (half - oz) / dz
        if p > q:
            p, q = q, p
        if p > near:
            near, cap = p, 1
        far = min(far, q)
    return near, far, cap


@njit(cache=True)
def _meet_ellipsoid(ox, oy, oz, dx, dy, dz, hx, hy, hz):  # type: ignore[no-untyped-def]
    """Return entry, exit and 0 of a ray and an ellipsoid in its own frame."""
    px, py, pz, vx, vy, vz = ox / hx, oy / hy, oz / hz, dx / hx, dy / hy, dz / hz
    a = vx * vx + vy * vy + vz * vz
    b = px * vx + py * vy + pz * vz
    root = b * b - a * (px * px + py * py + pz * pz - 1.0)
    if root < 0.0:
        return _MISS, -_MISS, 0
    root = math.sqrt(root)
    return (-b - root) / a, (-b + root) / a, 0


@njit(cache=True)
def _meet_polytope(ox, oy, oz, dx, dy, dz, planes, first, count):  # type: ignore[no-untyped-def]
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
def _meet(solids, p, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Return entry, exit and the face entered through of a ray in a primitive's own frame.

    No ray that misses enters before it leaves. A face is an axis of a box, 1 for a cap, a plane.
    """
    hx, hy, hz = solids.half[p, 0], solids.half[p, 1], solids.half[p, 2]
    what = solids.shape[p]
    if what in (_BOX, _MESH, _HEDGE, _FACADE):
        return _meet_box(ox, oy, oz, dx, dy, dz, hx, hy, hz)
    if what == _CYLINDER:
        return _meet_cylinder(ox, oy, oz, dx, dy, dz, hx, hz)
    if what == _WHEEL:
        return _meet_cylinder(ox, oz, oy, dx, dz, dy, hx, hy)
    if what in (_ELLIPSOID, _FOLIAGE):
        return _meet_ellipsoid(ox, oy, oz, dx, dy, dz, hx, hy, hz)
    first, count = int(solids.extra[p, 0]), int(solids.extra[p, 1])
    return _meet_polytope(ox, oy, oz, dx, dy, dz, solids.planes, first, count)


@njit(cache=True)
def _into(solids, p, x, y):  # type: ignore[no-untyped-def]
    """Turn a level direction from the world's axes to a primitive's own."""
    c, s = solids.cos_yaw[p], solids.sin_yaw[p]
    return c * x + s * y, -s * x + c * y


@njit(cache=True)
def _cosine(solids, p, face, x, y, z, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Return the cosine of incidence of a ray that enters a solid at (x, y, z), its own frame."""
    hx, hy, hz = solids.half[p, 0], solids.half[p, 1], solids.half[p, 2]
    what = solids.shape[p]
    if what in (_BOX, _MESH, _FACADE):
        return abs(dx if face == 0 else (dy if face == 1 else dz))
    if what == _CYLINDER:
        return abs(dz) if face else abs(x * dx + y * dy) / hx
    if what == _WHEEL:
        return abs(dy) if face else abs(x * dx + z * dz) / hx
    if what == _ELLIPSOID:
        nx, ny, nz = x / (hx * hx), y / (hy * hy), z / (hz * hz)
        return abs(nx * dx + ny * dy + nz * dz) / math.sqrt(nx * nx + ny * ny + nz * nz)
    planes = solids.planes
    return abs(planes[face, 0] * dx + planes[face, 1] * dy + planes[face, 2] * dz)


@njit(cache=True)
def _opening(along, up, bay_m, windows, phase_m):  # type: ignore[no-untyped-def]
    """Return what a facade is at a place, 0 wall, 1 door or 2 window."""
    bay = (along + phase_m) / bay_m
    within = abs(bay - math.floor(bay) - 0.5) * 2.0
    storey = up - _STOREY_M * math.floor(up / _STOREY_M)
    door = math.floor(bay) % 4 == 1 and up < _STOREY_M
    if within < windows:
        if door and storey < _DOOR_M:
            return 1
        if not door and _SILL_M < storey < _LINTEL_M:
            return 2
    return 0


@njit(cache=True)
def ground_kind(x, y, ground):  # type: ignore[no-untyped-def]
    """Return the kind of the ground at a place, and whether it lies at the height of the curb."""
    across = y - ground.bend_m * math.sin(x / ground.bend_length_m)
    i = min(max(int((x - ground.start_m) / _ALONG_M), 0), ground.cells.shape[0] - 1)
    j = min(max(int((across + ground.reach_m) / _ACROSS_M), 0), ground.cells.shape[1] - 1)
    cell = int(ground.cells[i, j])
    return cell % _RAISED, cell >= _RAISED


@njit(cache=True)
def _bare_height(x, y, ground):  # type: ignore[no-untyped-def]
    """Return the height of the ground without curb and swells: hills, and the road's crown."""
    across = y - ground.bend_m * math.sin(x / ground.bend_length_m)
    return ground.hill_m * math.sin(x / ground.hill_length_m) - 0.015 * min(
        abs(across), ground.half_road_m
    )


@njit(cache=True)
def _swell_at(x, y, ground):  # type: ignore[no-untyped-def]
    """Return how freely terrain may swell at a place, between the middles of coarse cells."""
    across = y - ground.bend_m * math.sin(x / ground.bend_length_m)
    u = min(max((x - ground.start_m) / _COARSE_M - 0.5, 0.0), ground.swell.shape[0] - 1.001)
    v = min(max((across + ground.reach_m) / _COARSE_M - 0.5, 0.0), ground.swell.shape[1] - 1.001)
    i, j = int(u), int(v)
    u, v = u - i, v - j
    low = ground.swell[i, j] * (1.0 - v) + ground.swell[i, j + 1] * v
    high = ground.swell[i + 1, j] * (1.0 - v) + ground.swell[i + 1, j + 1] * v
    return low * (1.0 - u) + high * u


@njit(cache=True)
def ground_height(x, y, ground):  # type: ignore[no-untyped-def]
    """Return the height of the ground at a place, meters."""
    height = _bare_height(x, y, ground)
    kind, raised = ground_kind(x, y, ground)
    if raised:
        height += ground.curb_m
    if kind == _TERRAIN:
        free = _swell_at(x, y, ground)
        wave = math.sin(0.9 * x + 1.7 * math.sin(0.31 * y)) * math.sin(0.8 * y + 0.6)
        slow = math.sin(0.11 * x + 0.4) * math.sin(0.13 * y)
        height += ground.bump_m * (0.4 + 0.6 * free) * wave + 6.0 * ground.bump_m * free * slow
    return height


@njit(cache=True)
def _march_ground(ox, oy, oz, dx, dy, dz, reach, ground):  # type: ignore[no-untyped-def]
    """Return how far along a ray the ground is (infinite beyond reach), kind, cos incidence."""
    lift = ground.curb_m + 8.0 * ground.bump_m
    ceiling = abs(ground.hill_m) + lift + 0.05
    floor = -abs(ground.hill_m) - 8.0 * ground.bump_m - 0.2
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
        close = z <= _bare_height(x, y, ground) + lift
        if close and z <= ground_height(x, y, ground):
            break
        if not t < stop:
            return _MISS, _TERRAIN, 1.0
        before = t
        t = min(t + max(0.2, 0.015 * t), stop)
    low, high = before, t
    for _ in range(18):
        middle = 0.5 * (low + high)
        x, y, z = ox + middle * dx, oy + middle * dy, oz + middle * dz
        if z <= ground_height(x, y, ground):
            high = middle
        else:
            low = middle
    x, y, z = ox + high * dx, oy + high * dy, oz + high * dz
    kind, _ = ground_kind(x, y, ground)
    if ground_height(x, y, ground) - z > 0.02:
        # The ray is well below the surface it has just met: it went through the riser of a step.
        return high, _CURB, math.sqrt(max(1.0 - dz * dz, 0.0)) * 0.7
    return high, kind, max(-dz, 0.01)


@njit(cache=True)
def _level_misses(solids, p, rx, ry, oz, wx, wy, wz, best):  # type: ignore[no-untyped-def]
    """Return whether a ray passes above or below a primitive, or meets it no nearer than `best`."""
    flat = math.sqrt(rx * rx + ry * ry)
    size = math.sqrt(solids.half[p, 0] ** 2 + solids.half[p, 1] ** 2)
    level = math.sqrt(max(wx * wx + wy * wy, 1e-12))
    nearest, farthest = max(flat - size, 0.0) / level, (flat + size) / level
    if nearest > best:
        return True
    z0, z1 = oz + nearest * wz, oz + farthest * wz
    high = solids.half[p, 2]
    return min(z0, z1) > high + 0.01 or max(z0, z1) < -high - 0.01


@njit(cache=True, nogil=True)
def cast_columns(  # type: ignore[no-untyped-def]
    first, last, origins, directions, visible, solids, ground, reach, seed, hits
):
    """Fill `hits` for some columns; `hits.hit`: a primitive, -1 the ground, -2 none."""
    beams = directions.shape[1]
    for column in range(first, last):
        for beam in range(beams):
            ray = column * beams + beam
            wx, wy, wz = directions[column, beam]
            sx, sy, sz = origins[column, beam]
            best, hit, cosine, material = reach, -2, 1.0, 0
            for item in range(visible.start[column], visible.start[column + 1]):
                p = visible.items[item]
                # Sorted: neither it nor any that follows is as near as what was met.
                if visible.nearness[p] > best:
                    break
                rx, ry, oz = (
                    sx - solids.center[p, 0],
                    sy - solids.center[p, 1],
                    sz - solids.center[p, 2],
                )
                if _level_misses(solids, p, rx, ry, oz, wx, wy, wz, best):
                    continue
                ox, oy = _into(solids, p, rx, ry)
                dx, dy = _into(solids, p, wx, wy)
                near, far, face = _meet(solids, p, ox, oy, oz, dx, dy, wz)
                if near > far or far <= 0.0 or near >= best:
                    continue
                what, extra = solids.shape[p], solids.extra[p]
                if what in (_FOLIAGE, _HEDGE):
                    near = max(near, 0.0) - extra[0] * math.log(1.0 - _chance(seed, ray, p))
                    if near < far and 0.3 < near < best:
                        best, hit, material = near, p, solids.material[p]
                        cosine = 0.4 + 0.6 * _chance(seed + 1, ray, p)
                    continue
                if near <= 0.0:
                    continue
                if what in (_MESH, _WHEEL) and _chance(seed, ray, p) < extra[0]:
                    continue
                x, y, z = ox + near * dx, oy + near * dy, oz + near * wz
                best, hit, material = near, p, solids.material[p]
                cosine = _cosine(solids, p, face, x, y, z, dx, dy, wz)
                if what == _FACADE and face != 2:
                    up = z + solids.half[p, 2]
                    opening = _opening(y if face == 0 else x, up, extra[0], extra[1], extra[2])
                    if opening:
                        material = _WOOD if opening == 1 else _GLASS
                        deep = _DOOR_DEEP_M if opening == 1 else _WINDOW_DEEP_M
                        best = near + deep / max(cosine, 0.3)
            kind = solids.kind[hit] if hit >= 0 else 0
            t, ground_is, ground_cosine = _march_ground(sx, sy, sz, wx, wy, wz, best, ground)
            if t < best:
                best, hit, cosine = t, -1, ground_cosine
                kind, material = ground_is, _GROUND_MATERIAL[ground_is]
            hits.range_m[column, beam] = best if hit > -2 else _MISS
            hits.hit[column, beam] = hit
            hits.kind[column, beam] = kind
            hits.material[column, beam] = material
            hits.instance[column, beam] = solids.instance[hit] if hit >= 0 else 0
            hits.cosine[column, beam] = cosine


@njit(cache=True)
def _leaf(x, y, z, salt):  # type: ignore[no-untyped-def]
    """Return a number in [-1, 1) for the leaf at a place."""
    i, j, k = math.floor(x / _LEAF_M), math.floor(y / _LEAF_M), math.floor(z / _LEAF_M)
    mixed = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791) ^ (salt * 2654435761)
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return float((mixed ^ (mixed >> 16)) & 0xFFFF) / 32768.0 - 1.0


@njit(cache=True)
def _ground_normal(kind, x, y, z, wx, wy, ground):  # type: ignore[no-untyped-def]
    """Return a normal, of any length, of the ground."""
    e = 0.1
    if kind == _CURB and ground_height(x, y, ground) - z > 0.02:
        # The riser of a step; it faces whoever sees it.
        return -wx, -wy, 0.0
    if kind == _TERRAIN:
        nx = -(ground_height(x + e, y, ground) - ground_height(x - e, y, ground))
        ny = -(ground_height(x, y + e, ground) - ground_height(x, y - e, ground))
        if abs(nx) + abs(ny) > 2.0 * e:  # at a step of the curb
            return 0.0, 0.0, 1.0
        return nx, ny, 2.0 * e
    nx = -(_bare_height(x + e, y, ground) - _bare_height(x - e, y, ground))
    ny = -(_bare_height(x, y + e, ground) - _bare_height(x, y - e, ground))
    return nx, ny, 2.0 * e


@njit(cache=True)
def _solid_normal(solids, p, x, y, z):  # type: ignore[no-untyped-def]
    """Return a normal, of any length, of a primitive at a place on it, in its own frame."""
    hx, hy, hz = solids.half[p, 0], solids.half[p, 1], solids.half[p, 2]
    what = solids.shape[p]
    along_x = (1.0 if x > 0 else -1.0, 0.0, 0.0)
    along_y = (0.0, 1.0 if y > 0 else -1.0, 0.0)
    along_z = (0.0, 0.0, 1.0 if z > 0 else -1.0)
    if what in (_BOX, _MESH, _FACADE):
        # The face that the place lies on, or (a window) not far behind.
        dx, dy, dz = hx - abs(x), hy - abs(y), hz - abs(z)
        if dx <= dy and dx <= dz:
            return along_x
        return along_y if dy <= dz else along_z
    if what == _CYLINDER:
        return along_z if hz - abs(z) < hx - math.sqrt(x * x + y * y) else (x, y, 0.0)
    if what == _WHEEL:
        return along_y if hy - abs(y) < hx - math.sqrt(x * x + z * z) else (x, 0.0, z)
    if what == _ELLIPSOID:
        return x / (hx * hx), y / (hy * hy), z / (hz * hz)
    if what in (_FOLIAGE, _HEDGE):
        mx, my, mz = x / hx, y / hy, z / hz
        size = math.sqrt(mx * mx + my * my + mz * mz) + 1e-9
        mx, my = mx / size + _leaf(x, y, z, 1), my / size + _leaf(x, y, z, 2)
        return mx, my, mz / size + 0.4 + _leaf(x, y, z, 3)
    planes, first = solids.planes, int(solids.extra[p, 0])
    face, least = first, -math.inf
    for k in range(first, first + int(solids.extra[p, 1])):
        out_of = planes[k, 0] * x + planes[k, 1] * y + planes[k, 2] * z
        if out_of - planes[k, 3] > least:
            face, least = k, out_of - planes[k, 3]
    return planes[face, 0], planes[face, 1], planes[face, 2]


@njit(cache=True)
def fill_normals(origin, directions, hits, solids, ground, out):  # type: ignore[no-untyped-def]
    """Fill in the unit normals of what rays met, on the side from which they came."""
    for column in range(directions.shape[0]):
        for row in range(directions.shape[1]):
            p = hits.hit[column, row]
            if p == -2:
                continue
            wx, wy, wz = directions[column, row]
            t = hits.range_m[column, row]
            x, y, z = origin[0] + t * wx, origin[1] + t * wy, origin[2] + t * wz
            if p == -1:
                nx, ny, nz = _ground_normal(hits.kind[column, row], x, y, z, wx, wy, ground)
            else:
                lx, ly = _into(solids, p, x - solids.center[p, 0], y - solids.center[p, 1])
                mx, my, nz = _solid_normal(solids, p, lx, ly, z - solids.center[p, 2])
                c, s = solids.cos_yaw[p], solids.sin_yaw[p]
                nx, ny = c * mx - s * my, s * mx + c * my
            size = math.sqrt(nx * nx + ny * ny + nz * nz)
            if size < 1e-12:
                nx, ny, nz, size = 0.0, 0.0, 1.0, 1.0
            if nx * wx + ny * wy + nz * wz > 0.0:
                size = -size
            out[column, row] = nx / size, ny / size, nz / size


@njit(cache=True, nogil=True)
def fill_light(  # type: ignore[no-untyped-def]
    begin, end, places, own, strip_of, start, items, towards, ahead, rise, radius, solids, out
):
    """Fill in the light at some places; what a ray towards the sun may meet lies in its strip."""
    wx, wy, wz = towards[0], towards[1], towards[2]
    for place in range(begin, end):
        x, y, z = places[place, 0], places[place, 1], places[place, 2]
        light = 1.0
        for item in range(start[strip_of[place]], start[strip_of[place] + 1]):
            p = items[item]
            what = solids.shape[p]
            porous = what in (_FOLIAGE, _HEDGE)
            if p == own[place] and not porous:
                continue
            rx, ry, oz = x - solids.center[p, 0], y - solids.center[p, 1], z - solids.center[p, 2]
            along = -(rx * ahead[0] + ry * ahead[1])
            if along + radius[p] < 0.0:
                continue
            # Over or under it where it stands.
            if oz + max(along - radius[p], 0.0) * rise > solids.half[p, 2]:
                continue
            if oz + (along + radius[p]) * rise < -solids.half[p, 2]:
                continue
            ox, oy = _into(solids, p, rx, ry)
            dx, dy = _into(solids, p, wx, wy)
            near, far, _ = _meet(solids, p, ox, oy, oz, dx, dy, wz)
            if near > far or far <= _TOUCH_M:
                continue
            if porous:
                light *= math.exp(-(far - max(near, 0.0)) / solids.extra[p, 0])
            elif what in (_MESH, _WHEEL):
                light *= solids.extra[p, 0]
            else:
                light = 0.0
            if light < _DARK:
                light = 0.0
                break
        out[place] = light
