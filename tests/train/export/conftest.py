"""One export of the tiny student, shared by the tests that only read it."""

import os
from functools import partial

import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.train.networks.conftest import randomize
from tests.train.toys import toy_metadata
from train.data.semantickitti import CLASS_NAMES
from train.export.command import main
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model


@pytest.fixture(scope="session")
def telling_network():
    """Return a function from options to a tiny student, five classes, with telling weights."""

    def make(size="tiny-student", num_classes=5, **overrides):
        torch.manual_seed(0)
        return randomize(build_segmentor(size, num_classes, **overrides)).eval()

    return make


@pytest.fixture(scope="session")
def metadata_of():
    """Return a function from a network to metadata that fit it."""

    clip_range_m = (-6.0, -6.0, -6.0, 6.0, 6.0, 6.0)
    return partial(toy_metadata, grid_size_m=0.2, clip_range_m=clip_range_m)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, telling_network, metadata_of):
    """Return a float32 export that the command wrote, its network and that one's checkpoint.

    It takes half a minute: the first of pytest's processes that needs it makes it for all.
    """
    own = tmp_path_factory.getbasetemp()
    base = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "exported"
    network = telling_network(num_classes=len(CLASS_NAMES), patch_size=32)
    metadata = metadata_of(network, dataset="semantickitti", class_names=CLASS_NAMES)
    with FileLock(f"{base}.lock"):
        if not base.exists():
            unfinished = tmp_path_factory.mktemp("unfinished")
            save_model(network, metadata, unfinished / "student.pt")
            words = ["--checkpoint", unfinished / "student.pt", "--output", unfinished / "onnx"]
            assert main([*map(str, words), "--format", "onnx"]) == 0
            unfinished.rename(base)
    return base / "onnx", network, base / "student.pt"


@pytest.fixture(scope="session")
def two_stages(telling_network):
    """Return a network of two stages, which is exported in a third of the time."""
    return telling_network(
        num_classes=len(CLASS_NAMES), patch_size=32,
        enc_depths=(1, 2), enc_channels=(16, 32), enc_heads=(1, 2),
        dec_depths=(1,), dec_channels=(16,), dec_heads=(1,),
    )  # fmt: skip


@pytest.fixture(scope="session")
def voxel_batch():
    """Return a function from a count to a cloud of so many voxels, as the network takes it."""

    def make(count, seed=0, side=60):
        rng = np.random.default_rng([seed, count])
        flat = rng.integers(0, side, (30 * count + 30, 3))
        flat[:, 2] = 4 + 3 * np.sin(flat[:, 0] / 5) + rng.integers(0, 2, len(flat))
        grid = rng.permutation(np.unique(flat, axis=0))[:count]
        assert len(grid) == count
        grid = grid - grid.min(axis=0)
        coord = (0.2 * (grid + rng.random(grid.shape)) - 6).astype(np.float32)
        feat = np.c_[coord, rng.random((count, 1))].astype(np.float32)
        return {
            "feat": torch.from_numpy(feat),
            "coord": torch.from_numpy(coord),
            "grid_coord": torch.from_numpy(grid),
            "offset": torch.tensor([count]),
        }

    return make
