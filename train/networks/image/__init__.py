"""Networks that see camera images: a small one of our own, and frozen backbones with a linear head.

They are no `Network`s, which see points: methods read features and logits at pixels from them.
"""

from train.networks.image.image_file import (
    ImageCard,
    load_image_network,
    refuse_other_classes,
    save_image_network,
)
from train.networks.image.network import IMAGE_SIZE, ImageNetwork

__all__ = [
    "IMAGE_SIZE",
    "ImageCard",
    "ImageNetwork",
    "load_image_network",
    "refuse_other_classes",
    "save_image_network",
]
