"""The console command: `topodistill DOOR ...` is `python -m train.DOOR ...`, from any folder.

topodistill run --dataset waymo --simulate
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Final

from topodistill.shadowing import ShadowedError, refuse_shadowed

DOORS: Final[dict[str, tuple[str, str]]] = {
    "run": ("train.run", "train a teacher, distill it into a student, score both"),
    "evaluate": ("train.evaluate", "score a checkpoint on a dataset, by its benchmark's rule"),
    "predict": ("train.predict.command", "predict a class for every point of one cloud"),
    "export": (
        "train.export.command",
        "write a network for others: safetensors, ONNX, Pointcept's keys",
    ),
    "report": ("train.report", "write the report of a run: scores, errors, sweeps, losses"),
    "inspect": ("train.inspect", "count, check and draw the frames of a dataset"),
    "ablate": ("train.ablate", "find out which loss pays, with seeds and intervals"),
    "efficiency": ("train.efficiency", "measure what the networks cost: operations, time, memory"),
    "distill-data": ("train.distill_data", "distill a set of object clouds into a few per class"),
    "train-images": (
        "train.train_images",
        "train a network on camera images, for methods that distill from them",
    ),
    "topkd-targets": ("train.topkd_targets", "TopKD, step 1: a teacher's clouds and exact images"),
    "topkd-fit": ("train.topkd_fit", "TopKD, step 2: the small network that predicts the images"),
}
"""Name -> (module whose `main(arguments)` returns the exit code, what it does)."""

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
"""What the extra `[train]` installs, by import names; every door needs it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the doors.

    Parameters
    ----------
    arguments
        The door's name, then its own arguments; None: those of the process.

    Returns
    -------
    int
        The door's exit code; 2, after one line, for an unknown door, a missing `[train]` extra, or
        a module that hides one of our packages.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    door, rest = (words[0], words[1:]) if words else ("", [])
    if door in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if door == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"topodistill {version('topodistill')}\n")
        return 0
    if door not in DOORS:
        what = f"{door!r} is no command" if door else "no command given"
        return _refuse(f"{what}; choose one of {', '.join(DOORS)} (see topodistill --help)")
    if missing := [name for name in TRAIN_EXTRA if importlib.util.find_spec(name) is None]:
        needs = f"topodistill {door} needs {', '.join(missing)}"
        return _refuse(f"{needs}: pip install 'topodistill[train]'")
    try:
        refuse_shadowed("train", "fast", "reference")
    except ShadowedError as error:
        return _refuse(str(error))
    before = sys.argv
    sys.argv = [f"topodistill {door}", *rest]  # as after `python -m`: a run records its arguments
    try:
        code: int = importlib.import_module(DOORS[door][0]).main(rest)
    finally:
        sys.argv = before
    return code


def _help() -> str:
    width = max(map(len, DOORS))
    doors = "".join(f"  {name:<{width}}  {does}\n" for name, (_, does) in DOORS.items())
    return (
        "usage: topodistill COMMAND ...\n\n"
        "Distill large 3D point-cloud networks into small ones.\n\n"
        f"commands:\n{doors}\n"
        "options of a command: topodistill COMMAND --help\n"
        "version: topodistill --version\n"
    )


def _refuse(line: str) -> int:
    sys.stderr.write(f"error: {line}\n")
    return 2
