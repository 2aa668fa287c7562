"""LitePT in plain torch: convolutions in the fine stages, attention in the coarse ones."""

from train.networks.litept.segmentor import LitePT, build_litept
from train.networks.litept.sizes import SIZES, LitePTConfig, litept_config

__all__ = ["SIZES", "LitePT", "LitePTConfig", "build_litept", "litept_config"]
