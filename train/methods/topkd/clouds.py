"""Clouds of points from a network's embeddings: what images are made of.

For segmentation a cloud is some voxels of one LiDAR frame, or of a region of it. For images it is
some images: a network whose rows are images and whose one "frame" is the batch, or the whole
training set.

Shape letters: N rows of a frame, M points of a cloud, C channels, K clouds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from fast import normalise, sample_points
from fast.modules import cloud_sizes
from fast.normalisation import Normalisation
from fast.sampling import Sampling
from train.core.console import logger
from train.core.errors import UserError
from train.methods.topkd.regions import nearest_rows, positions
from train.networks.protocol import Network


@dataclass(frozen=True, kw_only=True)
class CloudChoice:
    """Which points make a cloud.

    Attributes
    ----------
    stage
        Whose features are the points.
    num_points
        M.
    sampling
        How points of a frame are drawn; see `fast.sample_points`.
    normalization
        How its features are normalized before that; see `fast.normalise`.
    region
        Draw from so many rows, those nearest to one of them, instead of the whole frame; 0: from
        the frame.
    """

    stage: str
    num_points: int
    sampling: Sampling = "random"
    normalization: Normalisation = "none"
    region: int = 0


FEWEST_POINTS: Final = 16
"""With fewer points in a cloud the paper's student is worse than without the term (Figure 3)."""


def refuse_small_frame(rows: int, num_points: int) -> None:
    """Raise a `UserError` if a frame has fewer points than a cloud."""
    if rows < num_points:
        raise UserError(
            f"--method.num-points {num_points}: a frame has only {rows}; give fewer points, or "
            "leave such frames out"
        )


def warn_of_few_points(num_points: int) -> None:
    """Say that clouds are smaller than the paper found useful, where they are."""
    if num_points < FEWEST_POINTS:
        logger.warning(
            f"--method.num-points {num_points}: below {FEWEST_POINTS} the paper's student is worse "
            "than without the term"
        )


def draw_clouds(
    features: Tensor,
    choice: CloudChoice,
    count: int,
    generator: torch.Generator,
    coord: Tensor | None = None,
) -> Tensor:
    """Return clouds of points of one frame, without gradient.

    Parameters
    ----------
    features
        (N, C), floating point.
    choice
        How.
    count
        K. Farthest points begin at a row of their own in each cloud.
    generator
        On the CPU; what is drawn is a function of its state, on every device.
    coord
        (N, 3) where the rows are, for clouds of regions.

    Returns
    -------
    Tensor
        (K, M, C) in float32 at least; the M points of a cloud are different rows.

    Raises
    ------
    UserError
        If the frame has fewer than M rows or, for farthest points, fewer than M different ones; if
        a feature is not finite.
    ValueError
        If there are regions, and no `coord`.
    """
    refuse_small_frame(len(features), choice.num_points)
    if not bool(features.isfinite().all()):
        raise UserError(
            f"--method.stage {choice.stage}: the teacher's features of a frame are NaN or "
            "infinite; look at its checkpoint with evaluate, and at the data with inspect"
        )
    wide = features.detach().to(torch.promote_types(features.dtype, torch.float32))
    points = wide if choice.region else normalise(wide, choice.normalization)
    drawn = []
    for _ in range(count):
        start = int(torch.randint(len(wide), (), generator=generator))
        if choice.region:
            if coord is None:
                raise ValueError("draw_clouds: coord is None; pass where the rows of a region are")
            near = wide[nearest_rows(coord, start, choice.region)]
            points, start = normalise(near, choice.normalization), 0
        chosen = sample_points(
            points, choice.num_points, start, sampling=choice.sampling, generator=generator
        )
        refuse_small_frame(len(chosen), choice.num_points)
        drawn.append(points[chosen])
    return torch.stack(drawn)


def collect_clouds(
    network: Network,
    batches: Iterable[Mapping[str, Any]],
    choice: CloudChoice,
    *,
    per_frame: int,
    at_most: int,
    seed: int = 0,
) -> Tensor:
    """Return clouds of the embeddings of many frames, on the CPU.

    Parameters
    ----------
    network
        In evaluation mode.
    batches
        Its input, on its device; read once.
    choice
        Which points.
    per_frame
        Clouds of each frame.
    at_most
        How many are kept: with more frames than that, a uniform draw of all clouds, so that memory
        has a bound whatever the number of frames (Algorithm R: J. S. Vitter, 1985).
    seed
        Of all draws.

    Returns
    -------
    Tensor
        (K, M, C) float32.

    Raises
    ------
    UserError
        If there are no frames, one is too small, or regions are asked for where rows have no
        position.
    """
    generator = torch.Generator().manual_seed(seed)
    kept: list[Tensor] = []
    seen = 0
    for batch in batches:
        with torch.no_grad():
            output = network(batch)
        features, offset = output.features[choice.stage], output.offsets[choice.stage]
        sizes = cloud_sizes("collect_clouds", offset, len(features))
        coords: Sequence[Tensor | None] = [None] * len(sizes)
        if choice.region:
            coords = torch.split(positions(batch, len(features), choice.stage), sizes)
        for frame, coord in zip(torch.split(features, sizes), coords, strict=True):
            for cloud in draw_clouds(frame, choice, per_frame, generator, coord).float().cpu():
                if seen < at_most:
                    kept.append(cloud)
                else:
                    place = int(torch.randint(seen + 1, (), generator=generator))
                    if place < at_most:
                        kept[place] = cloud
                seen += 1
    if not kept:
        raise UserError("no training frame to draw clouds from; look at the data with inspect")
    return torch.stack(kept)
