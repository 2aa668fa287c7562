"""Seeds of an ablation side by side: as processes of this machine, or as Slurm jobs."""

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from train.ablation.records import locked
from train.core.atomic_write import make_folder
from train.core.console import logger
from train.core.errors import UserError

FOLDER: Final = "launch"
"""In the output: what each seed's process printed, and Slurm's own files."""

_POLL_S: Final = 0.2


class _Job(Protocol):
    def code(self) -> int | None:
        """Return the exit code; None while it runs."""

    def stop(self) -> None:
        """End it, if it runs."""


def launch(
    launcher: str,
    commands: Mapping[int, Sequence[str]],
    output: Path,
    workers: int,
    slurm: Mapping[str, Any],
    cluster: str = "slurm",
) -> None:
    """Run `train.ablate` once for each seed, `workers` at a time; they add to the same records.

    Parameters
    ----------
    launcher
        "local" or "slurm".
    commands
        By seed the words of its command line.
    output
        Of the ablation; what the processes print goes to ``launch/seed-S.log`` in it.
    workers
        How many run at once.
    slurm
        Parameters of submitit's executor: timeout_min, gpus_per_node, slurm_partition and so on.
    cluster
        Which executor submitit uses; "local" runs its jobs here, for tests.

    Raises
    ------
    UserError
        If a seed's process fails, another launcher is at work in the folder, Slurm or submitit is
        not there, or submitit refuses a parameter.
    """
    if not commands:
        return
    folder = output / FOLDER
    make_folder(folder, "--output")
    logs = {seed: folder / f"seed-{seed}.log" for seed in commands}
    failed = []
    with _alone(folder), _jobs(launcher, commands, logs, workers, slurm, cluster) as jobs:
        for seed, code in jobs:
            logger.info(f"seed {seed}: {'done' if code == 0 else f'failed, {logs[seed]}'}")
            failed += [] if code == 0 else [seed]
    if failed:
        raise UserError(
            f"seed {', '.join(map(str, sorted(failed)))}: failed ({_last_line(logs[failed[0]])}); "
            f"{folder}/seed-S.log has all that was said; the same command goes on with what is "
            "missing"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with locked(folder, wait=False):
            yield
    except BlockingIOError:
        raise UserError(
            f"{folder}: another launcher is at work here; wait for it, or give another --output"
        ) from None


@contextlib.contextmanager
def _jobs(
    launcher: str,
    commands: Mapping[int, Sequence[str]],
    logs: Mapping[int, Path],
    workers: int,
    slurm: Mapping[str, Any],
    cluster: str,
) -> Iterator[Iterator[tuple[int, int]]]:
    """Yield an iterator of seeds and exit codes as they end; what still runs is stopped after."""
    running: dict[int, _Job] = {}
    if launcher == "slurm":
        running.update(_submitted(commands, logs, workers, slurm, cluster))
        waiting: deque[int] = deque()
    else:
        waiting = deque(commands)

    def ended() -> Iterator[tuple[int, int]]:
        while waiting or running:
            while waiting and len(running) < workers:
                seed = waiting.popleft()
                running[seed] = _Process(commands[seed], logs[seed], workers)
            for seed, job in list(running.items()):
                if (code := job.code()) is not None:
                    del running[seed]
                    yield seed, code
            time.sleep(_POLL_S)

    try:
        yield ended()
    finally:
        for job in running.values():
            job.stop()


class _Process:
    """A process of this machine."""

    def __init__(self, words: Sequence[str], log: Path, workers: int) -> None:
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        environment = {"OMP_NUM_THREADS": threads} | os.environ  # what is set there holds
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                _program(words), stdout=said, stderr=said, env=environment
            )

    def code(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class _SlurmJob:
    """A job of submitit."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def code(self) -> int | None:
        if not self.job.done():
            return None
        # A job that Slurm killed has no result.
        return 1 if self.job.exception() is not None else self.job.result()

    def stop(self) -> None:
        self.job.cancel()


def _submitted(
    commands: Mapping[int, Sequence[str]],
    logs: Mapping[int, Path],
    workers: int,
    slurm: Mapping[str, Any],
    cluster: str,
) -> dict[int, _SlurmJob]:
    try:
        import submitit
    except ImportError:
        raise UserError(
            "--launcher slurm: submitit is not installed; pip install 'topodistill[slurm]'"
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=logs[min(logs)].parent, cluster=cluster)
        executor.update_parameters(
            name="topodistill-ablate", slurm_array_parallelism=workers, **slurm
        )
    except (RuntimeError, NameError, TypeError, AssertionError) as error:
        raise UserError(f"--launcher slurm: {error}; check --slurm and that srun is here") from None
    found = executor.map_array(
        run_seed, [list(each) for each in commands.values()], [logs[seed] for seed in commands]
    )
    logger.info(
        f"{len(found)} jobs submitted, {found[0].job_id} and on; they end with this command"
    )
    return {seed: _SlurmJob(job) for seed, job in zip(commands, found, strict=True)}


def run_seed(words: Sequence[str], log: Path) -> int:
    """Run one seed's command to its end; return its exit code."""
    with log.open("ab") as said:
        return subprocess.run(_program(words), stdout=said, stderr=said, check=False).returncode


def _program(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "train.ablate", *words]


def _last_line(log: Path) -> str:
    """Return the last thing that a seed's process said."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
