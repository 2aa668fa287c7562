"""Read files of tensors and plain values safely: data, never code."""

import pickle
import warnings
from pathlib import Path
from typing import Any, Final

import torch

from train.core.errors import UserError

SAFETENSORS: Final = ".safetensors"
"""The suffix of the files that `read_safetensors` reads."""


def is_safetensors(path: Path) -> bool:
    """Return whether a file is of that kind by its name or, whatever its name, by its beginning.

    Such a file begins with the length of its header, eight bytes, and the header is a JSON object;
    a file of `torch.save` is a zip archive.
    """
    if path.suffix == SAFETENSORS or not path.is_file():
        return path.suffix == SAFETENSORS
    with path.open("rb") as file:
        begin = file.read(9)
    return begin[8:] == b"{" and not begin.startswith(b"PK")


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


def read_safetensors(
    path: Path, expected_format: str, what: str
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, as they are stored, and its header's texts.

    Parameters
    ----------
    path
        The file.
    expected_format
        What the entry "format" of its header must say.
    what
        What the file should be, in messages.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another format, or the package safetensors is not
        installed.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a {what}")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError(
            f"{path}: needs the package safetensors; pip install 'topodistill[train]'"
        ) from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not readable as a {what} (damaged: {str(error).splitlines()[0][:120]}); copy "
            "or write it again"
        ) from error
    if header.get("format") != expected_format:
        raise UserError(
            f"{path}: not a {what} of this package (its format is {header.get('format')!r}, "
            f"expected {expected_format!r})"
        )
    return tensors, header
