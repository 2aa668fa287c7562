"""Which networks there are; each is imported when it is chosen."""

import importlib
from typing import Any, Final

from train.core.errors import UserError
from train.networks.protocol import Network, NetworkSpec

NETWORKS: Final = {
    "ptv3": "train.networks.ptv3:build_segmentor",
}
"""Name -> "module:builder", called as `builder(size, num_classes, in_channels, **overrides)`."""

PAIRS: Final = {
    "paper": ("ptv3:teacher", "ptv3:student"),
    "tiny": ("ptv3:tiny-teacher", "ptv3:tiny-student"),
}
"""Teacher and student of each choice of `--model`."""


def build_network(spec: NetworkSpec, **options: Any) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    spec
        Which network, of which size and widths.
    **options
        How to compute, where the network offers a choice (`convolution`, `attention`); they change
        no weights and are not part of the spec.

    Raises
    ------
    UserError
        If there is no such network.
    ValueError
        If the network has no such size or option.
    """
    if spec.network not in NETWORKS:
        raise UserError(f"unknown network {spec.network!r}; known: {', '.join(sorted(NETWORKS))}")
    module, builder = NETWORKS[spec.network].split(":")
    made: Network = getattr(importlib.import_module(module), builder)(
        spec.size, spec.num_classes, spec.in_channels, **{**spec.overrides, **options}
    )
    return made


def parse_network(flag: str, name: str) -> tuple[str, str]:
    """Return network and size of "NETWORK:SIZE".

    Raises
    ------
    UserError
        If the network is unknown or the size is missing.
    """
    network, _, size = name.partition(":")
    if network not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise UserError(f"--{flag} {name}: unknown network {network!r}; known: {known}")
    if not size:
        raise UserError(f"--{flag} {name}: say which size, NETWORK:SIZE, as in ptv3:tiny-student")
    return network, size
