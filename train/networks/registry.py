"""Which networks there are, each imported when it is chosen; a file of the user's is one, too."""

import importlib
from pathlib import Path
from typing import Any, Final

from train.core.errors import UserError
from train.core.user_file import call_in_file, is_in_user_file, is_user_file, parse_in_file
from train.networks.protocol import Network, NetworkSpec

NETWORKS: Final = {
    "litept": "train.networks.litept:build_litept",
    "ptv3": "train.networks.ptv3:build_segmentor",
}
"""Name -> "module:builder", called as `builder(size, num_classes, in_channels, **overrides)`."""

PAIRS: Final = {
    "paper": ("ptv3:teacher", "ptv3:student"),
    "tiny": ("ptv3:tiny-teacher", "ptv3:tiny-student"),
}
"""Teacher and student of each choice of `--model`."""

SIZE_ALIASES: Final = {("litept", "S-star"): "S*"}
"""Names without a star, which shells take for a pattern."""

FORM_FIELDS: Final = {"ptv3": ("cpe_input", "depth_rule")}
"""Options of a network that change what equal weights compute: teacher and student have them alike.
"""


def build_network(spec: NetworkSpec, **options: Any) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    spec
        Which network, of which size and widths. A `network` that ends in ``.py`` is a file, and
        `size` the function in it that is called as `function(num_classes, in_channels)`.
    **options
        How to compute, where the network offers a choice (`convolution`, `attention`); they change
        no weights and are not part of the spec.

    Raises
    ------
    UserError
        If there is no such network, or its file does not build one.
    ValueError
        If the network has no such size or option.
    """
    if is_user_file(spec.network):
        made = call_in_file(
            Path(spec.network),
            spec.size,
            spec.num_classes,
            spec.in_channels,
            **{**spec.overrides, **options},
        )
        return _checked(made, spec)
    if spec.network not in NETWORKS:
        raise UserError(f"unknown network {spec.network!r}; known: {', '.join(sorted(NETWORKS))}")
    module, name = NETWORKS[spec.network].split(":")
    network: Network = getattr(importlib.import_module(module), name)(
        spec.size, spec.num_classes, spec.in_channels, **{**spec.overrides, **options}
    )
    return network


def _checked(made: Any, spec: NetworkSpec) -> Network:
    """Return what a user's function returned, if it is a network of the widths asked for."""
    where = f"{spec.network}:{spec.size}"
    if not isinstance(made, Network):
        raise UserError(
            f"{where} returned a {type(made).__name__}, not a train.networks.protocol.Network; "
            "docs/guides/own_network.md has an example"
        )
    for name in ("num_classes", "in_channels"):
        has, wanted = getattr(made, name, None), getattr(spec, name)
        if has != wanted:
            raise UserError(
                f"{where}: the network's {name} is {has}, it was asked for {wanted}; set "
                f"self.{name} from the argument"
            )
    stages = (*made.encoder_stages, *getattr(made, "decoder_stages", ()))
    if not getattr(made, "decoder_stages", ()):
        raise UserError(f"{where}: the network has no decoder_stages; name at least one stage")
    without = [stage for stage in stages if stage not in made.stage_channels]
    if without:
        raise UserError(f"{where}: stage_channels has no width of {', '.join(without)}")
    made.built_from = spec
    return made


def parse_network(flag: str, name: str) -> tuple[str, str]:
    """Return network and size of "NETWORK:SIZE", or file and function of "FILE.py:FUNCTION".

    Raises
    ------
    UserError
        If the network or the file is unknown, or the size or function is missing.
    """
    if is_in_user_file(name):
        return parse_in_file(flag, name, "FUNCTION")
    network, _, size = name.partition(":")
    if network not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise UserError(
            f"--{flag} {name}: unknown network {network!r}; known: {known}, or FILE.py:FUNCTION"
        )
    if not size:
        raise UserError(f"--{flag} {name}: say which size, NETWORK:SIZE, as in ptv3:tiny-student")
    return network, SIZE_ALIASES.get((network, size), size)


def network_name(spec: NetworkSpec) -> str:
    """Return a network as the flags name it."""
    return f"{spec.network}:{spec.size}"


def form_of(spec: NetworkSpec, network: str) -> dict[str, Any]:
    """Return what a network of the registry takes over from a teacher: the form of its code.

    Parameters
    ----------
    spec
        The teacher.
    network
        The student's name in `NETWORKS`; another network than the teacher's takes nothing.
    """
    if spec.network != network:
        return {}
    return {
        name: spec.overrides[name]
        for name in FORM_FIELDS.get(network, ())
        if name in spec.overrides
    }
