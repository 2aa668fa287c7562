"""One row group of a v2 table, read row by row: small columns at once, images one row at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from train.core.errors import UserError
from train.data.waymo import schema
from train.data.waymo.transform import FrameError


class RowGroup:
    """The rows of one row group.

    pyarrow decodes a row group from its start, so that images come as a stream: the next row costs
    one row, an earlier one costs all rows before it. Reading a whole row group at once would be no
    faster and hold all of its images: a real one has 50 frames, which are 2.6 GB.

    Parameters
    ----------
    path
        The parquet file, for messages.
    file
        pyarrow's `ParquetFile`.
    table
        Which table it is.
    number
        Of the row group.
    """

    def __init__(self, path: Path, file: Any, table: schema.Table, number: int) -> None:
        self._path, self._file, self._number = path, file, number
        self._images = [
            name
            for name, column in table.columns.items()
            if column.kind == "binary" or _shape_of(name) in table.columns
        ]
        small = [name for name in table.columns if name not in self._images]
        read = file.read_row_group(number, columns=small, use_threads=False)
        self._small = {name: read.column(name) for name in small}
        self._next = 0
        self._stream: Iterator[Any] | None = None
        self._damage: tuple[int, Exception] | None = None

    def row(self, number: int) -> dict[str, Any]:
        """Return one row's cells; see `Rows.row`."""
        cells = {name: _plain(column[number]) for name, column in self._small.items()}
        if not self._images:
            return cells
        batch = self._batch(number)
        return cells | {name: _plain(batch.column(name)[0]) for name in self._images}

    def _batch(self, number: int) -> Any:
        """Return pyarrow's batch with the images of one row."""
        # No row behind damage can be decoded: do not go through those before it for each of them.
        if self._damage is not None and number >= self._damage[0]:
            raise self._damage[1].with_traceback(None)
        if self._stream is None or number < self._next:
            self._next = 0
            self._stream = self._file.iter_batches(
                batch_size=1, row_groups=[self._number], columns=self._images, use_threads=False
            )
        while True:
            try:
                batch = next(self._stream, None)
                if batch is None or batch.num_rows != 1:
                    raise UserError(f"{self._path}: row {self._next} is missing; copy it again")
            except Exception as error:
                self._stream, self._damage = None, (self._next, error)
                raise
            self._next += 1
            if self._next > number:
                return batch


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
