"""Exact persistence images of clouds, and the pass that makes them of a teacher's embeddings.

Shape letters: K clouds, M points of a cloud, C channels, L pairs, P pixels of an image.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from fast import (
    ImageScale,
    fit_persistence_image,
    persistence_image,
    rips_persistence_of_points,
)
from train.core.console import Progress, logger
from train.core.errors import UserError
from train.methods.topkd.artifacts import ImageCard, Targets
from train.methods.topkd.clouds import CloudChoice, collect_clouds
from train.networks.protocol import Network
from train.networks.weights import checksum

_AT_ONCE: Final = 256


def diagram_pairs(clouds: Tensor, dims: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the pairs of each cloud's diagrams, of several dimensions together.

    Parameters
    ----------
    clouds
        (K, M, C).
    dims
        0, 1 or both.

    Returns
    -------
    pairs : Tensor
        (K, L, 2) births and deaths, differentiable.
    mask : Tensor
        (K, L) bool: which rows are pairs.
    """
    diagrams = rips_persistence_of_points(clouds, max_dim=max(dims))
    wanted = [diagrams[dim] for dim in dims]
    return (
        torch.cat([each.pairs for each in wanted], dim=1),
        torch.cat([each.mask for each in wanted], dim=1),
    )


def exact_images(clouds: Tensor, scale: ImageScale, dims: Sequence[int]) -> Tensor:
    """Return the exact persistence images of clouds, differentiable in the points.

    Parameters
    ----------
    clouds
        (K, M, C).
    scale
        From the teacher's clouds.
    dims
        Homology dimensions in an image.

    Returns
    -------
    Tensor
        (K, P); between 0 and 1 for the clouds that the scale was fitted to.
    """
    pairs, mask = diagram_pairs(clouds, dims)
    return persistence_image(pairs, scale, mask=mask).flatten(-2)


def make_targets(
    teacher: Network,
    batches: Iterable[Mapping[str, Any]],
    choice: CloudChoice,
    *,
    dims: tuple[int, ...],
    birth_margin: float,
    per_frame: int,
    at_most: int,
    seed: int = 0,
) -> Targets:
    """Return clouds of a teacher's embeddings with their images, and the scale that they set.

    The run's random numbers are what they were; what a network draws for itself (the order of
    PTv3's curves) comes from `seed`, so that the same frames give the same clouds.

    Parameters
    ----------
    teacher
        Frozen, in evaluation mode.
    batches
        One pass over the training frames, on the teacher's device.
    choice, per_frame, at_most, seed
        As in `collect_clouds`.
    dims, birth_margin
        As in `TopKDConfig`.

    Raises
    ------
    UserError
        If a frame is too small, or the diagrams give no image: no finite pairs, or all alike.
    """
    device = next(teacher.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        clouds = collect_clouds(
            teacher, batches, choice, per_frame=per_frame, at_most=at_most, seed=seed
        )
    pairs, mask = _pairs_of_many(clouds, dims)
    which = f"H{' and H'.join(map(str, dims))}"
    if not bool(mask.any()):
        raise UserError(
            f"the {len(clouds)} clouds of the teacher have no finite pair in {which}: their points "
            "lie in one place, or form no loop; choose another --method.stage or --method.dims"
        )
    try:
        scale = fit_persistence_image(pairs, mask=mask, birth_margin=birth_margin)
    except ValueError as error:
        raise UserError(f"the diagrams of the teacher's clouds give no image ({error})") from error
    images = torch.cat(
        [
            persistence_image(some, scale, mask=some_mask).flatten(-2)
            for some, some_mask in zip(
                torch.split(pairs, _AT_ONCE), torch.split(mask, _AT_ONCE), strict=True
            )
        ]
    )
    logger.info(
        f"images: {len(clouds)} clouds of {choice.num_points} points, {which}; bandwidth "
        f"{scale.bandwidth:.4g}; {distinct_pixels(images)} of {images.shape[1]} pixels differ"
    )
    card = ImageCard(
        choice=choice,
        channels=clouds.shape[-1],
        dims=dims,
        birth_margin=birth_margin,
        scale=scale,
        teacher=checksum(teacher),
    )
    return Targets(card=card, clouds=clouds, images=images)


def distinct_pixels(images: Tensor) -> int:
    """Return how many of the pixels are not copies of another in every image.

    Parameters
    ----------
    images
        (K, P). In dimension 0 on the paper's axis 20 of the 400: all columns are equal.
    """
    return int(torch.unique(images, dim=1).shape[1])


def _pairs_of_many(clouds: Tensor, dims: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return `diagram_pairs` of any number of clouds, padded to one length, with progress."""
    parts = torch.split(clouds, _AT_ONCE)
    progress = Progress("exact diagrams", len(parts))
    found = []
    try:
        for part in parts:
            found.append(diagram_pairs(part, dims))
            progress.advance({})
    finally:
        progress.close()
    longest = max(mask.shape[1] for _, mask in found)
    return (
        torch.cat([pad(pairs, (0, 0, 0, longest - pairs.shape[1])) for pairs, _ in found]),
        torch.cat([pad(mask, (0, longest - mask.shape[1])) for _, mask in found]),
    )
