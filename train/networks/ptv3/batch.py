"""What a batch of clouds must look like, checked once before anything is computed from it.

Shape letters: B clouds, N voxels, C input channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

REQUIRED_KEYS = ("feat", "coord", "grid_coord", "offset")


@dataclass(frozen=True)
class BatchMetadata:
    """The numbers about a batch that the host needs; read from the device in one copy.

    Attributes
    ----------
    counts
        Voxels of each cloud, all at least 1.
    max_grid_coord
        Largest voxel index of the batch over all three axes; sets the depth of the curves.
    extent_m
        Longest side of the batch's bounding box, in meters; used in messages alone.
    """

    counts: tuple[int, ...]
    max_grid_coord: int
    extent_m: float

    @property
    def num_voxels(self) -> int:
        """Voxels of the whole batch."""
        return sum(self.counts)


def check_shapes(batch: Mapping[str, Tensor], caller: str) -> int:
    """Check keys, ranks and lengths without looking at values; return the number of voxels.

    Parameters
    ----------
    batch
        `feat` [N, C], `coord` [N, 3], `grid_coord` [N, 3], `offset` [B], and perhaps `batch` [N];
        other keys are ignored.
    caller
        Name of the public function, for the message.

    Raises
    ------
    ValueError
        If a key is missing, the batch is empty, or the lengths disagree.
    """
    if not hasattr(batch, "keys"):  # a mapping, or a `Batch`
        raise TypeError(
            f"{caller}: batch is a {type(batch).__name__}; pass a mapping with"
            f" {', '.join(REQUIRED_KEYS)}, a row per voxel (`topodistill predict` takes points)"
        )
    for key in REQUIRED_KEYS:
        if key not in batch:
            raise ValueError(f"{caller}: batch has no '{key}'; it needs {', '.join(REQUIRED_KEYS)}")
    num_voxels = batch["grid_coord"].shape[0]
    if num_voxels == 0 or batch["offset"].numel() == 0:
        raise ValueError(f"{caller}: batch is empty; give at least one cloud of one voxel")
    for key in ("coord", "grid_coord"):
        if batch[key].shape != (num_voxels, 3):
            raise ValueError(
                f"{caller}: {key} has shape {tuple(batch[key].shape)}, must be ({num_voxels}, 3)"
                " like grid_coord"
            )
    feat = batch["feat"]
    if feat.ndim != 2 or feat.shape[0] != num_voxels:
        raise ValueError(
            f"{caller}: feat has shape {tuple(feat.shape)}, must have one row for each of the"
            f" {num_voxels} rows of grid_coord"
        )
    for key in ("grid_coord", "offset"):
        if batch[key].is_floating_point() or batch[key].is_complex():
            raise ValueError(f"{caller}: {key} is {batch[key].dtype}, must be whole numbers")
    if batch["offset"].ndim != 1:
        raise ValueError(f"{caller}: offset has {batch['offset'].ndim} axes, must have one")
    cloud = batch.get("batch")
    if cloud is not None and (cloud.shape != (num_voxels,) or cloud.is_floating_point()):
        raise ValueError(
            f"{caller}: batch['batch'] is {cloud.dtype} of shape {tuple(cloud.shape)}, must be the"
            f" cloud of each of the {num_voxels} voxels, in whole numbers"
        )
    return int(num_voxels)


def check_batch(batch: Mapping[str, Tensor], caller: str) -> BatchMetadata:
    """Check shapes and values of a batch; one copy to the host.

    Raises
    ------
    ValueError
        As `check_shapes`, and if offsets do not increase or do not end at N, a voxel index is
        negative, a feature or coordinate is not finite, or `batch` is not sorted or disagrees with
        `offset`.
    """
    num_voxels = check_shapes(batch, caller)
    grid_coord, coord, offset = batch["grid_coord"], batch["coord"], batch["offset"]
    cloud = batch.get("batch")
    if cloud is None:
        is_sorted = agrees = torch.ones((), dtype=torch.bool, device=offset.device)
    else:
        place = torch.arange(num_voxels, device=offset.device)
        is_sorted = (cloud[1:] >= cloud[:-1]).all()
        agrees = (cloud == torch.searchsorted(offset.long(), place, right=True)).all()
    # float64 holds every whole number below 2^53 exactly, so one small tensor carries all facts.
    facts = torch.cat(
        [
            torch.stack(
                [
                    grid_coord.min().double(),
                    grid_coord.max().double(),
                    (coord.amax(0) - coord.amin(0)).max().double(),
                    torch.isfinite(coord).all().double(),
                    torch.isfinite(batch["feat"]).all().double(),
                    is_sorted.double(),
                    agrees.double(),
                ]
            ),
            offset.double(),
        ]
    ).tolist()
    lowest, highest, extent_m, coord_is_finite, feat_is_finite, is_sorted, agrees = facts[:7]
    ends = [int(end) for end in facts[7:]]
    if not coord_is_finite:
        raise ValueError(f"{caller}: coord has a NaN or infinite entry; drop those points")
    if not feat_is_finite:
        raise ValueError(f"{caller}: feat has a NaN or infinite entry; drop those points")
    if lowest < 0:
        raise ValueError(
            f"{caller}: grid_coord has the negative entry {int(lowest)}; subtract the minimum of"
            " each cloud"
        )
    counts = tuple(end - start for start, end in zip([0, *ends[:-1]], ends, strict=True))
    if min(counts) < 0:
        raise ValueError(f"{caller}: offset {ends} decreases; it holds cumulative ends of clouds")
    if min(counts) == 0:
        raise ValueError(
            f"{caller}: cloud {counts.index(0)} of the batch is empty (offset {ends}); leave it out"
        )
    if ends[-1] != num_voxels:
        raise ValueError(
            f"{caller}: offset ends at {ends[-1]} but there are {num_voxels} rows; it holds"
            " cumulative ends without a leading 0"
        )
    if not is_sorted:
        raise ValueError(f"{caller}: batch['batch'] is not sorted; list cloud after cloud")
    if not agrees:
        raise ValueError(
            f"{caller}: batch['batch'] disagrees with offset {ends}; give both alike, or offset"
            " alone"
        )
    return BatchMetadata(counts=counts, max_grid_coord=int(highest), extent_m=extent_m)
