"""The command that distills a set of point clouds, or samples what was distilled again.

python -m train.distill_data --method dd3d --data simulated --cpc 1 --output runs/dd3d
python -m train.distill_data --dataset waymo --data simulated --output runs/dd3d-frames
"""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from train.core.atomic_write import make_folder
from train.core.command import Command
from train.core.console import logger
from train.core.device import describe_device
from train.core.distributed import is_first_process, process_device, process_group
from train.core.errors import UserError
from train.core.provenance import processor
from train.dataset_distillation.flags import Flags
from train.dataset_distillation.folder import (
    STATE_NAME,
    add_to_report,
    sample_again,
    write_made,
)
from train.dataset_distillation.kinds import distill_options, kind_of
from train.dataset_distillation.make import make, score
from train.dataset_distillation.prepare import prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    words = shlex.join(["topodistill", "distill-data", *given])
    return replace(COMMAND, body=lambda flags: _run(flags, words)).main(given)


def _run(flags: Flags, words: str) -> None:
    begin = time.monotonic()
    output: Path = flags.output
    if flags.points < 2:
        raise UserError(f"--points {flags.points}: a cloud has at least 2")
    if flags.seed < 0:
        raise UserError(f"--seed {flags.seed}: 0 or more")
    if flags.generator is not None:
        make_folder(output, "--output")
        clouds = sample_again(flags.generator, output, flags.points, flags.seed)
        logger.info(f"done: {len(clouds)} clouds of {flags.points} points in {output}")
        return
    kind = kind_of(flags)
    chosen = distill_options(flags)
    kind.check()
    trainings = kind.trainings()
    start = kind.start()
    device = process_device(flags.device)
    make_folder(output, "--output")
    state = output / STATE_NAME
    if state.exists() and not flags.resume:
        raise UserError(
            f"{state}: a distillation is there; go on with --resume, or give another --output"
        )
    with process_group(device):
        train, test, told = kind.read()
        logger.info(f"{told}; on {describe_device(device)}")
        real = prepare(train, test, chosen, rotate=flags.orientation.rotated)
        made = make(
            real,
            chosen,
            device,
            points=flags.points,
            state=state,
            resume=flags.resume,
            start=start,
        )
        write_made(output, made, real, chosen, flags.data)
    if not is_first_process():
        return
    scores: dict[str, dict[str, float]] = {}
    for training in trainings:
        found = score(made, real, training, device, points=flags.points)
        scores[training.network] = {"last": found.last, "best": found.best}
        logger.info(
            f"{training.network}: {100 * found.last:.1f}{training.unit} {training.measure} after "
            f"the last epoch, {100 * found.best:.1f}{training.unit} at the best "
            f"({found.best_epoch} of {training.epochs})"
        )
    add_to_report(
        output,
        {
            "command": words,
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "wall_seconds": round(time.monotonic() - begin, 1),
            "cpu_seconds": round(time.process_time(), 1),
            "scores": scores,
        },
    )
    logger.info(f"done: {output}, with {kind.picture}{kind.advice()}")


COMMAND: Final = Command(
    "topodistill distill-data",
    Flags,
    lambda flags: _run(flags, "topodistill distill-data"),
    "Distill a set of labeled point clouds into a few clouds per class, by DD3D or by what it is "
    "compared with; or sample a distilled generator at another resolution.",
    epilog="The output is a folder of object clouds like any other: --data takes it.\n",
    stopped="nothing more was written",
)
