"""Write files whole or not at all, so that a kill leaves the old content or the new."""

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from train.core.errors import UserError, cannot_write

UNFINISHED: Final = ".unfinished"
"""How the names of files end that are being written."""

# How torch and numpy, which write with code of their own, say that a write failed: these words and
# no error number.
_UNNUMBERED: Final = (
    "inline_container",
    "iostream error",
    "PytorchStreamWriter",
    " requested and ",
)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a neighbor of `path` to write to; it replaces `path` unless something raises.

    The neighbor's name is one that no other process uses. It is on the disk, not only in memory,
    before it replaces `path`, and is removed when anything raises.

    Raises
    ------
    UserError
        If the file cannot be written: the disk is full, or the folder is not to be written to. An
        error about another file passes as it is.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException as error:
        with suppress(OSError):  # the first error says more
            unfinished.unlink(missing_ok=True)
        failure = _write_failure(error, unfinished)
        if failure is None:
            raise
        raise cannot_write(path, failure, note=_what_is_left(path)) from error


def append_whole(file: int, content: bytes) -> None:
    """Append to an open file (its descriptor): everything, or nothing where the disk is full.

    Raises
    ------
    OSError
        What the system says; the file has its earlier length then.
    """
    before = os.fstat(file).st_size
    try:
        written = 0
        while written < len(content):  # a disk that fills up takes a part first, then refuses
            written += os.write(file, content[written:])
    except OSError:
        os.ftruncate(file, before)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left half written in a folder that no other one writes to."""
    for path in folder.glob(f"*{UNFINISHED}"):
        with suppress(OSError):  # it costs room, nothing else
            path.unlink()


def make_folder(path: Path, option: str) -> None:
    """Make a folder to write to, with those above it, and check that it can be written to.

    Parameters
    ----------
    path
        The folder; may exist.
    option
        The flag that named it, "--output".

    Raises
    ------
    UserError
        If it is a file, cannot be made, or cannot be written to.
    """
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"{option} {path}: is a file; give a folder")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{option} {path}: cannot be made ({error.strerror}); give another folder"
        ) from error
    check_writable(path, option)


def check_writable(folder: Path, option: str) -> None:
    """Refuse a folder in which no file can be made; leaves nothing in it.

    Raises
    ------
    UserError
        If a file cannot be made there.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{option} {folder}: cannot be written to ({error.strerror}); give another folder, or "
            "change its permissions"
        ) from error


def _what_is_left(path: Path) -> str:
    with suppress(OSError):  # a folder that is not to be looked into
        return "the earlier file is untouched" if path.exists() else ""
    return ""


def _write_failure(error: BaseException, unfinished: Path) -> OSError | None:
    """Return the system's error if writing `unfinished` failed; None for any other failure."""
    if isinstance(error, OSError) and error.errno is not None:
        # Only what opens or renames a file names it; writing, flushing and closing do not.
        ours = error.filename is None or Path(os.fsdecode(error.filename)) == unfinished
        return error if ours else None
    if isinstance(error, OSError | RuntimeError) and any(
        word in str(error) for word in _UNNUMBERED
    ):
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        with suppress(OSError):
            if shutil.disk_usage(unfinished.parent).free < 1 << 20:
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return OSError(errno.EIO, "only a part of it could be written")
    return None
