"""fast.persistence_landscape and fast.betti_curve against the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from tests.fast.test_persistence_image import padded
from tests.reference import strategies
from tests.reference.test_persistence_curves import GRID

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())


@given(
    some=st.lists(diagrams, min_size=1, max_size=3),
    num_landscapes=st.sampled_from([1, 2, 3, 7, 30]),
    seed=strategies.seeds,
)
def test_landscapes_equal_the_definition_s(some, num_landscapes, seed):
    pairs, mask = padded(some)
    options = {"num_landscapes": num_landscapes}
    got = fast.persistence_landscape(
        pairs.requires_grad_(), grid=torch.tensor(GRID), mask=mask, **options
    )
    upstream = np.random.default_rng(seed).normal(size=got.shape)
    (grad,) = torch.autograd.grad(got, pairs, torch.tensor(upstream))
    assert not grad[~mask].any()
    for cloud, diagram in enumerate(some):
        want = reference.persistence_landscape(diagram, grid=GRID, **options)
        np.testing.assert_array_equal(got[cloud].detach(), want)
        gradient = reference.persistence_landscape_grad(
            diagram, upstream[cloud], grid=GRID, **options
        )
        np.testing.assert_allclose(grad[cloud][mask[cloud]], gradient, rtol=1e-12, atol=1e-12)


@given(
    some=st.lists(diagrams, min_size=1, max_size=3),
    bandwidth=st.sampled_from([None, 0.01, 0.5]),
    seed=strategies.seeds,
)
def test_betti_curves_equal_the_definition_s(some, bandwidth, seed):
    pairs, mask = padded(some)
    options = {"bandwidth": bandwidth}
    got = fast.betti_curve(pairs.requires_grad_(), grid=torch.tensor(GRID), mask=mask, **options)
    upstream = np.random.default_rng(seed).normal(size=got.shape)
    assert got.requires_grad == (bandwidth is not None)
    grad = None
    if bandwidth is not None:
        (grad,) = torch.autograd.grad(got, pairs, torch.tensor(upstream))
        assert not grad[~mask].any()
    for cloud, diagram in enumerate(some):
        want = reference.betti_curve(diagram, grid=GRID, **options)
        np.testing.assert_allclose(got[cloud].detach(), want, rtol=1e-12, atol=1e-14)
        if grad is not None:
            gradient = reference.betti_curve_grad(diagram, upstream[cloud], grid=GRID, **options)
            np.testing.assert_allclose(grad[cloud][mask[cloud]], gradient, rtol=1e-9, atol=1e-12)


def test_a_loss_of_whole_numbers_refuses_to_go_backward():
    pairs = torch.tensor([[0.0, 1.0]], requires_grad=True)
    curve = fast.betti_curve(pairs, grid=torch.tensor([0.5]))
    with pytest.raises(RuntimeError, match="does not require grad"):
        curve.sum().backward()


def test_the_largest_loop_grows_along_its_landscape(make_cloud):
    points = torch.tensor(make_cloud("circle", 20))
    grid = torch.linspace(0, 2, 50)

    def height(points):
        loops = fast.rips_persistence_of_points(points)[1]
        return fast.persistence_landscape(
            loops.pairs, grid=grid, num_landscapes=1, mask=loops.mask
        ).sum()

    leaf = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(height(leaf), leaf)
    assert height(points + 1e-3 * gradient / gradient.norm()) > height(points) > 0


def test_many_landscapes_begin_with_the_few():
    """Either way of finding the highest tents takes the same of equal ones."""
    births = torch.randint(0, 4, (2, 40), generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([births, births + 2], dim=-1).double().requires_grad_()
    grid = torch.linspace(0, 6, 13)
    results = []
    for num_landscapes in (3, 40):
        found = fast.persistence_landscape(pairs, grid=grid, num_landscapes=num_landscapes)[:, :3]
        results.append((found, *torch.autograd.grad(found.sum(), pairs)))
    for few, many in zip(*results, strict=True):
        assert torch.equal(few, many)
