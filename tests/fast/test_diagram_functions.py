"""What all losses and vectorizations of diagrams have in common: masks, dtypes, transforms, errors.

That each is right is checked beside its definition.
"""

import inspect

import numpy as np
import pytest
import torch

import fast
import reference

GRID = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)
OTHER = torch.tensor([[0.1, 1.3], [0.4, 0.9], [0.2, 2.4]], dtype=torch.float64)


def second(like, mask=None):
    """Return a second batch beside `like`, and its mask."""
    other = OTHER.to(like.device, like.dtype).expand(*like.shape[:-2], 3, 2)
    return {"second": other, "second_mask": None, "first_mask": mask}


# What is called with pairs and a mask of them.
CALLS = {
    "wasserstein_distance": lambda pairs, mask=None: fast.wasserstein_distance(
        pairs, **second(pairs, mask), order=1.5, ground=2
    ),
    "sliced_wasserstein": lambda pairs, mask=None: fast.sliced_wasserstein(
        pairs, **second(pairs, mask), num_directions=8
    ),
    "total_persistence": lambda pairs, mask=None: fast.total_persistence(
        pairs, mask=mask, order=1.5
    ),
    "persistent_entropy": lambda pairs, mask=None: fast.persistent_entropy(pairs, mask=mask),
    "persistence_landscape": lambda pairs, mask=None: fast.persistence_landscape(
        pairs, grid=GRID.to(pairs.device), num_landscapes=2, mask=mask
    ),
    "betti_curve": lambda pairs, mask=None: fast.betti_curve(
        pairs, grid=GRID.to(pairs.device), bandwidth=0.3, mask=mask
    ),
}
every_call = pytest.mark.parametrize("name", CALLS)


def batch(shape=(2, 3), num_pairs=5, seed=0, dtype=torch.float64):
    births, persistence = np.random.default_rng(seed).random((2, *shape, num_pairs))
    return torch.tensor(np.stack([births, births + 0.1 + persistence], axis=-1), dtype=dtype)


def test_arguments_are_the_definitions_and_masks():
    masks = {"mask", "named_masks"}
    for name in (*CALLS, "wasserstein_matching"):
        theirs = inspect.signature(getattr(reference, name)).parameters
        mine = inspect.signature(getattr(fast, name)).parameters
        assert [each for each in mine if each not in masks] == list(theirs)
        same = [each for each in theirs if each != "grid"]  # here there is a default one
        assert all(mine[each].default == theirs[each].default for each in same)
        assert all(mine[each].kind == theirs[each].kind for each in theirs)
    theirs = inspect.signature(reference.signature_loss).parameters
    mine = inspect.signature(fast.signature_loss).parameters
    assert list(mine) == [*theirs, "sizes", "backend"]
    assert all(mine[each].default == theirs[each].default for each in theirs)


@every_call
def test_derivatives_of_both_orders(name):
    pairs = batch((2,), 3).requires_grad_()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda pairs: CALLS[name](pairs, mask), pairs)


@every_call
def test_leading_dimensions_are_kept_and_may_be_none(name):
    pairs = batch((2, 3))
    got = CALLS[name](pairs)
    assert got.shape[:2] == (2, 3)
    alone = CALLS[name](pairs[1, 2])
    torch.testing.assert_close(got[1, 2], alone, rtol=1e-14, atol=0)
    assert CALLS[name](pairs[:0]).shape == (0, *got.shape[1:])


@every_call
def test_no_pairs_are_zeros_or_the_other_diagram_alone(name):
    for pairs in (batch((2,), 0), torch.zeros(0, 2)):
        leaf = pairs.requires_grad_()
        got = CALLS[name](leaf)
        assert got.isfinite().all()
        assert got.any() == ("wasserstein" in name)
        got.sum().backward()
        assert leaf.grad.shape == leaf.shape
    if "wasserstein" in name:
        none = torch.zeros(4, 0, 2)
        assert getattr(fast, name)(none, none).tolist() == [0.0] * 4


@every_call
@pytest.mark.parametrize("padding", [0.0, -7.0, torch.inf, torch.nan])
def test_padding_may_hold_anything(name, padding):
    pairs = batch((3,), 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
    leaf = pairs.where(mask[..., None], padding).requires_grad_()
    got = CALLS[name](leaf, mask)
    assert got.isfinite().all()
    got.sum().backward()
    assert not leaf.grad[~mask].any()
    assert leaf.grad[mask].any()
    torch.testing.assert_close(got[1], CALLS[name](pairs[1, mask[1]]), rtol=1e-13, atol=1e-15)


@every_call
def test_lower_precision_rounds_the_result_only(name):
    pairs = batch(dtype=torch.float32)
    want = CALLS[name](pairs.double())
    if "wasserstein" not in name:  # the other diagram is rounded too
        assert torch.equal(CALLS[name](pairs), want.float())
    with torch.autocast("cpu", torch.bfloat16):
        got = CALLS[name](pairs)
    assert got.dtype == torch.float32
    assert torch.equal(got, CALLS[name](pairs))
    half = CALLS[name](pairs.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, want.float(), rtol=0.02, atol=0.02)


# torch's own warning, of its look at what a graph break leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@every_call
def test_a_compiled_call_gives_the_same(name):
    pairs = batch((2,))
    want = CALLS[name](pairs)
    torch.compiler.reset()
    try:
        compiled = torch.compile(lambda pairs: CALLS[name](pairs * 1.0), backend="eager")
        leaf = pairs.clone().requires_grad_()
        got = compiled(leaf)
        got.sum().backward()
    finally:
        torch.compiler.reset()
    assert torch.equal(got, want)
    (gradient,) = torch.autograd.grad(CALLS[name](leaf).sum(), leaf)
    assert torch.equal(leaf.grad, gradient)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "wasserstein_distance"])
def test_nothing_is_read_from_a_device(name):
    """A meta tensor has no entries: whatever asks for one raises."""
    pairs = batch().to("meta").requires_grad_()
    mask = torch.ones(2, 3, 5, dtype=torch.bool, device="meta")
    got = CALLS[name](pairs, mask)
    assert got.device.type == "meta"
    got.sum().backward()
    assert pairs.grad.shape == pairs.shape


@pytest.mark.gpu
@every_call
def test_a_gpu_gives_the_same(name, cuda):
    pairs = batch()
    torch.testing.assert_close(
        CALLS[name](pairs.to(cuda)).cpu(), CALLS[name](pairs), rtol=1e-12, atol=1e-13
    )
