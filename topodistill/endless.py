"""All classes of a diagram, those that never die too: what other libraries append."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fast import PersistenceInformation, diagrams_to_torch_topological
from fast.rips import diagrams_to_the_end


def classes_to_the_end(
    matrices: Sequence[Tensor], max_dim: int, threshold: float
) -> list[list[PersistenceInformation]]:
    """Return per cloud and dimension all classes, those that never die by the threshold last.

    Parameters
    ----------
    matrices
        Distances, (N, N) per cloud.
    max_dim, threshold
        As in `rips_persistence`.

    Returns
    -------
    list
        As `diagrams_to_torch_topological`; classes that never die have the death `inf` and the
        death edge (-1, -1).
    """
    diagrams, end = diagrams_to_the_end(matrices, max_dim, threshold)
    clouds = diagrams_to_torch_topological(diagrams)
    for i, cloud in enumerate(clouds):
        for dim, (each, batch) in enumerate(zip(cloud, diagrams, strict=True)):
            count = batch.num_essential[i]
            finite, last = each.diagram[:, 1] < end, each.diagram[:, 1] >= end
            births = each.diagram[last, 0]
            pairing = torch.as_tensor(each.pairing)
            if dim == 0:  # and the component that is there at the end
                births = each.diagram.new_zeros(int(last.sum()) + int(count))
                endless = pairing.new_full((len(births), 3), -1)
            else:
                births = births[births < end]
                begun = pairing[last][each.diagram[last, 0] < end]
                endless = torch.cat([begun[:, :2], torch.full_like(begun[:, :2], -1)], dim=1)
            rows = torch.stack([births, torch.full_like(births, math.inf)], dim=1)
            cloud[dim] = PersistenceInformation(
                torch.cat([pairing[finite], endless]).numpy(),
                torch.cat([each.diagram[finite], rows]),
                dim,
            )
    return clouds
