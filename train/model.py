"""The earlier place of the networks: names still work here, and say where they are now."""

import importlib
import warnings
from typing import Any, Final

from train.networks import ptv3

_PLACES: Final = dict.fromkeys(ptv3.__all__, "train.networks.ptv3") | dict.fromkeys(
    ("CheckpointReport", "load_pointcept_checkpoint"), "train.networks.official.ptv3"
)

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'train.model' has no attribute {name!r}")
    place = _PLACES[name]
    warnings.warn(f"train.model.{name} is now {place}.{name}", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(place), name)
