"""Read the vertices of a PLY file: ascii or binary, numbers only.

Shape letters: N vertices.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError

# PLY has two sets of names for the same types.
_TYPES: Final = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_BYTE_ORDERS: Final = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END: Final = b"\nend_header"


@dataclass(frozen=True)
class _Element:
    """One table of the file: its rows, and the name and numpy type of each column."""

    name: str
    num_rows: int
    columns: list[tuple[str, str]]
    has_lists: bool = False


def read_vertices(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a PLY file's `vertex` element by lower-case name.

    Parameters
    ----------
    path
        An ascii, binary_little_endian or binary_big_endian file. What follows the vertices (faces)
        is not looked at; what comes before them must have no lists.

    Returns
    -------
    dict
        (N,) float64 each, in the file's own units; N may be 0.

    Raises
    ------
    UserError
        If the file cannot be read, its header is malformed, it has no vertices, or its data is cut
        short or no number.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check that it exists and its rights"
        ) from error
    order, elements, body = _read_header(path, data)
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise UserError(f"{path}: has no element vertex, only {', '.join(names) or 'none'}")
    place = names.index("vertex")
    for element in elements[: place + 1]:
        if element.has_lists:
            raise UserError(
                f"{path}: element {element.name} has a list property, which is read only after the "
                "vertices; export x, y, z and the intensity as plain numbers"
            )
    before, vertex = elements[:place], elements[place]
    table = _ascii if order == "" else _binary
    columns = table(path, body, before, vertex, order)
    return dict(zip((name for name, _ in vertex.columns), columns, strict=True))


def _read_header(path: Path, data: bytes) -> tuple[str, list[_Element], memoryview]:
    """Return the byte order ("" for ascii), the elements, and what follows the header."""
    end = data.find(_END)
    line_end = data.find(b"\n", end + 1)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise UserError(f"{path}: no PLY file (it must start with 'ply' and have 'end_header')")
    lines = data[:end].decode("ascii", errors="replace").splitlines()
    order: str | None = None
    elements: list[_Element] = []
    for number, line in enumerate(lines[1:], start=2):
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, _] if name in _BYTE_ORDERS:
                order = _BYTE_ORDERS[name]
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count), []))
            case ["property", "list", *_] if elements:
                last = elements[-1]
                elements[-1] = _Element(last.name, last.num_rows, last.columns, has_lists=True)
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1].columns.append((name.lower(), _TYPES[kind]))
            case _:
                raise UserError(f"{path}: line {number} of the PLY header is not known: {line!r}")
    if order is None:
        raise UserError(f"{path}: the PLY header has no format; expected ascii or binary")
    for element in elements:
        columns = [name for name, _ in element.columns]
        if len(set(columns)) != len(columns):
            raise UserError(f"{path}: element {element.name} has two properties of one name")
    return order, elements, memoryview(data)[line_end + 1 :]


def _ascii(
    path: Path, body: memoryview, before: list[_Element], vertex: _Element, order: str
) -> list[NDArray[np.float64]]:
    width = len(vertex.columns)
    start = sum(element.num_rows * len(element.columns) for element in before)
    # No more words than bytes: the bound keeps an absurd count in the header harmless.
    words = bytes(body).split(maxsplit=min(start + vertex.num_rows * width, len(body)))
    words = words[start : start + vertex.num_rows * width]
    _require(path, len(words), vertex.num_rows * width, "numbers")
    try:
        # Python's float and not numpy's parser: the same words are numbers on every machine.
        table = np.array([float(word) for word in words]).reshape(vertex.num_rows, width)
    except ValueError as error:
        raise UserError(f"{path}: the vertices hold what is no number ({error})") from error
    return list(table.T)


def _binary(
    path: Path, body: memoryview, before: list[_Element], vertex: _Element, order: str
) -> list[NDArray[np.float64]]:
    def row(element: _Element) -> np.dtype[np.void]:
        return np.dtype([(name, order + kind) for name, kind in element.columns])

    start = sum(element.num_rows * row(element).itemsize for element in before)
    needed = vertex.num_rows * row(vertex).itemsize
    _require(path, len(body) - start, needed, "bytes")
    table = np.frombuffer(body[start : start + needed], dtype=row(vertex))
    return [table[name].astype(np.float64) for name, _ in vertex.columns]


def _require(path: Path, found: int, needed: int, what: str) -> None:
    if found < needed:
        raise UserError(
            f"{path}: cut short, the vertices need {needed} {what} and {max(found, 0)} are there; "
            "copy the file again"
        )
