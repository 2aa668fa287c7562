"""One small JSON file per run of an ablation; the files of several machines add up."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from train.core.atomic_write import atomic_write
from train.core.errors import UserError

FORMAT: Final = 1
"""Of the files; a reader refuses every other one."""

Role = Literal["student", "teacher"]

NAME: Final = re.compile(r"[A-Za-z0-9]+([._-]?[A-Za-z0-9]+)*")  # no "--": it parts a file's name
_HASH: Final = re.compile(r"[0-9a-f]{12}")
# What may differ between two executions of one run: the machine and the moment.
GRADIENT_ENTROPY: Final = "gradient_entropy_h"
"""What a run's `stats` call the entropy of the topological gradient, before the dimension."""

_CIRCUMSTANCES: Final = frozenset({"seconds", "versions", "commit", "device", "utc", "stats"})
_SHOWN_DIFFERENCES: Final = 4


def hash_of(settings: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that stand for plain settings, whatever their order.

    Raises
    ------
    ValueError
        If a value is no plain JSON value, or not finite.
    """
    try:
        text = json.dumps(settings, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except TypeError as error:
        raise ValueError(f"hash_of: settings hold what JSON cannot say ({error})") from error
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run of an ablation was and gave.

    Raises
    ------
    ValueError
        If a name, hash or number is not of the form that its description says.
    """

    grid: str
    """Which table of arms; letters, digits and single `-`, `_` or `.` between them."""
    arm: str
    """Which row of it, "edges"; of the same form. "teacher" for the teacher itself."""
    seed: int
    """At least 0. Arms of one seed share initial weights, crops and their order."""
    assay: str
    """12 hexadecimal digits that stand for all that the arms share: data, networks, schedule."""
    assay_settings: Mapping[str, Any]
    """The same in plain words. `simulated` (bool) and `pair` (str) are read by the page."""
    teacher: str
    """12 hexadecimal digits of the teacher's weights; runs are paired within one teacher.

    The students that learn from labels alone have it too: it says with whom they are paired.
    """
    options: Mapping[str, Any]
    """What this arm has of its own: the method and its options."""
    role: Role = "student"
    """Whose scores these are."""
    steps: int
    """Training steps, at least 1."""
    seconds: float
    """Wall time of these steps."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Of Python and the packages that numbers depend on."""
    commit: str | None = None
    """Of the source tree; None outside a checkout."""
    device: str
    """Where it ran, in words."""
    utc: str
    """When it ended, ISO 8601."""
    scores: Mapping[str, float | None]
    """By metric, over all validation streets; intersections over unions are shares, 0 to 1."""
    streets: Mapping[str, Mapping[str, Any]]
    """By street, counts that add up; only the score function knows what is in them."""
    gradient_norms: Mapping[str, float | Mapping[str, float]] | None = None
    """By loss term, or by moment ("start", "end") and then by loss term."""
    stats: Mapping[str, Any] | None = None
    """What else is worth keeping; nothing reads it here."""

    def __post_init__(self) -> None:
        """Check what the annotations cannot say."""
        for name in ("grid", "arm"):
            value = getattr(self, name)
            if not isinstance(value, str) or not NAME.fullmatch(value):
                raise ValueError(
                    f"{name} is {value!r}; use letters, digits and single '-', '_', '.' in between"
                )
        for name in ("assay", "teacher"):
            value = getattr(self, name)
            if not isinstance(value, str) or not _HASH.fullmatch(value):
                raise ValueError(f"{name} is {value!r}; give 12 hexadecimal digits")
        for name, least in (("seed", 0), ("steps", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; give a whole number of at least {least}")
        if self.role not in get_args(Role):
            raise ValueError(f"role is {self.role!r}; give one of {', '.join(get_args(Role))}")
        if not _is_number(self.seconds) or self.seconds < 0:
            raise ValueError(f"seconds is {self.seconds!r}; give a number of at least 0")
        for name in ("device", "utc"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is {getattr(self, name)!r}; give a text")
        for name in ("assay_settings", "options", "versions", "scores", "streets"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is {getattr(self, name)!r}; give names and values")
        for name, value in self.scores.items():
            if value is not None and not _is_number(value):
                raise ValueError(f"scores has {name} {value!r}; give a finite number, or None")
        for name, value in self.streets.items():
            if not isinstance(value, Mapping):
                raise ValueError(f"streets has {name} {value!r}; give its counts")
        _check_norms(self.gradient_norms)

    @property
    def file_name(self) -> str:
        """What the record's file is called."""
        return f"{self.grid}--{self.arm}--seed-{self.seed}--{self.assay}.json"

    @property
    def key(self) -> tuple[str, str, str, int, str, str]:
        """What two executions of the same run have in common."""
        return (self.grid, self.assay, self.arm, self.seed, self.teacher, self.role)


@dataclass(frozen=True)
class Records:
    """The runs of some folders, each once, in the order of their keys."""

    runs: tuple[RunRecord, ...]
    notes: tuple[str, ...]
    """What a reader of the results should know about the files: sentences."""

    def sections(self) -> list[tuple[str, str]]:
        """Return the pairs of grid and assay that occur, in order."""
        return sorted({(run.grid, run.assay) for run in self.runs})


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write a record whole or not at all, over an earlier one of its name; return its file.

    Raises
    ------
    UserError
        If the file cannot be written.
    ValueError
        If the record holds what JSON cannot say: an infinite number, an object.
    """
    path = folder / record.file_name
    content = {"format": FORMAT, **asdict(record)}
    content = {name: value for name, value in content.items() if value is not None}
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"{record.file_name}: holds what JSON cannot say ({error})") from error
    with atomic_write(path) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")
    return path


def read_record(path: Path) -> RunRecord:
    """Return the record of a file.

    Raises
    ------
    UserError
        If it cannot be read, is damaged, is of another format, or is called after another run.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, "no record of a run")
    found = content.pop("format", None)
    if found != FORMAT:
        raise UserError(
            f"{path}: is of format {found!r}, this version reads {FORMAT}; move it elsewhere and "
            "let the run be made again, or read it with the version that wrote it"
        )
    known = {item.name for item in fields(RunRecord)}
    if unknown := sorted(set(content) - known):
        raise _damaged(path, f"unknown {', '.join(unknown)}")
    try:
        record = RunRecord(**content)
    except (TypeError, ValueError) as error:
        reason = str(error).removeprefix("RunRecord.__init__() ")
        raise _damaged(path, reason) from error
    if path.name != record.file_name:
        raise UserError(
            f"{path}: holds the run {record.file_name}; give the file that name, or remove it"
        )
    return record


def read_folders(
    folders: Sequence[Path],
    *,
    expected: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    apart: bool = False,
) -> Records:
    """Return the runs of some folders, of one machine each or of several.

    A run that is there twice counts once, the one that ended first; where the two gave different
    results, a note says so.

    Parameters
    ----------
    folders
        Each holds records, and no other JSON files.
    expected
        By grid, the assay that its runs should have and the settings behind it. A grid that is
        not named should have one assay, that of its run that ended first.
    apart
        Keep runs of other assays, as sections of their own, in place of refusing them.

    Raises
    ------
    UserError
        If a folder is not there, a file is damaged or of another format or assay, an arm has
        two sets of options, or a run was scored on other streets. Names the file.
    """
    found: list[tuple[Path, RunRecord]] = []
    for folder in dict.fromkeys(folders):
        if not folder.is_dir():
            raise UserError(f"{folder}: no folder of records; give one that an ablation wrote")
        found += [(path, read_record(path)) for path in sorted(folder.glob("*.json"))]
    found.sort(key=lambda item: (item[1].utc, item[0].name, str(item[0])))
    if not apart:
        _check_assays(found, expected or {})
    _check_arms(found)
    notes: list[str] = []
    runs: dict[tuple[Any, ...], RunRecord] = {}
    for _, record in found:
        counted = runs.setdefault(record.key, record)
        if counted is not record and (note := _disagreement(counted, record)):
            notes.append(note)
    return Records(tuple(runs[key] for key in sorted(runs)), tuple(sorted(notes)))


def done_runs(
    folder: Path, assay: str, assay_settings: Mapping[str, Any]
) -> set[tuple[str, str, int]]:
    """Return the grid, arm and seed of each record of a folder.

    Parameters
    ----------
    folder
        There already.
    assay, assay_settings
        What every record there should be of.

    Raises
    ------
    UserError
        As `read_folders`; also if a record is of other settings.
    """
    grids = {run.grid: (assay, assay_settings) for run in read_folders([folder]).runs}
    runs = read_folders([folder], expected=grids).runs
    return {(run.grid, run.arm, run.seed) for run in runs}


def _check_assays(
    found: Iterable[tuple[Path, RunRecord]],
    expected: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> None:
    wanted = dict(expected)
    for path, record in found:
        assay, settings = wanted.setdefault(record.grid, (record.assay, record.assay_settings))
        if record.assay != assay:
            differs = _differences(settings, record.assay_settings, "here", "in the file")
            raise UserError(
                f"{path}: is of assay {record.assay}, the others of grid {record.grid} are of "
                f"{assay} ({differs or 'the settings shown are the same'}); runs of different "
                "assays cannot be compared: move it to a folder of its own, or ask for the "
                "assays apart"
            )


def _check_arms(found: Iterable[tuple[Path, RunRecord]]) -> None:
    """Refuse an arm that means two things, and scores on different streets."""
    arms: dict[tuple[str, str, str], tuple[Path, RunRecord]] = {}
    assays: dict[tuple[str, str], tuple[Path, RunRecord]] = {}
    for path, record in found:
        other_path, other = arms.setdefault((record.grid, record.assay, record.arm), (path, record))
        if other.options != record.options:
            differs = _differences(other.options, record.options, other_path.name, path.name)
            raise UserError(
                f"{path}: arm {record.arm} has other options than in {other_path} ({differs}); "
                "remove the runs of one of the two, or give the arm another name"
            )
        other_path, other = assays.setdefault((record.grid, record.assay), (path, record))
        if set(other.streets) != set(record.streets):
            odd = sorted(set(other.streets) ^ set(record.streets))
            raise UserError(
                f"{path}: was scored on other streets than {other_path} (only in one of them: "
                f"{', '.join(odd[:_SHOWN_DIFFERENCES])}); remove the one that is wrong, and let "
                "the run be made again"
            )


def _disagreement(counted: RunRecord, again: RunRecord) -> str | None:
    """Return a sentence if a run's second execution gave something else."""
    first, second = asdict(counted), asdict(again)
    names = [name for name in first if name not in _CIRCUMSTANCES and first[name] != second[name]]
    if not names:
        return None
    scores = _differences(counted.scores, again.scores, "counted", "again")
    return (
        f"{counted.file_name}: is there twice with different {', '.join(names)}"
        + (f" ({scores})" if scores else "")
        + f"; the one that ended first counts ({counted.utc}, {counted.device})"
    )


def _differences(first: Mapping[str, Any], second: Mapping[str, Any], one: str, other: str) -> str:
    """Return in words what differs between two sets of plain settings; "" if nothing does."""
    left, right = flattened(first), flattened(second)
    names = [
        name
        for name in dict.fromkeys((*left, *right))
        if (name in left, left.get(name)) != (name in right, right.get(name))
    ]
    shown = [
        f"{name}: {left.get(name, 'not there')} {one}, {right.get(name, 'not there')} {other}"
        for name in names[:_SHOWN_DIFFERENCES]
    ]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return "; ".join(shown)


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one table with dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found.update(flattened(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def _check_norms(norms: object) -> None:
    if norms is None:
        return
    if not isinstance(norms, Mapping):
        raise ValueError(f"gradient_norms is {norms!r}; give names and numbers")
    for name, value in norms.items():
        values = value.values() if isinstance(value, Mapping) else [value]
        if not all(_is_number(number) and number >= 0 for number in values):
            raise ValueError(f"gradient_norms has {name} {value!r}; give numbers of at least 0")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: a damaged record ({reason}); remove it and let the run be made again"
    )
