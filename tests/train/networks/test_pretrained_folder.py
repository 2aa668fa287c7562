"""A folder to share: bit for bit the same network, its card, and every folder that is none."""

import dataclasses
import json
import shutil

import pytest
import torch

from tests.train.toys import toy_metadata
from train.core.errors import UserError
from train.networks import save_pretrained
from train.networks.pretrained import read_card
from train.networks.weights import load_model
from train.predict import from_pretrained

METADATA = toy_metadata(
    grid_size_m=0.1,
    clip_range_m=(-1.0, -1.0, -1.0, 1.0, 1.0, 1.0),
    trained_on=("00", "01"),
)
SCORES = {"two toy frames": {"frames": 2, "miou": 0.25, "accuracy": None, "iou": {"a": 0.5}}}
GIVEN = {
    "metadata": METADATA,
    "data_license": "Toys, CC0.",
    "scores": SCORES,
    "made_by": {"command": "topodistill run --dataset toy", "versions": {"torch": "2"}},
}


@pytest.fixture
def folder(tmp_path, student):
    save_pretrained(student, tmp_path / "shared", **GIVEN)
    return tmp_path / "shared"


def same_weights(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name


def test_the_network_comes_back_bit_for_bit(folder, student, batch):
    loaded, metadata = from_pretrained(folder)
    assert metadata == METADATA
    assert not loaded.training
    same_weights(loaded, student)
    with torch.no_grad():
        assert torch.equal(loaded(batch).logits, student.eval()(batch).logits)


def test_the_file_alone_and_the_folder_open_through_one_door(folder, student):
    for path in (folder, folder / "model.safetensors"):
        loaded, metadata = load_model(path)
        assert metadata == METADATA
        same_weights(loaded, student)
    # What it says is in the header too, for a file that went its own way.
    card = read_card(folder / "model.safetensors")
    assert (card.license, card.scores) == ("Toys, CC0.", SCORES)


def test_how_to_compute_can_be_chosen(folder):
    assert from_pretrained(folder, attention="plain")[0].config.attention == "plain"


def test_the_card_says_what_whoever_gets_it_must_know(folder, student):
    text = (folder / "README.md").read_text()
    count = sum(parameter.numel() for parameter in student.parameters())
    for words in (
        f"of {count:,} parameters",
        "## Data license\n\nToys, CC0.\n",
        "On two toy frames (2 frames): mIoU 25.0, accuracy -.",
        "| a | 50.0 |",
        "topodistill run --dataset toy",
        "- Versions: torch 2",
        "0 a, 1 b, 2 c, 3 d",
        "voxels of 0.1 m (points moved into the box (-1.0, -1.0, -1.0) to (1.0, 1.0, 1.0) m)",
        "2 sequences of toy",
        "license: other",
    ):
        assert words in text, words
    config = json.loads((folder / "config.json").read_text())
    assert config["parameters"] == count
    assert config["model"]["class_names"] == ["a", "b", "c", "d"]


def test_a_network_without_scores_says_so(tmp_path, student):
    save_pretrained(
        student, tmp_path, metadata=METADATA, data_license="CC0.", weights_name="s.safetensors"
    )
    assert "have not been scored" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "s.safetensors").is_file()
    assert from_pretrained(tmp_path)[1] == METADATA


@pytest.mark.parametrize("note", ["", " \n"])
def test_no_card_is_written_without_the_datas_terms(tmp_path, student, note):
    with pytest.raises(UserError, match="which terms the training data has"):
        save_pretrained(student, tmp_path / "new", **{**GIVEN, "data_license": note})
    assert not (tmp_path / "new").exists()


def test_arguments_that_cannot_be_meant(tmp_path, student):
    other = dataclasses.replace(METADATA, num_classes=5)
    with pytest.raises(ValueError, match=r"describes 5 classes .* the network has 4"):
        save_pretrained(student, tmp_path, **{**GIVEN, "metadata": other})
    for name in ("model.pt", "a/b.safetensors"):
        with pytest.raises(ValueError, match="must be a file name that ends in"):
            save_pretrained(student, tmp_path, **GIVEN, weights_name=name)


def test_files_of_different_folders_are_refused(folder, tmp_path, student):
    with torch.no_grad():
        student.seg_head.bias += 1
    save_pretrained(student, tmp_path / "other", **GIVEN)
    shutil.copy(tmp_path / "other" / "config.json", folder)
    with pytest.raises(UserError, match=r"is not the file that config\.json .* written for"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "describes no network"),
        (lambda folder: (folder / "config.json").write_text('{"config": {}}'), "describes no net"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no such file, but config.json"),
        (
            lambda folder: (folder / "config.json").write_text(
                (folder / "config.json").read_text().replace("model.safe", "../model.safe")
            ),
            "names no weights",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_is_none_is_refused_in_one_line(folder, change, message):
    change(folder)
    with pytest.raises(UserError, match=message) as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)


def test_a_runs_folder_points_to_the_one_within(tmp_path, student):
    (tmp_path / "config.json").write_text('{"config": {}, "command": ""}')
    save_pretrained(student, tmp_path / "student", **GIVEN)
    with pytest.raises(UserError, match=f"perhaps {tmp_path / 'student'}"):
        load_model(tmp_path)
