"""The Markdown page and the picture of a finished run say what the run recorded."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from train.report.command import main
from train.report.markdown import draw
from train.report.records import ENDS, fit_to_publish, mean_of


def test_the_page_holds_the_recorded_numbers(run, tmp_path):
    page = tmp_path / "docs" / "sweep"
    assert main(["--run", str(run), "--output", str(page)]) == 0
    text = (tmp_path / "docs" / "sweep.md").read_text()
    assert "| teacher | 1,234,567 | 50.0 | - | 75.0 | 1 | 124,668 | 91,767 | 3.0 |" in text
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
    values = [float(i) for i in range(40)]
    assert mean_of(values[:ENDS]) == 4.5
    assert mean_of(values[-ENDS:]) == 34.5


@pytest.mark.parametrize("name", ["page", "page.md"])
def test_a_page_has_one_ending(run, tmp_path, name):
    assert main(["--run", str(run), "--output", str(tmp_path / name)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"run", "page.md", "page.png"}
    assert "![loss terms](page.png)" in (tmp_path / "page.md").read_text()


def test_scores_of_the_benchmark_and_of_several_passes_are_on_the_page(run, tmp_path, capsys):
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["student"] |= {
        "benchmark_miou": 0.625,
        "tta": {
            **metrics["student"],
            "augmentation": "rotations",
            "passes": 4,
            "miou": 0.4375,
            "benchmark_miou": 0.4,
        },
    }
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert main(["--run", str(run), "--output", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| student | 76,543 | 50.0 | 62.5 | 75.0 | 1 |" in text
    assert "| student, rotations, mean of 4 passes | | 43.8 | 40.0 | 75.0 | 1 |" in text
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "mIoU on 1 validation sweeps: teacher 50.0, student 50.0",
        "mIoU as the benchmark takes it: teacher -, student 62.5",
        "mIoU, test-time augmentation rotations: student 43.8",
        f"report: {tmp_path / 'page.md'}",
    ]


def test_a_run_without_training_steps_has_a_page_without_a_picture(run, tmp_path):
    (run / "log.jsonl").write_text("")
    assert main(["--run", str(run), "--output", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "No training steps were logged." in text
    assert "![" not in text
    assert not (tmp_path / "page.png").exists()
    assert main(["--run", str(run)]) == 0


FOREIGN = [
    {"stage": "student", "step": 7, "note": "from elsewhere"},
    {"stage": "student", "step": 8, "segmentation": "low", "seconds": None},
    {"stage": "student", "step": 9, "segmentation": float("nan"), "gradient_norms": 3},
    {"stage": "student", "step": 10, "other": 1.5, "gradient_norms": {"other": None}},
    {"stage": "elsewhere", "step": 1, "validation_miou": "good", "loss": 2.0},
]


@pytest.mark.parametrize("name", ["page.md", "page.html"])
def test_lines_of_other_programs_in_the_log_do_no_harm(run, tmp_path, name):
    with (run / "log.jsonl").open("a") as log:
        log.write("".join(json.dumps(line) + "\n" for line in FOREIGN))
    assert main(["--run", str(run), "--output", str(tmp_path / name)]) == 0
    text = (tmp_path / name).read_text()
    if name == "page.md":
        assert "| student | segmentation | 1.7750 | 0.7750 |" in text
        assert "| student | other | 1.5000 | 1.5000 |" in text


@pytest.mark.parametrize(
    ("given", "published"),
    [
        (
            "--submit --submit-account a.b@c.org --seed 3",
            "--submit --submit-account NAME@HOST --seed 3",
        ),
        ("--submit-account=a.b@c.org", "--submit-account=NAME@HOST"),
        ("--submit_account secret", "--submit_account NAME@HOST"),
        ("--note a.b@c.org", "--note NAME@HOST"),
        ("--data-root data/kitti", "--data-root DIR"),
        ("--data.cache-dir=x --resume", "--data.cache-dir=DIR --resume"),
        ("--initial-teacher /home/me/teacher.pt", "--initial-teacher DIR/teacher.pt"),
        ("--teacher ptv3:tiny-teacher", "--teacher ptv3:tiny-teacher"),
        ("--data.clip-range-m -50 -50 -5 50 50 3", "--data.clip-range-m -50 -50 -5 50 50 3"),
    ],
)
def test_a_published_command_has_no_folders_and_no_address(given, published):
    command = "python -m train.run --dataset waymo "
    assert fit_to_publish(command + given) == command + published


def test_no_page_holds_the_account(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    config["command"] += " --submit --submit-account me@example.org"
    config["config"]["submit_account"] = "me@example.org"
    (run / "config.json").write_text(json.dumps(config))
    for name in ("page.md", "page.html"):
        assert main(["--run", str(run), "--output", str(tmp_path / name)]) == 0
        text = (tmp_path / name).read_text()
        assert "example.org" not in text
        assert "--submit-account NAME@HOST" in text


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="steps holds no loss term"):
        draw([], tmp_path / "x.png")


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
    assert "1 damaged line left out (line 1)" in capsys.readouterr().err
    assert "| teacher | 60 | 30 |" in (tmp_path / "page.md").read_text()
