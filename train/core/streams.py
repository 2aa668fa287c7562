"""Which draws of one seed are which: no two uses of it may get the same numbers."""

from enum import IntEnum


class Stream(IntEnum):
    """The first word of a key, before the seed. A number never changes: results depend on it."""

    SAMPLE = 1
    """Augmentation, picks and crop of a training sample."""
    ORDER = 2
    """The order of an epoch's samples."""
    BATCH_CROP = 3
    """The crops that keep a batch within its bound."""
    COMPARED_ROWS = 4
    """Rows whose features are compared between networks."""
    COMPARED_PAIRS = 5
    """Pairs of such rows."""
    LABELED_FRAMES = 7_001
    """Which frames keep their labels; alone of all, the second word of its key."""


class CallStream(IntEnum):
    """The seed of what a module draws anew at each call (`fast.sampling.key_of_call`)."""

    POINTS = 0
    """Points of a cloud; `fast.TopologicalLoss`'s own default, so that both draw the same."""
    REGIONS = 1
    """Centers of the regions that such points are drawn from."""
