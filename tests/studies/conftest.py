"""What the tests of several studies share with those of training."""

from tests.train.conftest import toy_frames, toys_registered

__all__ = ["toy_frames", "toys_registered"]
