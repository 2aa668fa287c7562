"""Runs on frames without labels: none, some on disk, and what needs labels is refused."""

import json
import shutil

import pytest
import torch

from tests.train.toy_runs import flags, kitti_metadata, log_of, refused, write_frames
from tests.train.toys import build_toy
from train.data.semantickitti import CLASS_NAMES
from train.networks.weights import save_model
from train.run import main

pytestmark = pytest.mark.usefixtures("toys_registered")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    torch.manual_seed(5)
    network = build_toy("wide", len(CLASS_NAMES), 4)
    save_model(network, kitti_metadata(network), path)
    return path


@pytest.fixture
def student(toy_frames, teacher, tmp_path):
    """Return a function that makes the command line of a toy's student."""

    def make(*more, root=toy_frames, method="kd"):
        given = () if method == "none" else ("--teacher-checkpoint", str(teacher))
        names = ("--stage", "student", "--student", "toy:small", "--method", method)
        return flags(root, tmp_path / "run", *names, *given, *more)

    return make


@pytest.fixture
def few(tmp_path):
    """A data root where only the first of four training frames has labels on disk."""
    root = tmp_path / "few"
    write_frames(root)
    for number in (1, 2, 3):
        (root / "sequences/00/labels" / f"{number:06}.label").unlink()
    return root


def metrics_of(tmp_path):
    return json.loads((tmp_path / "run/metrics.json").read_text())


def test_a_student_learns_from_frames_that_nobody_labeled(student, few, tmp_path, capsys):
    shutil.rmtree(few / "sequences/00/labels")
    assert main(student("--data.labels", "none", root=few)) == 0
    steps = log_of(tmp_path / "run")
    assert [step["segmentation"] for step in steps] == [0, 0]
    assert min(step["distillation"] for step in steps) > 0
    assert not any("unlabeled" in step for step in steps)
    assert "4 frames to train on (0 with labels)" in capsys.readouterr().err
    assert metrics_of(tmp_path)["labeled_frames"] == 0
    assert metrics_of(tmp_path)["student"]["miou"] is not None
    assert "4 to train on (0 with labels)" in (tmp_path / "run/report.html").read_text()


def test_labels_that_are_there_are_not_looked_at(student, few, toy_frames, tmp_path):
    """The student of labeled frames with --data.labels none is that of frames without files."""
    totals = []
    for root in (few, toy_frames):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        assert main(student("--data.labels", "none", root=root)) == 0
        totals.append([step["total"] for step in log_of(tmp_path / "run")])
    assert totals[0] == totals[1]


def test_labels_are_drawn_from_the_frames_that_have_some(student, few, tmp_path):
    assert main(student("--data.labels", "1", root=few)) == 0
    losses = [step["segmentation"] for step in log_of(tmp_path / "run")]
    assert sorted(loss > 0 for loss in losses) == [False, True]
    assert metrics_of(tmp_path)["labeled_frames"] == 1


def test_a_student_alone_sees_its_labeled_frames_as_often(student, tmp_path):
    assert main(student("--data.labels", "0.25", method="none")) == 0
    steps = log_of(tmp_path / "run")
    assert len(steps) == 2
    assert len({name for step in steps for name in step["frames"]}) == 1
    assert min(step["segmentation"] for step in steps) > 0


def test_without_any_labels_a_student_is_scored_by_its_agreement_with_the_teacher(
    student, few, tmp_path, capsys
):
    for sequence in ("00", "08"):
        shutil.rmtree(few / "sequences" / sequence / "labels")
    more = ("--data.labels", "none", "--evaluate-every", "1")
    assert main(student(*more, root=few)) == 0
    said = capsys.readouterr().err
    assert "students are scored by how far they agree with the teacher" in said
    assert "mIoU on 1 validation frames, against the teacher's predictions: teacher 100.0," in said
    metrics = metrics_of(tmp_path)
    assert metrics["scored_against"] == "the teacher's predictions"
    assert metrics["teacher"]["miou"] == 1
    assert 0 <= metrics["student"]["miou"] < 1
    page = (tmp_path / "run/report.html").read_text()
    assert "1 to score on against the teacher&#39;s predictions, for want of labels" in page


@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("kd", "--data.labels some", "--data.labels some: give all, none, a share"),
        ("kd", "--data.labels 9", "--data.labels 9: that is 9 of 4 frames"),
        ("kd", "--data.labels 0.01", "--data.labels 0.01: that is 0 of 4 frames"),
        ("none", "--data.labels none", "--data.labels none: by these options the method learns"),
        ("dkd", "--data.labels none", "--data.labels none: by these options the method learns"),
        ("kd", "--data.labels none --method.distillation 0", "by these options the method learns"),
        ("topology-gradient", "--data.labels 2", "--method.saliency is 1.0: its maps need labels"),
        ("kd", "--data.labels none --baseline", "--data.labels none: the baseline would be"),
    ],
)
def test_what_needs_labels_is_refused(student, tmp_path, capsys, method, more, message):
    assert message in refused(student(*more.split(), method=method), capsys, tmp_path / "run")


def test_a_teacher_cannot_be_trained_without_labels(toy_frames, tmp_path, capsys):
    arguments = flags(toy_frames, tmp_path / "run", "--method", "kd", "--data.labels", "none")
    line = refused(arguments, capsys, tmp_path / "run")
    assert "the teacher would be trained on labels; give a trained one, --teacher-check" in line


def test_labels_asked_for_where_no_frame_has_any_are_refused(student, few, tmp_path, capsys):
    shutil.rmtree(few / "sequences/00/labels")
    line = refused(student("--data.labels", "1", root=few), capsys, tmp_path / "run")
    assert "label" in line
