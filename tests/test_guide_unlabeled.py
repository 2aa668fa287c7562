"""The guide to unlabeled drives: its commands, in its order, on frames without a label."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pages import blocks, commands
from topodistill.commands import main
from train.networks.ptv3 import build_segmentor
from train.networks.weights import ModelMetadata, save_model

TEXT = (Path(__file__).parents[1] / "docs/guides/unlabeled_drives.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(f"```bash\n{block}```" for block in blocks(TEXT, "bash"))
SMALL = [
    *("--model", "tiny", "--device", "cpu", "--data.grid-size-m", "0.2", "--data.batch-size", "2"),
    *("--data.max-voxels", "1000", "--optim.student-epochs", "1"),
]


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


def test_from_frames_without_a_label_to_onnx(here):
    given = commands(BLOCKS)
    assert [command for command, _ in given] == ["inspect", "run", "export"]
    for command, arguments in given:
        more = SMALL if command == "run" else []
        assert main([command, *arguments, *more]) == 0
    metrics = json.loads((here / "runs/unlabeled/metrics.json").read_text())
    assert metrics["labeled_frames"] == 0
    assert metrics["scored_against"] == "the teacher's predictions"
    assert list((here / "onnx").glob("*.onnx"))
