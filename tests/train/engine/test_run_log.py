"""What a run writes while it goes."""

import io
import json

import pytest

from train.core import console
from train.core.console import Progress
from train.engine.run_log import RunLog, drop_later_steps


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_is_one_line_and_a_tensorboard_event(tmp_path):
    with RunLog(tmp_path) as run_log:
        run_log.step("teacher", 1, {"segmentation": 2.5, "sweeps": ["00/000000"]})
        run_log.step("student", 1, {"segmentation": 1.5, "diagrams": {"pairs": [3, 4]}})
    assert [(r["stage"], r["step"], r["segmentation"]) for r in lines(tmp_path / "log.jsonl")] == [
        ("teacher", 1, 2.5),
        ("student", 1, 1.5),
    ]
    assert list((tmp_path / "tensorboard" / "teacher").glob("events*"))


def test_a_continued_run_drops_the_steps_that_are_done_again(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog(tmp_path) as run_log:
        for step in (1, 2):
            run_log.step("teacher", step, {})
        for step in (1, 2, 3):
            run_log.step("student", step, {})
    with path.open("a") as cut_short:
        cut_short.write('{"stage": "student", "st')
    drop_later_steps(path, "student", 1)
    assert [(r["stage"], r["step"]) for r in lines(path)] == [
        ("teacher", 1),
        ("teacher", 2),
        ("student", 1),
    ]


def test_nothing_to_drop_is_no_error(tmp_path):
    drop_later_steps(tmp_path / "log.jsonl", "teacher", 0)
    assert not (tmp_path / "log.jsonl").exists()


def test_without_a_terminal_lines_come_now_and_then(monkeypatch):
    clock = iter(range(0, 10_000, 6))  # every step takes six seconds
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    progress = Progress("training", 10, stream=stream)
    for _ in range(10):
        progress.advance({"total": 1.25})
    progress.close()
    shown = stream.getvalue().splitlines()
    assert shown[0] == "training: 3/10  total 1.25  0:18 gone, about 0:42 left"
    assert [line.split()[1] for line in shown] == ["3/10", "6/10", "9/10", "10/10"]


def test_the_time_left_counts_only_the_steps_of_this_part_of_the_run(monkeypatch):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    Progress("training", 10, done=7, stream=stream).advance({})
    assert stream.getvalue() == "training: 8/10    0:20 gone, about 0:40 left\n"


@pytest.mark.parametrize(("seconds", "shown"), [(5, "0:05"), (65, "1:05"), (3725, "1:02:05")])
def test_times_are_shown_as_clocks(seconds, shown):
    assert console._clock(seconds) == shown


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = Progress("training", 2, stream=stream)
    progress.advance({"total": 1.25})
    progress.close()
    assert "1/2" in stream.getvalue()
    assert "total 1.25" in stream.getvalue()
