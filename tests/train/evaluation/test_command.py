"""The evaluate command: a checkpoint on data of its dataset, and nothing of its run touched."""

import contextlib
import dataclasses
import io
import json
import os
import sys

import pytest
import torch

from tests.train.processes import run_processes, values_of
from train.core.device import resolve_device
from train.core.errors import UserError
from train.data.dataset_spec import simulated_seed
from train.data.loader import EvaluationFrames
from train.data.semantickitti import CLASS_NAMES, SPEC
from train.evaluation import command
from train.evaluation.command import main, table
from train.evaluation.evaluate import evaluate
from train.evaluation.training_overlap import count_trained, training_sequences
from train.networks.ptv3 import build_segmentor
from train.networks.weights import ModelMetadata, save_model
from train.simulation.semantickitti import simulate_semantickitti

GRID_SIZE_M = 0.4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Simulated frames: two to train on (sequence 00), one to validate on (08)."""
    folder = tmp_path_factory.mktemp("data") / "semantickitti"
    simulate_semantickitti(folder, num_frames=2, num_validation_frames=1, azimuth_steps=60)
    return folder


CARD = ModelMetadata(
    size="tiny-student",
    num_classes=19,
    in_channels=4,
    overrides={},
    dataset="semantickitti",
    class_names=CLASS_NAMES,
    grid_size_m=GRID_SIZE_M,
    clip_range_m=(-20.0, -20.0, -4.0, 20.0, 20.0, 4.0),
)


@pytest.fixture
def run(tmp_path):
    """A run's folder with a checkpoint whose batch statistics have seen something."""
    folder = tmp_path / "run"
    folder.mkdir()
    torch.manual_seed(3)
    save_model(build_segmentor("tiny-student", 19, in_channels=4), CARD, folder / "student.pt")
    for name in ("config.json", "metrics.json", "log.jsonl"):
        (folder / name).write_text("the run's own")
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def evaluated(run, root, *more):
    return main(
        [
            *("--checkpoint", str(run / "student.pt"), "--data-root", str(root)),
            *("--device", "cpu", "--num-workers", "0", *more),
        ]
    )


def test_the_scores_are_those_of_the_functions_and_the_run_is_untouched(
    run, root, tmp_path, capsys
):
    before = content(run)
    output = tmp_path / "scores.json"
    assert evaluated(run, root, "--sequences", "00", "08", "--tta", "--output", str(output)) == 0
    assert content(run) == before
    found = json.loads(output.read_text())

    model = build_segmentor("tiny-student", 19, in_channels=4)
    model.load_state_dict(torch.load(run / "student.pt", weights_only=True)["state_dict"])
    source = SPEC.open(root, sequences=("00", "08"))
    frames = EvaluationFrames(source, GRID_SIZE_M, clip_range_m=CARD.clip_range_m)
    scored = (model, frames, CLASS_NAMES, SPEC.benchmark_rule, resolve_device("cpu"))
    want = evaluate(*scored, title="wanted")
    want_tta = evaluate(*scored, title="wanted", augmentation="rotations")
    assert found["iou"] == want["iou"]
    assert found["miou"] == want["miou"]
    assert found["benchmark_miou"] == want["benchmark_miou"]
    assert found["tta"]["miou"] == want_tta["miou"]
    assert found["tta"]["passes"] == 4
    assert (found["frames"], found["scored"]) == (3, "sequences 00, 08")
    assert (found["dataset"], found["size"]) == ("semantickitti", "tiny-student")
    assert found["parameters"] == sum(p.numel() for p in model.parameters())

    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"3 frames, {want['labeled_points']:,} labeled points; percent"
    assert printed[1].split() == ["class", "single", "pass", "rotations"]
    last = {line.split("  ")[0]: line.split()[-2:] for line in printed[2:]}
    assert last["mIoU"] == [f"{100 * want['miou']:.2f}", f"{100 * want_tta['miou']:.2f}"]
    assert list(last) == [*CLASS_NAMES, "mIoU", "mIoU of the benchmark", "accuracy"]


def test_without_more_it_scores_the_validation_split_and_writes_nothing(
    run, root, tmp_path, capsys
):
    # Only sequence 08 is in the official validation split.
    assert evaluated(run, root, "--precision", "bf16", "--dataset", "semantickitti") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("1 frames, ")
    assert "1 frames of semantickitti, validation split" in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize(("sequences", "count"), [(("00", "08"), 2), (("08",), 0)])
def test_training_frames_among_the_scored_are_warned_of(
    sequences, count, run, root, tmp_path, capsys, monkeypatch
):
    load = command.load_model

    @dataclasses.dataclass(frozen=True)
    class Known:
        card: ModelMetadata
        trained_on: tuple = ("00",)

        def __getattr__(self, name):
            return getattr(self.card, name)

    def load_known(path):
        model, card = load(path)
        return model, Known(card)

    monkeypatch.setattr(command, "load_model", load_known)
    output = tmp_path / "scores.json"
    assert evaluated(run, root, "--sequences", *sequences, "--output", str(output)) == 0
    said = capsys.readouterr().err
    warned = f"warning: the network was trained on {count} of the {len(sequences) + 1} frames"
    assert (warned in said) == bool(count)
    assert json.loads(output.read_text())["training_frames_scored"] == count


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on(run, root, tmp_path, capsys):
    output = tmp_path / "scores.json"
    if getattr(CARD, "trained_on", ()):
        pytest.fail("this test's card must not say it")
    assert evaluated(run, root, "--output", str(output)) == 0
    assert "does not say what it was trained on" in capsys.readouterr().err
    assert json.loads(output.read_text())["training_frames_scored"] is None


def test_sequences_of_frames():
    names = ["00/000001", "00/000002", "01/000001", "token"]
    assert training_sequences(names) == ("00", "01", "token")
    assert count_trained(names, ("00", "token")) == 3
    assert count_trained(names, ()) == 0


@pytest.mark.parametrize(
    ("trained_seed", "seed", "count"),
    [
        (None, None, 1),
        (None, 0, 1),  # a checkpoint of an earlier version did not say what its scenes were
        (0, 0, 1),
        (0, 1, 0),
        (0, None, 0),
    ],
)
def test_scenes_of_equal_names_and_other_seeds_are_others(trained_seed, seed, count):
    found = count_trained(["00/000001"], ("00",), trained_seed=trained_seed, seed=seed)
    assert found == count


@pytest.mark.parametrize(("seed", "warned"), [(0, True), (1, False)])
def test_a_network_of_other_scenes_is_not_said_to_know_these(run, root, capsys, seed, warned):
    card = dataclasses.replace(CARD, trained_on=("00",), simulated_seed=seed)
    save_model(build_segmentor("tiny-student", 19, in_channels=4), card, run / "student.pt")
    assert evaluated(run, root, "--sequences", "00") == 0
    said = "the network was trained on 2 of the 2 frames"
    assert (said in capsys.readouterr().err) == warned


def test_the_seed_of_simulated_scenes_is_read_from_their_record(root, tmp_path):
    assert simulated_seed(root) == 0
    assert simulated_seed(tmp_path) is None
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(UserError, match=r"simulation\.json: cannot be read .* simulate again"):
        simulated_seed(tmp_path)


def refused(capsys, run, root, *more):
    assert evaluated(run, root, *more) == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return line


def test_refusals_before_anything_is_scored(run, root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "evaluate", None)  # must not be reached
    before = content(run)
    (tmp_path / "old.json").touch()
    cases = [
        (f"--output {run}/metrics.json --overwrite", "is a file of the training run"),
        (f"--output {tmp_path}/old.json", "exists; choose another name, or give --overwrite"),
        (f"--output {tmp_path}/scores.txt", "end the name in .json"),
        (f"--output {tmp_path}/none/scores.json", "there is no folder"),
        ("--dataset waymo", "student.pt was trained on semantickitti"),
        ("--num-workers -1", "num-workers is -1"),
        ("--split training --sequences 00", "exclude each other"),
        ("--sequences 77", "77"),
        ("--dataset kitty", "'kitty'"),
    ]
    if sys.platform.startswith("linux"):  # a folder that root cannot write to either
        cases.append(("--output /sys/scores.json", "--output /sys: cannot be written to ("))
    for more, expected in cases:
        assert expected in refused(capsys, run, root, *more.split())
    assert "no such folder" in refused(capsys, run, tmp_path / "gone")
    assert content(run) == before


def test_checkpoints_that_do_not_fit(run, root, tmp_path, capsys):
    def saved(**changes):
        card = dataclasses.replace(CARD, **changes)
        size = build_segmentor("tiny-student", card.num_classes, in_channels=card.in_channels)
        save_model(size, card, run / "student.pt")
        return run

    names = ("other", *CLASS_NAMES[1:])
    assert "are not the 19 of" in refused(capsys, saved(class_names=names), root)
    assert "takes 3 input channels" in refused(capsys, saved(in_channels=3), root)
    (run / "student.pt").write_bytes(b"damaged")
    assert "not readable" in refused(capsys, run, root)
    (run / "student.pt").unlink()
    assert "no such file" in refused(capsys, run, root)


def test_a_frame_that_cannot_be_read(run, root, tmp_path, capsys):
    damaged = tmp_path / "damaged"
    simulate_semantickitti(damaged, num_frames=2, num_validation_frames=1, azimuth_steps=60)
    path = damaged / "sequences/00/velodyne/000001.bin"
    path.write_bytes(path.read_bytes()[:-3])
    assert "000001.bin" in refused(capsys, run, damaged, "--sequences", "00")
    output = tmp_path / "scores.json"
    skip = ("--sequences", "00", "--on-bad-frame", "skip", "--output", str(output))
    assert evaluated(run, damaged, *skip) == 0
    assert "frames that could not be read: 1" in capsys.readouterr().err
    found = json.loads(output.read_text())
    assert list(found["skipped_frames"]) == ["00/000001"]
    assert found["frames"] == 1


def test_a_full_disk_is_one_line(run, root, tmp_path, capsys, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert evaluated(run, root, "--output", str(tmp_path / "scores.json")) == 2
    captured = capsys.readouterr()
    assert "scores.json: cannot be written (No space left on device)" in captured.err
    assert captured.out.startswith("1 frames")  # the scores are not lost
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def evaluate_to(run, root, output):
    """What one of several processes does; returns its exit code and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = evaluated(run, root, "--sequences", "00", "08", "--output", str(output))
    return code, printed.getvalue()


def test_processes_score_together_and_the_first_one_prints_and_writes(run, root, tmp_path):
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    assert evaluate_to(run, root, alone)[0] == 0
    (code, printed), (other_code, other_printed) = values_of(
        run_processes(2, evaluate_to, run, root, together, join=False)
    )
    assert (code, other_code, other_printed) == (0, 0, "")
    assert printed.startswith("3 frames, ")
    both = [json.loads(path.read_text()) for path in (alone, together)]
    assert both[0]["iou"] == both[1]["iou"]
    assert both[0]["points"] == both[1]["points"]


def test_the_table_of_a_class_nobody_named():
    scores = {"frames": 1, "labeled_points": 1000, "iou": {"car": 0.5, "truck": None}}
    scores |= {"miou": 0.5, "benchmark_miou": 0.25, "accuracy": None}
    assert table(scores).splitlines() == [
        "1 frames, 1,000 labeled points; percent",
        "class                  single pass",
        "car                          50.00",
        "truck                            -",
        "mIoU                         50.00",
        "mIoU of the benchmark        25.00",
        "accuracy                         -",
    ]
