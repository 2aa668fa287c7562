"""Networks that come with the package: trained long on simulated scenes, so ours to publish."""

from pathlib import Path
from typing import Final

from train.networks.pretrained.weight_card import (
    PretrainedCard,
    page,
    read_card,
    save_pretrained,
)
from train.networks.weights import SHIPPED

__all__ = [
    "PRETRAINED",
    "PretrainedCard",
    "page",
    "pretrained_path",
    "read_card",
    "save_pretrained",
]

PRETRAINED: Final = {
    ("waymo", "ptv3:tiny-teacher", True): SHIPPED["waymo-simulated"],
}
"""Dataset, "NETWORK:SIZE", whether it learned from simulated frames -> file in this folder."""


def pretrained_path(dataset: str, network: str, *, simulated: bool) -> Path | None:
    """Return the file of the network that comes with the package; None where none does.

    Whether the file is there and readable is not looked at.
    """
    name = PRETRAINED.get((dataset, network, simulated))
    return None if name is None else Path(__file__).with_name(name)
