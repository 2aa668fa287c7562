"""The table of commands, and the console command `topodistill NAME ...`, from any folder.

topodistill run --dataset waymo --simulate
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from topodistill.shadowing import ShadowedError, refuse_shadowed

MAIN: Final = "commands"
RESEARCH: Final = "steps of methods, done apart from a run"


class Command(NamedTuple):
    """A row of the table: a module whose `main(arguments)` returns the exit code."""

    module: str
    group: str
    does: str


COMMANDS: Final = {
    "run": Command("train.run", MAIN, "train a teacher, distill it into a student, score both"),
    "evaluate": Command(
        "train.evaluation.command",
        MAIN,
        "score a checkpoint on a dataset, by its benchmark's rule",
    ),
    "predict": Command("train.predict.command", MAIN, "predict a class for every point of clouds"),
    "export": Command(
        "train.export.command",
        MAIN,
        "write a network for others: safetensors, ONNX, Pointcept's keys",
    ),
    "report": Command(
        "train.report.command",
        MAIN,
        "write the report of a run: scores, errors, frames, losses",
    ),
    "inspect": Command(
        "train.inspection.inspect", MAIN, "count, check and draw the frames of a dataset"
    ),
    "ablate": Command(
        "train.ablation.command", MAIN, "find out which loss pays, with seeds and intervals"
    ),
    "efficiency": Command(
        "train.profiling.command",
        MAIN,
        "measure what the networks cost: operations, time, memory",
    ),
    "distill-data": Command(
        "train.dataset_distillation.command",
        MAIN,
        "distill a set of clouds or frames into a small one to train on",
    ),
    "warm-up": Command(
        "fast.compiler", MAIN, "compile the kernels now, so that no first call waits for them"
    ),
    "train-images": Command(
        "train.engine.train_images",
        RESEARCH,
        "train a network on camera images, for methods that distill from them",
    ),
    "topkd-targets": Command(
        "train.engine.topkd_targets",
        RESEARCH,
        "TopKD, step 1: a teacher's clouds and exact images",
    ),
    "topkd-fit": Command(
        "train.methods.topkd.command",
        RESEARCH,
        "TopKD, step 2: the small network that predicts the images",
    ),
}
"""What there is to run, by name; `python -m train.NAME` starts the first eight as well."""

TRAIN_EXTRA: Final = (
    "google_crc32c",
    "jinja2",
    "matplotlib",
    "pyarrow",
    "safetensors",
    "scipy",
    "tensorboard",
    "tqdm",
    "tyro",
    "yaml",
)
"""What the extra `[train]` installs, by import names; every command of `train` needs it."""


ENVIRONMENT: Final = (
    *("topodistill", "torch", "numpy", "numba", "numba-cuda", "triton", "spconv-cu120"),
    *("flash-attn", "onnxruntime", "scipy", "tyro"),
)
"""Packages whose versions a report of a fault should name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands.

    Parameters
    ----------
    arguments
        The command's name, then its own arguments; None: those of the process.

    Returns
    -------
    int
        The command's exit code; 2, after one line, for an unknown one, a missing `[train]` extra,
        or a module that hides one of our packages.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if name == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"topodistill {version('topodistill')}\n")
        return 0
    if name == "--environment":
        sys.stdout.write(_environment())
        return 0
    if name not in COMMANDS:
        what = f"{name!r} is no command" if name else "no command given"
        return _refuse(f"{what}; choose one of {', '.join(COMMANDS)} (see topodistill --help)")
    of_train = not COMMANDS[name].module.startswith("fast.")
    missing = [each for each in TRAIN_EXTRA if of_train and importlib.util.find_spec(each) is None]
    if missing:
        needs = f"topodistill {name} needs {', '.join(missing)}"
        return _refuse(f"{needs}: pip install 'topodistill[train]'")
    try:
        refuse_shadowed("train", "fast", "reference")
    except ShadowedError as error:
        return _refuse(str(error))
    before = sys.argv
    sys.argv = [f"topodistill {name}", *rest]  # as after `python -m`: a run records its arguments
    try:
        code: int = importlib.import_module(COMMANDS[name].module).main(rest)
    finally:
        sys.argv = before
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    groups = ""
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        rows = (
            f"  {name:<{width}}  {command.does}\n"
            for name, command in COMMANDS.items()
            if command.group == group
        )
        groups += f"{group}:\n{''.join(rows)}\n"
    return (
        "usage: topodistill COMMAND ...\n\n"
        "Distill large 3D point-cloud networks into small ones.\n\n"
        f"{groups}"
        "options of a command: topodistill COMMAND --help\n"
        "version: topodistill --version; for a report of a fault: topodistill --environment\n"
    )


def _environment() -> str:
    """Return what a report of a fault needs: versions, processors, devices, caches."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    import torch

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    gpus = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
    package = Path(__file__).resolve().parents[1]
    beside = "beside the package" if os.access(package, os.W_OK) else "in the user's cache"
    lines = {
        **{name: installed(name) for name in ENVIRONMENT},
        "python": f"{platform.python_version()}, {platform.platform()}",
        "processors": f"{os.cpu_count()}, {torch.get_num_threads()} threads of torch",
        "CUDA": f"{torch.version.cuda or 'torch is built without'}; {', '.join(gpus) or 'no GPU'}",
        "compiled kernels": os.environ.get("NUMBA_CACHE_DIR") or beside,
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def _refuse(line: str) -> int:
    sys.stderr.write(f"error: {line}\n")
    return 2
