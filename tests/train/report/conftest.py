"""The records of a finished run, made by hand."""

import json

import pytest


@pytest.fixture
def run(tmp_path):
    """A run of an earlier version: it has no evaluation.json, and its data is nowhere."""
    folder = tmp_path / "run"
    folder.mkdir()
    scores = {
        "parameters": 1234567,
        "miou": 0.5,
        "accuracy": 0.75,
        "frames": 1,
        "points": 124668,
        "voxels": 91767,
        "seconds": 3.0,
        "iou": {"car": 0.25, "road": 0.75, "bus": None},
    }
    metrics = {
        "dataset": "semantickitti",
        "simulated": False,
        "train_frames": 1,
        "validation_frames": 1,
        "teacher": scores,
        "student": {**scores, "parameters": 76543, "miou_untrained": 0.015625},
        "seconds": {"teacher": 60.0, "student": 90.0, "evaluation": 5.0},
    }
    config = {
        "config": {
            "model": "tiny",
            "precision": "fp32",
            "seed": 0,
            "dataset": "semantickitti",
            "data_root": str(tmp_path / "gone"),
            "simulate": False,
            "teacher_checkpoint": None,
            "data": {
                "repeats": 8,
                "batch_size": 2,
                "max_voxels": 20000,
                "grid_size_m": 0.05,
                "clip_range_m": None,
                "validation_sequences": ["08"],
                "cache_dir": None,
            },
            "optim": {"teacher_epochs": 30, "student_epochs": 20},
            "method": "topology-gradient",
            "options": {"topology": 8.0, "num_samples": 512, "normalization": "l2"},
        },
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "device": "cpu (2 threads)",
        "command": "python -m train.run --data-root '/somewhere private/kitti' --output=/tmp/x",
        "commit": "abc",
        "dirty": False,
    }
    steps = [
        {"stage": stage, "step": i + 1, "segmentation": 2.0 - 0.05 * i, "seconds": 1.0}
        for stage in ("teacher", "student")
        for i in range(30)
    ]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    return folder
