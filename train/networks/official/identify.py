"""Which network a third-party checkpoint holds, found from its keys and shapes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from train.core.console import logger
from train.core.errors import UserError
from train.core.tensor_file import misfits, refuse_not_finite
from train.networks.litept.sizes import SIZES as LITEPT_SIZES
from train.networks.official.checkpoint import (
    HEAD,
    STEM,
    Form,
    OfficialFile,
    shortened,
    stage_shapes,
)
from train.networks.protocol import NetworkSpec
from train.networks.ptv3.hierarchy_config import HierarchyConfig
from train.networks.ptv3.sizes import SIZES as PTV3_SIZES
from train.networks.registry import build_network

CANDIDATES: Final = tuple(
    NetworkSpec(network, size, 16, 4)
    for network, sizes in (("ptv3", ("teacher", "student")), ("litept", ("S", "S*", "B", "L")))
    for size in sizes
)
"""The published networks, of which the nearest is named where a file is none of them."""

USUAL_HEAD_WIDTH: Final = 16
"""Channels of an attention head of every published PTv3; a file's shapes do not tell."""


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
    spec = _inferred(file, form)
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


def _inferred(file: OfficialFile, form: Form | None) -> NetworkSpec:
    """Return the network that a file's blocks, depths and widths are of."""
    for part, (network, infer) in INFERRERS.items():
        first = f".block0.{part}.0.weight"  # the first weight of that part of a stage
        if any(key.startswith("backbone.") and key.endswith(first) for key in file.state):
            size, overrides = infer(file, form)
            num_classes, in_channels = file.state[HEAD].shape[0], file.state[STEM].shape[-1]
            return NetworkSpec(network, size, num_classes, in_channels, overrides)
    raise _nearest(file)


Inferred = tuple[str, dict[str, Any]]
"""A size by name, and what of it is to be overridden."""


def _infer_ptv3(file: OfficialFile, form: Form | None) -> Inferred:
    """Return the PTv3 whose depths and widths a file's keys and shapes have."""
    if form is None:
        raise UserError(
            f"{file.path}: a PTv3 of Pointcept, and the file cannot say which version of the code "
            "it was trained with: say v1.5.1 for the weights that Pointcept released and all that "
            "were trained before 2024-03-26, main for newer ones (train.run: --teacher-form, other "
            "commands: --form)"
        )
    shapes = stage_shapes(file, "PTv3")
    forms = {"cpe_input": form, "depth_rule": form}
    size = _known_size(PTV3_SIZES, shapes)
    if size is not None:
        return size, forms
    widths = (shapes["enc_channels"], shapes["dec_channels"])
    if any(width % USUAL_HEAD_WIDTH for side in widths for width in side):
        raise UserError(
            f"{file.path}: a PTv3 of widths {widths[0]} and {widths[1]}, which do not divide into "
            f"heads of {USUAL_HEAD_WIDTH} channels; its number of heads is unknown"
        )
    logger.info(
        f"note: {file.path}: a PTv3 of depths {shapes['enc_depths']} and {shapes['dec_depths']}, "
        f"widths {widths[0]} and {widths[1]}, none of the published; taken to have "
        f"{USUAL_HEAD_WIDTH} channels per head and patches of 1024, which the file does not say"
    )
    overrides: dict[str, Any] = {}
    for side, channels in zip(("enc", "dec"), widths, strict=True):
        overrides[f"{side}_depths"] = shapes[f"{side}_depths"]
        overrides[f"{side}_channels"] = channels
        overrides[f"{side}_heads"] = tuple(width // USUAL_HEAD_WIDTH for width in channels)
    return "teacher", {**overrides, **forms}


def _infer_litept(file: OfficialFile, form: Form | None) -> Inferred:
    """Return the LitePT whose depths, widths and kinds of blocks a file's keys and shapes have.

    Head width, patch size and base are not in a file: those of the paper's sizes are taken, which
    all have the same.
    """
    if form is not None:
        raise UserError(
            f"{file.path}: a LitePT, which has one form alone; leave out the form (--teacher-form,"
            " --form)"
        )
    shapes: dict[str, tuple[Any, ...]] = {**stage_shapes(file, "LitePT")}
    has = {
        f"{side}_{what}": tuple(
            any(key.startswith(f"backbone.{side}.{side}{s}.block0.{part}.") for key in file.state)
            for s in range(len(shapes[f"{side}_depths"]))
        )
        for side in ("enc", "dec")
        for what, part in (("conv", "conv"), ("attention", "attn"))
    }
    # What a decoder's blocks would be says nothing where it has none.
    encoder = {field: value for field, value in has.items() if field.startswith("enc")}
    size = _known_size(LITEPT_SIZES, shapes | encoder)
    return ("S", shapes | has) if size is None else (size, {})


def _known_size(
    sizes: Mapping[str, HierarchyConfig], shapes: Mapping[str, tuple[Any, ...]]
) -> str | None:
    """Return the size whose configuration has these values; None if none does."""
    for name, config in sizes.items():
        if all(getattr(config, field) == value for field, value in shapes.items()):
            return name
    return None


INFERRERS: Final[dict[str, tuple[str, Callable[[OfficialFile, Form | None], Inferred]]]] = {
    "cpe": ("ptv3", _infer_ptv3),
    "conv": ("litept", _infer_litept),
}
"""The part of a block that is known by its name -> the network, and which of its sizes it is."""


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
    wrong = misfits(wanted, state)
    return "; ".join(
        f"{what} {shortened(wrong[kind])}"
        for what, kind in (
            ("lacks", "missing"),
            ("has besides", "unexpected"),
            ("has other shapes:", "reshaped"),
        )
        if wrong[kind]
    )


def _nearest(file: OfficialFile) -> UserError:
    """Return the complaint about a file of no network: which is nearest, and what differs."""
    state = file.state
    shared = []
    for spec in CANDIDATES:
        with torch.device("meta"):
            wanted = build_network(spec).state_dict()
        shared.append(sum(key in wanted and wanted[key].shape == state[key].shape for key in state))
    most = max(shared)
    if not most:
        return UserError(
            f"{file.path}: fits no network here: none of its {len(state)} keys is one of PTv3's or "
            f"LitePT's; it has {shortened(list(state))}"
        )
    best = CANDIDATES[shared.index(most)]
    return UserError(
        f"{file.path}: fits no network here; nearest is {best.network}:{best.size} ({most} of "
        f"{len(state)} keys), but it {differences(best, state)}"
    )


def load_state(spec: NetworkSpec, file: OfficialFile, **options: Any) -> Any:
    """Return the network with a file's weights, float32, on the CPU, in evaluation mode.

    Raises
    ------
    UserError
        If a weight is NaN or infinite.
    """
    refuse_not_finite(file.path, file.state, "copy it again")
    network = build_network(spec, **options)
    network.load_state_dict(file.state)
    return network.eval()
