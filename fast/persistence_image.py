"""Persistence images of batches of diagrams, differentiable, and the scale of many.

Shape letters: K pairs, R rows of pixels (persistence), C columns (birth).
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fast.checks import as_counted_pairs, as_nonnegative
from fast.diagram import BatchedDiagram, rows_of
from reference.image_scale import ImageScale, ImageWeight

_BANDWIDTH_PAIRS = 200  # the bandwidth is found among the first of all diagrams
_LEAST_DISTANCE = 1e-5  # no farther apart, two pairs are one to the bandwidth
_BANDWIDTH_QUANTILE = 0.2
_IMAGES_AT_ONCE = 2048  # whose maximum is sought: memory stays bounded


def persistence_image(
    pairs: Tensor | BatchedDiagram, scale: ImageScale, *, mask: Tensor | None = None
) -> Tensor:
    """Return the weighted Gaussians around each diagram's pairs, at the pixels' centers.

    Parameters
    ----------
    pairs
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows of one dimension, or of
        several together, in any order; K may be 0.
    scale
        Bandwidth, ranges, weight, pixels and divisor.
    mask
        (..., K) bool: which rows are pairs; None: all. What stands in other rows is not read. A
        `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (..., R, C) images in the dtype of `pairs`, differentiable any number of times. Row r
        belongs to the persistence p_r, column c to the birth b_c, evenly spaced from the lowest to
        the highest of their range; the lowest persistence is row 0. All 0 without pairs.
        `image.flatten(-2)` is GUDHI's vector.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, the two do not fit together, or (on the CPU) an
        entry is infinite or NaN, or a birth such that the weight "topkd" is not defined.

    Notes
    -----
    With s the bandwidth, p_k = d_k - b_k and the weight w(b, p) that `scale` names,

        I_rc = sum over k of w_k exp(-((b_c - b_k)^2 + (p_r - p_k)^2) / (2 s^2))
               / (2 pi s^2 maximum).

    One matrix product, O(K R C) time and O(K (R + C)) memory, in float64 whatever the dtype. A
    diagram's pairs are added in one order: the same pairs in other rows give the same image to the
    last bit. Nothing waits for a CUDA device.

    Examples
    --------
    A component that dies at 1, and two pixels: at its persistence, and two bandwidths above.

    >>> scale = ImageScale(
    ...     bandwidth=0.5, birth_range=(0.0, 0.0), persistence_range=(1.0, 2.0), resolution=(1, 2)
    ... )
    >>> persistence_image(torch.tensor([[0.0, 1.0]]), scale)
    tensor([[4.8485],
            [0.6562]])
    """
    name = "persistence_image"
    as_scale(name, scale)
    pairs, mask = rows_of(name, "pairs", pairs, mask)
    pairs, mask = as_counted_pairs(name, "pairs", pairs, mask, double=False)
    births, deaths = pairs.double().unbind(dim=-1)
    if scale.weight == "topkd":
        _refuse_births_without_weight(name, births)
    births, persistence, mask = _in_one_order(births, deaths - births, mask)

    weights = _weights(births, persistence, scale.weight).where(mask, 0.0)
    births_of_pixels, persistences_of_pixels = scale.resolution
    columns = _gaussians(births, scale.birth_range, births_of_pixels, scale.bandwidth)
    rows = _gaussians(persistence, scale.persistence_range, persistences_of_pixels, scale.bandwidth)
    density = 1 / (2 * torch.pi * scale.bandwidth**2 * scale.maximum)
    image = density * ((weights[..., None] * rows).mT @ columns)
    # Where a range is one number, one row or column has been computed for all of them.
    pixels = persistences_of_pixels, births_of_pixels
    return image.expand(*image.shape[:-2], *pixels).to(pairs.dtype).contiguous()


@torch.no_grad()
def fit_persistence_image(
    diagrams: Tensor | BatchedDiagram,
    *,
    weight: ImageWeight = "topkd",
    resolution: tuple[int, int] = (20, 20),
    birth_margin: float = 0.0,
    mask: Tensor | None = None,
) -> ImageScale:
    """Return the scale of the images of these diagrams, by TopKD's rules.

    Parameters
    ----------
    diagrams
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows of each cloud, at least one in
        all. Their order matters to the bandwidth.
    weight, resolution
        As in `ImageScale`.
    birth_margin
        How far the births' range goes beyond the births on both sides, in bandwidths. 0 is TopKD;
        more is ours, for dimension 0, where all births are 0 and all columns alike: with 3, the
        Gaussians are seen whole.
    mask
        (..., K) bool: which rows are pairs; None: all. What stands in other rows is not read. A
        `BatchedDiagram` has its own.

    Returns
    -------
    ImageScale
        `bandwidth`: the 20 % quantile of the distances above 1e-5 between any two of the first 200
        pairs, as points (birth, persistence). The ranges: the least and the largest birth and
        persistence. `maximum`: the largest pixel of all images, which then lie in [0, 1].

    Raises
    ------
    ValueError
        If there are no pairs, no two of the first 200 are farther apart than 1e-5, every pixel of
        every image is 0, an argument is out of range, or as `persistence_image`.

    Notes
    -----
    J. Kim et al., "Do Topological Characteristics Help in Knowledge Distillation?" (ICML 2024),
    with what is in its authors' code alone: the 200 pairs, the 1e-5 and the maximum. In dimension 0
    a margin makes an image the product of its 20 numbers and one bell over the columns: no new
    information, only a picture that is not striped. `resolution=(1, 20)` keeps those 20 numbers
    instead. The result is of plain numbers: a CUDA device is waited for.

    Examples
    --------
    >>> scale = fit_persistence_image(torch.tensor([[[0.0, 1.0]], [[0.0, 3.0]]]))
    >>> scale.bandwidth, scale.birth_range, scale.persistence_range
    (2.0, (0.0, 0.0), (1.0, 3.0))
    """
    name = "fit_persistence_image"
    diagrams, mask = rows_of(name, "diagrams", diagrams, mask)
    diagrams, mask = as_counted_pairs(name, "diagrams", diagrams, mask, double=False)
    diagrams = diagrams.double()
    birth_margin = as_nonnegative(name, "birth_margin", birth_margin)
    pairs = diagrams[mask]
    if not len(pairs):
        raise ValueError(
            f"{name}: diagrams have no finite pair in {mask.shape[:-1].numel()} cloud(s); pass "
            "clouds of two or more different points (for dimension 1: clouds with loops)"
        )
    points = torch.stack([pairs[:, 0], pairs[:, 1] - pairs[:, 0]], dim=1)
    first = points[:_BANDWIDTH_PAIRS]
    distances = (first[:, None] - first).square().sum(dim=-1).sqrt()
    apart = distances[distances > _LEAST_DISTANCE]
    if not len(apart):
        raise ValueError(
            f"{name}: diagrams have no two pairs farther apart than {_LEAST_DISTANCE} among the "
            f"first {_BANDWIDTH_PAIRS}, hence no bandwidth; pass more diagrams, in another order, "
            "or an ImageScale of your own"
        )
    bandwidth = float(apart.quantile(_BANDWIDTH_QUANTILE))
    (lowest_birth, lowest), (highest_birth, highest) = (
        ends.tolist() for ends in points.aminmax(dim=0)
    )
    margin = birth_margin * bandwidth
    scale = ImageScale(
        bandwidth=bandwidth,
        birth_range=(lowest_birth - margin, highest_birth + margin),
        persistence_range=(lowest, highest),
        weight=weight,
        resolution=resolution,
    )
    parts = (
        torch.split(each.reshape(-1, *each.shape[mask.ndim - 1 :]), _IMAGES_AT_ONCE)
        for each in (diagrams, mask)
    )
    maximum = max(
        float(persistence_image(some, scale, mask=some_mask).amax())
        for some, some_mask in zip(*parts, strict=True)
    )
    if not maximum > 0:
        raise ValueError(
            f"{name}: every image is 0 with the bandwidth {bandwidth}, far below the pixels; "
            f"pass a higher resolution (now {scale.resolution}) or an ImageScale of your own"
        )
    return replace(scale, maximum=maximum)


def as_scale(function: str, scale: Any) -> ImageScale:
    """Return a scale, and refuse what is none, as a resolution alone."""
    if not isinstance(scale, ImageScale):
        raise TypeError(
            f"{function}: scale is {scale!r}; pass an ImageScale, e.g. that of "
            "fit_persistence_image(diagrams, resolution=(20, 20))"
        )
    return scale


def _in_one_order(births: Tensor, persistence: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """Return the three with their rows sorted by (persistence, birth), padding last."""
    order = births.detach().where(mask, torch.inf).argsort(dim=-1, stable=True)
    by_persistence = persistence.detach().where(mask, torch.inf).gather(-1, order)
    order = order.gather(-1, by_persistence.argsort(dim=-1, stable=True))
    return tuple(each.gather(-1, order) for each in (births, persistence, mask))


def _weights(births: Tensor, persistence: Tensor, weight: ImageWeight) -> Tensor:
    """Return what each pair counts."""
    if weight == "topkd":
        return 10 * (persistence.tanh() + (100 * births).log1p())
    return persistence if weight == "linear" else torch.ones_like(births)


def _gaussians(
    values: Tensor, ends: tuple[float, float], num_pixels: int, bandwidth: float
) -> Tensor:
    """Return exp(-x^2 / (2 s^2)) of every value at every pixel (..., K, pixels).

    Of a range that is one number, as births are in dimension 0, it returns one pixel.
    """
    num_pixels = num_pixels if ends[0] < ends[1] else 1
    grid = torch.linspace(*ends, num_pixels, dtype=values.dtype, device=values.device)
    return (((grid - values[..., None]) / bandwidth).square() / -2).exp()


def _refuse_births_without_weight(function: str, births: Tensor) -> None:
    """Raise if ln(100 b + 1) is not a number; a CUDA tensor is not read, that would wait for it."""
    if births.device.type == "cpu" and births.numel():
        lowest = births.detach().min().item()
        if lowest <= -0.01:
            raise ValueError(
                f"{function}: pairs have the birth {lowest}; the weight 'topkd' has "
                "ln(100 b + 1), pass births above -0.01 or another weight"
            )
