"""How every command ends: its exit code, and its mistakes and interruptions as one line."""

import errno
import signal
from collections.abc import Callable
from typing import Final

from train.core.console import logger, show_error
from train.core.errors import UserError, cannot_write
from train.core.interrupts import Interrupted, RaiseTerminated, Terminated, exit_code

EXIT_MISTAKE: Final = 2

# What the place of a file can be wrong with; any other OSError is a bug and keeps its traceback.
_ABOUT_FILES: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def run_command(body: Callable[[], object], *, stopped: str = "nothing was written") -> int:
    """Run a command's body and return its exit code.

    Parameters
    ----------
    body
        Does the work.
    stopped
        What is said after "stopped; " when Ctrl-C, SIGTERM or SIGHUP ends the body at once.

    Returns
    -------
    int
        0; 2 after a `UserError` or a file that cannot be read or written, shown as one line;
        128 plus the signal's number after an interruption.
    """
    try:
        with RaiseTerminated():
            body()
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
    return 0


def _about_file(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return str(cannot_write(error.filename or "a file", error))
    return f"{error.filename or 'a file'}: {error.strerror}; check the path and its permissions"
