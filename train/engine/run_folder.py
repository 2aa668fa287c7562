"""The folder that a run writes to: its files by name, whose it is now, what was changed when."""

import contextlib
import errno
import json
import os
import socket
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from train.core.atomic_write import (
    atomic_write,
    check_writable,
    make_folder,
    remove_unfinished,
)
from train.core.bounded import read_json
from train.core.console import logger
from train.core.errors import UserError, cannot_write

if sys.platform != "win32":
    import fcntl

ROLES: Final = ("teacher", "student", "baseline")
"""Networks of a run, in the order in which they are trained; the baseline is the student alone."""

LOCK: Final = ".lock"
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_OPTION: Final = "--output"


class RunFolder:
    """A run's output folder.

    Making one touches nothing. In this order: `check_new` or `check_resume`, which write nothing;
    everything else that can be refused; then `hold` for as long as the run lasts.

    Parameters
    ----------
    path
        The folder; need not exist.

    Attributes
    ----------
    path
        As given.
    teacher, student, baseline
        Weights to use, those of the last step. The baseline is the student that is trained alone.
    checkpoint, baseline_checkpoint
        What an unfinished stage goes on from. The baseline's is a file of its own, so that the
        student can be given more epochs after it.
    config
        The run's configuration, versions and changes, `config.json`.
    log
        One line per step, `log.jsonl`.
    metrics
        The scores of a finished run, `metrics.json`.
    evaluation
        What is too long for the scores: confusion counts, frame by frame, `evaluation.json`.
    report
        The page that a person opens, `report.html`.
    skipped
        The frames that could not be read, `skipped.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.teacher, self.student, self.baseline = map(self.weights_of, ROLES)
        self.checkpoint = path / "checkpoint.pt"
        self.baseline_checkpoint = path / "baseline_checkpoint.pt"
        self.config = path / "config.json"
        self.log = path / "log.jsonl"
        self.metrics = path / "metrics.json"
        self.evaluation = path / "evaluation.json"
        self.report = path / "report.html"
        self.skipped = path / "skipped.json"
        self._lock = path / LOCK
        self._checked: list[tuple[str, int, int]] | None = None

    def weights_of(self, role: str) -> Path:
        """Return the file of a network's weights after the last step."""
        return self.path / f"{role}.pt"

    def best_of(self, role: str) -> Path:
        """Return the file of the weights that scored best during training."""
        return self.path / f"{role}_best.pt"

    def checkpoint_of(self, role: str) -> Path:
        """Return the file that a stage writes its checkpoints to."""
        return self.baseline_checkpoint if role == "baseline" else self.checkpoint

    def submission(self, suffix: str) -> Path:
        """Return the file for the benchmark's server; `suffix` is the dataset's, ".zip"."""
        return self.path / f"submission{suffix}"

    def check_new(self) -> None:
        """Refuse a folder that holds something else or is not to be written to; writes nothing.

        Raises
        ------
        UserError
            If the path is a file, another run is writing there, the folder is not empty, or a
            file cannot be made in it.
        """
        if not self._is_folder():
            return
        self._refuse_if_held()
        try:
            others = [entry for entry in self.path.iterdir() if entry.name != LOCK]
        except OSError as error:
            raise UserError(
                f"{_OPTION} {self.path}: cannot be read ({error.strerror}); give another folder, "
                "or change its permissions"
            ) from error
        if others:
            raise UserError(
                f"{_OPTION} {self.path}: holds another run or other files; give a new folder, "
                "or add --resume to go on with the run in it"
            )
        check_writable(self.path, _OPTION)

    def check_resume(self) -> dict[str, Any]:
        """Refuse a folder that holds no run, or one that is still going; writes nothing.

        Returns
        -------
        dict
            The content of `config.json`; its "config" is a dict.

        Raises
        ------
        UserError
            If the path is a file, there is no run, its `config.json` is damaged, another process
            is writing there, or a file cannot be made in the folder.
        """
        if not (self._is_folder() and self.config.is_file()):
            raise UserError(
                f"--resume: {self.path} holds no run (no config.json); check {_OPTION}, or leave "
                "out --resume to start one"
            )
        self._refuse_if_held()
        content = self._read_config()
        check_writable(self.path, _OPTION)
        self._checked = self._state()
        return content

    @contextlib.contextmanager
    def hold(self, *, resume: bool) -> Iterator[None]:
        """Make the folder if need be, and keep every other run out of it while the block lasts.

        Of several processes of one run, the first alone calls this. The lock ends with the
        process, however it ends.

        Parameters
        ----------
        resume
            Whether the run in the folder goes on; otherwise the folder must still be empty.

        Raises
        ------
        UserError
            If another process holds the folder (names it), the folder cannot be made or written
            to, or another run wrote there since `check_new`.

        Notes
        -----
        Where the file system or the operating system has no locks, a warning says so.
        """
        make_folder(self.path, _OPTION)
        with _held(self._lock, self._refusal):
            self._refuse_changes(resume)
            # What a killed run left half written; the lock says that nobody else is writing.
            remove_unfinished(self.path)
            yield

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write one of the run's JSON files, whole or not at all.

        Raises
        ------
        UserError
            If it cannot be written.
        """
        with atomic_write(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def record_resume(
        self, content: Mapping[str, Any], changes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Write `config.json` for a run that goes on, and keep what earlier parts recorded.

        Parameters
        ----------
        content
            As written at the start, with the values that hold from now on.
        changes
            What is changed now, in order: "utc", "step", "field", "before", "after". They come
            after the "changes" that are in the file already.

        Raises
        ------
        UserError
            If the file is damaged or cannot be written.
        """
        earlier = self._read_config().get("changes", [])
        if not isinstance(earlier, list):
            raise UserError(f"--resume: {self.config} is damaged (its changes are no list)")
        self.write_json(self.config, {**content, "changes": [*earlier, *changes]})

    def changed_fields(self) -> list[str]:
        """Return the fields of the configuration that were changed when the run went on, in order.

        Raises
        ------
        UserError
            If `config.json` is damaged.
        """
        return [str(change["field"]) for change in self._read_config().get("changes", [])]

    def _is_folder(self) -> bool:
        """Return whether the folder exists; refuse what is no folder."""
        try:
            if self.path.is_dir():
                return True
            exists = self.path.exists()
        except OSError as error:
            raise UserError(
                f"{_OPTION} {self.path}: cannot be looked at ({error.strerror}); give another "
                "folder"
            ) from error
        if exists:
            raise UserError(f"{_OPTION} {self.path}: is a file; give a folder")
        return False

    def _read_config(self) -> dict[str, Any]:
        try:
            content = read_json(self.config)
            if not isinstance(content["config"], dict):
                raise TypeError("its config is no object")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"--resume: {self.config} is damaged ({error})") from error
        except OSError as error:
            raise UserError(
                f"--resume: {self.config} cannot be read ({error.strerror}); check its permissions"
            ) from error
        return dict(content)

    def _refuse_changes(self, resume: bool) -> None:
        """Refuse a folder that another run wrote to between the check and the lock."""
        if resume:
            changed = self._checked is not None and self._state() != self._checked
        else:
            changed = any(entry.name != LOCK for entry in self.path.iterdir())
        if changed:
            raise UserError(
                f"{_OPTION} {self.path}: another run wrote there while this one was starting; give "
                f"{'the command again' if resume else 'a new folder, or add --resume'}"
            )

    def _state(self) -> list[tuple[str, int, int]]:
        """Return what shows whether a run went on: names, times of change, sizes."""
        files = (self.config, self.checkpoint, self.teacher, self.student, self.log, self.metrics)
        found = [(path.name, path.stat()) for path in files if path.exists()]
        return [(name, stat.st_mtime_ns, stat.st_size) for name, stat in found]

    def _refuse_if_held(self) -> None:
        """Look whether a run is going, without making or changing a file."""
        try:
            file = os.open(self._lock, os.O_RDONLY)
        except OSError:  # not there; whether the folder can be read is found out elsewhere
            return
        try:
            if _try_lock(file, shared=True) is False:
                raise self._refusal(file)
        finally:
            os.close(file)

    def _refusal(self, file: int) -> UserError:
        os.lseek(file, 0, os.SEEK_SET)
        holder = os.read(file, 200).decode(errors="replace").strip()
        return UserError(
            f"{_OPTION} {self.path}: a run is writing there now ({holder or 'unknown process'}); "
            "wait for it or stop it, or give another folder"
        )


class _HeldFile:
    """An open lock file. A forked reader closes its copy at once: it may outlive a killed run."""

    def __init__(self, number: int) -> None:
        self._number: int | None = number
        _held_files.add(self)

    def close(self) -> None:
        if self._number is not None:
            os.close(self._number)
            self._number = None


_held_files: "weakref.WeakSet[_HeldFile]" = weakref.WeakSet()


def _close_in_child() -> None:
    for held in list(_held_files):
        held.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)


def _try_lock(file: int, *, shared: bool = False) -> bool | None:
    """Return whether the open file is locked now; None where there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _open_locked(path: Path, refusal: Callable[[int], UserError]) -> int:
    """Return the locked file, made if need be; raise what `refusal` returns if it is held."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _try_lock(number)
            if locked is False:
                raise refusal(number)
            # The process that held it before removes the file: what is locked may be gone by now.
            current = locked is None or (
                path.exists() and os.path.samestat(os.fstat(number), path.stat())
            )
            if current:
                if locked is None:
                    logger.warning(
                        f"{path.parent}: files cannot be locked here; a second run on this "
                        "folder would not be noticed and would harm both"
                    )
                os.ftruncate(number, 0)
                os.write(number, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)


@contextlib.contextmanager
def _held(path: Path, refusal: Callable[[int], UserError]) -> Iterator[None]:
    try:
        held = _HeldFile(_open_locked(path, refusal))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is only an empty lock that stays
            path.unlink()
        held.close()
