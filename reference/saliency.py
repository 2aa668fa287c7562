"""Saliency maps of a layer and their alignment between teacher and student (Eq. 4-7).

Shape letters: N points of a layer, C channels, L layers.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64

from reference.validation import as_choice, as_nonnegative, as_points, as_vector


def channel_weights(feature_gradients: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, " c"]:
    """Return omega_k, the mean size of the task loss's gradient in channel k (Eq. 4).

    Parameters
    ----------
    feature_gradients
        dL_seg / dF of one layer of one cloud, at least one point.

    Returns
    -------
    Float64[np.ndarray, " c"]
        The mean over points of the absolute gradient.

    Raises
    ------
    ValueError
        If there are no points, or the input is no array of finite rows.

    Examples
    --------
    >>> channel_weights(np.array([[1.0, -2.0], [3.0, 0.0]]))
    array([2., 1.])
    """
    feature_gradients = as_points(
        "channel_weights", "feature_gradients", feature_gradients, least=1
    )
    return np.abs(feature_gradients).mean(axis=0)


def saliency_map(
    features: Float64[np.ndarray, "n c"],
    feature_gradients: Float64[np.ndarray, "n c"],
    *,
    eps: float = 0.0,
) -> Float64[np.ndarray, " n"]:
    """Return the normalized saliency of every point of one layer of one cloud.

    Parameters
    ----------
    features
        Activations F of the layer, at least one point.
    feature_gradients
        dL_seg / dF, of the same shape.
    eps
        The stabilizer in the denominator of Eq. 6. With 0 (the default) the map does not change
        when features or gradients are scaled; the paper gives no value.

    Returns
    -------
    Float64[np.ndarray, " n"]
        Between 0 and 1. With `eps` = 0 both occur, unless the map is constant: it is then all
        zeros.

    Raises
    ------
    ValueError
        If the shapes differ, there are no points, an entry is not finite, or `eps` is negative.

    Notes
    -----
    Eq. 5, absolute values included, then the min-max normalization of Eq. 6 over the points of
    this cloud. O(N C).

    Examples
    --------
    >>> saliency_map(np.array([[1.0], [-3.0], [2.0]]), np.ones((3, 1)))
    array([0. , 1. , 0.5])
    """
    features = as_points("saliency_map", "features", features, least=1)
    feature_gradients = as_points("saliency_map", "feature_gradients", feature_gradients)
    eps = as_nonnegative("saliency_map", "eps", eps)
    if features.shape != feature_gradients.shape:
        raise ValueError(
            f"saliency_map: feature_gradients has shape {feature_gradients.shape}; "
            f"features has {features.shape}, pass the same"
        )
    saliency = np.sum(np.abs(channel_weights(feature_gradients) * features), axis=1)  # Eq. 5
    spread = saliency.max() - saliency.min()
    if spread == 0:
        return np.zeros(len(saliency))
    return (saliency - saliency.min()) / (spread + eps)  # Eq. 6


def saliency_loss(
    teacher_maps: Sequence[Float64[np.ndarray, " _"]],
    student_maps: Sequence[Float64[np.ndarray, " _"]],
    *,
    layers: Literal["sum", "mean", "none"] = "sum",
) -> float | Float64[np.ndarray, " layers"]:
    """Return how far the student's saliency maps are from the teacher's.

    Parameters
    ----------
    teacher_maps, student_maps
        One normalized map per layer, at least one point each; the same points in the same order in
        both networks. Layers may differ in size.
    layers
        "sum" adds the layers, as Eq. 7; "mean" divides by how many there are; "none" leaves them
        apart.

    Returns
    -------
    float | Float64[np.ndarray, " layers"]
        The sum over layers of the mean absolute difference; 0 without layers. With "none" an
        array, the mean absolute difference of each layer, whose sum is that of "sum".

    Raises
    ------
    ValueError
        If the numbers of layers or the sizes of two maps differ, or a map is empty.

    Notes
    -----
    Eq. 7, which divides by one N although layers differ in size; here each layer is divided by its
    own.

    Examples
    --------
    >>> saliency_loss([np.array([0.0, 1.0])], [np.array([0.5, 1.0])])
    0.25
    """
    as_choice("saliency_loss", "layers", layers, ("sum", "mean", "none"))
    if len(teacher_maps) != len(student_maps):
        raise ValueError(
            f"saliency_loss: student_maps has {len(student_maps)} layers; teacher_maps has "
            f"{len(teacher_maps)}, pass as many"
        )
    means = []
    for layer, (teacher, student) in enumerate(zip(teacher_maps, student_maps, strict=True)):
        if not len(teacher):
            raise ValueError(f"saliency_loss: teacher_maps[{layer}] is empty; pass a point or more")
        teacher = as_vector("saliency_loss", f"teacher_maps[{layer}]", teacher, len(teacher))
        student = as_vector("saliency_loss", f"student_maps[{layer}]", student, len(teacher))
        means.append(float(np.abs(teacher - student).mean()))
    if layers == "none":
        return np.array(means)
    total = float(np.sum(means))
    return total / len(means) if layers == "mean" and means else total
