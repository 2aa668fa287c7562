"""What the tests of several studies share with those of training."""

from tests.train.conftest import toy_sweeps, toys_registered

__all__ = ["toy_sweeps", "toys_registered"]
