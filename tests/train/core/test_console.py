"""Of several processes the first writes lines and progress; errors come from whoever has them."""

import contextlib
import io

import pytest

from tests.train.processes import run_processes, values_of
from train.core import console
from train.core.console import Progress, logger, show_error
from train.core.distributed import PeerLost, agree, current_world
from train.core.errors import UserError


@pytest.fixture
def second_of_three(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_one_process_writes_everything(capsys):
    logger.info("a line")
    show_error(UserError("worker trace\ntrain.core.errors.UserError: bad file"))
    assert capsys.readouterr().err == "a line\nerror: bad file\n"


def test_another_process_writes_errors_alone(capsys, second_of_three):
    logger.info("a line")
    logger.warning("a warning")
    show_error(UserError("bad file"))
    show_error(PeerLost("process 0 is gone"))
    assert capsys.readouterr().err == "process 1 of 3: error: process 0 is gone\n"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_another_process_shows_no_progress(stream, second_of_three, monkeypatch):
    shown = stream()
    progress = Progress("training", 2, stream=shown)
    progress.advance({"loss": 1.0})
    progress.advance({"loss": 1.0})
    progress.close()
    assert shown.getvalue() == ""
    assert progress.done == 2
    monkeypatch.undo()
    Progress("training", 1, stream=shown).advance({})
    assert "1/1" in shown.getvalue()


def ending() -> str:
    lines = io.StringIO()
    with contextlib.redirect_stderr(lines):
        try:
            agree(UserError("bad file") if current_world().rank == 1 else None)
        except UserError as caught:
            show_error(caught)
    return lines.getvalue()


def test_an_error_that_all_agreed_on_is_shown_once():
    shown = values_of(run_processes(3, ending))
    assert shown == ["error: process 1: bad file\n", "", ""]


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
    stream = Terminal()
    progress = Progress("training", 2, stream=stream)
    progress.advance({"total": 1.25})
    progress.close()
    assert "1/2" in stream.getvalue()
    assert "total 1.25" in stream.getvalue()
