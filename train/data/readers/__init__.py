"""Cloud files that name their columns: `.npy`, `.ply`, `.pcd`, `.las` and `.laz`."""

import importlib
from pathlib import Path
from typing import Final

from train.data.readers.bare_points import strength_name
from train.data.readers.cloud_file import CloudFile

__all__ = ["CLOUD_ENDINGS", "CloudFile", "open_cloud", "strength_name"]

_READERS: Final = {
    ".las": "train.data.readers.las:read_las",
    ".laz": "train.data.readers.las:read_las",
    ".npy": "train.data.readers.cloud_file:read_npy",
    ".pcd": "train.data.readers.pcd:read_pcd",
    ".ply": "train.data.readers.ply:read_ply",
}

CLOUD_ENDINGS: Final = tuple(_READERS)
"""Endings of the files that `open_cloud` reads."""


def open_cloud(path: Path) -> CloudFile:
    """Read a cloud file; its ending, one of `CLOUD_ENDINGS`, says of which kind it is.

    Raises
    ------
    UserError
        If the file cannot be read, is damaged, or needs a package that is not installed.
    """
    module, function = _READERS[path.suffix.lower()].split(":")
    cloud: CloudFile = getattr(importlib.import_module(module), function)(path)
    return cloud
