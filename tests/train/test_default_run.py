"""Runs that begin with the package's teacher: when they do, what they record, what is refused."""

import dataclasses
import json
import shutil

import pytest
import torch

from tests.train.toy_runs import kitti_metadata, log_of, refused, resumed
from tests.train.toys import build_toy
from train.config import RunConfig
from train.data.dataset_spec import dataset_spec
from train.data.semantickitti import CLASS_NAMES
from train.engine import pair
from train.engine.command_line import parse
from train.engine.run_data import open_data
from train.networks.pretrained import read_card, save_pretrained
from train.networks.weights import load_model
from train.run import main

METADATA = kitti_metadata(
    build_toy("wide", len(CLASS_NAMES), 4), trained_on=("00",), simulated_seed=0
)


def save(path, **changes):
    torch.manual_seed(5)
    metadata = dataclasses.replace(METADATA, **changes)
    model = build_toy("wide", metadata.num_classes, 4)
    made_by = {"command": "topodistill run --stage teacher", "commit": "abc"}
    save_pretrained(model, metadata, path, made_by=made_by, scores={"miou": 0.5})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A folder of simulated frames, found and not made again by the runs."""
    root = tmp_path_factory.mktemp("simulated") / "data"
    open_data(parse(simulated_flags(root, root.parent / "no-run")), dataset_spec("semantickitti"))
    return root


def simulated_flags(root, output, *more):
    return [
        *("--dataset", "semantickitti", "--simulate", "--model", "tiny", "--device", "cpu"),
        *("--data-root", str(root), "--output", str(output), "--data.grid-size-m", "0.2"),
        *("--data.simulated-frames", "2", "--data.simulated-validation-frames", "1"),
        *("--data.simulated-azimuth-steps", "40", "--no-baseline"),
        *("--teacher", "toy:wide", "--student", "toy:small", "--method", "kd"),
        *("--optim.teacher-epochs", "1", "--optim.student-epochs", "1"),
        *more,
    ]


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch, toys_registered):
    """Return the file of a teacher that comes with the package for toys on simulated frames."""
    path = tmp_path / "package" / "toy-teacher.safetensors"
    path.parent.mkdir()
    save(path)

    def find(dataset, network, *, simulated):
        known = (dataset, network, simulated) == ("semantickitti", "toy:wide", True)
        return path if known else None

    monkeypatch.setattr(pair, "pretrained_path", find)
    return path


def config_of(output):
    return json.loads((output / "config.json").read_text())


def test_a_run_begins_with_the_packages_teacher_and_says_so(simulated, package, tmp_path, capsys):
    output = tmp_path / "run"
    assert main(simulated_flags(simulated, output)) == 0
    said = capsys.readouterr().err
    assert (
        "teacher: the one that comes with the package, trained on 1 simulated sequences, mIoU 50.0 "
        "on others; --from-scratch trains one here" in said
    )
    assert log_of(output, "teacher") == []
    found, metadata = load_model(output / "teacher.pt")
    assert metadata == METADATA
    want = load_model(package)[0].state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in found.state_dict().items())
    origin = config_of(output)["teacher"]
    assert (origin["from"], origin["file"]) == ("the package", "toy-teacher.safetensors")
    assert origin["sha256"] == pair.sha256_of(package)
    assert origin["made_by"] == read_card(package).made_by
    assert json.loads((output / "metrics.json").read_text())["teacher"]["parameters"] > 0

    # From here on the run needs nothing of the package.
    package.unlink()
    assert main(resumed(output, "--optim.student-epochs", "2")) == 0
    assert config_of(output)["teacher"] == origin
    assert "comes with the package" not in capsys.readouterr().err


def test_a_stop_before_the_teacher_was_copied_costs_nothing(simulated, tmp_path):
    output = tmp_path / "run"
    assert main(simulated_flags(simulated, output)) == 0
    shutil.rmtree(output / "tensorboard")
    for name in ("teacher.pt", "student.pt", "checkpoint.pt", "log.jsonl", "metrics.json"):
        (output / name).unlink()
    assert main(resumed(output)) == 0
    assert load_model(output / "teacher.pt")[1] == METADATA


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--from-scratch", ""),
        ("--data.grid-size-m 0.3", "has voxels of 0.2 m in the box None, this run 0.3 m in None"),
        ("--stage teacher", ""),
        ("--teacher toy:small", ""),
    ],
)
def test_other_runs_train_their_teacher(simulated, tmp_path, capsys, more, said):
    output = tmp_path / "run"
    assert main(simulated_flags(simulated, output, *more.split())) == 0
    assert len(log_of(output, "teacher")) == 1
    assert config_of(output)["teacher"] == {"from": "this run"}
    printed = capsys.readouterr().err
    assert said in printed
    assert "--from-scratch" not in printed
    # Going on with all stages does not take another teacher than the one that was begun.
    (output / "teacher.pt").unlink()
    (output / "checkpoint.pt").unlink()
    assert main(resumed(output)) == 0
    assert len(log_of(output, "teacher")) == 1
    assert config_of(output)["teacher"] == {"from": "this run"}


def test_recorded_frames_have_no_teacher_in_the_package(toy_frames, tmp_path):
    output = tmp_path / "run"
    arguments = [word for word in simulated_flags(toy_frames, output) if word != "--simulate"]
    split = ("--data.train-sequences", "00", "--data.validation-sequences", "08")
    assert main([*arguments, *split]) == 0
    assert len(log_of(output, "teacher")) == 2


def test_a_file_that_cannot_serve_is_refused_with_a_way_out(simulated, package, tmp_path, capsys):
    output = tmp_path / "run"
    hint = "Install topodistill again, or add --from-scratch to train a teacher"

    def line():
        found = refused(simulated_flags(simulated, output), capsys, output)
        assert found.startswith("error: the teacher that comes with the package cannot be used: ")
        assert found.endswith(hint)
        return found

    whole = package.read_bytes()
    package.write_bytes(whole[:-50])
    assert "damaged" in line()
    package.unlink()
    assert "no such file" in line()
    save(package, num_classes=2, class_names=("a", "b"))
    assert "was trained on the 2 classes of semantickitti" in line()
    save(package, in_channels=5)
    assert "another architecture" in line()
    assert main(simulated_flags(simulated, output, "--from-scratch")) == 0


def test_from_scratch_and_a_given_teacher_exclude_each_other(simulated, package, tmp_path, capsys):
    output = tmp_path / "run"
    more = ("--from-scratch", "--teacher-checkpoint", str(package))
    assert "leave one out" in refused(simulated_flags(simulated, output, *more), capsys, output)


def test_weights_to_begin_with_are_trained_further(simulated, package, tmp_path):
    output = tmp_path / "run"
    assert main(simulated_flags(simulated, output, "--initial-teacher", str(package))) == 0
    assert len(log_of(output, "teacher")) == 1
    assert config_of(output)["teacher"] == {"from": "this run"}


def test_a_given_safetensors_teacher_serves_and_is_recorded(simulated, package, tmp_path):
    output = tmp_path / "run"
    command = simulated_flags(simulated, output, "--teacher-checkpoint", str(package))
    assert main(command) == 0
    origin = config_of(output)["teacher"]
    assert (origin["from"], origin["file"]) == ("--teacher-checkpoint", str(package))
    assert not (output / "teacher.pt").exists()


@pytest.mark.parametrize(("seed", "warned"), [(0, True), (1, False)])
def test_a_teacher_that_knows_the_validation_scenes_is_said(
    simulated, package, tmp_path, capsys, seed, warned
):
    save(package, trained_on=("08",), simulated_seed=seed)
    assert main(simulated_flags(simulated, tmp_path / "run")) == 0
    text = "warning: the teacher was trained on 1 of the 1 frames to evaluate on"
    assert (text in capsys.readouterr().err) == warned


def test_the_default_run_fits_the_packages_teacher_and_scores_several_scenes():
    from train.networks.pretrained import pretrained_path
    from train.simulation.waymo import _segments

    run: RunConfig = parse(["--dataset", "waymo", "--simulate", "--device", "cpu"])
    path = pretrained_path("waymo", "ptv3:tiny-teacher", simulated=True)
    metadata = read_card(path).metadata
    assert (run.data.grid_size_m, run.data.clip_range_m) == (
        metadata.grid_size_m,
        metadata.clip_range_m,
    )
    scenes = _segments(run.data.simulated_validation_frames, 1)
    assert len(scenes) >= 4
    assert not scenes.keys() & set(metadata.trained_on)
    assert run.baseline
