"""AdamW and OneCycle with the networks' parameter groups, and how they go on in a resumed run."""

import math
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
    total_steps = max(total_steps, 2)
    rise = config.warmup_fraction
    if rise * total_steps == 1.0:
        # torch divides by the length of this rise, 0 steps; a shorter one starts at the peak, too.
        rise = math.nextafter(rise, 0.0)
    groups = network.parameter_groups(config)
    adapters = list(method.parameters())
    if adapters:
        groups.append({"params": adapters, "lr": config.lr})
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in groups],
        total_steps=total_steps,
        pct_start=rise,
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
    # The rates of this very step, without taking one: a scheduler says them inside its `step` only,
    # and warns elsewhere.
    scheduler._get_lr_called_within_step = True
    rates = scheduler.get_lr()
    scheduler._get_lr_called_within_step = False
    for group, lr in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = lr
    scheduler._last_lr = list(rates)
