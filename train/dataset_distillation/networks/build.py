"""The networks by name."""

from collections.abc import Callable, Mapping
from typing import Final

from torch import nn

from train.core.errors import UserError
from train.dataset_distillation.networks.dgcnn import DGCNN
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.networks.pointnet2 import PointNet2


def _dgcnn_small(num_classes: int) -> nn.Module:
    return DGCNN(num_classes, widths=(32, 32, 64, 64), embedding=256, hidden=128, k=12)


def _pointnet2_small(num_classes: int) -> nn.Module:
    return PointNet2(
        num_classes,
        centers=(128, 32),
        k=16,
        widths=((32, 32, 64), (64, 64, 128), (128, 256)),
        hidden=128,
    )


SMALL_POINTNET: Final = "pointnet-small"
SMALL_WIDTHS: Final = (32, 64, 256)
"""Of the small PointNet: an eighth of the work of the full one."""


def _pointnet_small(num_classes: int) -> nn.Module:
    return PointNet(num_classes, widths=SMALL_WIDTHS)


NETWORKS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "pointnet": PointNet,
    "pointnet++": PointNet2,
    "dgcnn": DGCNN,
    SMALL_POINTNET: _pointnet_small,
    "pointnet++-small": _pointnet2_small,
    "dgcnn-small": _dgcnn_small,
}
"""Name -> what makes an untrained classifier for a number of classes; `small` ones are for CPUs."""


def build_network(name: str, num_classes: int) -> nn.Module:
    """Return an untrained classifier of clouds (B, N, 3).

    Raises
    ------
    UserError
        If the name is unknown.
    """
    if name not in NETWORKS:
        raise UserError(f"network {name!r} is unknown; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name](num_classes)
