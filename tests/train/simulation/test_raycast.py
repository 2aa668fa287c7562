"""The ray caster against oracles that share no code with it: formulas, walking along the ray."""

import dataclasses
import math

import numpy as np
import pytest

from tests.train.processes import run_code
from tests.train.simulation.exact_sensor import fan
from train.simulation.simulator import raycast
from train.simulation.simulator.kernels import cast_columns, ground_kind
from train.simulation.simulator.parts import Spot
from train.simulation.simulator.scene import Frame, Ground, Scene, SceneBuilder, Shape
from train.simulation.simulator.surfaces import Kind, Material

FLAT = Ground(
    half_road_m=4.0,
    parking_left_m=0.0,
    parking_right_m=0.0,
    sidewalk_left_m=3.0,
    sidewalk_right_m=3.0,
    curb_m=0.0,
    bump_m=0.0,
)
FRAME = Frame(6.0, 1.0, 0.5, 0.7)
ORIGIN = np.array([0.5, -0.4, 1.6])


def rays(
    columns: int = 240, beams: int = 24, *, sector_deg: tuple[float, float] = (-180.0, 180.0)
) -> np.ndarray:
    """Return unit vectors between 25 degrees up and down; their columns are vertical planes."""
    azimuth = np.deg2rad(np.linspace(*sector_deg, columns, endpoint=False))
    return fan(azimuth, np.deg2rad(np.linspace(25.0, -25.0, beams)))


# All rays near the one object that `one` puts up.
TOWARDS = rays(120, 60, sector_deg=(-10.0, 38.0))


def ends(hits: raycast.Hits, directions: np.ndarray) -> np.ndarray:
    """Return where rays from the origin ended, NaN for those that met nothing."""
    range_m = np.where(np.isfinite(hits.range_m), hits.range_m, np.nan)
    return ORIGIN + range_m[..., None] * directions


def scene_of(*parts, ground: Ground = FLAT) -> Scene:
    builder = SceneBuilder(first_instance=7)
    for part in parts:
        part(builder)
    return builder.build(ground)


def one(shape: Shape, half, *, extra=(0.0, 0.0, 0.0)):
    def add(builder: SceneBuilder) -> None:
        common = {"instance": 7, "extra": extra, "turn": 0.2}
        builder.add(shape, FRAME, (0.0, 0.0, 0.3), half, Kind.CAR, Material.WOOD, **common)

    return add


def local(points: np.ndarray, *, turn: float = 0.2, up: float = 0.3) -> np.ndarray:
    """Return world positions in the axes of what `one` has put up, or another in the frame."""
    angle = FRAME.yaw + turn
    offset = points - np.array([FRAME.x, FRAME.y, FRAME.z + up])
    x = math.cos(angle) * offset[..., 0] + math.sin(angle) * offset[..., 1]
    y = -math.sin(angle) * offset[..., 0] + math.cos(angle) * offset[..., 1]
    return np.stack([x, y, offset[..., 2]], axis=-1)


# Half sizes, and a function that is negative inside the solid and zero on its surface.
SOLIDS = {
    Shape.BOX: ((1.2, 0.5, 0.5), lambda p: (np.abs(p) - [1.2, 0.5, 0.5]).max(axis=-1)),
    Shape.CYLINDER: (
        (0.8, 0.8, 0.5),
        lambda p: np.maximum(np.hypot(p[..., 0], p[..., 1]) - 0.8, np.abs(p[..., 2]) - 0.5),
    ),
    Shape.WHEEL: (
        (0.7, 0.3, 0.7),
        lambda p: np.maximum(np.hypot(p[..., 0], p[..., 2]) - 0.7, np.abs(p[..., 1]) - 0.3),
    ),
    Shape.ELLIPSOID: (
        (1.1, 0.6, 0.4),
        lambda p: ((p / [1.1, 0.6, 0.4]) ** 2).sum(axis=-1) - 1.0,
    ),
}
PROFILE = [(-1.0, 0.2), (1.0, 0.2), (0.6, 1.4), (-0.5, 1.4)]


def prism(builder: SceneBuilder) -> None:
    parts = Spot(builder, FRAME, np.random.default_rng(0)).parts(Kind.CAR)
    parts.prism(PROFILE, 0.8, Material.WOOD, narrowing=0.2)


def in_prism(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(local(points, turn=0.0, up=0.0), -1, 0)
    back = -1.0 + (z - 0.2) * 0.5 / 1.2
    front = 1.0 - (z - 0.2) * 0.4 / 1.2
    wide = 0.8 - 0.2 * (z - 0.2)
    return (z >= 0.2) & (z <= 1.4) & (x >= back) & (x <= front) & (np.abs(y) <= wide)


def walk(inside, directions: np.ndarray, reach: float, step: float = 0.004) -> np.ndarray:
    """Return the first of many small steps along each ray that is inside, infinity if none is."""
    first = np.full(directions.shape[:2], np.inf)
    for t in np.arange(step, reach, step):
        hit = inside(ORIGIN + t * directions) & np.isinf(first)
        first[hit] = t
    return first


def test_the_ray_caster_leaves_torchs_threads_alone(tmp_path):
    # numba's OpenMP and torch's are one library: what one is told, the other does.
    code = """
        import sys, torch
        from train.simulation.semantickitti import simulate_semantickitti
        torch.set_num_threads(1)
        counts = {"num_frames": 1, "num_validation_frames": 1, "azimuth_steps": 20}
        simulate_semantickitti(sys.argv[1], **counts)
        sys.exit(torch.get_num_threads() - 1)
    """
    assert run_code(code, tmp_path / "data").returncode == 0


@pytest.mark.parametrize("shape", [*SOLIDS, Shape.POLYTOPE], ids=lambda shape: shape.name)
def test_a_solid_is_met_where_walking_along_the_ray_meets_it(shape: Shape):
    half, surface = SOLIDS.get(shape, (None, None))
    inside = (lambda points: surface(local(points)) <= 0.0) if surface else in_prism
    scene = scene_of(one(shape, half) if surface else prism)
    hits = raycast.cast(scene, ORIGIN, TOWARDS, reach_m=9.0, seed=0)
    walked = walk(inside, TOWARDS, 9.0)
    hit = hits.hit == 0
    # A ray that grazes the solid for less than a step may be missed by the walk, never the other
    # way round, and the ground may come first.
    both = hit & np.isfinite(walked)
    assert both.sum() > 100
    assert (hit & ~np.isfinite(walked)).sum() < 0.05 * hit.sum()
    above_ground = np.isfinite(walked) & (walked < np.where(hits.hit == -1, hits.range_m, np.inf))
    assert not (above_ground & ~hit).any()
    assert (walked[both] - hits.range_m[both]).min() > -1e-9
    assert (walked[both] - hits.range_m[both]).max() <= 0.004 + 1e-9
    assert (hits.instance[hit] == 7).all()
    assert (hits.kind[hit] == Kind.CAR).all()
    assert (hits.material[hit] == Material.WOOD).all()
    assert (hits.instance[~hit] == 0).all()


@pytest.mark.parametrize("shape", list(SOLIDS), ids=lambda shape: shape.name)
def test_the_cosine_is_that_of_the_surface_that_was_met(shape: Shape):
    half, surface = SOLIDS[shape]
    scene = scene_of(one(shape, half))
    hits = raycast.cast(scene, ORIGIN, TOWARDS, reach_m=9.0, seed=0)
    hit = hits.hit == 0
    at, ahead = local(ends(hits, TOWARDS)[hit]), TOWARDS[hit]
    before = local(ends(hits, TOWARDS)[hit] - ahead)
    # The normal is the gradient of the surface's function, here by differences.
    step = 1e-6 * np.eye(3)
    normal = np.stack([surface(at + s) - surface(at - s) for s in step], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    cosine = np.abs((normal * (at - before)).sum(axis=-1))
    off = np.abs(cosine - hits.cosine[hit]) > 1e-4
    # Within a step of an edge the differences see two faces.
    assert hit.sum() > 300
    assert off.mean() < 0.005
    if shape in (Shape.CYLINDER, Shape.WHEEL):
        flat = np.abs(normal).max(axis=-1) > 1 - 1e-9
        assert 20 < flat.sum() < hit.sum() - 20


def test_flat_ground_is_met_at_height_over_sine():
    hits = raycast.cast(scene_of(), ORIGIN, rays(), reach_m=60.0, seed=0)
    sine = -rays()[..., 2]
    across = ends(hits, rays())[..., 1]
    road = (hits.hit == -1) & (np.abs(across) < 3.9)
    # The road falls 1.5 cm a meter to both sides: that is the only difference from a plane.
    expected = ORIGIN[2] / np.maximum(sine, 1e-9)
    assert road.sum() > 500
    drop = 0.015 * np.abs(across[road])
    np.testing.assert_allclose(
        hits.range_m[road], expected[road] + drop / sine[road], rtol=1e-4, atol=1e-3
    )
    np.testing.assert_allclose(hits.cosine[road], sine[road], atol=1e-12)
    assert not np.isfinite(hits.range_m[sine < 0]).any()
    assert (hits.kind[road] == Kind.ROAD).all()


def test_the_ground_s_strips_are_where_they_should_be():
    cross_street = [47.0, 53.0, -60.0, 60.0, float(Kind.ROAD), 0.0]
    patches = np.array([cross_street, [0.0, 3.0, -0.1, 0.1, float(Kind.LANE_MARKING), 0.0]])
    ground = dataclasses.replace(FLAT, parking_left_m=2.0, curb_m=0.1, patches=patches)
    expected = [
        ((1.0, 0.05), Kind.LANE_MARKING, False),
        ((4.0, 0.05), Kind.ROAD, False),
        ((1.0, 3.9), Kind.ROAD, False),
        ((1.0, 4.1), Kind.PARKING, False),
        ((1.0, 6.1), Kind.CURB, True),
        ((1.0, 6.2), Kind.SIDEWALK, True),
        ((1.0, -4.1), Kind.CURB, True),
        ((1.0, -4.2), Kind.SIDEWALK, True),
        ((1.0, -7.1), Kind.TERRAIN, True),
        ((1.0, 9.1), Kind.TERRAIN, True),
        ((52.0, 20.0), Kind.ROAD, False),
    ]
    for (x, y), kind, raised in expected:
        assert ground_kind(x, y, ground.packed) == (kind, raised), (x, y)


def test_the_riser_of_a_curb_is_met_at_its_edge():
    ground = dataclasses.replace(FLAT, curb_m=0.15)
    hits = raycast.cast(scene_of(ground=ground), ORIGIN, rays(720, 64), reach_m=60.0, seed=0)
    curb = (hits.hit == -1) & (hits.kind == Kind.CURB)
    at = ends(hits, rays(720, 64))[curb]
    riser = np.abs(np.abs(at[:, 1]) - 4.0) < 1e-3
    assert riser.sum() > 50
    # The rest lies on the curbstone, 9 cm above the middle of the road.
    assert (~riser).sum() > 50
    np.testing.assert_allclose(at[~riser, 2], 0.09, atol=1e-3)
    assert (np.abs(at[~riser, 1]) < 4.16).all()
    assert (at[:, 2] > -0.07).all()
    assert (at[:, 2] < 0.1).all()


def test_foliage_lets_through_what_its_free_path_says():
    half, path = (1.5, 1.5, 1.5), 0.9
    scene = scene_of(one(Shape.FOLIAGE, half, extra=(path, 0.0, 0.0)))
    hits = raycast.cast(scene, ORIGIN, TOWARDS, reach_m=80.0, seed=3)
    center = np.array([FRAME.x, FRAME.y, FRAME.z + 0.3])
    along = (center - ORIGIN) @ TOWARDS.transpose(0, 2, 1)
    off = np.sqrt(np.maximum(((center - ORIGIN) ** 2).sum() - along**2, 0.0))
    chord = 2 * np.sqrt(np.maximum(1.5**2 - off**2, 0.0)) * (along > 0)
    deep = chord > 2.0
    share = (hits.hit[deep] == 0).mean()
    expected = (1 - np.exp(-chord[deep] / path)).mean()
    assert deep.sum() > 800
    assert share == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(deep.sum()))
    # Hits lie inside the ball, near its front more than near its back.
    depth = hits.range_m - (along - chord / 2)
    inside = hits.hit == 0
    assert depth[inside].min() >= -1e-9
    assert (depth[inside] - chord[inside]).max() <= 1e-9
    assert (depth < chord / 2)[inside & deep].mean() > 0.6


def test_a_hedge_and_a_mesh_let_through_their_shares():
    def look(shape: Shape, half: tuple[float, float, float], extra: float = 0.0) -> raycast.Hits:
        scene = scene_of(one(shape, half, extra=(extra, 0.0, 0.0)))
        return raycast.cast(scene, ORIGIN, TOWARDS, reach_m=80.0, seed=1)

    crossed = look(Shape.BOX, (1.0, 0.02, 1.0)).hit == 0
    hits = look(Shape.MESH, (1.0, 0.02, 1.0), 0.55)
    assert not (hits.hit[~crossed] == 0).any()
    share = (hits.hit[crossed] == 0).mean()
    assert crossed.sum() > 400
    assert share == pytest.approx(0.45, abs=4 * 0.5 / math.sqrt(crossed.sum()))
    dense, solid = look(Shape.HEDGE, (1.0, 0.5, 1.0), 1e-4), look(Shape.BOX, (1.0, 0.5, 1.0))
    both = (dense.hit == 0) & (solid.hit == 0)
    assert both.sum() > 0.99 * (solid.hit == 0).sum()
    np.testing.assert_allclose(dense.range_m[both], solid.range_m[both], atol=2e-3)


def test_windows_and_doors_lie_behind_the_wall():
    at, half, bays = Frame(0.0, 8.0, 0.0, 0.0), (10.0, 2.0, 4.0), (2.5, 0.5, 100.0)
    what = (Kind.BUILDING, Material.PLASTER)
    scene = scene_of(
        lambda builder: builder.add(Shape.FACADE, at, (0.0, 0.0, 4.0), half, *what, extra=bays)
    )
    directions = rays(1440, 64)
    hits = raycast.cast(scene, ORIGIN, directions, reach_m=60.0, seed=0)
    at = ends(hits, directions)
    front = (hits.hit == 0) & (np.abs(at[..., 0]) < 9.5)
    for material, depth in ((Material.PLASTER, 0.0), (Material.GLASS, 0.12), (Material.WOOD, 0.25)):
        some = front & (hits.material == material)
        assert some.sum() > 100
        facing = some & (directions[..., 1] > 0.35)
        np.testing.assert_allclose(at[facing][:, 1], 6.0 + depth, atol=1e-6)
    glass = at[front & (hits.material == Material.GLASS)]
    assert (glass[:, 2] % 2.9 > 0.8).all()
    assert (glass[:, 2] % 2.9 < 2.4).all()


@pytest.mark.parametrize("way_m", [0.0, 3.0])
def test_what_a_column_cannot_see_makes_no_difference(way_m: float):
    rng = np.random.default_rng(0)

    def crowd(builder: SceneBuilder) -> None:
        for number in range(60):
            frame = Frame(*rng.uniform(-25, 25, 2), 0.0, float(rng.uniform(0, 6)))
            shape, half = Shape(int(rng.integers(0, 7))), tuple(rng.uniform(0.2, 2.5, 3))
            common = {"instance": number, "extra": (0.4, 0.0, 0.0)}
            builder.add(shape, frame, (0.0, 0.0, 1.0), half, Kind.CAR, Material.METAL, **common)

    scene = scene_of(crowd)
    directions = rays(180, 16)
    # The sensor moves from one column to the next.
    origins = np.repeat(ORIGIN[None], 180, axis=0)
    origins[:, 0] += np.linspace(-way_m / 2, way_m / 2, 180)
    origins = np.repeat(origins[:, None], 16, axis=1)
    hits = raycast.cast(scene, origins, directions, reach_m=60.0, seed=5)
    everything, count = raycast.Hits.empty(180, 16), len(scene.shape)
    visible = raycast.Visible(
        np.arange(181) * count, np.tile(np.arange(count), 180), np.zeros(count)
    )
    ground = scene.ground.packed
    cast_columns(0, 180, origins, directions, visible, scene.solids, ground, 60.0, 5, everything)
    np.testing.assert_array_equal(hits.range_m, everything.range_m)
    np.testing.assert_array_equal(hits.hit, everything.hit)
    assert (hits.hit >= 0).sum() > 500


def test_every_ray_starts_where_it_is_told():
    down = np.tile([0.0, 0.0, -1.0], (4, 2, 1))
    starts = np.zeros((4, 2, 3))
    starts[..., 2] = 1.0 + np.arange(8).reshape(4, 2)
    hits = raycast.cast(scene_of(), starts, down, reach_m=60.0, seed=0)
    # In the middle of the road, where its height is 0.
    np.testing.assert_allclose(hits.range_m, starts[..., 2], atol=1e-4)


def test_nothing_beyond_the_reach_is_met():
    near = raycast.cast(scene_of(), ORIGIN, rays(), reach_m=10.0, seed=0)
    far = raycast.cast(scene_of(), ORIGIN, rays(), reach_m=60.0, seed=0)
    seen = np.isfinite(near.range_m)
    assert near.range_m[seen].max() < 10.0
    np.testing.assert_array_equal(seen, far.range_m < 10.0)
    np.testing.assert_allclose(near.range_m[seen], far.range_m[seen], atol=1e-3)


def test_of_many_solids_the_nearest_is_met():
    rng = np.random.default_rng(2)
    solids = (Shape.BOX, Shape.CYLINDER, Shape.ELLIPSOID)
    rows = []
    for _ in range(25):
        frame = Frame(*rng.uniform(3, 12, 2), 0.0, float(rng.uniform(0, 6)))
        half = tuple(rng.uniform(0.3, 1.5, 3))
        rows.append((solids[int(rng.integers(3))], frame, (0.0, 0.0, 1.0), half))

    def cast(*some) -> np.ndarray:
        what = (Kind.CAR, Material.METAL)
        scene = scene_of(*[lambda builder, row=row: builder.add(*row, *what) for row in some])
        directions = rays(150, 40, sector_deg=(0.0, 90.0))
        return raycast.cast(scene, ORIGIN, directions, reach_m=60.0, seed=0).range_m

    together = cast(*rows)
    apart = np.min([cast(row) for row in rows], axis=0)
    met = np.isfinite(apart)
    np.testing.assert_array_equal(np.isfinite(together), met)
    # The walk to the ground starts from what was met, so the ground's ranges differ in rounding.
    np.testing.assert_allclose(together[met], apart[met], atol=1e-3)
    assert (together[met] < cast()[met] - 0.1).sum() > 1000
