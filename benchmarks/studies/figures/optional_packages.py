"""Packages that only some figures need."""

import importlib
from typing import Any

from train.core.errors import UserError


def optional_package(module: str, *, figure: str, install: str) -> Any:
    """Return a module that only one figure needs.

    Parameters
    ----------
    module
        Such as "sklearn.manifold".
    figure
        Which figure, for the message.
    install
        What to give to pip.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{figure} needs {module.partition('.')[0]}, which is not installed: "
            f"pip install {install}"
        ) from error
