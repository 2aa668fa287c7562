"""What every reader says of folders and files that cannot be read or are not what was wanted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fsdecode, fstat
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from train.core.errors import UserError

_LISTED: Final = 6
"""So many names are shown of a list."""

_BELOW: Final = 50
"""So many folders are looked into for a data root, in each of a folder's own."""

_CHECK: Final = "check that it exists and its rights"


@contextmanager
def reading(path: Path, hint: str = _CHECK) -> Iterator[None]:
    """Turn what the system says of a file or folder into one line that names it.

    Parameters
    ----------
    path
        Named where the system's error names nothing, as for an open file.
    hint
        What to do about it.

    Raises
    ------
    UserError
        For an `OSError`.
    """
    try:
        yield
    except OSError as error:
        named = error.filename
        where = fsdecode(named) if isinstance(named, str | bytes | PathLike) else path
        raise UserError(f"{where}: cannot be read ({error.strerror or error}); {hint}") from error


def _refuse_pipe(path: Path) -> None:
    """Refuse what has no size and may never end."""
    mode = path.stat().st_mode
    if not (S_ISREG(mode) or S_ISDIR(mode)):
        raise UserError(f"{path}: is a pipe or a device; write it to a file and give that")


def read_bytes(
    path: Path,
    check_size: Callable[[int], None] = lambda num_bytes: None,
    hint: str = _CHECK,
) -> bytes:
    """Return a file's contents.

    Parameters
    ----------
    path
        The file.
    check_size
        Called with its size in bytes before it is read; may refuse it.
    hint
        What to do where it cannot be read.

    Raises
    ------
    UserError
        If it cannot be read, or is a pipe or a device.
    """
    with reading(path, hint):
        _refuse_pipe(path)
        with path.open("rb") as stream:
            check_size(fstat(stream.fileno()).st_size)
            return stream.read()


def check_size(
    where: object, num_bytes: int, most: int, of: str, hint: str = "copy it again"
) -> None:
    """Refuse a file that would fill the memory.

    Parameters
    ----------
    where
        The file, for the message.
    num_bytes, most
        Its size, and what it may have.
    of
        What has no more than that: "a calibration".
    hint
        What to do about it.

    Raises
    ------
    UserError
        If it has more.
    """
    if num_bytes > most:
        raise UserError(f"{where}: {num_bytes} bytes is more than {of} has; {hint}")


@dataclass(frozen=True)
class RootLayout:
    """What a dataset's root looks like, in the words of messages.

    Attributes
    ----------
    dataset
        Its name.
    wanted
        What the root holds: "the folder that holds ...".
    mark
        By what a folder that is the root was recognized, such as "it holds the tables"; "" if that
        need not be said.
    """

    dataset: str
    wanted: str
    mark: str = ""

    def check(self, root: Path) -> None:
        """Refuse a data root that is missing or a file.

        Raises
        ------
        UserError
            If it is, or cannot be looked at.
        """
        with reading(root, f"check its rights, or give {self.wanted}"):
            if not root.exists():
                raise UserError(f"{root}: no such folder; give {self.wanted}, or simulate data")
            if not root.is_dir():
                raise UserError(f"{root}: is a file; give {self.wanted}")

    def refusal(self, root: Path, is_root: Callable[[Path], bool]) -> UserError:
        """Return what to say of a folder that is not the root.

        Parameters
        ----------
        root
            The folder that was given.
        is_root
            Whether a folder is one: asked of those up to three levels above, and two below.
        """
        with reading(root, f"check its rights, or give {self.wanted}"):
            names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
        try:
            better = next(filter(is_root, _near(root, names)), None)
        except OSError:
            better = None  # a neighbor that cannot be looked at is not what is wrong
        if better is not None:
            mark = f" ({self.mark})" if self.mark else ""
            return UserError(f"{root}: is not the data root; give {better} instead{mark}")
        if not names:
            return UserError(f"{root}: the folder is empty; give {self.wanted}, or simulate data")
        return UserError(
            f"{root}: not laid out as {self.dataset}; found {listed(names)}; give {self.wanted}"
        )


def _near(root: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield the folders that may be meant where a level too high or too low was given."""
    yield from list(root.resolve().parents)[:3]
    for name in names:
        if (root / name).is_dir():
            yield root / name
            yield from sorted(path for path in (root / name).iterdir() if path.is_dir())[:_BELOW]


def listed(names: Sequence[str], none: str = "none") -> str:
    """Return the first of some names on one line, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or none) + more
