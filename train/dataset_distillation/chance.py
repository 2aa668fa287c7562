"""Sources of chance that depend on numbers alone, so that a resumed run draws what it would have.

No state is kept: what step 7 draws is a function of the seed, of what is drawn, and of 7.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What is drawn, the second word of a seed. A number never changes: results depend on it."""

    MATCHED_NETWORK = 1
    MATCHING = 2
    START_POINTS = 3
    NORM_STATISTICS = 4
    NEAREST_CURVES = 5
    START_CLOUDS = 6
    CLASSIFIER = 11
    CLASSIFIER_TRAINING = 12
    PARTS_NETWORK = 21
    PARTS_TRAINING = 22
    TRAIN_ROTATIONS = 31
    TEST_ROTATIONS = 32
    FRAME_NETWORK = 41
    FRAME_TRAINING = 42
    STRENGTHS = 51
    FRAME_SHARES = 61
    HILBERT_CURVES = 62
    GENERATOR = 101
    GENERATED_CLOUDS = 102
    REDRAWN_CLOUDS = 103


def generator_for(*words: int) -> torch.Generator:
    """Return a generator on the CPU; what is drawn there is the same for every device.

    Parameters
    ----------
    words
        Whole numbers of at least 0: a seed, a `Stream`, and maybe a step.
    """
    return torch.Generator().manual_seed(_mixed(words))


@contextmanager
def weights_from(*words: int) -> Iterator[None]:
    """Let the weights of networks that are made in the block depend on the words alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_mixed(words))
        yield


def _mixed(words: tuple[int, ...]) -> int:
    state = np.random.SeedSequence(list(words)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
