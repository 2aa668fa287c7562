"""Writing a PTv3 as a checkpoint of Pointcept's, with the configuration that loads it there."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from train.core.atomic_write import atomic_write
from train.networks.ptv3.segmentor import Segmentor

_WRAPPER_PREFIX = "module."  # what DistributedDataParallel puts before every key


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
        (_WRAPPER_PREFIX + name, tensor.detach().cpu().clone())
        for name, tensor in network.state_dict().items()
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
