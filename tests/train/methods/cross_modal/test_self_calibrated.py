"""The self-calibrated sparse convolution against a dense one on a full grid."""

import pytest
import torch
from torch.nn import functional

from train.methods.cross_modal.self_calibrated import (
    AdaptationModule,
    SelfCalibratedConv,
    calibration_grid,
    mean_of_cells,
)

SIDE, CHANNELS = 8, 3


def full_grid(side=SIDE):
    axis = torch.arange(side)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).view(-1, 3)


def dense(module, volume, pooling):
    """The same formula with torch's dense convolutions; volume [C, X, Y, Z]."""

    def convolve(part, x):
        weight = part.conv.weight.permute(0, 4, 1, 2, 3)  # [O, I, k, k, k]
        found = functional.conv3d(x[None], weight, padding=1)[0]
        return functional.layer_norm(
            found.permute(1, 2, 3, 0), (len(found),), part.norm.weight, part.norm.bias, 1e-5
        ).permute(3, 0, 1, 2)

    coarse = convolve(module.k2, functional.avg_pool3d(volume[None], pooling)[0])
    up = functional.interpolate(coarse[None], scale_factor=pooling, mode="nearest")[0]
    gate = torch.sigmoid(volume + up)
    return convolve(module.k4, convolve(module.k3, volume) * gate)


@pytest.mark.parametrize("pooling", [2, 4])
def test_it_equals_a_dense_one_on_a_full_grid(pooling):
    torch.manual_seed(0)
    module = SelfCalibratedConv(CHANNELS).double()
    for part in (module.k2, module.k3, module.k4):
        torch.nn.init.normal_(part.norm.bias)
    coord = full_grid()
    order = torch.randperm(len(coord))
    features = torch.randn(len(coord), CHANNELS, dtype=torch.float64)
    grid = calibration_grid(coord[order], torch.tensor([len(coord)]), pooling)
    found = module(features[order], grid)
    volume = features.t().reshape(CHANNELS, SIDE, SIDE, SIDE)
    want = dense(module, volume, pooling).reshape(CHANNELS, -1).t()
    torch.testing.assert_close(found, want[order])


def test_the_mean_is_over_the_voxels_that_are_there():
    coord = torch.tensor([[0, 0, 0], [1, 3, 2], [4, 0, 0]])
    grid = calibration_grid(coord, torch.tensor([3]), 4)
    assert mean_of_cells(torch.tensor([[1.0], [5.0], [7.0]]), grid).tolist() == [[3.0], [7.0]]
    assert grid.cell.tolist() == [0, 0, 1]


@pytest.mark.parametrize("self_calibrated", [True, False])
def test_clouds_do_not_see_each_other(self_calibrated):
    torch.manual_seed(0)
    module = AdaptationModule(5, 8, pooling=2, self_calibrated=self_calibrated)
    coord = full_grid(4)
    features = torch.randn(2 * len(coord), 5)
    offset = torch.tensor([len(coord), 2 * len(coord)])
    joint = module(features, coord.repeat(2, 1), offset)
    assert joint.shape == (2 * len(coord), 8)
    alone = module(features[len(coord) :], coord, offset[:1])
    torch.testing.assert_close(joint[len(coord) :], alone)


def test_with_it_a_voxel_sees_its_neighborhood_and_without_it_does_not():
    features = torch.randn(64, 5)
    changed = features.clone()
    changed[0] += 1
    for self_calibrated, reached in ((True, 64), (False, 1)):
        torch.manual_seed(0)
        module = AdaptationModule(5, 8, pooling=4, self_calibrated=self_calibrated)
        place = (full_grid(4), torch.tensor([64]))
        rows = (module(features, *place) - module(changed, *place)).abs().amax(dim=1) > 1e-6
        assert int(rows.sum()) <= reached
        assert int(rows.sum()) > reached // 2
