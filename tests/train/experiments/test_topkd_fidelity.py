"""TopKD's fidelity on a run: what it measures, and what it refuses."""

import dataclasses
import json

import pytest
import torch
from torch.nn.functional import mse_loss

from tests.train.toy_runs import flags
from train import topkd_fidelity
from train.experiments.topkd_fidelity import CLOUDS_PER_SWEEP, own_other_images, predictors
from train.methods.topkd.artifacts import (
    ImageMaker,
    Targets,
    load_maker,
    save_maker,
    save_targets,
)
from train.methods.topkd.oracle import fit_distance_regression
from train.methods.topkd.targets import exact_images
from train.run import main

SMALL = [
    *("--method", "topkd", "--method.num-points", "16", "--method.num-clouds", "24"),
    *("--method.clouds-per-frame", "8", "--method.fit-epochs", "2"),
]


@pytest.fixture(scope="module")
def finished(toy_sweeps, tmp_path_factory):
    """Return a function: the folder of a finished run with a student."""
    from tests.train.toys import TOY_NETWORK
    from train.networks.registry import NETWORKS

    folders = {}

    def run(student):
        if student not in folders:
            output = tmp_path_factory.mktemp("runs") / "topkd"
            networks = ["--teacher", "toy:wide", "--student", student]
            assert main(flags(toy_sweeps, output, *networks, *SMALL)) == 0
            folders[student] = output
        return folders[student]

    before = dict(NETWORKS)
    NETWORKS.update(TOY_NETWORK)
    yield run
    NETWORKS.clear()
    NETWORKS.update(before)


def refusal(words, capsys):
    assert topkd_fidelity.main([*words, "--device", "cpu"]) == 2
    (line,) = (each for each in capsys.readouterr().err.splitlines() if each.startswith("error:"))
    return line


def test_it_says_how_far_ripsnet_and_the_student_are_from_the_truth(finished, tmp_path):
    run, output = finished("toy:wide"), tmp_path / "fidelity.json"
    words = ["--run", str(run), "--output", str(output), "--device", "cpu"]
    assert topkd_fidelity.main(words) == 0
    found = json.loads(output.read_text())
    assert found["fit"] == load_maker(run / "topkd.safetensors").losses
    assert (found["sweeps"], found["clouds"]) == (1, CLOUDS_PER_SWEEP)
    seen = found["students"]["student"]
    assert min(seen["teacher_error"], seen["student_error"]) > 0
    assert min(seen["image_distance"], seen["bottleneck"]) > 0
    assert seen["own_other"] == {}  # one street alone
    before = output.read_text()
    assert topkd_fidelity.main(words) == 0
    assert output.read_text() == before


def test_with_the_targets_it_says_what_a_mean_image_and_distances_do(finished, tmp_path, capsys):
    run, output = finished("toy:wide"), tmp_path / "fidelity.json"
    maker = load_maker(run / "topkd.safetensors")
    torch.manual_seed(0)
    clouds = torch.rand(24, 16, 10)
    images = exact_images(clouds, maker.card.scale, maker.card.dims)
    targets = Targets(card=maker.card, clouds=clouds, images=images)
    path = tmp_path / "targets.safetensors"
    save_targets(targets, path)
    words = ["--run", str(run), "--targets", str(path), "--output", str(output)]
    assert topkd_fidelity.main([*words, "--device", "cpu"]) == 0
    found = json.loads(output.read_text())
    teacher = found["teacher"]
    assert teacher["dims"] == [0]
    seen = found["students"]["student"]
    assert teacher["errors"]["ripsnet"] == pytest.approx(seen["teacher_error"])
    for name in ("ripsnet", "distances"):
        ratio = teacher["errors"]["constant"] / teacher["errors"][name]
        assert teacher["gains"][name] == pytest.approx(ratio)
    other = dataclasses.replace(maker.card, birth_margin=3.0)
    save_targets(dataclasses.replace(targets, card=other), path)
    assert "the artifacts were not fitted to these clouds" in refusal(words, capsys)


def test_predictors_are_compared_on_the_same_clouds(finished):
    """Were a cloud's own image among those of the mean, the constant's error would be 0."""
    maker = load_maker(finished("toy:wide") / "topkd.safetensors")
    torch.manual_seed(0)
    clouds = torch.linspace(0.2, 3, 60)[torch.randperm(60), None, None] * torch.rand(60, 16, 10)
    images = exact_images(clouds, maker.card.scale, maker.card.dims)
    targets = Targets(card=maker.card, clouds=clouds[:40], images=images[:40])
    found = predictors(maker, targets, clouds[40:])
    errors = found["errors"]
    constant = (images[40:] - images[:40].mean(dim=0)).square().mean()
    assert errors["constant"] == pytest.approx(float(constant), rel=1e-5)
    assert errors["ripsnet"] == pytest.approx(
        float((maker.ripsnet(clouds[40:]).detach() - images[40:]).square().mean()), rel=1e-5
    )
    predicted = fit_distance_regression(clouds[:40], images[:40])(clouds[40:])
    assert errors["distances"] == pytest.approx(float((predicted - images[40:]).square().mean()))
    assert errors["distances"] < errors["constant"]
    with pytest.raises(ValueError, match="has no RipsNet"):
        predictors(ImageMaker(card=maker.card, ripsnet=None), targets, clouds)


def test_the_teacher_as_student_is_at_no_distance(finished, tmp_path):
    """Were the two networks given other points of a sweep, they would differ."""
    run, output = finished("toy:wide"), tmp_path / "fidelity.json"
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("config.json", "teacher.pt", "topkd.safetensors"):
        (copy / name).write_bytes((run / name).read_bytes())
    (copy / "student.pt").write_bytes((run / "teacher.pt").read_bytes())
    words = ["--run", str(copy), "--output", str(output), "--device", "cpu"]
    assert topkd_fidelity.main(words) == 0
    seen = json.loads(output.read_text())["students"]["student"]
    assert (seen["image_distance"], seen["bottleneck"]) == (0, 0)
    assert seen["student_error"] == seen["teacher_error"]


def test_what_does_not_fit_is_one_line(finished, tmp_path, capsys):
    run = finished("toy:wide")
    assert "--sweeps 0" in refusal(["--run", str(run), "--sweeps", "0"], capsys)
    narrow = finished("toy:small")
    line = refusal(["--run", str(narrow)], capsys)
    assert "--student: stage top has 6 channels and the teacher's 10; the adapter" in line
    maker = load_maker(run / "topkd.safetensors")
    other = dataclasses.replace(maker.card, teacher="0123456789ab")
    save_maker(dataclasses.replace(maker, card=other), tmp_path / "other.safetensors")
    exact = ImageMaker(card=maker.card, ripsnet=None)
    save_maker(exact, tmp_path / "exact.safetensors")
    for name, message in (("other", "made for another teacher"), ("exact", "holds no RipsNet")):
        words = ["--run", str(run), "--artifacts", str(tmp_path / f"{name}.safetensors")]
        assert message in refusal(words, capsys)


def test_own_and_other_are_those_of_the_image_term(finished):
    maker = load_maker(finished("toy:wide") / "topkd.safetensors")
    torch.manual_seed(0)
    teachers = [scale * torch.rand(16, 10) for scale in (0.2, 1.0, 5.0)]
    students = [cloud + 0.01 * torch.rand(16, 10) for cloud in teachers]
    found = own_other_images(maker, teachers, students)
    assert found["exact"] < 0.1  # clouds of three sizes: only the own teacher's is near
    images = [maker.ripsnet(torch.stack(each)).detach() for each in (teachers, students)]
    own = sum(mse_loss(images[0][n], images[1][n]) for n in range(3))
    other = sum(mse_loss(images[0][(n + 1) % 3], images[1][n]) for n in range(3))
    assert found["ripsnet"] == pytest.approx(float(own / other), rel=1e-3)
    with pytest.raises(ValueError, match="has no RipsNet"):
        own_other_images(ImageMaker(card=maker.card, ripsnet=None), teachers, students)
