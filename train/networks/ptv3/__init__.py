"""Point Transformer V3 in plain torch: no CUDA package is needed, official weights load."""

from train.networks.ptv3.hierarchy import Hierarchy, Level, build_hierarchy
from train.networks.ptv3.segmentor import Segmentor, build_segmentor
from train.networks.ptv3.sizes import SIZES, NetworkConfig, network_config

__all__ = [
    "SIZES",
    "Hierarchy",
    "Level",
    "NetworkConfig",
    "Segmentor",
    "build_hierarchy",
    "build_segmentor",
    "network_config",
]
