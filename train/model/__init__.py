"""Point Transformer V3 in plain torch: no CUDA package is needed, official weights load."""

from train.model.hierarchy import Hierarchy, Level, build_hierarchy
from train.model.pointcept import CheckpointReport, load_pointcept_checkpoint
from train.model.segmentor import Segmentor, build_segmentor
from train.model.sizes import SIZES, NetworkConfig, network_config

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
