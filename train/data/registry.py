"""Which datasets there are; each is imported when it is chosen."""

import importlib
from collections.abc import Mapping
from typing import Any, Final

from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec

DATASETS: Final = {
    "kitti-layout": "train.data.kitti_layout:kitti_layout_spec",
    "nuscenes": "train.data.nuscenes:SPEC",
    "semantickitti": "train.data.semantickitti:SPEC",
    "waymo": "train.data.waymo:SPEC",
}
"""Name -> "module:object" of its `DatasetSpec`, or of a function that makes it from options."""

LAYOUT_OPTIONS: Final = ("class_map", "point_columns", "strength_scale", "label_type")
"""Fields of `DataConfig` that say how own frames lie on disk; only `kitti-layout` has them."""


def dataset_spec(name: str, options: Mapping[str, Any] | None = None) -> DatasetSpec:
    """Return a dataset by name.

    Parameters
    ----------
    name
        One of `DATASETS`.
    options
        `LAYOUT_OPTIONS` by name, None or missing where nothing is said; other entries are not
        looked at, so that the options of a run (``vars(config.data)``, or `data` of its
        config.json) can be given.

    Raises
    ------
    UserError
        If there is no such dataset; the message lists those there are. If an option is not for it,
        or cannot be met.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}; known: {', '.join(sorted(DATASETS))}")
    module, attribute = DATASETS[name].split(":")
    found = getattr(importlib.import_module(module), attribute)
    said = {key: (options or {}).get(key) for key in LAYOUT_OPTIONS}
    if isinstance(found, DatasetSpec):
        for key, value in said.items():
            if value is not None:
                raise UserError(
                    f"--data.{key.replace('_', '-')} {value}: is for --dataset kitti-layout, "
                    f"frames of your own; {name} has its own"
                )
        return found
    made: DatasetSpec = found(said)
    return made
