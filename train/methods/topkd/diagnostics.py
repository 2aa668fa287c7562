"""How far RipsNet and the student are from the truth: what the paper's Tables 8 and 20 measure.

Shape letters: K clouds, M points of a cloud, C channels, L deaths.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from train.methods.topkd.artifacts import ImageMaker
from train.methods.topkd.fit import mean_squared_error
from train.methods.topkd.targets import diagram_pairs, exact_images


@dataclass(frozen=True)
class Fidelity:
    """Means over clouds of the same points in both networks.

    Attributes
    ----------
    teacher_error, student_error
        Mean squared error of RipsNet's images of the teacher's clouds, and of the student's, which
        it was not fitted to.
    image_distance
        Mean squared difference of the two networks' exact images: what the method's term stands
        for.
    bottleneck
        Of the true dimension-0 diagrams, in the unit of the features (the paper's infinity
        Wasserstein distance).
    """

    teacher_error: float
    student_error: float
    image_distance: float
    bottleneck: float


def fidelity(maker: ImageMaker, teacher_clouds: Tensor, student_clouds: Tensor) -> Fidelity:
    """Return how well RipsNet does on clouds of both networks, and how far their diagrams are.

    Parameters
    ----------
    maker
        With a RipsNet, on the clouds' device.
    teacher_clouds, student_clouds
        (K, M, C): the same points, the student's adapted to the teacher's width.

    Raises
    ------
    ValueError
        If there is no RipsNet, or the shapes differ.
    """
    if maker.ripsnet is None:
        raise ValueError("fidelity: the maker has no RipsNet; fit one without --exact")
    if teacher_clouds.shape != student_clouds.shape:
        raise ValueError(
            f"fidelity: clouds have shapes {tuple(teacher_clouds.shape)} and "
            f"{tuple(student_clouds.shape)}; pass the same points of both networks"
        )
    with torch.no_grad():
        card = maker.card
        exact = [
            exact_images(clouds, card.scale, card.dims)
            for clouds in (teacher_clouds, student_clouds)
        ]
        deaths = []
        for clouds in (teacher_clouds, student_clouds):
            pairs, mask = diagram_pairs(clouds, (0,))
            deaths.append([row[kept] for row, kept in zip(pairs[..., 1], mask, strict=True)])
        distances = [component_bottleneck(*both) for both in zip(*deaths, strict=True)]
        return Fidelity(
            teacher_error=mean_squared_error(maker.ripsnet, teacher_clouds, exact[0]),
            student_error=mean_squared_error(maker.ripsnet, student_clouds, exact[1]),
            image_distance=float((exact[0] - exact[1]).square().mean()),
            bottleneck=float(torch.stack(distances).mean()),
        )


def component_bottleneck(one: Tensor, other: Tensor) -> Tensor:
    """Return the bottleneck distance () of two dimension-0 diagrams, whose births are all 0.

    Parameters
    ----------
    one, other
        (L,) and (L',) deaths.

    Notes
    -----
    Points on one line: an optimal matching pairs the k largest deaths of both in order, for some
    k, and sends the others to the diagonal, at half their death. O(L log L).

    Examples
    --------
    >>> component_bottleneck(torch.tensor([4.0, 1.0]), torch.tensor([3.0]))
    tensor(1.)
    """
    one, other = (deaths.sort(descending=True).values for deaths in (one, other))
    matched = min(len(one), len(other))
    zero = one.new_zeros(1)
    apart = torch.cat([zero, (one[:matched] - other[:matched]).abs()]).cummax(dim=0).values
    left = torch.stack([torch.cat([each, zero])[: matched + 1] / 2 for each in (one, other)])
    return torch.maximum(apart, left.amax(dim=0)).min()
