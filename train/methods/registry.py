"""Which methods there are; each is imported when it is chosen."""

import dataclasses
import importlib
from pathlib import Path
from typing import Final

from train.config import MethodConfig
from train.core.errors import UserError
from train.core.user_file import is_in_user_file, load_in_file, parse_in_file
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
    """Return a method by name: one of `METHODS`, or FILE.py:CLASS of the user's.

    Raises
    ------
    UserError
        If there is no such method; the message lists those there are.
    """
    if is_in_user_file(name):
        return _of_file(name)
    if name not in METHODS:
        raise UserError(
            f"--method {name}: unknown method; known: {', '.join(sorted(METHODS))}, or "
            "FILE.py:CLASS"
        )
    module, attribute = METHODS[name].split(":")
    found: type[DistillationMethod] = getattr(importlib.import_module(module), attribute)
    return found


def _of_file(name: str) -> type[DistillationMethod]:
    """Return the method of a user's file, if it is one."""
    path, inside = parse_in_file("method", name, "CLASS")
    found = load_in_file(Path(path), inside, "class")
    if not (isinstance(found, type) and issubclass(found, DistillationMethod)):
        raise UserError(f"--method {name}: {inside} is no train.methods.DistillationMethod; {_HOW}")
    config = found.Config
    if not (dataclasses.is_dataclass(config) and issubclass(config, MethodConfig)):
        raise UserError(
            f"--method {name}: its Config is no dataclass with train.config.MethodConfig as base; "
            f"{_HOW}"
        )
    return found


_HOW: Final = "docs/guides/extend.md has an example"


def option_owners(option: str) -> list[str]:
    """Return the methods that have an option, given by its field's name."""
    return [
        name
        for name in METHODS
        if option in {field.name for field in dataclasses.fields(method_class(name).Config)}
    ]
