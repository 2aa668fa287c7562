"""Gradient reversal, its ramp, the discriminator and the discrepancy."""

import math

import pytest
import torch

from train.methods.cross_modal.adaptation import (
    Discriminator,
    Ramp,
    maximum_mean_discrepancy,
    reverse_gradient,
)


@pytest.mark.parametrize("strength", [1.0, 0.25, 0.0])
def test_reversal_leaves_features_and_flips_the_sign_exactly(strength):
    torch.manual_seed(0)
    features = torch.randn(6, 4, requires_grad=True)
    weights = torch.randn(6, 4)
    found = reverse_gradient(features, torch.tensor(strength))
    assert torch.equal(found, features)
    (gradient,) = torch.autograd.grad((found.sin() * weights).sum(), features)
    (plain,) = torch.autograd.grad((features.sin() * weights).sum(), features)
    assert torch.equal(gradient, -strength * plain)


def test_the_ramp_begins_at_zero_ends_at_its_limit_and_is_kept():
    ramp = Ramp(0.1, 20)
    values = []
    for _ in range(21):
        values.append(float(ramp.value()))
        ramp.advance()
    assert values[0] == 0
    assert values == sorted(values)
    assert values[10] == pytest.approx(0.1 * (2 / (1 + math.exp(-5)) - 1))
    assert values[20] == pytest.approx(0.1, rel=1e-3)
    other = Ramp(0.1, 20)
    other.load_state_dict(ramp.state_dict())
    assert torch.equal(other.value(), ramp.value())


def test_a_discriminator_that_knows_nothing_is_at_the_logarithm_of_two():
    discriminator = Discriminator(4)
    torch.nn.init.zeros_(discriminator.layers[-1].weight)
    torch.nn.init.zeros_(discriminator.layers[-1].bias)
    found = discriminator(torch.randn(5, 4), torch.randn(5, 4))
    torch.testing.assert_close(found, torch.full((5,), math.log(2)))


def test_a_discriminator_is_right_about_points():
    """Points are its first class: a high logit is right for them and wrong for pixels."""
    discriminator = Discriminator(4)
    torch.nn.init.zeros_(discriminator.layers[-1].weight)
    torch.nn.init.constant_(discriminator.layers[-1].bias, 3.0)
    found = discriminator(torch.randn(1, 4), torch.randn(1, 4))
    want = (math.log1p(math.exp(-3)) + math.log1p(math.exp(3))) / 2
    assert found.tolist() == pytest.approx([want])


def test_the_discrepancy_is_zero_for_equal_samples_and_grows_with_a_shift():
    torch.manual_seed(0)
    sample = torch.randn(40, 3, dtype=torch.float64)
    order = torch.randperm(40)
    assert float(maximum_mean_discrepancy(sample, sample[order])) == pytest.approx(0, abs=1e-12)
    shifts = [float(maximum_mean_discrepancy(sample, sample + s)) for s in (0.1, 0.5, 2.0)]
    assert shifts == sorted(shifts)
    assert shifts[0] > 0


def test_the_discrepancy_of_two_points_by_hand():
    # Squared distances 0, 4, 4, 0: their (lower) median is 0, so take three points.
    points, pixels = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    squares = {0: 6, 1: 2, 4: 4, 9: 4}  # how often each occurs among the 16
    assert sum(squares.values()) == 16
    scale = 1.0  # the eighth of 16, from below

    def kernel(square):
        return sum(math.exp(-square / (factor * scale)) for factor in (1, 2, 4)) / 3

    want = (2 + 2 * kernel(1)) / 4 + 1 - 2 * (2 * kernel(9) + 2 * kernel(4)) / 4
    assert float(maximum_mean_discrepancy(points, pixels)) == pytest.approx(want, rel=1e-5)


def test_without_points_the_discrepancy_is_zero_and_in_the_graph():
    nothing = torch.zeros(0, 3, requires_grad=True)
    value = maximum_mean_discrepancy(nothing, nothing)
    value.backward()
    assert float(value.detach()) == 0
    assert nothing.grad is not None
