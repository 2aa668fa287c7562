"""Guides whose commands are run, in their order, on small frames: unlabeled drives, own code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pages import blocks, commands, write_files
from topodistill.commands import main
from train.networks.ptv3 import build_segmentor
from train.networks.weights import ModelMetadata, save_model

GUIDES = Path(__file__).parents[1] / "docs/guides"
SMALL = [
    *("--model", "tiny", "--device", "cpu", "--data.grid-size-m", "0.2", "--data.batch-size", "2"),
    *("--data.max-voxels", "1000", "--optim.student-epochs", "1"),
]


def shell_of(text):
    """The commands of a page's blocks of shell."""
    return commands("\n".join(f"```bash\n{block}```" for block in blocks(text, "bash")))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with what the guide starts from: two drives, a class map and a teacher."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for drive, frames in (("hill", 2), ("town", 1)):
        folder = tmp_path / "drives" / drive / "velodyne"
        folder.mkdir(parents=True)
        for frame in range(frames):
            points = rng.uniform((-12, -12, -2, 0), (12, 12, 2, 1), size=(3000, 4))
            points.astype("<f4").tofile(folder / f"{frame:06d}.bin")
    Path("classes.yaml").write_text(
        "labels: {0: unlabeled, 1: road, 2: car}\nlearning_ignore: {0: true}\n"
    )
    torch.manual_seed(0)
    teacher = build_segmentor("tiny-teacher", 2)
    metadata = ModelMetadata(
        **{**vars(teacher.spec()), "overrides": dict(teacher.spec().overrides)},
        dataset="kitti-layout",
        class_names=("road", "car"),
        grid_size_m=0.2,
    )
    save_model(teacher, metadata, Path("teacher.pt"))
    return tmp_path


@pytest.mark.slow
def test_from_frames_without_a_label_to_onnx(here):
    given = shell_of((GUIDES / "unlabeled_drives.md").read_text(encoding="utf-8"))
    assert [command for command, _ in given] == ["inspect", "run", "export"]
    for command, arguments in given:
        more = SMALL if command == "run" else []
        assert main([command, *arguments, *more]) == 0
    metrics = json.loads((here / "runs/unlabeled/metrics.json").read_text())
    assert metrics["labeled_frames"] == 0
    assert metrics["scored_against"] == "the teacher's predictions"
    assert list((here / "onnx").glob("*.onnx"))


def test_a_method_and_a_dataset_of_the_users_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (GUIDES / "extend.md").read_text(encoding="utf-8")
    write_files(text)
    rng = np.random.default_rng(0)
    for drive in ("hill", "lake", "town"):
        points = rng.uniform((-12, -12, -2, 0), (12, 12, 2, 255), size=(3000, 4))
        labels = rng.choice([0, 5, 6, 300], 3000)
        (tmp_path / "scans" / drive).mkdir(parents=True)
        np.savez(tmp_path / "scans" / drive / "0.npz", points=points, labels=labels)
    np.save("frame.npy", (points / (1, 1, 1, 255)).astype("f4"))
    given = shell_of(text)
    assert [command for command, _ in given] == ["inspect", "run", "evaluate", "predict", "export"]
    more_of = {
        "run": [*SMALL, "--optim.teacher-epochs", "1"],
        "evaluate": ["--data.num-workers", "0"],
    }
    for command, arguments in given:
        more = more_of.get(command, [])
        assert main([command, *arguments, *more]) == 0, command
    assert set(np.fromfile("frame.label", "<u4")) <= {5, 300}
    assert '"hint": ' in (tmp_path / "runs/hint/log.jsonl").read_text()
    again = [*given[1][1], *more_of["run"], "--resume", "--stage", "evaluate"]
    assert main(["run", *again]) == 0, "the run goes on with its files"
    capsys.readouterr()
    (tmp_path / "my_hint.py").write_text("Hint = 3")
    assert main(["run", *given[1][1], "--output", "other"]) == 2
    assert "Hint is no train.methods.DistillationMethod" in capsys.readouterr().err
