"""One pass of structure scores: the predictions of `evaluate`, each frame once, kept or not."""

import pytest
import torch

from tests.train.conftest import NUM_CLASSES
from tests.train.evaluation.rooms import CLASSES, Rooms
from tests.train.processes import run_processes, values_of
from tests.train.toys import Toy
from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.dataset_spec import NUSCENES_RULE, SEMANTICKITTI_RULE, WAYMO_RULE
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import evaluate
from train.evaluation.evaluate_structure import (
    PreparedFrames,
    evaluate_structure,
    sample_features,
)
from train.evaluation.feature_agreement import (
    SampledFeatures,
    distance_correlation,
    own_other,
    sampled_rows,
)
from train.evaluation.structure import StructureCounts, count_structure, frame_structure
from train.networks.ptv3 import build_segmentor

CPU = torch.device("cpu")
CLIP = (-3.0, -3.0, -1.0, 3.0, 3.5, 1.5)


NAMES = ("first/0", "first/1", "second/0", "second/1", "third/0")


def prepared(names=NAMES, *, clip=None, keep=False, skip=False, **options):
    frames = EvaluationFrames(
        Rooms(names, **options),
        0.2,
        clip_range_m=clip,
        on_bad_frame="skip" if skip else "stop",
    )
    return PreparedFrames(frames, NUM_CLASSES, keep=keep)


def toy(seed, size="small"):
    torch.manual_seed(seed)
    return Toy(size, NUM_CLASSES, 4)


def squared(teacher, student):
    return (torch.pdist(teacher) - torch.pdist(student)).square().mean()


@pytest.mark.parametrize("rule", [NUSCENES_RULE, SEMANTICKITTI_RULE, WAYMO_RULE])
@pytest.mark.parametrize("clip", [None, CLIP], ids=["whole", "clipped"])
def test_scores_are_those_of_evaluate(rule, clip):
    frames = prepared(clip=clip)
    found = evaluate_structure(toy(3), frames, CPU, title="x").total().scores(CLASSES, rule)
    expected = evaluate(toy(3), frames.frames, CLASSES, rule, CPU, title="x")
    assert expected["miou"] > 0
    for score in ("miou", "benchmark_miou", "accuracy"):
        assert found[score] == expected[score]


def test_a_real_network_is_in_evaluation_mode_for_the_pass():
    torch.manual_seed(1)
    network = build_segmentor("tiny-student", NUM_CLASSES).train()
    frames = prepared(NAMES[:2])
    found = evaluate_structure(network, frames, CPU, title="x").total()
    assert network.training
    expected = evaluate(network, frames.frames, CLASSES, WAYMO_RULE, CPU, title="x")
    assert found.scores(CLASSES, WAYMO_RULE)["miou"] == expected["miou"]


def test_counts_are_those_of_the_raw_points_where_they_lie():
    frames = prepared(NAMES[:1], clip=CLIP)
    network = toy(3)
    found = evaluate_structure(network, frames, CPU, title="x").counts[NAMES[0]]
    frame, voxels = frames.frames.source[0], frames.frames[0]
    inputs = torch.from_numpy(voxels.coord), torch.from_numpy(voxels.strength)
    batch = {"feat": torch.cat(inputs, dim=1), "offset": None}
    prediction = network(batch).logits.argmax(1).numpy()[voxels.inverse]
    expected = count_structure(frame_structure(frame.coord, frame.segment, NUM_CLASSES), prediction)
    assert found == expected
    assert found.components.sum() > 0


def test_scenes_are_the_frames_of_a_sequence_together():
    found = evaluate_structure(toy(3), prepared(), CPU, title="x")
    assert list(found.counts) == list(NAMES)
    scenes = found.scenes()
    assert list(scenes) == ["first", "second", "third"]
    assert [scene.frames for scene in scenes.values()] == [2, 2, 1]
    assert scenes["second"] == found.counts["second/0"] + found.counts["second/1"]
    assert StructureCounts.total(scenes.values(), NUM_CLASSES) == found.total()


def test_kept_frames_are_read_once_and_give_the_same():
    frames, fresh = prepared(keep=True), prepared()
    first = evaluate_structure(toy(3), frames, CPU, title="x")
    second = evaluate_structure(toy(3), frames, CPU, title="x")
    other = evaluate_structure(toy(4), frames, CPU, title="x")
    assert frames.frames.source.reads == len(NAMES)
    assert first.counts == second.counts
    assert other.counts == evaluate_structure(toy(4), fresh, CPU, title="x").counts
    assert other.counts != first.counts
    evaluate_structure(toy(4), fresh, CPU, title="x")
    assert fresh.frames.source.reads == 2 * len(NAMES)


def test_agreement_is_that_of_the_last_decoder_features():
    frames = prepared(keep=True)
    student, teacher = toy(3), toy(4, "wide")
    of_teacher = sample_features(teacher, frames, CPU, title="x", num_samples=60, seed=2)
    found = evaluate_structure(
        student, frames, CPU, title="x", teacher=of_teacher, losses={"squared": squared}
    )
    teachers, students = [], []
    for index, name in enumerate(NAMES):
        batch = frames[index].batch
        rows = sampled_rows(len(batch["feat"]), name=name, seed=2, num_samples=60)
        with torch.no_grad():
            teachers.append(teacher(batch).features["top"][rows])
            students.append(student(batch).features["top"][rows])
        assert len(rows) == 60
        assert torch.equal(of_teacher.by_name[name], teachers[-1])
        assert found.correlations[name] == distance_correlation(teachers[-1], students[-1])
    mean = sum(found.correlations.values()) / len(NAMES)
    assert found.distance_correlation() == pytest.approx(mean, abs=1e-12)
    scenes = [name.split("/")[0] for name in NAMES]
    assert found.own_other == {
        "squared": own_other(squared, teachers, students, groups=scenes, seed=2)
    }


def test_a_network_agrees_with_itself():
    frames = prepared(keep=True)
    of_teacher = sample_features(toy(4), frames, CPU, title="x")
    found = evaluate_structure(
        toy(4), frames, CPU, title="x", teacher=of_teacher, losses={"squared": squared}
    )
    assert found.distance_correlation() == pytest.approx(1.0)
    assert found.own_other["squared"].ratio == 0.0


def test_without_a_teacher_there_is_no_agreement():
    found = evaluate_structure(toy(3), prepared(NAMES[:1]), CPU, title="x")
    assert (found.correlations, found.own_other) == ({}, {})
    assert found.distance_correlation() is None


def test_frames_that_cannot_be_read_are_left_out_or_end_the_pass():
    skipped = SkippedFrames()
    found = evaluate_structure(
        toy(3), prepared(skip=True, broken=NAMES[1:2]), CPU, title="x", skipped=skipped
    )
    assert list(found.counts) == [NAMES[0], *NAMES[2:]]
    assert skipped.messages == {"first/1": "first/1: is damaged"}
    network = toy(3).train()
    with pytest.raises(UserError, match="first/1: is damaged"):
        evaluate_structure(network, prepared(broken=NAMES[1:2]), CPU, title="x")
    assert network.training
    with pytest.raises(UserError, match="no validation frame could be read"):
        evaluate_structure(toy(3), prepared(skip=True, broken=NAMES), CPU, title="x")
    with pytest.raises(UserError, match="first/0 has no labels"):
        evaluate_structure(toy(3), prepared(unlabeled=NAMES), CPU, title="x")


def test_what_does_not_fit_is_refused():
    frames = prepared(keep=True)
    with pytest.raises(ValueError, match="losses compare with a teacher"):
        evaluate_structure(toy(3), frames, CPU, title="x", losses={"squared": squared})
    of_teacher = sample_features(toy(4), frames, CPU, title="x", num_samples=20)
    one_scene = prepared(NAMES[:2])
    with pytest.raises(UserError, match="2 validation frames of 1 scene"):
        evaluate_structure(
            toy(3), one_scene, CPU, title="x", teacher=of_teacher, losses={"squared": squared}
        )
    assert one_scene.frames.source.reads == 0
    known = dict(of_teacher.by_name)
    del known["third/0"]
    for wrong in (SampledFeatures(0, 20, known), SampledFeatures(0, 21, of_teacher.by_name)):
        with pytest.raises(ValueError, match="features are not those of frame"):
            evaluate_structure(toy(3), frames, CPU, title="x", teacher=wrong)


def shared():
    frames = prepared(skip=True, broken=NAMES[3:4])
    skipped = SkippedFrames()
    of_teacher = sample_features(toy(4), frames, CPU, title="x", num_samples=50)
    found = evaluate_structure(
        toy(3),
        frames,
        CPU,
        title="x",
        teacher=of_teacher,
        losses={"squared": squared},
        skipped=skipped,
    )
    record = {scene: counts.to_json() for scene, counts in found.scenes().items()}
    agreement = found.correlations, found.own_other
    return record, list(found.counts), skipped.messages, agreement


def test_processes_have_the_counts_of_one():
    expected = shared()
    assert expected[1] == [*NAMES[:3], NAMES[4]]
    assert values_of(run_processes(2, shared)) == [expected] * 2
