"""Runs that go on: stopped anywhere, with other rates, for more epochs; and scored on the way."""

import json
import os
import shutil
import signal
import subprocess

import numpy as np
import pytest
import torch

from tests.train.processes import run_processes, start_code, values_of
from tests.train.toy_runs import (
    checkpoint_of,
    flags,
    log_of,
    refused,
    resumed,
    write_frame,
    write_frames,
)
from tests.train.toys import TOY_NETWORK, registered
from train.config import DataConfig, RunConfig
from train.data.dataset_spec import dataset_spec
from train.engine.run_data import open_data
from train.networks.ptv3 import build_segmentor
from train.networks.registry import NETWORKS
from train.networks.weights import load_model
from train.run import main

pytestmark = pytest.mark.usefixtures("toys_registered")

ALONE = ("--student", "toy:small", "--method", "none")


def alone(frames, output, epochs, *more):
    """Return the command line of a toy that is trained without a teacher, two steps an epoch."""
    return flags(frames, output, *ALONE, "--optim.student-epochs", str(epochs), *more)


def weights_of(path):
    return load_model(path)[0].state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def config_of(output):
    return json.loads((output / "config.json").read_text())


def totals(output):
    return [(record["step"], record["total"]) for record in log_of(output)]


# ---- more epochs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(toy_frames, tmp_path_factory):
    """A run of two epochs, copied by the tests that go on with it."""
    output = tmp_path_factory.mktemp("finished") / "run"
    with registered():
        assert main(alone(toy_frames, output, 2)) == 0
    return output


@pytest.fixture
def run_again(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_a_finished_student_goes_on_to_more_epochs(finished, run_again, capsys):
    assert main(resumed(run_again, "--optim.student-epochs", "4")) == 0
    assert totals(run_again)[:4] == totals(finished)
    assert [step for step, _ in totals(run_again)] == list(range(1, 9))
    said = capsys.readouterr().err
    assert "changed from step 5 on: --optim.student-epochs 2 -> 4" in said
    assert "nothing is left to train" not in said
    config = config_of(run_again)
    assert config["config"]["optim"]["student_epochs"] == 4
    (change,) = config["changes"]
    assert change["field"] == "optim.student_epochs"
    assert (change["before"], change["after"], change["step"]) == (2, 4, 4)
    assert not same(weights_of(run_again / "student.pt"), weights_of(finished / "student.pt"))
    assert same(weights_of(run_again / "student.pt"), checkpoint_of(run_again)["network"])
    # Rates are those of the longer schedule: what was the end is not any more.
    assert log_of(run_again)[4]["lr"] > log_of(finished)[3]["lr"]
    # Done is done.
    before = (run_again / "checkpoint.pt").read_bytes()
    assert main(resumed(run_again)) == 0
    assert "nothing is left to train; scoring again\n" in capsys.readouterr().err
    assert (run_again / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("stopped_after", [5, 6, 8])
def test_more_epochs_that_are_stopped_are_not_forgotten(
    finished, run_again, signal_at, stopped_after
):
    whole = shutil.copytree(finished, run_again.parent / "whole")
    assert main(resumed(whole, "--optim.student-epochs", "4")) == 0
    signal_at(stopped_after)
    assert main(resumed(run_again, "--optim.student-epochs", "4")) == 128 + signal.SIGTERM
    signal_at(None)
    assert main(resumed(run_again)) == 0
    assert totals(run_again) == totals(whole)
    assert same(weights_of(run_again / "student.pt"), weights_of(whole / "student.pt"))


def test_fewer_epochs_than_are_done_are_refused(run_again, capsys):
    before = (run_again / "config.json").read_bytes()
    line = refused(resumed(run_again, "--optim.student-epochs", "1"), capsys)
    assert "4 steps of the student are done" in line
    assert "--optim.student-epochs 1" in line
    assert "ends at step 2" in line
    assert (run_again / "config.json").read_bytes() == before


def test_more_epochs_without_a_checkpoint_are_refused(run_again, capsys):
    (run_again / "checkpoint.pt").unlink()
    line = refused(resumed(run_again, "--optim.student-epochs", "4"), capsys)
    assert "no checkpoint.pt to go on from" in line
    assert main(resumed(run_again, "--stage", "evaluate")) == 0


def test_a_finished_teacher_does_not_go_on(toy_frames, tmp_path, capsys):
    output = tmp_path / "run"
    assert main(flags(toy_frames, output, "--teacher", "toy:wide", "--stage", "teacher")) == 0
    line = refused(resumed(output, "--optim.teacher-epochs", "3"), capsys)
    assert "--optim.teacher-epochs 3: the teacher of" in line
    assert "finished after 1 epochs" in line
    assert config_of(output)["config"]["optim"]["teacher_epochs"] == 1


def extend(frames, output):
    """What each of two processes does: two epochs, then one more."""
    NETWORKS.update(TOY_NETWORK)
    codes = [main(alone(frames, output, 2)), main(resumed(output, "--optim.student-epochs", "3"))]
    return codes, same(weights_of(output / "student.pt"), checkpoint_of(output)["network"])


def test_all_processes_go_on_to_more_epochs(toy_frames, tmp_path):
    output = tmp_path / "run"
    assert (
        values_of(run_processes(2, extend, toy_frames, output, join=False)) == [([0, 0], True)] * 2
    )
    assert [step for step, _ in totals(output)] == list(range(1, 7))


# ---- what may change and what not ---------------------------------------------------------------


def test_a_run_goes_on_with_another_rate(toy_frames, tmp_path, signal_at, capsys):
    output = tmp_path / "run"
    signal_at(3)
    assert main(alone(toy_frames, output, 3)) == 128 + signal.SIGTERM
    signal_at(None)
    usual = shutil.copytree(output, tmp_path / "usual")
    assert main(resumed(usual)) == 0
    capsys.readouterr()
    assert main(resumed(output, "--optim.lr", "2e-4", "--optim.weight-decay", "0")) == 0
    said = capsys.readouterr().err
    assert "changed from step 4 on: --optim.lr 0.002 -> 0.0002" in said
    assert "changed from step 4 on: --optim.weight-decay 0.005 -> 0.0" in said
    rates, usual_rates = ([r["lr"] for r in log_of(each)] for each in (output, usual))
    assert rates[:3] == usual_rates[:3]
    assert rates[3:] == pytest.approx([rate / 10 for rate in usual_rates[3:]])
    changes = config_of(output)["changes"]
    assert {c["field"]: (c["before"], c["after"], c["step"]) for c in changes} == {
        "optim.lr": (2e-3, 2e-4, 3),
        "optim.weight_decay": (5e-3, 0.0, 3),
    }
    assert "changes" not in config_of(usual) or config_of(usual)["changes"] == []
    # A second change is recorded after the first.
    assert main(resumed(output, "--optim.accumulate", "2")) == 0
    assert [c["field"] for c in config_of(output)["changes"]][2:] == ["optim.accumulate"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--seed 3", "--seed 0, now 3"),
        ("--data.batch-size 1", "--data.batch-size 2, now 1"),
        ("--student toy:wide", "--student toy:small, now toy:wide"),
        ("--method.segmentation ce+lovasz", "--method.segmentation ce, now ce+lovasz"),
        ("--no-data.augment", "Unrecognized options"),
        ("--data.no-augment", "--data.augment True, now False"),
        ("--method kd", "--method none, now kd"),
        ("--model paper", "--model tiny, now paper"),
    ],
)
def test_what_a_run_is_does_not_change(run_again, capsys, more, said):
    before = (run_again / "config.json").read_bytes()
    line = refused(resumed(run_again, *more.split()), capsys)
    assert said in line
    assert ("give a new --output" in line) is (said != "Unrecognized options")
    assert (run_again / "config.json").read_bytes() == before


def test_a_run_of_another_version_is_named(run_again, capsys):
    config = config_of(run_again)
    config["config"]["loss"] = {"topology": 8.0}
    (run_again / "config.json").write_text(json.dumps(config))
    assert "started by another version (option loss is unknown" in refused(
        resumed(run_again), capsys
    )


# ---- scores during training ---------------------------------------------------------------------


def test_the_best_network_is_kept_beside_the_last(toy_frames, tmp_path):
    output = tmp_path / "run"
    assert main(alone(toy_frames, output, 4, "--evaluate-every", "1", "--optim.lr", "0.03")) == 0
    records = log_of(output, "student validation")
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    scores = [record["validation_miou"] for record in records]
    assert len(set(scores)) > 1
    assert checkpoint_of(output)["best"] == max(scores)
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["student"]["miou"] == pytest.approx(scores[-1])
    assert metrics["seconds"]["student validation"] > 0
    shutil.copy(output / "student_best.pt", output / "student.pt")
    assert main(resumed(output, "--stage", "evaluate")) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["student"]["miou"] == pytest.approx(max(scores))


def test_every_other_epoch_and_the_last_are_scored(toy_frames, tmp_path):
    output = tmp_path / "run"
    assert main(alone(toy_frames, output, 5, "--evaluate-every", "2")) == 0
    assert [record["step"] for record in log_of(output, "student validation")] == [2, 4, 5]


def test_a_stop_at_the_end_of_an_epoch_leaves_out_no_score(toy_frames, tmp_path, signal_at):
    more = ("--evaluate-every", "1", "--optim.lr", "0.03")
    whole, output = tmp_path / "whole", tmp_path / "run"
    assert main(alone(toy_frames, whole, 2, *more)) == 0
    for step in (2, 4):
        signal_at(step)
        command = alone(toy_frames, output, 2, *more) if step == 2 else resumed(output)
        assert main(command) == 128 + signal.SIGTERM
    assert not (output / "student.pt").exists()
    assert (checkpoint_of(output)["step"], checkpoint_of(output)["finished_epochs"]) == (4, None)
    signal_at(None)
    assert main(resumed(output)) == 0
    assert totals(output) == totals(whole)
    for folder in (output, whole):
        records = log_of(folder, "student validation")
        assert [record["step"] for record in records] == [1, 2]
    names = ("student.pt", "student_best.pt")
    assert all(same(weights_of(output / name), weights_of(whole / name)) for name in names)


def test_scoring_changes_nothing_of_what_is_trained(toy_frames, tmp_path):
    """A PTv3, whose drop path draws random numbers."""
    trained = []
    for every in ("0", "1"):
        output = tmp_path / every
        more = ("--method", "none", "--data.batch-size", "4", "--optim.student-epochs", "2")
        assert main(flags(toy_frames, output, *more, "--evaluate-every", every)) == 0
        trained.append(weights_of(output / "student.pt"))
    assert same(*trained)


# ---- labels, seeds, threads ---------------------------------------------------------------------


def test_steps_without_a_label_are_said_once_and_recorded(tmp_path, capsys):
    root, output = tmp_path / "data", tmp_path / "run"
    write_frames(root)
    for number in (1, 2):
        write_frame(root, "00", number, np.random.default_rng(number), labeled=False)
    assert main(alone(root, output, 1, "--data.batch-size", "1")) == 0
    unlabeled = [record for record in log_of(output) if record.get("unlabeled")]
    assert sorted(record["frames"] for record in unlabeled) == [["00/000001"], ["00/000002"]]
    assert all(record["segmentation"] == 0.0 for record in unlabeled)
    assert len(log_of(output)) == 4
    said = capsys.readouterr().err
    first = unlabeled[0]
    assert said.count("no voxel of the step has a label") == 1
    assert f"step {first['step']}: no voxel of the step has a label ({first['frames'][0]})" in said
    assert "student training: 2 steps had no labeled voxel" in said


def test_simulated_scenes_have_a_seed_of_their_own(tmp_path):
    def points(seed, simulated_seed):
        root = tmp_path / f"{seed}-{simulated_seed}"
        data = DataConfig(
            simulated_frames=1,
            simulated_validation_frames=1,
            simulated_azimuth_steps=16,
            simulated_seed=simulated_seed,
        )
        config = RunConfig(
            dataset="semantickitti", data_root=root, simulate=True, seed=seed, data=data
        )
        found = open_data(config, dataset_spec("semantickitti"))
        return [found.training[0].coord, found.validation[0].coord]

    usual, other_run, other_scene = points(0, 0), points(1, 0), points(0, 1)
    for one, same_scene, another in zip(usual, other_run, other_scene, strict=True):
        assert np.array_equal(one, same_scene)
        assert not np.array_equal(one, another)


@pytest.mark.slow
def test_equal_runs_on_two_threads_give_equal_weights(toy_frames, tmp_path):
    more = (*("--teacher", "toy:wide", "--method.saliency-stages", "last"),
            *("--method.num-samples", "64"))  # fmt: skip
    outputs = [tmp_path / str(number) for number in range(3)]
    code = f"""
import sys, torch
from tests.compile_once import share_compilation
from train.networks.registry import NETWORKS
from train.run import main
share_compilation()
NETWORKS.update({TOY_NETWORK!r})
assert torch.get_num_threads() == 2
sys.exit(sum(map(main, {[flags(toy_frames, output, *more) for output in outputs]!r})))
"""
    # Threads that wait must sleep: where other work has the cores they would wait for each other.
    environment = {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    process = start_code(code, env={**os.environ, **environment}, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    first, second, third = (weights_of(output / "student.pt") for output in outputs)
    assert same(first, second)
    assert same(first, third)
    torch.manual_seed(1)  # of the untrained student
    assert not same(first, build_segmentor("tiny-student", 19).state_dict())
