"""What every command is: options parsed in one way, and an end with an exit code and one line.

A command is a frozen dataclass of options and a function that takes it:

    @dataclass(frozen=True, kw_only=True)
    class Options:
        run: Annotated[Path, arg(metavar="DIR")]
        "the --output of a finished run"

    COMMAND = Command("topodistill report", Options, _run, "Turn a finished run into a page.")
    main = COMMAND.main
"""

import errno
import io
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import tyro
from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from train.core.console import logger, show_error
from train.core.errors import WRITE_HINTS, UserError, cannot_write
from train.core.interrupts import Interrupted, RaiseTerminated, Terminated, exit_code

T = TypeVar("T")

Device = Annotated[str, arg(metavar="NAME", help="auto, cpu, cuda or cuda:N")]
"""The option ``--device``, for every command that has one."""

EXIT_MISTAKE: Final = 2

# What the place of a file can be wrong with; any other OSError is a bug and keeps its traceback.
_ABOUT_FILES: Final = (WRITE_HINTS.keys() | {errno.EIO}) - {errno.EEXIST}


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command: what it is called, its options, and what it does with them.

    Attributes
    ----------
    program
        How people call it: "topodistill evaluate".
    options
        A frozen dataclass. Its fields are the flags (`data_root` is ``--data-root``, and
        ``--data_root`` as well), the texts under them their help, with units; a nested dataclass
        `data` gives ``--data.FIELD``.
    body
        Does the work, given the options; a number that it returns is the exit code.
    description, epilog
        What ``--help`` says above and below the options.
    stopped
        What is said after "stopped; " when a signal ends it at once.
    passes_on
        Whether flags that are not its own go to the body, as a second argument, in place of being
        refused.
    """

    program: str
    options: type[T]
    body: Callable[..., int | None]
    description: str
    epilog: str = ""
    stopped: str = "nothing was written"
    passes_on: bool = False

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
        given = sys.argv[1:] if arguments is None else arguments
        return run_command(lambda: self.body(*self._parse(given)), stopped=self.stopped)

    def parse(self, arguments: Sequence[str]) -> T:
        """Return the options that a command line gives; without those that are passed on."""
        options: T = self._parse(arguments)[0]
        return options

    def _parse(self, arguments: Sequence[str]) -> tuple[Any, ...]:
        parsed = parse_options(
            self.options,
            arguments,
            program=self.program,
            description=self.description,
            epilog=self.epilog,
            # Flags without a --no- twin, and no literal None among the choices of the help.
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            return_unknown_args=self.passes_on,
        )
        return parsed if self.passes_on else (parsed,)


def parse_options(
    kind: type[Any],
    arguments: Sequence[str],
    *,
    program: str,
    description: str,
    epilog: str = "",
    **settings: Any,
) -> Any:
    """Return the options that a command line gives.

    Parameters
    ----------
    kind
        The dataclass of options.
    arguments
        The words of the command line.
    program, description, epilog
        Of the help, as `Command` has them.
    settings
        For `tyro.cli`: the defaults, among others.

    Raises
    ------
    UserError
        If a word is no flag or a value is refused.
    SystemExit
        With code 0, after ``--help``.
    """
    arguments = [_as_today(word) for word in arguments]
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            found = tyro.cli(
                kind, args=list(arguments), prog=program, description=description, **settings
            )
    except SystemExit as stop:
        if not stop.code:
            sys.stdout.write(epilog and f"\n{epilog}")
            raise
        raise UserError(f"{_one_line(said.getvalue())}; see {program} --help") from None
    sys.stderr.write(said.getvalue())
    return found


def _as_today(word: str) -> str:
    """Return a word of a command line, a flag that says sweep as the one that says frame."""
    flag, equals, value = word.partition("=")
    return flag.replace("sweep", "frame") + equals + value if flag.startswith("--") else word


def _one_line(frame: str) -> str:
    """Return what the parser says in a frame of several lines, whichever characters frame it."""
    parts: list[list[str]] = [[]]
    for line in frame.splitlines()[1:]:
        text = line.strip("│╰╯ ")
        if text and not text.strip("─-"):
            parts.append([])
        elif text:
            parts[-1].append(text)
    said, *more = filter(None, parts)
    if said[0].startswith("Missing from "):
        flags = _flags(said)
        return f"{', '.join(flags)} {'is' if len(flags) == 1 else 'are'} missing"
    told = " ".join(said).removeprefix("Error parsing ").rstrip(".")
    alike = [part for part in more if "similar" in part[0] or "meant" in part[0]]
    meant = " or ".join(sorted({flag for part in alike for flag in _flags(part)}))
    return f"{told} (did you mean {meant}?)" if meant else told


def _flags(lines: Sequence[str]) -> list[str]:
    return [line.split()[0].rstrip(",") for line in lines if line.startswith("--")]


def or_alone(choices: Sequence[str], alone: str) -> Any:
    """Return the parsing of a flag that may stand alone: ``--tta`` is ``--tta rotations`` then.

    Parameters
    ----------
    choices
        Values that it can have.
    alone
        The one that it has if nothing follows it.
    """
    return PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar=f"[{{{','.join(choices)}}}]",
        instance_from_str=lambda words: words[0] if words else alone,
        is_instance=lambda value: value is None or value in choices,
        str_from_instance=lambda value: [str(value)],
        choices=tuple(choices),
    )


def several(kind: Callable[[str], object], metavar: str) -> Any:
    """Return the parsing of a flag with one value or more; the flag alone is a mistake."""

    def read(words: list[str]) -> tuple[object, ...]:
        if not words:
            raise ValueError(f"give at least one {metavar}")
        return tuple(map(kind, words))

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{metavar} [{metavar} ...]",
        instance_from_str=read,
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda values: ["None"] if values is None else list(map(str, values)),
    )


Names = Annotated[tuple[str, ...], several(str, "NAME")]
Paths = Annotated[tuple[Path, ...], several(Path, "PATH")]


def run_command(body: Callable[[], int | None], *, stopped: str = "nothing was written") -> int:
    """Run a command's body and return its exit code.

    Parameters
    ----------
    body
        Does the work; a number that it returns is the exit code.
    stopped
        What is said after "stopped; " when Ctrl-C, SIGTERM or SIGHUP ends the body at once.

    Returns
    -------
    int
        0 or the body's number; 2 after a `UserError` or a file that cannot be read or written,
        shown as one line; 128 plus the signal's number after an interruption.
    """
    try:
        with RaiseTerminated():
            return body() or 0
    except UserError as error:
        show_error(error)
        return EXIT_MISTAKE
    except Interrupted as interrupted:
        logger.info(str(interrupted))
        return interrupted.exit_code
    except KeyboardInterrupt as interrupt:
        number = interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT
        logger.info(f"stopped; {stopped}")
        return exit_code(number)
    except OSError as error:
        if error.errno not in _ABOUT_FILES:
            raise
        logger.info(f"error: {_about_file(error)}")
        return EXIT_MISTAKE


def _about_file(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return str(cannot_write(error.filename or "a file", error))
    return f"{error.filename or 'a file'}: {error.strerror}; check the path and its permissions"
