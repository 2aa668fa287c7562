"""What RipsNet predicts beside the mean image, and beside a regression that is given distances.

Shape letters: K clouds, M points of a cloud, C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from train.methods.topkd.artifacts import ImageMaker, Targets
from train.methods.topkd.oracle import fit_distance_regression
from train.methods.topkd.targets import exact_images

_CHUNK: Final = 1024
_DRAWS: Final = 2000


def predictors(
    maker: ImageMaker, targets: Targets, clouds: Tensor, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Return how well RipsNet does beside what knows less of the clouds, and what knows distances.

    Parameters
    ----------
    maker
        With a RipsNet, on the clouds' device.
    targets
        The clouds that it was fitted to, with their images.
    clouds
        (K, M, C) of the teacher, that none of the three was fitted to.
    groups
        Of each of the clouds, its scene: what differs from group to group is what an interval is
        of. Without groups, or with one alone, there is no interval.

    Returns
    -------
    dict
        "validation" and "teacher": of the quarter of the targets that RipsNet and the regression
        were chosen by, and of `clouds`. In each "errors", mean squared ones: "constant", of the
        mean image of the targets; "ripsnet"; and "distances", of `fit_distance_regression`; and
        "gains": the constant's over each of the others. In "teacher" also "intervals", the gains'
        lowest and highest in 95 % of 2,000 draws of as many groups.

    Raises
    ------
    ValueError
        If there is no RipsNet.
    """
    if maker.ripsnet is None:
        raise ValueError("predictors: the maker has no RipsNet; fit one without --exact")
    with torch.no_grad():
        exact = exact_images(clouds, maker.card.scale, maker.card.dims)
        regression = fit_distance_regression(targets.clouds, targets.images)
        guesses = {
            "constant": targets.images.double().mean(dim=0).to(exact.device),
            "ripsnet": torch.cat([maker.ripsnet(some) for some in torch.split(clouds, _CHUNK)]),
            "distances": regression(clouds.cpu()).to(exact.device),
        }
        errors = {
            name: (exact.double() - guess).square().mean(dim=1).cpu()
            for name, guess in guesses.items()
        }
    losses = dict(maker.losses)
    validation = {
        "constant": losses.pop("constant"),
        "ripsnet": min(losses.values()),
        "distances": regression.validation_error,
    }
    teacher = _with_gains({name: float(each.mean()) for name, each in errors.items()})
    if len(set(groups)) > 1:
        teacher["intervals"] = _intervals(errors, groups)
    return {"validation": _with_gains(validation), "teacher": teacher}


def _with_gains(errors: Mapping[str, float]) -> dict[str, Any]:
    gains = {name: errors["constant"] / errors[name] for name in ("ripsnet", "distances")}
    return {"errors": dict(errors), "gains": gains}


def _intervals(errors: Mapping[str, Tensor], groups: Sequence[str]) -> dict[str, list[float]]:
    """Return the gains' 95 % intervals, by a bootstrap over groups of clouds."""
    names = sorted(set(groups))
    places = torch.tensor([names.index(group) for group in groups])
    sums = {
        name: torch.zeros(len(names), dtype=torch.float64).index_add(0, places, each)
        for name, each in errors.items()
    }
    drawn = torch.randint(
        len(names), (_DRAWS, len(names)), generator=torch.Generator().manual_seed(0)
    )
    constant = sums["constant"][drawn].sum(dim=1)
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {
        name: torch.quantile(constant / sums[name][drawn].sum(dim=1), levels).tolist()
        for name in ("ripsnet", "distances")
    }
