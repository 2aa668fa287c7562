"""The whole main command on several processes, without torchrun: what each said, wrote, ended with.

Each process keeps what it said in a file, which outlives a process that is killed.
"""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.train.distributed.small_fit import PerPoint
from tests.train.processes import run_processes
from train.core.errors import UserError
from train.data.loader import TrainingFrames
from train.engine import train_step
from train.evaluation.metrics import ConfusionMatrix
from train.networks.registry import NETWORKS
from train.run import main

COMMON = shlex.split(
    "--dataset semantickitti --model tiny --device cpu --data.grid-size-m 0.2 "
    "--data.max-voxels 1000 --data.batch-size 2 --data.num-workers 0 "
    "--data.train-sequences 00 --data.validation-sequences 08 "
    "--optim.teacher-epochs 1 --optim.student-epochs 2 --teacher per-point:only"
)
# Two steps of an MLP, then four of a PTv3 with drop path, shuffled curves and batch norm.
DISTILLED = [*COMMON, *shlex.split("--method kd")]
WITHOUT_TEACHER = [*COMMON, *shlex.split("--student per-point:only --method none")]
# The paper's method between MLPs.
PER_POINT = [*COMMON, *shlex.split("--student per-point:only --method.num-samples 32")]


@dataclass(frozen=True)
class Accident:
    """What happens to processes as they begin a step.

    `what` is "kill", "kill in backward", "nan" (a feature of their batch), "bad frame" (of all from
    the next step on), or a signal's name. In the stage "evaluation" it is a signal, at once.
    """

    what: str
    ranks: tuple[int, ...]
    step: int = 3
    stage: str = "student"


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: killed), what it said, which files it touched.

    `errors` are the lines that start with "error:", or with the process and "error:".
    """

    code: int
    said: str
    written: frozenset[str]
    seconds_since_accident: float

    @property
    def errors(self) -> list[str]:
        return [line for line in self.said.splitlines() if "error: " in line]


def flags(data: Path, output: Path, *more: str) -> list[str]:
    return ["--data-root", str(data), "--output", str(output), *more]


def commands(
    size: int,
    folder: Path,
    arguments: list[str],
    *,
    accident: Accident | None = None,
    folders: list[Path] | None = None,
    each_own: list[tuple[str, ...]] | None = None,
    gpus: int = 0,
    limit_s: float = 120.0,
) -> list[Ended]:
    """Run the main command on processes, and return how each ended.

    `folders` and `each_own` give each process its working directory and further flags; `gpus` is
    how many GPUs torch says that it sees.
    """
    folder.mkdir()
    outcomes = run_processes(
        size, _command, folder, arguments, accident, folders, each_own, gpus,
        join=False, limit_s=limit_s,
    )  # fmt: skip
    accidents = [float(path.read_text()) for path in folder.glob("accident-*")]
    ended = []
    for rank, outcome in enumerate(outcomes):
        said = (folder / f"said-{rank}").read_text()
        assert outcome.error is None, f"process {rank}: {outcome.trace}"
        code, written, at = outcome.value or (outcome.code, (), float("nan"))
        since = at - accidents[0] if accidents else float("nan")
        ended.append(Ended(code, said, frozenset(written), since))
    return ended


def _command(folder, arguments, accident, folders, each_own, gpus):
    rank = int(os.environ["RANK"])
    stream = os.open(folder / f"said-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(stream, number)
    if folders is not None:
        os.chdir(folders[rank])
    NETWORKS["per-point"] = "tests.train.distributed.small_run:build_per_point"
    if gpus:
        torch.cuda.device_count = lambda: gpus
        torch.cuda.set_device = lambda _: None
    written: set[str] = set()
    sys.addaudithook(_noting(written))
    if accident is not None and rank in accident.ranks:
        _prepare(accident, folder / f"accident-{rank}")
    code = main([*arguments, *(() if each_own is None else each_own[rank])])
    at = time.time()
    sys.stdout.flush()
    sys.stderr.flush()
    return code, sorted(written), at


def build_per_point(size: str, num_classes: int, in_channels: int = 4, **options: object):
    """Build an MLP on points, for the registry of networks."""
    del size, in_channels, options
    return PerPoint(num_classes)


def _prepare(accident: Accident, note: Path) -> None:
    """Let the accident happen in the step that it is for."""
    step = train_step.Stepper.step

    if accident.stage == "evaluation":
        add = ConfusionMatrix.add

        def with_signal(self, truth, prediction):
            os.kill(os.getpid(), getattr(signal, accident.what))
            return add(self, truth, prediction)

        ConfusionMatrix.add = with_signal
        return

    def with_accident(self, batch, number, names):
        if (self.task.name, number) == (accident.stage, accident.step):
            note.write_text(repr(time.time()))
            if accident.what == "nan":
                batch["feat"][0, 0] = float("nan")
            elif accident.what == "bad frame":
                TrainingFrames.__getitems__ = _bad
            elif accident.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif accident.what == "kill in backward":
                # Of the weights that the backward pass reaches last: others are exchanged by now.
                first = next(self.task.network.parameters())
                first.register_hook(lambda gradient: os.kill(os.getpid(), signal.SIGKILL))
            else:
                os.kill(os.getpid(), getattr(signal, accident.what))
        return step(self, batch, number, names)

    train_step.Stepper.step = with_accident


def _bad(self, indices):
    raise UserError(f"{self.source.names[indices[0]]}.bin: is damaged")


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link")


def _noting(written: set[str]) -> Callable[[str, tuple[object, ...]], None]:
    """Return a hook that collects the paths of files that are made, changed or removed."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, opened_for = arguments
            if isinstance(opened_for, int) and opened_for & _WRITES and not isinstance(path, int):
                written.add(os.path.realpath(os.fsdecode(path)))
        elif event in _CHANGES:
            for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
                if not isinstance(path, int):
                    written.add(os.path.realpath(os.fsdecode(path)))

    return hook


def below(folder: Path, written: frozenset[str]) -> set[str]:
    """Return which of the files lie in a folder, by their relative names."""
    root = os.path.realpath(folder)
    return {os.path.relpath(path, root) for path in written if path.startswith(f"{root}{os.sep}")}


def log_of(output: Path) -> list[dict]:
    """Return the steps of a run, without their times."""
    lines = (output / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def weights_of(output: Path, role: str) -> dict[str, torch.Tensor]:
    """Return all tensors of a network's file."""
    content = torch.load(output / f"{role}.pt", weights_only=True)
    (tensors,) = (
        value
        for value in content.values()
        if isinstance(value, dict)
        and all(isinstance(each, torch.Tensor) for each in value.values())
    )
    return tensors


def scores_of(output: Path) -> dict[str, dict]:
    """Return the scores of a run's networks, without their times."""
    metrics = json.loads((output / "metrics.json").read_text())
    return {
        role: {name: value for name, value in metrics[role].items() if name != "seconds"}
        for role in ("teacher", "student")
        if role in metrics
    }
