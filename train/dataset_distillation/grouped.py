"""Gradients and distances of several classes in one pass of a network.

Each class is given its own copy of the weights: after one forward pass over the clouds of all
classes, the gradient at a copy is that of its class alone. What comes out is, class by class, what
`matching` defines; one pass over twelve classes takes less time than twelve passes.

Shape letters: G classes of a group, B clouds of each, N points, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.dataset_distillation.matching import row_distance
from train.dataset_distillation.networks.pointnet import PointNet


def class_gradients(
    network: PointNet, points: Tensor, labels: Tensor, *, differentiable: bool
) -> list[Tensor]:
    """Return the gradients of each class's mean cross-entropy at the matched weights.

    Parameters
    ----------
    network
        A classifier with instance norms.
    points
        (G, B, N, 3).
    labels
        (G,) int64, the class of each group of clouds.
    differentiable
        Whether the gradients are to be differentiated.

    Returns
    -------
    list of Tensor
        (G, outputs, inputs) for each of `matching.matched_weights`.

    Raises
    ------
    ValueError
        If the network is a segmenter or its norms look at other clouds too.
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
    """Return for each class of a group what `matching.gradient_distance` gives, (G,).

    Parameters
    ----------
    synthetic, real
        Of the same weights, (G, outputs, inputs) each.
    """
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
