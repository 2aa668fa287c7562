"""A tiny pair of networks and a batch that all training tests share."""

import os
import signal

import numpy as np
import pytest
import torch

from tests.train.toy_runs import write_frames
from tests.train.toys import registered
from train.data.batch import collate
from train.data.frame import LidarFrame
from train.data.transforms import voxelize
from train.engine.run_log import RunLog
from train.networks.ptv3 import build_segmentor

NUM_CLASSES = 4


def _room(seed, path):
    """A floor and three walls with a few objects: enough points for five stages."""
    rng = np.random.default_rng(seed)
    floor = np.c_[rng.uniform(-4, 4, (700, 2)), rng.normal(0, 0.01, 700)]
    wall = np.c_[rng.uniform(-4, 4, 300), np.full(300, 4.0), rng.uniform(0, 2, 300)]
    ball = rng.normal(size=(200, 3))
    ball = 0.6 * ball / np.linalg.norm(ball, axis=1, keepdims=True) + [1.0, -1.0, 0.7]
    coord = np.concatenate([floor, wall, ball]).astype(np.float32)
    segment = np.repeat([0, 1, 2], [700, 300, 200]).astype(np.int64)
    segment[::17] = -1
    strength = rng.uniform(0, 1, (len(coord), 1)).astype(np.float32)
    return LidarFrame(coord, strength, segment, f"room/{seed}", path)


@pytest.fixture
def batch(tmp_path):
    """Two small labeled clouds as the network takes them."""
    return collate([voxelize(_room(seed, tmp_path), 0.2) for seed in (1, 2)])


@pytest.fixture
def teacher():
    """A frozen tiny teacher whose batch statistics have seen something."""
    torch.manual_seed(0)
    model = build_segmentor("tiny-teacher", NUM_CLASSES)
    return model.eval().requires_grad_(False)


@pytest.fixture
def student():
    """A tiny student in training mode."""
    torch.manual_seed(1)
    return build_segmentor("tiny-student", NUM_CLASSES).train()


@pytest.fixture(scope="session")
def toy_frames(tmp_path_factory):
    """A data root of five small frames, read by all tests and changed by none."""
    root = tmp_path_factory.mktemp("toy-frames")
    write_frames(root)
    return root


@pytest.fixture
def toys_registered():
    """Add the toy network and the toy method to the tables."""
    with registered():
        yield


@pytest.fixture
def signal_at(monkeypatch):
    """Return a function that has a signal sent right after a step was recorded; None for none."""
    record = RunLog.step

    def plan(step, stage="student", number=signal.SIGTERM):
        def send(self, *recorded):
            record(self, *recorded)
            if recorded[:2] == (stage, step):
                os.kill(os.getpid(), number)

        monkeypatch.setattr(RunLog, "step", send)

    return plan
