"""The records of a study in one compressed file: a line of JSON per run, sorted by run.

The file is written again whole, under a lock, whenever a run ends: a killed process loses nothing
but its unfinished run, several processes can add to one file, and the same runs give the same
bytes. Files of several machines add up (`read_records`).
"""

import gzip
import hashlib
import io
import json
import math
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from train.config import flattened
from train.core.atomic_write import atomic_write
from train.core.errors import UserError

if sys.platform != "win32":
    import fcntl

FORMAT: Final = 1
"""Of a line; a reader refuses every other one."""
SUFFIX: Final = ".jsonl.gz"
"""How the names of such files end."""
RECORDS_NAME: Final = f"records{SUFFIX}"
"""Of the file in a folder that is one study's own."""

Role = Literal["student", "teacher"]

NAME: Final = re.compile(r"[A-Za-z0-9]+([._-]?[A-Za-z0-9]+)*")
"""Of grids and variants."""
GRADIENT_ENTROPY: Final = "gradient_entropy_h"
"""What a run's `stats` call the entropy of the topological gradient, before the dimension."""

_HASH: Final = re.compile(r"[0-9a-f]{12}")
# What may differ between two executions of one run: the machine and the moment.
_CIRCUMSTANCES: Final = frozenset({"seconds", "versions", "commit", "device", "utc", "stats"})
_SHOWN_DIFFERENCES: Final = 4


def hash_of(settings: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that stand for plain settings, whatever their order.

    Raises
    ------
    ValueError
        If a value is no plain JSON value, or not finite.
    """
    text = _json(settings, "hash_of: settings", sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run gave."""

    teacher: str
    """12 hexadecimal digits of the teacher's weights; runs are paired within one teacher.

    The students that learn from labels alone have it too: it says with whom they are paired.
    """
    options: Mapping[str, Any]
    """What this variant has of its own: the method and its options."""
    role: Role = "student"
    """Whose scores these are."""
    steps: int = 1
    """Training steps, at least 1."""
    seconds: float = 0.0
    """Wall time of these steps."""
    scores: Mapping[str, float | None]
    """By metric, over all validation scenes; intersections over unions are shares, 0 to 1."""
    scenes: Mapping[str, Mapping[str, Any]]
    """By scene, counts that add up; only the score function knows what is in them."""
    gradient_norms: Mapping[str, float | Mapping[str, float]] | None = None
    """By loss term, or by moment ("start", "end") and then by loss term."""
    stats: Mapping[str, Any] | None = None
    """What else is worth keeping; nothing reads it here."""


@dataclass(frozen=True, kw_only=True)
class RunRecord(Outcome):
    """What one run of a study was and gave.

    Raises
    ------
    ValueError
        If a name, hash or number is not of the form that its description says.
    """

    grid: str
    """Which table of variants; letters, digits and single `-`, `_` or `.` between them."""
    variant: str
    """Which row of it, "edges"; of the same form. "teacher" for the teacher itself."""
    seed: int
    """At least 0. Variants of one seed share initial weights, crops and their order."""
    setup: str
    """12 hexadecimal digits that stand for all that the variants share: data, networks,
    schedule."""
    setup_settings: Mapping[str, Any]
    """The same in plain words. `simulated` (bool) and `pair` (str) are read by the page."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Of Python and the packages that numbers depend on."""
    commit: str | None = None
    """Of the source tree; None outside a checkout."""
    device: str
    """Where it ran, in words."""
    utc: str
    """When it ended, ISO 8601."""

    def __post_init__(self) -> None:
        """Check what the annotations cannot say."""
        for needed, names, holds in _RULES:
            for name in names:
                value = getattr(self, name)
                if not holds(value):
                    raise ValueError(f"{name} is {value!r}; {needed}")
        for name, score in self.scores.items():
            if score is not None and not _is_number(score):
                raise ValueError(f"scores has {name} {score!r}; give a finite number, or None")
        for name, scene in self.scenes.items():
            if not isinstance(scene, Mapping):
                raise ValueError(f"scenes has {name} {scene!r}; give its counts")
        for name, norm in (self.gradient_norms or {}).items():
            norms = norm.values() if isinstance(norm, Mapping) else [norm]
            if not all(_is_number(number) and number >= 0 for number in norms):
                raise ValueError(f"gradient_norms has {name} {norm!r}; give numbers of at least 0")

    def __str__(self) -> str:
        """Return which run it is, in words."""
        return f"{self.grid}, {self.variant}, seed {self.seed}"

    @property
    def key(self) -> tuple[str, str, str, int, str, str]:
        """What two executions of the same run have in common."""
        return (self.grid, self.setup, self.variant, self.seed, self.teacher, self.role)


@dataclass(frozen=True)
class Records:
    """The runs of some files, each once, in the order of their keys."""

    runs: tuple[RunRecord, ...]
    notes: tuple[str, ...] = ()
    """What a reader of the results should know about the files: sentences."""


def add_records(path: Path, records: Iterable[RunRecord]) -> None:
    """Add runs to a file, each in place of an earlier one of its key; all of them or none.

    Raises
    ------
    UserError
        If the file cannot be written, or is damaged.
    ValueError
        If a record holds what JSON cannot say: an infinite number, an object.
    """
    with locked(path.parent):
        runs = {run.key: run for run in read_file(path)} if path.exists() else {}
        runs.update((run.key, run) for run in records)
        lines = [_line(runs[key]) for key in sorted(runs)]
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as to:
            to.write("".join(lines).encode("utf-8"))
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(packed.getvalue())


def read_file(path: Path) -> list[RunRecord]:
    """Return the runs of one file, as they stand there.

    Raises
    ------
    UserError
        If it cannot be read, is damaged, or is of another format.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except (EOFError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(f"{path}", str(error)) from error
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    if not lines:
        raise _damaged(f"{path}", "it is empty")
    return [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def read_records(paths: Sequence[Path]) -> Records:
    """Return the runs of some files, of one machine each or of several.

    A run that is there twice counts once, the one that ended first; where the two gave different
    results, a note says so.

    Parameters
    ----------
    paths
        Files that end in `SUFFIX`, or folders with one that is called `RECORDS_NAME`.

    Raises
    ------
    UserError
        If a file is not there or damaged, a grid has two setups, a variant two sets of options, or
        a run was scored on other scenes. Names the file and the run.
    """
    files = dict.fromkeys(path / RECORDS_NAME if path.is_dir() else path for path in paths)
    for path in files:
        refuse_single_files(path)
    found = [(str(path), run) for path in files for run in read_file(path)]
    found.sort(key=lambda item: (item[1].utc, str(item[1]), item[0]))
    _refuse_what_differs(found)
    runs: dict[tuple[Any, ...], RunRecord] = {}
    notes = []
    for _, record in found:
        counted = runs.setdefault(record.key, record)
        if note := _note_on_twins(counted, record):
            notes.append(note)
    return Records(tuple(runs[key] for key in sorted(runs)), tuple(sorted(notes)))


def _note_on_twins(counted: RunRecord, again: RunRecord) -> str:
    """Return what a run that is there twice gave differently; "" where nothing."""
    names = [
        item.name
        for item in fields(again)
        if item.name not in _CIRCUMSTANCES
        and getattr(again, item.name) != getattr(counted, item.name)
    ]
    if not names:
        return ""
    scores = differences(counted.scores, again.scores, "again")
    return (
        f"{counted}: is there twice with different {', '.join(names)}"
        + (f" ({scores})" if scores else "")
        + f"; the one that ended first counts ({counted.utc}, {counted.device})"
    )


def refuse_single_files(path: Path) -> None:
    """Refuse a file of records that is not there where an earlier version kept one file per run.

    Raises
    ------
    UserError
        If there are such files.
    """
    for folder in (path.with_name(path.name.removesuffix(SUFFIX)), path.parent):
        if not path.exists() and any(folder.glob("*--*--seed-*--*.json")):
            raise UserError(
                f"{folder}: has one file per run, as an earlier version wrote them; move it "
                "elsewhere, and let the runs be made again"
            )


def _refuse_what_differs(found: Iterable[tuple[str, RunRecord]]) -> None:
    """Refuse a grid of two setups, a variant that means two things, and scores of other scenes."""
    grids: dict[str, tuple[str, RunRecord]] = {}
    variants: dict[tuple[str, str], tuple[str, RunRecord]] = {}
    for where, run in found:
        first_where, first = grids.setdefault(run.grid, (where, run))
        if run.setup != first.setup:
            changed = differences(first.setup_settings, run.setup_settings, "there")
            raise UserError(
                f"{where}: {run} is of setup {run.setup}, and {first} in {first_where} of "
                f"{first.setup} ({changed or 'the settings shown are the same'}); runs of "
                "different setups cannot be compared: leave out the file of one of them"
            )
        if run.scenes.keys() != first.scenes.keys():
            odd = sorted(run.scenes.keys() ^ first.scenes.keys())[:_SHOWN_DIFFERENCES]
            raise UserError(
                f"{where}: {run} was scored on other scenes than {first} in {first_where} (only "
                f"in one of them: {', '.join(odd)}); leave out the file that is wrong"
            )
        first_where, first = variants.setdefault((run.grid, run.variant), (where, run))
        if run.options != first.options:
            raise UserError(
                f"{where}: {run} has other options than {first} in {first_where} "
                f"({differences(first.options, run.options, 'there')}); leave out the file of one "
                "of the two, or give the variant another name"
            )


def differences(before: Mapping[str, Any], after: Mapping[str, Any], word: str = "now") -> str:
    """Return in words what differs between two sets of plain settings; "" if nothing does.

    Parameters
    ----------
    before, after
        May be nested.
    word
        What a value of the second stands after: "lr 0.002, now 0.01".
    """
    old, new = flattened(before), flattened(after)
    absent = object()
    found = [
        f"{name} {old.get(name, 'not there')}, {word} {new.get(name, 'not there')}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name, absent) != new.get(name, absent)
    ]
    more = [f"{len(found) - _SHOWN_DIFFERENCES} more"] if len(found) > _SHOWN_DIFFERENCES else []
    return "; ".join(found[:_SHOWN_DIFFERENCES] + more)


def _line(record: RunRecord) -> str:
    content = {
        "format": FORMAT,
        "grid": record.grid,
        "variant": record.variant,
        "seed": record.seed,
    }
    content |= {name: value for name, value in vars(record).items() if value is not None}
    return _json(content, str(record)) + "\n"


def _record(line: str, where: str) -> RunRecord:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise _damaged(where, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(where, "no record of a run")
    found = content.pop("format", None)
    if found != FORMAT:
        raise UserError(
            f"{where}: is of format {found!r}, this version reads {FORMAT}; read the file with the "
            "version that wrote it, or move it elsewhere and let its runs be made again"
        )
    try:
        return RunRecord(**content)
    except (TypeError, ValueError) as error:
        raise _damaged(where, str(error).removeprefix("RunRecord.__init__() ")) from error


def _damaged(where: str, reason: str) -> UserError:
    return UserError(
        f"{where}: damaged ({reason}); take the file from a copy, or remove it and let its runs be "
        "made again"
    )


def _json(content: Mapping[str, Any], what: str, *, sort_keys: bool = False) -> str:
    try:
        return json.dumps(content, sort_keys=sort_keys, allow_nan=False, separators=(",", ":"))
    except TypeError as error:
        raise ValueError(f"{what}: holds what JSON cannot say ({error})") from error


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the folder against other processes that want it alone.

    Raises
    ------
    BlockingIOError
        If another process holds it, and this one is not to wait.
    """
    if sys.platform == "win32":  # no folder can be locked there: one process per file
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(least: int) -> Any:
    return lambda value: type(value) is int and value >= least


def _is_text(form: re.Pattern[str]) -> Any:
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


_RULES: Final[tuple[tuple[str, tuple[str, ...], Any], ...]] = (
    (
        "use letters, digits and single '-', '_', '.' in between",
        ("grid", "variant"),
        _is_text(NAME),
    ),
    ("give 12 hexadecimal digits", ("setup", "teacher"), _is_text(_HASH)),
    ("give a whole number of at least 0", ("seed",), _is_count(0)),
    ("give a whole number of at least 1", ("steps",), _is_count(1)),
    (f"give one of {', '.join(get_args(Role))}", ("role",), lambda role: role in get_args(Role)),
    ("give a number of at least 0", ("seconds",), lambda given: _is_number(given) and given >= 0),
    ("give a text", ("device", "utc"), lambda given: isinstance(given, str)),
    (
        "give names and values",
        ("setup_settings", "options", "versions", "scores", "scenes"),
        lambda given: isinstance(given, Mapping),
    ),
    (
        "give names and numbers",
        ("gradient_norms",),
        lambda given: given is None or isinstance(given, Mapping),
    ),
)
"""What is asked of fields: in words, of which, and whether a value is so."""
