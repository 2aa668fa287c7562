"""Pointcept's PTv3 checkpoints: the names of their keys, a reader, and a writer with its config."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.core.atomic_write import atomic_write
from train.core.errors import ClassCountError, UserError
from train.core.tensor_file import misfits
from train.networks.official.checkpoint import (
    HEAD,
    STEM,
    WRAPPER,
    is_ours,
    official_file,
    read_content,
    shortened,
)
from train.networks.ptv3.block import CpeInput
from train.networks.ptv3.segmentor import Segmentor, build_segmentor


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
    wrong = misfits(wanted, state)
    missing, unexpected = tuple(wrong["missing"]), tuple(wrong["unexpected"])
    if strict and (missing or unexpected):
        raise UserError(
            f"{file}: does not fit '{size}': missing {shortened(missing)}; unexpected"
            f" {shortened(unexpected)}; give the size that the file has"
        )
    if wrong["reshaped"]:
        raise UserError(
            f"{file}: has shapes that '{size}' has not: {wrong['reshaped'][0]}; choose another size"
            " (convolution weights of spconv 1 have another layout and are not converted)"
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


def save_pointcept_checkpoint(network: Segmentor, path: Path) -> None:
    """Write the weights as Pointcept's trainer writes its ``model_best.pth``.

    Parameters
    ----------
    network
        Weights are stored as they are, on the CPU, under Pointcept's key names with the
        ``module.`` prefix that its loader expects.
    path
        The file; replaced whole or not at all.

    Raises
    ------
    UserError
        If the file cannot be written.

    Notes
    -----
    There is no optimizer and no scheduler in the file: it is for testing, fine-tuning and as a
    teacher (Pointcept's ``weight=``), not for its ``resume``.
    """
    state = OrderedDict(
        (name, tensor.detach().cpu().clone())
        for name, tensor in to_pointcept_keys(network.state_dict()).items()
    )
    with atomic_write(path) as unfinished:
        torch.save({"epoch": 0, "best_metric_value": 0.0, "state_dict": state}, unfinished)


def pointcept_config(network: Segmentor) -> str:
    """Return the part ``model = dict(...)`` of a Pointcept config that builds this network there.

    Pointcept chooses attention by `enable_flash`; without flash-attn set it to False.
    """
    config = network.config
    stages = config.num_stages
    backbone: dict[str, Any] = {
        "type": "PT-v3m1",
        "in_channels": network.in_channels,
        "order": list(config.orders),
        "stride": (2,) * (stages - 1),
        "enc_depths": config.enc_depths,
        "enc_channels": config.enc_channels,
        "enc_num_head": config.enc_heads,
        "enc_patch_size": (config.patch_size,) * stages,
        "dec_depths": config.dec_depths,
        "dec_channels": config.dec_channels,
        "dec_num_head": config.dec_heads,
        "dec_patch_size": (config.patch_size,) * (stages - 1),
        "mlp_ratio": config.mlp_ratio,
        "qkv_bias": True,
        "qk_scale": None,
        "attn_drop": 0.0,
        "proj_drop": 0.0,
        "drop_path": config.drop_path,
        "shuffle_orders": True,
        "pre_norm": True,
        "enable_rpe": False,
        "enable_flash": True,
        "upcast_attention": False,
        "upcast_softmax": False,
        "pdnorm_bn": False,
        "pdnorm_ln": False,
    }
    lines = [
        "# The model of a Pointcept config for model.pth; take data and test settings from the",
        "# config of your dataset.",
        *_version_notes(network),
        "model = dict(",
        '    type="DefaultSegmentorV2",',
        f"    num_classes={network.num_classes},",
        f"    backbone_out_channels={config.dec_channels[0]},",
        "    backbone=dict(",
        *(f"        {name}={value!r}," for name, value in backbone.items()),
        "    ),",
        '    criteria=[dict(type="CrossEntropyLoss", loss_weight=1.0, ignore_index=-1)],',
        ")",
    ]
    return "\n".join(lines) + "\n"


def _version_notes(network: Segmentor) -> list[str]:
    """Say which of Pointcept's versions compute what this network does."""
    config = network.config
    if config.cpe_input == "v1.5.1":
        version = "v1.5.1: from its commit 74c4fc1 (2024-03-26) on, the same weights give nonsense"
    elif config.depth_rule == "v1.5.1":
        version = "a version after its commit 74c4fc1 (2024-03-26) and before v1.6.0"
    else:
        version = "v1.6.0 or later (v1.5.1 computes another function with the same weights)"
    return [f"# Needs Pointcept {version}."]
