"""The sampled points are those whose diagrams `fast.TopologicalLoss` compares, call by call."""

import pytest
import torch

from fast import TopologicalLoss, normalise
from fast import modules as fast_modules
from fast.options import SamplingOptions
from train.methods.sampled_points import SampledPoints

OFFSET = torch.tensor([60, 75, 160])  # the second cloud is smaller than the samples


def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(160, 6, generator=generator), torch.randn(160, 3, generator=generator)


def sampled_points(normalization, sampling):
    options = SamplingOptions(num_samples=20, normalization=normalization, sampling=sampling)
    return SampledPoints(options)


@pytest.fixture
def compared(monkeypatch):
    """Return a list of the indices of every cloud of every call of a topological loss."""
    found = []
    original = fast_modules.cloud_losses

    def recorded(*arguments, **more):
        parts = original(*arguments, **more)
        found.append(parts.indices)
        return parts

    monkeypatch.setattr(fast_modules, "cloud_losses", recorded)
    return found


@pytest.mark.parametrize("sampling", ["farthest", "random", "mixed"])
@pytest.mark.parametrize("normalization", ["l2", "rms"])
def test_the_points_are_those_of_the_topology(sampling, normalization, compared):
    teacher, student = features()
    topology = TopologicalLoss(20, normalization, sampling=sampling)
    sampled = sampled_points(normalization, sampling)
    for _ in range(3):
        topology(teacher, student, OFFSET)
        found = sampled(teacher, student, OFFSET)
        begins = (0, 60, 75)
        for cloud, (begin, end, indices) in enumerate(
            zip(begins, OFFSET.tolist(), compared[-1], strict=True)
        ):
            of_teacher, of_student = found[cloud]
            for points, whole in ((of_teacher, teacher), (of_student, student)):
                want = normalise(whole[begin:end], normalization)[indices]
                assert torch.equal(points, want)
    assert [len(each) for each in compared[-1]] == [20, 15, 20]
    assert torch.equal(compared[0][0], compared[1][0]) == (sampling == "farthest")


def test_a_module_that_goes_on_draws_what_it_would_have_drawn():
    teacher, student = features()
    first, again = (sampled_points("l2", "random") for _ in range(2))
    first(teacher, student, OFFSET)
    again.load_state_dict(first.state_dict())
    want, found = (each(teacher, student, OFFSET)[0][0] for each in (first, again))
    assert torch.equal(found, want)
    assert not torch.equal(sampled_points("l2", "random")(teacher, student, OFFSET)[0][0], want)


def test_only_the_students_features_have_a_gradient():
    teacher, student = (each.requires_grad_() for each in features())
    for of_teacher, of_student in sampled_points("l2", "mixed")(teacher, student, OFFSET):
        assert not of_teacher.requires_grad
        assert of_student.requires_grad
