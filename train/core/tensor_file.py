"""Read files of tensors and plain values safely: data, never code."""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from train.core.atomic_write import atomic_write
from train.core.bounded import first_line
from train.core.errors import UserError

SAFETENSORS: Final = ".safetensors"
"""The suffix of the files that `read_safetensors` reads."""

TENSORS_SHA256: Final = "tensors_sha256"
"""Where a file says what `tensors_sha256` found; files without it are not checked."""

_MOST_VALUES: Final = 10_000_000
"""That a file may hold beside the entries of its tensors."""


def tensors_sha256(content: object) -> str:
    """Return the SHA-256 of all tensors in nested dicts and sequences: names, types and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors_in("", content), key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors_in(name: str, content: object) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, Mapping | list | tuple):
        inner = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, value in inner:
            yield from _tensors_in(f"{name}/{key}", value)


def _damaged(path: Path, what: str, told: str) -> UserError:
    return UserError(f"{path}: not readable as a {what} ({told}); copy or write it again")


def _check_format(path: Path, found: object, expected: str, what: str) -> None:
    if found != expected:
        raise UserError(
            f"{path}: not a {what} of this package (its format is {found!r}, expected {expected!r})"
        )


def _check_tensors(path: Path, content: object, recorded: object, what: str) -> None:
    if recorded is not None and recorded != tensors_sha256(content):
        told = "damaged: its tensors are not those that were written, their SHA-256 differs"
        raise _damaged(path, what, told)


def read_torch_file(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """Return what a file of `torch.save` holds: tensors, containers and plain values.

    Parameters
    ----------
    path
        The file, not yet read.
    allowed
        What else it may name, as `torch.serialization.safe_globals` takes it.

    Raises
    ------
    pickle.UnpicklingError
        If it names anything else; nothing of it was run.
    ValueError
        If it is damaged, would take more memory than the file has bytes, or holds a tensor that is
        sparse, quantized or larger than its storage.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > path.stat().st_size:  # torch compresses nothing
                raise ValueError(f"its members would become {size} bytes")
        with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
            # About foreign pickles, which callers refuse in one line.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check_plain(content, {})
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # torch's unpickler has no common class for damaged bytes
        raise ValueError(first_line(error)) from error
    return content


def _check_plain(content: object, sizes: dict[int, int]) -> int:
    """Refuse tensors that are not plain; return how many values there are, repeated ones too.

    A few containers that hold each other twice are as large as no memory when they are followed.
    """
    if isinstance(content, torch.Tensor):
        if content.layout != torch.strided or content.is_quantized or content.device.type != "cpu":
            raise ValueError(f"a tensor of shape {tuple(content.shape)} is sparse or quantized")
        if content.numel() * content.itemsize > content.untyped_storage().nbytes():
            raise ValueError(f"a tensor of shape {tuple(content.shape)} has too few values")
    if not isinstance(content, Mapping | list | tuple | set):
        return 1
    if id(content) not in sizes:
        sizes[id(content)] = _MOST_VALUES  # what holds itself never ends
        inner = [*content, *content.values()] if isinstance(content, Mapping) else content
        sizes[id(content)] = 1 + sum(_check_plain(value, sizes) for value in inner)
    if sizes[id(content)] > _MOST_VALUES:
        raise ValueError("its containers hold each other")
    return sizes[id(content)]


def write_tensors(content: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values with a checksum, as `read_tensors` takes them.

    Raises
    ------
    UserError
        If the file cannot be written; an earlier one is then untouched.
    """
    with atomic_write(path) as unfinished:
        torch.save({**content, TENSORS_SHA256: tensors_sha256(content)}, unfinished)


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
        If the file is missing, damaged, holds code, or is of another format; if it has a checksum
        and its tensors have another.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a {what} that an earlier run wrote")
    try:
        content = read_torch_file(path)
    except (pickle.UnpicklingError, ValueError) as error:
        told = f"damaged, or more than plain data: {first_line(error)}"
        raise _damaged(path, what, told) from error
    found = content.get("format") if isinstance(content, dict) else None
    _check_format(path, found, expected_format, what)
    content = dict(content)
    _check_tensors(path, content, content.pop(TENSORS_SHA256, None), what)
    return content


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
    tensors, header = read_any_safetensors(path, what)
    _check_format(path, header.get("format"), expected_format, what)
    _check_tensors(path, tensors, header.get(TENSORS_SHA256), what)
    return tensors, header


def read_any_safetensors(path: Path, what: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return tensors and the header's texts of a safetensors file, whoever wrote it.

    Raises
    ------
    UserError
        If the file is missing or damaged, or the package safetensors is not installed.
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
        raise _damaged(path, what, f"damaged: {first_line(error)}") from error
    return tensors, header


def misfits(
    wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> dict[str, list[str]]:
    """Return how a file's tensors differ from those of a network, key by key.

    Returns
    -------
    dict
        Under "missing" and "unexpected" keys, under "reshaped" keys with both shapes; each in the
        order in which network or file lists them. Three empty lists if all of them fit.
    """
    return {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "reshaped": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(value.shape)}"
            for key, value in wanted.items()
            if key in found and found[key].shape != value.shape
        ],
    }


def refuse_not_finite(path: Path, tensors: Mapping[str, torch.Tensor], advice: str) -> None:
    """Raise a `UserError` that names a tensor with NaN or infinite entries, and says what to do."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path}: {name} has NaN or infinite entries; {advice}")
