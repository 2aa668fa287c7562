"""Of several processes the first writes lines and progress; errors come from whoever has them."""

import contextlib
import io

import pytest

from tests.train.processes import run_processes, values_of
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
