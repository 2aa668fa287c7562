"""Measure what the networks cost: parameters, operations, seconds, memory; write a page about it.

python -m train.efficiency --output docs/results --input sweep.bin
"""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from train.core.atomic_write import atomic_write, make_folder
from train.core.command import run_command
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.profiling.measure import SHARES, Request, measure
from train.profiling.page import markdown
from train.profiling.plot import draw
from train.profiling.timing import CONFIGS, Precision

NAME = "efficiency"
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see python -m train.efficiency --help)")


def parse(arguments: Sequence[str]) -> Request:
    """Return what a command line asks for.

    Raises
    ------
    UserError
        If a value is missing, unknown or out of range.
    """
    parser = _Parser(
        prog=program("train.efficiency"),
        description="Measure what the networks cost and write efficiency.json, .md and .png.",
        allow_abbrev=False,
    )
    parser.add_argument("--output", required=True, help="folder to write to, e.g. docs/results")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--precision", help="float32 or bfloat16; default: bfloat16 on a GPU, float32 on a CPU"
    )
    parser.add_argument("--input", help="a SemanticKITTI .bin; default: a simulated sweep")
    parser.add_argument("--grid-size-m", default="0.05", help="edge of the voxels, meters")
    parser.add_argument(
        "--voxels",
        help="sizes, e.g. 10000,40000: the voxels nearest to the sensor; default: "
        + ", ".join(f"1/{share}" for share in SHARES[:-1])
        + " and all of the sweep",
    )
    parser.add_argument("--models", default="teacher,student", help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--repeats", default="5", help="timed passes per network and size")
    options = parser.parse_args(arguments)

    device = resolve_device(options.device)
    models = tuple(options.models.split(","))
    unknown = [name for name in models if name not in CONFIGS]
    if unknown or len(set(models)) < len(models):
        raise UserError(
            f"--models {options.models!r}: give different names of {', '.join(CONFIGS)}, "
            "with commas between"
        )
    voxels: set[int] = set()
    if options.voxels is not None:
        voxels = {_whole("--voxels", number) for number in options.voxels.split(",")}
    return Request(
        output=Path(options.output),
        device=device,
        precision=_precision(options.precision, on_gpu=device.type == "cuda"),
        sweep_path=Path(options.input) if options.input is not None else None,
        grid_size_m=_meters(options.grid_size_m),
        voxels=tuple(sorted(voxels)),
        models=models,
        repeats=_whole("--repeats", options.repeats),
    )


def _precision(text: str | None, *, on_gpu: bool) -> Precision:
    if text is None:
        return "bfloat16" if on_gpu else "float32"
    for known in PRECISIONS:
        if text == known:
            return known
    raise UserError(f"--precision {text!r} is unknown: use {' or '.join(PRECISIONS)}")


def _whole(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text.strip()) or int(text) < 1:
        raise UserError(f"{option}: {text!r} is no whole number of at least 1")
    return int(text)


def _meters(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"--grid-size-m: {text!r} is no number of meters") from error


def shown_command(arguments: Sequence[str]) -> str:
    """Return the command line without the folders of one machine."""
    words = [word for text in arguments for word in _split_flag(text)]
    for flag in ("--output", "--input"):
        if flag in words[:-1]:
            place = words.index(flag) + 1
            words[place] = "DIR" if flag == "--output" else Path(words[place]).name
    return shlex.join(["python", "-m", "train.efficiency", *words])


def _split_flag(text: str) -> list[str]:
    return text.split("=", 1) if text.startswith("--") and "=" in text else [text]


def write(record: dict[str, Any], folder: Path) -> list[Path]:
    """Write the record, the page and the picture; return their paths."""
    paths = [folder / f"{NAME}.{ending}" for ending in ("json", "md", "png")]
    with atomic_write(paths[0]) as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with atomic_write(paths[1]) as unfinished:
        unfinished.write_text(markdown(record, paths[2].name), encoding="utf-8")
    with atomic_write(paths[2]) as unfinished:
        draw(record, unfinished)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake of the user's, 128 + N after signal N."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _run(given))


def _run(given: Sequence[str]) -> None:
    request = parse(given)
    make_folder(request.output, "--output")
    paths = write(measure(request, shown_command(given)), request.output)
    logger.info("wrote " + ", ".join(str(path) for path in paths))


if __name__ == "__main__":
    sys.exit(main())
