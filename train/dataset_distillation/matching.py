"""What is matched: gradients of a network (Eq. 10).

Shape letters: B clouds, N points, K classes, R rows of a weight, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.dataset_distillation.networks.pointnet import PointNet

_EPS = 1e-6


def matched_weights(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights whose gradients are compared: all but vectors (biases, norms)."""
    return [parameter for parameter in network.parameters() if parameter.ndim >= 2]


def class_gradient(
    network: nn.Module, points: Tensor, labels: Tensor, *, differentiable: bool
) -> list[Tensor]:
    """Return the gradients of cross-entropy at the matched weights.

    Labels are (B,) classes of clouds (B, N, 3), or (B, N) parts, -1 for none. Gradients of
    generated clouds are to be `differentiable`.
    """
    loss = labeled_loss(network(points), labels)
    found = torch.autograd.grad(loss, matched_weights(network), create_graph=differentiable)
    return list(found)


def labeled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over what is labeled; 0 where nothing is.

    Of logits (B, K) or (B, K, N) and labels (B,) or (B, N); -1 counts for nothing.
    """
    total = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp_min(1)


def masked_labels(labels: Tensor, part: int) -> Tensor:
    """Return the labels of one part alone, -1 elsewhere: local matching (Section 4.3)."""
    return torch.where(labels == part, labels, torch.full_like(labels, -1))


def gradient_distance(synthetic: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the sum over the rows of all weights of 1 - cosine.

    A row holds what one output channel has for its inputs. As in Zhao et al., "Dataset Condensation
    with Gradient Matching" (ICLR 2021). ValueError if the gradients are not of the same weights.
    """
    if [g.shape for g in synthetic] != [g.shape for g in real]:
        raise ValueError(
            f"gradients are of shapes {[tuple(g.shape) for g in synthetic]} and "
            f"{[tuple(g.shape) for g in real]}; give those of the same weights"
        )
    total = torch.zeros((), dtype=real[0].dtype, device=real[0].device)
    for ours, theirs in zip(synthetic, real, strict=True):
        total = total + row_distance(ours.flatten(1), theirs.flatten(1)).sum()
    return total


def row_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return 1 - cosine of rows (..., C), (...); 1 where a row is all zeros."""
    lengths = _length(ours) * _length(theirs)
    return 1.0 - (ours * theirs).sum(dim=-1) / (lengths + _EPS)


def _length(rows: Tensor) -> Tensor:
    """Return the rows' lengths; the gradient at a row of zeros is 0, not infinite."""
    squares = rows.square().sum(dim=-1)
    some = squares > 0
    return torch.where(some, torch.where(some, squares, torch.ones_like(squares)).sqrt(), 0.0)


def class_gradients(
    network: PointNet, points: Tensor, labels: Tensor, *, differentiable: bool
) -> list[Tensor]:
    """Return the gradients of each class's mean cross-entropy at the matched weights.

    Each class is given its own copy of the weights: after one forward pass over the clouds of all
    classes, the gradient at a copy is that of its class alone. One pass over twelve classes takes
    less time than twelve passes of `class_gradient`.

    Parameters
    ----------
    network
        A classifier with instance norms; others are refused with a ValueError.
    points
        (G, B, N, 3).
    labels
        (G,) int64, the class of each group of clouds.
    differentiable
        Whether the gradients are to be differentiated.

    Returns
    -------
    list of Tensor
        (G, outputs, inputs) for each of `matched_weights`.
    """
    if network.segments or not all(
        isinstance(norm, nn.InstanceNorm1d) and not norm.affine and not norm.track_running_stats
        for norm in network.norms
    ):
        raise ValueError(
            "class_gradients: the network is a segmenter, or its norms are not plain instance "
            "norms; use matching.class_gradient, class by class"
        )
    head = network.head
    assert isinstance(head, nn.Linear)
    layers = [layer for layer in network.layers if isinstance(layer, nn.Conv1d)]
    copies = [
        weight.detach().flatten(1).repeat(len(points), 1, 1).requires_grad_()
        for weight in (*(layer.weight for layer in layers), head.weight)
    ]
    logits = _logits(network, copies, points) + head.bias.detach()
    wanted = labels[:, None].expand(-1, points.shape[1])
    loss = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum")
    found = torch.autograd.grad(loss / points.shape[1], copies, create_graph=differentiable)
    return list(found)


def class_distances(synthetic: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return for each class of a group what `gradient_distance` gives, (G,)."""
    per_weight = [
        row_distance(ours, theirs).sum(dim=1) for ours, theirs in zip(synthetic, real, strict=True)
    ]
    return torch.stack(per_weight).sum(dim=0)


def mean_features(network: PointNet, points: Tensor) -> Tensor:
    """Return the mean feature vector of each class, (G, C), of clouds (G, B, N, 3)."""
    features = network.features(points.flatten(0, 1))
    return features.view(*points.shape[:2], -1).mean(dim=1)


def _logits(network: PointNet, copies: Sequence[Tensor], points: Tensor) -> Tensor:
    """Return (G, B, classes) without the head's bias.

    Biases of the layers are left out: the norms take them away again.
    """
    groups, clouds, number, _ = points.shape
    hidden = points.flatten(1, 2).transpose(1, 2)
    last = len(network.layers) - 1
    for level, (copy, norm) in enumerate(zip(copies[:-1], network.norms, strict=True)):
        assert isinstance(norm, nn.InstanceNorm1d)
        # (G, C, B x N), which is (G, C x B, N): every channel of every cloud has its own norm.
        made = (copy @ hidden).view(groups, -1, number)
        made = functional.instance_norm(made, eps=norm.eps)
        if level < last:
            hidden = functional.relu(made).view(groups, -1, clouds * number)
    at = made.detach().argmax(dim=2, keepdim=True)
    pooled = made.gather(2, at).view(groups, -1, clouds)
    return pooled.transpose(1, 2) @ copies[-1].transpose(1, 2)
