"""Networks that name the class of every point of a LiDAR frame: PointNet, and PTv3 on voxels.

Shape letters: B frames, N points of each, V voxels of all, C classes.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from train.core.errors import UserError
from train.data.frame import IN_CHANNELS
from train.data.transforms import MAX_GRID, check_grid_size
from train.dataset_distillation.networks.pointnet import PointNet
from train.networks.protocol import Network, NetworkOutput, NetworkSpec
from train.networks.registry import build_network

HEIGHT: Final = 4.0
"""How much a PointNet's input and a generator's output are stretched along z: a scene is wide and
flat, and what a point is of depends on its height first. Without, the gradients that are matched
hardly depend on heights."""
_CELL_BITS: Final = 16
_MAX_FRAMES: Final = 1 << (63 - 3 * _CELL_BITS)


class PointSegmenter(nn.Module):
    """A PointNet on stretched coordinates in the unit range; strengths are not looked at."""

    def __init__(
        self, num_classes: int, height: float, widths: tuple[int, ...] = (64, 128, 1024)
    ) -> None:
        super().__init__()
        self.height = height
        self.network = PointNet(num_classes, widths=widths, norm="batch", segments=True)

    def forward(self, points: Tensor, strength: Tensor) -> Tensor:
        """Return logits (B, C, N) of frames (B, N, 3) with strengths (B, N)."""
        del strength
        logits: Tensor = self.network(self.seen(points))
        return logits

    def seen(self, points: Tensor) -> Tensor:
        """Return what the PointNet is given of frames (B, N, 3)."""
        return points * points.new_tensor([1.0, 1.0, self.height])


class VoxelSegmenter(nn.Module):
    """A network of `train.networks.registry` behind the same call: voxels in, logits per point out.

    A voxel stands for its first point, as in training on frames; all of its points have its logits.
    The network has four input channels; `meters` is one unit of the coordinates. UserError if
    frames of that range do not have two cells of the coarsest stage.
    """

    def __init__(self, network: Network, grid_size_m: float, meters: float) -> None:
        super().__init__()
        check_grid_size(grid_size_m)
        coarsest = network.coarsest_cell_voxels * grid_size_m
        if coarsest >= meters:
            raise UserError(
                f"--grid-size-m {grid_size_m:g}: the network's coarsest cells are {coarsest:g} m "
                f"wide, too large for frames of {meters:g} m; give a smaller grid, or a larger "
                "--range-m"
            )
        if 2 * meters / grid_size_m + 2 > MAX_GRID:
            raise UserError(
                f"--grid-size-m {grid_size_m:g}: too many voxels along {2 * meters:g} m; give a "
                "larger grid"
            )
        self.network, self.grid_size_m, self.meters = network, grid_size_m, meters

    def forward(self, points: Tensor, strength: Tensor) -> Tensor:
        """Return logits (B, C, N) of frames (B, N, 3) in the unit range, strengths (B, N)."""
        batch, voxel_of = voxel_batch(points * self.meters, strength, self.grid_size_m)
        found: NetworkOutput = self.network(batch)
        logits = found.logits[voxel_of]
        return logits.view(*points.shape[:2], -1).transpose(1, 2)


def voxel_batch(
    coord: Tensor, strength: Tensor, grid_size_m: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Return frames of meters (B, N, 3) as a network takes them, and each point's voxel.

    The batch: `feat` [V, 4], `coord` [V, 3], `grid_coord` [V, 3] int64 with the smallest of each
    frame 0, `offset` [B] int64. ValueError if there are more frames, or voxels along an axis, than
    a key has room for.
    """
    if len(coord) > _MAX_FRAMES:
        raise ValueError(f"voxel_batch: {len(coord)} frames; give at most {_MAX_FRAMES}")
    cell = torch.floor(coord / grid_size_m).long()
    cell = cell - cell.amin(dim=1, keepdim=True)
    if int(cell.max()) >= 1 << _CELL_BITS:
        raise ValueError(f"voxel_batch: {int(cell.max()) + 1} voxels along an axis; too many")
    frame = torch.arange(len(coord), device=coord.device)[:, None].expand(coord.shape[:2])
    key = frame
    for axis in range(3):
        key = (key << _CELL_BITS) + cell[..., axis]
    voxels, voxel_of = torch.unique(key.flatten(), return_inverse=True)
    place = torch.arange(len(voxel_of), device=coord.device)
    first = place.new_full((len(voxels),), len(place)).scatter_reduce(0, voxel_of, place, "amin")
    flat = coord.flatten(0, 1)[first]
    batch = {
        "feat": torch.cat([flat, strength.flatten()[first][:, None]], dim=1),
        "coord": flat,
        "grid_coord": cell.flatten(0, 1)[first],
        "offset": torch.bincount(frame.flatten()[first], minlength=len(coord)).cumsum(0),
    }
    return batch, voxel_of


def _ptv3(num_classes: int, grid_size_m: float, meters: float) -> nn.Module:
    spec = NetworkSpec("ptv3", "tiny-student", num_classes, IN_CHANNELS)
    return VoxelSegmenter(build_network(spec), grid_size_m, meters)


SEGMENTERS: Final[Mapping[str, Callable[[int, float, float], nn.Module]]] = {
    "pointnet": lambda classes, *_: PointSegmenter(classes, HEIGHT),
    "pointnet-small": lambda classes, *_: PointSegmenter(classes, HEIGHT, widths=(64, 128, 256)),
    "ptv3": _ptv3,
}
"""Name -> what makes an untrained network for a number of classes, a voxel's edge and the unit of
the coordinates, both in meters; `small` ones are for CPUs."""


def build_segmenter(name: str, num_classes: int, grid_size_m: float, meters: float) -> nn.Module:
    """Return an untrained network, called with points (B, N, 3) and strengths (B, N).

    Raises
    ------
    UserError
        If the name is unknown, or the grid does not fit.
    """
    if name not in SEGMENTERS:
        raise UserError(
            f"network {name!r} is unknown for LiDAR frames; choose one of {', '.join(SEGMENTERS)}"
        )
    return SEGMENTERS[name](num_classes, grid_size_m, meters)
