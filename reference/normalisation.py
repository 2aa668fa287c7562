"""The feature normalization of Algorithm 1 (lines 4-5) and its gradient.

The paper does not define it; see docs/conventions.md. Shape letters: N points, C channels.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

from reference.distances import pairwise_distances
from reference.validation import as_choice, as_points

Normalisation = Literal["l2", "none", "center_maxnorm", "diameter", "rms"]


def normalise(
    features: Float64[np.ndarray, "n c"], normalisation: Normalisation = "l2"
) -> Float64[np.ndarray, "n c"]:
    """Return the features on a common scale.

    Parameters
    ----------
    features
        One row per point.
    normalisation
        "l2": each row divided by its length, so that distances lie in [0, 2]. "none": unchanged.
        "center_maxnorm": the mean subtracted, then divided by the largest length. "diameter":
        divided by the largest distance. "rms": the mean subtracted, then divided by the root mean
        square of the lengths; a cloud without spread becomes all zeros. Elsewhere a divisor of 0
        counts as the constant 1: a zero row stays zero.

    Returns
    -------
    Float64[np.ndarray, "n c"]
        The normalized features.

    Raises
    ------
    ValueError
        If `normalisation` is unknown, there are no points, or an entry is not finite.

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0], [0.0, 2.0]]))
    array([[0.6, 0.8],
           [0. , 1. ]])
    """
    as_choice("normalise", "normalisation", normalisation, get_args(Normalisation))
    features = as_points("normalise", "features", features, least=1)
    features, power = _in_range(features, normalisation)
    if normalisation == "l2":
        return features / _divisor(_row_lengths(features)[:, None], power)
    if normalisation == "center_maxnorm":
        centered = _centered(features)
        return centered / _divisor(_row_lengths(centered).max(), power)
    if normalisation == "diameter":
        return features / _divisor(pairwise_distances(features).max(), power)
    if normalisation == "rms":
        centered, spread = _centered_and_spread(features)
        return centered / spread
    return features


def normalise_grad(
    features: Float64[np.ndarray, "n c"],
    grad_normalised: Float64[np.ndarray, "n c"],
    normalisation: Normalisation = "l2",
) -> Float64[np.ndarray, "n c"]:
    """Return the gradient for the features, given the gradient for the normalized features.

    Parameters
    ----------
    features, normalisation
        As in `normalise`.
    grad_normalised
        dL/d normalise(features), of the same shape.

    Returns
    -------
    Float64[np.ndarray, "n c"]
        dL/d features. Where several lengths or distances are largest, the one of lowest index
        carries the gradient of the divisor; a divisor of 0 counts as the constant 1. With "rms" a
        cloud without spread gets no gradient.

    Raises
    ------
    ValueError
        If the shapes differ, `normalisation` is unknown, or an entry is not finite.

    Notes
    -----
    Each is y = x / s(x), so dL/dx = (g - <g, y> ds/dx) / s with g = dL/dy.

    Examples
    --------
    A pull along the row only stretches it, which the normalization undoes.

    >>> normalise_grad(np.array([[0.0, 2.0]]), np.array([[3.0, 5.0]]))
    array([[1.5, 0. ]])
    """
    as_choice("normalise_grad", "normalisation", normalisation, get_args(Normalisation))
    features = as_points("normalise_grad", "features", features, least=1)
    grad = as_points("normalise_grad", "grad_normalised", grad_normalised)
    if grad.shape != features.shape:
        raise ValueError(
            f"normalise_grad: grad_normalised has shape {grad.shape}; "
            f"features has {features.shape}, pass the same"
        )
    features, power = _in_range(features, normalisation)
    grad = np.ldexp(grad, -power)  # by the same factor

    if normalisation == "l2":
        divisor = _divisor(_row_lengths(features)[:, None], power)
        unit = features / divisor
        return (grad - unit * np.sum(grad * unit, axis=1, keepdims=True)) / divisor

    if normalisation == "center_maxnorm":
        centered = _centered(features)
        lengths = _row_lengths(centered)
        farthest, divisor = lengths.argmax(), _divisor(lengths.max(), power)
        grad_centered = grad / divisor
        grad_centered[farthest] -= np.sum(grad * centered) * centered[farthest] / divisor**3
        return grad_centered - grad_centered.mean(axis=0)

    if normalisation == "diameter":
        distances = pairwise_distances(features)
        i, j = np.unravel_index(distances.argmax(), distances.shape)
        divisor = _divisor(distances.max(), power)
        pull = np.sum(grad * features) * (features[i] - features[j]) / divisor**3
        grad_features = grad / divisor
        grad_features[i] -= pull
        grad_features[j] += pull
        return grad_features

    if normalisation == "rms":
        centered, spread = _centered_and_spread(features)
        unit = centered / spread
        grad_centered = grad - grad.mean(axis=0)
        return (grad_centered - unit * np.sum(grad * unit) / len(unit)) / spread

    return grad


def _in_range(
    features: Float64[np.ndarray, "n c"], normalisation: Normalisation
) -> tuple[Float64[np.ndarray, "n c"], Int64[np.ndarray, "..."]]:
    """Return features / 2^power and power, so that no square of a row or cloud underflows.

    The division by a length takes it out again, and a product with a power of two is exact.
    """
    if normalisation == "none":
        return features, np.zeros((), np.int64)
    size = np.abs(features).max(axis=1, initial=0.0, keepdims=True)
    if normalisation != "l2":
        size = size.max()
    power = np.frexp(size)[1].astype(np.int64)
    return np.ldexp(features, -power), power


def _centered(features: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    # Added row by row, as `fast` does: the same bits.
    return features - np.cumsum(features, axis=0)[-1] / len(features)


def _centered_and_spread(
    features: Float64[np.ndarray, "n c"],
) -> tuple[Float64[np.ndarray, "n c"], float]:
    """Return the centered rows and their root mean square length; no spread is infinite spread."""
    # From the first row, so that equal rows are centered to 0 exactly, whatever the mean rounds to.
    centered = _centered(features - features[0])
    spread = float(_row_lengths(_row_lengths(centered)[None])[0] / np.sqrt(len(centered)))
    return centered, spread if spread > 0 else np.inf


def _row_lengths(rows: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, " n"]:
    squares = np.zeros(len(rows))
    for channel in rows.T:  # one after another, as `fast` adds them: the same bits
        squares += channel**2
    return np.sqrt(squares)


def _divisor(
    lengths: Float64[np.ndarray, "..."] | float, power: Int64[np.ndarray, "..."]
) -> Float64[np.ndarray, "..."]:
    """Return `lengths`; 1 before the division by 2^power where they are 0."""
    return np.where(lengths > 0, lengths, np.ldexp(1.0, -power))


normalize = normalise
"""The same function under its American name."""
normalize_grad = normalise_grad
"""The same function under its American name."""
