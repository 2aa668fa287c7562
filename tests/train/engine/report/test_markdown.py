"""The Markdown page and the picture of a finished run say what the run recorded."""

import errno
import os
import sys
from pathlib import Path

import pytest

from train.engine.report.command import main
from train.engine.report.records import ENDS, mean_of


def test_the_page_holds_the_recorded_numbers(run, tmp_path):
    page = tmp_path / "docs" / "sweep"
    assert main(["--run", str(run), "--output", str(page)]) == 0
    text = (tmp_path / "docs" / "sweep.md").read_text()
    assert "| teacher | 1,234,567 | 50.0 | 75.0 | 1 | 124,668 | 91,767 | 3.0 |" in text
    assert "| untrained student | | 1.6 |" in text
    assert "| road | 75.0 | 75.0 |" in text
    assert "| bus |" not in text
    # The first ten of 2.00, 1.95, ... have the mean 1.775, the last ten 0.775.
    assert "| student | segmentation | 1.7750 | 0.7750 |" in text
    assert "| teacher | 60 | 30 |" in text
    assert "\npython -m train.run --data-root DIR --output=DIR\n" in text
    assert "![loss terms](sweep.png)" in text
    assert (tmp_path / "docs" / "sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_the_ends_are_means_of_the_first_and_last_steps():
    steps = [{"x": float(i)} for i in range(40)]
    assert mean_of(steps[:ENDS], "x") == 4.5
    assert mean_of(steps[-ENDS:], "x") == 34.5


@pytest.mark.parametrize("name", ["metrics.json", "config.json", "log.jsonl"])
def test_an_unfinished_run_is_refused(run, tmp_path, name, capsys):
    (run / name).unlink()
    assert main(["--run", str(run), "--output", str(tmp_path / "page")]) == 2
    assert f"no {name}; give the --output of a finished run" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_a_damaged_record_is_refused(run, tmp_path, capsys):
    (run / "metrics.json").write_text("{")
    assert main(["--run", str(run), "--output", str(tmp_path / "page")]) == 2
    assert "a damaged file" in capsys.readouterr().err


def fill_the_disk(monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def one_line(capsys):
    """Return the one line of a command that was refused."""
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    return said[0]


def test_a_full_disk_is_one_line_and_leaves_nothing(run, tmp_path, capsys, monkeypatch):
    fill_the_disk(monkeypatch)
    (tmp_path / "docs").mkdir()
    assert main(["--run", str(run), "--output", str(tmp_path / "docs" / "page")]) == 2
    assert "page.png: cannot be written (No space left on device)" in one_line(capsys)
    assert list((tmp_path / "docs").iterdir()) == []


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("{run}/config.json/page", "config.json: is a file; give a folder"),
        ("{run}/config.json/below/page", "cannot be made (Not a directory)"),
        ("/sys/page", "--output /sys: cannot be written to ("),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(output, message, run, capsys):
    if "/sys" in output and not sys.platform.startswith("linux"):
        pytest.skip("needs a folder that root cannot write to either: Linux's /sys")
    before = sorted(run.iterdir())
    assert main(["--run", str(run), "--output", output.format(run=run)]) == 2
    assert message in one_line(capsys)
    assert sorted(run.iterdir()) == before


def test_a_run_that_cannot_be_read_is_one_line(run, tmp_path, capsys, monkeypatch):
    read = Path.read_text

    def refuse(path, **options):
        if path.name == "config.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert main(["--run", str(run), "--output", str(tmp_path / "page")]) == 2
    assert "config.json cannot be read (Permission denied)" in one_line(capsys)


def test_damaged_lines_of_the_log_are_left_out_and_counted(run, tmp_path, capsys):
    log = run / "log.jsonl"
    log.write_text("cut short\n" + log.read_text())
    assert main(["--run", str(run), "--output", str(tmp_path / "page")]) == 0
    assert "1 damaged line left out (line 1)" in one_line(capsys)
    assert "| teacher | 60 | 30 |" in (tmp_path / "page.md").read_text()
