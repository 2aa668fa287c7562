"""Networks: order of points, each layer by its formula, and those on frames."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.dataset_distillation.frames.toy_scenes import scenes
from train.core.errors import UserError
from train.dataset_distillation.networks.classifiers import (
    DGCNN,
    NETWORKS,
    PointNet2,
    build_network,
    farthest_points,
    gather_points,
    nearest,
    squared_distances,
)
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.networks.segmenters import (
    SEGMENTERS,
    VoxelSegmenter,
    build_segmenter,
    voxel_batch,
)
from train.networks.protocol import NetworkOutput
from train.networks.ptv3 import build_segmentor

SMALL = {
    "pointnet": lambda: PointNet(5, widths=(8, 16, 32)),
    "pointnet++": lambda: PointNet2(
        5, centers=(16, 8), radii=(0.5, 1.0), k=8, widths=((8,), (8,), (16,)), hidden=8
    ),
    "dgcnn": lambda: DGCNN(5, widths=(8, 8), embedding=16, hidden=8, k=4),
}


def clouds(number=3, points=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, points, 3, generator=generator) - 0.5


@pytest.mark.parametrize("name", SMALL)
def test_logits_do_not_depend_on_the_order_of_points(name):
    torch.manual_seed(0)
    network = SMALL[name]().eval()
    points = clouds()
    # The first point stays: PointNet++ starts its centers there.
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(39)])
    with torch.no_grad():
        want = network(points)
        assert want.shape == (3, 5)
        torch.testing.assert_close(network(points[:, order]), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_learns(name):
    torch.manual_seed(0)
    network = SMALL[name]().train()
    torch.nn.functional.cross_entropy(network(clouds()), torch.tensor([0, 1, 2])).backward()
    for weight, parameter in network.named_parameters():
        assert parameter.grad is not None, weight
        assert parameter.grad.abs().sum() > 0 or "bias" in weight, weight


def test_pointnet_of_the_paper_has_no_relu_before_the_pool():
    network = PointNet(4)
    assert [tuple(layer.weight.shape) for layer in network.layers] == [
        (64, 3, 1),
        (128, 64, 1),
        (1024, 128, 1),
    ]
    assert all(isinstance(norm, nn.InstanceNorm1d) for norm in network.norms)
    # Norms without a ReLU after them have negative values at most points.
    assert network._levels(clouds())[-1].min() < 0


def test_pointnet_segments_each_point():
    torch.manual_seed(0)
    network = PointNet(4, widths=(8, 16, 32), norm="batch", segments=True)
    points = clouds()
    assert network(points).shape == (3, 4, 40)
    order = torch.randperm(40)
    torch.testing.assert_close(
        network.eval()(points[:, order]), network(points)[:, :, order], rtol=1e-4, atol=1e-5
    )


def test_dgcnn_s_edges_are_those_of_the_paper():
    """Eq. 8 of Wang et al.: one linear layer on (neighbor - center, center), written out."""
    torch.manual_seed(0)
    network = DGCNN(2, widths=(6,), embedding=4, hidden=4, k=3).eval()
    points = clouds(1, 10)
    weight = torch.cat([network.to_neighbor[0].weight, network.to_center[0].weight], dim=1)
    index = nearest(points, points, 3)
    edges = torch.cat(
        [
            gather_points(points, index) - points[:, :, None],
            points[:, :, None].expand(-1, -1, 3, -1),
        ],
        dim=-1,
    )
    want = network.norms[0]((edges @ weight.T).flatten(0, 2)).view(1, 10, 3, 6)
    want = torch.nn.functional.leaky_relu(want, 0.2).amax(dim=2)
    caught = []
    network.embed.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    network(points)
    torch.testing.assert_close(caught[0], want, rtol=1e-4, atol=1e-5)


def test_neighbors_against_a_plain_search():
    a, b = clouds(2, 7, 1), clouds(2, 20, 2)
    want = np.linalg.norm(a.numpy()[:, :, None] - b.numpy()[:, None], axis=-1)
    np.testing.assert_allclose(squared_distances(a, b).sqrt(), want, atol=1e-4)
    assert np.array_equal(nearest(a, b, 5).numpy(), want.argsort(axis=2)[:, :, :5])
    assert nearest(a, b, 50).shape == (2, 7, 20)


def test_farthest_points_against_a_plain_search():
    points = clouds(1, 30)
    chosen = farthest_points(points, 6)[0].tolist()
    cloud = points[0].numpy()
    want = [0]
    while len(want) < 6:
        apart = np.linalg.norm(cloud[:, None] - cloud[want], axis=2).min(axis=1)
        want.append(int(apart.argmax()))
    assert chosen == want
    with pytest.raises(ValueError, match="number is 31"):
        farthest_points(points, 31)


def test_a_ball_holds_no_point_beyond_its_radius():
    network = SMALL["pointnet++"]()
    centers, points = clouds(2, 4, 3), clouds(2, 50, 4)
    centers = points[:, :4] + 0 * centers
    around = gather_points(points, network._ball(centers, points, 0.3))
    assert (around - centers[:, :, None]).norm(dim=-1).max() <= 0.3 + 1e-6


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if "small" in name or name == "pointnet"]
)
def test_every_name_builds_what_it_says(name):
    assert build_network(name, 7).eval()(clouds(2, 64)).shape == (2, 7)


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="choose one of pointnet"):
        build_network("pointnet3", 7)


# ---- networks on frames --------------------------------------------------------------------------


def test_voxels_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    coord = torch.from_numpy(rng.uniform(-3, 3, (3, 50, 3)).astype(np.float32))
    coord[1, 7] = coord[1, 3]  # two points at one place
    strength = torch.from_numpy(rng.random((3, 50)).astype(np.float32))
    batch, voxel_of = voxel_batch(coord, strength, 0.8)
    ends = [0, *batch["offset"].tolist()]
    for frame in range(3):
        cells = np.floor(coord[frame].numpy().astype(np.float32) / np.float32(0.8)).astype(int)
        cells -= cells.min(axis=0)
        first = {}
        for point, cell in enumerate(map(tuple, cells)):
            first.setdefault(cell, point)
        rows = slice(ends[frame], ends[frame + 1])
        found = {tuple(cell): row for row, cell in enumerate(batch["grid_coord"][rows].tolist())}
        assert found.keys() == first.keys()
        for cell, point in first.items():
            row = ends[frame] + found[cell]
            assert torch.equal(batch["coord"][row], coord[frame, point])
            assert torch.equal(batch["feat"][row, :3], coord[frame, point])
            assert batch["feat"][row, 3] == strength[frame, point]
        for point, cell in enumerate(map(tuple, cells)):
            assert voxel_of[frame * 50 + point] == ends[frame] + found[cell]


def test_a_point_has_the_logits_of_its_voxel_in_meters():
    class Echo(torch.nn.Module):
        coarsest_cell_voxels = 2

        def forward(self, batch):
            return NetworkOutput(batch["coord"], {}, {})

    network = VoxelSegmenter(Echo(), 0.5, 20.0)
    points = torch.rand(2, 40, 3)
    logits = network(points, torch.zeros(2, 40))
    assert logits.shape == (2, 3, 40)
    # The voxel's first point is less than a voxel away, and in meters.
    assert ((logits.transpose(1, 2) - 20 * points).abs() < 0.5).all()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_network_gives_logits_and_gradients_of_one_frame_too(name):
    torch.manual_seed(0)
    frames = scenes(2)
    network = build_segmenter(name, 4, 0.5, frames.meters).train()
    for number in (1, 2):
        points = torch.from_numpy(frames.points[:number])
        logits = network(points, torch.from_numpy(frames.strength[:number]))
        assert logits.shape == (number, 4, 120)
    logits.square().sum().backward()
    grads = [p.grad for p in network.parameters() if p.requires_grad]
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in grads) > len(grads) // 2


def test_ptv3_is_the_registrys_own():
    network = build_segmenter("ptv3", 4, 0.5, 10.0)
    assert network.network.spec().size == "tiny-student"
    assert network.network.in_channels == 4


def test_mistakes_are_named():
    for name, grid_size_m, words in (
        ("dgcnn", 0.5, "'dgcnn' is unknown for LiDAR frames"),
        ("ptv3", 1.0, "too large for frames of 10 m"),
        ("ptv3", 1e-4, "too many voxels"),
        ("ptv3", 0.0, "grid_size_m"),
    ):
        with pytest.raises(UserError, match=words):
            build_segmenter(name, 4, grid_size_m, 10.0)
    tiny = build_segmentor("tiny-student", 4, 4)
    with pytest.raises(ValueError, match="frames; give at most"):
        voxel_batch(torch.zeros(1, 1, 3).expand(40_000, 1, 3), torch.zeros(40_000, 1), 1.0)
    assert tiny.coarsest_cell_voxels == 16
