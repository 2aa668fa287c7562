"""Scikit-learn's handwritten digits: images to learn from, and groups of images to be scored on.

Shape letters: B images.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from benchmarks.studies.study_page import optional_package

NUM_CLASSES: Final = 10
_GROUPS: Final = 20
_SPLIT_SEED: Final = 0


@dataclass(frozen=True, eq=False)
class Images:
    """Images with their classes.

    Attributes
    ----------
    images
        (B, 1, 8, 8) float32 from 0 to 1.
    labels
        (B,) int64.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Digits:
    """The split, the same for every seed.

    Attributes
    ----------
    training, held_out
        Disjoint.
    groups
        (B,) of the held-out images: which of 20 groups an image is in. Whole groups are drawn
        where an interval is to speak for other images too.
    """

    training: Images
    held_out: Images
    groups: Tensor

    @property
    def group_names(self) -> tuple[str, ...]:
        """The name of each group, by its number."""
        return tuple(f"images-{number:02}" for number in range(_GROUPS))


def load_digits(num_training: int) -> Digits:
    """Return the 1,797 images that come with scikit-learn, split at random but always alike.

    Parameters
    ----------
    num_training
        How many to learn from; the others are held out.

    Raises
    ------
    UserError
        If scikit-learn is not installed.
    """
    datasets = optional_package(
        "sklearn.datasets", figure="the experiment on digits", install="scikit-learn"
    )
    found = datasets.load_digits()
    images = torch.from_numpy(found.images).float()[:, None] / 16
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    parts = [
        Images(images[rows], labels[rows]) for rows in torch.tensor_split(order, [num_training])
    ]
    training, held_out = parts
    return Digits(training, held_out, torch.arange(len(held_out.labels)) % _GROUPS)
