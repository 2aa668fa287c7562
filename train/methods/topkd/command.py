"""The command that fits RipsNet to a teacher's images, apart from a run.

python -m train.topkd_fit --targets targets.safetensors --output topkd.safetensors
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from train.core.command import run_command
from train.core.console import logger
from train.core.device import describe_device, resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.methods.topkd.artifacts import ImageMaker, check_output, load_targets, save_maker
from train.methods.topkd.fit import FitOptions, Schedule, fit_ripsnet

_USUAL = FitOptions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options), stopped="the same command goes on from there")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train.topkd_fit"),
        description="Fit RipsNet, which predicts persistence images from points.",
        epilog="A stopped fit goes on when the same command is given again: what it got to is in "
        "OUTPUT.state until the end.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--targets", type=Path, required=True, metavar="FILE", help="what topkd-targets wrote"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="NAME.safetensors; is replaced"
    )
    parser.add_argument(
        "--operator",
        choices=("best", "mean", "sum"),
        default="best",
        help="how points are joined; best fits both and takes the one of lower loss [best]",
    )
    parser.add_argument(
        "--epochs", type=int, default=_USUAL.epochs, help=f"at most [{_USUAL.epochs}]"
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=_USUAL.patience,
        help=f"epochs without a better loss after which it ends [{_USUAL.patience}]",
    )
    parser.add_argument(
        "--lr", type=float, default=_USUAL.lr, help=f"learning rate, of Adamax [{_USUAL.lr:g}]"
    )
    parser.add_argument(
        "--schedule",
        choices=get_args(Schedule),
        default=_USUAL.schedule,
        help="the rate is constant, or falls to 0 by a cosine over all --epochs; --patience is for "
        f"a constant one [{_USUAL.schedule}]",
    )
    parser.add_argument(
        "--standardize",
        action="store_true",
        help="give each channel mean 0 and deviation 1 for the fit; a rate then means the same "
        "for every teacher",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, split and order [0]")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto [auto]")
    parser.add_argument(
        "--exact",
        action="store_true",
        help="fit nothing: write what --method.exact needs, the scale of exact images",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    output: Path = options.output
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
        operators=("mean", "sum") if options.operator == "best" else (options.operator,),
        seed=options.seed,
    )
    state = output.with_name(f"{output.name}.state")
    save_maker(fit_ripsnet(targets, fit_options, device=device, state=state), output)
    state.unlink(missing_ok=True)
    logger.info(f"done: {output}")
