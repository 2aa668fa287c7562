"""Where the pages of a parquet column are, by walking their heads (Thrift, compact form)."""

from pathlib import Path
from typing import Any, Final, NamedTuple

from train.data.waymo.protobuf import WireError, varint_at

DATA_PAGE: Final = 0
DICTIONARY_PAGE: Final = 2
DATA_PAGE_2: Final = 3

PLAIN: Final = 0
PLAIN_DICTIONARY: Final = 2
RLE_DICTIONARY: Final = 8
_RLE: Final = 3

MAX_PAGE: Final = 1 << 24
"""A page has a megabyte as a rule; one that claims more bytes or numbers is left to pyarrow."""

_HEAD_BYTES: Final = 1024
_MAX_DEPTH: Final = 8


class Unsupported(Exception):
    """The column is laid out in a way that is left to pyarrow."""


class Page(NamedTuple):
    """Where a page's data are, and what they are.

    Attributes
    ----------
    start
        The first byte after the head.
    packed, unpacked
        Bytes in the file, and when decompressed.
    crc
        CRC-32 of the bytes in the file; None if not given.
    kind
        `DATA_PAGE`, `DICTIONARY_PAGE` or `DATA_PAGE_2`.
    values
        Levels of a data page, numbers of a dictionary.
    encoding
        Of the numbers.
    def_bytes, rep_bytes
        How long the levels are, where the head says so (`DATA_PAGE_2`).
    is_packed
        Whether the numbers are compressed at all.
    """

    start: int
    packed: int
    unpacked: int
    crc: int | None
    kind: int
    values: int
    encoding: int
    def_bytes: int
    rep_bytes: int
    is_packed: bool


def walk_pages(path: Path, start: int, end: int) -> list[Page]:
    """Return the pages of a column, which lies between two bytes of a file.

    Raises
    ------
    Unsupported
        If a head is not one of the known kinds, or the pages do not fill the column.
    """
    pages = []
    with path.open("rb", buffering=0) as file:
        at = start
        while at < end:
            file.seek(at)
            head = memoryview(file.read(min(_HEAD_BYTES, end - at)))
            try:
                fields, size = _struct(head, 0, 0)
            except WireError as error:
                raise Unsupported from error
            page = _page(fields, at + size)
            at = page.start + page.packed
            if at > end:
                raise Unsupported
            pages.append(page)
    return pages


def _page(fields: dict[int, Any], start: int) -> Page:
    """Return what a page's head says."""
    kind, unpacked, packed = (_size(fields, number) for number in (1, 2, 3))
    inner = fields.get({DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_2: 8}.get(kind, -1))
    if not isinstance(inner, dict):
        raise Unsupported
    encoding, def_bytes, rep_bytes, is_packed = _size(inner, 2), 0, 0, True
    if kind == DATA_PAGE and (inner.get(3), inner.get(4)) != (_RLE, _RLE):
        raise Unsupported
    if kind == DATA_PAGE_2:
        encoding, def_bytes, rep_bytes = (_size(inner, number) for number in (4, 5, 6))
        is_packed = bool(inner.get(7, True))
    return Page(
        start,
        packed,
        unpacked,
        fields.get(4),
        kind,
        _size(inner, 1),
        encoding,
        def_bytes,
        rep_bytes,
        is_packed,
    )


def _size(fields: dict[int, Any], number: int) -> int:
    """Return a count of bytes or numbers, or a code, from a head."""
    value = fields.get(number)
    if not isinstance(value, int) or not 0 <= value <= MAX_PAGE:
        raise Unsupported
    return value


def _struct(data: memoryview, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct in Thrift's compact form, and where it ends."""
    if depth > _MAX_DEPTH:
        raise WireError("structs lie too deep")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        if at >= len(data):
            raise WireError("a head runs past the end")
        head, at = data[at], at + 1
        if head == 0:
            return fields, at
        delta, kind = head >> 4, head & 15
        if delta:
            number += delta
        else:
            zigzag, at = varint_at(data, at)
            number = zigzag >> 1 ^ -(zigzag & 1)
        if kind in (1, 2):
            fields[number] = kind == 1
        elif kind in (4, 5, 6):
            zigzag, at = varint_at(data, at)
            fields[number] = zigzag >> 1 ^ -(zigzag & 1)
        elif kind == 8:
            size, at = varint_at(data, at)
            at += size
        elif kind == 12:
            fields[number], at = _struct(data, at, depth + 1)
        else:
            raise WireError(f"type {kind} is none that a page's head has")
