"""Networks that come with the package: trained long on simulated streets, so ours to publish."""

from train.networks.pretrained.registry import PRETRAINED, pretrained_path
from train.networks.pretrained.weight_card import (
    PretrainedCard,
    page,
    read_card,
    save_pretrained,
)

__all__ = [
    "PRETRAINED",
    "PretrainedCard",
    "page",
    "pretrained_path",
    "read_card",
    "save_pretrained",
]
