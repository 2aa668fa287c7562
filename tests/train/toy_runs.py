"""A few frames in SemanticKITTI's layout, and runs of the main command on them, a second each."""

import json
import signal
from pathlib import Path

import numpy as np
import torch

from tests.train.processes import run_code
from tests.train.toys import toy_metadata
from train.data.semantickitti import CLASS_NAMES
from train.run import main


def write_frame(root, sequence, number, rng, *, labeled=True):
    """Write a floor, a wall and unlabeled clutter: 1,200 points, or all of them unlabeled."""
    floor = np.c_[rng.uniform(-12, 12, (700, 2)), rng.normal(-1.7, 0.02, 700)]
    wall = np.c_[rng.uniform(-12, 12, 400), np.full(400, 9.0), rng.uniform(-1.7, 2, 400)]
    clutter = rng.uniform((-12, -12, -1.7), (12, 9, 1), (100, 3))
    points = np.concatenate([floor, wall, clutter])
    points = np.c_[points, rng.uniform(0, 1, len(points))].astype("<f4")
    labels = np.repeat([40, 50, 0], [700, 400, 100]).astype("<u4") * labeled
    for folder, content, suffix in (("velodyne", points, "bin"), ("labels", labels, "label")):
        path = root / "sequences" / sequence / folder / f"{number:06}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())


def write_frames(root):
    """Write four frames to train on and one for validation."""
    rng = np.random.default_rng(3)
    for number in range(4):
        write_frame(root, "00", number, rng)
    write_frame(root, "08", 0, rng)


def flags(frames, output, *more):
    """Return the command line of a run of two steps for each network."""
    return [
        *("--dataset", "semantickitti", "--model", "tiny", "--device", "cpu"),
        *("--data-root", str(frames), "--output", str(output)),
        *("--data.train-sequences", "00", "--data.validation-sequences", "08"),
        *("--data.grid-size-m", "0.2", "--data.batch-size", "2"),
        *("--optim.teacher-epochs", "1", "--optim.student-epochs", "1"),
        *more,
    ]


def resumed(output, *more):
    """Return the command line that goes on with a run: where it is, and what is to change."""
    return ["--dataset", "semantickitti", "--output", str(output), "--resume", *more]


def kitti_metadata(network, **changes):
    """Return what the file of a network on the toy frames says."""
    usual = {"dataset": "semantickitti", "class_names": CLASS_NAMES, "grid_size_m": 0.2}
    return toy_metadata(network, **usual | changes)


def killed(arguments, stage, step):
    """Run the command in a process of its own that kills itself after a step was recorded."""
    code = f"""
import os, signal, sys, torch
from tests.train.toys import registered
from train.engine.run_log import RunLog
from train.run import main
torch.set_num_threads({torch.get_num_threads()})
record = RunLog.step
def step(self, *recorded):
    record(self, *recorded)
    if recorded[:2] == ({stage!r}, {step}):
        os.kill(os.getpid(), signal.SIGKILL)
RunLog.step = step
with registered():
    main(sys.argv[1:])
"""
    ended = run_code(code, *arguments)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def log_of(output: Path, stage="student"):
    """Return the records of a stage."""
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [record for record in records if record["stage"] == stage]


def checkpoint_of(output: Path):
    """Return what the last checkpoint of a run holds."""
    return torch.load(output / "checkpoint.pt", weights_only=True)


def refused(arguments, capsys, output=None):
    """Run a command that must be refused, and write no `output`; return its one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err + captured.out
    if output is not None:
        assert not output.exists()
    return lines[0]
