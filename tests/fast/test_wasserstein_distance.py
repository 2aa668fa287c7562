"""fast.wasserstein_distance and its matching against the definition, scipy and GUDHI."""

import gudhi
import gudhi.wasserstein
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import fast
import reference
from fast import dispatch
from fast.kernels.transport import assignment_cpu
from tests.fast.test_persistence_image import padded
from tests.reference import strategies
from tests.reference.test_wasserstein_distance import completed_cost, cost_of, grounds, orders

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())


def assert_equals_the_definition(firsts, seconds, order, ground):
    """Compare value, matching and both gradients of a padded batch with one after another."""
    options = {"order": order, "ground": ground}
    (first, first_mask), (second, second_mask) = padded(firsts), padded(seconds)
    masks = {"first_mask": first_mask, "second_mask": second_mask}
    got = fast.wasserstein_distance(
        first.requires_grad_(), second.requires_grad_(), **masks, **options
    )
    grads = torch.autograd.grad(got.sum(), (first, second))
    partners = fast.wasserstein_matching(first, second, **masks, **options)
    assert (partners[~first_mask] == -1).all()
    for cloud, pair in enumerate(zip(firsts, seconds, strict=True)):
        want = reference.wasserstein_distance(*pair, **options)
        assert got[cloud].item() == pytest.approx(want, rel=1e-12, abs=1e-15)
        # Rows of the padded second diagram, as rows of the diagram itself.
        row_of = {int(row): j for j, row in enumerate(second_mask[cloud].nonzero())} | {-1: -1}
        own = partners[cloud][first_mask[cloud]].tolist()
        matching = np.array([row_of[row] for row in own], dtype=int)
        # At ties the definition may match otherwise; what is matched here must cost as little.
        np.testing.assert_allclose(cost_of(matching, *pair, **options), want**order, atol=1e-12)
        gradients = reference.wasserstein_distance_grad(*pair, matching=matching, **options)
        for grad, mask, gradient in zip(grads, (first_mask, second_mask), gradients, strict=True):
            np.testing.assert_allclose(grad[cloud][mask[cloud]], gradient, rtol=1e-9, atol=1e-12)
            assert not grad[cloud][~mask[cloud]].any()


@given(
    pairs=st.lists(st.tuples(diagrams, diagrams), min_size=1, max_size=3),
    order=orders,
    ground=grounds,
)
def test_it_equals_the_definition(pairs, order, ground):
    assert_equals_the_definition(*zip(*pairs, strict=True), order, ground)


def test_a_matching_that_is_not_the_best_is_caught(monkeypatch):
    def none_matched(first, second, *_):
        return torch.full(first.shape[:2], -1)

    near = [np.array([[0.0, 5.0]])], [np.array([[0.0, 6.0]])]
    assert_equals_the_definition(*near, 2.0, np.inf)
    monkeypatch.setattr(assignment_cpu, "optimal_partners", none_matched)
    with pytest.raises(AssertionError):
        assert_equals_the_definition(*near, 2.0, np.inf)


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", [(60, 60), (120, 31), (1, 90)], ids=str)
@pytest.mark.parametrize(("order", "ground"), [(1.0, np.inf), (2.0, 2.0), (2.5, 2.0)])
@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_it_equals_scipy_and_gudhi_at_size(sizes, order, ground, spread):
    rng = np.random.default_rng(sum(sizes))
    births = [rng.random(size) for size in sizes]
    first, second = (np.column_stack([b, b + spread * rng.random(len(b))]) for b in births)
    got = fast.wasserstein_distance(
        torch.tensor(first), torch.tensor(second), order=order, ground=ground
    ).item()
    cost = completed_cost(first, second, order, ground)
    least = cost[linear_sum_assignment(cost)].sum() ** (1 / order)
    assert got == pytest.approx(least, rel=1e-12)
    theirs = gudhi.wasserstein.wasserstein_distance(first, second, order=order, internal_p=ground)
    assert got == pytest.approx(theirs, rel=1e-9)


def test_a_batch_is_the_same_on_every_number_of_threads(set_threads):
    rng = np.random.default_rng(0)
    births = torch.tensor(rng.random((6, 90, 2)))
    first, second = (torch.stack([b, b + 0.1], dim=-1) for b in births.unbind(dim=-1))
    found = []
    for num_threads in (1, 2):
        set_threads(num_threads)
        found.append(fast.wasserstein_matching(first, second))
    assert torch.equal(*found)
    assert torch.equal(found[0][3], fast.wasserstein_matching(first[3], second[3]))


def test_equal_diagrams_are_matched_exactly_and_get_no_gradient():
    pairs = torch.rand(2, 50, 2).cumsum(dim=-1).requires_grad_()
    got = fast.wasserstein_distance(pairs.detach().flip(1), pairs)
    assert got.tolist() == [0.0, 0.0]
    got.sum().backward()
    assert not pairs.grad.any()


def test_the_gradient_reaches_points_through_the_critical_edges(make_cloud):
    points = torch.tensor(make_cloud("circle", 24), requires_grad=True)
    target = fast.rips_persistence_of_points(torch.tensor(make_cloud("cube", 24)))

    def loss(points):
        found = fast.rips_persistence_of_points(points)
        return sum(
            fast.wasserstein_distance(
                a.pairs, b.pairs, first_mask=a.mask, second_mask=b.mask
            ).square()
            for a, b in zip(found, target, strict=True)
        ).sum()

    (gradient,) = torch.autograd.grad(loss(points), points)
    along = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (loss(points + step * along) for step in (1e-6, -1e-6))
    assert (ahead - behind).item() / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-5)


def test_the_whole_range_of_floats_is_served():
    rng = np.random.default_rng(0)
    pairs = [torch.tensor(rng.random((8, 2)).cumsum(axis=1)) for _ in range(2)]
    want = fast.wasserstein_distance(*pairs, order=3)
    for unit in (1e140, 1e-140):
        got = fast.wasserstein_distance(*(unit * each for each in pairs), order=3)
        torch.testing.assert_close(got / unit, want, rtol=1e-12, atol=0)


def test_either_device_s_diagrams_are_matched_on_the_cpu():
    for device in ("cpu", "cuda"):
        found = dispatch.kernel("wasserstein_distance", torch.device(device))
        assert found is assignment_cpu.optimal_partners


# ---- the bottleneck distance --------------------------------------------------------------------


@given(pairs=st.lists(st.tuples(diagrams, diagrams), min_size=1, max_size=3))
def test_the_bottleneck_is_the_definition_s(pairs):
    firsts, seconds = zip(*pairs, strict=True)
    (first, first_mask), (second, second_mask) = padded(firsts), padded(seconds)
    masks = {"mask": (first_mask, second_mask)}
    got = fast.bottleneck_distance(first.requires_grad_(), second.requires_grad_(), **masks)
    grads = torch.autograd.grad(got.sum(), (first, second))
    for cloud, (one, other) in enumerate(pairs):
        want = reference.bottleneck_distance(one, other)
        assert got[cloud].item() == want  # both are one of the lengths, to the last bit
        theirs = gudhi.bottleneck_distance(one, other)
        assert want == pytest.approx(theirs, rel=1e-12, abs=1e-15)
        if len({*one.flat, *other.flat}) == one.size + other.size:  # nothing is equally long
            gradients = reference.bottleneck_distance_grad(one, other)
            masks_of_cloud = first_mask[cloud], second_mask[cloud]
            for grad, mask, gradient in zip(grads, masks_of_cloud, gradients, strict=True):
                np.testing.assert_array_equal(grad[cloud][mask], gradient)
        for grad, mask in zip(grads, (first_mask, second_mask), strict=True):
            assert not grad[cloud][~mask[cloud]].any()
            assert grad[cloud].abs().sum() <= 2  # of the longest length alone


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", [(60, 60), (300, 200), (1, 90), (0, 5)], ids=str)
@pytest.mark.parametrize("spread", [0.02, 1.0])
def test_the_bottleneck_is_gudhi_s_at_size(sizes, spread):
    rng = np.random.default_rng(sum(sizes))
    births = [rng.random(size) for size in sizes]
    first, second = (np.column_stack([b, b + spread * rng.random(len(b))]) for b in births)
    got = fast.bottleneck_distance(first, second).item()
    assert got == pytest.approx(gudhi.bottleneck_distance(first, second), rel=1e-12)


def test_the_bottleneck_moves_no_farther_than_the_points(make_cloud):
    points = torch.tensor(make_cloud("circle", 30))
    moved = (points + 0.01 * torch.randn_like(points)).requires_grad_()
    bound = (fast.pairwise_distances(points) - fast.pairwise_distances(moved)).abs().max()
    for one, other in zip(*map(fast.rips_persistence_of_points, (points, moved)), strict=True):
        (found,) = fast.bottleneck_distance(one, other)
        assert 0 < found <= bound
        (grad,) = torch.autograd.grad(found, moved, retain_graph=True)
        assert 1 <= len(grad.abs().sum(dim=1).nonzero()) <= 6  # the ends of one pair's edges


def test_equal_diagrams_have_no_bottleneck_and_the_whole_range_is_served():
    pairs = torch.rand(2, 40, 2, dtype=torch.float64).cumsum(dim=-1).requires_grad_()
    got = fast.bottleneck_distance(pairs.detach().flip(1), pairs)
    assert got.tolist() == [0.0, 0.0]
    got.sum().backward()
    assert not pairs.grad.any()
    one, other = pairs.detach()
    for unit in (1e140, 1e-300):
        scaled = fast.bottleneck_distance(unit * one, unit * other) / unit
        torch.testing.assert_close(scaled, fast.bottleneck_distance(one, other))


@pytest.mark.parametrize("swap", [False, True])
def test_a_pair_near_the_diagonal_gives_its_partner_up(swap):
    """Each of the few is first matched with one that can do without; another needs it."""
    few = [[0.0, 6.0], [100.0, 107.0]]
    sides = [few, [[102.5, 106.4], [1.0, 4.0], [0.0, 8.0], [100.0, 107.5]]]
    one, other = (torch.tensor(side) for side in (reversed(sides) if swap else sides))
    assert fast.bottleneck_distance(one, other) == 2
    assert gudhi.bottleneck_distance(one, other) == pytest.approx(2)
