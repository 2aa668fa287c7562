"""Networks and methods of others: what is registered in the tables runs, is saved and goes on.

A second network and a method with a trainable part take every way that the built-in ones take, from
the command line to the files; what does not fit is refused in one line.
"""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
import torch

from tests.train.toy_runs import (
    checkpoint_of,
    flags,
    killed,
    kitti_metadata,
    log_of,
    refused,
    resumed,
)
from tests.train.toys import build_toy
from train.config import DataConfig, OptimConfig, RunConfig
from train.data.semantickitti import CLASS_NAMES
from train.engine.command_line import TOPICS
from train.methods.registry import METHODS
from train.methods.topology_gradient import TopologyGradientConfig
from train.networks.ptv3 import build_segmentor
from train.networks.weights import load_model, save_model
from train.run import main

pytestmark = pytest.mark.usefixtures("toys_registered")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Files of a PTv3 and of a toy, untrained."""
    folder = tmp_path_factory.mktemp("teachers")
    torch.manual_seed(5)
    ptv3 = build_segmentor("tiny-teacher", len(CLASS_NAMES))
    toy = build_toy("wide", len(CLASS_NAMES), 4)
    paths = {"ptv3": folder / "ptv3.pt", "toy": folder / "toy.pt"}
    save_model(ptv3, kitti_metadata(ptv3), paths["ptv3"])
    save_model(toy, kitti_metadata(toy), paths["toy"])
    return paths


def student_only(toy_frames, teacher, output, *more):
    return flags(
        toy_frames, output, "--stage", "student", "--teacher-checkpoint", str(teacher), *more
    )


# ---- whole runs ---------------------------------------------------------------------------------


def test_a_toy_learns_by_hints_from_a_ptv3(toy_frames, tmp_path):
    output = tmp_path / "run"
    arguments = ("--student", "toy:small", "--method", "hint", "--method.hint-weight", "2")
    assert main(flags(toy_frames, output, *arguments)) == 0
    model, card = load_model(output / "student.pt")
    assert (type(model).__name__, card.network, card.size) == ("Toy", "toy", "small")
    assert load_model(output / "teacher.pt")[1].network == "ptv3"
    for step in log_of(output):
        assert step["total"] == pytest.approx(step["segmentation"] + 2 * step["hint"])
    assert len(log_of(output, "teacher")) == len(log_of(output)) == 2
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["student"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert json.loads((output / "config.json").read_text())["config"]["options"] == {
        "segmentation": "ce",
        "hint_weight": 2.0,
    }


def test_a_ptv3_learns_from_a_toy(toy_frames, tmp_path):
    output = tmp_path / "run"
    assert main(flags(toy_frames, output, "--teacher", "toy:wide", "--method", "hint")) == 0
    assert load_model(output / "teacher.pt")[1].network == "toy"
    assert load_model(output / "student.pt")[1].network == "ptv3"
    assert checkpoint_of(output)["method"]["adapter.weight"].shape == (10, 32)


def test_without_a_teacher_there_is_none(toy_frames, tmp_path):
    output = tmp_path / "run"
    assert main(flags(toy_frames, output, "--student", "toy:small", "--method", "none")) == 0
    assert not (output / "teacher.pt").exists()
    assert log_of(output, "teacher") == []
    for step in log_of(output):
        assert step["total"] == step["segmentation"]
    metrics = json.loads((output / "metrics.json").read_text())
    assert "teacher" not in metrics
    assert metrics["student"]["frames"] == 1


@pytest.mark.parametrize(("kind", "size"), [("ptv3", "tiny-student"), ("toy", "small")])
def test_softened_logits_between_any_two(toy_frames, teachers, tmp_path, kind, size):
    output = tmp_path / "run"
    options = ("--student", f"{kind}:{size}", "--method", "kd", "--method.temperature", "2")
    assert main(student_only(toy_frames, teachers["ptv3"], output, *options)) == 0
    for step in log_of(output):
        assert step["distillation"] > 0
        assert step["total"] == pytest.approx(step["segmentation"] + step["distillation"])


# ---- the trainable part of a method -------------------------------------------------------------


def test_an_adapter_is_trained_and_goes_on_and_is_not_deployed(toy_frames, teachers, tmp_path):
    more = ("--student", "toy:small", "--teacher", "toy:wide", "--method", "hint")
    more += ("--optim.student-epochs", "4")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(student_only(toy_frames, teachers["toy"], whole, *more)) == 0
    killed(student_only(toy_frames, teachers["toy"], stopped, *more), "student", 5)
    before = checkpoint_of(stopped)
    assert (before["step"], len(log_of(stopped))) == (4, 5)
    # Only where the run is has to be said.
    assert main(resumed(stopped)) == 0
    after, want = checkpoint_of(stopped), checkpoint_of(whole)
    assert after["step"] == want["step"] == 8
    assert set(after["method"]) == {"adapter.weight", "adapter.bias"}
    for name in after["method"]:
        assert torch.equal(after["method"][name], want["method"][name])
        assert not torch.equal(after["method"][name], before["method"][name])
    for name, tensor in want["network"].items():
        assert torch.equal(after["network"][name], tensor), name
    deployed, _ = load_model(stopped / "student.pt")
    assert all(torch.equal(t, want["network"][n]) for n, t in deployed.state_dict().items())
    assert not any("adapter" in name for name in deployed.state_dict())
    steps = [record["total"] for record in log_of(whole)]
    assert [record["total"] for record in log_of(stopped)] == steps


# ---- networks of different geometry -------------------------------------------------------------


def test_the_papers_method_between_different_geometries_compares_the_last_stage(
    toy_frames, teachers, tmp_path, capsys
):
    output = tmp_path / "run"
    command = student_only(toy_frames, teachers["ptv3"], output, "--student", "toy:small")
    line = refused([*command, "--method.saliency-stages", "encoder"], capsys, output)
    assert "--method.saliency-stages encoder: Toy has enc1, top, its teacher" in line
    assert "choose last" in line

    # A stage of one name that is not the same voxels shows at the first batch.
    line = refused([*command, "--method.saliency-stages", "enc1"], capsys)
    assert re.search(r"stage enc1 has \d+ rows in the student and \d+ in the teacher", line)
    assert not (output / "student.pt").exists()

    steps = {}
    for stages in ("decoder", "last"):
        output = tmp_path / stages
        command = student_only(toy_frames, teachers["ptv3"], output, "--student", "toy:small")
        assert main([*command, "--method.saliency-stages", stages]) == 0
        assert "saliency compares top with dec0 (6 of 32 channels)" in capsys.readouterr().err
        steps[stages] = [
            [step[name] for name in ("topology", "saliency", "distillation")]
            for step in log_of(output)
        ]
        assert min(min(step) for step in steps[stages]) > 0
    assert steps["decoder"] == steps["last"]


# ---- the command line ---------------------------------------------------------------------------


def test_options_of_another_method_and_unknown_names_are_refused(toy_frames, tmp_path, capsys):
    output = tmp_path / "run"
    for arguments, expected in (
        ("--method.hints 1", "--method.hints"),
        ("--method kd --method.topology 4", "of --method topology-gradient, not of kd"),
        ("--method.hint-weight 1", "is an option of --method hint, not of topology-gradient"),
        ("--method hint --method.kd-ignore", "rkd and affinity and feature and topkd, not of hint"),
        ("--method hint --method.hint-weight -1", "--method.hint-weight is -1"),
        ("--method fitnets", f"unknown method; known: {', '.join(sorted(METHODS))}, or FILE.py:C"),
        ("--method gone.py:Hint", "--method gone.py:Hint: there is no file gone.py"),
        ("--method gone.py", "--method gone.py: say which class, FILE.py:CLASS"),
        ("--dataset gone.py:SPEC", "--dataset gone.py:SPEC: there is no file gone.py"),
        ("--student lenet:small", "unknown network 'lenet'; known: litept, ptv3, toy, or FILE.py"),
        ("--student toy", "say which size, NETWORK:SIZE"),
        ("--student toy:", "say which size, NETWORK:SIZE"),
        ("--student toy:huge", "--student toy:huge: Toy: no size 'huge'"),
        ("--teacher toy:wide --method hint --teacher-checkpoint gone.pt", "no such file"),
        ("--method none --teacher-checkpoint gone.pt", "--method none has no teacher"),
    ):
        assert expected in refused(flags(toy_frames, output, *arguments.split()), capsys, output)


def page(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def options_on(text):
    """Each option stands at the start of a line of its own."""
    return set(re.findall(r"^\W*(--[a-z][\w.-]*)", text, flags=re.MULTILINE))


def test_help_shows_a_methods_options_where_it_is_chosen(capsys):
    assert "--method.hint-weight" not in page(["--help"], capsys)
    text = page(["--method", "hint", "--help"], capsys)
    assert {"--method.hint-weight", "--method.segmentation"} <= options_on(text)
    assert "--method.topology" not in text


def test_each_page_of_help_is_short_and_together_they_have_every_option(capsys):
    pages = {topic: page(["--help", topic], capsys) for topic in TOPICS} | {
        "": page(["--help"], capsys)
    }
    found = {topic: options_on(text) for topic, text in pages.items()}
    for topic, options in found.items():
        assert 1 < len(options) < 40, topic
    for one, other in itertools.combinations(found, 2):
        assert not (found[one] & found[other]), (one, other)
    want = set()
    for config, prefix in (
        (RunConfig, ""),
        (DataConfig, "data."),
        (OptimConfig, "optim."),
        (TopologyGradientConfig, "method."),
    ):
        names = {field.name for field in dataclasses.fields(config)} - {"data", "optim", "options"}
        want |= {f"--{prefix}{name}".replace("_", "-") for name in names}
    assert set().union(*found.values()) == want
    for topic in TOPICS:
        assert f"--help {topic}" in " ".join(pages[""].split())


# ---- Table 10's switches ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_step(toy_frames, teachers, tmp_path_factory):
    """Return a function from switches to the record of a student's first step."""

    def run(*switches):
        output = tmp_path_factory.mktemp("switches") / "run"
        more = ("--method.num-samples", "64", "--data.batch-size", "4", *switches)
        assert main(student_only(toy_frames, teachers["ptv3"], output, *more)) == 0
        return log_of(output)[0]

    return run


@pytest.fixture(scope="module")
def usual_step(first_step):
    return first_step()


@pytest.mark.parametrize(
    ("switches", "changed"),
    [
        (
            "--method.topology-stage enc4 --method.saliency-stages encoder --method.kd-ignore",
            {"topology", "saliency", "distillation"},
        ),
        ("--method.dim-weights 1 0", {"topology"}),
        ("--method.precision-weight persistence", {"topology"}),
    ],
)
def test_a_switch_changes_its_term_and_no_other(first_step, usual_step, switches, changed):
    step = first_step(*switches.split())
    terms = {"segmentation", "topology", "saliency", "distillation"}
    assert {name for name in terms if step[name] != usual_step[name]} == changed
    assert all(np.isfinite(step[name]) for name in terms)
    assert step["total"] != usual_step["total"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "bogus"], "--model bogus: choose auto, paper or tiny"),
        (["--help", "bogus"], "--help bogus: no such topic; choose data, optim"),
    ],
)
def test_an_unknown_pair_or_topic_is_one_line(arguments, message, capsys):
    assert main(["--dataset", "waymo", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
