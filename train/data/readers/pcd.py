"""Read the points of a PCD file, ascii, binary or compressed, and write them again with labels.

The format of the Point Cloud Library, version 0.7. An organized cloud has a row for every ray;
rays without a return have coordinates that are no numbers. Our own, as packages that read the
format neither say in one line what is wrong with a file nor write one back with all else as it is.

Compressed files use LZF, the format of Marc Lehmann's LibLZF: a control byte below 32 announces
that many literal bytes and one more; any other is a copy of earlier output, its length in the upper
3 bits (7: one more byte follows) plus 2, its distance back in the lower 5 bits and a further byte,
plus 1.

Shape letters: N rows.
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

_LITERALS: Final = 32


def decompress(data: bytes, size: int) -> bytes:
    """Return the bytes that were compressed.

    Parameters
    ----------
    data
        The compressed bytes.
    size
        How many there were.

    Raises
    ------
    ValueError
        If the data is cut short, reaches back before its start, or gives another number of bytes.
    """
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < _LITERALS:
            out += data[at : at + control + 1]
            at += control + 1
            if at > end:
                raise ValueError("the compressed data is cut short")
        else:
            length = control >> 5
            if length == 7:
                length += data[at] if at < end else 0
                at += 1
            if at >= end:
                raise ValueError("the compressed data is cut short")
            start = len(out) - ((control & 31) << 8) - data[at] - 1
            at += 1
            length += 2
            if start < 0:
                raise ValueError("the compressed data reaches back before its start")
            piece = out[start : start + length]
            # A copy that overlaps itself repeats what it has.
            out += (piece * (-(-length // len(piece))))[:length]
        if len(out) > size:
            break
    if len(out) != size:
        more = "at least " if len(out) > size else ""
        raise ValueError(f"the compressed data gives {more}{len(out)} bytes instead of {size}")
    return bytes(out)


def store(data: bytes) -> bytes:
    """Return LZF data that gives some bytes: literals alone, 33 bytes for every 32.

    Coordinates of LiDAR points hardly repeat, and a search for repeats in Python would take longer
    than a network on the same points.
    """
    whole = len(data) - len(data) % _LITERALS
    runs = np.frombuffer(data[:whole], dtype=np.uint8).reshape(-1, _LITERALS)
    stored = np.insert(runs, 0, _LITERALS - 1, axis=1).tobytes()
    rest = data[whole:]
    return stored + (bytes([len(rest) - 1]) + rest if rest else b"")


_TYPES: Final = {
    **{("I", size): f"<i{size}" for size in (1, 2, 4, 8)},
    **{("U", size): f"<u{size}" for size in (1, 2, 4, 8)},
    **{("F", size): f"<f{size}" for size in (4, 8)},
}
_FORMS: Final = ("ascii", "binary", "binary_compressed")
_LABEL: Final = "label"
_MAX_HEADER_BYTES: Final = 1 << 16
_MOST_COUNT: Final = 1 << 16


@dataclass(frozen=True)
class _Field:
    """A column: its name, numpy type, and how many numbers of it a row has."""

    name: str
    type: str
    count: int

    @property
    def num_bytes(self) -> int:
        """In a row."""
        return int(np.dtype(self.type).itemsize) * self.count


@dataclass(frozen=True)
class PcdFile(CloudFile):
    """The points, and what is needed to write the file again.

    Attributes
    ----------
    header
        Its lines up to DATA, without their ends.
    form
        What DATA says.
    fields
        In the order of the file.
    num_rows
        N.
    body
        What follows the header, not compressed; of a compressed file one field after the other.
    """

    header: tuple[str, ...]
    form: str
    fields: tuple[_Field, ...]
    num_rows: int
    body: bytes

    kind: ClassVar[str] = "PCD points"

    def labeled(self, labels: NDArray[np.int64]) -> bytes:
        """Return the file with a field `label`; one that is there is replaced."""
        kind = label_type(labels)
        names = [each.name for each in self.fields]
        at = names.index(_LABEL) if _LABEL in names else len(names)
        entry = {"FIELDS": _LABEL, "SIZE": "4", "TYPE": kind[0].upper(), "COUNT": "1"}
        lines = []
        for line in self.header:
            words = line.split()
            if words and words[0] in entry:
                words[at + 1 : at + 2] = [entry[words[0]]]
                lines.append(" ".join(words))
            else:
                lines.append(line)
        column = labels.astype(f"<{kind}").tobytes()
        if self.form == "ascii":
            body = self._text(labels, at)
        elif self.form == "binary":
            body = self._rows(column, at)
        else:
            body = _packed(self._one_after_another(column, at))
        return "\n".join([*lines, ""]).encode("latin-1") + body

    def _rows(self, column: bytes, at: int) -> bytes:
        """Put a column into rows of binary data."""
        sizes = [each.num_bytes for each in self.fields]
        size = sum(sizes)
        table = np.frombuffer(self.body[: self.num_rows * size], dtype=np.uint8)
        rows = table.reshape(self.num_rows, size)
        made = np.frombuffer(column, dtype=np.uint8).reshape(self.num_rows, 4)
        return np.concatenate(
            [rows[:, : sum(sizes[:at])], made, rows[:, sum(sizes[: at + 1]) :]], axis=1
        ).tobytes()

    def _one_after_another(self, column: bytes, at: int) -> bytes:
        """Put a column between the columns of a compressed file."""
        ends = np.cumsum([0, *(self.num_rows * each.num_bytes for each in self.fields)])
        after = int(ends[min(at + 1, len(self.fields))])
        return self.body[: int(ends[at])] + column + self.body[after:]

    def _text(self, labels: NDArray[np.int64], at: int) -> bytes:
        first = sum(each.count for each in self.fields[:at])
        replaced = self.fields[at].count if at < len(self.fields) else 0
        lines = []
        for line, label in zip(_text_rows(self.body), labels.tolist(), strict=True):
            words = line.split()
            words[first : first + replaced] = [b"%d" % label]
            lines.append(b" ".join(words))
        return b"\n".join([*lines, b""])


def read_pcd(path: Path) -> PcdFile:
    """Read a PCD file.

    Parameters
    ----------
    path
        DATA ascii, binary or binary_compressed; fields of one number each become columns, others
        (histograms, padding) are kept for writing.

    Raises
    ------
    UserError
        If the file cannot be read, its header is malformed, or its data is cut short, damaged or no
        number.
    """
    data = read_bytes(path)
    header, entries, start = _read_header(path, data)
    fields = _fields(path, entries)
    num_rows = _num_rows(path, entries)
    form = (entries["DATA"] or [""])[0]
    if form not in _FORMS:
        raise UserError(f"{path}: the PCD header says DATA {form}; known: {', '.join(_FORMS)}")
    body = data[start:]
    if form == "ascii":
        columns = _ascii(path, body, fields, num_rows)
    else:
        needed = num_rows * sum(each.num_bytes for each in fields)
        if form == "binary_compressed":
            body = _unpacked(path, body, needed)
        elif len(body) < needed:
            raise UserError(
                f"{path}: cut short, {num_rows} points need {needed} bytes and {len(body)} are "
                "there; copy the file again"
            )
        columns = _binary(body, fields, num_rows, by_field=form == "binary_compressed")
    named = {
        each.name.lower(): values
        for each, values in zip(fields, columns, strict=True)
        if each.count == 1 and each.name != "_"
    }
    return PcdFile(path, named, header, form, fields, num_rows, body)


def _read_header(path: Path, data: bytes) -> tuple[tuple[str, ...], dict[str, list[str]], int]:
    """Return the lines of the header, the words behind each of its names, and where it ends."""
    lines: list[str] = []
    entries: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in entries:
        end = data.find(b"\n", at, _MAX_HEADER_BYTES)
        if end < 0:
            raise UserError(f"{path}: no PCD file (its header must have FIELDS, SIZE, ... DATA)")
        line = data[at:end].decode("latin-1").rstrip("\r")
        at = end + 1
        lines.append(line)
        words = line.split()
        if words and not words[0].startswith("#"):
            entries[words[0]] = words[1:]
    missing = [
        name for name in ("FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT") if name not in entries
    ]
    if missing:
        raise UserError(f"{path}: the PCD header has no {' and no '.join(missing)}")
    return tuple(lines), entries, at


def _fields(path: Path, entries: dict[str, list[str]]) -> tuple[_Field, ...]:
    names = entries["FIELDS"]
    counts = entries.get("COUNT", ["1"] * len(names))
    columns = {"SIZE": entries["SIZE"], "TYPE": entries["TYPE"], "COUNT": counts}
    for word, values in columns.items():
        if len(values) != len(names):
            raise UserError(
                f"{path}: the PCD header has {len(names)} FIELDS and {len(values)} of {word}"
            )
    fields = []
    for name, size, kind, count in zip(names, *columns.values(), strict=True):
        found = _TYPES.get((kind, whole_number(size) or 0))
        number = whole_number(count) or 0
        # More of them than a type of numpy's holds are no point.
        if found is None or not 1 <= number <= _MOST_COUNT:
            raise UserError(
                f"{path}: field {name} of the PCD header has TYPE {kind}, SIZE {size}, COUNT "
                f"{count}, which is not known"
            )
        fields.append(_Field(name, found, number))
    own = [name.lower() for name in names if name != "_"]
    if len(set(own)) != len(own):
        raise UserError(f"{path}: the PCD header has two fields of one name")
    return tuple(fields)


def _num_rows(path: Path, entries: dict[str, list[str]]) -> int:
    sizes = {}
    for name in ("WIDTH", "HEIGHT", "POINTS"):
        words = entries.get(name, [])
        if name == "POINTS" and not words:
            continue
        number = whole_number(words[0]) if len(words) == 1 else None
        if number is None:
            raise UserError(
                f"{path}: the PCD header says {name} {' '.join(words)}, no number; copy the file "
                "again"
            )
        sizes[name] = number
    product = sizes["WIDTH"] * sizes["HEIGHT"]
    if sizes.get("POINTS", product) != product:
        raise UserError(
            f"{path}: the PCD header says POINTS {sizes['POINTS']}, but WIDTH times HEIGHT is "
            f"{product}; copy or write the file again"
        )
    return product


def _text_rows(body: bytes) -> list[bytes]:
    """Return the lines that are not empty."""
    return [line for line in body.split(b"\n") if line.strip()]


def _ascii(
    path: Path, body: bytes, fields: tuple[_Field, ...], num_rows: int
) -> list[NDArray[np.number]]:
    rows = [line.split() for line in _text_rows(body)]
    if len(rows) != num_rows:
        raise UserError(
            f"{path}: the PCD header says {num_rows} points, and {len(rows)} lines are there; "
            "copy the file again"
        )
    width = sum(each.count for each in fields)
    for number, row in enumerate(rows):
        if len(row) != width:
            raise UserError(
                f"{path}: point {number} has {len(row)} numbers instead of {width}; copy the file "
                "again"
            )
    try:
        table = decimal_numbers([word for row in rows for word in row]).reshape(num_rows, width)
    except ValueError as error:
        raise UserError(f"{path}: the points hold what is no number ({error})") from error
    starts = np.cumsum([0, *(each.count for each in fields)])[:-1]
    return [table[:, start] for start in starts.tolist()]


def _binary(
    body: bytes, fields: tuple[_Field, ...], num_rows: int, *, by_field: bool
) -> list[NDArray[np.number]]:
    if by_field:
        columns: list[NDArray[np.number]] = []
        at = 0
        for each in fields:
            column = np.frombuffer(body, each.type, num_rows * each.count, at)
            columns.append(column.reshape(num_rows, each.count)[:, 0])
            at += num_rows * each.num_bytes
        return columns
    row = np.dtype([(f"{at}", each.type, (each.count,)) for at, each in enumerate(fields)])
    table = np.frombuffer(body, dtype=row, count=num_rows)
    return [table[f"{at}"][:, 0] for at in range(len(fields))]


def _unpacked(path: Path, body: bytes, needed: int) -> bytes:
    """Return the data of a compressed file: two sizes, then LZF."""
    if len(body) < 8:
        raise UserError(f"{path}: cut short, the compressed data has no sizes; copy it again")
    packed, whole = np.frombuffer(body, "<u4", 2).tolist()
    if whole != needed:
        raise UserError(
            f"{path}: the compressed data is of {whole} bytes, the header's points need {needed}; "
            "copy the file again"
        )
    if len(body) - 8 < packed:
        raise UserError(
            f"{path}: cut short, {packed} compressed bytes are announced and {len(body) - 8} are "
            "there; copy the file again"
        )
    try:
        return decompress(body[8 : 8 + packed], whole)
    except ValueError as error:
        raise UserError(f"{path}: {error}; copy the file again") from error


def _packed(data: bytes) -> bytes:
    stored = store(data)
    return np.array([len(stored), len(data)], dtype="<u4").tobytes() + stored
