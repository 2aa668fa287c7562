"""Several voxelized sweeps as one batch: rows one after the other, and where each sweep ends.

Shape letters: B sweeps, N voxels of all sweeps, R points of all sweeps before voxelizing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from train.data.batching import CroppedVoxels
from train.data.camera_image import Views
from train.data.skipping import SKIPPED, BadFrame
from train.data.transforms import VoxelFrame

Sample = VoxelFrame | BadFrame | CroppedVoxels
"""What a dataset gives a batch: its sweeps, and notes on what was done to make it."""


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return a batch of sweeps as tensors.

    Parameters
    ----------
    samples
        At least one; sweeps all with labels or all without, and notes.

    Returns
    -------
    dict
        `feat` [N, 4] float32 (x, y, z, strength), `coord` [N, 3] float32 meters, `grid_coord`
        [N, 3] int64, `offset` [B] int64 (cumulative ends, no leading 0), `inverse` [R] int64 into
        the N rows, `raw_offset` [B] int64, `names` list of str; with labels also `segment` [N] and
        `raw_segment` [R] int64. `skipped` is the list of `BadFrame`, `cropped_voxels` how many
        voxels were cropped to keep the batch within its bound. Where no sweep could be read, there
        are no tensors and `names` is empty. Where sweeps have views: `images` [V, 3, H, W] uint8,
        those of all sweeps one after the other, `view_cloud` [V] int64, the sweep of each, and
        `point_pixel` [P, 4] int64 (view, row, column, one of the N rows), as far as asked for.

    Raises
    ------
    ValueError
        If there are no samples, or only some sweeps have labels, or views.
    """
    if not samples:
        raise ValueError("collate: no sweeps to batch")
    sweeps = [sample for sample in samples if isinstance(sample, VoxelFrame)]
    batch: dict[str, Any] = {
        "names": [sweep.name for sweep in sweeps],
        SKIPPED: [sample for sample in samples if isinstance(sample, BadFrame)],
        "cropped_voxels": sum(
            sample.count for sample in samples if isinstance(sample, CroppedVoxels)
        ),
    }
    if not sweeps:
        return batch
    labeled = [sweep.segment is not None for sweep in sweeps]
    if any(labeled) != all(labeled):
        missing = [sweep.name for sweep, has in zip(sweeps, labeled, strict=True) if not has]
        raise ValueError(f"collate: some sweeps have labels, but not {', '.join(missing)}")
    offset = np.cumsum([len(sweep.coord) for sweep in sweeps])
    starts = [0, *offset[:-1].tolist()]
    inverse = [sweep.inverse + start for sweep, start in zip(sweeps, starts, strict=True)]
    coord = np.concatenate([sweep.coord for sweep in sweeps])
    strength = np.concatenate([sweep.strength for sweep in sweeps])
    batch |= {
        "feat": torch.from_numpy(np.concatenate([coord, strength], axis=1)),
        "coord": torch.from_numpy(coord),
        "grid_coord": torch.from_numpy(np.concatenate([sweep.grid_coord for sweep in sweeps])),
        "offset": torch.from_numpy(offset.astype(np.int64)),
        "inverse": torch.from_numpy(np.concatenate(inverse)),
        "raw_offset": torch.from_numpy(np.cumsum([len(sweep.inverse) for sweep in sweeps])),
    }
    if all(labeled):
        batch["segment"] = torch.from_numpy(_joined([sweep.segment for sweep in sweeps]))
        batch["raw_segment"] = torch.from_numpy(_joined([sweep.raw_segment for sweep in sweeps]))
    views = [sweep.views for sweep in sweeps if sweep.views is not None]
    if views:
        if len(views) != len(sweeps):
            missing = [sweep.name for sweep in sweeps if sweep.views is None]
            raise ValueError(f"collate: some sweeps have views, but not {', '.join(missing)}")
        batch |= _camera_fields(views, starts)
    return batch


def _camera_fields(views: Sequence[Views], starts: Sequence[int]) -> dict[str, Any]:
    """Return the batch's entries that come from cameras; the sweeps' points begin at `starts`."""
    fields: dict[str, Any] = {}
    images = [each.images for each in views if each.images is not None]
    if images:
        fields["images"] = torch.from_numpy(np.concatenate(images))
    counts = [each.num_views for each in views]
    fields["view_cloud"] = torch.from_numpy(np.repeat(np.arange(len(views)), counts))
    first_views = np.cumsum([0, *counts[:-1]]).tolist()
    pairs = [
        each.point_pixel + np.array([first, 0, 0, start])
        for each, first, start in zip(views, first_views, starts, strict=True)
        if each.point_pixel is not None
    ]
    if pairs:
        fields["point_pixel"] = torch.from_numpy(np.concatenate(pairs))
    return fields


def _joined(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64]:
    """Return labels one after the other; the caller has seen that none is missing."""
    return np.concatenate([part for part in parts if part is not None])


def split_batch(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Return the clouds of a batch as several batches, for a step that is computed in parts.

    Parameters
    ----------
    batch
        From `collate`; at least `parts` clouds.
    parts
        How many; their clouds differ by one in number at most.

    Returns
    -------
    list of dict
        With what a network needs for training (`feat`, `coord`, `grid_coord`, `offset`, `segment`),
        `names`, and what there is of `images`, `view_cloud` and `point_pixel`. The batch itself if
        `parts` is 1.
    """
    if parts == 1:
        return [batch]
    ends = batch["offset"].tolist()
    starts = [0, *ends[:-1]]
    made = []
    for clouds in np.array_split(np.arange(len(ends)), parts):
        rows = slice(starts[clouds[0]], ends[clouds[-1]])
        part: dict[str, Any] = {
            name: batch[name][rows]
            for name in ("feat", "coord", "grid_coord", "segment")
            if name in batch
        }
        part["offset"] = batch["offset"][clouds[0] : clouds[-1] + 1] - rows.start
        part["names"] = [batch["names"][cloud] for cloud in clouds]
        if "view_cloud" in batch:
            part |= _camera_part(batch, int(clouds[0]), int(clouds[-1]) + 1, rows)
        made.append(part)
    return made


def _camera_part(batch: dict[str, Any], first: int, end: int, rows: slice) -> dict[str, Any]:
    """Return the entries from cameras of the clouds from `first` to before `end`."""
    # Views lie in the order of their clouds.
    at = torch.searchsorted(batch["view_cloud"], torch.tensor([first, end]))
    begin, stop = at.tolist()
    part = {"view_cloud": batch["view_cloud"][begin:stop] - first}
    if "images" in batch:
        part["images"] = batch["images"][begin:stop]
    if "point_pixel" in batch:
        pairs = batch["point_pixel"]
        inside = (pairs[:, 0] >= begin) & (pairs[:, 0] < stop)
        part["point_pixel"] = pairs[inside] - torch.tensor([begin, 0, 0, rows.start])
    return part
