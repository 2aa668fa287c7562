"""Whole runs on simulated nuScenes with cameras: their files, how they go on, what they refuse."""

import json

import pytest
import torch

from tests.train.methods.cross_modal.conftest import WITHOUT_LABELS
from tests.train.toy_runs import checkpoint_of, log_of, refused
from train.data.dataset_spec import dataset_spec
from train.engine import image_training
from train.networks.image import ImageCard, load_image_network, save_image_network
from train.networks.image.fit import ImageFitOptions
from train.networks.weights import load_model
from train.run import main

SPEC = dataset_spec("nuscenes")
# Views of 160 x 320 as batches have them; the network is narrow.
CARD = ImageCard(class_names=tuple(SPEC.class_names), width=3, dataset="nuscenes")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two simulated frames to train on and one for validation, with cameras."""
    folder = tmp_path_factory.mktemp("cameras") / "nuscenes"
    SPEC.simulate(
        folder, num_frames=2, num_validation_frames=1, azimuth_steps=60, seed=0, cameras=True
    )
    return folder


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("image-network") / "image.safetensors"
    save_image_network(CARD.build().eval(), CARD, path)
    return path


@pytest.fixture(autouse=True)
def toys(toys_registered):
    """Students are toys: a step takes as long as its images."""


def flags(root, output, method, *more):
    return [
        *("--dataset", "nuscenes", "--simulate", "--data-root", str(root), "--model", "tiny"),
        *("--data.simulated-frames", "2", "--data.simulated-validation-frames", "1"),
        *("--data.simulated-azimuth-steps", "60", "--device", "cpu", "--student", "toy:small"),
        *("--data.max-voxels", "1000", "--optim.student-epochs", "1", "--method", method),
        *("--output", str(output), *more),
    ]


@pytest.fixture(scope="module")
def done(root, image_file, tmp_path_factory):
    """Return a function from a method to the folder of its run, and what it said."""

    def run(method, *more):
        output = tmp_path_factory.mktemp("run") / method
        words = flags(root, output, method, "--method.image-network", str(image_file), *more)
        assert main(words) == 0
        return output

    return run


def test_a_run_of_xmodel_kd_scores_with_images_beside_lidar_alone(done, capsys):
    output = done("xmodel-kd")
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["student"]["with_images"]) >= {"miou", "frames", "points"}
    assert metrics["student"]["with_images"]["frames"] == 1
    assert metrics["student"]["with_images"]["points"] == metrics["student"]["points"]
    assert "mIoU with images at test time (fusion): student" in capsys.readouterr().err
    (step,) = log_of(output)
    assert step["contrast"] > 0
    # Of the method the checkpoint has its adapters, and the student's file nothing.
    assert any(key.startswith("fusion.") for key in checkpoint_of(output)["method"])
    model, _ = load_model(output / "student.pt")
    assert set(torch.load(output / "student.pt", weights_only=True)["state_dict"]) == set(
        model.state_dict()
    )
    assert not any("fusion" in key or "token" in key for key in model.state_dict())

    # The same adapters score the same when the run is evaluated again.
    words = ["--dataset", "nuscenes", "--output", str(output), "--resume", "--stage", "evaluate"]
    assert main(words) == 0
    again = json.loads((output / "metrics.json").read_text())
    for scores in (metrics, again):
        scores["student"]["with_images"].pop("seconds")
    assert again["student"]["with_images"] == metrics["student"]["with_images"]


@pytest.mark.parametrize("method", WITHOUT_LABELS)
def test_a_run_without_labels_goes_on_as_if_it_had_not_stopped(method, done, root, image_file):
    straight = done(method, "--optim.student-epochs", "2")
    assert "baseline" not in json.loads((straight / "metrics.json").read_text())
    stopped = done(method)
    words = ["--dataset", "nuscenes", "--output", str(stopped), "--resume"]
    assert main([*words, "--optim.student-epochs", "2"]) == 0
    first, second = log_of(straight)[1], log_of(stopped)[1]
    assert first["frames"] == second["frames"]
    # The rates of the first epoch were those of a shorter run; what is kept is kept.
    assert checkpoint_of(stopped)["method"].keys() == checkpoint_of(straight)["method"].keys()
    if method == "udakd":
        for output in (straight, stopped):
            assert int(checkpoint_of(output)["method"]["ramp.done"]) == 2


def test_a_simulated_run_trains_an_image_network_of_other_scenes(
    root, tmp_path, monkeypatch, capsys
):
    seen = []

    def simulated(spec, place, *, seed, frames=0, image_size=(160, 320)):
        seen.append((place, seed))
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (3, 3, *image_size), generator=generator)
        labels = torch.randint(0, 16, (3, *image_size), generator=generator)
        return image_training.LabeledImages(images.byte(), labels.byte(), "noise")

    monkeypatch.setattr(image_training, "simulated_images", simulated)
    monkeypatch.setattr(image_training, "ImageFitOptions", lambda **_: ImageFitOptions(epochs=1))
    output = tmp_path / "run"
    assert main(flags(root, output, "fskd")) == 0
    assert seen == [(root.with_name("nuscenes-images"), 1_000_003)]
    file = output / "image_network.safetensors"
    assert f"--method.image-network {file}" in capsys.readouterr().err
    _, card = load_image_network(file)
    assert card.trained_on == "noise"
    # A run that goes on keeps to it.
    words = ["--dataset", "nuscenes", "--output", str(output), "--resume"]
    assert main([*words, "--optim.student-epochs", "2"]) == 0
    assert len(seen) == 1


def test_images_of_simulated_scenes_come_with_their_labels(root, monkeypatch):
    monkeypatch.setattr(image_training, "_AZIMUTH_STEPS", 60)  # those that are there
    pairs = image_training.simulated_images(SPEC, root, seed=0, frames=2, image_size=(32, 64))
    assert pairs.images.shape == (12, 3, 32, 64)
    assert pairs.labels.shape == (12, 32, 64)
    found = set(pairs.labels.unique().tolist())
    assert found <= {*range(16), 255}
    assert len(found) > 3


def test_what_cannot_be_is_one_line(root, image_file, tmp_path, capsys):
    output = tmp_path / "run"
    other = ImageCard(class_names=("a", "b"), width=3)
    save_image_network(other.build(), other, tmp_path / "other.safetensors")
    given = ("--method.image-network", str(image_file))
    for method, more, message in (
        ("xmodel-kd", ("--no-simulate",), "--method.image-network is missing"),
        ("udakd", ("--baseline", *given), "--method udakd learns without labels"),
        (
            "fskd",
            ("--method.image-network", str(tmp_path / "other.safetensors")),
            "an image network of other classes: it has 2 classes, the run has 16",
        ),
        ("fskd", ("--method.image-network", "gone.safetensors"), "gone.safetensors: no such file"),
        ("fskd", ("--method.contrast", "1"), "is an option of --method xmodel-kd, not of fskd"),
    ):
        assert message in refused(flags(root, output, method, *more), capsys, output)
