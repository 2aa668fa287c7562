"""Which datasets there are; each is imported when it is chosen."""

import importlib
from typing import Final

from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec

DATASETS: Final = {
    "nuscenes": "train.data.nuscenes:SPEC",
    "semantickitti": "train.data.semantickitti:SPEC",
    "waymo": "train.data.waymo:SPEC",
}
"""Name -> "module:object" of its `DatasetSpec`."""


def dataset_spec(name: str) -> DatasetSpec:
    """Return a dataset by name.

    Raises
    ------
    UserError
        If there is no such dataset; the message lists those there are.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}; known: {', '.join(sorted(DATASETS))}")
    module, attribute = DATASETS[name].split(":")
    spec: DatasetSpec = getattr(importlib.import_module(module), attribute)
    return spec
