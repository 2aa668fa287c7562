"""Saliency maps and their alignment between teacher and student (Eq. 4-7).

Shape letters: N points of a layer, C channels.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from fast.checks import (
    as_choice,
    as_list,
    as_nonnegative,
    as_points,
    as_precise,
    refuse_two_devices,
)

Layers = Literal["sum", "mean", "none"]


def saliency_map(features: Tensor, feature_gradients: Tensor, *, eps: float = 0.0) -> Tensor:
    """Return the normalized saliency of every point of one layer of each cloud.

    Parameters
    ----------
    features
        (..., N, C) activations F of the layer, at least one point.
    feature_gradients
        dL_seg / dF, of the same shape. Differentiated too if it carries a graph; detach it for
        the paper's method, where the channel weights are constants.
    eps
        The stabilizer in the denominator of Eq. 6. With 0 (the default) the map does not change
        when features or gradients are scaled; the paper gives no value.

    Returns
    -------
    Tensor
        (..., N) between 0 and 1. With `eps` = 0 both occur, unless the map is constant: it is
        then all zeros, with gradient zero.

    Raises
    ------
    ValueError
        If the shapes or devices differ, there are no points, (on the CPU) an entry is not
        finite, or `eps` is negative.

    Notes
    -----
    Eq. 4, Eq. 5 with its absolute values, then the min-max normalization of Eq. 6 over the points
    of each cloud. O(N C).

    Examples
    --------
    >>> saliency_map(torch.tensor([[1.0], [-3.0], [2.0]]), torch.ones(3, 1))
    tensor([0.0000, 1.0000, 0.5000])
    """
    name = "saliency_map"
    features = as_points(name, "features", features, least=1, has_kernel=False)
    feature_gradients = as_points(name, "feature_gradients", feature_gradients, has_kernel=False)
    eps = as_nonnegative(name, "eps", eps)
    refuse_two_devices(name, features=features, feature_gradients=feature_gradients)
    if features.shape != feature_gradients.shape:
        raise ValueError(
            f"{name}: feature_gradients has shape {tuple(feature_gradients.shape)}; "
            f"features has {tuple(features.shape)}, pass the same"
        )
    channel_weights = feature_gradients.abs().mean(dim=-2, keepdim=True)  # Eq. 4
    saliency = (channel_weights * features).abs().sum(dim=-1)  # Eq. 5
    least = saliency.amin(dim=-1, keepdim=True)
    spread = saliency.amax(dim=-1, keepdim=True) - least
    varied = spread > 0
    divisor = spread.where(varied, 1.0) + eps
    return ((saliency - least) / divisor).where(varied, 0.0)  # Eq. 6


def saliency_maps_of_clouds(features: Tensor, gradients: Tensor, sizes: list[int]) -> Tensor:
    """Return `saliency_map` (N,) of clouds that lie one after the other, (N, C) each.

    On a GPU all clouds at once, filled up to the largest, so that the number of launches does not
    grow with theirs; sums over a cloud may round otherwise than a cloud's by itself.
    """
    if features.device.type == "cpu":
        clouds = zip(torch.split(features, sizes), torch.split(gradients, sizes), strict=True)
        return torch.cat([saliency_map(*cloud) for cloud in clouds])
    return _maps_at_once(features, gradients, sizes)


def _maps_at_once(features: Tensor, gradients: Tensor, sizes: list[int]) -> Tensor:
    """Return the saliency (N,) of clouds (N, C) one after the other; nothing comes to the host."""
    name, num_points = "saliency_map", len(features)
    features = as_precise(name, "features", features, has_kernel=False)
    gradients = as_precise(name, "feature_gradients", gradients, has_kernel=False)
    most, num_clouds = max(sizes), len(sizes)
    counts = torch.tensor(sizes).to(features.device)
    begins = counts.cumsum(0) - counts
    # Where each point goes in the filled-up clouds: no two to the same place.
    shift = torch.arange(num_clouds, device=counts.device) * most - begins
    slots = torch.arange(num_points, device=counts.device)
    slots = slots + shift.repeat_interleave(counts, output_size=num_points)

    def filled_up(rows: Tensor, value: float) -> Tensor:
        empty = rows.new_full((num_clouds * most, *rows.shape[1:]), value)
        return empty.index_copy(0, slots, rows).view(num_clouds, most, *rows.shape[1:])

    sums = filled_up(gradients.abs(), 0.0).sum(dim=1, keepdim=True)
    channel_weights = sums / counts[:, None, None]  # Eq. 4
    saliency = (channel_weights * filled_up(features, 0.0)).abs().sum(dim=-1)  # Eq. 5
    inside = torch.arange(most, device=counts.device) < counts[:, None]
    least = saliency.where(inside, torch.inf).amin(dim=-1, keepdim=True)
    spread = saliency.where(inside, -torch.inf).amax(dim=-1, keepdim=True) - least
    varied = spread > 0
    divisor = spread.where(varied, 1.0)
    maps = ((saliency - least) / divisor).where(varied, 0.0)  # Eq. 6
    return maps.flatten().index_select(0, slots)


def saliency_loss(
    teacher_maps: Sequence[Tensor],
    student_maps: Sequence[Tensor],
    *,
    layers: Layers = "sum",
) -> Tensor:
    """Return how far the student's saliency maps are from the teacher's.

    Parameters
    ----------
    teacher_maps, student_maps
        One tensor per layer, (..., N_l) with at least one point; the same points in the same order
        in both networks. Layers may differ in size.
    layers
        "sum" adds the layers, as Eq. 7; "mean" divides by how many there are; "none" leaves them
        apart.

    Returns
    -------
    Tensor
        () the sum over layers of the mean absolute difference; 0 without layers. With "none" the
        mean of each layer, (num_layers,): its `sum()` is the result of "sum" to the last bit.

    Raises
    ------
    ValueError
        If the numbers of layers, the shapes or devices of two maps differ, or a map is empty.

    Notes
    -----
    Eq. 7, which divides by one N although layers differ in size; here each layer is divided by
    its own.

    Examples
    --------
    >>> saliency_loss([torch.tensor([0.0, 1.0])], [torch.tensor([0.5, 1.0])])
    tensor(0.2500)
    """
    name = "saliency_loss"
    as_choice(name, "layers", layers, get_args(Layers))
    one_a_layer = "a list of maps, one for each layer"
    teacher_maps = as_list(name, "teacher_maps", teacher_maps, one_a_layer)
    student_maps = as_list(name, "student_maps", student_maps, one_a_layer)
    if len(teacher_maps) != len(student_maps):
        raise ValueError(
            f"{name}: student_maps has {len(student_maps)} layers; teacher_maps has "
            f"{len(teacher_maps)}, pass as many"
        )
    if not teacher_maps:
        return torch.zeros((0,) if layers == "none" else ())
    parts = []
    for layer, (teacher, student) in enumerate(zip(teacher_maps, student_maps, strict=True)):
        teacher = as_precise(name, f"teacher_maps[{layer}]", teacher, has_kernel=False)
        student = as_precise(name, f"student_maps[{layer}]", student, has_kernel=False)
        refuse_two_devices(
            name, **{f"teacher_maps[{layer}]": teacher, f"student_maps[{layer}]": student}
        )
        if teacher.shape != student.shape or not teacher.numel():
            raise ValueError(
                f"{name}: student_maps[{layer}] has shape {tuple(student.shape)}; "
                f"teacher_maps[{layer}] has {tuple(teacher.shape)}, pass the same points, "
                "at least one"
            )
        parts.append((teacher - student).abs().mean())
    means = torch.stack(parts)
    if layers == "none":
        return means
    return means.sum() / len(parts) if layers == "mean" else means.sum()
