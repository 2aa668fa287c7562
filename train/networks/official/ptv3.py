"""Pointcept's PTv3 checkpoints: which network a file holds, the names of its keys, and a reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from train.core.console import logger
from train.core.errors import ClassCountError, UserError
from train.networks.official.checkpoint import (
    HEAD,
    STEM,
    WRAPPER,
    Form,
    OfficialFile,
    is_ours,
    official_file,
    read_content,
    shortened,
    stage_shapes,
)
from train.networks.protocol import NetworkSpec
from train.networks.ptv3.block import CpeInput
from train.networks.ptv3.segmentor import Segmentor, build_segmentor
from train.networks.ptv3.sizes import SIZES

USUAL_HEAD_WIDTH: Final = 16
"""Channels of an attention head of every published PTv3; a file's shapes do not tell."""

PUBLISHED: Final = ("teacher", "student", "tiny-teacher", "tiny-student")


def from_pointcept_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of Pointcept's under our names: the same, without the wrapper's prefix.

    Our modules have the official names. LitePT's checkpoints are named alike.
    """
    return {str(key).removeprefix(WRAPPER): value for key, value in state.items()}


def to_pointcept_keys(state: Mapping[str, Tensor], *, wrapped: bool = True) -> dict[str, Tensor]:
    """Return our state dict under the names that Pointcept's trainer writes.

    Parameters
    ----------
    state
        Of a PTv3 or a LitePT of this package.
    wrapped
        With the prefix ``module.`` of a network that was trained on several GPUs, as the published
        files have it; Pointcept's own loader takes both.
    """
    prefix = WRAPPER if wrapped else ""
    return {f"{prefix}{key}": value for key, value in state.items()}


def infer_ptv3(file: OfficialFile, form: Form) -> NetworkSpec:
    """Return the PTv3 whose depths and widths a file's keys and shapes have.

    Parameters
    ----------
    file
        The checkpoint.
    form
        Of the code that trained it; the file cannot tell.

    Raises
    ------
    UserError
        If a stage is missing, or the widths do not divide into heads.
    """
    enc_depths, enc_channels = stage_shapes(file, "enc", "PTv3")
    dec_depths, dec_channels = stage_shapes(file, "dec", "PTv3")
    num_classes, in_channels = file.state[HEAD].shape[0], file.state[STEM].shape[-1]
    forms: dict[str, Any] = {"cpe_input": form, "depth_rule": form}
    for name in PUBLISHED:
        usual = SIZES[name]
        if (usual.enc_depths, usual.enc_channels, usual.dec_depths, usual.dec_channels) == (
            enc_depths,
            enc_channels,
            dec_depths,
            dec_channels,
        ):
            return NetworkSpec("ptv3", name, num_classes, in_channels, forms)
    for width in (*enc_channels, *dec_channels):
        if width % USUAL_HEAD_WIDTH:
            raise UserError(
                f"{file.path}: a PTv3 of widths {enc_channels} and {dec_channels}, which do not "
                f"divide into heads of {USUAL_HEAD_WIDTH} channels; its number of heads is unknown"
            )
    logger.info(
        f"note: {file.path}: a PTv3 of depths {enc_depths} and {dec_depths}, widths {enc_channels} "
        f"and {dec_channels}, none of the published; taken to have {USUAL_HEAD_WIDTH} channels per "
        "head and patches of 1024, which the file does not say"
    )
    overrides = {
        "enc_depths": enc_depths,
        "enc_channels": enc_channels,
        "enc_heads": tuple(width // USUAL_HEAD_WIDTH for width in enc_channels),
        "dec_depths": dec_depths,
        "dec_channels": dec_channels,
        "dec_heads": tuple(width // USUAL_HEAD_WIDTH for width in dec_channels),
    }
    return NetworkSpec("ptv3", "teacher", num_classes, in_channels, {**overrides, **forms})


@dataclass(frozen=True)
class CheckpointReport:
    """What a checkpoint file held and how it was read.

    Attributes
    ----------
    path
        The file.
    epoch, best_metric
        As stored in the file, None where absent.
    cpe_input, depth_rule
        The behavior the network was given; the file cannot tell which it was trained with.
    missing, unexpected
        Keys that the network needs and the file lacks, and the other way round.
    """

    path: Path
    epoch: int | None
    best_metric: float | None
    cpe_input: str
    depth_rule: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for a log."""
        line = f"{self.path}: loaded with cpe_input={self.cpe_input}, depth_rule={self.depth_rule}"
        for what, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            if keys:
                line += f"; {what} {shortened(keys)}"
        return line


def load_pointcept_checkpoint(
    path: str | Path,
    *,
    cpe_input: CpeInput,
    size: str = "teacher",
    num_classes: int | None = None,
    strict: bool = True,
    **overrides: Any,
) -> tuple[Segmentor, CheckpointReport]:
    """Build a network from an official PTv3 semantic segmentation checkpoint.

    Parameters
    ----------
    path
        A file as Pointcept's trainer writes it (a dictionary with `state_dict`, whose keys may
        carry a ``module.`` prefix), or a bare state dict.
    cpe_input
        ``"v1.5.1"`` for the weights that Pointcept released and all that were trained before its
        commit 74c4fc1 (2024-03-26), ``"main"`` for those trained after. Keys and shapes are the
        same and a wrong choice silently ruins the predictions, so there is no default.
    size
        Name of the network; class count and input channels are read from the file.
    num_classes
        Refuse a file with another class count; None takes any.
    strict
        Refuse a file with missing or unexpected keys; otherwise only report them.
    **overrides
        Fields of `NetworkConfig`. `depth_rule` follows `cpe_input` unless given: checkpoints
        trained between that commit and v1.6.0 need ``depth_rule="v1.5.1"`` with ``"main"``.

    Returns
    -------
    model : Segmentor
        In evaluation mode, on the CPU, float32.
    report : CheckpointReport
        To be shown to the user: it names the choice that was made.

    Raises
    ------
    UserError
        If the file is absent, damaged, holds anything but tensors and plain values, or does not
        fit the network.
    ClassCountError
        If it has another number of classes than `num_classes`; also a `ValueError`.

    Notes
    -----
    The file is unpickled by torch's restricted reader, which builds tensors, containers and plain
    values and calls nothing else; numpy scalars (Pointcept's stored metric) are allowed besides.
    """
    file = Path(path)
    content = read_content(file)
    if is_ours(content):
        raise UserError(
            f"{file}: is a checkpoint of this package (format {content['format']!r}), not of"
            " Pointcept; read it with train.networks.weights.load_model"
        )
    found = official_file(content, file)
    state = found.state
    for key in (HEAD, STEM):
        if key not in state:
            raise UserError(
                f"{file}: no '{key}' in the checkpoint, so it is no PTv3 segmentation network of"
                f" Pointcept; it has {shortened(tuple(state))}"
            )
    overrides.setdefault("depth_rule", cpe_input)
    found_classes, in_channels = state[HEAD].shape[0], state[STEM].shape[-1]
    if num_classes is not None and num_classes != found_classes:
        raise ClassCountError(
            f"{file}: has {found_classes} classes, {num_classes} are wanted; give another"
            " checkpoint, or the class count of this one"
        )
    model = build_segmentor(size, found_classes, in_channels, cpe_input=cpe_input, **overrides)
    wanted = model.state_dict()
    missing = tuple(key for key in wanted if key not in state)
    unexpected = tuple(key for key in state if key not in wanted)
    if strict and (missing or unexpected):
        raise UserError(
            f"{file}: does not fit '{size}': missing {shortened(missing)}; unexpected"
            f" {shortened(unexpected)}; give the size that the file has"
        )
    for key, value in state.items():
        if key in wanted and value.shape != wanted[key].shape:
            raise UserError(
                f"{file}: '{key}' has shape {tuple(value.shape)}, '{size}' needs"
                f" {tuple(wanted[key].shape)}; choose another size (convolution weights of spconv"
                " 1 have another layout and are not converted)"
            )
    model.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    report = CheckpointReport(
        path=file,
        epoch=found.epoch,
        best_metric=found.best_metric,
        cpe_input=model.config.cpe_input,
        depth_rule=model.config.depth_rule,
        missing=missing,
        unexpected=unexpected,
    )
    return model.eval(), report
