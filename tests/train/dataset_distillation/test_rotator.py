"""The rotator: one orientation for every rotation and flip, and it says where there is none."""

import itertools

import numpy as np
import pytest
import torch

from train.dataset_distillation.prepare import random_rotations
from train.dataset_distillation.rotator import Rotator, principal_axes


def cloud(seed, points=400):
    """A cloud without symmetry: three different extents, each with a tail to one side."""
    rng = np.random.default_rng(seed)
    found = rng.exponential(size=(points, 3)) * [1.0, 0.6, 0.3]
    return torch.from_numpy(found - found.mean(axis=0))[None] / 3


ROTATIONS = torch.from_numpy(random_rotations(20, np.random.default_rng(7)))
FLIPS = [torch.tensor(signs) for signs in itertools.product((1.0, -1.0), repeat=3)]


@pytest.mark.parametrize("proper", [False, True])
@pytest.mark.parametrize("mode", ["frozen", "straight-through"])
def test_twenty_rotations_of_a_cloud_end_in_one_orientation(mode, proper):
    rotator = Rotator(mode, proper=proper).double()
    for seed in range(5):
        points = cloud(seed)
        want = rotator(points)
        for rotation in ROTATIONS:
            torch.testing.assert_close(rotator(points @ rotation.T), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "straight-through"])
def test_the_eight_flips_of_the_axes_end_in_one_orientation(mode):
    rotator = Rotator(mode).double()
    points = cloud(0)
    aligned = (points - points.mean(dim=1, keepdim=True)) @ principal_axes(points).vectors
    want = rotator(aligned, align=False)
    for flip in FLIPS:
        torch.testing.assert_close(rotator(aligned * flip, align=False), want, rtol=0, atol=1e-5)


def test_pca_alone_does_not_undo_flips():
    """Otherwise the test above would say nothing."""
    points = cloud(0)
    assert not torch.allclose(
        Rotator("pca")(points * torch.tensor([1.0, 1.0, -1.0]), align=False),
        Rotator("pca")(points, align=False),
    )


def test_learned_weights_change_the_decision_and_keep_the_invariance():
    rotator = Rotator("straight-through", periods=5).double()
    with torch.no_grad():
        rotator.weights.copy_(torch.tensor([-1.0, 0.01, 0.0, -0.005, 0.001]))
    points = cloud(1)
    want = rotator(points)
    assert not torch.allclose(want, Rotator("frozen")(points))
    for rotation in ROTATIONS:
        torch.testing.assert_close(rotator(points @ rotation.T), want, rtol=0, atol=1e-5)


def test_proper_never_mirrors_a_cloud():
    """A cloud and its mirror image stay different; without `proper` they become one."""
    points = cloud(2)
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(Rotator("frozen")(points), Rotator("frozen")(mirrored), atol=1e-6)
    proper = Rotator("frozen", proper=True)
    assert not torch.allclose(proper(points), proper(mirrored), atol=1e-2)
    # A rotation takes the cloud to the result: the best orthogonal fit has determinant 1.
    for each in (points, mirrored):
        centered = each[0] - each[0].mean(dim=0)
        u, _, v = torch.linalg.svd(centered.T @ proper(each)[0])
        assert torch.linalg.det(u @ v) == pytest.approx(1.0)


@pytest.mark.parametrize("proper", [False, True])
def test_upright_turns_about_z_alone(proper):
    rotator = Rotator("frozen", upright=True, proper=proper)
    points = cloud(3)
    want = rotator(points)
    turns = torch.from_numpy(random_rotations(20, np.random.default_rng(8), upright=True))
    for turn in turns:
        torch.testing.assert_close(rotator(points @ turn.T), want, rtol=0, atol=1e-5)
    torch.testing.assert_close(want[..., 2], points[..., 2])


def test_equal_eigenvalues_are_reported():
    angle = torch.arange(64) * (2 * torch.pi / 64)
    ring = torch.stack([angle.cos(), angle.sin(), 0.1 * angle], dim=1)[None].double()
    octahedron = torch.cat([torch.eye(3), -torch.eye(3)])[None].double()
    tube = torch.cat(
        [ring * torch.tensor([1, 1, 0.0]) + torch.tensor([0, 0, z]) for z in (-2, 2)], 1
    )
    assert Rotator("frozen").canonical(octahedron).degenerate.tolist() == [True]
    assert Rotator("frozen").canonical(tube).degenerate.tolist() == [True]
    assert Rotator("frozen").canonical(cloud(4)).degenerate.tolist() == [False]


def test_a_symmetric_cloud_has_an_ambiguous_sign():
    points = cloud(5)
    symmetric = torch.cat([points, points * torch.tensor([-1.0, 1.0, 1.0])], dim=1)
    found = Rotator("frozen").canonical(torch.cat([points, points], dim=1))
    assert not found.ambiguous.any()
    assert Rotator("frozen").canonical(symmetric).ambiguous.all()


def test_the_straight_through_sign_is_exact_and_passes_a_gradient_to_the_weights():
    rotator = Rotator("straight-through", periods=4)
    points = cloud(6).float()
    found = rotator.canonical(points)
    assert set(found.signs.detach().flatten().tolist()) <= {1.0, -1.0}
    found.points.pow(3).sum().backward()
    assert rotator.weights.grad.abs().sum() > 0
    assert not list(Rotator("frozen").parameters())


def test_none_leaves_clouds_alone():
    points = cloud(7)
    assert Rotator("none")(points) is points
