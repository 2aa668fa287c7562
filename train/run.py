"""The main command: train a teacher, distil it into a student, score both.

python -m train.run --dataset waymo --simulate
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence

import tyro

from train.config import RunConfig
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.data.registry import DATASETS, dataset_spec
from train.engine.stages import PAIRS, Experiment
from train.presets import preset


def parse(arguments: Sequence[str]) -> RunConfig:
    """Return the run that a command line asks for: a preset, changed by the flags.

    Raises
    ------
    UserError
        If the dataset is missing or unknown, the device is not there, or a value is refused.
    SystemExit
        From the flag parser: 0 after --help, 2 for a flag that is not known.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset")
    first.add_argument("--device", default="auto")
    first.add_argument("--model", choices=("auto", *PAIRS), default="auto")
    known, _ = first.parse_known_args(arguments)
    arguments = list(arguments)
    if known.dataset is None:
        if not {"-h", "--help"} & set(arguments):
            raise UserError(f"--dataset is missing: choose one of {', '.join(sorted(DATASETS))}")
        known.dataset = min(DATASETS)
        logger.info(
            f"Defaults below are those of --dataset {known.dataset}; known: {', '.join(DATASETS)}"
        )
    dataset_spec(known.dataset)
    device = resolve_device(known.device)
    model = known.model
    if model == "auto":
        model = "paper" if device.type == "cuda" else "tiny"
    config = tyro.cli(
        RunConfig,
        default=preset(known.dataset, model),
        args=arguments,
        prog="python -m train.run",
        description="Train a teacher, distil it into a student, score both.",
    )
    return dataclasses.replace(config, model=model, device=str(device))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake that a user can mend, 130 when interrupted."""
    try:
        Experiment(parse(sys.argv[1:] if arguments is None else arguments)).run()
    except UserError as error:
        # A message that crossed from a reading process carries that process's trace above it.
        line = str(error).splitlines()[-1].removeprefix("train.core.errors.UserError: ")
        logger.info(f"error: {line}")
        return 2
    except KeyboardInterrupt:
        logger.info("stopped; go on with --resume")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
