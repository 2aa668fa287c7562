"""Sees to it that `fast`, `reference` and `train` are ours, not a file of the current folder."""

import importlib.util
import sys
from pathlib import Path
from typing import Final

HOME: Final = Path(__file__).resolve().parents[1]
"""Folder that holds this package and its siblings: a checkout or site-packages."""


class ShadowedError(ImportError):
    """Another module has the name of one of our packages and would be imported in its place."""


def refuse_shadowed(*names: str) -> None:
    """Raise if another module hides one of our packages.

    Parameters
    ----------
    names
        Of `fast`, `reference` and `train`, which are plain words that users' files have too.

    Raises
    ------
    ShadowedError
        If `import name` would give, or has given, something from elsewhere.
    """
    for name in names:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        found = [Path(place).resolve() for place in places if place is not None]
        if HOME / name / "__init__.py" not in found:
            where = f"finds {found[0]}" if found else "finds nothing"
            raise ShadowedError(
                f"`import {name}` {where} in place of topodistill's package {name}: rename what "
                "hides it, or take its folder off the path (sys.path, PYTHONPATH)"
            )


def drop_current_folder() -> None:
    """Take the current folder off the path where `python -m` put it, unless we live there."""
    here = Path.cwd()
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() == here != HOME:
        del sys.path[0]
