"""A pair of toys, frames of random voxels, and images of the teacher's features."""

import pytest
import torch

from tests.train.toys import build_toy
from train.methods.topkd.method import TopKD
from train.methods.topkd.options import TopKDConfig

SMALL = {"num_points": 16, "region": 0, "num_clouds": 40, "clouds_per_frame": 8, "fit_epochs": 3}


def make_frame(seed, sizes=(40, 50)):
    generator = torch.Generator().manual_seed(seed)
    rows = sum(sizes)
    return {
        "feat": 10 * torch.randn(rows, 4, generator=generator),
        "segment": torch.randint(0, 4, (rows,), generator=generator),
        "offset": torch.tensor(sizes).cumsum(0),
        "coord": 20 * torch.rand(rows, 3, generator=generator),
    }


@pytest.fixture
def frames():
    return [make_frame(seed) for seed in range(3)]


@pytest.fixture
def frame(frames):
    return frames[0]


@pytest.fixture
def toy_teacher():
    torch.manual_seed(0)
    return build_toy("wide", 4, 4).eval().requires_grad_(False)


@pytest.fixture
def toy_student():
    torch.manual_seed(1)
    return build_toy("small", 4, 4).train()


@pytest.fixture
def twin():
    """A student that equals the teacher."""
    torch.manual_seed(0)
    return build_toy("wide", 4, 4).train()


@pytest.fixture
def prepared(toy_teacher, frames, tmp_path):
    """A function that returns options and the artifacts that `prepare` makes for them."""

    def prepare(**changes):
        config = TopKDConfig(**SMALL | changes)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        return config, TopKD.prepare(config, toy_teacher, iter(frames), folder)

    return prepare
