"""Persistence image of a diagram, its gradient, and the scale of the images of many diagrams.

The image is that of H. Adams et al., "Persistence images" (JMLR 18, 2017), on GUDHI's grid; weight,
bandwidth, ranges and divisor are those of J. Kim et al., "Do Topological Characteristics Help in
Knowledge Distillation?" (ICML 2024), TopKD. Shape letters: K pairs, R rows of pixels (persistence),
C columns (birth).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from reference.distances import pairwise_distances
from reference.image_scale import ImageScale, ImageWeight
from reference.validation import as_nonnegative, as_pairs, as_points

BANDWIDTH_PAIRS = 200
"""The bandwidth is found among so many pairs, the first of all diagrams."""

LEAST_DISTANCE = 1e-5
"""Pairs that are no farther apart than this are one pair to the bandwidth."""

BANDWIDTH_QUANTILE = 0.2


def persistence_image(
    pairs: Float64[np.ndarray, "k 2"], scale: ImageScale
) -> Float64[np.ndarray, "r c"]:
    """Return the weighted Gaussians around the pairs, at the pixels' centers.

    Parameters
    ----------
    pairs
        Finite (birth, death) rows of one diagram, or of several dimensions together, in any order;
        may be empty, shape (0, 2).
    scale
        Bandwidth, ranges, weight, pixels and divisor.

    Returns
    -------
    Float64[np.ndarray, "r c"]
        Row r belongs to the persistence p_r, column c to the birth b_c, both evenly spaced from the
        lowest to the highest of their range; the lowest persistence is row 0. All 0 without pairs.
        The same pairs in another order give the same image to the last bit. `image.ravel()` is
        GUDHI's vector.

    Raises
    ------
    ValueError
        If `pairs` are no (birth, death) rows, have an infinite or NaN entry, or a birth for which
        the weight "topkd" is not defined.

    Notes
    -----
    With s the bandwidth and w_k = w(b_k, p_k), p_k = d_k - b_k,

        I_rc = sum over k of w_k exp(-((b_c - b_k)^2 + (p_r - p_k)^2) / (2 s^2))
               / (2 pi s^2 maximum),

    the density at the center of a pixel rather than its integral over it. O(K R C).

    Examples
    --------
    A component that dies at 1, and two pixels: at its persistence, and two bandwidths above.

    >>> scale = ImageScale(
    ...     bandwidth=0.5, birth_range=(0.0, 0.0), persistence_range=(1.0, 2.0), resolution=(1, 2)
    ... )
    >>> persistence_image(np.array([[0.0, 1.0]]), scale).round(4)
    array([[4.8485],
           [0.6562]])
    """
    births, persistence = _births_and_persistence("persistence_image", pairs, scale.weight)
    # A sum depends on its order: with one order there is one image, however the pairs are listed.
    order = np.lexsort((births, persistence))
    births, persistence = births[order], persistence[order]
    columns, rows = _gaussians(births, persistence, scale)
    weights = _weights(births, persistence, scale.weight)
    image = np.sum(weights[:, None, None] * rows[:, :, None] * columns[:, None, :], axis=0)
    return image / _divisor(scale)


def persistence_image_grad(
    pairs: Float64[np.ndarray, "k 2"],
    scale: ImageScale,
    grad_image: Float64[np.ndarray, "r c"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return the gradient for births and deaths, given the gradient for the image.

    Parameters
    ----------
    pairs, scale
        As in `persistence_image`.
    grad_image
        dL/dI, of the shape of the image.

    Returns
    -------
    grad_births, grad_deaths
        dL/db_k and dL/dd_k, shape (K,) each, in the order of `pairs`.

    Raises
    ------
    ValueError
        As `persistence_image`, or if `grad_image` has not the shape of the image.

    Notes
    -----
    The image is smooth. With g_k the Gaussians of pair k,

        dI/dp_k = g_k (dw/dp + w (p_r - p_k) / s^2),    dI/db_k = g_k (dw/db + w (b_c - b_k) / s^2),

    the latter at fixed persistence; as p = d - b, dL/dd = dL/dp and dL/db loses as much.

    Examples
    --------
    A later death would bring the component nearer to the second pixel.

    >>> scale = ImageScale(
    ...     bandwidth=0.5, birth_range=(0.0, 0.0), persistence_range=(1.0, 1.5), weight="one",
    ...     resolution=(1, 2),
    ... )
    >>> persistence_image_grad(np.array([[0.0, 1.0]]), scale, np.array([[0.0], [1.0]]))[1].round(4)
    array([0.7723])
    """
    name = "persistence_image_grad"
    births, persistence = _births_and_persistence(name, pairs, scale.weight)
    grad_image = as_points(name, "grad_image", grad_image)
    if grad_image.shape != scale.resolution[::-1]:
        raise ValueError(
            f"{name}: grad_image has shape {grad_image.shape}; "
            f"the image has {scale.resolution[::-1]}, pass the same"
        )
    columns, rows = _gaussians(births, persistence, scale)
    towards_births, towards_persistence = (
        (grid - values[:, None]) / scale.bandwidth**2  # the logarithm's derivative
        for values, grid in zip((births, persistence), _grids(scale), strict=True)
    )
    weights = _weights(births, persistence, scale.weight)
    slope_births, slope_persistence = _weight_slopes(births, persistence, scale.weight)

    grad = grad_image / _divisor(scale)
    along_weight = np.einsum("rc,kr,kc->k", grad, rows, columns)
    along_births = np.einsum("rc,kr,kc->k", grad, rows, columns * towards_births)
    along_persistence = np.einsum("rc,kr,kc->k", grad, rows * towards_persistence, columns)
    grad_births = slope_births * along_weight + weights * along_births
    grad_persistence = slope_persistence * along_weight + weights * along_persistence
    return grad_births - grad_persistence, grad_persistence


def fit_persistence_image(
    diagrams: Sequence[Float64[np.ndarray, "_ 2"]],
    *,
    weight: ImageWeight = "topkd",
    resolution: tuple[int, int] = (20, 20),
    birth_margin: float = 0.0,
) -> ImageScale:
    """Return the scale of the images of these diagrams, by TopKD's rules.

    Parameters
    ----------
    diagrams
        Finite (birth, death) rows of each cloud; some may be empty. Their order matters to the
        bandwidth.
    weight, resolution
        As in `ImageScale`.
    birth_margin
        How far the births' range goes beyond the births on both sides, in bandwidths. 0 is TopKD;
        more is ours, for dimension 0, where all births are 0 and all columns alike: with 3, the
        Gaussians are seen whole.

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
        every image is 0, or an argument is out of range.

    Notes
    -----
    Section 4.2 of TopKD names the quantile and the ranges; the 200 pairs, the 1e-5 and the division
    by the maximum are in its authors' code alone. In dimension 0 a margin makes an image the
    product of its 20 numbers and one bell over the columns: no new information, only a picture
    that is not striped. `resolution=(1, 20)` keeps those 20 numbers instead.

    Examples
    --------
    >>> scale = fit_persistence_image([np.array([[0.0, 1.0]]), np.array([[0.0, 3.0]])])
    >>> scale.bandwidth, scale.birth_range, scale.persistence_range
    (2.0, (0.0, 0.0), (1.0, 3.0))
    """
    name = "fit_persistence_image"
    diagrams = [as_pairs(name, f"diagrams[{i}]", pairs) for i, pairs in enumerate(diagrams)]
    birth_margin = as_nonnegative(name, "birth_margin", birth_margin)
    pairs = np.concatenate([np.empty((0, 2)), *diagrams])
    if not len(pairs):
        raise ValueError(
            f"{name}: diagrams have no finite pair in {len(diagrams)} cloud(s); pass clouds of two "
            "or more different points (for dimension 1: clouds with loops)"
        )
    points = np.column_stack([pairs[:, 0], pairs[:, 1] - pairs[:, 0]])
    distances = pairwise_distances(points[:BANDWIDTH_PAIRS])
    apart = distances[distances > LEAST_DISTANCE]
    if not apart.size:
        raise ValueError(
            f"{name}: diagrams have no two pairs farther apart than {LEAST_DISTANCE} among the "
            f"first {BANDWIDTH_PAIRS}, hence no bandwidth; pass more diagrams, in another order, "
            "or an ImageScale of your own"
        )
    bandwidth = float(np.quantile(apart, BANDWIDTH_QUANTILE))
    lowest, highest = points.min(axis=0), points.max(axis=0)
    margin = birth_margin * bandwidth
    scale = ImageScale(
        bandwidth=bandwidth,
        birth_range=(float(lowest[0] - margin), float(highest[0] + margin)),
        persistence_range=(float(lowest[1]), float(highest[1])),
        weight=weight,
        resolution=resolution,
    )
    maximum = max(float(persistence_image(pairs, scale).max()) for pairs in diagrams)
    if not maximum > 0:
        raise ValueError(
            f"{name}: every image is 0 with the bandwidth {bandwidth}, far below the pixels; "
            f"pass a higher resolution (now {scale.resolution}) or an ImageScale of your own"
        )
    return replace(scale, maximum=maximum)


def _births_and_persistence(
    function: str, pairs: object, weight: ImageWeight
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return the pairs' coordinates, which the weight must be defined for."""
    births, deaths = as_pairs(function, "pairs", pairs).T
    if weight == "topkd" and np.any(births <= -0.01):
        raise ValueError(
            f"{function}: pairs have the birth {births.min()}; the weight 'topkd' has ln(100 b + 1)"
            ", pass births above -0.01 or another weight"
        )
    return births, deaths - births


def _weights(
    births: Float64[np.ndarray, " k"], persistence: Float64[np.ndarray, " k"], weight: ImageWeight
) -> Float64[np.ndarray, " k"]:
    """Return what each pair counts."""
    if weight == "topkd":
        return 10 * (np.tanh(persistence) + np.log1p(100 * births))
    return persistence if weight == "linear" else np.ones(len(births))


def _weight_slopes(
    births: Float64[np.ndarray, " k"], persistence: Float64[np.ndarray, " k"], weight: ImageWeight
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return the derivatives of the weight by birth and by persistence."""
    zeros = np.zeros(len(births))
    if weight == "topkd":
        return 1000 / (1 + 100 * births), 10 * (1 - np.tanh(persistence) ** 2)
    return zeros, zeros + 1 if weight == "linear" else zeros


def _grids(scale: ImageScale) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " r"]]:
    """Return the births of the columns and the persistences of the rows."""
    births, persistence = scale.resolution
    return (
        np.linspace(*scale.birth_range, births),
        np.linspace(*scale.persistence_range, persistence),
    )


def _gaussians(
    births: Float64[np.ndarray, " k"], persistence: Float64[np.ndarray, " k"], scale: ImageScale
) -> tuple[Float64[np.ndarray, "k c"], Float64[np.ndarray, "k r"]]:
    """Return exp(-x^2 / (2 s^2)) of every pair at every column, and at every row."""
    columns, rows = (
        np.exp(-(((grid - values[:, None]) / scale.bandwidth) ** 2) / 2)
        for values, grid in zip((births, persistence), _grids(scale), strict=True)
    )
    return columns, rows


def _divisor(scale: ImageScale) -> float:
    """Return what the sum of weighted exponentials is divided by."""
    return 2 * np.pi * scale.bandwidth**2 * scale.maximum
