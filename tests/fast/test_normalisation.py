"""fast.normalise: the definition's bits, and features of any size."""

import numpy as np
import pytest
import torch

import fast
import reference

NORMALISATIONS = ["l2", "none", "center_maxnorm", "diameter", "rms"]


def lattice(n, seed):
    """Return many equal lengths, equal distances, duplicates and zero rows."""
    return np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "lattice", "tiny"])
@pytest.mark.parametrize("seed", range(3))
def test_it_has_the_bits_of_the_definition(make_cloud, normalisation, family, seed):
    n = 40 + seed
    if family in ("lattice", "tiny"):
        features = lattice(n, seed) * (1e-200 if family == "tiny" else 1.0)
    else:
        features = make_cloud(family, n, seed)
    got = fast.normalise(torch.tensor(features), normalisation)
    np.testing.assert_array_equal(got, reference.normalise(features, normalisation))


def test_rows_of_equal_direction_and_length_stay_tied():
    """torch's root is 1 ulp off on some machines: tied distances came in another order."""
    features = lattice(200, 0)
    distances = fast.pairwise_distances(fast.normalise(torch.tensor(features)))
    want = reference.pairwise_distances(reference.normalise(features))
    np.testing.assert_array_equal(distances, want)


@pytest.mark.parametrize("normalisation", ["l2", "center_maxnorm", "diameter", "rms"])
@pytest.mark.parametrize(("dtype", "power"), [
    (torch.float32, 66), (torch.float32, 120), (torch.float32, -80), (torch.float32, -100),
    (torch.float64, 600), (torch.float64, 1000), (torch.float64, -600), (torch.float64, -1000),
])  # fmt: skip
def test_a_power_of_two_changes_nothing(make_cloud, normalisation, dtype, power):
    features = torch.tensor(make_cloud("gaussian", 30), dtype=dtype)
    weights = torch.linspace(-1, 1, features.numel(), dtype=dtype).view(features.shape)

    def value_and_gradient(unit):
        leaf = (features * unit).requires_grad_()
        value = fast.normalise(leaf, normalisation)
        (value * weights).sum().backward()
        return value.detach(), leaf.grad

    want, got = value_and_gradient(1.0), value_and_gradient(2.0**power)
    assert torch.equal(got[0], want[0])
    assert want[1].abs().max() > 0
    if abs(power) in (66, 80, 600):  # beyond, the gradient itself leaves the range
        assert torch.equal(got[1], want[1] / 2.0**power)


@pytest.mark.parametrize("size", [1e-44, 1e-40, 1e-22, 1e19, 1e38])
def test_rows_of_any_size_become_unit_rows(size):
    rows = torch.tensor([[size, 0.0], [-size, size], [0.0, 0.0], [3.0, 4.0]])
    got = fast.normalise(rows)
    root = 0.5**0.5
    want = torch.tensor([[1.0, 0.0], [-root, root], [0.0, 0.0], [0.6, 0.8]])
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)


def test_the_diameter_is_that_of_the_first_of_equally_far_pairs():
    """(0, 2) and (1, 3) are as far; the gradient of the divisor goes to the first."""
    square = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]], dtype=torch.float64)
    leaf = square.clone().requires_grad_()
    fast.normalise(leaf, "diameter").backward(square)
    want = reference.normalise_grad(square.numpy(), square.numpy(), "diameter")
    np.testing.assert_allclose(leaf.grad, want, rtol=1e-14)
    assert not np.allclose(want[0], want[1].tolist()[::-1])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_second_derivatives_are_right(normalisation):
    features = torch.tensor(np.random.default_rng(1).normal(size=(5, 3)), requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: fast.normalise(x, normalisation), features)


@pytest.mark.parametrize("scale", [1e20, 2.0**66, 1e-25, 2.0**-80])
def test_the_topological_loss_of_features_and_their_multiple_is_0(make_cloud, scale):
    teacher = torch.tensor(make_cloud("features", 60)).float()
    loss = fast.topological_loss(teacher, scale * teacher, 30)
    # A factor that is no power of two rounds the features.
    assert loss.item() <= (0 if np.log2(scale) % 1 == 0 else 1e-10)


def test_huge_points_have_huge_diagrams(make_cloud):
    points = torch.tensor(make_cloud("circle", 30)).float()
    want = fast.rips_persistence_of_points(points)
    leaf = (points * 2.0**100).requires_grad_()
    got = fast.rips_persistence_of_points(leaf)
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine.pairs, theirs.pairs * 2.0**100)
        assert torch.equal(mine.death_simplices, theirs.death_simplices)
    got[1].deaths.sum().backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().max() > 0.5


def test_both_spellings_are_one_function():
    assert fast.normalize is fast.normalise
    assert reference.normalize is reference.normalise
    assert reference.normalize_grad is reference.normalise_grad
