"""Steps of the real training loop on one or several fresh processes: seconds, and their exchange.

`python -m benchmarks.processes WANTED` is one of the processes; WANTED is a `Training` as JSON. The
first one prints what a `Trained` holds.
"""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import ROOT
from train.config import DataConfig, RunConfig
from train.core.distributed import is_first_process, process_group
from train.data.dataset_spec import dataset_spec
from train.data.loader import TrainingFrames
from train.engine.loop import FrameBatches, fit
from train.engine.train_step import TrainTask
from train.methods.topology_gradient import TopologyGradient, TopologyGradientConfig
from train.networks.batch_norm import synchronize_batch_norm
from train.networks.ptv3 import build_segmentor

DATASET: Final = "semantickitti"
WARM_UP_STEPS: Final = 2
"""The first steps compile or load kernels and are not counted."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What to train: simulated frames on disk, the paper's method on the tiny pair.

    `threads` are those of each process; `batch_size` frames a step in all processes together, so
    many `steps` as each frame is repeated. With `profiled` the exchange is measured, which takes
    time itself.
    """

    root: str
    sequences: tuple[str, ...]
    processes: int
    threads: int
    steps: int
    batch_size: int = 4
    synchronized: bool = False
    profiled: bool = False


@dataclasses.dataclass(frozen=True)
class Trained:
    """What the first process measured after the warm-up.

    `seconds` of all steps, reading included; `exchange_s` of them under exchanges of the processes,
    waiting for each other included (None where it was not measured); `frames` of each step, and
    its `totals`.
    """

    seconds: float
    exchange_s: float | None
    frames: list[list[str]]
    totals: list[float]


def trained(wanted: Training) -> Trained:
    """Train on fresh processes.

    Raises
    ------
    RuntimeError
        If one fails; the message is what it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as running:
        for rank in range(wanted.processes):
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": str(wanted.threads),
                "NUMBA_NUM_THREADS": str(wanted.threads),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(wanted.processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            command = [sys.executable, "-m", "benchmarks.processes", json.dumps(vars(wanted))]
            worker = subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            workers.append(running.enter_context(worker))
            running.callback(worker.kill)  # before it is waited for: the time limit raises here
        said = [worker.communicate() for worker in workers]
    for worker, (_, error) in zip(workers, said, strict=True):
        if worker.returncode:
            raise RuntimeError(f"benchmarks.processes: {error.strip()}")
    return Trained(**json.loads(said[0][0].splitlines()[-1]))


class _Records:
    """Keeps what the loop logs; from the end of the warm-up on it measures the exchange."""

    def __init__(self, profiled: bool) -> None:
        self.steps: list[dict[str, Any]] = []
        self.profiler = profile(activities=[ProfilerActivity.CPU]) if profiled else None

    def step(self, stage: str, step: int, record: dict[str, Any]) -> None:
        del stage
        self.steps.append(record)
        if step == WARM_UP_STEPS and self.profiler is not None:
            self.profiler.start()

    def exchange_s(self) -> float | None:
        """Stop measuring; return the time in which at least one exchange was under way."""
        if self.profiler is None:
            return None
        self.profiler.stop()
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in self.profiler.events() or ()  # type: ignore[no-untyped-call]
            if event.name.startswith("gloo:")
        )
        total = end = 0.0
        for start, stop in spans:
            total += max(0.0, stop - max(start, end))
            end = max(end, stop)
        return total / 1e6


def _train(wanted: Training) -> Trained | None:
    """Train as one of the processes; the first one says how."""
    torch.set_num_threads(wanted.threads)
    device = torch.device("cpu")
    spec = dataset_spec(DATASET)
    source = spec.open(Path(wanted.root), "training", sequences=wanted.sequences)
    torch.manual_seed(0)
    # Nothing is drawn at random in a step, so that processes can be held beside one.
    pair = [
        build_segmentor(size, len(spec.class_names), drop_path=0.0, shuffle_orders="never")
        for size in ("tiny-teacher", "tiny-student")
    ]
    teacher, student = pair[0].eval().requires_grad_(False), pair[1]
    if wanted.synchronized:
        synchronize_batch_norm(student)
    method = TopologyGradient(TopologyGradientConfig(num_samples=256), student, teacher)
    config = RunConfig(
        dataset=DATASET, data=DataConfig(batch_size=wanted.batch_size, num_workers=0)
    )
    records = _Records(wanted.profiled and is_first_process())
    with process_group(device), tempfile.TemporaryDirectory() as folder:
        fit(
            TrainTask("student", student, method, teacher, epochs=1),
            FrameBatches(TrainingFrames(source, grid_size_m=0.1, repeats=wanted.steps), config),
            config,
            device,
            records if is_first_process() else None,  # type: ignore[arg-type]
            Path(folder) / "state.pt",
        )
        exchange_s = records.exchange_s()
    if not is_first_process():
        return None
    counted = records.steps[WARM_UP_STEPS:]
    return Trained(
        seconds=sum(record["seconds"] for record in counted),
        exchange_s=exchange_s,
        frames=[record["frames"] for record in records.steps],
        totals=[record["total"] for record in records.steps],
    )


def main() -> None:
    """Be one of the processes."""
    values = json.loads(sys.argv[1])
    found = _train(Training(**values | {"sequences": tuple(values["sequences"])}))
    if found is not None:
        print(json.dumps(vars(found)))


if __name__ == "__main__":
    main()
