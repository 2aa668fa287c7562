"""Data roots of tiny Waymo frames."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.train.data.waymo.frames import tiny_split, write_split


@pytest.fixture
def write_root(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a data root: `write_root("v1", training={"seg": [True, False]})`."""

    def write(data_format: str, **splits: Mapping[str, Sequence[bool]]) -> Path:
        root = tmp_path / data_format
        for folder, labels in splits.items():
            write_split(root / folder, data_format, tiny_split(labels))
        return root

    return write
