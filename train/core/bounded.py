"""Numbers and arrays in files that may be damaged, read within bounds.

A file's own counts are believed only as far as the file has room for them, and only plain digits
are numbers: Python reads `1_0`, Arabic digits and integers of any length as well.
"""

import io
import json
import math
import operator
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MOST_DIGITS: Final = 18  # which 64 bits hold
_MOST_EXPANSION: Final = 100
_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def first_line(error: BaseException) -> str:
    """Return the beginning of an error's message, or its type where it has none."""
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


def whole_number(text: str | bytes) -> int | None:
    """Return the number that up to 18 plain digits are; None for anything else."""
    plain = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if plain else None


def decimal_numbers(words: Sequence[bytes]) -> NDArray[np.float64]:
    """Return what words say, by Python's rules (the same on every machine) without underscores.

    Raises
    ------
    ValueError
        If a word is no number.
    """
    if b"_" in b" ".join(words):
        word = next(word for word in words if b"_" in word)
        raise ValueError(f"could not convert to a number: {word[:80]!r}")
    return np.array([float(word) for word in words], dtype=np.float64)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no file (a pipe), no JSON, or nested too deeply.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    ValueError
        If it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def npy_array(data: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a `.npy` file, which it shares; no pickled code runs.

    Raises
    ------
    ValueError
        If they are no such file, hold objects, or fewer values than their header says.
    """
    stream = io.BytesIO(data)
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        shape = tuple(map(operator.index, shape))
    # What numpy's parser raises for a damaged header, which is a Python literal, is of no class.
    except Exception as error:
        raise ValueError(f"its header is damaged: {first_line(error)}") from error
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"holds {dtype}, which are no numbers")
    count, room = math.prod(shape), len(data) - stream.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize > room:
        raise ValueError(f"cut short, an array of shape {shape} has no room in {room} bytes")
    # A copy: torch takes no array that cannot be written.
    values = np.frombuffer(data, dtype, count, stream.tell()).copy()
    return values.reshape(shape, order="F" if by_columns else "C")


def npz_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in the bytes of a `.npz` file.

    Raises
    ------
    ValueError
        If they are no such file, are damaged, or would take a hundred times the memory.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > _MOST_EXPANSION * len(data):
                raise ValueError(f"{len(data)} bytes would become {size}")
            found = {}
            for member in members:
                with archive.open(member) as file:
                    content = file.read(member.file_size)
                found[member.filename.removesuffix(".npy")] = npy_array(content)
            return found
    except Exception as error:  # zipfile and its decoders have many of their own
        raise ValueError(first_line(error)) from error
