"""Fixtures that tests of readers have, too."""

from tests.train.data.conftest import frame, write_tree

__all__ = ["frame", "write_tree"]
