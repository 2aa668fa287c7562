"""Relations and affinities of sampled points: the points, and the losses worked out by hand."""

import itertools

import pytest
import torch
from torch.nn import functional

from fast import TopologicalLoss, normalise
from fast import modules as fast_modules
from fast.options import SamplingOptions
from train.methods.affinity import affinity_loss
from train.methods.rkd import RelationalKD, RelationalKDConfig, angle_loss, distance_loss
from train.methods.sampled_points import SampledPoints


def line(*places):
    return torch.tensor(places, dtype=torch.float64)[:, None]


def test_distances_by_their_mean():
    # Distances 1, 2, 3 by their mean 2, and 2, 2, 4 by 8/3: differences 1/4, 1/4 and 0.
    loss = distance_loss(line(0, 1, 3), line(0, 2, 4))
    assert loss.item() == pytest.approx(2 * 0.5 * 0.25**2 / 3)


def test_a_large_difference_of_distances_counts_linearly():
    # By their mean 1/2: the teacher's last point is 2 from the others, the student's first is.
    # Of the six pairs four differ by 2, for which the Huber loss is 3/2.
    loss = distance_loss(line(0, 0, 0, 1), line(1, 0, 0, 0))
    assert loss.item() == pytest.approx(4 * 1.5 / 6)


def test_angles_of_a_triangle():
    # Cosines 0, sqrt(1/2), sqrt(1/2) against 1, -1, 1 on a line. The Huber losses are 1/2,
    # sqrt(1/2) + 1/2 and (1 - sqrt(1/2))^2 / 2, in all 7/4; each angle is there twice.
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert angle_loss(teacher, line(0, 1, 2)).item() == pytest.approx(1.75 / 3)


def cosine(points, i, j, k):
    """At j."""
    return functional.cosine_similarity(points[i] - points[j], points[k] - points[j], dim=0)


def test_both_losses_are_means_over_pairs_and_triplets():
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    student = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    pairs = list(itertools.permutations(range(7), 2))
    of_each = []
    for points in (teacher, student):
        lengths = torch.stack([(points[i] - points[j]).norm() for i, j in pairs])
        of_each.append(lengths / lengths.mean())
    torch.testing.assert_close(distance_loss(teacher, student), functional.huber_loss(*of_each))
    triplets = list(itertools.permutations(range(7), 3))
    cosines = [torch.stack([cosine(p, *each) for each in triplets]) for p in (teacher, student)]
    torch.testing.assert_close(angle_loss(teacher, student), functional.huber_loss(*cosines))


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
def test_relations_know_no_place_scale_or_orientation(loss):
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    assert loss(points, 7 * points @ turn + 2).item() == pytest.approx(0, abs=1e-12)
    assert loss(points, points.square()) > 1e-3


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
@pytest.mark.parametrize(
    "places", [(0, 0, 1, 3), (2, 2, 2, 2)], ids=["a duplicate", "all in one place"]
)
def test_points_in_one_place_have_a_finite_gradient(loss, places):
    student = line(*places).requires_grad_()
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 2.0]], dtype=torch.float64)
    value = loss(teacher, student)
    value.backward()
    assert value > 0
    assert student.grad.isfinite().all()
    # And as the teacher's.
    assert loss(line(*places), teacher).isfinite()


def test_a_duplicate_has_no_angle():
    # At the first point the sides to the others are 0 and 1 long; at the third both sides are one.
    # The second is the first again. So the cosines are 0, 0 and 1, the teacher's all 1/2.
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)
    assert angle_loss(teacher, line(0, 0, 1)).item() == pytest.approx(0.5 * 0.25)


@pytest.mark.parametrize(("loss", "few"), [(distance_loss, 1), (angle_loss, 2)])
def test_too_few_points_have_no_relation(loss, few):
    student = torch.ones(few, 2, requires_grad=True)
    value = loss(torch.randn(few, 3), student)
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()


def test_angles_are_those_of_the_first_samples(teacher, student, batch, monkeypatch):
    seen = []

    def recorded(theirs, ours):
        seen.append((len(theirs), len(ours)))
        return angle_loss(theirs, ours)

    monkeypatch.setattr("train.methods.rkd.angle_loss", recorded)
    config = RelationalKDConfig(num_samples=50, angle_samples=20)
    terms = RelationalKD(config, student, teacher)(student, teacher, batch)
    assert seen == [(20, 20)] * 2
    relations = terms["relations"]
    parts = 25 * relations.stats["distances"] + 50 * relations.stats["angles"]
    torch.testing.assert_close(relations.value.detach(), parts)
    assert relations.weight == 1


@pytest.mark.parametrize(("off", "left"), [("distance", "angles"), ("angle", "distances")])
def test_a_weight_of_zero_skips_its_relation(off, left, teacher, student, batch, monkeypatch):
    monkeypatch.setattr(f"train.methods.rkd.{off}_loss", None)  # a call would fail
    config = RelationalKDConfig(num_samples=50, **{off: 0.0})
    terms = RelationalKD(config, student, teacher)(student, teacher, batch)
    assert set(terms["relations"].stats) == {left}


def test_similarities_of_two_points():
    # Cosine 0 against 3/5: of the four pairs two differ, by 3/5.
    teacher = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    student = torch.tensor([[1.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    assert affinity_loss(teacher, student).item() == pytest.approx(2 * 0.36 / 4)


def test_lengths_do_not_count():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = torch.arange(1.0, 7, dtype=torch.float64)[:, None]
    assert affinity_loss(points, lengths * points).item() == pytest.approx(0, abs=1e-15)
    assert affinity_loss(points, lengths + points) > 1e-3


def test_a_row_of_zeros_is_similar_to_nothing():
    # The cosines of the first row are all 0, its own with itself too; the teacher's are 1, 0, 0, 1.
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value = affinity_loss(torch.eye(2), student)
    value.backward()
    assert value.item() == pytest.approx(1 / 4)
    assert student.grad.isfinite().all()


# ---- the points are those that fast compares -----------------------------------------------------


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
