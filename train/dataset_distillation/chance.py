"""Sources of chance that depend on numbers alone, so that a resumed run draws what it would have.

No state is kept: what step 7 draws is a function of the seed and of 7.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator_for(*words: int) -> torch.Generator:
    """Return a generator on the CPU; what is drawn there is the same for every device.

    Parameters
    ----------
    words
        Whole numbers of at least 0, such as a seed and a step.
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
