"""Cloud files that name their columns: `.npy`, `.ply`, `.pcd`, `.las` and `.laz`."""

import importlib
from pathlib import Path
from typing import Final

from train.data.cloud_files.cloud_file import CloudFile, strength_name

__all__ = ["CLOUD_ENDINGS", "CloudFile", "open_cloud", "strength_name"]

_READERS: Final = {
    ".las": "train.data.cloud_files.las:read_las",
    ".laz": "train.data.cloud_files.las:read_las",
    ".npy": "train.data.cloud_files.npy:read_npy",
    ".pcd": "train.data.cloud_files.pcd:read_pcd",
    ".ply": "train.data.cloud_files.ply:read_ply",
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
