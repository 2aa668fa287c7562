"""The student's twin: trained alone on equal crops, resumed in its own stage, and compared."""

import json
import shutil
import signal

import pytest
import torch

from tests.train.toy_runs import checkpoint_of, flags, killed, log_of, refused, resumed
from tests.train.toys import registered
from train.engine.command_line import parse
from train.networks.weights import load_model
from train.run import main

pytestmark = pytest.mark.usefixtures("toys_registered")

PAIR = ("--teacher", "toy:wide", "--student", "toy:small")
EPOCHS = ("--optim.student-epochs", "2")


def distilled(frames, output, *more):
    """Return the command line of a distilled toy, two epochs of two steps."""
    return flags(frames, output, *PAIR, "--method", "hint", *EPOCHS, *more)


def alone(frames, output, *more):
    """Return that of the same toy alone."""
    return flags(frames, output, "--student", "toy:small", "--method", "none", *EPOCHS, *more)


def same_weights(one, other):
    mine, theirs = (load_model(path)[0].state_dict() for path in (one, other))
    return all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def losses(output, stage):
    return [(record["step"], record["segmentation"]) for record in log_of(output, stage)]


@pytest.fixture(scope="module")
def runs(toy_frames, tmp_path_factory):
    """A finished run with a baseline, and one of the student alone; copied, never changed."""
    folder = tmp_path_factory.mktemp("runs")
    with registered():
        assert main(distilled(toy_frames, folder / "both", "--baseline")) == 0
        assert main(alone(toy_frames, folder / "alone")) == 0
    return folder


@pytest.fixture
def both(runs, tmp_path):
    return shutil.copytree(runs / "both", tmp_path / "both")


def test_the_baseline_is_what_a_run_of_the_student_alone_gives(runs):
    both, student_alone = runs / "both", runs / "alone"
    assert same_weights(both / "baseline.pt", student_alone / "student.pt")
    assert not same_weights(both / "baseline.pt", both / "student.pt")
    assert losses(both, "baseline") == losses(student_alone, "student")
    for field in ("frames", "lr"):
        one, other = ([r[field] for r in log_of(both, s)] for s in ("student", "baseline"))
        assert one == other
    order = [json.loads(line)["stage"] for line in (both / "log.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(order)) == ["teacher", "student", "baseline"]


def test_both_are_scored_and_the_difference_is_in_points(runs):
    metrics = json.loads((runs / "both" / "metrics.json").read_text())
    student, baseline = metrics["student"], metrics["baseline"]
    assert baseline.keys() == student.keys() - {"miou_untrained"}
    assert metrics["difference"] == pytest.approx(100 * (student["miou"] - baseline["miou"]))
    assert metrics["seconds"]["baseline"] > 0
    without = json.loads((runs / "alone" / "metrics.json").read_text())
    assert not {"baseline", "difference"} & without.keys()


def test_a_run_ends_with_the_scores_and_the_difference(both, capsys):
    assert main(resumed(both, "--stage", "evaluate")) == 0
    metrics = json.loads((both / "metrics.json").read_text())
    said = capsys.readouterr().err
    assert not {"report:", "to share"} & {line[:7] for line in said.splitlines()}
    scores, _, difference, done = said.splitlines()[-4:]
    teacher, student, baseline = (
        f"{100 * metrics[role]['miou']:.1f}" for role in ("teacher", "student", "baseline")
    )
    assert scores == (
        f"mIoU on 1 validation frames: teacher {teacher}, student {student}, "
        f"the same student trained alone {baseline}"
    )
    assert difference.startswith(f"distilling gave {metrics['difference']:+.1f} points; ")
    assert difference.endswith("one seed is no evidence: topodistill ablate takes several")
    assert done == (
        f"done: open {both / 'report.html'}; then topodistill predict or export --checkpoint "
        f"{both / 'student.pt'}"
    )


# ---- stopped and gone on with -------------------------------------------------------------------


@pytest.mark.parametrize("stopped_after", [1, 3, 4])
def test_a_stopped_baseline_goes_on_in_its_stage(
    toy_frames, runs, tmp_path, signal_at, stopped_after
):
    output = tmp_path / "run"
    signal_at(stopped_after, "baseline")
    assert main(distilled(toy_frames, output, "--baseline")) == 128 + signal.SIGTERM
    signal_at(None)
    assert same_weights(output / "student.pt", runs / "both" / "student.pt")
    state = torch.load(output / "baseline_checkpoint.pt", weights_only=True)
    assert (state["stage"], state["step"]) == ("baseline", stopped_after)
    assert main(resumed(output)) == 0
    for stage in ("teacher", "student", "baseline"):
        assert losses(output, stage) == losses(runs / "both", stage)
        assert same_weights(output / f"{stage}.pt", runs / "both" / f"{stage}.pt")


def test_a_killed_baseline_goes_on_as_if_it_had_not_been(toy_frames, runs, tmp_path):
    output = tmp_path / "run"
    killed(distilled(toy_frames, output, "--baseline"), "baseline", 3)
    assert not (output / "baseline.pt").exists()
    assert len(log_of(output, "baseline")) == 3
    assert main(resumed(output)) == 0
    assert losses(output, "baseline") == losses(runs / "both", "baseline")
    assert same_weights(output / "baseline.pt", runs / "both" / "baseline.pt")


def test_more_epochs_are_for_both(both, runs, tmp_path):
    assert main(resumed(both, "--optim.student-epochs", "4")) == 0
    student_alone = shutil.copytree(runs / "alone", tmp_path / "alone")
    assert main(resumed(student_alone, "--optim.student-epochs", "4")) == 0
    assert len(log_of(both)) == len(log_of(both, "baseline")) == 8
    assert losses(both, "baseline") == losses(student_alone, "student")
    assert same_weights(both / "baseline.pt", student_alone / "student.pt")
    assert checkpoint_of(both)["stage"] == "student"


def test_a_finished_run_can_be_given_a_baseline_and_lose_it(toy_frames, runs, tmp_path, capsys):
    output = tmp_path / "run"
    assert main(distilled(toy_frames, output)) == 0
    assert not (output / "baseline.pt").exists()
    assert main(resumed(output, "--baseline")) == 0
    assert "--baseline False -> True" in capsys.readouterr().err
    assert same_weights(output / "baseline.pt", runs / "both" / "baseline.pt")
    assert "difference" in json.loads((output / "metrics.json").read_text())
    assert main(resumed(output, "--no-baseline", "--stage", "evaluate")) == 0
    assert "difference" not in json.loads((output / "metrics.json").read_text())


def test_a_rate_that_changed_before_the_baseline_is_said(toy_frames, tmp_path, signal_at, capsys):
    output = tmp_path / "run"
    signal_at(2)
    assert main(distilled(toy_frames, output, "--baseline")) == 128 + signal.SIGTERM
    signal_at(None)
    assert main(resumed(output, "--optim.lr", "1e-3")) == 0
    said = capsys.readouterr().err
    assert "warning: --optim.lr changed while the student was trained; the baseline has" in said


# ---- refusals and defaults ----------------------------------------------------------------------


def test_a_student_alone_has_no_baseline(toy_frames, tmp_path, capsys):
    output = tmp_path / "run"
    line = refused(alone(toy_frames, output, "--baseline"), capsys, output)
    assert "--baseline: --method none is the student alone already; leave" in line


def test_a_baseline_that_has_begun_is_trained_as_the_student_was(both, capsys):
    (both / "baseline.pt").unlink()
    path = both / "baseline_checkpoint.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "finished_epochs": None}, path)
    line = refused(resumed(both, "--optim.lr", "1e-3"), capsys)
    assert "--optim.lr: the baseline is to be trained as the student was" in line
    assert main(resumed(both, "--optim.lr", "1e-3", "--no-baseline")) == 0


def test_more_epochs_without_the_baselines_checkpoint_are_refused(both, capsys):
    (both / "baseline_checkpoint.pt").unlink()
    line = refused(resumed(both, "--optim.student-epochs", "4"), capsys)
    assert "the baseline of" in line
    assert "no baseline_checkpoint.pt to go on from" in line


def test_it_is_the_default_of_the_tiny_pair_on_simulated_frames(tmp_path):
    arguments = ["--dataset", "waymo", "--device", "cpu", "--output", str(tmp_path / "run")]
    for more in ("--simulate", "--simulate --method kd", "--baseline"):
        assert parse([*arguments, *more.split()]).baseline, more
    others = ("--no-baseline", "--method none", "--model paper")
    for more in ("", *(f"--simulate {other}" for other in others)):
        assert not parse([*arguments, *more.split()]).baseline, more
