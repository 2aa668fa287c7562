"""Networks that come with the package: the file, its card, its page, and every wrong file."""

import dataclasses
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.toys import toy_metadata
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.engine.command_line import parse
from train.networks.pretrained import (
    PRETRAINED,
    page,
    pretrained_path,
    read_card,
    save_pretrained,
)
from train.networks.pretrained.__main__ import main
from train.networks.pretrained_folder import save_pretrained as save_folder
from train.networks.weights import load_model, save_model
from train.predict import from_pretrained
from train.predict.command import main as predict

METADATA = toy_metadata(
    grid_size_m=0.1,
    clip_range_m=(-1.0, -1.0, -1.0, 1.0, 1.0, 1.0),
    trained_on=("00", "01"),
    simulated_seed=3,
)
MADE_BY = {"command": "topodistill run --dataset toy", "commit": "abc", "versions": {"torch": "2"}}
SCORES = {
    "file": "toy.safetensors",
    "scored": "validation split",
    "frames": 2,
    "miou": 0.25,
    "accuracy": None,
    "iou": {"a": 0.5, "b": None},
}


@pytest.fixture
def saved(tmp_path, student):
    path = tmp_path / "toy.safetensors"
    save_pretrained(student, METADATA, path, made_by=MADE_BY, scores=SCORES)
    return path


def test_the_network_comes_back_rounded_once_and_in_float32(saved, student):
    loaded, metadata = load_model(saved)
    assert metadata == METADATA
    for name, tensor in student.state_dict().items():
        found = loaded.state_dict()[name]
        want = tensor.half().float() if tensor.is_floating_point() else tensor
        assert found.dtype == tensor.dtype
        assert torch.equal(found, want), name
    parameters = sum(tensor.numel() for tensor in student.state_dict().values())
    ordinary = saved.with_name("ordinary")
    ordinary.touch()
    assert saved.stat().st_mode == ordinary.stat().st_mode
    assert saved.stat().st_size < 2.2 * parameters + 30_000


def test_its_beginning_says_what_a_file_is_whatever_its_name(saved, tmp_path, student):
    other = saved.rename(tmp_path / "network.bin")
    assert load_model(other)[1] == METADATA
    save_model(student, METADATA, tmp_path / "student.pt")
    assert load_model(tmp_path / "student.pt")[1] == METADATA


def test_the_card_is_in_the_header(saved):
    card = read_card(saved)
    assert card.metadata == METADATA
    assert (card.made_by, card.scores, card.license) == (MADE_BY, SCORES, "MIT")


@pytest.mark.parametrize("keep", [0, 5, 100, -100])
def test_a_cut_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    for read in (load_model, read_card):
        with pytest.raises(UserError, match=r"toy\.safetensors: not readable as a .*damaged"):
            read(saved)


def test_a_file_of_somebody_else_is_refused(tmp_path, student):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not a model checkpoint of this package"):
        load_model(path)
    save_file({"a": torch.zeros(2)}, path, metadata={"format": "topodistill-segmentor-1"})
    with pytest.raises(UserError, match="its header has no 'model'"):
        load_model(path)
    with pytest.raises(UserError, match="its header is not that of a network with a card"):
        read_card(path)
    with pytest.raises(UserError, match="no such file"):
        load_model(tmp_path / "gone.safetensors")


def test_a_weight_beyond_float16_is_refused(tmp_path, student):
    with torch.no_grad():
        student.seg_head.bias[0] = 1e5
    path = tmp_path / "large.safetensors"
    with pytest.raises(UserError, match=r"seg_head\.bias has entries up to 100000"):
        save_pretrained(student, METADATA, path, made_by={}, scores={})
    assert not path.exists()


def test_the_page_says_what_the_header_says(saved):
    text = page([saved])
    for words in (
        "## toy.safetensors",
        "topodistill run --dataset toy",
        "ptv3:tiny-student, 4 input channels, 4 classes of toy",
        "2 sequences of simulated scenes, seed 3",
        "- Versions: torch 2",
        "Scores of `toy.safetensors` on 2 frames (validation split)",
        "mIoU 25.0, accuracy -",
        "| a | 50.0 |\n| b | - |",
    ):
        assert words in text, words


# ---- the command --------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path, student):
    """A checkpoint of an earlier version's run, which does not know the scenes' seed."""
    save_model(student, dataclasses.replace(METADATA, simulated_seed=None), tmp_path / "teacher.pt")
    config = {
        "config": {
            "simulate": True,
            "output": "/home/me/run",
            "seed": 0,
            "data": {"simulated_seed": 7, "simulated_frames": 160, "num_workers": 0},
            "optim": {"lr": 0.002},
        },
        "command": "python -m train.run --output /home/me/run --stage teacher",
        "commit": "abc",
        "dirty": False,
        "versions": {"torch": "2"},
        "device": "cpu",
        "changes": [{"field": "optim.lr", "before": 0.1, "after": 0.002, "step": 9, "utc": ""}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def written_scores(path, checkpoint):
    content = {name: value for name, value in SCORES.items() if name != "file"}
    content |= {"checkpoint": str(checkpoint), "points": 9, "labeled_points": 8, "versions": {}}
    path.write_text(json.dumps(content))
    return path


def test_a_checkpoint_becomes_a_file_with_a_card_and_then_gets_its_scores(run_folder):
    file = run_folder / "made.safetensors"
    arguments = ["--checkpoint", str(run_folder / "teacher.pt"), "--output", str(file)]
    assert main([*arguments, "--config", str(run_folder / "config.json")]) == 0
    card = read_card(file)
    assert card.metadata.simulated_seed == 7
    assert card.scores == {}
    assert card.made_by["command"] == "python -m train.run --output DIR --stage teacher"
    assert card.made_by["data"] == {"simulated_seed": 7, "simulated_frames": 160}
    assert card.made_by["changed_on_the_way"] == "optim.lr from 0.1 to 0.002 after step 9"
    before = load_model(file)[0].state_dict()

    scores = written_scores(run_folder / "scores.json", file)
    again = ["--checkpoint", str(file), "--scores", str(scores), "--output", str(file)]
    assert main(again) == 0
    scored = read_card(file)
    assert (scored.metadata, scored.made_by) == (card.metadata, card.made_by)
    assert (scored.scores["file"], scored.scores["miou"]) == ("made.safetensors", 0.25)
    after = load_model(file)[0].state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert main([*again, "--command", "topodistill run --lr 1"]) == 0
    assert read_card(file).made_by == {**card.made_by, "command": "topodistill run --lr 1"}


def test_what_does_not_belong_together_is_refused(run_folder, capsys, student):
    teacher, file = run_folder / "teacher.pt", run_folder / "made.safetensors"
    config = run_folder / "config.json"
    other = run_folder / "other" / "teacher.pt"
    other.parent.mkdir()
    with torch.no_grad():
        student.seg_head.bias[0] += 1
    save_model(student, METADATA, other)
    (run_folder / "empty.json").write_text("{}")
    both = ["--checkpoint", str(teacher), "--output", str(file)]
    scored = [*both, "--config", str(config), "--scores"]
    for arguments, expected in (
        ([], "give --checkpoint and --output, or --page"),
        (both[:2], "belong together"),
        (both, "does not say how it was made; give --config"),
        ([*both, "--config", str(run_folder / "empty.json")], "is not the config.json of a run"),
        ([*both, "--config", str(run_folder / "gone.json")], "cannot be read"),
        ([*both[:3], "made.pt", "--config", str(config)], "end the name in .safetensors"),
        (
            [*scored, str(run_folder / "empty.json")],
            "was not written by topodistill evaluate",
        ),
        (
            [*scored, str(written_scores(run_folder / "x.json", "made.safetensors"))],
            "are those of made.safetensors, not of teacher.pt",
        ),
        (
            [*scored, str(written_scores(run_folder / "y.json", other))],
            "has other weights than",
        ),
    ):
        assert main(arguments) == 2
        assert expected in capsys.readouterr().err
    assert not file.exists()


# ---- the files of the package -------------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "network", "simulated"), sorted(PRETRAINED))
def test_a_network_of_the_package_is_small_scored_and_knows_the_classes(
    dataset, network, simulated
):
    path = pretrained_path(dataset, network, simulated=simulated)
    assert path.stat().st_size < 10e6
    _, metadata = load_model(path)
    assert f"{metadata.network}:{metadata.size}" == network
    assert metadata.class_names == tuple(dataset_spec(dataset).class_names)
    assert metadata.trained_on
    assert (metadata.simulated_seed is not None) == simulated
    card = read_card(path)
    assert card.scores["file"] == path.name
    assert {"command", "commit", "versions"} <= card.made_by.keys()


def test_a_network_of_the_package_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = from_pretrained("waymo-simulated")
    path = pretrained_path("waymo", "ptv3:tiny-teacher", simulated=True)
    assert named.metadata == from_pretrained(path).metadata
    points = np.random.default_rng(0).normal(0, 2, (300, 4))
    points[:, 3] %= 1
    points[:3, :3] = np.nan
    np.save("frame.npy", points)
    words = ["--checkpoint", "waymo-simulated", "--input", "frame.npy", "--output", "labels.npy"]
    assert predict(words) == 0
    labels = named.predict(points)
    np.testing.assert_array_equal(labels, np.load("labels.npy"))
    assert (labels < 0).sum() == 3
    words = ["--dataset", "waymo", "--teacher-checkpoint", "waymo-simulated", "--model", "tiny"]
    config = parse([*words, "--device", "cpu"])
    assert config.teacher_checkpoint == path
    assert config.data.grid_size_m == named.metadata.grid_size_m, "as the teacher was trained"
    (tmp_path / "waymo-simulated").mkdir()  # what is there under the name comes first
    with pytest.raises(UserError, match=r"waymo-simulated: has no config\.json"):
        from_pretrained("waymo-simulated")


def test_a_network_of_the_hub_is_found_by_its_name(tmp_path, monkeypatch, student):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cache"
    save_folder(student, folder, metadata=METADATA, data_license="Ours.")
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append(name)
        if name == "me/gone":
            raise OSError("offline,\nand not in the cache")
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert from_pretrained("me/student").metadata == METADATA
    with pytest.raises(UserError, match=r"me/gone: no such .* hub gives none .*\(offline, and not"):
        from_pretrained("me/gone")
    assert asked == ["me/student", "me/gone"]
    for path in ("me/student.pt", "runs/a/student"):  # no names of the hub
        with pytest.raises(UserError, match="no such file"):
            from_pretrained(path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"me/student: no such .*; .* pip install huggingface_hub"):
        from_pretrained("me/student")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((4, 5)), "shape (4, 5)"),
        (np.zeros((0, 4)), "0 points"),
        (np.full((4, 4), np.nan), "0 points"),
        (np.full((4, 4), 2000.0), "lie more than 1000 m out"),
        (np.array([["a"] * 4]), "no array of numbers"),
    ],
)
def test_points_that_python_may_not_give_are_refused_in_one_line(points, message):
    with pytest.raises(UserError) as raised:
        from_pretrained("waymo-simulated").predict(points)
    assert message in str(raised.value)


def test_the_page_is_that_of_the_files():
    paths = [pretrained_path(d, n, simulated=s) for d, n, s in PRETRAINED]
    root = Path(__file__).resolve().parents[3]
    assert (root / "docs/results/pretrained.md").read_text(encoding="utf-8") == page(paths)


def test_other_networks_do_not_come_with_the_package():
    assert pretrained_path("waymo", "ptv3:tiny-teacher", simulated=False) is None
    assert pretrained_path("nuscenes", "ptv3:tiny-teacher", simulated=True) is None
