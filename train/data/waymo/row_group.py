"""One row group of a v2 table, read row by row: small columns at once, images one at a time.

Shape letters: R rows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.waymo import schema
from train.data.waymo.frame import MAX_PIXELS, FrameError
from train.data.waymo.page_heads import Unsupported
from train.data.waymo.pages import ListColumn


class RowGroup:
    """The rows of one row group.

    Parameters
    ----------
    path
        The parquet file, for messages and pages.
    file
        pyarrow's `ParquetFile`.
    table
        Which table it is.
    number
        Of the row group.
    """

    def __init__(self, path: Path, file: Any, table: schema.Table, number: int) -> None:
        self._path, self._file, self._number = path, file, number
        self._images = [name for name in table.columns if _shape_of(name) in table.columns]
        small = [name for name in table.columns if name not in self._images]
        read = file.read_row_group(number, columns=small, use_threads=False)
        self._small = {name: read.column(name) for name in small}
        self._next = 0
        self._stream: Iterator[Any] = iter(())
        self._paged: dict[str, ListColumn] | None
        try:
            self._paged = {name: self._list_column(name) for name in self._images}
        except Unsupported:
            self._start_stream()

    def row(self, number: int) -> dict[str, Any]:
        """Return one row's cells; see `Rows.row`."""
        cells = {name: _plain(column[number]) for name, column in self._small.items()}
        if self._paged is not None:
            try:
                images = {name: column.row(number) for name, column in self._paged.items()}
            except Unsupported:
                self._start_stream()
            else:
                return cells | images
        return cells | self._streamed(number)

    def _list_column(self, name: str) -> ListColumn:
        """Return the pages of an image's column."""
        metadata = self._file.metadata.row_group(self._number)
        # In the file a list is a group: the numbers are the only column below its name.
        below = [
            index
            for index in range(metadata.num_columns)
            if metadata.column(index).path_in_schema.startswith(f"{name}.")
        ]
        if len(below) != 1:
            raise Unsupported
        chunk, column = metadata.column(below[0]), self._file.schema.column(below[0])
        return ListColumn(self._path, chunk, column, self._lengths(name))

    def _lengths(self, name: str) -> NDArray[np.int64]:
        """Return how many numbers each row's image should have, by its shape; -1 without one."""
        shapes = self._small[_shape_of(name)].to_pylist()
        lengths = np.full(len(shapes), -1, dtype=np.int64)
        for row, shape in enumerate(shapes):
            if shape is None:
                continue
            if not all(size is not None and 0 < size <= MAX_PIXELS for size in shape):
                raise Unsupported
            lengths[row] = min(int(np.prod(np.array(shape, dtype=object))), 1 << 40)
        return lengths

    def _start_stream(self) -> None:
        """Let pyarrow decode the images from the first row on."""
        self._paged = None
        self._next = 0
        self._stream = self._file.iter_batches(
            batch_size=1, row_groups=[self._number], columns=self._images, use_threads=False
        )

    def _streamed(self, number: int) -> dict[str, Any]:
        """Return a row's images from the stream."""
        if not self._images:
            return {}
        if number < self._next:
            self._start_stream()
        while True:
            batch = next(self._stream, None)
            if batch is None or batch.num_rows != 1:
                raise UserError(f"{self._path}: row {self._next} is missing; copy it again")
            self._next += 1
            if self._next > number:
                return {name: _plain(batch.column(name)[0]) for name in self._images}


def _shape_of(name: str) -> str:
    """Return the column with the shapes of a column of images; "" if its name is no such."""
    return name.removesuffix(schema.VALUES) + schema.SHAPE if name.endswith(schema.VALUES) else ""


def _plain(cell: Any) -> Any:
    """Return an arrow scalar as a number, text, or an array for a list; None for a missing one."""
    if not cell.is_valid:
        return None
    if not hasattr(cell, "values"):
        return cell.as_py()
    if cell.values.null_count:
        raise FrameError("a list has missing numbers")
    return cell.values.to_numpy(zero_copy_only=False)
