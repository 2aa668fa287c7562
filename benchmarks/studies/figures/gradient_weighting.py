"""Figure 9: what the logarithmic weight does to the gradient of a pair, by its persistence.

Teacher pairs lie far apart, with persistences from 0 to 2; the student has each of them, its death
too late by the same offset. So every pair is matched with its own, and the gradient of the
student's death is the offset times what weighs it:

    2 offset w(p) / sum w   with w(p) = log(1 + persistence)   (Eq. 2, Algorithm 4)
    2 offset / M            without a weight

and 0 where the diagonal is nearer than the offset. Both by these formulas and by autograd through
`fast.persistence_weighted_chamfer`.

Shape letters: M pairs.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.studies.figures.figure_file import Drawn, rounded
from benchmarks.studies.figures.palette import BLACK, BLUE, ORANGE
from fast import persistence_weighted_chamfer

NAME: Final = "figure9"
NUM_PAIRS: Final = 60
OFFSET: Final = 0.05
_LARGEST: Final = 2.0
_NO_TEACHER_WEIGHT: Final = 1e9  # `min_persistence` above every pair's leaves precision alone


def pairs(num_pairs: int = NUM_PAIRS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the teacher's and the student's pairs, (M, 2) each."""
    persistence = np.linspace(_LARGEST / num_pairs, _LARGEST, num_pairs)
    births = 10.0 * np.arange(num_pairs)  # so far apart that no pair is nearest to another's
    teacher = np.column_stack([births, births + persistence])
    student = teacher + np.array([0.0, OFFSET])
    return teacher, student


def by_formula(
    teacher: NDArray[np.float64], student: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return dL/d(death) of each student pair, (M,), by Eq. 2-3 for pairs matched in order.

    Returns
    -------
    dict
        "weighted" and "unweighted" of the recall (Eq. 2), with w and with 1; "loss" of the whole
        loss, whose precision (Eq. 3) has no weight.
    """
    persistence = teacher[:, 1] - teacher[:, 0]
    offset = student - teacher
    cost = (offset**2).sum(axis=1)
    matched = cost <= persistence**2 / 2
    weight = np.log1p(persistence)
    slope = np.where(matched, 2.0 * offset[:, 1], 0.0)
    own = student[:, 1] - student[:, 0]
    precision = np.where(cost <= own**2 / 2, 2.0 * offset[:, 1], own) / len(student)
    weighted = slope * weight / (weight.sum() + 1e-8)
    return {"weighted": weighted, "unweighted": slope / len(teacher), "loss": weighted + precision}


def by_autograd(
    teacher: NDArray[np.float64], student: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the same through `fast.persistence_weighted_chamfer` and autograd."""
    given = torch.from_numpy(teacher)

    def gradient(*, swap: bool, min_persistence: float = 0.0) -> NDArray[np.float64]:
        learned = torch.from_numpy(student).clone().requires_grad_()
        first, second = (learned, given) if swap else (given, learned)
        loss = persistence_weighted_chamfer(first, second, min_persistence=min_persistence)
        (slope,) = torch.autograd.grad(loss, learned)
        return np.asarray(slope[:, 1].numpy(), dtype=np.float64)

    whole = gradient(swap=False)
    precision = gradient(swap=False, min_persistence=_NO_TEACHER_WEIGHT)
    return {
        "weighted": whole - precision,
        # The precision of the teacher's pairs against the student's is recall without a weight.
        "unweighted": gradient(swap=True, min_persistence=_NO_TEACHER_WEIGHT),
        "loss": whole,
    }


def make() -> Drawn:
    """Return the figure."""
    teacher, student = pairs()
    exact, found = by_formula(teacher, student), by_autograd(teacher, student)
    persistence = teacher[:, 1] - teacher[:, 0]
    numbers: dict[str, Any] = {
        "offset": OFFSET,
        "pairs": len(teacher),
        "persistence": [rounded(value) for value in persistence],
        "gradient": {name: [rounded(v) for v in values] for name, values in found.items()},
        "largest_difference": max(
            rounded(float(np.abs(exact[name] - found[name]).max()), 2) for name in exact
        ),
    }
    return Drawn(numbers, _draw(persistence, exact, found))


def _draw(
    persistence: NDArray[np.float64],
    exact: dict[str, NDArray[np.float64]],
    found: dict[str, NDArray[np.float64]],
) -> Figure:
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, title, color, marker in (
        ("weighted", "recall, weight log(1 + persistence) (Eq. 2)", BLUE, "o"),
        ("unweighted", "recall, no weight", ORANGE, "s"),
        ("loss", "whole loss: Eq. 2 and the unweighted Eq. 3", BLACK, "^"),
    ):
        axes.plot(persistence, 1e3 * exact[name], color=color, lw=1.4, label=title)
        axes.plot(persistence[::3], 1e3 * found[name][::3], marker, color=color, ms=4, mfc="white")
    axes.plot([], [], "o", color="0.4", mfc="white", ms=4, label="autograd (lines: formulas)")
    diagonal = np.sqrt(2) * OFFSET
    axes.axvspan(0, diagonal, color="0.9", lw=0)
    axes.annotate(
        "gray: the diagonal is nearer than the offset;\nrecall gives no gradient there",
        (0.055, 0.97), xycoords="axes fraction", fontsize=8, color="0.3", va="top",
    )  # fmt: skip
    axes.set(
        xlabel="persistence of the teacher's pair",
        ylabel="gradient of the student's death, in 1/1000",
        title=f"Gradient of a pair that dies {OFFSET:g} too late, by persistence",
        xlim=(0, _LARGEST * 1.02),
    )
    axes.set_ylim(bottom=0)
    axes.grid(lw=0.4, color="0.88")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def summary(numbers: Mapping[str, Any]) -> str:
    """Return what the figure shows, in a sentence or two."""
    gradient = numbers["gradient"]
    first = next(place for place, value in enumerate(gradient["weighted"]) if value > 0)
    shares = {name: values[first] / values[-1] for name, values in gradient.items()}
    return (
        f"{numbers['pairs']} pairs; formulas and autograd differ by at most "
        f"{numbers['largest_difference']:.0e}. A pair of persistence "
        f"{numbers['persistence'][first]:.2g} gets {100 * shares['weighted']:.0f}% of the gradient "
        f"of one of {numbers['persistence'][-1]:.2g} with the weight, "
        f"{100 * shares['unweighted']:.0f}% without. Of the whole loss it gets "
        f"{100 * shares['loss']:.0f}%: the precision term (Eq. 3) has no weight, so noise of the "
        "student is pushed as hard as anything else."
    )
