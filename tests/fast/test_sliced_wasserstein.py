"""fast.sliced_wasserstein against the definition and persim."""

import importlib

import numpy as np
import persim
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from tests.fast.test_persistence_image import padded
from tests.reference import strategies

sliced_wasserstein = importlib.import_module("fast.sliced_wasserstein")  # the function has its name
diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())


@given(
    pairs=st.lists(st.tuples(diagrams, diagrams), min_size=1, max_size=3),
    num_directions=st.integers(1, 9),
    order=st.sampled_from([1.0, 1.5, 2.0]),
)
def test_it_equals_the_definition(pairs, num_directions, order):
    firsts, seconds = zip(*pairs, strict=True)
    options = {"num_directions": num_directions, "order": order}
    (first, first_mask), (second, second_mask) = padded(firsts), padded(seconds)
    got = fast.sliced_wasserstein(
        first.requires_grad_(), second.requires_grad_(),
        first_mask=first_mask, second_mask=second_mask, **options,
    )  # fmt: skip
    grads = torch.autograd.grad(got.sum(), (first, second))
    for cloud, pair in enumerate(pairs):
        want = reference.sliced_wasserstein(*pair, **options)
        assert got[cloud].item() == pytest.approx(want, rel=1e-12, abs=1e-14)
        gradients = reference.sliced_wasserstein_grad(*pair, **options)
        for grad, mask, gradient in zip(grads, (first_mask, second_mask), gradients, strict=True):
            np.testing.assert_allclose(grad[cloud][mask[cloud]], gradient, rtol=1e-9, atol=1e-12)
            assert not grad[cloud][~mask[cloud]].any()


@pytest.mark.oracle
def test_it_equals_persim_on_diagrams_of_clouds(make_cloud):
    found = [
        fast.rips_persistence_of_points(torch.tensor(make_cloud(family, 60)))
        for family in ("circle", "cube")
    ]
    for one, other in zip(*found, strict=True):
        got = fast.sliced_wasserstein(one.pairs, other.pairs)
        theirs = persim.sliced_wasserstein(one.cloud(0).pairs, other.cloud(0).pairs, M=50)
        assert got.item() == pytest.approx(theirs, rel=1e-5)


def test_points_of_padding_are_in_no_order():
    """Padding between the rows moves no point, and points at one place keep the rows' order."""
    pairs = torch.tensor([[0.0, 2.0], [1.0, 1.5], [0.0, 2.0]], dtype=torch.float64)
    spread = torch.zeros(6, 2, dtype=torch.float64)
    spread[::2] = pairs
    mask = torch.arange(6) % 2 == 0
    other = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    results = []
    for rows, counted in ((pairs, None), (spread, mask)):
        leaf = rows.clone().requires_grad_()
        value = fast.sliced_wasserstein(leaf, other, first_mask=counted)
        (grad,) = torch.autograd.grad(value, leaf)
        results.append((value, grad if counted is None else grad[counted]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=1e-15)


def test_the_order_is_stable_where_values_are_equal_on_every_number_of_threads(set_threads):
    values = torch.randint(0, 30, (4, 50, 200), generator=torch.Generator().manual_seed(0)).double()
    values[::2] += torch.rand(2, 50, 200)  # without ties
    for num_threads in (1, 2):
        set_threads(num_threads)
        got = sliced_wasserstein._stable_order(values)
        assert torch.equal(got, values.argsort(dim=-1, stable=True))
