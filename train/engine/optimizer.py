"""AdamW and OneCycle with the networks' parameter groups, and how they go on in a resumed run."""

from typing import Any

import torch

from train.config import OptimConfig
from train.methods.protocol import DistillationMethod
from train.networks.protocol import Network


def make_optimizer(
    network: Network, method: DistillationMethod, config: OptimConfig, total_steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """Return AdamW and OneCycle over the network's groups, and the method's adapters if any.

    Notes
    -----
    A rise over `warmup_fraction` of the steps from a tenth of the peak, then a cosine fall to a
    thousandth of the peak; the momentum cycles between 0.95 and 0.85, torch's default.
    """
    groups = network.parameter_groups(config)
    adapters = list(method.parameters())
    if adapters:
        groups.append({"params": adapters, "lr": config.lr})
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in groups],
        total_steps=max(total_steps, 2),
        pct_start=config.warmup_fraction,
        div_factor=10.0,
        final_div_factor=100.0,
    )
    return optimizer, scheduler


def go_on(
    optimizer: torch.optim.AdamW,
    scheduler: torch.optim.lr_scheduler.OneCycleLR,
    optimizer_state: dict[str, Any],
    done: int,
) -> None:
    """Put a new optimizer and schedule where an earlier part of the run left them.

    The moments are taken from the state; rates come from the schedule as it is now, so that a run
    can go on with other rates or more epochs. With the same ones every step is the same.
    """
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": optimizer_state["state"], "param_groups": groups})
    scheduler.last_epoch = done
    for group, lr in zip(optimizer.param_groups, scheduler.get_lr(), strict=True):
        group["lr"] = lr
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
