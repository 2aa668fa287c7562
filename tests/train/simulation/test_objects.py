"""People, vehicles, plants and furniture: their sizes, their parts, what they are made of."""

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import fan, reaches
from train.simulation.simulator import frontage, objects, people, raycast, vehicles
from train.simulation.simulator.ground import Ground
from train.simulation.simulator.parts import Spot
from train.simulation.simulator.scene import Frame, Scene, SceneBuilder
from train.simulation.simulator.surfaces import THINGS, Kind, Material

BENDY = Kind.MOVING_BENDY_BUS
AHEAD = Frame(0.0, 0.0, 0.0, 0.0)
BARE = Ground(half_road_m=59.0, parking_left_m=0.0, bump_m=0.0)


def spot_of(seed: int = 0, frame: Frame = AHEAD) -> Spot:
    return Spot(SceneBuilder(), frame, np.random.default_rng(seed))


def drawn(add, *more, seed: int = 0, **options) -> Scene:
    spot = spot_of(seed)
    add(spot, *more, **options)
    return spot.scene.build(BARE)


def box(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the most of all parts' corners."""
    reach = np.stack([*reaches(scene), scene.half[:, 2]], axis=1)
    return (scene.center - reach).min(axis=0), (scene.center + reach).max(axis=0)


def test_every_material_has_optics_that_make_sense():
    for material in Material:
        optics = material.optics
        assert 0.0 < optics.remission < 1.0, material
        assert 0.0 <= optics.dropout < 0.95, material
        assert optics.spread >= 0.0
        assert optics.roughness_m < 0.1


@pytest.mark.parametrize(
    ("kind", "least", "most"), [(Kind.PERSON, 1.5, 2.0), (Kind.CHILD, 0.9, 1.5)]
)
def test_people_are_as_tall_as_people(kind: Kind, least: float, most: float):
    for seed in range(6):
        scene = drawn(people.add_person, kind, seed=seed)
        low, high = box(scene)
        assert -0.06 < low[2] < 0.06
        assert least < high[2] < most
        assert (high - low)[:2].max() < 1.1
        assert len(np.unique(scene.instance)) == 1
        assert len(scene.shape) > 12


def stride(scene: Scene) -> float:
    """Return how far one shoe is ahead of the other: the rubber parts."""
    back, ahead = np.sort(scene.center[scene.material == Material.RUBBER, 0])
    return ahead - back


def test_legs_swing_with_the_stride_on_the_ground_and_repeat_after_a_double_step():
    spans = []
    for phase in np.linspace(0.0, 2 * np.pi, 13):
        scene = drawn(people.add_person, Kind.MOVING_PERSON, phase=float(phase))
        spans.append(stride(scene))
        assert -0.05 < box(scene)[0][2] < 0.12
    assert max(spans) > 0.5
    assert min(spans) < 0.1
    assert spans[0] == pytest.approx(spans[-1], abs=1e-6)
    assert stride(drawn(people.add_person, Kind.PERSON)) < 0.2
    assert people.stride_phase(0.7) == pytest.approx(np.pi)


def test_workers_and_police_shine():
    for kind in (Kind.CONSTRUCTION_WORKER, Kind.POLICE_OFFICER):
        assert Material.HIGH_VISIBILITY in drawn(people.add_person, kind).material
    for seed in range(10):
        plain = drawn(people.add_person, Kind.PERSON, seed=seed)
        assert Material.HIGH_VISIBILITY not in plain.material


@pytest.mark.parametrize("kind", [Kind.MOVING_BICYCLIST, Kind.MOVING_MOTORCYCLIST])
def test_riders_sit_on_what_they_ride(kind: Kind):
    for seed in range(6):
        scene = drawn(people.add_rider, kind, seed=seed)
        low, high = box(scene)
        assert 1.5 < high[2] < 2.1
        assert abs(low[2]) < 0.06
        assert len(np.unique(scene.instance)) == 1
        head = scene.center[scene.material == Material.SKIN].max(axis=0)
        assert -0.4 < head[0] < 0.7


def test_pedals_turn():
    first, other, again = (
        drawn(people.add_rider, Kind.MOVING_BICYCLIST, phase=phase).center
        for phase in (0.0, 1.0, 2 * np.pi)
    )
    assert (first != other).any()
    np.testing.assert_allclose(first, again, atol=1e-9)


@pytest.mark.parametrize("style", list(vehicles.BODIES))
def test_cars_have_the_size_of_their_style_four_wheels_and_panes(style: str):
    body = vehicles.BODIES[style]
    for seed in range(4):
        scene = drawn(vehicles.add_car, Kind.CAR, seed=seed, style=style)
        low, high = box(scene)
        assert body.length[0] - 0.02 < (high - low)[0] < body.length[1] + 0.1
        assert 2 * body.half_width[0] < (high - low)[1] < 2 * body.half_width[1] + 0.4
        assert body.height[0] - 0.03 < high[2] < body.height[1] + 0.4
        tyres = scene.material == Material.RUBBER
        assert tyres.sum() == 4
        np.testing.assert_allclose((scene.center - scene.half)[tyres, 2], 0.0, atol=1e-9)
        assert Material.TINTED_GLASS in scene.material
        assert (scene.kind == Kind.CAR).all()


def test_the_windows_of_a_car_are_seen_and_so_is_its_paint():
    """Rays from the side meet glass in a band between waist and roof, and paint elsewhere."""
    scene = drawn(vehicles.add_car, Kind.CAR, style="hatchback", seed=3)
    origin = np.array([0.0, -8.0, 1.0])
    azimuth = np.pi / 2 + np.deg2rad(np.linspace(-12, 12, 160))
    directions = fan(azimuth, np.deg2rad(np.linspace(-6.5, 4.0, 60)))
    hits = raycast.cast(scene, origin, directions, reach_m=20.0, seed=0)
    car = hits.hit >= 0
    height = origin[2] + (hits.range_m * directions[..., 2])
    glass = car & (hits.material == Material.TINTED_GLASS)
    assert 0.12 < glass.sum() / car.sum() < 0.45
    assert (height[glass] > 0.6).all()
    # Pillars and the roof's edge frame the panes.
    band = car & (height > 1.0) & (height < 1.35)
    assert 0.05 < (band & ~glass).sum() / band.sum() < 0.6


def test_police_and_ambulances_carry_a_light_bar_and_stripes():
    for kind in (Kind.POLICE_CAR, Kind.AMBULANCE):
        scene = drawn(vehicles.add_car, kind)
        assert (scene.kind == kind).all()
        top = scene.center[:, 2].argmax()
        assert scene.material[top] == Material.PLASTIC
        assert (scene.material == Material.REFLECTOR).sum() >= 4


@pytest.mark.parametrize(
    ("add", "more", "kind", "length", "height"),
    [
        (people.add_wheelchair, (), Kind.WHEELCHAIR, (0.6, 1.3), (1.1, 1.6)),
        (people.add_stroller, (), Kind.STROLLER, (0.8, 1.3), (0.95, 1.2)),
        (people.add_scooter_rider, (), Kind.PERSONAL_MOBILITY, (0.9, 1.6), (1.6, 2.2)),
        (people.add_dog, (), Kind.ANIMAL, (0.5, 1.5), (0.35, 1.0)),
        (people.add_bicycle, (), Kind.BICYCLE, (1.6, 2.1), (1.0, 1.15)),
        (people.add_motorcycle, (), Kind.MOTORCYCLE, (1.5, 2.4), (0.95, 1.5)),
        (vehicles.add_truck, (Kind.TRUCK,), Kind.TRUCK, (5.9, 9.5), (2.3, 3.7)),
        (vehicles.add_bus, (Kind.BUS,), Kind.BUS, (10.3, 12.9), (2.9, 3.3)),
        (vehicles.add_bus, (BENDY,), BENDY, (17.5, 19.0), (2.9, 3.3)),
        (vehicles.add_tram, (Kind.TRAM,), Kind.TRAM, (25.0, 26.7), (3.9, 4.6)),
        (vehicles.add_trailer, (), Kind.TRAILER, (3.2, 7.1), (0.7, 2.6)),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_vehicles_and_companions_have_their_size(add, more, kind, length, height, seed):
    spot = spot_of(seed)
    told = add(spot, *more)
    scene = spot.scene.build(BARE)
    low, high = box(scene)
    assert length[0] < (high - low)[0] < length[1]
    assert told is None or told == pytest.approx((high - low)[0], abs=0.8)
    assert height[0] < high[2] < height[1]
    assert (high - low)[1] < 3.1
    # Trams and bodies of lorries end above the ground.
    assert -0.06 < low[2] < (0.06 if told is None else 0.11)
    assert set(scene.kind.tolist()) == {kind}
    assert len(np.unique(scene.instance)) == 1


def test_a_semitrailer_is_two_objects():
    scene = drawn(vehicles.add_semitrailer)
    kinds = {number: set(scene.kind[scene.instance == number]) for number in (1, 2)}
    assert kinds == {1: {Kind.MOVING_TRUCK}, 2: {Kind.MOVING_TRAILER}}
    low, high = box(scene)
    assert (high - low)[0] == pytest.approx(vehicles.SEMITRAILER_M, abs=0.4)


def test_building_machines_come_in_several_forms():
    sizes = set()
    for seed in range(12):
        scene = drawn(vehicles.add_construction_vehicle, seed=seed)
        assert set(scene.kind.tolist()) == {Kind.CONSTRUCTION_VEHICLE}
        low, high = box(scene)
        assert abs(low[2]) < 0.06
        assert 2.0 < high[2] < 5.0
        sizes.add(len(scene.shape))
    assert len(sizes) >= 3


def test_signs_face_one_way_and_are_metal_from_behind():
    for seed in range(12):
        scene = drawn(objects.add_sign, seed=seed)
        assert set(scene.kind.tolist()) == {Kind.POLE, Kind.SIGN}
        for ahead in (True, False):
            origin = np.array([10.0 if ahead else -10.0, 0.0, 2.3])
            azimuth = (np.pi if ahead else 0.0) + np.deg2rad(np.linspace(-2, 2, 80))
            directions = fan(azimuth, np.deg2rad(np.linspace(-3, 3, 60)))
            hits = raycast.cast(scene, origin, directions, reach_m=20.0, seed=0)
            plate = (hits.hit >= 0) & (hits.kind == Kind.SIGN)
            assert plate.sum() > 50
            front = (hits.material[plate] == Material.REFLECTOR).mean()
            assert front > 0.95 if ahead else front < 0.05


def test_a_traffic_light_on_an_arm_hangs_over_the_road():
    near = drawn(objects.add_traffic_light)
    far = drawn(objects.add_traffic_light, arm_m=-5.0)
    for scene, reach in ((near, 0.6), (far, 4.0)):
        lights = scene.center[scene.kind == Kind.TRAFFIC_LIGHT]
        assert (lights[:, 1].min() < -reach) == (scene is far)
        assert lights[:, 2].max() > (5.0 if scene is far else 2.5)


@pytest.mark.parametrize(
    ("add", "kinds"),
    [
        (objects.add_cone, {Kind.CONE}),
        (objects.add_barrier, {Kind.BARRIER}),
        (objects.add_bins, {Kind.PUSHABLE}),
        (objects.add_debris, {Kind.DEBRIS}),
        (objects.add_vapour, {Kind.OUTLIER}),
        (objects.add_shelter, {Kind.SHELTER, Kind.POLE, Kind.SIGN}),
        (objects.add_lamp, {Kind.POLE}),
        (objects.add_big_sign, {Kind.POLE, Kind.SIGN}),
        (objects.add_bush, {Kind.VEGETATION}),
    ],
)
def test_furniture_is_what_it_is_and_is_no_thing(add, kinds):
    for seed in range(8):
        scene = drawn(add, seed=seed)
        assert set(scene.kind.tolist()) == kinds
        assert not kinds & THINGS
        assert (scene.instance == 0).all()


def test_a_rack_has_a_hoop_for_each_bicycle():
    scene = drawn(objects.add_bicycle_rack, 5, 0.9)
    assert len(np.unique(np.round(scene.center[:, 1], 3))) == 5
    assert np.ptp(scene.center[:, 1]) == pytest.approx(3.6)


def test_trees_differ_and_have_trunks_below_porous_crowns():
    counts = set()
    for seed in range(30):
        scene = drawn(objects.add_tree, seed=seed)
        leaves, trunk = scene.kind == Kind.VEGETATION, scene.kind == Kind.TRUNK
        assert leaves.sum() >= 5
        assert trunk.sum() >= 1
        low, high = box(scene)
        assert high[2] > 2.2
        assert low[2] < 0.0
        assert (scene.extra[leaves, 0] > 0.05).all()
        counts.add(len(scene.shape))
    assert len(counts) > 12


def test_street_trees_leave_room_for_people_and_lorries():
    for seed in range(60):
        scene = drawn(objects.add_street_tree, 1.0, seed=seed)
        leaves = scene.kind == Kind.VEGETATION
        low = scene.center[leaves, 2] - 0.5 * scene.half[leaves, 2]
        # Young trees, which have stakes, are an exception: nobody walks under them.
        grown = Kind.OTHER_OBJECT not in scene.kind
        assert low.min() > (2.1 if grown else 1.5)


def test_a_house_stands_behind_its_front_with_windows_and_a_roof():
    forms = set()
    for seed in range(20):
        scene = drawn(frontage.add_house, 5.0, 9.0, 2, seed=seed, room_m=0.0)
        low, high = box(scene)
        assert (scene.kind == Kind.BUILDING).all()
        assert 5.9 < high[2] < 12.0
        assert low[0] < -8.9
        # Only eaves, pipes and balconies come forward, those above people's heads.
        forward = (scene.center + scene.half)[:, 0] > 0.35
        assert ((scene.center - scene.half)[forward, 2] > 2.2).all()
        forms.add(len(scene.shape))
    assert len(forms) > 3


def test_a_beam_goes_from_one_place_to_another():
    spot = spot_of()
    spot.parts(Kind.POLE).beam((0.0, 1.0), (3.0, 5.0), 0.1, Material.METAL, left=0.5)
    scene = spot.scene.build(BARE)
    # The beam's direction is (3, 4) / 5, so this is square to it, in the plane of view.
    square = np.array([-0.8, 0.0, 0.6])
    middle = np.array([1.5, 0.5, 3.0])
    points = [middle, [0.0, 0.5, 1.0], [3.0, 0.5, 5.0]]
    points += [middle + off * square for off in (0.095, -0.095, 0.105, -0.105)]
    points = np.array([*points, [3.1, 0.5, 5.1]])
    planes = scene.planes
    inside = ((points - scene.center[0]) @ planes[:, :3].T <= planes[:, 3] + 1e-9).all(axis=1)
    assert inside.tolist() == [True] * 5 + [False] * 3


def test_parts_moved_within_an_object_belong_to_it():
    spot = spot_of(frame=Frame(1.0, 2.0, 0.5, np.pi / 2))
    one = spot.parts(Kind.CAR)
    one.box((0.0, 0.0, 1.0), (0.5, 0.5, 0.5), Material.METAL)
    one.shifted(2.0, 1.0, np.pi / 2, up=0.25).box((1.0, 0.0, 1.0), (0.1,) * 3, Material.METAL)
    scene = spot.scene.build(BARE)
    assert scene.instance.tolist() == [1, 1]
    np.testing.assert_allclose(scene.center[0], [1.0, 2.0, 1.5])
    # Two ahead is +y, one to the left is -x, and its own ahead is -x.
    np.testing.assert_allclose(scene.center[1], [-1.0, 4.0, 1.75])
    np.testing.assert_allclose(scene.yaw, [np.pi / 2, np.pi])
