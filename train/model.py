"""The earlier place of the networks: names still work here, and say where they are now."""

import warnings
from typing import Any

from train.networks import ptv3

__all__ = ptv3.__all__


def __getattr__(name: str) -> Any:
    if name not in ptv3.__all__:
        raise AttributeError(f"module 'train.model' has no attribute {name!r}")
    warnings.warn(
        f"train.model.{name} is now train.networks.ptv3.{name}", DeprecationWarning, stacklevel=2
    )
    return getattr(ptv3, name)
