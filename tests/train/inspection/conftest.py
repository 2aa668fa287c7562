"""Fixtures that tests of readers have, too."""

from tests.train.data.conftest import sweep, write_tree

__all__ = ["sweep", "write_tree"]
