"""TopKD's fidelity on a run: what it measures, and what it refuses."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from benchmarks.studies import topkd_fidelity
from benchmarks.studies.topkd_fidelity import CLOUDS_PER_FRAME, _Draw, own_other_images, predictors
from tests.train.methods.topkd.test_fit import targets_of
from tests.train.toy_runs import flags
from train.methods.topkd.artifacts import ImageMaker, Targets, load_maker, save_maker, save_targets
from train.methods.topkd.clouds import CloudChoice
from train.methods.topkd.fit import FitOptions, fit_ripsnet
from train.methods.topkd.oracle import fit_distance_regression
from train.methods.topkd.regions import nearest_rows
from train.methods.topkd.targets import exact_images
from train.networks.protocol import NetworkOutput
from train.run import main

SMALL = [
    *("--method", "topkd", "--method.num-points", "16", "--method.num-clouds", "24"),
    *("--method.clouds-per-frame", "8", "--method.fit-epochs", "2", "--method.region", "0"),
]


@pytest.fixture(scope="module")
def finished(toy_frames, tmp_path_factory):
    """Return a function: the folder of a finished run with a student."""
    from tests.train.toys import TOY_NETWORK
    from train.networks.registry import NETWORKS

    folders = {}

    def run(student):
        if student not in folders:
            output = tmp_path_factory.mktemp("runs") / "topkd"
            networks = ["--teacher", "toy:wide", "--student", student]
            assert main(flags(toy_frames, output, *networks, *SMALL)) == 0
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
    (fit,) = found["fits"]
    maker = load_maker(run / "topkd.safetensors")
    assert fit["fit"] == maker.losses
    assert fit["choice"] == dataclasses.asdict(maker.card.choice)
    assert (found["frames"], found["scenes"], fit["clouds"]) == (1, 1, CLOUDS_PER_FRAME)
    seen = fit["students"]["student"]
    assert min(seen["teacher_error"], seen["student_error"]) > 0
    assert min(seen["image_distance"], seen["bottleneck"]) > 0
    assert seen["own_other"] == {}  # one scene alone
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
    (fit,) = found["fits"]
    assert (fit["dims"], fit["fitted_to"]) == ([0], 24)
    teacher, seen = fit["teacher"], fit["students"]["student"]
    assert fit["validation"]["errors"]["constant"] == maker.losses["constant"]
    assert teacher["errors"]["ripsnet"] == pytest.approx(seen["teacher_error"])
    for name in ("ripsnet", "distances"):
        ratio = teacher["errors"]["constant"] / teacher["errors"][name]
        assert teacher["gains"][name] == pytest.approx(ratio)
    other = dataclasses.replace(maker.card, birth_margin=3.0)
    save_targets(dataclasses.replace(targets, card=other), path)
    assert "the artifacts were not fitted to these clouds" in refusal(words, capsys)


def test_the_teacher_as_student_is_at_no_distance(finished, tmp_path):
    """Were the two networks given other points of a frame, they would differ."""
    run, output = finished("toy:wide"), tmp_path / "fidelity.json"
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("config.json", "teacher.pt", "topkd.safetensors"):
        (copy / name).write_bytes((run / name).read_bytes())
    (copy / "student.pt").write_bytes((run / "teacher.pt").read_bytes())
    words = ["--run", str(copy), "--output", str(output), "--device", "cpu"]
    assert topkd_fidelity.main(words) == 0
    seen = json.loads(output.read_text())["fits"][0]["students"]["student"]
    assert (seen["image_distance"], seen["bottleneck"]) == (0, 0)
    assert seen["student_error"] == seen["teacher_error"]


def test_what_does_not_fit_is_one_line(finished, tmp_path, capsys):
    run = finished("toy:wide")
    assert "--frames 0" in refusal(["--run", str(run), "--frames", "0"], capsys)
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


def test_several_fits_are_looked_at_in_one_go(finished, tmp_path, capsys):
    """Each with its own clouds: those of regions are of neighbors, and as many."""
    run, output = finished("toy:wide"), tmp_path / "fidelity.json"
    whole = load_maker(run / "topkd.safetensors")
    choice = dataclasses.replace(whole.card.choice, region=16)
    near = dataclasses.replace(whole, card=dataclasses.replace(whole.card, choice=choice))
    paths = [run / "topkd.safetensors", tmp_path / "near.safetensors"]
    save_maker(near, paths[1])
    words = ["--run", str(run), "--artifacts", *map(str, paths), "--output", str(output)]
    assert topkd_fidelity.main([*words, "--device", "cpu"]) == 0
    first, second = json.loads(output.read_text())["fits"]
    assert (first["choice"]["region"], second["choice"]["region"]) == (0, 16)
    assert first["clouds"] == second["clouds"] == CLOUDS_PER_FRAME
    seen = [fit["students"]["student"] for fit in (first, second)]
    assert seen[0]["image_distance"] != seen[1]["image_distance"]
    assert topkd_fidelity.main(["--run", str(run), "--device", "cpu", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["fits"] == [first]
    line = refusal([*words, "--targets", "one.safetensors"], capsys)
    assert "--targets: 1 files for 2 of --artifacts; give one for each" in line


def test_clouds_of_regions_are_neighbors_in_every_network():
    choice = CloudChoice(stage="top", num_points=6, region=9)
    draw = _Draw(choice, ["student", "baseline"])
    generator = torch.Generator().manual_seed(0)
    coord, points = torch.rand(50, 3, generator=generator), torch.arange(50.0)[:, None]
    offset = torch.tensor([50])
    outputs = {
        role: NetworkOutput(points, {"top": factor * points}, {"top": offset})
        for role, factor in (("teacher", 1.0), ("student", 10.0), ("baseline", 100.0))
    }
    seen = set()
    for _ in range(4):
        found = draw({"coord": coord}, outputs)
        teacher, student = found["student"]
        assert torch.equal(10 * teacher, student)
        assert torch.equal(100 * teacher, found["baseline"][1])
        assert torch.equal(teacher, found["baseline"][0])
        rows = {int(row) for row in teacher}
        assert len(rows) == 6
        regions = [set(nearest_rows(coord, center, 9).tolist()) for center in range(50)]
        assert any(rows <= region for region in regions)
        seen.add(tuple(sorted(rows)))
    assert len(seen) == 4


# RipsNet beside the mean image and the regression on distances, on the same clouds.


@pytest.fixture(scope="module")
def clouds():
    """Of very different sizes, in random order."""
    torch.manual_seed(0)
    return torch.linspace(0.2, 3, 60)[torch.randperm(60), None, None] * torch.rand(60, 16, 10)


@pytest.fixture(scope="module")
def targets(clouds):
    return targets_of(clouds[:40])


@pytest.fixture(scope="module")
def maker(targets):
    return fit_ripsnet(targets, FitOptions(epochs=6), device=torch.device("cpu"))


def test_all_are_compared_on_the_same_clouds(maker, targets, clouds):
    """Were a cloud's own image among those of the mean, the constant's error would be 0."""
    images = exact_images(clouds[40:], maker.card.scale, maker.card.dims)
    found = predictors(maker, targets, clouds[40:])
    errors, gains = found["teacher"]["errors"], found["teacher"]["gains"]
    constant = (images - targets.images.mean(dim=0)).square().mean()
    assert errors["constant"] == pytest.approx(float(constant), rel=1e-5)
    predicted = maker.ripsnet(clouds[40:]).detach()
    assert errors["ripsnet"] == pytest.approx(float((predicted - images).square().mean()), rel=1e-5)
    regression = fit_distance_regression(targets.clouds, targets.images)
    predicted = regression(clouds[40:])
    assert errors["distances"] == pytest.approx(float((predicted - images).square().mean()))
    assert errors["distances"] < errors["constant"]
    for name in ("ripsnet", "distances"):
        assert gains[name] == pytest.approx(errors["constant"] / errors[name])
    assert "intervals" not in found["teacher"]


def test_validation_is_of_the_clouds_that_chose(maker, targets):
    """The quarter of both is the same: the regression's error there is found again."""
    errors = predictors(maker, targets, targets.clouds)["validation"]["errors"]
    assert errors["constant"] == maker.losses["constant"]
    assert errors["ripsnet"] == min(maker.losses["mean"], maker.losses["sum"])
    held = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:10]
    regression = fit_distance_regression(targets.clouds, targets.images)
    error = (regression(targets.clouds[held]) - targets.images[held]).square().mean()
    assert errors["distances"] == pytest.approx(float(error))
    rest = torch.ones(40, dtype=torch.bool)
    rest[held] = False
    constant = (targets.images[rest].mean(dim=0) - targets.images[held]).square().mean()
    assert errors["constant"] == pytest.approx(float(constant), rel=1e-5)


def test_the_interval_is_over_groups(maker, targets, clouds):
    """By numpy, with draws of its own; and of groups that are all alike there is no width."""
    names = ["a", "b", "c", "d"] * 5
    found = predictors(maker, targets, clouds[40:], names)["teacher"]
    images = exact_images(clouds[40:], maker.card.scale, maker.card.dims).numpy()
    own = np.square(images - maker.ripsnet(clouds[40:]).detach().numpy()).mean(axis=1)
    mean = np.square(images - targets.images.mean(dim=0).numpy()).mean(axis=1)
    own, mean = (each.reshape(5, 4).sum(axis=0) for each in (own, mean))
    drawn = np.random.default_rng(0).integers(4, size=(20_000, 4))
    gains = mean[drawn].sum(axis=1) / own[drawn].sum(axis=1)
    want = np.quantile(gains, [0.025, 0.975])
    low, high = found["intervals"]["ripsnet"]
    assert high - low == pytest.approx(want[1] - want[0], rel=0.15)
    assert low < found["gains"]["ripsnet"] < high
    twice = predictors(maker, targets, clouds[[41, 41]], ["a", "b"])["teacher"]
    assert twice["intervals"]["ripsnet"] == pytest.approx([twice["gains"]["ripsnet"]] * 2)


def test_without_a_ripsnet_it_is_refused(maker, targets, clouds):
    empty = Targets(card=maker.card, clouds=targets.clouds, images=targets.images)
    with pytest.raises(ValueError, match="has no RipsNet"):
        predictors(ImageMaker(card=maker.card, ripsnet=None), empty, clouds)
