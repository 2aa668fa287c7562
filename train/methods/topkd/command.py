"""The command that fits RipsNet to a teacher's images, apart from a run.

topodistill topkd-fit --targets targets.safetensors --output topkd.safetensors
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from tyro.conf import arg

from train.core.command import Command, Device
from train.core.console import logger
from train.core.device import describe_device, resolve_device
from train.core.errors import UserError
from train.methods.topkd.artifacts import ImageMaker, check_output, load_targets, save_maker
from train.methods.topkd.fit import FitOptions, Schedule, fit_ripsnet, operators_of

_USUAL = FitOptions()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is fitted, and how."""

    targets: Annotated[Path, arg(metavar="FILE")]
    """what topkd-targets wrote"""
    output: Annotated[Path, arg(metavar="FILE")]
    """NAME.safetensors; is replaced"""
    operator: Literal["best", "mean", "sum"] = "best"
    """how points are joined; best fits both and takes the one of lower loss"""
    epochs: int = _USUAL.epochs
    """at most so many"""
    patience: int = _USUAL.patience
    """epochs without a better loss after which it ends"""
    lr: float = _USUAL.lr
    """learning rate, of Adamax"""
    schedule: Schedule = _USUAL.schedule
    """the rate is constant, or falls to 0 by a cosine over all --epochs; --patience is for a
    constant one"""
    standardize: bool = False
    """give each channel mean 0 and deviation 1 for the fit; a rate then means the same for every
    teacher"""
    seed: int = 0
    """of weights, split and order"""
    device: Device = "auto"
    exact: bool = False
    """fit nothing: write what --method.exact needs, the scale of exact images"""


def _run(options: Options) -> None:
    output = options.output
    check_output(output)
    for name in ("epochs", "patience"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: at least 1")
    if not 0 < options.lr < math.inf:
        raise UserError(f"--lr {options.lr:g}: above 0; {_USUAL.lr:g} is the paper's")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: 0 or more")
    targets = load_targets(options.targets)
    if options.exact:
        save_maker(ImageMaker(card=targets.card, ripsnet=None), output)
        logger.info(f"done: {output}")
        return
    device = resolve_device(options.device)
    logger.info(f"{len(targets.clouds)} clouds; on {describe_device(device)}")
    fit_options = FitOptions(
        epochs=options.epochs,
        patience=options.patience,
        lr=options.lr,
        schedule=options.schedule,
        standardize=options.standardize,
        operators=operators_of(options.operator),
        seed=options.seed,
    )
    state = output.with_name(f"{output.name}.state")
    save_maker(fit_ripsnet(targets, fit_options, device=device, state=state), output)
    state.unlink(missing_ok=True)
    logger.info(f"done: {output}")


COMMAND: Final = Command(
    "topodistill topkd-fit",
    Options,
    _run,
    "Fit RipsNet, which predicts persistence images from points.",
    epilog="A stopped fit goes on when the same command is given again: what it got to is in "
    "OUTPUT.state until the end.\n",
    stopped="the same command goes on from there",
)
main: Final = COMMAND.main
