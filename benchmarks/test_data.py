"""Frames from disk to tensors beside a plain read of the same bytes, opening, and simulating.

A case's N is the rays of a turn of the main sensor; where a dataset is opened, its frames.
"""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from benchmarks.data_page import KEPT_BYTES_PER_POINT, WAYS
from benchmarks.frames import (
    FRAMES_PER_LABELED,
    REAL_RAYS,
    Simulated,
    columns,
    simulated,
    tiny_files,
    waymo_segment,
)
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure
from train.data.batch import VoxelBudgetBatchSampler, collate
from train.data.dataset_spec import dataset_spec
from train.data.decoded import DecodedCache, decoded_frames
from train.data.frame import FrameSource
from train.data.loader import TrainingFrames

BATCH_SIZE = 4


def counts_of(num_points: int) -> tuple[int, int]:
    """How many frames are on disk, and how often a call goes through them."""
    return (2, 1) if num_points == SMOKE_POINTS else (8, 3)


def kept(source: FrameSource, folder: Path) -> DecodedCache:
    """Return the source with all of its frames decoded on disk."""
    return decoded_frames(source, folder)


def bytes_job(data: Simulated, repeats: int) -> Job:
    """Read all files into arrays of bytes, which is the least that anyone can do."""
    size = sum(path.stat().st_size for path in data.files)

    def run() -> int:
        return sum(
            len(np.fromfile(path, dtype=np.uint8)) for _ in range(repeats) for path in data.files
        )

    def check(output: int) -> None:
        assert output == repeats * size

    return Job(run, check)


def frames_job(data: Simulated, source: FrameSource, repeats: int) -> Job:
    """Read and decode all frames."""
    sizes = [len(data.source[index].coord) for index in range(len(source))]

    def run() -> list[int]:
        return [len(source[index].coord) for _ in range(repeats) for index in range(len(source))]

    def check(output: list[int]) -> None:
        assert output == repeats * sizes

    return Job(run, check)


def tensors_job(data: Simulated, source: FrameSource, repeats: int, workers: int) -> Job:
    """Serve an epoch as training does: read, augment, voxelize, collate."""
    frames = TrainingFrames(source, repeats=repeats)
    order = VoxelBudgetBatchSampler(len(frames), BATCH_SIZE)
    loader = DataLoader(
        frames,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    direct = TrainingFrames(data.source, repeats=repeats)

    def seen(batches: Any) -> list[tuple[int, float]]:
        return [(len(batch["feat"]), float(batch["feat"].sum())) for batch in batches]

    def check(output: list[tuple[int, float]]) -> None:
        by_hand = (collate([direct[index] for index in batch]) for batch in order.batches(0))
        assert output == seen(by_hand)

    return Job(lambda: seen(loader), check)


def reading_case(
    name: str, op: str, implementation: str, workers: int, num_points: int, folder: Path
) -> Case:
    num_frames, repeats = counts_of(num_points)

    def build() -> Job:
        data = simulated(name, num_points, num_frames, folder)
        if op == "bytes":
            return bytes_job(data, repeats)
        source = data.source
        if implementation == "ours, kept":
            source = kept(source, folder / f"{name}-kept")
        if op == "frames":
            return frames_job(data, source, repeats)
        return tensors_job(data, source, repeats, workers)

    return Case(
        suite="data", op=op, implementation=implementation, yields=op.partition(" ")[0],
        build=build, num_points=num_points, threads=max(1, workers), data=name,
        channels=None, batch=num_frames * repeats,
    )  # fmt: skip


@pytest.mark.each(*(("data", WAYS, [name], [rays]) for name, rays in REAL_RAYS.items()))
def test_reading(
    suite: str, name: str, family: str, num_points: int, folder: Path, measure: Measure
) -> None:
    """Each way of each dataset, at its own number of rays."""
    measure(lambda n: reading_case(family, *WAYS[name], n, folder), num_points)


WAYMO_SEGMENT = "waymo segment"


def segment_case(op: str, num_points: int, folder: Path) -> Case:
    # Frames of the segment, frames in a row group, how many frames are read alone.
    smallest = num_points == SMOKE_POINTS
    num_frames, frames_per_group, num_alone = (22, 6, 2) if smallest else (100, 50, 4)
    num_labeled = len(range(0, num_frames, FRAMES_PER_LABELED))
    kept_folder = folder / f"segment-{op}-{num_points}"

    def build() -> Job:
        data = waymo_segment(num_points, num_frames, frames_per_group, folder)
        assert len(data.source) == num_labeled
        frames = kept(data.source, folder / f"segment-kept-{num_points}")
        sizes = [len(frames[index].coord) for index in range(len(frames))]

        def alone() -> list[int]:
            # From the last one: no frame is on the way to the next.
            return [len(data.source[index].coord) for index in reversed(range(num_alone))]

        def fill() -> DecodedCache:
            shutil.rmtree(kept_folder, ignore_errors=True)
            return decoded_frames(data.source, kept_folder)

        def check(output: DecodedCache | list[int]) -> None:
            if isinstance(output, list):
                assert output == sizes[:num_alone][::-1]
                return
            assert [len(output[index].coord) for index in range(len(output))] == sizes
            num_bytes = sum(path.stat().st_size for path in output.folder.rglob("*.frame"))
            heads = num_bytes - KEPT_BYTES_PER_POINT * sum(sizes)
            assert 0 < heads < 4096 * num_labeled

        return Job(alone if op == "alone" else fill, check)

    return Case(
        suite="data", op=op, implementation="ours", yields="frames", build=build,
        num_points=num_points, threads=1, data=WAYMO_SEGMENT, channels=None,
        batch=num_alone if op == "alone" else num_labeled,
    )  # fmt: skip


@pytest.mark.parametrize("op", ["alone", "fill"])
@pytest.mark.sizes(REAL_RAYS["waymo"])
def test_waymo_segment(op: str, num_points: int, folder: Path, measure: Measure) -> None:
    """Labeled frames of tables that are laid out as the dataset's own."""
    measure(lambda n: segment_case(op, n, folder), num_points)


def opening_case(name: str, num_points: int, folder: Path, fresh: Iterator[int]) -> Case:
    def build() -> Job:
        root = tiny_files(name, num_points, folder)
        cache_dir = folder / f"opening-{next(fresh)}"

        def check(output: FrameSource) -> None:
            assert len(output) == num_points
            assert len(output[num_points - 1].coord) >= 1

        return Job(lambda: dataset_spec(name).open(root, "training", cache_dir=cache_dir), check)

    return Case(
        suite="opening", op="open", implementation="ours", yields="source", build=build,
        num_points=num_points, threads=1, data=name, channels=None,
    )  # fmt: skip


@pytest.mark.parametrize("name", REAL_RAYS)
@pytest.mark.sizes(20_000)
def test_opening(name: str, num_points: int, folder: Path, measure: Measure) -> None:
    """The first call makes the index, those after it find it on disk."""
    fresh = itertools.count()
    measure(lambda n: opening_case(name, n, folder, fresh), num_points)


def simulation_case(name: str, num_points: int, folder: Path, threads: int) -> Case:
    num_frames = counts_of(num_points)[0]
    root = folder / f"{name}-simulation"

    def run() -> Any:
        shutil.rmtree(root, ignore_errors=True)
        return dataset_spec(name).simulate(
            root,
            num_frames=num_frames - 1,
            num_validation_frames=1,
            azimuth_steps=columns(name, num_points),
            seed=1,
        )

    def check(output: Any) -> None:
        assert not output.reused
        source = dataset_spec(name).open(root, sequences=output.training_sequences)
        assert len(source) == num_frames - 1
        # Rays that end in the sky give no point.
        assert min(len(source[index].coord) for index in range(len(source))) > num_points / 4

    return Case(
        suite="simulation", op="simulate", implementation="ours", yields="files",
        build=lambda: Job(run, check), num_points=num_points, threads=threads, data=name,
        channels=None, batch=num_frames,
    )  # fmt: skip


@pytest.mark.parametrize("name", REAL_RAYS)
@pytest.mark.sizes(100_000)
def test_simulation(
    name: str, num_points: int, folder: Path, threads: int, measure: Measure
) -> None:
    """Scenes, rays and files, from nothing."""
    measure(lambda n: simulation_case(name, n, folder, threads), num_points)


def test_the_check_refuses_another_epoch(folder: Path) -> None:
    data = simulated("semantickitti", SMOKE_POINTS, 2, folder)
    job = tensors_job(data, data.source, 1, 0)
    output = job.run()
    job.check(output)
    with pytest.raises(AssertionError):
        job.check([(size, total + 1.0) for size, total in output])
