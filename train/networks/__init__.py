"""Networks behind one protocol, their registry, and their weights in and out."""

from train.networks.pretrained_folder import save_pretrained

__all__ = ["save_pretrained"]
