"""fast.pairwise_distances: accurate near zero, symmetric, differentiable at duplicates."""

import numpy as np
import pytest
import torch

import fast
import reference
from fast import distances as distances_module
from fast import threads


@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "grid"])
def test_it_equals_the_definition(make_cloud, family):
    points = make_cloud(family, 50)
    got = fast.pairwise_distances(torch.tensor(points)).numpy()
    np.testing.assert_allclose(got, reference.pairwise_distances(points), rtol=1e-14, atol=0)


def test_float32_loses_a_few_ulp_only_even_far_from_the_origin():
    rng = np.random.default_rng(0)
    points = (1000 + 1e-2 * rng.normal(size=(60, 16))).astype(np.float32)
    want = reference.pairwise_distances(points.astype(np.float64))
    got = fast.pairwise_distances(torch.tensor(points)).numpy()
    # Differences are exact here (Sterbenz); 16 squares, their sum and a root round.
    np.testing.assert_allclose(got, want, rtol=10 * np.finfo(np.float32).eps, atol=0)


def test_the_expansion_would_have_failed_that():
    rng = np.random.default_rng(0)
    points = torch.tensor((1000 + 1e-2 * rng.normal(size=(60, 16))).astype(np.float32))
    want = reference.pairwise_distances(points.double().numpy())
    expanded = torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist").numpy()
    assert np.abs(expanded - want).max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_is_symmetric_to_the_last_bit_with_a_zero_diagonal(make_cloud, dtype):
    points = torch.tensor(np.stack([make_cloud("gaussian", 65, s) for s in range(3)]), dtype=dtype)
    got = fast.pairwise_distances(points)
    assert got.dtype == dtype
    assert torch.equal(got, got.mT)
    assert (got.diagonal(dim1=1, dim2=2) == 0).all()
    for cloud, alone in zip(points, got, strict=True):
        assert torch.equal(fast.pairwise_distances(cloud), alone)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 0), (2, 0, 3), (2, 2, 5, 3)])
def test_shapes(shape):
    got = fast.pairwise_distances(torch.rand(shape, dtype=torch.float64))
    assert got.shape == (*shape[:-1], shape[-2])


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True])
def test_low_precision_features_are_computed_in_float32(make_cloud, low, autocast):
    points = torch.tensor(make_cloud("features", 40)).to(low).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        got = fast.pairwise_distances(points)
        got.sum().backward()
    assert got.dtype == torch.float32
    assert torch.equal(got, fast.pairwise_distances(points.float()))
    assert points.grad.dtype == low
    exact = points.detach().double().requires_grad_()
    fast.pairwise_distances(exact).sum().backward()
    bound = 2 * torch.finfo(low).eps * exact.grad.abs() + 1e-4
    assert ((points.grad.double() - exact.grad).abs() <= bound).all()


def test_the_gradient_equals_the_definition(make_cloud):
    points = make_cloud("gaussian", 30)
    rng = np.random.default_rng(1)
    grad = rng.normal(size=(30, 30))
    leaf = torch.tensor(points, requires_grad=True)
    fast.pairwise_distances(leaf).backward(torch.tensor(grad))
    want = reference.route_to_points(points, grad + grad.T)
    np.testing.assert_allclose(leaf.grad.numpy(), want, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(leaf.grad.sum(dim=0).numpy(), 0, atol=1e-11)


@pytest.mark.parametrize("block", [2**25, 1])
def test_gradients_are_right_to_second_order(monkeypatch, make_cloud, block):
    monkeypatch.setattr(distances_module, "_BLOCK_BYTES", block)  # 1: a row at a time
    points = torch.tensor(
        np.stack([make_cloud("cube", 6, s) for s in range(2)]), requires_grad=True
    )
    assert torch.autograd.gradcheck(fast.pairwise_distances, points)
    assert torch.autograd.gradgradcheck(fast.pairwise_distances, points)


def test_duplicates_send_each_other_nothing():
    points = torch.tensor([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]], requires_grad=True)
    weight = torch.ones(3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        (weight * fast.pairwise_distances(points)).sum(), points, create_graph=True
    )
    # Each of the two is pulled by the third alone, counted for D_ij and for D_ji.
    unit = torch.tensor([-0.6, -0.8])
    torch.testing.assert_close(gradient, torch.stack([2 * unit, 2 * unit, -4 * unit]))
    gradient.square().sum().backward()
    assert points.grad.isfinite().all()
    assert weight.grad.isfinite().all()
    lengths = distances_module.edge_lengths(points, torch.tensor([[0, 1], [0, 2]]))
    assert lengths.tolist() == [0.0, 5.0]
    (gradient,) = torch.autograd.grad(lengths.sum(), points)
    assert gradient.isfinite().all()
    assert gradient[1].tolist() == [0.0, 0.0]


def test_values_near_the_largest_float_are_no_false_alarm():
    largest = torch.finfo(torch.float32).max
    assert fast.pairwise_distances(torch.full((3, 1), largest)).tolist() == [[0.0] * 3] * 3


POWERS = [(torch.float32, 70), (torch.float32, 120), (torch.float32, -70), (torch.float32, -100)]
POWERS += [(torch.float64, 530), (torch.float64, -540), (torch.float64, -1000)]


@pytest.mark.parametrize(("dtype", "power"), POWERS)
def test_a_power_of_two_scales_distances_and_gradient_exactly(make_cloud, dtype, power):
    points = torch.tensor(make_cloud("gaussian", 40), dtype=dtype)
    points[3] = points[5]  # duplicates stay duplicates
    scale = 2.0**power

    def distances_and_gradient(unit):
        leaf = (points * unit).requires_grad_()
        distances = fast.pairwise_distances(leaf)
        edges = torch.tensor([[0, 1], [3, 5], [2, 9]])
        (distances.triu().sum() + distances_module.edge_lengths(leaf, edges).sum()).backward()
        return distances.detach(), leaf.grad

    want, got = distances_and_gradient(1.0), distances_and_gradient(scale)
    assert torch.equal(got[0], want[0] * scale)
    assert torch.equal(got[1], want[1])
    assert got[1].abs().max() > 1


def test_tiny_and_huge_distances_of_one_cloud_are_right(make_cloud):
    points = torch.tensor(make_cloud("gaussian", 9)).float()[:, :3]
    points[3:6] *= 1e-30
    points[6:] *= 1e30
    want = reference.pairwise_distances(points.double().numpy())
    assert want[want > 0].min() < 1e-29 < 1e29 < want.max()
    got = fast.pairwise_distances(points)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert torch.equal(got, got.mT)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_distance_beyond_the_largest_float_is_refused(monkeypatch, num_threads):
    monkeypatch.setattr(threads, "number_for", lambda _: num_threads)
    points = torch.tensor([[0.0], [1.0], [-3e38], [3e38]])
    with pytest.raises(ValueError, match=r"entries of up to 3.0e\+38, too far apart .*float32"):
        fast.pairwise_distances(points)
    assert fast.pairwise_distances(points.double())[2, 3] == pytest.approx(6e38)


def test_roots_are_correctly_rounded_where_torch_s_are_not(make_cloud):
    points = torch.tensor(make_cloud("gaussian", 200)).float()
    rows = points.index_select(0, torch.arange(1, 200)) - points[:-1]
    squares = np.zeros(199, np.float32)
    for channel in rows.numpy().T:
        squares += channel**2
    edges = torch.arange(200).unfold(0, 2, 1)
    np.testing.assert_array_equal(distances_module.edge_lengths(points, edges), np.sqrt(squares))
