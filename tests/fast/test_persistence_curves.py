"""fast.persistence_landscape and fast.betti_curve against the definition."""

import re

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


# ---- grids, and the modules ---------------------------------------------------------------------


@given(some=st.lists(diagrams, min_size=1, max_size=3), num_values=st.integers(2, 40))
def test_the_default_grid_is_the_definition_s(some, num_values):
    pairs, mask = padded(some)
    try:
        want = reference.default_grid(some, num_values)
    except ValueError as error:
        with pytest.raises(ValueError, match="no pair of positive persistence") as refused:
            fast.default_grid(pairs, num_values, mask=mask)
        wanted = str(refused.value).partition(";")[0]
        assert wanted in str(error)  # noqa: PT017
        return
    got = fast.default_grid(pairs, num_values, mask=mask)
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15)
    assert (got[0], got[-1]) == (want[0], want[-1])
    for function in (fast.persistence_landscape, fast.betti_curve):
        own = function(pairs, grid=got, mask=mask)
        assert torch.equal(function(pairs, grid=num_values, mask=mask), own)
        whole = function(pairs, grid=fast.default_grid(pairs, mask=mask), mask=mask)
        assert torch.equal(function(pairs, mask=mask), whole)


def test_layers_are_their_functions_in_a_sequence():
    clouds = torch.rand(3, 14, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clouds.requires_grad_()
    rips = fast.RipsLayer()
    loops = rips(clouds)[1]
    grid, scale = fast.default_grid(loops, 16), fast.fit_persistence_image(loops)
    calls = {
        fast.PersistenceImageLayer(scale): fast.persistence_image(loops, scale),
        fast.PersistenceLandscapeLayer(grid, 2): fast.persistence_landscape(
            loops, grid=grid, num_landscapes=2
        ),
        fast.BettiCurveLayer(grid.numpy(), 0.1): fast.betti_curve(loops, grid=grid, bandwidth=0.1),
    }
    for layer, want in calls.items():
        assert torch.equal(layer(loops), want)
        assert torch.equal(layer(loops.pairs, mask=loops.mask), want)
        chain = torch.nn.Sequential(layer, torch.nn.Flatten())
        (grad,) = torch.autograd.grad(chain(loops).sum(), clouds, retain_graph=True)
        assert grad.isfinite().all()
        assert grad.any()
        assert "grid" in repr(layer) or "bandwidth" in repr(layer)
    landscape = list(calls)[1]
    other = fast.PersistenceLandscapeLayer(grid + 1, 2)
    other.load_state_dict(landscape.state_dict())
    assert torch.equal(other.grid, grid)
    matrices = fast.RipsLayer(0, 0.5, of="distances")
    assert repr(matrices) == "RipsLayer(max_dim=0, threshold=0.5, of='distances')"
    (got,) = matrices([fast.pairwise_distances(cloud) for cloud in clouds])
    (want,) = fast.rips_persistence_of_points(clouds, 0, 0.5)
    assert torch.equal(got.pairs, want.pairs)
    (few,) = fast.RipsLayer(0)(clouds, sizes=[3, 2, 1])
    assert few.counts.tolist() == [2, 1, 0]
    assert [
        len(each) for each in fast.RipsLayer()([clouds[0], clouds[1, :4].detach().numpy()])
    ] == [2, 2]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fast.RipsLayer(3), "RipsLayer: max_dim is 3; pass at most 2"),
        (lambda: fast.RipsLayer(threshold=None), "RipsLayer: threshold is None; pass a number"),
        (lambda: fast.RipsLayer(of="cloud"), "RipsLayer: of is 'cloud'; pass one of 'points'"),
        (lambda: fast.PersistenceImageLayer((20, 20)), "scale is (20, 20); pass an ImageScale"),
        (lambda: fast.BettiCurveLayer(torch.zeros(3)), "BettiCurveLayer: grid has 0.0 after 0.0"),
        (lambda: fast.BettiCurveLayer(torch.arange(3.0), 0), "bandwidth is 0; pass a finite num"),
        (lambda: fast.PersistenceLandscapeLayer(torch.arange(3.0), 0), "num_landscapes is 0"),
        (lambda: fast.default_grid(torch.rand(0, 2)), "default_grid: diagrams have no pair of"),
        (lambda: fast.betti_curve(torch.rand(0, 2)), "betti_curve: pairs have no pair of posit"),
        (lambda: fast.betti_curve(torch.rand(0, 2), grid=1), "grid is 1; pass at least 2"),
    ],
)
def test_layers_and_grids_refuse_what_cannot_be(make, said):
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        make()
