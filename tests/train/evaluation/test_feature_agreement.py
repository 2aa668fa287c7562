"""Agreement of features: by hand, what it must not see, and sampled while networks are scored."""

import numpy as np
import pytest
import torch

from tests.train.processes import run_processes, values_of
from train.core.errors import UserError
from train.evaluation.agreement import MAX_FRAMES, NUM_SAMPLES, FeatureSampler, agreement
from train.evaluation.feature_agreement import (
    OwnOther,
    distance_correlation,
    own_other,
    sampled_rows,
)
from train.networks.protocol import NetworkOutput


def features(seed, rows=40, channels=6):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, channels))).float()


def column(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_correlation_by_hand():
    # Distances 1, 3, 2 and 2, 1, 1: deviations (-1, 1, 0) and (2/3, -1/3, -1/3).
    teacher = column(0.0, 1.0, 3.0)
    student = column(0.0, 2.0, 1.0)
    expected = -1 / np.sqrt(2 * (4 + 1 + 1) / 9)
    assert distance_correlation(teacher, student) == pytest.approx(expected, abs=1e-12)


def test_correlation_is_pearson_s_of_all_pairs():
    teacher, student = features(0), features(1, channels=3)
    upper = np.triu_indices(40, 1)
    distances = [
        np.linalg.norm(each.numpy()[:, None].astype(float) - each.numpy()[None], axis=-1)[upper]
        for each in (teacher, student)
    ]
    expected = np.corrcoef(*distances)[0, 1]
    assert distance_correlation(teacher, student) == pytest.approx(expected, abs=1e-10)


def test_correlation_does_not_see_rotation_shift_scale_and_width():
    teacher = features(0)
    turn = torch.linalg.qr(features(2, rows=9, channels=6)).Q  # [9, 6], orthonormal columns
    moved = 3.0 * teacher @ turn.T + 5.0
    assert distance_correlation(teacher, moved) == pytest.approx(1.0, abs=1e-6)
    assert distance_correlation(teacher, features(1)) < 0.3


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        pytest.param(features(0, rows=0), features(1, rows=0), id="no points"),
        pytest.param(features(0, rows=2), features(1, rows=2), id="a single distance"),
        pytest.param(features(0), torch.full((40, 3), 0.1), id="student without distances"),
        pytest.param(torch.zeros(40, 2), features(0), id="teacher without distances"),
        pytest.param(0.1 * torch.eye(5), features(0, rows=5), id="equal distances"),
        pytest.param(
            torch.linalg.qr(features(3, rows=6).double()).Q,
            features(0, rows=6),
            id="distances equal to rounding",
        ),
    ],
)
def test_correlation_of_constant_distances_is_none(teacher, student):
    assert distance_correlation(teacher, student) is None


def test_features_that_are_not_of_the_same_points_are_refused():
    with pytest.raises(ValueError, match="not rows of the same points"):
        distance_correlation(features(0), features(1, rows=39))
    broken = features(1)
    broken[3, 2] = torch.nan
    with pytest.raises(ValueError, match="student's features are not finite"):
        distance_correlation(features(0), broken)
    with pytest.raises(ValueError, match="teacher's features are not finite"):
        distance_correlation(broken, features(0))


def test_rows_depend_on_the_seed_and_the_name_alone():
    rows = sampled_rows(1000, name="00/1", seed=0, num_samples=100)
    assert rows.dtype == torch.int64
    assert len(rows.unique()) == 100
    assert int(rows.min()) >= 0
    assert int(rows.max()) < 1000
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(rows, sampled_rows(1000, name="00/1", seed=0, num_samples=100))
    assert not torch.equal(rows, sampled_rows(1000, name="00/2", seed=0, num_samples=100))
    assert not torch.equal(rows, sampled_rows(1000, name="00/1", seed=1, num_samples=100))
    assert sampled_rows(7, name="x", seed=0).tolist() == list(range(7))
    assert len(sampled_rows(2000, name="x", seed=0)) == 512
    # Uniform: each tenth of the rows gets about a tenth of the draws (deviation 10 of 1000).
    draws = [sampled_rows(1000, name=str(name), seed=0, num_samples=100) for name in range(100)]
    per_tenth = np.bincount(torch.cat(draws).numpy() // 100, minlength=10)
    assert np.abs(per_tenth - 1000).max() < 60
    with pytest.raises(ValueError, match="not 0, 5 and 0"):
        sampled_rows(0, name="x", seed=0, num_samples=5)


def gap(teacher, student):
    return (teacher - student).abs().max()


def test_own_and_other_by_hand():
    teachers = [column(0.0), column(1.0), column(3.0)]
    students = [column(0.5), column(1.0), column(2.0)]
    test = own_other(gap, teachers, students)
    assert test.own == (0.5, 0.0, 1.0)
    assert test.other == (0.5, 2.0, 2.0)  # the teacher at clouds 1, 2, 0
    assert test.ratio == pytest.approx(1.5 / 4.5)


def test_the_other_cloud_is_of_another_scene():
    teachers = [column(0.0), column(1.0), column(3.0), column(7.0)]
    students = [column(0.0)] * 4
    test = own_other(gap, teachers, students, groups=["a", "a", "b", "a"])
    assert test.other == (3.0, 3.0, 7.0, 3.0)


def test_all_clouds_enter_with_as_many_rows_and_own_rows_stay_together():
    shapes = set()

    def loss(teacher, student):
        shapes.add((tuple(teacher.shape), tuple(student.shape)))
        return gap(teacher[:, :2], student)

    teachers = [features(seed, rows=rows) for seed, rows in enumerate((9, 5, 700))]
    students = [teacher[:, :2] for teacher in teachers]
    test = own_other(loss, teachers, students)
    assert shapes == {((5, 6), (5, 2))}
    assert test.own == (0.0, 0.0, 0.0)
    assert min(test.other) > 0
    assert test.ratio == 0.0
    assert test == own_other(loss, teachers, students)


def test_rows_of_different_clouds_do_not_pair_by_their_place():
    # Two clouds whose rows rise alike: paired in order, the other cloud would fit as the own does.
    ramp = torch.arange(100.0)[:, None]
    test = own_other(gap, [ramp, ramp + 0.1], [ramp, ramp + 0.1])
    assert test.own == (0.0, 0.0)
    assert min(test.other) > 10


def test_a_ratio_over_nothing_is_none():
    assert OwnOther((0.0, 1.0), (0.0, 0.0)).ratio is None


def test_a_single_cloud_has_no_other():
    with pytest.raises(UserError, match=r"1 validation frames of 1 scene.*at least two scenes"):
        own_other(gap, [column(0.0)], [column(0.0)])
    with pytest.raises(UserError, match="2 validation frames of 1 scene"):
        own_other(gap, [column(0.0)] * 2, [column(0.0)] * 2, groups=["a", "a"])
    with pytest.raises(UserError, match="0 validation frames"):
        own_other(gap, [], [])


def test_what_does_not_fit_is_refused():
    two = [features(0), features(1)]
    empty = [features(0), features(0, rows=0)]
    with pytest.raises(ValueError, match="the loss of cloud 0 to the teacher at cloud 1 is nan"):
        own_other(lambda t, s: torch.nan if not torch.equal(t, s) else 0.0, two, two)
    for teachers, students, groups, words in (
        (two, two[:1], None, "2 clouds of the teacher, 1 of the student"),
        (two, two, ["a", "b", "c"], "3 groups for 2 clouds"),
        (empty, empty, None, "a cloud has no rows"),
        (two, [features(0), features(1, rows=3)], None, "not rows of the same points"),
    ):
        with pytest.raises(ValueError, match=words):
            own_other(gap, teachers, students, groups=groups)


# ---- sampled while networks are scored -----------------------------------------------------------


class Stages:
    """What a sampler asks of a network: the names of its stages."""

    decoder_stages = ("dec1", "dec0")


def output(features):
    return NetworkOutput(
        torch.zeros(len(features), 2), {"dec1": torch.zeros(3, 1), "dec0": features}, {}
    )


def features_of(number, rows=600):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(number))


def test_the_rows_that_are_kept_are_those_of_the_last_stage_and_the_same_for_all_networks():
    sampler = FeatureSampler(["a/0", "a/1"])
    for role, scale in (("teacher", 1.0), ("student", 2.0)):
        visit = sampler.visit(role, Stages())
        for number, name in ((1, "a/1"), (0, "a/0")):
            visit(name, output(scale * features_of(number)))
    found = sampler.gathered()
    assert {role: list(of_role) for role, of_role in found.items()} == {
        "teacher": ["a/0", "a/1"],
        "student": ["a/0", "a/1"],
    }
    rows = sampled_rows(600, name="a/1", seed=0)
    assert len(rows) == NUM_SAMPLES
    assert torch.equal(found["teacher"]["a/1"], features_of(1)[rows])
    assert torch.equal(found["student"]["a/1"], 2.0 * features_of(1)[rows])


def test_of_many_frames_some_are_kept_evenly_spread():
    names = [f"s/{number:03}" for number in range(100)]
    sampler = FeatureSampler(names)
    assert len(set(sampler.names)) == MAX_FRAMES
    assert (sampler.names[0], sampler.names[-1]) == (names[0], names[-1])
    visit = sampler.visit("teacher", Stages())
    for number, name in enumerate(names):
        visit(name, output(features_of(number, rows=20)))
    assert list(sampler.gathered()["teacher"]) == sampler.names
    assert FeatureSampler([]).gathered() == {}


def sampled_in_parts():
    from train.core.distributed import current_world

    world = current_world()
    names = [f"s/{number}" for number in range(5)]
    sampler = FeatureSampler(names)
    visit = sampler.visit("teacher", Stages())
    for number in range(world.rank, len(names), world.size):
        visit(names[number], output(features_of(number, rows=20)))
    return {name: part.tolist() for name, part in sampler.gathered()["teacher"].items()}


def test_processes_gather_what_one_samples():
    want = sampled_in_parts()
    for found in values_of(run_processes(2, sampled_in_parts)):
        assert found == want
        assert list(found) == list(want)


def clouds(*names):
    return {name: features_of(number, rows=64) for number, name in enumerate(names)}


def test_a_student_with_the_teachers_features_agrees_with_it_and_only_with_its_own_cloud():
    teacher = clouds("a/0", "a/1", "b/0")
    found = agreement(teacher, {name: 3.0 * features for name, features in teacher.items()})
    assert found["distance_correlation"] == pytest.approx(1.0)
    assert set(found["own_other"]) == {"edges", "pwcd"}
    assert all(abs(ratio) < 1e-3 for ratio in found["own_other"].values())
    assert (found["frames"], found["scenes"], found["not_finite"]) == (3, 2, 0)


def test_a_student_without_relation_to_the_teacher_does_not():
    teacher = clouds("a/0", "b/0", "c/0", "d/0")
    student = {name: features_of(100 + number, 64) for number, name in enumerate(teacher)}
    found = agreement(teacher, student)
    assert abs(found["distance_correlation"]) < 0.1
    assert all(0.7 < ratio < 1.4 for ratio in found["own_other"].values())


def test_one_scene_has_no_other_and_broken_features_are_left_out():
    teacher = clouds("a/0", "a/1", "a/2")
    student = {**teacher, "a/1": torch.full((64, 5), float("nan"))}
    found = agreement(teacher, student)
    assert (found["frames"], found["not_finite"], found["own_other"]) == (2, 1, {})
    assert found["distance_correlation"] == pytest.approx(1.0)
    nothing = agreement({}, {})
    assert (nothing["frames"], nothing["distance_correlation"]) == (0, None)
