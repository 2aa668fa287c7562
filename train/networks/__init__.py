"""Networks behind one protocol, their registry, and their weights in and out."""

from train.networks.pretrained_folder import from_pretrained, save_pretrained

__all__ = ["from_pretrained", "save_pretrained"]
