"""Measure what the networks cost: parameters, operations, seconds, memory; write a record of it.

python -m train.efficiency --output runs/costs --input frame.bin
"""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from train.core.atomic_write import atomic_write, make_folder
from train.core.command import Command, Device, run_command, several
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.profiling.macs import total
from train.profiling.measure import SHARES, Request, measure
from train.profiling.timing import CONFIGS

NAME = "efficiency"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command takes."""

    output: Annotated[Path, arg(metavar="DIR")]
    "folder of the record, efficiency.json"
    device: Device = "auto"
    precision: Literal["fp32", "bf16"] | None = None
    "of the layers [bf16 on a GPU, fp32 on a CPU]"
    input: Annotated[Path | None, arg(metavar="FILE.bin")] = None
    "a SemanticKITTI .bin [a simulated frame]"
    grid_size_m: Annotated[float, arg(metavar="METERS")] = 0.05
    "edge of the voxels"
    voxels: Annotated[
        tuple[int, ...],
        several(int, "N"),
        arg(
            help="sizes, e.g. 10000 40000: the voxels nearest to the sensor "
            f"[{', '.join(f'1/{share}' for share in SHARES[:-1])} and all of the frame]",
        ),
    ] = ()
    models: Annotated[
        tuple[str, ...],
        several(str, "NAME"),
        arg(help=f"of {', '.join(CONFIGS)}; commas between them do as well"),
    ] = ("teacher", "student")
    repeats: Annotated[int, arg(metavar="N")] = 5
    "timed passes per network and size"

    def __post_init__(self) -> None:
        if min(self.repeats, *self.voxels, 1) < 1:
            raise UserError("--repeats and --voxels: whole numbers of at least 1")


def parse(arguments: Sequence[str]) -> Request:
    """Return what a command line asks for.

    Raises
    ------
    UserError
        If a value is missing, unknown or out of range.
    """
    options = COMMAND.parse(arguments)
    device = resolve_device(options.device)
    models = tuple(",".join(options.models).split(","))
    if not set(models) <= CONFIGS.keys() or len(set(models)) < len(models):
        raise UserError(
            f"--models {' '.join(models)}: give different names of {', '.join(CONFIGS)}"
        )
    precision = options.precision or ("bf16" if device.type == "cuda" else "fp32")
    return Request(
        output=options.output,
        device=device,
        precision="bfloat16" if precision == "bf16" else "float32",
        frame_path=options.input,
        grid_size_m=options.grid_size_m,
        voxels=tuple(sorted(set(options.voxels))),
        models=models,
        repeats=options.repeats,
    )


COMMAND = Command(
    program("train.efficiency"),
    Options,
    lambda options: None,
    "Measure what the networks cost; print it in short and write efficiency.json.",
)


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


def in_short(record: dict[str, Any]) -> list[str]:
    """Return a line for each network: what it costs on the whole frame."""
    lines = []
    for name, model in record["models"].items():
        whole = model["sizes"][-1]
        clock, peak = whole["seconds"], whole["memory"]["peak_bytes"]
        lines.append(
            f"{name}: {model['parameters']:,} parameters; {whole['geometry']['voxels'][0]:,} "
            f"voxels take {total(whole['operations']) / 1e9:,.2f} 10^9 multiply-accumulates, "
            f"{clock['network']['p50_s']:.4g} s and {clock['hierarchy']['p50_s']:.4g} s for "
            f"curves and tables before it, at a peak of "
            f"{'unknown memory' if peak is None else f'{peak / 1e9:.3f} GB'}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake of the user's, 128 + N after signal N."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _run(given))


def _run(given: Sequence[str]) -> None:
    request = parse(given)
    make_folder(request.output, "--output")
    record = measure(request, shown_command(given))
    path = request.output / f"{NAME}.json"
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for line in [*in_short(record), f"wrote {path}"]:
        logger.info(line)
