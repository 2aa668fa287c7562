"""fast.total_persistence and fast.persistent_entropy against the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from tests.fast.test_persistence_image import padded
from tests.reference import strategies

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())
on_the_diagonal = strategies.tied_diagrams().map(lambda pairs: np.repeat(pairs[:, :1], 2, axis=1))
SUMMARIES = {
    "total_persistence": {},
    "total_persistence, 1.5": {"order": 1.5},
    "total_persistence, 2": {"order": 2.0},
    "persistent_entropy": {},
}


@pytest.mark.parametrize("summary", SUMMARIES)
@given(some=st.lists(st.one_of(diagrams, on_the_diagonal), min_size=1, max_size=3))
def test_it_equals_the_definition(summary, some):
    name, options = summary.partition(",")[0], SUMMARIES[summary]
    pairs, mask = padded(some)
    got = getattr(fast, name)(pairs.requires_grad_(), mask=mask, **options)
    (grad,) = torch.autograd.grad(got.sum(), pairs)
    assert not grad[~mask].any()
    for cloud, diagram in enumerate(some):
        want = getattr(reference, name)(diagram, **options)
        assert got[cloud].item() == pytest.approx(want, rel=1e-12, abs=1e-14)
        gradient = getattr(reference, f"{name}_grad")(diagram, **options)
        np.testing.assert_allclose(grad[cloud][mask[cloud]], gradient, rtol=1e-9, atol=1e-12)


def test_total_persistence_of_a_cloud_is_the_sum_over_its_tree(make_cloud):
    points = torch.tensor(make_cloud("gaussian", 30))
    (components,) = fast.rips_persistence_of_points(points, 0)
    got = fast.total_persistence(components.pairs, mask=components.mask)
    torch.testing.assert_close(got, components.deaths.sum(dim=1))
