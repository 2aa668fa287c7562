"""Features are sampled while networks are scored; how far they agree is said by known cases."""

import pytest
import torch

from tests.train.processes import run_processes, values_of
from train.evaluation.agreement import MAX_FRAMES, NUM_SAMPLES, FeatureSampler, agreement
from train.evaluation.feature_agreement import sampled_rows
from train.networks.protocol import NetworkOutput


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
