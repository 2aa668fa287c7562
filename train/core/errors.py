"""The exception for a mistake that a user can make: shown as one line, never as a traceback."""

import errno
import re
from pathlib import Path
from typing import Final

WRITE_HINTS: Final = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "make room there, then give the command again (a training run: with --resume)",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "give a folder that you may write to, or change its permissions",
    ),
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST),
        "give another name or folder",
    ),
}
"""Error number of a file that cannot be written -> what to do."""

_MOST_LETTERS: Final = 2000


class UserError(Exception):
    """Say what is wrong, where, and what to do about it.

    The command line prints the message and exits with code 2. Not a `ValueError`: the flag parser
    takes those for its own, and callers should be able to tell a bad file from a bug.

    What a damaged file holds may be part of a message: letters that are not printable are escaped,
    and the middle of a message that no one would read is left out. A message that crossed from a
    process that reads data has that process's trace above it, which is left out, too.
    """

    def __init__(self, message: object = "") -> None:
        """Keep the message as one line."""
        text = re.split(r"\ntrain\.[\w.]+: ", str(message))[-1].strip()
        if not text.isprintable():
            text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        if len(text) > _MOST_LETTERS:
            text = f"{text[: _MOST_LETTERS // 2]} ... {text[-_MOST_LETTERS // 2 :]}"
        super().__init__(text)


class ClassCountError(UserError, ValueError):
    """Say that a checkpoint's classes are not those that the caller wants.

    A mistake of the user's on the command line, and a wrong argument to those who call the reader.
    """


def cannot_write(path: Path | str, error: OSError, *, note: str = "") -> UserError:
    """Return the error that says in one line what was not written, why, and what to do.

    Parameters
    ----------
    path
        The file or folder, as the user knows it.
    error
        What the system said.
    note
        What became of what was there, "the earlier file is untouched".
    """
    reason = error.strerror or str(error) or type(error).__name__
    hint = WRITE_HINTS.get(error.errno or 0, "look at the disk, then give the command again")
    return UserError("; ".join(filter(None, (f"{path}: cannot be written ({reason})", note, hint))))
