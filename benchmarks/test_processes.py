"""Training on two processes beside one with the same joint batches, on the same cores.

N is the rays of a turn of the sensor, the batch the frames that are counted, and the threads those
of all processes together.
"""

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.frames import columns
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure
from benchmarks.processes import DATASET, WARM_UP_STEPS, Trained, Training, trained
from train.data.dataset_spec import dataset_spec

FRAMES = 4
STEPS = 3
RAYS = 8_192

# Name, processes, threads of each, whether batch norm is of the joint batch.
WAYS = (
    ("one process", 1, 1, False),
    ("one process", 1, 2, False),
    ("two processes", 2, 1, False),
    ("two processes, joint batch norm", 2, 1, True),
)


def training(num_points: int, folder: Path, **fields: Any) -> Training:
    """Return a training on simulated frames, as many as a step has."""
    steps = WARM_UP_STEPS + (1 if num_points == SMOKE_POINTS else STEPS)
    simulated = dataset_spec(DATASET).simulate(
        folder / str(num_points),
        num_frames=FRAMES,
        num_validation_frames=1,
        azimuth_steps=columns(DATASET, num_points),
        seed=0,
    )
    return Training(
        root=str(simulated.root),
        sequences=simulated.training_sequences,
        steps=steps,
        batch_size=FRAMES,
        **fields,
    )


@functools.cache
def _trained_once(wanted: Training) -> Trained:
    return trained(wanted)


def trained_once(wanted: Training) -> Trained:
    """Train once for all cases of the smallest size, which is only checked.

    Several processes are always profiled here: what checks their steps and what checks their
    exchange is one training.
    """
    found = _trained_once(dataclasses.replace(wanted, profiled=wanted.processes > 1))
    return found if wanted.profiled else dataclasses.replace(found, exchange_s=None)


def run_of(num_points: int) -> Callable[[Training], Trained]:
    """Return how a case of a size trains."""
    return trained_once if num_points == SMOKE_POINTS else trained


def check_steps(output: Trained, wanted: Training) -> None:
    """Each step must have its number of frames, and all steps together each frame as often."""
    assert len(output.totals) == wanted.steps
    assert output.seconds > 0
    assert all(math.isfinite(total) for total in output.totals)
    assert [len(frames) for frames in output.frames] == [FRAMES] * wanted.steps
    counts = Counter(name for frames in output.frames for name in frames)
    assert list(counts.values()) == [wanted.steps] * FRAMES
    assert (output.exchange_s is not None) == wanted.profiled
    if output.exchange_s is not None:
        assert 0 < output.exchange_s < output.seconds


def process_case(
    name: str, processes: int, threads: int, synchronized: bool, num_points: int, folder: Path
) -> Case:
    def build() -> Job:
        fields = {"processes": processes, "threads": threads, "synchronized": synchronized}
        wanted = training(num_points, folder, **fields)

        def check(output: Trained) -> None:
            check_steps(output, wanted)
            if synchronized:
                alone = run_of(num_points)(
                    training(num_points, folder, processes=1, threads=1, synchronized=False)
                )
                assert output.totals[0] == pytest.approx(alone.totals[0], rel=1e-4)

        return Job(lambda: run_of(num_points)(wanted), check, clock=lambda output: output.seconds)

    return Case(
        suite="processes", op="steps", implementation=name, yields="steps", build=build,
        num_points=num_points, threads=processes * threads, data=DATASET, channels=None,
        batch=FRAMES * (1 if num_points == SMOKE_POINTS else STEPS),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "processes", "threads", "synchronized"), WAYS)
@pytest.mark.sizes(RAYS)
def test_steps(
    name: str,
    processes: int,
    threads: int,
    synchronized: bool,
    num_points: int,
    folder: Path,
    measure: Measure,
) -> None:
    measure(lambda n: process_case(name, processes, threads, synchronized, n, folder), num_points)


def exchange_case(name: str, synchronized: bool, num_points: int, folder: Path) -> Case:
    """Of the same steps under torch's profiler, the time in which an exchange was under way."""

    def build() -> Job:
        wanted = training(
            num_points, folder, processes=2, threads=1, synchronized=synchronized, profiled=True
        )

        def clock(output: Trained) -> float:
            assert output.exchange_s is not None
            return output.exchange_s

        return Job(
            lambda: run_of(num_points)(wanted), lambda output: check_steps(output, wanted), clock
        )

    return Case(
        suite="processes", op="exchange", implementation=name, yields="seconds", build=build,
        num_points=num_points, threads=2, data=DATASET, channels=None,
        batch=FRAMES * (1 if num_points == SMOKE_POINTS else STEPS),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "synchronized"), [(name, joint) for name, count, _, joint in WAYS if count == 2]
)
@pytest.mark.sizes(RAYS)
def test_exchange(
    name: str, synchronized: bool, num_points: int, folder: Path, measure: Measure
) -> None:
    measure(lambda n: exchange_case(name, synchronized, n, folder), num_points)


def test_the_check_refuses_a_step_without_a_frame(folder: Path) -> None:
    wanted = training(SMOKE_POINTS, folder, processes=2, threads=1)
    names = [["a", "b", "c", "d"]] * wanted.steps
    right = Trained(1.0, None, names, [1.0] * wanted.steps)
    check_steps(right, wanted)
    with pytest.raises(AssertionError):
        check_steps(Trained(1.0, None, [["a", "b", "c", "c"], *names[1:]], right.totals), wanted)
    with pytest.raises(AssertionError):
        check_steps(Trained(1.0, None, names, right.totals[1:]), wanted)
