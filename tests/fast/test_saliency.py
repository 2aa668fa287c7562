"""fast.saliency_map and saliency_loss against the definition."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fast
import reference
from fast import saliency


@pytest.mark.parametrize("shape", [(1, 3), (7, 1), (40, 16)])
@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_the_map_equals_the_definition(shape, eps):
    rng = np.random.default_rng(0)
    features, gradients = rng.normal(size=(2, *shape))
    got = fast.saliency_map(torch.tensor(features), torch.tensor(gradients), eps=eps)
    want = reference.saliency_map(features, gradients, eps=eps)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_a_batch_is_normalized_cloud_by_cloud():
    features, gradients = torch.rand(2, 3, 9, 4, generator=torch.Generator().manual_seed(0))
    features[1] *= 100
    got = fast.saliency_map(features, gradients)
    for cloud in range(3):
        torch.testing.assert_close(got[cloud], fast.saliency_map(features[cloud], gradients[cloud]))
    assert (got.amax(dim=1) == 1).all()


def test_a_constant_map_is_zero_and_sends_no_gradient():
    features = torch.ones(5, 2, requires_grad=True)
    saliency = fast.saliency_map(features, torch.ones(5, 2))
    assert saliency.tolist() == [0.0] * 5
    saliency.sum().backward()
    assert (features.grad == 0).all()


def test_gradients_are_right():
    rng = np.random.default_rng(0)
    features, gradients = (
        torch.tensor(rng.normal(size=(6, 3)), requires_grad=True) for _ in range(2)
    )
    assert torch.autograd.gradcheck(fast.saliency_map, (features, gradients))


@pytest.mark.parametrize("layers", ["sum", "mean", "none"])
def test_the_loss_equals_the_definition(layers):
    rng = np.random.default_rng(0)
    teacher, student = ([rng.random(n) for n in (5, 1, 12)] for _ in range(2))
    got = fast.saliency_loss(
        [torch.tensor(m) for m in teacher], [torch.tensor(m) for m in student], layers=layers
    )
    want = reference.saliency_loss(teacher, student, layers=layers)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    empty = fast.saliency_loss([], [], layers=layers)
    assert empty.tolist() == ([] if layers == "none" else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_layers_apart_add_up_to_the_sum(dtype):
    rng = torch.Generator().manual_seed(0)
    for num_layers in range(1, 20):
        teacher, student = (
            [torch.rand(7, generator=rng, dtype=dtype) for _ in range(num_layers)] for _ in range(2)
        )
        apart = fast.saliency_loss(teacher, student, layers="none")
        assert torch.equal(apart.sum(), fast.saliency_loss(teacher, student))


_MAP, _FEATURES = torch.zeros(3), torch.zeros(3, 2)


@pytest.mark.parametrize("sizes", [(1,), (7, 7, 7), (5, 1, 9, 2)], ids=str)
def test_all_clouds_at_once_have_the_maps_and_gradients_of_each_by_itself(sizes):
    generator = torch.Generator().manual_seed(0)
    features, gradients = torch.randn(2, sum(sizes), 3, generator=generator, dtype=torch.float64)
    features[: sizes[0]] *= 100
    features[-2:] = 1.0  # a constant cloud, if the last has two points
    gradients[-2:] = 1.0
    results = []
    for way in (saliency.saliency_maps_of_clouds, saliency._maps_at_once):
        leaf = features.clone().requires_grad_()
        maps = way(leaf, gradients, list(sizes))
        (grad,) = torch.autograd.grad(
            (maps * torch.arange(1.0, sum(sizes) + 1)).square().sum(), leaf
        )
        results.append((maps.detach(), grad))
    each = [
        fast.saliency_map(*cloud)
        for cloud in zip(features.split(sizes), gradients.split(sizes), strict=True)
    ]
    assert torch.equal(results[0][0], torch.cat(each))
    for got, want in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert results[0][1].isfinite().all()


def test_off_the_cpu_more_clouds_are_no_more_operations():
    counts = []
    for sizes in ([4, 4], [2] * 40):
        with TorchDispatchCount() as seen:
            points = torch.empty(sum(sizes), 3, device="meta")
            saliency.saliency_maps_of_clouds(points, points, sizes)
        counts.append(seen.count)
    assert counts[0] == counts[1] > 0


class TorchDispatchCount(TorchDispatchMode):
    """Counts the operations that torch is given."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += 1
        return function(*arguments, **(options or {}))
