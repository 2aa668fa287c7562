"""Networks for clouds as (B, N, 3): PointNet for matching, and others to evaluate on."""

from train.dataset_distillation.networks.build import NETWORKS, build_network
from train.dataset_distillation.networks.pointnet import PointNet

__all__ = ["NETWORKS", "PointNet", "build_network"]
