"""Regions of a frame: the rows nearest to one of them, which a cloud is drawn from.

Shape letters: N rows, of one frame or of all; B frames; R rows of a region.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fast.modules import cloud_sizes
from fast.sampling import draw_points, key_of_call
from train.core.errors import UserError
from train.core.streams import CallStream


def positions(batch: Mapping[str, Any], rows: int, stage: str) -> Tensor:
    """Return where the rows of a stage are.

    Parameters
    ----------
    batch
        With `coord` [N, 3] meters, if its rows have a position.
    rows
        How many the stage has.
    stage
        Its name.

    Returns
    -------
    Tensor
        (N, 3) meters.

    Raises
    ------
    UserError
        If there are no positions, or those of another resolution.
    """
    coord: Tensor | None = batch.get("coord")
    if coord is None or len(coord) != rows:
        why = "has rows without a position" if coord is None else "is coarser than the voxels"
        raise UserError(
            f"--method.region: stage {stage} {why}, so nothing is near to anything; give "
            "--method.region 0 for clouds of whole frames"
        )
    return coord


def nearest_rows(coord: Tensor, center: int | Tensor, size: int) -> Tensor:
    """Return the rows nearest to one of them, that one among them.

    Parameters
    ----------
    coord
        (N, 3) meters, of one frame.
    center
        A row, () if it is a tensor.
    size
        R; a frame with fewer rows is a region as it is.

    Returns
    -------
    Tensor
        (R,) int64, from near to far.
    """
    distances = (coord - coord[center]).square().sum(dim=-1)
    return distances.topk(min(size, len(coord)), largest=False).indices


class Regions(nn.Module):
    """Chooses a region of each frame, others at every call.

    Parameters
    ----------
    size
        R, at least 1.
    """

    calls: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        # A part of the state: a resumed run goes on with the regions that come next.
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """Return the size, for the module's repr."""
        return str(self.size)

    @torch.no_grad()
    def forward(self, coord: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of all frames' regions, and where each region ends among them.

        Parameters
        ----------
        coord
            (N, 3) meters, frames one after another.
        offset
            (B,) int64: where each frame ends.

        Returns
        -------
        rows : Tensor
            (up to B R,) int64.
        ends : Tensor
            (B,) int64.
        """
        sizes = cloud_sizes("Regions", offset, len(coord))
        key = key_of_call(CallStream.REGIONS, self.calls).to(coord.device)
        self.calls += 1
        centers = draw_points(key, sizes, [1] * len(sizes))
        found, begin = [], 0
        for size, center in zip(sizes, centers, strict=True):
            frame = coord[begin : begin + size]
            found.append(begin + nearest_rows(frame, center[0], self.size))
            begin += size
        ends = torch.tensor([len(rows) for rows in found], device=offset.device).cumsum(0)
        return torch.cat(found), ends
