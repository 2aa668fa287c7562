"""How commands end: exit codes, one line, no traceback for what is no bug."""

import errno
import signal
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from train.core.command import run_command
from train.core.errors import UserError
from train.core.interrupts import Interrupted, Terminated


def ended(error, capsys):
    def body():
        raise error

    code = run_command(body, stopped="nothing was written")
    said = capsys.readouterr()
    assert said.out == ""
    return code, said.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.bin: is damaged"), 2, "error: a.bin: is damaged"),
        (KeyboardInterrupt(), 130, "stopped; nothing was written"),
        (Terminated(signal.SIGTERM), 143, "stopped; nothing was written"),
        (
            Interrupted(1, after="teacher step 3", checkpoint=Path("c.pt")),
            129,
            "stopped by SIGHUP after teacher step 3; saved in c.pt; go on with the same command "
            "and --resume",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "error: a file: cannot be written (No space left on device); make room there, then "
            "give the command again (a training run: with --resume)",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/data/x.bin"),
            2,
            "error: /data/x.bin: Permission denied; check the path and its permissions",
        ),
    ],
)
def test_a_line_and_a_code(error, code, line, capsys):
    assert ended(error, capsys) == (code, line + "\n")


@pytest.mark.parametrize("bug", [ValueError("a bug"), OSError("a bug"), OSError(errno.EBADF, "x")])
def test_a_bug_keeps_its_traceback(bug, capsys):
    with pytest.raises(type(bug)):
        ended(bug, capsys)


def test_success_is_0():
    assert run_command(lambda: "any value") == 0


class Damaged:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise UserError("a.bin: is damaged; copy it again")


def test_a_mistake_found_in_a_reading_process_is_one_line_too(capsys):
    assert run_command(lambda: list(DataLoader(Damaged(), num_workers=1))) == 2
    assert capsys.readouterr().err == "error: a.bin: is damaged; copy it again\n"
