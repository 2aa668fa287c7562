"""Read the vertices of a PLY file, ascii or binary, and write them again with labels.

Our own, as plyfile has a license (GPL-3) that a package under MIT cannot depend on.

Shape letters: N vertices.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.bounded import decimal_numbers, whole_number
from train.core.errors import UserError
from train.data.files import read_bytes
from train.data.readers.cloud_file import CloudFile, label_type

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
_LABEL: Final = "label"
_PREFIX: Final = "scalar_"


@dataclass(frozen=True)
class _Element:
    """One table of the file: its rows, and the name and numpy type of each column.

    `lines` are the numbers of the header's lines that declare the columns.
    """

    name: str
    num_rows: int
    columns: list[tuple[str, str]]
    lines: list[int]
    has_lists: bool = False

    def row(self, order: str) -> "np.dtype[np.void]":
        """Return the type of a row in a binary file."""
        return np.dtype([(name, order + kind) for name, kind in self.columns])


@dataclass(frozen=True)
class PlyFile(CloudFile):
    """The vertices, and what is needed to write the file again.

    Attributes
    ----------
    header
        Its lines, without their ends.
    newline
        How they end.
    order
        "<", ">", or "" for ascii.
    before, vertex
        The elements up to the vertices.
    body
        What follows the header.
    """

    header: tuple[str, ...]
    newline: str
    order: str
    before: tuple[_Element, ...]
    vertex: _Element
    body: bytes

    kind: ClassVar[str] = "PLY vertices"
    rows_word: ClassVar[str] = "vertices"
    column_word: ClassVar[str] = "property"

    def labeled(self, labels: NDArray[np.int64]) -> bytes:
        """Return the file with a property `label`; one that is there is replaced."""
        kind = label_type(labels)
        names = [name for name, _ in self.vertex.columns]
        at = names.index(_LABEL) if _LABEL in names else len(names)
        lines = list(self.header)
        declared = f"property {'uint' if kind == 'u4' else 'int'} {_LABEL}"
        if at < len(names):
            lines[self.vertex.lines[at]] = declared
        else:
            lines.insert(self.vertex.lines[-1] + 1, declared)
        header = "".join(line + self.newline for line in lines).encode("latin-1")
        body = self._text(labels, at) if self.order == "" else self._table(labels, at, kind)
        return header + body

    def _table(self, labels: NDArray[np.int64], at: int, kind: str) -> bytes:
        start = sum(each.num_rows * each.row(self.order).itemsize for each in self.before)
        old = self.vertex.row(self.order)
        end = start + self.vertex.num_rows * old.itemsize
        columns = list(self.vertex.columns)
        columns[at : at + 1] = [(_LABEL, kind)]
        rows = np.frombuffer(self.body[start:end], dtype=old)
        made = np.empty(len(rows), dtype=_Element("", 0, columns, []).row(self.order))
        for name, _ in columns:
            made[name] = labels if name == _LABEL else rows[name]
        return self.body[:start] + made.tobytes() + self.body[end:]

    def _text(self, labels: NDArray[np.int64], at: int) -> bytes:
        lines = self.body.split(b"\n")
        first = sum(each.num_rows for each in self.before)
        width = len(self.vertex.columns)
        for number, label in enumerate(labels.tolist(), start=first):
            words = lines[number].split() if number < len(lines) else []
            if len(words) != width:
                raise UserError(
                    f"{self.path}: its vertices do not stand one on a line, so that no label can "
                    "be put behind each; write the labels to a .npy file"
                )
            end = b"\r" if lines[number].endswith(b"\r") else b""
            words[at : at + 1] = [b"%d" % label]
            lines[number] = b" ".join(words) + end
        return b"\n".join(lines)


def read_ply(path: Path) -> PlyFile:
    """Read the `vertex` element of a PLY file.

    Parameters
    ----------
    path
        An ascii, binary_little_endian or binary_big_endian file. What follows the vertices (faces)
        is not looked at; what comes before them must have no lists. CloudCompare's prefix
        ``scalar_`` of property names is left out of the names of columns.

    Raises
    ------
    UserError
        If the file cannot be read, its header is malformed, it has no vertices, or its data is cut
        short or no number.
    """
    data = read_bytes(path)
    order, elements, lines, start = _read_header(path, data)
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
    before, vertex = tuple(elements[:place]), elements[place]
    if not vertex.columns:
        raise UserError(f"{path}: the vertices have no property; export x, y and z")
    body = data[start:]
    table = _ascii if order == "" else _binary
    found = table(path, body, before, vertex, order)
    columns = {
        name.removeprefix(_PREFIX): values
        for (name, _), values in zip(vertex.columns, found, strict=True)
    }
    newline = "\r\n" if data[:start].endswith(b"\r\n") else "\n"
    return PlyFile(path, columns, lines, newline, order, before, vertex, body)


def _read_header(path: Path, data: bytes) -> tuple[str, list[_Element], tuple[str, ...], int]:
    """Return the byte order ("" for ascii), the elements, the lines, and where the body starts."""
    end = data.find(_END)
    line_end = data.find(b"\n", end + 1)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise UserError(f"{path}: no PLY file (it must start with 'ply' and have 'end_header')")
    lines = tuple(line.rstrip("\r") for line in data[:line_end].decode("latin-1").split("\n"))
    order: str | None = None
    elements: list[_Element] = []
    for number, line in enumerate(lines[1:-1], start=1):
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, _] if name in _BYTE_ORDERS:
                order = _BYTE_ORDERS[name]
            case ["element", name, count] if (rows := whole_number(count)) is not None:
                elements.append(_Element(name, rows, [], []))
            case ["property", "list", *_] if elements:
                last = elements[-1]
                elements[-1] = _Element(
                    last.name, last.num_rows, last.columns, last.lines, has_lists=True
                )
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1].columns.append((name.lower(), _TYPES[kind]))
                elements[-1].lines.append(number)
            case _:
                raise UserError(
                    f"{path}: line {number + 1} of the PLY header is not known: {line!r}; "
                    "write the file again"
                )
    if order is None:
        raise UserError(f"{path}: the PLY header has no format; expected ascii or binary")
    for element in elements:
        columns = [name.removeprefix(_PREFIX) for name, _ in element.columns]
        if len(set(columns)) != len(columns):
            raise UserError(f"{path}: element {element.name} has two properties of one name")
    return order, elements, lines, line_end + 1


def _ascii(
    path: Path, body: bytes, before: tuple[_Element, ...], vertex: _Element, order: str
) -> list[NDArray[np.float64]]:
    width = len(vertex.columns)
    start = sum(element.num_rows * len(element.columns) for element in before)
    # No more words than bytes: the bound keeps an absurd count in the header harmless.
    words = body.split(maxsplit=min(start + vertex.num_rows * width, len(body)))
    words = words[start : start + vertex.num_rows * width]
    _require(path, len(words), vertex.num_rows * width, "numbers")
    try:
        table = decimal_numbers(words).reshape(vertex.num_rows, width)
    except ValueError as error:
        raise UserError(f"{path}: the vertices hold what is no number ({error})") from error
    return list(table.T)


def _binary(
    path: Path, body: bytes, before: tuple[_Element, ...], vertex: _Element, order: str
) -> list[NDArray[np.float64]]:
    start = sum(element.num_rows * element.row(order).itemsize for element in before)
    needed = vertex.num_rows * vertex.row(order).itemsize
    _require(path, len(body) - start, needed, "bytes")
    table = np.frombuffer(body[start : start + needed], dtype=vertex.row(order))
    with np.errstate(invalid="ignore"):  # a NaN that signals is one like others
        return [table[name].astype(np.float64) for name, _ in vertex.columns]


def _require(path: Path, found: int, needed: int, what: str) -> None:
    if found < needed:
        raise UserError(
            f"{path}: cut short, the vertices need {needed} {what} and {max(found, 0)} are there; "
            "copy the file again"
        )
