"""What a run's folder says for the model card of its student."""

import json

import pytest
import torch

from train.core.errors import UserError
from train.export.run_card import card_of_run, write_network_folder
from train.networks.weights import save_model
from train.predict import from_pretrained

RUN = {
    "config": {
        "method": "topology_gradient",
        "seed": 4,
        "data_root": "/home/me/data",
        "output": "/home/me/run",
        "teacher_checkpoint": "/home/me/teacher.pt",
        "data": {"validation_sequences": ["08"]},
    },
    "command": "topodistill run --data-root /home/me/data --output /home/me/run",
    "commit": "abc",
    "dirty": False,
    "versions": {"torch": "2"},
    "device": "cpu",
    "processes": 1,
    "teacher": {"from": "--teacher-checkpoint", "file": "/home/me/teacher.pt", "sha256": "0"},
}
METRICS = {
    "dataset": "toy",
    "simulated": True,
    "student": {"miou": 0.5, "accuracy": 0.7, "iou": {"a": 0.5}, "frames": 3, "seconds": 1.0},
}


@pytest.fixture
def run_folder(tmp_path, telling_network, metadata_of):
    network = telling_network()
    save_model(network, metadata_of(network, simulated_seed=3), tmp_path / "student.pt")
    (tmp_path / "config.json").write_text(json.dumps(RUN))
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    return tmp_path


def test_scores_with_their_set_and_how_it_was_made(run_folder):
    made_by, scores = card_of_run(run_folder / "student.pt")
    (name,) = scores
    assert name == "the simulated validation frames of toy, sequences 08"
    assert scores[name] == {"miou": 0.5, "accuracy": 0.7, "iou": {"a": 0.5}, "frames": 3}
    assert made_by["command"] == "topodistill run --data-root DIR --output DIR"
    assert made_by["teacher"]["file"] == "teacher.pt"
    assert "/home/me" not in json.dumps(made_by)


def test_the_folder_beside_the_file(run_folder):
    assert write_network_folder(run_folder / "student.pt") == run_folder / "student"
    found = {path.name for path in (run_folder / "student").iterdir()}
    assert found == {"student.safetensors", "config.json", "README.md"}
    loaded, metadata = from_pretrained(run_folder / "student")
    assert metadata.simulated_seed == 3
    assert torch.equal(loaded.seg_head.bias, torch.load(
        run_folder / "student.pt", weights_only=True)["state_dict"]["seg_head.bias"]
    )  # fmt: skip
    text = (run_folder / "student" / "README.md").read_text()
    assert "mIoU 50.0, accuracy 70.0" in text
    assert "Method: topology_gradient" in text


def test_terms_that_nobody_knows_stop_the_card_and_not_the_run(
    run_folder, telling_network, metadata_of, capsys
):
    network = telling_network()
    save_model(network, metadata_of(network), run_folder / "student.pt")
    assert write_network_folder(run_folder / "student.pt") is None
    assert not (run_folder / "student").exists()
    assert (
        "no model card is written: the network learned from frames of toy"
        in capsys.readouterr().err
    )
    assert write_network_folder(run_folder / "student.pt", "Toys, CC0.") is not None
    assert "Toys, CC0." in (run_folder / "student" / "README.md").read_text()


def test_a_file_elsewhere_has_no_card(tmp_path, run_folder):
    alone = tmp_path / "alone"
    alone.mkdir()
    assert card_of_run(alone / "student.pt") == ({}, {})
    (alone / "config.json").write_text('{"format": "another thing"}')
    assert card_of_run(alone / "student.pt") == ({}, {})
    _, scores = card_of_run(run_folder / "student_best.pt")  # the scores are of the last step
    assert scores == {}


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", "{"), ("metrics.json", '{"student": {"miou": 1}}')]
)
def test_a_damaged_run_is_named(run_folder, name, content):
    (run_folder / name).write_text(content)
    with pytest.raises(UserError, match=r"cannot be read|is damaged"):
        card_of_run(run_folder / "student.pt")
