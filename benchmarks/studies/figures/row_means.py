"""Whether a table's printed mIoU is the mean of the classes printed beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.studies.figures.paper_numbers import (
    OURS,
    TABLE_1,
    TABLE_2,
    WITHOUT_KD,
    PrintedRow,
    PrintedTable,
)
from train.core import blocks

ROUNDING: Final = 0.1
"""Of a mean of cells rounded to 0.1 (at most 0.05), printed with one digit (at most 0.05)."""


@dataclass(frozen=True)
class RowMean:
    """A row whose mean was taken again.

    Attributes
    ----------
    row
        As printed.
    mean
        Of its classes, percent.
    missing
        How many cells the row lacks.
    """

    row: PrintedRow
    mean: float
    missing: int

    @property
    def is_off(self) -> bool:
        """Whether rounding cannot explain the printed mean."""
        return self.missing > 0 or abs(self.row.mean - self.mean) > ROUNDING + 1e-9


def row_means(table: PrintedTable) -> list[RowMean]:
    """Return the mean of every row that has numbers by class, from the top."""
    return [
        RowMean(row, sum(row.by_class) / len(row.by_class), len(table.classes) - len(row.by_class))
        for row in table.rows
        if row.by_class
    ]


def audit(tables: Sequence[PrintedTable] = (TABLE_1, TABLE_2)) -> list[str]:
    """Return the audit as paragraphs and a table of Markdown."""
    parts = []
    rows: list[list[str]] = []
    for table in tables:
        means = row_means(table)
        off = [found for found in means if found.is_off]
        parts.append(
            f"{table.name} ({table.dataset}): of {len(means)} rows with numbers by class, "
            f"{len(means) - len(off)} have the mean that is printed, {len(off)} do not."
        )
        rows += [_row(table, found) for found in off]
    for table in tables:
        parts += _students(table)
    header = ["table", "row", "printed mIoU", "mean of its classes", "printed minus mean"]
    return [
        "The mean of the printed classes of every row, with `benchmarks/studies/figures/"
        f"row_means.py`; rounding can move it by {ROUNDING:g} at most.",
        blocks.bullets(parts),
        "The rows that are off by more:",
        blocks.table(header, rows, "llr"),
    ]


def _row(table: PrintedTable, found: RowMean) -> list[str]:
    note = f" ({found.missing} class missing)" if found.missing else ""
    printed, mean = found.row.mean, found.mean
    method = f"{found.row.method}{note}"
    return [table.name, method, f"{printed:.1f}", f"{mean:.2f}", blocks.signed(printed - mean, 2)]


def _students(table: PrintedTable) -> list[str]:
    """Say what the two rows of the student come to, and which columns are copies."""
    before, after = table.row(WITHOUT_KD), table.row(OURS)
    means = {found.row.method: found.mean for found in row_means(table)}
    printed, found = after.mean - before.mean, means[OURS] - means[WITHOUT_KD]
    said = [
        f"{table.name}: the student's classes average {means[WITHOUT_KD]:.2f} without distillation "
        f"(printed {before.mean:.1f}) and {means[OURS]:.2f} with it (printed {after.mean:.1f}): a "
        f"gain of {found:+.1f}, where the printed means say {printed:+.1f}."
    ]
    number = range(len(table.classes))
    copies = [
        (table.classes[i], table.classes[j], before.by_class[i], after.by_class[i])
        for i in number
        for j in number
        if i < j
        and before.by_class[i] == before.by_class[j]
        and after.by_class[i] == after.by_class[j]
    ]
    said += [
        f"{table.name}: {one} and {other} have the same value in both rows of the student "
        f"({low:.1f} and {high:.1f})."
        for one, other, low, high in copies
    ]
    return said
