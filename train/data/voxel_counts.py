"""How many voxels each frame of a source has: measured once, kept beside the data.

The number of points would be at hand for some datasets and bound the voxels, but loosely: a real
frame of SemanticKITTI has 0.74 voxels of 5 cm a point and 0.25 of 20 cm, so batches planned by
points would leave a quarter to three quarters of the memory unused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from train.core.console import Progress
from train.core.distributed import first_process_first
from train.core.errors import UserError
from train.core.interrupts import reader_ignores_stop
from train.data.batch import OnBadFrame
from train.data.frame import FrameSource
from train.data.index import cached_index
from train.data.transforms import voxelize


@dataclass(frozen=True)
class VoxelCounts:
    """Points and voxels of each frame of a source, without augmentation.

    Attributes
    ----------
    points, voxels
        (number of frames,) int64. A frame that cannot be read has those of the next that can, which
        is taken in its place in training.
    """

    points: NDArray[np.int64]
    voxels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.points)

    def grown(self, scale_max: float) -> NDArray[np.int64]:
        """Return how many voxels to expect at most of a frame that is scaled up.

        Notes
        -----
        Points of surfaces spread over `scale_max`^2 as many voxels, never over more than there are
        points. Of real frames, turned, jittered and scaled by 1.1, it was at most 1.12 times as
        many at any grid size, against the 1.21 that are planned.
        """
        grown: NDArray[np.int64] = np.ceil(self.voxels * scale_max**2).astype(np.int64)
        return np.minimum(self.points, grown)


class _Counts(Dataset[NDArray[np.int64]]):
    """Each frame's (points, voxels), for a loader with workers."""

    def __init__(self, source: FrameSource, grid_size_m: float, on_bad_frame: OnBadFrame) -> None:
        self.source, self.grid_size_m, self.on_bad_frame = source, grid_size_m, on_bad_frame

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        try:
            frame = voxelize(self.source[index], self.grid_size_m)
        except UserError:
            if self.on_bad_frame == "stop":
                raise
            return np.zeros(2, dtype=np.int64)
        return np.array([len(frame.inverse), len(frame.coord)], dtype=np.int64)


def measure_voxels(
    source: FrameSource,
    grid_size_m: float,
    *,
    num_workers: int = 0,
    on_bad_frame: OnBadFrame = "stop",
) -> VoxelCounts:
    """Read every frame of a source once and count its points and voxels.

    Parameters
    ----------
    source
        At least one frame.
    grid_size_m
        The voxels' edge.
    num_workers
        Processes that read beside this one.
    on_bad_frame
        "stop" raises at the first frame that cannot be read.

    Raises
    ------
    UserError
        If a frame cannot be read; with "skip", if none can.
    """
    loader = DataLoader(
        _Counts(source, grid_size_m, on_bad_frame),
        batch_size=None,
        num_workers=num_workers,
        worker_init_fn=reader_ignores_stop,
    )
    progress = Progress("measuring frames", len(source))
    rows = []
    try:
        for row in loader:
            rows.append(np.asarray(row))
            progress.advance({})
    finally:
        progress.close()
    table = np.stack(rows)
    good = np.flatnonzero(table[:, 0])
    if len(good) == 0:
        raise UserError(
            f"none of the {len(table)} frames can be read; topodistill inspect says why"
        )
    # The first good one at or after each, or else the first of all: as training replaces them.
    at = good[np.searchsorted(good, np.arange(len(table))) % len(good)]
    return VoxelCounts(points=table[at, 0], voxels=table[at, 1])


def voxel_counts(
    source: FrameSource,
    grid_size_m: float,
    root: Path,
    *,
    cache_dir: Path | None = None,
    num_workers: int = 0,
    on_bad_frame: OnBadFrame = "stop",
) -> VoxelCounts:
    """Return the counts of `measure_voxels`, from disk if they were measured before.

    Every process of a run calls this at the same point: the first one measures, the others find
    the table.

    Parameters
    ----------
    source, grid_size_m, num_workers, on_bad_frame
        As for `measure_voxels`.
    root
        The data root; the table lies there unless `cache_dir` is given.
    cache_dir
        Where to keep the table; see `train.data.index.cached_index`.
    """
    names = hashlib.sha256("\n".join(source.names).encode()).hexdigest()[:16]
    files = sorted({path for index in range(len(source)) for path in source.files(index)})

    def build() -> Mapping[str, NDArray[np.int64]]:
        counts = measure_voxels(
            source, grid_size_m, num_workers=num_workers, on_bad_frame=on_bad_frame
        )
        return {"points": counts.points, "voxels": counts.voxels}

    with first_process_first():
        table = cached_index(root, f"voxels-{grid_size_m:g}-{names}", files, build, cache_dir)
    return VoxelCounts(points=table["points"], voxels=table["voxels"])
