"""Simulated objects: points lie on what is seen, evenly, and a set is read back."""

import numpy as np
import pytest

from train.core.errors import UserError
from train.dataset_distillation.objects import simulated as objects
from train.dataset_distillation.objects.read import read_folder
from train.dataset_distillation.objects.simulated import (
    IN_SCENES,
    MODELS,
    PART_NAMES,
    SimulatedSet,
    simulate_objects,
)
from train.dataset_distillation.objects.surface_points import polytope_triangles, sample_surface
from train.simulation.simulator.ground import Ground
from train.simulation.simulator.parts import Parts, Spot
from train.simulation.simulator.scene import Frame, SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material

FRAME = Frame(3.0, -2.0, 0.0, 0.7)
RNG = np.random.default_rng(0)


def _sample(draw, number=4000):
    builder = SceneBuilder()
    draw(Parts(Spot(builder, FRAME, RNG), Kind.OTHER_OBJECT))
    points, primitive = sample_surface(builder.build(Ground()), number, RNG)
    cos, sin = np.cos(FRAME.yaw), np.sin(FRAME.yaw)
    local = (points - [FRAME.x, FRAME.y, FRAME.z]) @ np.array(
        [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
    )
    return local, primitive


def test_a_box_is_covered_evenly_and_on_its_faces():
    half = np.array([1.0, 0.5, 0.25])
    local, _ = _sample(lambda p: p.box((0.0, 0.0, 1.0), tuple(half), Material.METAL))
    scaled = np.abs(local - [0, 0, 1]) / half
    assert np.allclose(scaled.max(axis=1), 1)
    areas = np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]])
    share = np.array([np.isclose(scaled[:, axis], 1).mean() for axis in range(3)])
    assert np.allclose(share, areas / areas.sum(), atol=0.03)


def test_a_cylinder_a_wheel_and_a_ball_are_covered():
    local, _ = _sample(lambda p: p.post((0.0, 0.0), 0.5, 0.0, 2.0, Material.METAL))
    radius = np.hypot(local[:, 0], local[:, 1])
    on_side, on_cap = np.isclose(radius, 0.5), np.isclose(np.abs(local[:, 2] - 1), 1)
    assert (on_side | on_cap).all()
    assert on_cap.mean() == pytest.approx(0.5 / 2.5, abs=0.03)
    local, _ = _sample(lambda p: p.wheel((0.0, 0.0, 1.0), 0.4, 0.1))
    assert np.hypot(local[:, 0], local[:, 2] - 1).max() <= 0.4 + 1e-9
    assert np.abs(local[:, 1]).max() <= 0.1 + 1e-9
    half = np.array([1.0, 0.4, 0.2])
    local, _ = _sample(lambda p: p.ball((0.0, 0.0, 1.0), tuple(half), Material.METAL), 20_000)
    unit = (local - [0, 0, 1]) / half
    assert np.allclose((unit**2).sum(axis=1), 1)
    # Evenly over the area: the share of a cap by numerical integration over the sphere.
    theta = (np.arange(2000) + 0.5) * np.pi / 2000
    u = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    phi = np.arange(200) * 2 * np.pi / 200
    at = np.stack(
        np.broadcast_arrays(u[:, :1], u[:, 1:] * np.cos(phi), u[:, 1:] * np.sin(phi)),
        axis=-1,
    )
    area = np.linalg.norm(at / half, axis=-1) * u[:, 1:]
    want = area[np.abs(at[..., 0]) > 0.8].sum() / area.sum()
    assert (np.abs(unit[:, 0]) > 0.8).mean() == pytest.approx(want, abs=0.015)


def test_what_is_inside_another_solid_is_not_seen():
    def draw(parts):
        parts.box((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), Material.METAL)
        parts.box((0.0, 0.0, 1.0), (0.5, 0.5, 0.5), Material.METAL)
        parts.box((1.0, 0.0, 1.0), (0.5, 0.5, 0.5), Material.METAL)

    local, primitive = _sample(draw)
    assert set(primitive.tolist()) == {0, 2}
    inner = np.abs(local - [0, 0, 1]).max(axis=1)
    assert (inner[primitive == 2] >= 1 - 1e-6).all()


def test_a_prism_has_its_area():
    """A wedge: two triangles of 1/2, and rectangles over its three sides, 2 m wide."""
    builder = SceneBuilder()
    Spot(builder, Frame(0, 0, 0, 0), RNG).parts(Kind.OTHER_OBJECT).prism(
        [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], 1.0, Material.METAL
    )
    scene = builder.build(Ground())
    vertices, triangles = polytope_triangles(scene.planes)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(2 * 0.5 + 2 * (1 + 1 + np.sqrt(2)))
    assert len(vertices) == 6


def test_nothing_to_see_is_refused():
    with pytest.raises(ValueError, match="no surface"):
        sample_surface(SceneBuilder().build(Ground()), 10, RNG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("objects")
    simulate_objects(path, SimulatedSet(train_per_class=2, test_per_class=1, num_points=128))
    return path


def test_a_simulated_set_has_every_class_and_its_parts(folder):
    train, test = read_folder(folder, "train"), read_folder(folder, "test")
    assert train.classes == tuple(MODELS)
    assert len(train.classes) >= 8
    assert train.counts().tolist() == [2] * len(MODELS)
    assert test.counts().tolist() == [1] * len(MODELS)
    assert np.allclose(np.linalg.norm(train.points, axis=2).max(axis=1), 1, atol=1e-6)
    assert not np.array_equal(train.points[0], train.points[1])
    assert not np.array_equal(train.points[0], test.points[0])
    names = {
        name: {PART_NAMES[p] for p in train.parts[train.rows_of(label)].ravel() if p >= 0}
        for label, name in enumerate(train.classes)
    }
    assert {"paint", "rubber", "glass"} <= names["car"]
    assert {"foliage", "wood"} <= names["tree"]


def test_a_set_that_is_there_is_found_and_another_is_refused(folder):
    before = (folder / "train.npz").stat().st_mtime_ns
    simulate_objects(folder, SimulatedSet(train_per_class=2, test_per_class=1, num_points=128))
    assert (folder / "train.npz").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another set"):
        simulate_objects(folder, SimulatedSet(train_per_class=3, num_points=128))


def test_the_same_seed_gives_the_same_set(folder, tmp_path):
    simulate_objects(tmp_path, SimulatedSet(train_per_class=2, test_per_class=1, num_points=128))
    assert np.array_equal(
        read_folder(tmp_path, "train").points, read_folder(folder, "train").points
    )


def test_things_are_cut_out_of_scans(tmp_path, monkeypatch):
    """Cars alone: the rarer classes take many scenes."""
    monkeypatch.setattr(objects, "IN_SCENES", {"car": IN_SCENES["car"]})
    monkeypatch.setattr(objects, "_AZIMUTH_STEPS", 500)
    simulate_objects(
        tmp_path, SimulatedSet(source="scenes", train_per_class=4, test_per_class=2, num_points=64)
    )
    train = read_folder(tmp_path, "train")
    assert train.classes == ("car",)
    assert train.points.shape == (4, 64, 3)
    # A car is longer than it is wide or high, along the scene.
    assert (
        np.ptp(train.points[..., :2], axis=1).max(axis=1) > np.ptp(train.points[..., 2], axis=1)
    ).all()
