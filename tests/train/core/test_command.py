"""How commands are parsed, and how they end: exit codes, one line, no traceback for no bug."""

import dataclasses
import errno
import io
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from torch.utils.data import DataLoader
from tyro.conf import arg

from train.core.command import Command, Names, or_alone, run_command, several
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


@pytest.mark.parametrize(("found", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_code_is_what_the_body_says_or_0(found, code):
    assert run_command(lambda: found) == code


@dataclass(frozen=True, kw_only=True)
class Frames:
    """How frames are read."""

    num_workers: Annotated[int, arg(metavar="N", aliases=("--num-workers",))] = 4
    """processes that read frames"""

    def __post_init__(self):
        if self.num_workers < 0:
            raise UserError(f"--data.num-workers {self.num_workers}: 0 or more")


@dataclass(frozen=True, kw_only=True)
class Options:
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    """folder of the dataset"""
    grid_size_m: float = 0.05
    """edge of a voxel, meters"""
    split: Literal["training", "validation"] = "validation"
    sequences: Names = ()
    models: Annotated[tuple[str, ...] | None, several(str, "NAME")] = None
    tta: Annotated[str | None, or_alone(("rotations", "scales"), "rotations")] = None
    size: tuple[int, int] = (160, 320)
    overwrite: bool = False
    data: Frames = field(default_factory=Frames)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("", {}),
        ("--data-root DIR --grid-size-m=0.1", {"data_root": Path("DIR"), "grid_size_m": 0.1}),
        ("--data_root DIR --grid_size_m 0.1", {"data_root": Path("DIR"), "grid_size_m": 0.1}),
        ("--sequences 08 09 --overwrite", {"sequences": ("08", "09"), "overwrite": True}),
        ("--tta --size 1 -2", {"tta": "rotations", "size": (1, -2)}),
        ("--tta scales", {"tta": "scales"}),
        ("--models a b", {"models": ("a", "b")}),
        ("--data.num-workers 0", {"data": Frames(num_workers=0)}),
        ("--num-workers 0", {"data": Frames(num_workers=0)}),
    ],
)
def test_options_are_what_the_line_says(line, changed):
    command = Command("topodistill try", Options, lambda options: None, "Tries.")
    assert command.parse(line.split()) == dataclasses.replace(Options(), **changed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--overwrit", "Unrecognized options: --overwrit (did you mean --overwrite?)"),
        ("--over", "Unrecognized options: --over"),
        ("--no-overwrite", "Unrecognized options: --no-overwrite"),
        ("--grid-size-m x", "--grid-size-m: could not convert string to float: 'x'"),
        ("--size 3", "Missing value for argument '--size'. Expected 2 values"),
        ("--split tests", "invalid choice 'tests' for argument '--split'"),
        ("--tta flips", "invalid choice 'flips' for argument '--tta'"),
        ("--sequences", "--sequences: give at least one NAME"),
        ("--data.num-workers -1", "--data.num-workers -1: 0 or more"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])  # of the frames that the parser draws
def test_a_wrong_line_is_one_line(line, said, encoding, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    command = Command("topodistill try", Options, lambda options: 0 / 0, "Tries.")
    assert command.main(line.split()) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"error: {said}")
    assert ("topodistill try --help" in told) == ("0 or more" not in said)


@dataclass(frozen=True, kw_only=True)
class Needy:
    run: Path
    output: Path
    """of the page"""


def test_what_is_missing_is_named(capsys):
    assert Command("topodistill try", Needy, lambda options: None, "Tries.").main([]) == 2
    assert capsys.readouterr().err.startswith("error: --run, --output are missing; see ")


def test_flags_of_another_command_are_passed_on():
    given = []
    command = Command("try", Needy, lambda *both: given.extend(both), "Tries.", passes_on=True)
    rest = ["--dataset", "waymo", "--data.batch-size=3", "--simulate"]
    assert command.main(["--dataset", "waymo", "--run", "a", *rest[2:], "--output", "b"]) == 0
    assert given == [Needy(run=Path("a"), output=Path("b")), rest]


def test_help_has_units_defaults_and_the_epilog(capsys):
    command = Command("topodistill try", Options, lambda options: None, "Tries.", epilog="So.\n")
    with pytest.raises(SystemExit) as stopped:
        command.main(["--help"])
    assert not stopped.value.code
    told = capsys.readouterr().out
    assert told.startswith("usage: topodistill try")
    assert "edge of a voxel, meters (default: 0.05)" in told
    assert told.endswith("\n\nSo.\n")


class Damaged:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise UserError("a.bin: is damaged; copy it again")


def test_a_mistake_found_in_a_reading_process_is_one_line_too(capsys):
    assert run_command(lambda: list(DataLoader(Damaged(), num_workers=1))) == 2
    assert capsys.readouterr().err == "error: a.bin: is damaged; copy it again\n"


def test_a_flag_that_says_sweep_is_the_one_that_says_frame():
    @dataclass(frozen=True)
    class Options:
        frames: int = 0
        on_bad_frame: str = "stop"

    command = Command("topodistill look", Options, lambda options: None, "Look.")
    given = command.parse(["--sweeps", "3", "--on-bad-sweep=--sweep"])
    assert (given.frames, given.on_bad_frame) == (3, "--sweep")
