"""Point Transformer V3 in plain torch: no CUDA package is needed, official weights load."""

from train.networks.ptv3.hierarchy import Hierarchy, Level, build_hierarchy
from train.networks.ptv3.pointcept import CheckpointReport, load_pointcept_checkpoint
from train.networks.ptv3.segmentor import Segmentor, build_segmentor
from train.networks.ptv3.sizes import SIZES, NetworkConfig, network_config

__all__ = [
    "SIZES",
    "CheckpointReport",
    "Hierarchy",
    "Level",
    "NetworkConfig",
    "Segmentor",
    "build_hierarchy",
    "build_segmentor",
    "load_pointcept_checkpoint",
    "network_config",
]
