"""Processes with parts of a joint batch have the gradient of one process with all of it."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from tests.train.methods.cross_modal.conftest import (
    CAMERA_METHODS,
    build,
    make_batch,
    write_image_network,
)
from tests.train.processes import run_processes, values_of
from tests.train.toys import build_toy
from train.core.distributed import current_world
from train.data.batch import Batch
from train.data.frame import IGNORE_INDEX
from train.engine.train_step import TrainStep, shares, to_host

# Terms that compare the points of a batch with each other (the contrast, the discrepancy) see those
# of their own process alone.
OPTIONS = {"contrast": 0.0}


def clouds(which, seed=0, views=(2, 1, 0)):
    """Return some of three clouds, of which the last has no image at all."""
    whole = make_batch(seed, sizes=(60, 80, 40), views=views)
    whole["segment"][::7] = IGNORE_INDEX
    ends = [0, *whole["offset"].tolist()]
    rows = torch.cat([torch.arange(ends[cloud], ends[cloud + 1]) for cloud in which])
    new_row = torch.full((ends[-1],), -1)
    new_row[rows] = torch.arange(len(rows))
    chosen = torch.isin(whole["view_cloud"], torch.tensor(which))
    new_view = chosen.cumsum(0) - 1
    pairs = whole["point_pixel"][chosen[whole["point_pixel"][:, 0]]]
    pairs = torch.stack(
        [new_view[pairs[:, 0]], pairs[:, 1], pairs[:, 2], new_row[pairs[:, 3]]], dim=1
    )
    part = {name: whole[name][rows] for name in ("feat", "coord", "grid_coord", "segment")}
    return part | {
        "offset": torch.tensor([ends[cloud + 1] - ends[cloud] for cloud in which]).cumsum(0),
        "images": whole["images"][chosen],
        "view_cloud": torch.searchsorted(torch.tensor(which), whole["view_cloud"][chosen]),
        "point_pixel": pairs,
    }


def step(image_file, parts, views=(2, 1, 0)):
    """Take each method's step on this process's clouds; return gradients and numbers."""
    world = current_world()
    mine = parts[world.rank]
    found = {}
    for name in CAMERA_METHODS:
        torch.manual_seed(5)
        student = build_toy("small", 4, 4).train()
        method = build(name, student, image_file, **OPTIONS)
        module = TrainStep(student, method, None)
        wrapped = DistributedDataParallel(module) if world.size > 1 else module
        if hasattr(method, "ramp"):
            method.ramp.done += 30
        batch = Batch.of(clouds(mine, views=views)) if mine else Batch()
        (share,), _ = shares([batch])
        output = wrapped(batch, share)
        output.total.backward()
        found[name] = (
            {key: value.grad.clone() for key, value in module.named_parameters()},
            to_host(output.numbers),
        )
    return found


def assert_same(found, want):
    for name, (gradients, numbers) in want.items():
        assert found[name][1] == pytest.approx(numbers, rel=1e-5, abs=1e-9), name
        norm = torch.cat([value.flatten() for value in gradients.values()]).norm()
        for key, gradient in gradients.items():
            difference = (found[name][0][key] - gradient).norm()
            assert float(difference) <= 1e-5 * float(norm), (name, key)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_image_network(tmp_path_factory.mktemp("processes") / "image.safetensors")


@pytest.mark.parametrize("parts", [[[0], [1, 2]], [[0, 1], [2]], [[0, 1, 2], []]])
def test_parts_have_the_gradient_of_the_whole(parts, file):
    want = step(file, [[0, 1, 2]])
    for found in values_of(run_processes(2, step, file, parts)):
        assert_same(found, want)


def test_a_joint_batch_in_which_nobody_sees_a_point(file):
    want = step(file, [[0, 1, 2]], (0, 0, 0))
    for found in values_of(run_processes(2, step, file, [[0], [1, 2]], (0, 0, 0))):
        assert_same(found, want)
        assert all(
            torch.isfinite(value).all()
            for gradients, _ in found.values()
            for value in gradients.values()
        )
    assert want["udakd"][1]["semantic"] == 0
