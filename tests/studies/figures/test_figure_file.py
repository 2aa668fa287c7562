"""A picture says which numbers it was drawn from, and whether it was changed since."""

import json

import pytest
from matplotlib.figure import Figure

from benchmarks.studies.figures.figure_file import (
    Drawn,
    disagreement,
    read_numbers,
    rounded,
    write_figure,
)
from tests.pages import repaint
from train.core.errors import UserError


def drawn(value=1.0, title="a"):
    picture = Figure(figsize=(2, 2))
    picture.subplots().set_title(title)
    return Drawn({"value": value}, picture)


def test_what_is_written_is_read_and_agrees(tmp_path):
    write_figure(tmp_path, "figure9", drawn())
    assert read_numbers(tmp_path, "figure9") == {"format": 1, "figure": "figure9", "value": 1.0}
    assert disagreement(tmp_path, "figure9") is None
    assert read_numbers(tmp_path, "figure4") is None
    assert disagreement(tmp_path, "figure4") is None


def test_the_same_figure_keeps_its_bytes_and_another_does_not(tmp_path):
    _, picture = write_figure(tmp_path, "figure9", drawn())
    before, time = picture.read_bytes(), picture.stat().st_mtime_ns
    write_figure(tmp_path, "figure9", drawn())
    assert (picture.read_bytes(), picture.stat().st_mtime_ns) == (before, time)
    write_figure(tmp_path, "figure9", drawn(title="b"))
    assert picture.read_bytes() != before
    assert disagreement(tmp_path, "figure9") is None


def test_changed_numbers_are_seen(tmp_path):
    numbers, _ = write_figure(tmp_path, "figure9", drawn())
    numbers.write_text(numbers.read_text().replace("1.0", "2.0"))
    assert disagreement(tmp_path, "figure9") == "figure9.png was drawn from other numbers"


def test_changed_pixels_are_seen(tmp_path):
    _, picture = write_figure(tmp_path, "figure9", drawn())
    repaint(picture)
    assert disagreement(tmp_path, "figure9") == "figure9.png was changed after it was drawn"


def test_half_a_figure_is_seen(tmp_path):
    numbers, picture = write_figure(tmp_path, "figure9", drawn())
    picture.write_text("no picture")
    assert disagreement(tmp_path, "figure9") == "figure9.png was drawn from other numbers"
    picture.unlink()
    assert disagreement(tmp_path, "figure9") == "figure9.png is missing"
    write_figure(tmp_path, "figure9", drawn())
    numbers.unlink()
    assert disagreement(tmp_path, "figure9") == "figure9.png has no figure9.json beside it"


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"format": 2, "figure": "figure9"}', '{"format": 1, "figure": "figure4"}'],
)
def test_what_is_no_record_of_the_figure_is_refused(tmp_path, content):
    (tmp_path / "figure9.json").write_text(content)
    with pytest.raises(UserError, match=r"figure9.json.*studies figures --only figure9"):
        read_numbers(tmp_path, "figure9")


def test_infinite_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_figure(tmp_path, "figure9", drawn(float("inf")))
    assert not list(tmp_path.iterdir())


def test_numbers_are_rounded_to_significant_digits():
    assert rounded(0.000123456789, 3) == 0.000123
    assert json.dumps(rounded(1234567.0, 3)) == "1230000.0"
