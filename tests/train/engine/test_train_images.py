"""The command that trains an image network: from a folder of pairs to a file, and every refusal."""

import numpy as np
import pytest
import torch
from PIL import Image

from train.data.dataset_spec import dataset_spec
from train.engine.train_images import main
from train.networks.image import load_image_network
from train.networks.image.backbones import build_backbone

NAMES = tuple(dataset_spec("nuscenes").class_names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine images of blocks of two classes, red and blue."""
    root = tmp_path_factory.mktemp("pairs")
    for seed in range(9):
        rng = np.random.default_rng(seed)
        blocks = np.kron(rng.integers(0, 2, (2, 4)), np.ones((16, 16), dtype=int))
        colors = np.array([[220, 30, 30], [30, 30, 220]])[blocks]
        noisy = (colors + rng.normal(0, 10, colors.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / f"{seed}.png")
        Image.fromarray((3 * blocks).astype(np.uint8)).save(root / f"{seed}.labels.png")
    return root


def flags(folder, output, *more):
    return [
        *("--dataset", "nuscenes", "--pairs", str(folder), "--output", str(output)),
        *("--size", "32", "64", "--epochs", "3", "--batch-size", "4", "--device", "cpu"),
        *more,
    ]


def test_a_folder_of_pairs_gives_a_network(folder, tmp_path, capsys):
    output = tmp_path / "image.safetensors"
    assert main(flags(folder, output)) == 0
    network, card = load_image_network(output)
    assert (card.class_names, card.image_size, card.dataset) == (NAMES, (32, 64), "nuscenes")
    assert card.trained_on == f"9 pairs of {folder.name}"
    assert set(card.scores) == {"miou", "accuracy"}
    images = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    assert network(images).shape == (1, len(NAMES), 32, 64)
    said = capsys.readouterr().err
    assert "on 8 of 9 32 x 64 images" in said
    assert f"done: {output}" in said


def test_a_backbone_of_others_is_frozen(folder, tmp_path):
    torch.manual_seed(0)
    state = build_backbone("resnet18").state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    output = tmp_path / "image.safetensors"
    more = ("--backbone", str(tmp_path / "resnet18.pth"), "--epochs", "1")
    assert main(flags(folder, output, *more)) == 0
    network, card = load_image_network(output)
    assert card.backbone == "resnet18"
    assert network.channels == 960
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--output", "a.pt"), "--output a.pt: end the name in .safetensors"),
        (("--output", "no/a.safetensors"), "there is no folder no; make it first"),
        (("--epochs", "0"), "--epochs is 0: at least 1 pass"),
        (("--lr", "0"), "--lr is 0.0: above 0"),
        (("--size", "8", "64"), "--size 8 64: at least 16 pixels each way"),
        (("--dataset", "kitti"), "unknown dataset 'kitti'"),
        (("--pairs", "gone"), "gone: no such folder"),
        (("--backbone", "gone.pth"), "gone.pth: no such file"),
        (("--simulated-seed", "-1"), "--simulated-seed -1: at least 0"),
    ],
)
def test_mistakes_are_one_line(change, message, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = flags(folder, tmp_path / "image.safetensors")
    if change[0] == "--pairs":
        words[3] = change[1]
    else:
        words += change
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.glob("*.safetensors"))


def test_one_pair_is_too_few(folder, tmp_path, capsys):
    for name in ("0.png", "0.labels.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert main(flags(tmp_path, tmp_path / "image.safetensors")) == 2
    assert "too few to train on some and score on others" in capsys.readouterr().err
