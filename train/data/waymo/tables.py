"""One parquet table of v2: checked when it is opened, then read row by row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.waymo import schema
from train.data.waymo.frame import FrameError


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


_MAX_ROWS: Final = 1 << 20
"""A real segment's largest table has a thousand rows."""

_MAX_CALIBRATIONS: Final = 64
"""There are five lidars and five cameras; a longer table is damaged, and not read to its end."""

_Float = TypeVar("_Float", np.float32, np.float64)
_Name = TypeVar("_Name")
_Calibration = TypeVar("_Calibration")


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises about a bad file into an error of ours."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as parquet ({_one_line(error)}); copy the file again"
        ) from error


class Rows:
    """One table of one segment, its rows read one at a time.

    Rows in ascending order are decoded once each. A row before the last one that was read costs
    all rows of its row group up to it, which are up to 50 frames in the dataset's own files.

    Parameters
    ----------
    path
        The file.
    table
        What must be in it.

    Raises
    ------
    UserError
        If the file is empty or no parquet, or lacks a column or has one of another kind.
    """

    def __init__(self, path: Path, table: schema.Table) -> None:
        import pyarrow.parquet as pq

        self.path, self.table = path, table
        with reading_parquet(path):
            if path.stat().st_size == 0:
                raise UserError(f"{path}: the file is empty (0 bytes); copy it again")
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            metadata = self._file.metadata
            types = {field.name: field.type for field in self._file.schema_arrow}
            counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        for name in table.columns:
            if name not in types:
                raise UserError(
                    f"{path}: has no column {name}; it has {_listed(list(types))}; give the "
                    f"dataset's own {table.tag} table"
                )
            _check_type(path, name, types[name], table)
        if min(counts, default=0) < 0 or sum(counts) > _MAX_ROWS:
            raise UserError(f"{path}: says that it has {sum(counts)} rows; copy the file again")
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._group: tuple[int, RowGroup] | None = None

    def __len__(self) -> int:
        """Return how many rows there are."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def columns(self, names: Sequence[str]) -> Any:
        """Return whole columns, as an arrow table; for small ones."""
        with reading_parquet(self.path):
            return self._file.read(columns=list(names), use_threads=False)

    def row(self, number: int) -> dict[str, Any]:
        """Return one row's cells by column: a number, text, an array for a list, None for nothing.

        Raises
        ------
        UserError
            If there is no such row or it cannot be decoded.
        FrameError
            If a list has missing numbers.
        """
        if not 0 <= number < len(self):
            raise UserError(f"{self.path}: has changed since it was opened; start again")
        group = int(np.searchsorted(self._ends, number, side="right"))
        start = int(self._ends[group - 1]) if group else 0
        with reading_parquet(self.path):
            if self._group is None or self._group[0] != group:
                self._group = None
                self._group = (group, RowGroup(self.path, self._file, self.table, group))
            return self._group[1].row(number - start)

    def calibrations(
        self, read: Callable[[dict[str, Any]], tuple[_Name, _Calibration] | None]
    ) -> dict[_Name, _Calibration]:
        """Return what `read` makes of the rows of a table of calibrations, None being left out.

        Raises
        ------
        UserError
            As `row`, also where that or `read` raises a `FrameError`.
        """
        try:
            rows = map(self.row, range(min(len(self), _MAX_CALIBRATIONS)))
            return dict(found for cells in rows if (found := read(cells)) is not None)
        except FrameError as error:
            raise UserError(f"{self.path}: {error}; copy it again") from error


def numbers_of(cell: NDArray[Any] | None, dtype: type[_Float]) -> NDArray[_Float]:
    """Return the numbers of a cell that holds a list; none for a missing list."""
    if cell is None:
        return np.zeros(0, dtype=dtype)
    # A number that float32 cannot hold becomes infinite, and is refused where it is used.
    with np.errstate(over="ignore"):
        return cell.astype(dtype, copy=False)


def number_of(cell: float | None) -> float:
    """Return the number of a cell; NaN for a missing one."""
    return float("nan") if cell is None else float(cell)


def _check_type(path: Path, name: str, found: Any, table: schema.Table) -> None:
    """Refuse a column that holds another kind of thing; sizes of numbers may differ."""
    import pyarrow.types as kinds

    wanted = table.columns[name]
    inner = found
    is_list = any(
        check(found) for check in (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    )
    if is_list:
        inner = found.value_type
    fits = {
        "string": kinds.is_string(inner) or kinds.is_large_string(inner),
        "int": kinds.is_integer(inner),
        "float": kinds.is_floating(inner),
        "binary": kinds.is_binary(inner) or kinds.is_large_binary(inner),
    }
    if is_list != wanted.is_list or not fits[wanted.kind]:
        words = f"lists of {wanted.kind}" if wanted.is_list else wanted.kind
        raise UserError(
            f"{path}: column {name} holds {_one_line(found)}, expected {words}; give the "
            f"dataset's own {table.tag} table"
        )


def _one_line(message: object) -> str:
    """Return what pyarrow says on one line; of a damaged file it may quote anything."""
    line = " ".join(str(message).split())[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _listed(names: list[str]) -> str:
    """Return names on one line, cut if there are many."""
    shown = ", ".join(ascii(name)[1:-1] for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"
