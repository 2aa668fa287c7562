"""Single lists out of a parquet row group, by decoding only the pages that they lie in.

pyarrow decodes a row group from its start, and in the dataset one holds 50 frames: reading frames
in random order would cost half a second each. Here the heads of the pages are walked once, and a
list's own pages decoded. What is not known here (rare encodings, nulls in odd places) is
`Unsupported`, and pyarrow's.

Shape letters: L levels of a column (one a number, one an empty or missing list).
"""

import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from train.data.waymo.page_heads import (
    DATA_PAGE,
    DICTIONARY_PAGE,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    Page,
    Unsupported,
    walk_pages,
)
from train.data.waymo.run_lengths import unpack_runs

_DTYPES: Final = {"FLOAT": "<f4", "DOUBLE": "<f8", "INT32": "<i4", "INT64": "<i8"}


class _Levels(NamedTuple):
    """What a page says of each of its levels."""

    repeats: NDArray[np.uint8]
    defined: NDArray[np.uint8]
    values: NDArray[Any]


class ListColumn:
    """The lists of one column in one row group.

    Parameters
    ----------
    path
        The parquet file.
    chunk
        pyarrow's `ColumnChunkMetaData` of the column.
    column
        pyarrow's `ColumnSchema` of it.
    lengths
        How many numbers each row's list should have; -1 for a missing list.

    Raises
    ------
    Unsupported
        If the column is laid out otherwise than known here, or the lengths are not those.
    """

    def __init__(self, path: Path, chunk: Any, column: Any, lengths: NDArray[np.int64]) -> None:
        import pyarrow as pa

        self._path = path
        self._lengths = lengths
        # A missing list takes one level too.
        self._starts = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
        self._max_def, self._max_rep = column.max_definition_level, column.max_repetition_level
        known = chunk.physical_type in _DTYPES and column.logical_type.type == "NONE"
        if not known or self._max_rep != 1 or (lengths == 0).any():
            raise Unsupported
        self._dtype = np.dtype(_DTYPES[chunk.physical_type])
        try:
            self._codec = (
                None
                if chunk.compression == "UNCOMPRESSED"
                else pa.Codec(_codec_name(chunk.compression))
            )
        except (ValueError, pa.ArrowException) as error:
            raise Unsupported from error
        start = chunk.data_page_offset
        if chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < start:
            start = chunk.dictionary_page_offset
        pages = walk_pages(path, start, start + chunk.total_compressed_size)
        self._dictionary_pages = [page for page in pages if page.kind == DICTIONARY_PAGE]
        self._pages = [page for page in pages if page.kind != DICTIONARY_PAGE]
        self._page_starts = np.cumsum([0, *(page.values for page in self._pages)])
        if len(self._dictionary_pages) > 1 or self._page_starts[-1] != self._starts[-1]:
            raise Unsupported
        self._dictionary: NDArray[Any] | None = None
        self._last: tuple[int, _Levels] | None = None

    def row(self, number: int) -> NDArray[Any] | None:
        """Return a row's numbers; None for a missing list.

        Raises
        ------
        Unsupported
            If the levels are not those of one whole list, or a page cannot be decoded here.
        """
        start, stop = int(self._starts[number]), int(self._starts[number + 1])
        missing = self._lengths[number] < 0
        parts = []
        at = start
        index = int(np.searchsorted(self._page_starts, start, side="right")) - 1
        while at < stop:
            begin, end = int(self._page_starts[index]), int(self._page_starts[index + 1])
            span = slice(at - begin, min(stop, end) - begin)
            page = self._decoded(index)
            # A list starts at the first level and at no other; all its numbers are there.
            level = 0 if missing else self._max_def
            if not _is_part_of_list(page.repeats[span], page.defined[span], at == start, level):
                raise Unsupported
            # Where the page goes on after the list another one must start.
            if stop < end and page.repeats[span.stop] != 0:
                raise Unsupported
            parts.append(page.values[span])
            at, index = min(stop, end), index + 1
        if missing:
            return None
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _decoded(self, index: int) -> _Levels:
        """Return a page's levels and numbers; neighbors often ask for the same page."""
        if self._last is None or self._last[0] != index:
            self._last = (index, self._decode(self._pages[index]))
        return self._last[1]

    def _decode(self, page: Page) -> _Levels:
        """Return a page's levels, and its numbers with a zero where a level has none."""
        data = self._content(page)
        at = 0
        levels = []
        sizes = (page.rep_bytes, page.def_bytes)
        for size, largest in zip(sizes, (self._max_rep, self._max_def), strict=True):
            if page.kind == DATA_PAGE:
                size, at = int.from_bytes(data[at : at + 4], "little"), at + 4
            if size > len(data) - at:
                raise Unsupported
            width = largest.bit_length()
            levels.append(unpack_runs(data[at : at + size], width, page.values, np.uint8))
            at += size
        repeats, defined = levels
        whole = defined == self._max_def
        count = int(np.count_nonzero(whole))
        numbers = self._numbers(data[at:], page.encoding, count)
        if count != page.values:
            aligned = np.zeros(page.values, dtype=self._dtype)
            aligned[whole] = numbers
            numbers = aligned
        return _Levels(repeats, defined, numbers)

    def _numbers(self, data: memoryview, encoding: int, count: int) -> NDArray[Any]:
        """Return the numbers of a page, plain or looked up in the dictionary."""
        if encoding == PLAIN:
            size = count * self._dtype.itemsize
            if size > len(data):
                raise Unsupported
            return np.frombuffer(data[:size], dtype=self._dtype)
        if encoding not in (PLAIN_DICTIONARY, RLE_DICTIONARY) or not len(data):
            raise Unsupported
        dictionary = self._read_dictionary()
        index = unpack_runs(data[1:], data[0], count, np.int32)
        try:
            return dictionary.take(index)
        except IndexError as error:
            raise Unsupported from error

    def _read_dictionary(self) -> NDArray[Any]:
        """Return the column's dictionary."""
        if self._dictionary is None:
            if len(self._dictionary_pages) != 1:
                raise Unsupported
            (page,) = self._dictionary_pages
            if page.encoding not in (PLAIN, PLAIN_DICTIONARY):
                raise Unsupported
            self._dictionary = self._numbers(self._content(page), PLAIN, page.values)
        return self._dictionary

    def _content(self, page: Page) -> memoryview:
        """Return a page's bytes, unpacked; levels of version 2 lie before what is packed."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(page.start)
            data = memoryview(file.read(page.packed))
        if len(data) != page.packed:
            raise Unsupported
        if page.crc is not None and zlib.crc32(data) != page.crc & 0xFFFFFFFF:
            raise Unsupported
        plain = page.rep_bytes + page.def_bytes
        if plain > min(page.packed, page.unpacked):
            raise Unsupported
        if self._codec is None or not page.is_packed or page.unpacked == plain:
            return data
        unpacked = self._codec.decompress(data[plain:], page.unpacked - plain)
        return memoryview(bytes(data[:plain]) + bytes(unpacked)) if plain else memoryview(unpacked)


def _codec_name(name: str) -> str:
    """Return pyarrow's name of a codec; the two kinds of LZ4 are left to it."""
    if name not in ("SNAPPY", "GZIP", "ZSTD", "BROTLI"):
        raise ValueError(name)
    return name.lower()


@njit(cache=True)
def _is_part_of_list(
    repeats: NDArray[np.uint8], defined: NDArray[np.uint8], at_start: bool, level: int
) -> bool:
    """Return whether some levels are one list's: all of one kind, and a start only where it is."""
    others, starts = 0, 0
    # No early end: so the loop goes through many levels at a time.
    for index in range(len(repeats)):
        others += defined[index] != level
        starts += repeats[index] == 0
    return others == 0 and starts == at_start and (not at_start or repeats[0] == 0)
