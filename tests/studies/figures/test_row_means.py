"""The audit finds the rows whose printed mean is not that of their classes, and no others."""

from dataclasses import replace

import pytest

from benchmarks.studies.figures.paper_numbers import OURS, TABLE_1, TABLE_2, WITHOUT_KD, table_7
from benchmarks.studies.figures.row_means import audit, row_means


def mean_of(table, method):
    return next(found for found in row_means(table) if found.row.method == method)


@pytest.mark.parametrize(
    ("table", "method", "mean", "is_off"),
    [
        (TABLE_1, WITHOUT_KD, 76.08, False),
        (TABLE_1, OURS, 77.67, True),
        (TABLE_2, WITHOUT_KD, 72.03, True),
        (TABLE_2, OURS, 73.10, False),
    ],
)
def test_the_students_rows(table, method, mean, is_off):
    found = mean_of(table, method)
    assert found.mean == pytest.approx(mean, abs=0.005)
    assert found.is_off is is_off


def test_rows_have_as_many_cells_as_the_table_has_classes():
    for table, short in ((TABLE_1, []), (TABLE_2, ["KPRNet"])):
        rows = [row for row in table.rows if row.by_class]
        assert [r.method for r in rows if len(r.by_class) != len(table.classes)] == short
    assert (len(TABLE_1.classes), len(TABLE_1.rows)) == (16, 18)
    assert (len(TABLE_2.classes), len(TABLE_2.rows)) == (19, 17)
    assert mean_of(TABLE_2, "KPRNet").missing == 1


def test_what_rounding_explains_is_not_off():
    row = TABLE_1.row("RPVNet")
    mean = sum(row.by_class) / 16
    for error, is_off in ((0.09, False), (-0.09, False), (0.11, True), (-0.11, True)):
        changed = replace(TABLE_1, rows=(replace(row, mean=mean + error),))
        assert row_means(changed)[0].is_off is is_off


def test_the_audit_says_the_gains_and_the_copied_column():
    text = "\n".join(audit())
    assert "a gain of +1.6, where the printed means say +2.1" in text
    assert "a gain of +1.1, where the printed means say +1.6" in text
    assert "motorcycle and truck have the same value in both rows of the student" in text
    assert text.count("have the same value") == 1
    assert "| Table 2 | KPRNet (1 class missing) | 63.1 | 61.21 | +1.89 |" in text


def test_table_7_has_all_weights_and_its_best_at_the_papers_choice():
    scores = table_7()
    assert len(scores) == 27
    assert max(scores, key=scores.__getitem__) == (8.0, 1.0, 1.0)
    assert scores[0.5, 2.0, 0.5] == 76.9
    assert scores[4.0, 1.0, 2.0] == 77.7
