"""Signals that ask a command to stop: finish the step, save, say where, leave.

Ctrl-C is SIGINT; a cluster's scheduler sends SIGTERM, and SIGKILL some seconds later; a terminal
that closes sends SIGHUP.
"""

import os
import signal
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
STOP_SIGNALS: Final = tuple(getattr(signal, name).value for name in _NAMES if hasattr(signal, name))
"""Numbers of the signals that ask for a stop."""

# `timeout` sends its signal twice, a closing terminal and the end of a login session several kinds
# at once. What comes this soon after the first signal is the same request.
SAME_REQUEST_S: Final = 1.0

# How long a reading process goes on after a SIGTERM, so that the step that waits for it can end.
READER_GRACE_S: Final = 60


def exit_code(number: int) -> int:
    """Return what a process exits with after a signal: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def signal_name(number: int) -> str:
    """Return "SIGTERM" for 15."""
    return signal.Signals(number).name


class Interrupted(Exception):
    """A run that was asked to stop has stopped, and can go on.

    Not a `UserError`: nothing is wrong. The command line prints the message and exits with
    `exit_code`.

    Parameters
    ----------
    number
        The signal.
    after
        The last thing that was done, "student step 120".
    checkpoint
        The file to go on from; None where nothing had to be saved.
    """

    def __init__(self, number: int, *, after: str = "", checkpoint: Path | None = None) -> None:
        self.signal = number
        self.after = after
        self.checkpoint = checkpoint
        done = f" after {after}" if after else ""
        saved = "" if checkpoint is None else f"; saved in {checkpoint}"
        super().__init__(
            f"stopped by {signal_name(number)}{done}{saved}; go on with the same command and "
            "--resume"
        )

    @property
    def exit_code(self) -> int:
        """What the process exits with."""
        return exit_code(self.signal)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP where nothing needs to be saved first; leaves like Ctrl-C, at once.

    Attributes
    ----------
    signal
        The signal's number.
    """

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__(f"stopped by {signal_name(number)}")


class _Handlers:
    """Handles some signals in a `with` block, and puts the earlier handlers back.

    Does nothing outside the main thread, where Python cannot install handlers. A signal that is
    ignored stays ignored: that is how `nohup` keeps a run alive when its terminal closes.
    """

    _numbers: tuple[int, ...] = STOP_SIGNALS

    def __init__(self) -> None:
        self._earlier: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        for number in self._numbers if _in_main_thread() else ():
            earlier = signal.getsignal(number)
            # None: installed by C code, which Python could not put back.
            if earlier is not None and earlier != signal.SIG_IGN:
                self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        while self._earlier:
            number, earlier = self._earlier.popitem()
            signal.signal(number, earlier)


class StopRequest(_Handlers):
    """Take note of a signal that asks to stop, instead of dying of it.

    A context manager for a loop that looks at `signal` after every step. A second signal ends the
    process at once: SIGINT as `KeyboardInterrupt`, the others as if nobody had caught them.

    Attributes
    ----------
    signal
        The number of the first signal; 0 while there was none.

    Examples
    --------
    >>> with StopRequest() as stop:
    ...     for step in range(3):
    ...         if stop.signal:
    ...             raise Interrupted(stop.signal, after=f"step {step}")
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal = 0
        self._at = 0.0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal, self._at = number, time.monotonic()
            _say(f"{signal_name(number)}: finishing the step and saving; a second one ends at once")
            return
        if time.monotonic() - self._at < SAME_REQUEST_S:
            return
        self.__exit__()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class RaiseTerminated(_Handlers):
    """Let SIGTERM and SIGHUP raise `Terminated` where they come, so that files are tidied up.

    A context manager for a whole command; a `StopRequest` inside it takes the signals over.
    """

    _numbers = tuple(number for number in STOP_SIGNALS if number != signal.SIGINT)
    _raised = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._raised:  # the command is on its way out: let it tidy up
            return
        self._raised = True
        _say("")
        raise Terminated(number)


def reader_ignores_stop(worker_id: int) -> None:
    """Let a reading process outlive the signals that its run is asked to stop with.

    For `DataLoader(worker_init_fn=...)`. Terminals and clusters signal every process of a run; a
    reader that died of it would take the step down that waits for its batch. A reader leaves when
    the run does. After a SIGTERM it leaves within `READER_GRACE_S` in any case.
    """
    for number in STOP_SIGNALS if _in_main_thread() else ():
        signal.signal(number, _leave_later if number == signal.SIGTERM else signal.SIG_IGN)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _leave_later(number: int, frame: FrameType | None) -> None:
    if sys.platform == "win32":
        os._exit(exit_code(number))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(READER_GRACE_S)


def _say(line: str) -> None:
    """Write a line from a signal handler, past the streams: those may be in the middle of a write.

    Where a terminal is gone, every later write to it would raise: what is said goes nowhere then.
    """
    try:
        os.write(2, f"\n{line}\n".encode() if line else b"\n")
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        with suppress(OSError):  # closed already
            # What was a terminal is still a character device, and none to write to.
            if stat.S_ISCHR(os.fstat(1).st_mode) and not os.isatty(1):
                os.dup2(nowhere, 1)
        os.close(nowhere)
