"""Datasets on disk for the benchmarks of reading: simulated frames, and very many tiny ones."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from train.data import semantickitti, waymo
from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import FrameSource
from train.data.nuscenes.layout import SCENES
from train.data.waymo import schema
from train.simulation.nuscenes import VERSION, SimulatedTables
from train.simulation.waymo import simulate_waymo

BEAMS = {"semantickitti": 64, "nuscenes": 32, "waymo": 64}
"""Of the main sensor: a frame of N rays has N / beams columns."""

REAL_RAYS = {"semantickitti": 64 * 2048, "nuscenes": 32 * 1080, "waymo": 64 * 2650}
"""About as many as the main sensor of the real dataset fires in a turn."""

FRAMES_PER_LABELED = 7
"""About one of so many of Waymo's frames has labels, in the segments that have any."""

_FIRST_MICROS = 1_500_000_000_000_000
_FEWEST_COLUMNS = 16
_KEYFRAMES_A_SCENE = 40
_FRAMES_A_SEGMENT = 198


@dataclass(frozen=True)
class Simulated:
    """Simulated frames on disk, opened, and all of the files that they are made of."""

    spec: DatasetSpec
    source: FrameSource
    files: tuple[Path, ...]


def columns(name: str, num_rays: int) -> int:
    """Return how many columns a turn of so many rays has."""
    return max(_FEWEST_COLUMNS, num_rays // BEAMS[name])


def simulated(name: str, num_rays: int, num_frames: int, folder: Path) -> Simulated:
    """Return frames of a dataset, made below `folder` unless they are there already."""
    spec = dataset_spec(name)
    made = spec.simulate(
        folder / f"{name}-{num_rays}-{num_frames}",
        num_frames=num_frames,
        num_validation_frames=1,
        azimuth_steps=columns(name, num_rays),
        seed=0,
    )
    source = spec.open(
        made.root, sequences=made.training_sequences, cache_dir=folder / f"{name}-index"
    )
    files = sorted({path for index in range(len(source)) for path in source.files(index)})
    return Simulated(spec, source, tuple(files))


def tiny_files(name: str, count: int, folder: Path) -> Path:
    """Return a data root whose training split has so many frames, the smallest there can be."""
    root = folder / f"{name}-tiny-{count}"
    if not root.exists():
        _WRITERS[name](root, count)
    return root


def waymo_segment(num_rays: int, num_frames: int, frames_per_group: int, folder: Path) -> Simulated:
    """Return the labeled frames of a segment whose tables are laid out as the dataset's own.

    Its frames are simulated ones again and again, under other times. Many share a row group, and
    one of `FRAMES_PER_LABELED` has labels.
    """
    root = folder / f"waymo-segment-{num_rays}-{num_frames}"
    if not root.exists():
        model = simulated("waymo", num_rays, 4, folder)
        for path in model.files:
            written = root / "training" / path.parent.name / path.name
            written.parent.mkdir(parents=True)
            step = FRAMES_PER_LABELED if path.parent.name == schema.SEGMENTATION.tag else 1
            _repeat(path, written, range(0, num_frames, step), frames_per_group)
    spec = dataset_spec("waymo")
    source = spec.open(root, cache_dir=folder / "waymo-segment-index")
    return Simulated(spec, source, source.files(0))


def _repeat(path: Path, written: Path, numbers: range, frames_per_group: int) -> None:
    """Write a table with the rows of its frames in turn, so many frames to a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(path)
    with pq.ParquetWriter(
        written, rows.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        if schema.TIMESTAMP not in rows.column_names:
            writer.write_table(rows)
            return
        times = sorted(set(rows.column(schema.TIMESTAMP).to_pylist()))
        frames = [rows.filter(pa.compute.field(schema.TIMESTAMP) == time) for time in times]
        for start in range(0, len(numbers), frames_per_group):
            group = []
            for number in numbers[start : start + frames_per_group]:
                frame = frames[number % len(frames)]
                values = pa.array(np.full(len(frame), _FIRST_MICROS + 100_000 * number))
                group.append(_with(frame, schema.TIMESTAMP, values))
            writer.write_table(pa.concat_tables(group))


def _semantickitti(root: Path, count: int) -> None:
    """Write frames of one point each, shared out over the official sequences."""
    names = semantickitti.TRAIN_SEQUENCES
    point, label = np.zeros(4, "<f4").tobytes(), np.full(1, 40, "<u4").tobytes()
    ends = np.linspace(0, count, len(names) + 1).astype(int).tolist()
    for name, (begin, end) in zip(names, pairwise(ends), strict=True):
        sequence = root / "sequences" / name
        (sequence / "velodyne").mkdir(parents=True)
        (sequence / "labels").mkdir()
        for number in range(end - begin):
            (sequence / "velodyne" / f"{number:06d}.bin").write_bytes(point)
            (sequence / "labels" / f"{number:06d}.label").write_bytes(label)


def _nuscenes(root: Path, count: int) -> None:
    """Write the tables of whole scenes, and keyframes of one point each."""
    tables = SimulatedTables(seed=0)
    for folder in ("samples/LIDAR_TOP", f"lidarseg/{VERSION}"):
        (root / folder).mkdir(parents=True)
    point, label = np.zeros(5, "<f4").tobytes(), bytes([24])
    starts = range(0, count, _KEYFRAMES_A_SCENE)
    for scene, start in zip(SCENES["training"][VERSION], starts, strict=False):
        length = min(_KEYFRAMES_A_SCENE, count - start)
        tables.add_scene(scene, length, np.eye(4))
        for number in range(length):
            points, labels = tables.add_keyframe(number, np.eye(4))
            (root / points).write_bytes(point)
            (root / labels).write_bytes(label)
    tables.write(root / VERSION)


def _waymo(root: Path, count: int) -> None:
    """Write one simulated segment's tables again and again, under other names and times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = simulate_waymo(
        root.with_name(f"{root.name}-model"),
        num_frames=1,
        num_validation_frames=1,
        azimuth_steps=_FEWEST_COLUMNS,
    )
    (context,) = made.training_sequences
    model = waymo.SPEC.open(made.root, sequences=[context])
    first_micros = int(model.names[0].rpartition("/")[2])
    for number, start in enumerate(range(0, count, _FRAMES_A_SEGMENT)):
        times = first_micros + 100_000 * np.arange(min(_FRAMES_A_SEGMENT, count - start))
        for path in model.files(0):
            rows = pq.read_table(path)
            if schema.TIMESTAMP in rows.column_names:
                frame = rows.filter(pa.compute.field(schema.TIMESTAMP) == first_micros)
                rows = pa.concat_tables([frame] * len(times))
                values = pa.array(np.repeat(times, len(frame)))
                rows = _with(rows, schema.TIMESTAMP, values)
            name = f"{number:018d}_0000_000_0020_000"
            rows = _with(rows, schema.CONTEXT, pa.array([name] * len(rows)))
            written = root / "training" / path.parent.name / f"{name}.parquet"
            written.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, written, compression="zstd", write_page_checksum=True)


def _with(rows: Any, column: str, values: Any) -> Any:
    """Return a table with other values in a column."""
    at = rows.column_names.index(column)
    return rows.set_column(at, rows.schema.field(at), values.cast(rows.schema.field(at).type))


_WRITERS: dict[str, Callable[[Path, int], None]] = {
    "semantickitti": _semantickitti,
    "nuscenes": _nuscenes,
    "waymo": _waymo,
}
