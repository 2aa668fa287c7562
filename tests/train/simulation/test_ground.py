"""The ground's map: what is painted where, how high it is, and how terrain swells."""

from itertools import pairwise

import numpy as np
import pytest

from train.simulation.simulator.ground import ACROSS_M, ALONG_M, RAISED, Ground
from train.simulation.simulator.kernels import ground_height, ground_kind
from train.simulation.simulator.layout import Crossing, Layout, Painter
from train.simulation.simulator.surfaces import Kind

CROSSING = Crossing(0.0, 3.0, 2.0, (1.0,), lights=False, zebra=True)


def kind_at(ground: Ground, along: float, across: float) -> tuple[Kind, bool]:
    x, y, _ = ground.to_world(along, across)
    kind, raised = ground_kind(x, y, ground.packed)
    return Kind(kind), raised


def height_at(ground: Ground, along: float, across: float) -> float:
    x, y, _ = ground.to_world(along, across)
    return ground_height(x, y, ground.packed)


def patch(along: tuple[float, float], across: tuple[float, float], kind: Kind, raised: float):
    return [*along, *across, float(kind), raised]


def test_later_patches_cover_earlier_ones_and_edges_lie_where_they_are_said_to():
    ground = Ground(
        patches=np.array(
            [
                patch((0.0, 10.0), (-2.0, 2.0), Kind.OTHER_GROUND, 0.0),
                patch((4.0, 6.0), (-1.0, 1.0), Kind.TRAFFIC_ISLAND, 1.0),
            ]
        )
    )
    assert kind_at(ground, 1.0, 0.0) == (Kind.OTHER_GROUND, False)
    assert kind_at(ground, 5.0, 0.0) == (Kind.TRAFFIC_ISLAND, True)
    for inside, outside in (((0.1, 1.9), (-0.1, 1.9)), ((9.9, -1.9), (9.9, -2.1))):
        assert kind_at(ground, *inside) == (Kind.OTHER_GROUND, False)
        assert kind_at(ground, *outside)[0] == Kind.ROAD
    # A patch covers just the cells whose middles lie in it.
    held = (ground.cells == Kind.TRAFFIC_ISLAND + RAISED).sum() * ALONG_M * ACROSS_M
    assert held == pytest.approx(2.0 * 2.0)


def test_the_map_bends_with_the_street_and_goes_on_beyond_its_edge():
    ground = Ground(bend_m=8.0, bend_length_m=30.0)
    for along in (-90.0, 0.5, 63.0, 136.0):
        assert kind_at(ground, along, 3.4)[0] == Kind.ROAD
        assert kind_at(ground, along, 3.6)[0] == Kind.PARKING
        assert kind_at(ground, along, -3.6)[0] == Kind.CURB
        assert kind_at(ground, along, -4.5)[0] == Kind.SIDEWALK
    assert kind_at(ground, 500.0, 1.0)[0] == kind_at(ground, ground.end_m - 0.05, 1.0)[0]
    assert kind_at(ground, -500.0, 300.0)[0] == Kind.TERRAIN
    straight = Ground(half_road_m=200.0, parking_left_m=0.0)
    assert kind_at(straight, 0.0, 190.0)[0] == Kind.ROAD


def test_curbs_are_steps_and_roads_have_a_crown():
    ground = Ground(curb_m=0.14, bump_m=0.0)
    edge = ground.half_road_m
    assert height_at(ground, 3.0, 0.0) == 0.0
    assert height_at(ground, 3.0, -edge + 0.01) == pytest.approx(-0.015 * edge, abs=1e-3)
    step = height_at(ground, 3.0, -edge - 0.05) - height_at(ground, 3.0, -edge + 0.05)
    assert step == pytest.approx(0.14, abs=2e-3)
    assert height_at(ground, 3.0, -edge - 1.0) == pytest.approx(0.14 - 0.015 * edge)


def test_terrain_swells_away_from_all_else_and_never_beside_it():
    road = patch((40.0, 48.0), (-60.0, 60.0), Kind.ROAD, 0.0)
    ground = Ground(bump_m=0.08, patches=np.array([road]))
    column = int((30.0 + ground.reach_m) / 1.0)
    rows = (np.array([39.5, 37.5, 35.5, 30.5]) - ground.start_m).astype(int)
    along_the_edge = ground.swell[rows, column]
    assert along_the_edge[0] <= 1 / 6
    assert (np.diff(along_the_edge) > 0).all()
    assert along_the_edge[3] == 1.0
    # What remains beside the road is a rough surface, no cliff.
    base = ground.curb_m - 0.015 * ground.half_road_m
    near = [height_at(ground, 39.7, across) - base for across in np.linspace(10, 50, 80)]
    away = [(along, across) for along in range(-60, 30, 10) for across in range(16, 50, 4)]
    far = [height_at(ground, *place) - base for place in away]
    assert np.abs(near).max() < 0.12
    assert np.abs(far).max() > 0.25


def cells_of(painter: Painter) -> Ground:
    return Ground(
        half_road_m=4.0,
        parking_left_m=0.0,
        start_m=-50.0,
        end_m=50.0,
        patches=painter.patches(),
    )


def test_an_arm_has_sidewalks_curbs_and_rounded_corners():
    painter = Painter(-50.0, 50.0, 4.0)
    painter.arm(CROSSING, 1.0, 4.0)
    ground = cells_of(painter)
    assert kind_at(ground, 0.0, 30.0) == (Kind.ROAD, False)
    assert kind_at(ground, 2.9, 30.0) == (Kind.ROAD, False)
    assert kind_at(ground, 3.05, 30.0) == (Kind.CURB, True)
    assert kind_at(ground, -4.0, 30.0) == (Kind.SIDEWALK, True)
    assert kind_at(ground, 5.2, 30.0) == (Kind.TERRAIN, True)
    # The other side of the main street stays as it was.
    assert kind_at(ground, 0.0, -5.0) == (Kind.SIDEWALK, True)
    # A corner's radius is 3 m about (6, 7): its edge passes 0.88 m from where edges would meet.
    assert kind_at(ground, 3.7, 4.7)[0] == Kind.ROAD
    assert kind_at(ground, 4.1, 5.1)[0] != Kind.ROAD


def test_lines_stripes_and_rails_are_painted_where_they_belong():
    rng = np.random.default_rng(0)
    painter = Painter(-50.0, 50.0, 6.4)
    painter.lines(3.2, rng)
    painter.open_median(CROSSING)
    painter.rails([1.6])
    painter.zebra(CROSSING, 1.0)
    ground = Ground(half_road_m=6.4, start_m=-50.0, end_m=50.0, patches=painter.patches())
    # A solid pair in the middle, interrupted at the crossing; dashes between the lanes.
    across = np.arange(-0.3, 0.3, 0.05) + 0.01
    middle = [kind_at(ground, -20.0, float(place))[0] for place in across]
    assert sum(kind == Kind.LANE_MARKING for kind in middle) in (4, 5, 6)
    assert all(kind_at(ground, 0.0, float(place))[0] != Kind.LANE_MARKING for place in across)
    row = [kind_at(ground, float(along), 3.2)[0] for along in np.arange(-49, -5, 0.25)]
    dashed = np.mean([kind == Kind.LANE_MARKING for kind in row])
    assert 0.25 < dashed < 0.42
    # A dash that would lie on the crossing is left out.
    assert kind_at(ground, -13.0, 3.2)[0] == Kind.LANE_MARKING
    assert kind_at(ground, -1.0, 3.2)[0] == Kind.ROAD
    assert kind_at(ground, -30.0, 1.6 + 0.72)[0] == Kind.RAIL
    assert kind_at(ground, 0.0, 1.6 - 0.72)[0] == Kind.RAIL
    stripes = [kind_at(ground, 5.0, float(place))[0] for place in np.arange(-6.0, 6.0, 0.1)]
    assert 0.4 < np.mean([kind == Kind.ROAD_MARKING for kind in stripes]) < 0.6
    assert kind_at(ground, -5.0, 0.6)[0] != Kind.ROAD_MARKING


def test_a_layout_is_sound_for_many_seeds():
    settings, medians, trams = set(), 0, 0
    for seed in range(60):
        layout = Layout(40.0, np.random.default_rng(seed))
        settings.add(layout.setting)
        medians += layout.median_m > 0
        trams += layout.tram
        for lane in layout.lanes:
            # Traffic keeps to the right, on the road and off the median.
            assert lane.across_m * lane.sense < 0
            assert abs(lane.across_m) + 1.3 < layout.half_road_m + 0.3
            assert abs(lane.across_m) - 1.3 > layout.median_m - 0.3
        assert layout.sensor_lane.sense == 1.0
        middles = [crossing.along_m for crossing in layout.crossings]
        assert (np.diff(middles) > 50).all()
        for side in (1.0, -1.0):
            gaps = layout.blocked(side)
            assert all(first[1] <= second[0] for first, second in pairwise(gaps))
        lane = layout.sensor_lane
        for along in np.arange(0.0, 41.0, 2.0):
            kind, raised = kind_at(layout.ground, float(along), lane.across_m)
            assert not raised
            assert kind in (Kind.ROAD, Kind.LANE_MARKING, Kind.ROAD_MARKING, Kind.RAIL)
    assert settings == {"suburb", "town", "arterial"}
    assert medians > 0
    assert trams > 0
