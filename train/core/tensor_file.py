"""Read files of tensors and plain values safely: data, never code."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from train.core.errors import UserError


def read_tensors(path: Path, expected_format: str, what: str) -> dict[str, Any]:
    """Return the content of a file of tensors and plain values.

    Parameters
    ----------
    path
        Written by `torch.save`.
    expected_format
        What its entry "format" must say.
    what
        What the file should be, in messages.

    Raises
    ------
    UserError
        If the file is missing, damaged, holds code, or is of another format.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a {what} that an earlier run wrote")
    try:
        with warnings.catch_warnings():
            # About foreign pickles, which are refused below in one line of our own.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: not readable as a {what} (damaged, or more than plain data: {reason}); "
            "copy or write it again"
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected_format:
        raise UserError(
            f"{path}: not a {what} of this package (its format is {found!r}, expected "
            f"{expected_format!r})"
        )
    return dict(content)
