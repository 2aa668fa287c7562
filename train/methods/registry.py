"""Which methods there are; each is imported when it is chosen."""

import dataclasses
import importlib
from typing import Final

from train.core.errors import UserError
from train.methods.protocol import DistillationMethod

METHODS: Final = {
    "topology-gradient": "train.methods.topology_gradient:TopologyGradient",
    "kd": "train.methods.kd:SoftenedLogits",
    "dist": "train.methods.dist:DIST",
    "cwd": "train.methods.cwd:CWD",
    "dkd": "train.methods.dkd:DKD",
    "rkd": "train.methods.rkd:RelationalKD",
    "affinity": "train.methods.affinity:Affinity",
    "feature": "train.methods.feature:FeatureHint",
    "topkd": "train.methods.topkd.method:TopKD",
    "xmodel-kd": "train.methods.cross_modal.xmodel:XModelKD",
    "udakd": "train.methods.cross_modal.udakd:UDAKD",
    "fskd": "train.methods.cross_modal.fskd:FSKD",
    "none": "train.methods.none:CrossEntropy",
}
"""Name -> "module:class"."""


def method_class(name: str) -> type[DistillationMethod]:
    """Return a method by name.

    Raises
    ------
    UserError
        If there is no such method; the message lists those there are.
    """
    if name not in METHODS:
        raise UserError(f"--method {name}: unknown method; known: {', '.join(sorted(METHODS))}")
    module, attribute = METHODS[name].split(":")
    found: type[DistillationMethod] = getattr(importlib.import_module(module), attribute)
    return found


def option_owners(option: str) -> list[str]:
    """Return the methods that have an option, given by its field's name."""
    return [
        name
        for name in METHODS
        if option in {field.name for field in dataclasses.fields(method_class(name).Config)}
    ]
