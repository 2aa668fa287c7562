"""The page's section on LiDAR frames: what `topkd-fidelity` found of RipsNets beside two others."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from train.core import blocks
from train.core.errors import UserError

RECORD_NAME: Final = "topkd_fidelity.json"
"""What `topkd-fidelity --output` wrote, beside the page."""

WANTED: Final = 3.0
"""How many times less than the mean image's RipsNet's squared error is to be."""


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what `topkd-fidelity` wrote; None if there is no file.

    Raises
    ------
    UserError
        If it is something else.
    """
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        section(record)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is not what topkd-fidelity writes ({error!r}); make it again or take it away"
        ) from error
    return record


def section(record: Mapping[str, Any]) -> str:
    """Return the tables, and what they come to.

    Parameters
    ----------
    record
        From `topkd-fidelity`; without --targets there is no comparison with other predictors.
    """
    fits = record["fits"]
    compared = [fit for fit in fits if "teacher" in fit]
    parts = []
    if compared:
        parts = [
            f"Clouds of {record['frames']} frames of {record['scenes']} simulated scenes that "
            "nothing was fitted to or chosen on. *Times less* is the squared error of the mean "
            "image of the clouds of the fit over that of RipsNet, and over that of the "
            "regression on quantiles of the distances within a cloud "
            "(`train/methods/topkd/oracle.py`), which are what persistence is made of and what "
            "RipsNet is never given. The error is of the whole image, as in the student's loss; "
            "in brackets the 95 % of a bootstrap over scenes. Validation clouds are others of "
            "the frames of the fit, and chose RipsNet's epoch and operator and the regression's "
            "ridge.",
            _gains(compared),
            _answer(compared),
        ]
    return "\n\n".join(
        [
            *parts,
            "How the RipsNets do on the clouds of students, and how far the true diagrams are "
            "apart. *Own/other* is explained below.",
            _students(fits),
        ]
    )


def _of(fit: Mapping[str, Any]) -> list[str]:
    region, points = fit["choice"].get("region", 0), fit["choice"]["num_points"]
    of = f"of {region:,} voxels around one" if region else "of a whole frame"
    return [f"{points} {of}", " and ".join(f"H{dim}" for dim in fit["dims"])]


def _gains(fits: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for fit in fits:
        held, validation = fit["teacher"], fit["validation"]["gains"]
        intervals = held.get("intervals", {})
        shown = [
            f"{held['gains'][name]:.2f}"
            + (" [{:.2f}, {:.2f}]".format(*intervals[name]) if name in intervals else "")
            for name in ("ripsnet", "distances")
        ]
        errors = [f"{1000 * held['errors'][name]:.3g}" for name in ("constant", "ripsnet")]
        rows.append(
            [
                *_of(fit),
                f"{fit['fitted_to']:,}",
                *(f"{validation[name]:.2f}" for name in ("ripsnet", "distances")),
                *errors,
                *shown,
            ]
        )
    header = [
        "points of a cloud",
        "diagrams",
        "clouds of the fit",
        "validation: RipsNet, times less",
        "distances, times less",
        "held out: the mean image's error, 1/1000",
        "RipsNet's",
        "RipsNet, times less",
        "distances, times less",
    ]
    return blocks.table(header, rows)


def _answer(fits: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for fit in fits:
        gain, of = fit["teacher"]["gains"]["ripsnet"], ", ".join(_of(fit))
        is_met = "is" if gain >= WANTED else "is **not**"
        told.append(f"{of}: RipsNet {is_met} {WANTED:g} times better than the mean image.")
    return blocks.bullets(told)


def _students(fits: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for fit in fits:
        for role, seen in fit["students"].items():
            ratios = seen["own_other"]
            rows.append(
                [
                    *_of(fit),
                    role,
                    f"{1000 * seen['teacher_error']:.3g}",
                    f"{1000 * seen['student_error']:.3g}",
                    f"{1000 * seen['image_distance']:.3g}",
                    f"{seen['bottleneck']:.3g}",
                    *(blocks.number(ratios.get(name), ".2f") for name in ("ripsnet", "exact")),
                ]
            )
    header = [
        "points of a cloud",
        "diagrams",
        "student",
        "RipsNet's error on the teacher's clouds, 1/1000",
        "on the student's",
        "exact images apart, 1/1000",
        "H0 diagrams apart",
        "own/other, RipsNet",
        "own/other, exact",
    ]
    return blocks.table(header, rows)
