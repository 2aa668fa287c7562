"""Fits RipsNet to exact images: the mean or the sum, whichever is better on held-out clouds.

Shape letters: K clouds, M points of a cloud, C channels, P pixels of an image.
"""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from train.core.atomic_write import atomic_write
from train.core.console import Progress, logger
from train.core.errors import UserError
from train.core.tensor_file import read_tensors
from train.methods.topkd.artifacts import ImageMaker, Targets
from train.methods.topkd.ripsnet import Operator, RipsNet

STATE_FORMAT: Final = "topodistill-topkd-fit-1"
SAVE_EVERY_S: Final = 30.0
LEAST_CLOUDS: Final = 8
_CHUNK: Final = 1024
_SEEDS: Final = 1_000_003
"""How far apart the orders of two seeds are; an epoch's is its number further."""


Schedule = Literal["constant", "cosine"]
"""How the learning rate goes: as it is until nothing gets better, or down to 0 in all epochs."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How RipsNet is fitted: as in the paper's appendix B, or else as in the authors' code.

    Attributes
    ----------
    epochs
        At most.
    patience
        Epochs without a better validation loss after which an operator is done; with the constant
        rate alone, for with a falling one the loss is lowest at the end.
    min_delta
        By how much a loss must be lower to be better.
    lr
        Of Adamax; the first one where it falls.
    schedule
        See `Schedule`. A fit of few epochs needs a high rate and a fall.
    standardize
        Give each channel of the training clouds mean 0 and deviation 1, so that a rate means the
        same whatever the scale of a teacher's features. The paper does not.
    batch_size
        Clouds in a step.
    validation_share
        Of the clouds, held out. The paper says 0.25 %, the code takes a quarter.
    operators
        Which are tried.
    seed
        Of weights, split and order.
    """

    epochs: int = 25_000
    patience: int = 50
    min_delta: float = 1e-10
    lr: float = 5e-4
    schedule: Schedule = "constant"
    standardize: bool = False
    batch_size: int = 64
    validation_share: float = 0.25
    operators: tuple[Operator, ...] = ("mean", "sum")
    seed: int = 0


def operators_of(choice: Literal["best", "mean", "sum"]) -> tuple[Operator, ...]:
    """Return the operators that are tried; of both the better one is kept."""
    return get_args(Operator) if choice == "best" else (choice,)


@dataclass
class _Progress:
    """Where the fit of one operator is; plain values and tensors, for a file."""

    epoch: int
    waited: int
    best: float
    best_weights: dict[str, Tensor]
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]


def fit_ripsnet(
    targets: Targets,
    options: FitOptions,
    *,
    device: torch.device,
    state: Path | None = None,
) -> ImageMaker:
    """Return the RipsNet of lowest validation loss.

    With `FitOptions.standardize` the shift and the scale of the channels are made a part of its
    first layer in the end: it takes points as they are, and has no more parameters.

    Parameters
    ----------
    targets
        At least `LEAST_CLOUDS`.
    options
        How.
    device
        Where to compute.
    state
        A file that is written now and then and that a stopped fit goes on from, with the same
        result; the caller removes it once the result is safe. None: nothing is kept.

    Raises
    ------
    UserError
        If there are too few clouds, the loss is no number, or the state is of another fit.
    """
    number = len(targets.clouds)
    if number < LEAST_CLOUDS:
        raise UserError(f"{number} clouds are too few to fit RipsNet; draw {LEAST_CLOUDS} or more")
    order = torch.randperm(number, generator=torch.Generator().manual_seed(options.seed))
    held = max(1, round(options.validation_share * number))
    split = {"validation": order[:held], "training": order[held:]}
    data = {
        part: (targets.clouds[rows].to(device), targets.images[rows].to(device))
        for part, rows in split.items()
    }
    scale: tuple[Tensor, Tensor] | None = None
    if options.standardize:
        scale = shift, spread = channel_scale(data["training"][0])
        data = {
            part: ((clouds - shift) / spread, images) for part, (clouds, images) in data.items()
        }
    constant = functional.mse_loss(
        data["training"][1].mean(dim=0).expand_as(data["validation"][1]), data["validation"][1]
    )
    losses = {"constant": float(constant)}
    content = _read_state(state, _settings(targets, options))
    for operator in options.operators:
        done = content["operators"].get(operator)
        if done is None or not done["finished"]:
            before = None if done is None else _Progress(**done["progress"])
            _fit_operator(operator, data, options, content, before, state)
    found = {name: content["operators"][name]["progress"]["best"] for name in options.operators}
    best = min(options.operators, key=lambda name: found[name])
    with torch.random.fork_rng(devices=[]):
        ripsnet = RipsNet(targets.clouds.shape[-1], best)
    ripsnet.load_state_dict(content["operators"][best]["progress"]["best_weights"])
    if scale is not None:
        ripsnet.absorb(*(each.cpu() for each in scale))
    told = ", ".join(f"{name} {loss:.3g}" for name, loss in found.items())
    logger.info(
        f"RipsNet: squared error on {held} held-out clouds: {told}; the mean image's "
        f"{losses['constant']:.3g}"
    )
    return ImageMaker(card=targets.card, ripsnet=ripsnet, losses=losses | found)


def channel_scale(clouds: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation (C,) of each channel over all points.

    A channel that is the same everywhere has 1 for its deviation.

    Parameters
    ----------
    clouds
        (K, M, C).
    """
    points = clouds.flatten(0, 1)
    spread, shift = torch.std_mean(points, dim=0, correction=0)
    # Rounding leaves a constant channel a tiny deviation; its size is of no use either way.
    seen = spread > 1e-6 * shift.abs()
    return shift, torch.where(seen, spread, torch.ones_like(spread))


def learning_rate(options: FitOptions, done: float) -> float:
    """Return the rate of a step.

    Parameters
    ----------
    options
        With the first rate, and how it goes.
    done
        The share of all steps before this one, from 0 to 1.
    """
    if options.schedule == "constant":
        return options.lr
    return options.lr * (1 + math.cos(math.pi * done)) / 2


def _fit_operator(
    operator: Operator,
    data: Mapping[str, tuple[Tensor, Tensor]],
    options: FitOptions,
    content: dict[str, Any],
    before: _Progress | None,
    state: Path | None,
) -> None:
    """Fit one operator, and leave where it got to in `content`."""
    clouds, images = data["training"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        ripsnet = RipsNet(clouds.shape[-1], operator).to(clouds.device)
    optimizer = torch.optim.Adamax(ripsnet.parameters(), lr=options.lr)
    at = before or _Progress(0, 0, float("inf"), {}, {}, {})
    if before is not None:
        ripsnet.load_state_dict(before.weights)
        optimizer.load_state_dict(before.optimizer)
    progress = Progress(f"RipsNet, {operator}", options.epochs, done=at.epoch)
    saved = time.monotonic()
    patience = options.patience if options.schedule == "constant" else options.epochs
    try:
        while at.epoch < options.epochs and at.waited < patience:
            seed = _SEEDS * (options.seed + 1) + at.epoch
            order = torch.randperm(len(clouds), generator=torch.Generator().manual_seed(seed))
            batches = torch.split(order.to(clouds.device), options.batch_size)
            for step, rows in enumerate(batches):
                done = (at.epoch + step / len(batches)) / options.epochs
                optimizer.param_groups[0]["lr"] = learning_rate(options, done)
                loss = functional.mse_loss(ripsnet(clouds[rows]), images[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            validation = mean_squared_error(ripsnet, *data["validation"])
            if not validation < float("inf"):
                raise UserError(f"RipsNet's loss is {validation} in epoch {at.epoch + 1}")
            at.epoch, at.waited = at.epoch + 1, at.waited + 1
            if validation < at.best - options.min_delta:
                at.best, at.waited, at.best_weights = validation, 0, ripsnet.weights()
                at.best_weights = {name: each.clone() for name, each in at.best_weights.items()}
            progress.advance({"validation": validation, "best": at.best})
            if state is not None and time.monotonic() - saved > SAVE_EVERY_S:
                _keep(content, operator, at, ripsnet, optimizer, finished=False)
                _write_state(content, state)
                saved = time.monotonic()
    finally:
        progress.close()
    _keep(content, operator, at, ripsnet, optimizer, finished=True)
    if state is not None:
        _write_state(content, state)


def mean_squared_error(ripsnet: RipsNet, clouds: Tensor, images: Tensor) -> float:
    """Return the mean over clouds and pixels of the squared error of predicted images.

    Parameters
    ----------
    ripsnet
        On the clouds' device.
    clouds, images
        (K, M, C) and (K, P).
    """
    with torch.no_grad():
        sums = [
            (ripsnet(some) - exact).square().sum(dtype=torch.float64)
            for some, exact in zip(
                torch.split(clouds, _CHUNK), torch.split(images, _CHUNK), strict=True
            )
        ]
    return float(torch.stack(sums).sum()) / images.numel()


def _keep(
    content: dict[str, Any],
    operator: str,
    at: _Progress,
    ripsnet: RipsNet,
    optimizer: torch.optim.Optimizer,
    *,
    finished: bool,
) -> None:
    at.weights = {name: each.clone() for name, each in ripsnet.weights().items()}
    at.optimizer = optimizer.state_dict()
    content["operators"][operator] = {"finished": finished, "progress": dict(vars(at))}


def _settings(targets: Targets, options: FitOptions) -> dict[str, Any]:
    """Return what a state must have been made with: the options, and the images themselves."""
    digest = hashlib.sha256(targets.images.contiguous().numpy().tobytes()).hexdigest()[:12]
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(options).items()
    }
    return {"options": plain, "images": digest}


def _read_state(state: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    if state is None or not state.is_file():
        return {"format": STATE_FORMAT, "settings": settings, "operators": {}}
    content = read_tensors(state, STATE_FORMAT, "state of topkd-fit")
    if content["settings"] != settings:
        raise UserError(
            f"{state}: is of a fit to other images or with other options; remove it to start over"
        )
    logger.info(f"RipsNet: going on from {state}")
    return content


def _write_state(content: dict[str, Any], state: Path) -> None:
    with atomic_write(state) as unfinished:
        torch.save(content, unfinished)
