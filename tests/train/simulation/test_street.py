"""Simulated streets: what occurs in them, how often, where it stands, and that it is repeatable."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import reaches
from train.data.nuscenes.classes import CATEGORY_TO_TRAIN
from train.data.semantickitti.classes import RAW_NAMES, RAW_TO_TRAIN
from train.simulation.simulator.drive import Stop, Street
from train.simulation.simulator.ground import RAISED
from train.simulation.simulator.kernels import ground_height
from train.simulation.simulator.models import hdl64
from train.simulation.simulator.roadside import Footprints
from train.simulation.simulator.scene import Frame, Scene, SceneBuilder, Shape
from train.simulation.simulator.surfaces import THINGS, Kind
from train.simulation.simulator.traffic import SPEED_M_S

LENGTH_M = 40.0
NUM_STREETS = 48
# Only a sensor sees these: its own vehicle is no part of the street.
SENSOR_S_OWN = {Kind.OWN_VEHICLE}


def street(seed: int) -> Street:
    return Street(LENGTH_M, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def streets() -> list[Street]:
    """Return what most tests look at."""
    return [street(seed) for seed in range(NUM_STREETS)]


@pytest.fixture(scope="module")
def scenes(streets: list[Street]) -> list[Scene]:
    """Return each street half way through the drive."""
    return [one.scene_at(LENGTH_M / SPEED_M_S / 2) for one in streets]


def near(scene: Scene, reach_m: float = 50.0) -> np.ndarray:
    """Return which primitives are close to the middle of the drive."""
    return np.hypot(scene.center[:, 0] - LENGTH_M / 2, scene.center[:, 1]) < reach_m


def ground_kinds(scene: Scene) -> set[int]:
    """Return what the ground is within 50 m of the drive's middle."""
    first = int((LENGTH_M / 2 - 50.0 - scene.ground.start_m) / 0.1)
    return set(np.unique(scene.ground.cells[first : first + 1000] % RAISED).tolist())


@pytest.fixture(scope="module")
def occurrences(scenes: list[Scene]) -> np.ndarray:
    """Return in how many of the scenes each kind is near."""
    found = np.zeros(len(Kind), dtype=np.int64)
    for scene in scenes:
        kinds = set(scene.kind[near(scene)].tolist()) | ground_kinds(scene)
        found[sorted(kinds)] += 1
    return found


@pytest.mark.slow
def test_every_kind_occurs_near_where_the_sensor_drives(occurrences: np.ndarray):
    assert {Kind(number) for number in np.flatnonzero(occurrences == 0)} == SENSOR_S_OWN
    # And so every raw id of SemanticKITTI but 0, which what lies too far away gets.
    assert {kind.semantickitti for kind in Kind} >= set(RAW_NAMES) - {0}


CLASSES = (
    ({kind: RAW_TO_TRAIN[kind.semantickitti] for kind in Kind}, 19),
    ({kind: CATEGORY_TO_TRAIN[kind.nuscenes] for kind in Kind}, 16),
    ({kind: kind.waymo - 1 for kind in Kind}, 22),
)


def test_what_is_rare_on_a_real_street_is_rare_here(occurrences: np.ndarray):
    rare = (Kind.TRAM, Kind.AMBULANCE, Kind.WHEELCHAIR, Kind.BICYCLIST, Kind.CONSTRUCTION_VEHICLE)
    assert (occurrences[list(rare)] < 0.5 * NUM_STREETS).all()
    common = (Kind.ROAD, Kind.BUILDING, Kind.VEGETATION, Kind.POLE, Kind.SIGN, Kind.SIDEWALK)
    assert (occurrences[list(common)] == NUM_STREETS).all()


@pytest.fixture(scope="module")
def cast_kinds(streets: list[Street]) -> np.ndarray:
    """Return (streets, kinds) points of a coarse frame in each street."""
    lidar = hdl64(240)
    rows = []
    for seed, one in enumerate(streets):
        rng = np.random.default_rng(seed)
        along = float(seed % 4) * 10.0
        stop = Stop(0, one, along, along / SPEED_M_S, one.scene_at(along / SPEED_M_S), rng)
        returns = lidar.scan(stop.scene, stop.motion(lidar.period_s, tilt_deg=0.5), rng)
        rows.append(np.bincount(returns.kind, minlength=len(Kind)))
    return np.array(rows)


def test_every_trained_class_is_hit_by_rays(cast_kinds: np.ndarray):
    total = cast_kinds.sum(axis=0)
    for ids, classes in CLASSES:
        points = np.zeros(classes, dtype=np.int64)
        for kind, train in ids.items():
            if train >= 0:
                points[train] += total[kind]
        assert (points > 0).all(), np.flatnonzero(points == 0)


def test_points_are_shared_out_as_on_a_real_street(cast_kinds: np.ndarray):
    share = cast_kinds.sum(axis=0) / cast_kinds.sum()
    people = [Kind.PERSON, Kind.MOVING_PERSON, Kind.CHILD, Kind.MOVING_CHILD]
    for kinds, least, most in (
        ([Kind.ROAD, Kind.LANE_MARKING, Kind.ROAD_MARKING], 0.18, 0.35),
        ([Kind.SIDEWALK, Kind.CURB], 0.08, 0.22),
        ([Kind.BUILDING], 0.08, 0.22),
        ([Kind.VEGETATION], 0.11, 0.30),
        ([Kind.TERRAIN], 0.03, 0.12),
        ([Kind.CAR, Kind.MOVING_CAR], 0.03, 0.12),
        ([Kind.POLE], 0.002, 0.012),
        ([Kind.TRUNK], 0.004, 0.022),
        (people, 0.0005, 0.012),
        ([Kind.BICYCLE], 0.0, 0.003),
        ([Kind.CONE], 0.0, 0.004),
        ([Kind.TRAFFIC_LIGHT], 0.0, 0.001),
        ([Kind.MOVING_BICYCLIST, Kind.BICYCLIST], 0.0, 0.003),
    ):
        assert least < share[kinds].sum() < most, (kinds, share[kinds].sum())


def digest(scene: Scene) -> str:
    held = hashlib.sha256()
    for part in (*scene.solids, scene.yaw, scene.ground.cells, scene.ground.packed[:-2]):
        held.update(np.ascontiguousarray(part).tobytes())
    return held.hexdigest()


def test_the_same_seed_gives_the_same_scene_and_another_one_another(streets: list[Street]):
    for seed in (0, 1):
        assert digest(street(seed).scene_at(2.0)) == digest(streets[seed].scene_at(2.0))
    assert len({digest(one.scene_at(0.0)) for one in streets[:6]}) == 6


def test_a_look_at_one_moment_does_not_change_another(streets: list[Street]):
    before = digest(streets[2].scene_at(1.0))
    streets[2].scene_at(3.0)
    assert digest(streets[2].scene_at(1.0)) == before


def test_what_stands_stays_and_what_moves_keeps_its_number_and_looks(streets: list[Street]):
    for one in streets[:8]:
        first, second = one.scene_at(0.0), one.scene_at(2.5)
        np.testing.assert_array_equal(first.kind, second.kind)
        np.testing.assert_array_equal(first.instance, second.instance)
        moved = np.hypot(*(first.center - second.center)[:, :2].T) > 1.0
        moving = {Kind(kind) for kind in np.unique(first.kind[moved])}
        allowed = {kind for kind in Kind if kind.name.startswith("MOVING_")}
        allowed |= {Kind.STROLLER, Kind.ANIMAL, Kind.WHEELCHAIR, Kind.PERSONAL_MOBILITY}
        assert moving <= allowed, moving - allowed
        assert Kind.MOVING_CAR in moving


def test_things_have_numbers_and_stuff_has_none(scenes: list[Scene]):
    things = np.isin(np.arange(len(Kind)), sorted(THINGS))
    for scene in scenes:
        assert ((scene.instance > 0) == things[scene.kind]).all()
        # All parts of an object are of one kind.
        pairs = np.unique(np.stack([scene.instance, scene.kind], axis=1), axis=0)
        numbers = pairs[pairs[:, 0] > 0, 0]
        assert len(numbers) == len(np.unique(numbers))


def test_numbers_go_on_where_they_are_told_to(streets: list[Street]):
    later = Street(LENGTH_M, np.random.default_rng(3), first_instance=500).scene_at(0.0)
    first = streets[3].scene_at(0.0)
    shifted = np.where(first.instance > 0, first.instance + 499, 0)
    np.testing.assert_array_equal(later.instance, shifted)


def in_the_way(one: Street) -> Iterator[str]:
    """Yield the kinds of what the sensor's vehicle would hit where frames are taken."""
    for along in np.arange(0.0, LENGTH_M, 10.0):
        scene, frame = one.scene_at(along / SPEED_M_S), one.sensor_frame(float(along))
        offset = scene.center[:, :2] - [frame.x, frame.y]
        forward = np.cos(frame.yaw) * offset[:, 0] + np.sin(frame.yaw) * offset[:, 1]
        left = -np.sin(frame.yaw) * offset[:, 0] + np.cos(frame.yaw) * offset[:, 1]
        length, width = reaches(scene, frame.yaw)
        bottom, top = scene.center[:, 2] - scene.half[:, 2], scene.center[:, 2] + scene.half[:, 2]
        hit = (np.abs(forward) < 2.3 + length) & (np.abs(left) < 0.95 + width)
        hit &= (bottom < frame.z + 2.0) & (top > frame.z + 0.2) & (scene.kind != Kind.OUTLIER)
        for kind in np.unique(scene.kind[hit]):
            yield Kind(kind).name


def test_the_sensor_s_vehicle_has_a_free_way(streets: list[Street]):
    for one in streets[:30]:
        assert [*in_the_way(one)] == []


def overlap(first: Frame, second: Frame, sizes: tuple[float, float, float, float]) -> bool:
    """Return whether a fine grid over one rectangle has a place inside the other."""
    length, width, other_length, other_width = sizes
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-1, 1, 25)), axis=-1)
    u, v = grid[..., 0] * length, grid[..., 1] * width
    x = first.x + np.cos(first.yaw) * u - np.sin(first.yaw) * v - second.x
    y = first.y + np.sin(first.yaw) * u + np.cos(first.yaw) * v - second.y
    a = np.cos(second.yaw) * x + np.sin(second.yaw) * y
    b = -np.sin(second.yaw) * x + np.cos(second.yaw) * y
    return bool(((np.abs(a) < other_length) & (np.abs(b) < other_width)).any())


def test_footprints_are_taken_once():
    rng = np.random.default_rng(0)
    taken, kept = Footprints(), []
    refused = 0
    for _ in range(160):
        frame = Frame(*rng.uniform(0, 18, 2), 0.0, float(rng.uniform(0, 7)))
        size = rng.uniform(0.4, 2.5, 2)
        free = taken.take(frame, *size)
        # The grid is coarse: rectangles that share but a corner may escape it.
        margin = 0.0 if free else 0.15
        touched = any(
            overlap(frame, other, (*(size + margin), *theirs))
            or overlap(other, frame, (*(theirs + margin), *size))
            for other, theirs in kept
        )
        assert touched != free
        refused += not free
        kept += [(frame, size)] if free else []
    assert refused > 30
    assert len(kept) > 20


BODIES = (Kind.CAR, Kind.TRUCK, Kind.BUS, Kind.TRAILER, Kind.POLICE_CAR, Kind.AMBULANCE)


def test_no_parked_vehicle_stands_inside_another_or_a_house(scenes: list[Scene]):
    for scene in scenes[:24]:
        rows = []
        for number in np.unique(scene.instance[np.isin(scene.kind, BODIES)]):
            parts = np.flatnonzero(scene.instance == number)
            rows.append(int(parts[np.argmax(scene.half[parts].prod(axis=1))]))
        houses = np.flatnonzero((scene.kind == Kind.BUILDING) & (scene.shape == Shape.FACADE))
        for place, first in enumerate(rows):
            for second in (*rows[place + 1 :], *houses.tolist()):
                if np.hypot(*(scene.center[first] - scene.center[second])[:2]) > 20.0:
                    continue
                one, two = (
                    Frame(*scene.center[number], scene.yaw[number]) for number in (first, second)
                )
                sizes = (*(scene.half[first, :2] - 0.1), *(scene.half[second, :2] - 0.1))
                assert not overlap(one, two, sizes), (Kind(scene.kind[first]), one, two)


def test_movers_never_meet(streets: list[Street]):
    seconds = np.linspace(0.0, LENGTH_M / SPEED_M_S, 9)
    for movers in (one.traffic for one in streets):
        for time in seconds:
            places = np.array([mover.at(float(time)) for mover in movers])
            across = np.array([abs(one.sideways_m_s) > abs(one.speed_m_s) for one in movers])
            reach = np.array([mover.reach_m for mover in movers])
            # Half a meter is less than the width of two of anything, but for people.
            along = np.where(across, np.minimum(reach, 0.25), reach)
            wide = np.where(across, reach, np.minimum(reach, 0.25))
            gap = np.abs(places[:, None] - places[None])
            close = (gap[..., 0] < along[:, None] + along) & (gap[..., 1] < wide[:, None] + wide)
            np.fill_diagonal(close, False)
            assert not close.any()


def test_objects_stand_on_the_ground(streets: list[Street], scenes: list[Scene]):
    for one, scene in zip(streets[:16], scenes[:16], strict=True):
        ground = one.layout.ground
        for number in np.unique(scene.instance[scene.instance > 0]):
            parts = scene.instance == number
            lowest = (scene.center[parts, 2] - scene.half[parts, 2]).min()
            x, y = scene.center[parts, :2].mean(axis=0)
            height = ground_height(x, y, ground.packed)
            # Long vehicles are level on hills and stand on curbs with one wheel.
            assert abs(lowest - height) < 0.45, (Kind(scene.kind[parts][0]), lowest - height)


def test_walkers_walk_and_pedals_turn(streets: list[Street]):
    legs = []
    for one in streets[:6]:
        layout = one.layout
        for mover in one.traffic:
            if mover.what not in (Kind.MOVING_PERSON, Kind.MOVING_BICYCLIST):
                continue
            shapes = []
            for time in (0.0, 0.31):
                builder = SceneBuilder()
                mover.draw(layout, builder, time)
                shapes.append(np.sort(builder.build(layout.ground).planes.ravel()))
            legs.append(not np.allclose(*shapes, atol=1e-3))
    assert len(legs) > 20
    assert np.mean(legs) > 0.9


def test_cross_streets_have_houses_and_sidewalks_of_their_own(streets: list[Street]):
    with_houses = 0
    for one in streets[:16]:
        layout, scene = one.layout, one.scene_at(0.0)
        for crossing in layout.crossings:
            for arm in crossing.arms:
                across = arm * (layout.outer(arm) + 25.0)
                x, y, _ = layout.ground.to_world(crossing.along_m, across)
                houses = scene.center[scene.kind == Kind.BUILDING, :2]
                gap = np.abs(houses - [x, y])
                # Beyond the row along the main street, and within a lot's depth of the arm.
                with_houses += bool(((gap[:, 0] < 22.0) & (gap[:, 1] < 14.0)).any())
                row = int((crossing.along_m + crossing.half_m + 1.0 - layout.start_m) / 0.1)
                column = int((across + layout.ground.reach_m) / 0.05)
                assert layout.ground.cells[row, column] == Kind.SIDEWALK + RAISED
                middle = int((crossing.along_m - layout.start_m) / 0.1)
                assert layout.ground.cells[middle, column] == Kind.ROAD
    arms = sum(len(crossing.arms) for one in streets[:16] for crossing in one.layout.crossings)
    assert with_houses > 0.6 * arms


def test_crossings_have_lights_and_stripes(streets: list[Street]):
    lit = 0
    for one in streets:
        scene = one.scene_at(0.0)
        lights = scene.center[scene.kind == Kind.TRAFFIC_LIGHT]
        for crossing in one.layout.crossings:
            near_it = np.abs(lights[:, 0] - crossing.along_m) < 12.0
            assert near_it.any() == crossing.lights
            lit += crossing.lights
            if not crossing.zebra:
                continue
            start = int((crossing.along_m - crossing.half_m - 3.0 - one.layout.start_m) / 0.1)
            middle = int(one.layout.ground.reach_m / 0.05)
            half = int(one.layout.half_road_m / 0.05)
            strip = one.layout.ground.cells[start, middle - half : middle + half] % RAISED
            assert 0.3 < (strip == Kind.ROAD_MARKING).mean() < 0.6
    assert lit > 10
