"""fast.persistence_image and its scale: definition, derivatives, masks, no wait for a device."""

import dataclasses
import importlib
import inspect
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import ImageScale
from tests.reference import strategies
from tests.reference.test_persistence_image import components, diagrams, scales

SCALE = ImageScale(
    bandwidth=0.5, birth_range=(0.0, 1.0), persistence_range=(0.0, 2.0), resolution=(4, 5)
)


def padded(some: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, K, 2) and its mask; padding is anywhere, and not to be read."""
    rng = np.random.default_rng(0)
    pairs = np.full((len(some), 2 + max(map(len, some)), 2), -5.0)
    mask = np.zeros(pairs.shape[:2], dtype=bool)
    for row, kept, diagram in zip(pairs, mask, some, strict=True):
        kept[np.sort(rng.permutation(len(row))[: len(diagram)])] = True
        row[kept] = diagram
    return torch.tensor(pairs), torch.tensor(mask)


def test_arguments_are_the_definitions_and_a_mask():
    for name in ("persistence_image", "fit_persistence_image"):
        theirs = inspect.signature(getattr(reference, name)).parameters
        mine = inspect.signature(getattr(fast, name)).parameters
        assert list(mine) == [*theirs, "mask"]
        assert all(mine[each].default == theirs[each].default for each in theirs)
    assert fast.ImageScale is reference.ImageScale


@given(
    some=st.lists(st.one_of(diagrams, components), min_size=1, max_size=3),
    scale=scales(),
    seed=strategies.seeds,
)
def test_image_and_gradient_equal_the_definition(some, scale, seed):
    pairs, mask = padded(some)
    pairs.requires_grad_()
    image = fast.persistence_image(pairs, scale, mask=mask)
    upstream = np.random.default_rng(seed).normal(size=image.shape)
    (gradient,) = torch.autograd.grad(image, pairs, torch.tensor(upstream))
    assert (gradient[~mask] == 0).all()
    for cloud, diagram in enumerate(some):
        want = reference.persistence_image(diagram, scale)
        np.testing.assert_allclose(image[cloud].detach(), want, rtol=1e-10, atol=1e-12)
        want = reference.persistence_image_grad(diagram, scale, upstream[cloud])
        got = gradient[cloud][mask[cloud]]
        np.testing.assert_allclose(got, np.column_stack(want), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("weight", ["topkd", "linear", "one"])
def test_derivatives_of_both_orders(weight):
    scale = dataclasses.replace(SCALE, weight=weight, resolution=(2, 3))
    rng = np.random.default_rng(0)
    pairs = torch.tensor(rng.random((2, 3, 2)) + np.array([0.1, 1.0]), requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda pairs: fast.persistence_image(pairs, scale, mask=mask), pairs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_order_of_rows_changes_no_bit_of_image_or_gradient(dtype):
    rng = np.random.default_rng(1)
    births = rng.integers(0, 4, (3, 90)) / 8  # equal births, equal persistences, equal pairs
    pairs = np.stack([births, births + rng.integers(1, 9, (3, 90)) / 8], axis=-1)
    mask = rng.random((3, 90)) < 0.8
    order = np.stack([rng.permutation(90) for _ in range(3)])
    results = []
    for rows in (np.tile(np.arange(90), (3, 1)), order):
        listed = torch.tensor(np.take_along_axis(pairs, rows[..., None], 1)).to(dtype)
        listed.requires_grad_()
        kept = torch.tensor(np.take_along_axis(mask, rows, 1))
        image = fast.persistence_image(listed, SCALE, mask=kept)
        (gradient,) = torch.autograd.grad(image.square().sum(), listed)
        back = torch.tensor(np.argsort(rows, axis=1))[..., None].expand(3, 90, 2)
        results.append((image, gradient.gather(1, back)))
    for one, other in zip(*results, strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other)


@pytest.mark.parametrize("family", ["features", "grid"])
def test_the_order_of_a_clouds_points_changes_no_bit(make_cloud, family):
    cloud = torch.tensor(make_cloud(family, 48))
    shuffled = cloud[torch.tensor(np.random.default_rng(0).permutation(48))]
    scale = ImageScale(bandwidth=0.2, birth_range=(0.0, 2.0), persistence_range=(0.0, 2.0))
    for one, other in zip(
        *(fast.rips_persistence_of_points(each) for each in (cloud, shuffled)), strict=True
    ):
        images = [
            fast.persistence_image(each.pairs, scale, mask=each.mask) for each in (one, other)
        ]
        assert images[0].any()
        assert torch.equal(*images)


def test_the_gradient_reaches_the_features_through_the_critical_edges(make_cloud):
    points = torch.tensor(make_cloud("circle", 24), requires_grad=True)
    scale = ImageScale(bandwidth=0.3, birth_range=(0.0, 1.0), persistence_range=(0.0, 2.0))

    def loss(points):
        found = fast.rips_persistence_of_points(points)
        return sum(
            fast.persistence_image(each.pairs, scale, mask=each.mask).square().sum()
            for each in found
        )

    (gradient,) = torch.autograd.grad(loss(points), points)
    along = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (loss(points + step * along) for step in (1e-6, -1e-6))
    assert (ahead - behind).item() / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert (gradient != 0).any(dim=1).all()  # every point is on the spanning tree


@pytest.mark.parametrize("shape", [(0, 2), (3, 0, 2), (0, 4, 2), (2, 3, 0, 2)], ids=str)
def test_no_pairs_are_images_of_zeros(shape):
    pairs = torch.zeros(shape, requires_grad=True)
    image = fast.persistence_image(pairs, SCALE)
    assert image.shape == (*shape[:-2], 5, 4)
    assert not image.any()
    image.sum().backward()
    assert pairs.grad.shape == pairs.shape


def test_a_diagram_without_pairs_beside_others_is_zeros():
    pairs = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
    image = fast.persistence_image(pairs, SCALE, mask=torch.tensor([[True], [False]]))
    assert image[0].any()
    assert not image[1].any()
    nested = fast.persistence_image(pairs[:, None], SCALE)
    assert torch.equal(nested[:, 0], fast.persistence_image(pairs, SCALE))


def test_dimension_0_has_twenty_numbers_to_the_last_bit(make_cloud):
    points = torch.tensor(np.stack([make_cloud("features", 64, seed) for seed in range(4)]))
    (found,) = fast.rips_persistence_of_points(points, 0)
    scale = fast.fit_persistence_image(found.pairs, mask=found.mask)
    images = fast.persistence_image(found.pairs, scale, mask=found.mask)
    assert images.shape == (4, 20, 20)
    assert images.is_contiguous()
    assert [len(image.unique()) for image in images] == [20] * 4
    assert images.max().item() == pytest.approx(1.0, rel=1e-12)


def test_single_and_half_precision_round_the_result_only():
    rng = np.random.default_rng(2)
    births = rng.random((2, 30))
    pairs = torch.tensor(np.stack([births, births + rng.random((2, 30))], axis=-1)).float()
    want = fast.persistence_image(pairs.double(), SCALE)
    assert torch.equal(fast.persistence_image(pairs, SCALE), want.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast.persistence_image(pairs, SCALE), want.float())
    half = fast.persistence_image(pairs.half(), SCALE)
    assert half.dtype == torch.float32
    assert torch.equal(half, fast.persistence_image(pairs.half().float(), SCALE))


def test_nothing_is_read_from_a_device():
    """A meta tensor has no entries: whatever asks for one raises."""
    pairs = torch.zeros(3, 7, 2, device="meta", requires_grad=True)
    mask = torch.ones(3, 7, dtype=torch.bool, device="meta")
    image = fast.persistence_image(pairs, SCALE, mask=mask)
    assert (image.device.type, tuple(image.shape)) == ("meta", (3, 5, 4))
    image.sum().backward()
    assert pairs.grad.shape == pairs.shape


@pytest.mark.gpu
def test_a_gpu_gives_the_same_without_waiting(cuda):
    rng = np.random.default_rng(3)
    births = rng.random((4, 63))
    pairs = torch.tensor(np.stack([births, births + rng.random((4, 63))], axis=-1))
    mask = torch.tensor(rng.random((4, 63)) < 0.8)
    scale = fast.fit_persistence_image(pairs, mask=mask)
    there = fast.fit_persistence_image(pairs.to(cuda), mask=mask.to(cuda))
    assert there.bandwidth == pytest.approx(scale.bandwidth, rel=1e-12)
    assert there.maximum == pytest.approx(scale.maximum, rel=1e-12)
    results = []
    for device in ("cpu", cuda):
        leaf, kept = pairs.to(device).requires_grad_(), mask.to(device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            image = fast.persistence_image(leaf, scale, mask=kept)
            image.square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results.append((image.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


# ---- the scale of many --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"weight": "one", "resolution": (3, 5)}], ids=str)
@pytest.mark.parametrize("birth_margin", [0.0, 2.5])
@pytest.mark.parametrize("born_at", [0.0, 2.0])
def test_the_scale_is_the_definitions(monkeypatch, born_at, birth_margin, options):
    module = importlib.import_module("fast.persistence_image")  # the function has its name
    monkeypatch.setattr(module, "_IMAGES_AT_ONCE", 2)
    rng = np.random.default_rng(6)
    some = []
    for size in (40, 60, 0, 55, 38, 70, 41):  # not all of them make the bandwidth
        births = born_at * rng.random(size)
        persistence = (1 + len(some)) * rng.random(size)
        some.append(np.column_stack([births, births + persistence]))
    options = options | {"birth_margin": birth_margin}
    want = reference.fit_persistence_image(some, **options)
    pairs, mask = padded(some)
    got = fast.fit_persistence_image(pairs.requires_grad_(), mask=mask, **options)
    assert (got.weight, got.resolution) == (want.weight, want.resolution)
    for name in ("bandwidth", "birth_range", "persistence_range", "maximum"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-12)


def test_a_scale_of_one_diagram_without_a_batch_or_mask():
    births = np.random.default_rng(4).random(30)
    pairs = np.column_stack([births, births + np.random.default_rng(5).random(30)])
    got = fast.fit_persistence_image(torch.tensor(pairs))
    want = reference.fit_persistence_image([pairs])
    assert got.maximum == pytest.approx(want.maximum, rel=1e-12)
    assert got.bandwidth == pytest.approx(want.bandwidth, rel=1e-12)


def test_a_scale_survives_json():
    scale = fast.fit_persistence_image(torch.tensor([[[0.0, 1.0]], [[0.5, 3.0]]]))
    assert ImageScale(**json.loads(json.dumps(dataclasses.asdict(scale)))) == scale


_PAIRS = torch.tensor([[0.0, 1.0], [0.5, 2.0]])


def test_births_that_only_padding_has_are_not_refused():
    assert fast.persistence_image(_PAIRS - 0.5, SCALE, mask=torch.tensor([False, True])).any()
    fast.persistence_image(_PAIRS - 0.5, dataclasses.replace(SCALE, weight="one"))
