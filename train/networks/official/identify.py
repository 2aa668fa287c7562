"""Which network a third-party checkpoint holds, found from its keys and shapes."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from train.core.errors import UserError
from train.networks.official.checkpoint import HEAD, Form, OfficialFile, shortened
from train.networks.official.litept import infer_litept
from train.networks.official.ptv3 import infer_ptv3
from train.networks.protocol import NetworkSpec
from train.networks.registry import build_network

CANDIDATES: Final = (
    *((f"ptv3:{size}") for size in ("teacher", "student")),
    *((f"litept:{size}") for size in ("S", "S*", "B", "L")),
)
"""The published networks, of which the nearest is named where a file is none of them."""


def identify(file: OfficialFile, form: Form | None = None) -> NetworkSpec:
    """Return the network whose keys and shapes a file has.

    Parameters
    ----------
    file
        From `official_file`.
    form
        For a PTv3, whose keys cannot tell; see `FORMS`.

    Raises
    ------
    UserError
        If no network here has these keys and shapes (the nearest is named, and what differs), or a
        form is missing, or given for a network that has none.
    """
    state, path = file.state, file.path
    _refuse_relatives(file)
    if any(_is_block_part(key, "cpe") for key in state):
        if form is None:
            raise UserError(
                f"{path}: a PTv3 of Pointcept, and the file cannot say which version of the code it"
                " was trained with: say v1.5.1 for the weights that Pointcept released and all that"
                " were trained before 2024-03-26, main for newer ones (train.run: --teacher-form,"
                " other commands: --form)"
            )
        spec = infer_ptv3(file, form)
    elif any(_is_block_part(key, "conv") for key in state):
        if form is not None:
            raise UserError(
                f"{path}: a LitePT, which has one form alone; leave out the form (--teacher-form,"
                " --form)"
            )
        spec = infer_litept(file)
    else:
        raise _nearest(file)
    try:
        problems = differences(spec, state)
    except ValueError as error:
        raise UserError(f"{path}: a {spec.network} that cannot be built here: {error}") from error
    if problems:
        raise UserError(
            f"{path}: is nearly a {spec.network}:{spec.size}, but {problems}; no network here has "
            "these weights"
        )
    return spec


def _is_block_part(key: str, part: str) -> bool:
    """Return whether a key is the first weight of a part of a stage's first block."""
    return key.startswith("backbone.") and key.endswith(f".block0.{part}.0.weight")


def _refuse_relatives(file: OfficialFile) -> None:
    """Refuse, by name, networks whose keys look like those that are known."""
    keys, path = file.state.keys(), file.path
    if "backbone.embedding.stem.linear.weight" in keys or "embedding.stem.linear.weight" in keys:
        raise UserError(
            f"{path}: a PT-v3m2 (Sonata, Concerto, Utonia), another network of which there is no "
            "implementation here"
        )
    if any(key.endswith("rpe.rpe_table") for key in keys):
        raise UserError(
            f"{path}: a PTv3 with relative position tables (enable_rpe), which the PTv3 here does "
            "not have"
        )
    if any(".norm.0.norm." in key or ".norm.0.modulation." in key for key in keys):
        raise UserError(
            f"{path}: a PTv3 with one norm per dataset (PDNorm, trained with PPT), which the PTv3 "
            "here does not have"
        )
    if HEAD not in keys and any("embedding.stem.conv" in key for key in keys):
        raise UserError(
            f"{path}: no '{HEAD}' in the checkpoint: a backbone without a head predicts no classes;"
            " give the checkpoint of a segmentation network"
        )


def differences(spec: NetworkSpec, state: Mapping[str, Tensor]) -> str:
    """Return in a few words how a state differs from a network's; "" if it fits."""
    with torch.device("meta"):
        wanted = build_network(spec).state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    return "; ".join(
        f"{what} {shortened(keys)}"
        for what, keys in (
            ("lacks", missing),
            ("has besides", unexpected),
            ("has other shapes:", reshaped),
        )
        if keys
    )


def _candidate(name: str) -> NetworkSpec:
    network, size = name.split(":")
    return NetworkSpec(network, size, 16, 4)


def _nearest(file: OfficialFile) -> UserError:
    """Return the complaint about a file of no network: which is nearest, and what differs."""
    state = file.state
    best, most = "", -1
    for name in CANDIDATES:
        spec = _candidate(name)
        with torch.device("meta"):
            wanted = build_network(spec).state_dict()
        shared = sum(key in wanted and wanted[key].shape == state[key].shape for key in state)
        if shared > most:
            best, most = name, shared
    if most <= 0:
        return UserError(
            f"{file.path}: fits no network here: none of its {len(state)} keys is one of PTv3's or "
            f"LitePT's; it has {shortened(list(state))}"
        )
    told = differences(_candidate(best), state)
    return UserError(
        f"{file.path}: fits no network here; nearest is {best} ({most} of {len(state)} keys), but "
        f"it {told}"
    )


def load_state(spec: NetworkSpec, file: OfficialFile, **options: Any) -> Any:
    """Return the network with a file's weights, float32, on the CPU, in evaluation mode.

    Raises
    ------
    UserError
        If a weight is NaN or infinite.
    """
    for name, tensor in file.state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{file.path}: {name} has NaN or infinite entries; copy it again")
    network = build_network(spec, **options)
    network.load_state_dict(file.state)
    return network.eval()
