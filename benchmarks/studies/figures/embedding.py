"""Figure 6: the features of the last decoder stage in a plane, colored by class.

By principal components, which anyone can take again to the last digit; by t-SNE, as the paper does,
where scikit-learn is installed and asked for.

Shape letters: V voxels, S sampled ones, C channels.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from benchmarks.studies.figures.figure_file import Drawn, rounded
from benchmarks.studies.figures.networks import ROLES, TITLES, Shown, Trained
from benchmarks.studies.figures.palette import class_colors
from benchmarks.studies.study_page import optional_package
from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX

NAME: Final = "figure6"
A_CLASS: Final = 150
_MARKERS: Final = "os^vDP"
_TURNS: Final = 10

Method = Literal["pca", "tsne"]
Features = NDArray[np.float64]


def principal_components(features: Features) -> tuple[Features, NDArray[np.float64]]:
    """Return features in the plane of their two principal components.

    Parameters
    ----------
    features
        (S, C), S at least 2.

    Returns
    -------
    plane, explained
        (S, 2), and (2,) the shares of the variance along them. The sign of a component is that
        which makes its largest coefficient positive.
    """
    centered = features - features.mean(axis=0)
    left, strength, right = np.linalg.svd(centered, full_matrices=False)
    largest = right[np.arange(len(right)), np.abs(right).argmax(axis=1)]
    plane = (left * strength * np.sign(largest))[:, :2]
    variance = strength**2
    return plane, variance[:2] / max(float(variance.sum()), np.finfo(np.float64).tiny)


def neighbors(features: Features) -> Features:
    """Return features in the plane of t-SNE, (S, 2).

    Raises
    ------
    UserError
        If scikit-learn is not installed, or there are too few points.
    """
    manifold = optional_package(
        "sklearn.manifold", figure=f"{NAME} --embedding tsne", install="scikit-learn"
    )
    if len(features) < 8:
        raise UserError(f"{NAME} --embedding tsne: {len(features)} points are too few")
    perplexity = min(30.0, (len(features) - 1) / 3)
    made = manifold.TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=0)
    return np.asarray(made.fit_transform(features), dtype=np.float64)


def sample(shown: Sequence[Shown]) -> tuple[dict[str, Features], NDArray[np.int64]]:
    """Return features of at most `A_CLASS` voxels of each class, over all frames.

    Returns
    -------
    features, truth
        By role, (S, C) of the same voxels for all; (S,) their classes.
    """
    truth = np.concatenate([frame.voxel_truth for frame in shown])
    rng = np.random.default_rng(0)
    rows = np.concatenate(
        [
            np.sort(rng.permutation(np.flatnonzero(truth == number))[:A_CLASS])
            for number in np.unique(truth[truth != IGNORE_INDEX])
        ]
    )
    features = {
        role: np.concatenate([frame.features[role].numpy() for frame in shown])[rows].astype(
            np.float64
        )
        for role in shown[0].features
    }
    return features, truth[rows]


def make(trained: Trained, shown: Sequence[Shown], method: Method = "pca") -> Drawn:
    """Return the figure.

    Raises
    ------
    UserError
        If t-SNE is asked for and scikit-learn is not installed.
    """
    features, truth = sample(shown)
    roles = [role for role in ROLES if role in features]
    planes: dict[str, Features] = {}
    explained: dict[str, list[float]] = {}
    for role in roles:
        if method == "tsne":
            planes[role] = neighbors(features[role])
        else:
            planes[role], shares = principal_components(features[role])
            explained[role] = [rounded(float(share), 4) for share in shares]
    numbers: dict[str, Any] = {
        **trained.described(),
        "method": method,
        "looked_at": len(shown),
        "voxels": len(truth),
        "classes": len(np.unique(truth)),
        "most_of_a_class": A_CLASS,
        "explained": explained,
    }
    return Drawn(numbers, _draw(trained.spec.class_names, planes, truth, explained))


def _draw(
    names: Sequence[str],
    planes: Mapping[str, Features],
    truth: NDArray[np.int64],
    explained: Mapping[str, Sequence[float]],
) -> Figure:
    figure = Figure(figsize=(4.4 * len(planes) + 1.9, 4.6), layout="constrained")
    axes = figure.subplots(1, len(planes), squeeze=False)[0]
    colors = class_colors(names)
    # By turns, so that no class lies over all others.
    turns = np.array_split(np.random.default_rng(0).permutation(len(truth)), _TURNS)
    for axis, (role, plane) in zip(axes, planes.items(), strict=True):
        for turn, number in itertools.product(turns, np.unique(truth)):
            rows = turn[truth[turn] == number]
            axis.scatter(
                *plane[rows].T, s=13, color=colors[number], marker=_marker(number), alpha=0.8,
                linewidths=0,
            )  # fmt: skip
        axis.set_title(TITLES[role], fontsize=11)
        words = ("first component", "second component")
        shares = explained.get(role)
        labels = (
            [f"{w}, {100 * s:.0f}% of variance" for w, s in zip(words, shares, strict=True)]
            if shares
            else ["t-SNE 1", "t-SNE 2"]
        )
        axis.set_xlabel(labels[0], fontsize=9)
        axis.set_ylabel(labels[1], fontsize=9)
        axis.tick_params(labelsize=7)
    handles = [
        Line2D(
            [], [], ls="", marker=_marker(number), ms=6, color=colors[number], label=names[number]
        )
        for number in np.unique(truth)
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle("Features of the last decoder stage, the same voxels in all", fontsize=12)
    return figure


def _marker(number: int) -> str:
    """Return a class's marker: with the hue it tells like classes apart without the shade."""
    return _MARKERS[number % len(_MARKERS)]


def summary(numbers: Mapping[str, Any]) -> str:
    """Return what the figure shows, in a sentence or two."""
    drawn = (
        f"{numbers['voxels']:,} voxels of {numbers['classes']} classes, at most "
        f"{numbers['most_of_a_class']} of each, from {numbers['looked_at']} frames"
    )
    if numbers["method"] == "tsne":
        return f"{drawn}; t-SNE, whose distances between groups mean nothing"
    shares = ", ".join(
        f"{role} {100 * sum(values):.0f}%" for role, values in numbers["explained"].items()
    )
    return f"{drawn}; two principal components, which hold of the variance: {shares}"
