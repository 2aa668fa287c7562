"""Reads the files of a finished run, and takes from them what its page shows."""

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from train.core.bounded import read_json
from train.core.errors import UserError
from train.engine.run_folder import ROLES, RunFolder
from train.engine.run_log import read_log

OTHER: Final = ("gradient_norm", "lr", "seconds")
"""Numbers of a step that are no loss term."""

_FOLDERS: Final = ("--data-root", "--output", "--teacher-checkpoint", "--data.cache-dir")


@dataclass(frozen=True)
class Records:
    """What the files of a finished run say.

    Attributes
    ----------
    folder
        The run's.
    metrics, config
        Of `metrics.json` and `config.json`.
    steps
        The lines of its log.
    evaluation
        What it recorded frame by frame; empty for a run of an earlier version.
    """

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]
    steps: list[dict[str, Any]]
    evaluation: dict[str, Any]


def read_run(folder: Path) -> Records:
    """Return the records of a finished run.

    Raises
    ------
    UserError
        If the folder holds no finished run, or a file of it cannot be read.
    """
    run = RunFolder(folder)
    metrics, config = _read_json(folder, run.metrics), _read_json(folder, run.config)
    if not run.log.exists():
        raise _missing(folder, run.log.name)
    evaluation = _read_json(folder, run.evaluation) if run.evaluation.exists() else {}
    return Records(folder, metrics, config, read_log(run.log), evaluation)


@contextmanager
def records_of_this_version(folder: Path) -> Iterator[None]:
    """Turn what is missing in a run's records into one line.

    Raises
    ------
    UserError
        In place of the `KeyError`, `TypeError`, `AttributeError` or `StopIteration` of its body.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(
            f"--run {folder}: its records are not those of this version ({error!r}); report on it "
            "with the version that made it"
        ) from error


def _read_json(folder: Path, path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except FileNotFoundError as error:
        raise _missing(folder, path.name) from error
    except OSError as error:
        raise UserError(
            f"--run {folder}: {path.name} cannot be read ({error.strerror}); check its permissions"
        ) from error
    except ValueError as error:  # no UTF-8, or no JSON
        raise UserError(f"--run {folder}: a damaged file ({path.name}: {error})") from error
    if not isinstance(found, dict):
        raise UserError(f"--run {folder}: a damaged file ({path.name} holds no object)")
    return found


def _missing(folder: Path, name: str) -> UserError:
    return UserError(f"--run {folder}: no {name}; give the --output of a finished run")


def numbers_of(steps: Iterable[Mapping[str, Any]], stage: str, name: str) -> dict[int, float]:
    """Return step -> number of those records of a stage that have it, in the order of the log.

    Other programs may write to a log, too: what is no finite number is no value.
    """
    return {
        step["step"]: float(step[name])
        for step in steps
        if step["stage"] == stage and _is_number(step.get(name))
    }


def curves(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return stage and name of every loss term that was logged, in the order of the log."""
    found: dict[tuple[str, str], None] = {}
    for step in steps:
        if step["stage"] in ROLES:
            terms = [
                name
                for name, value in step.items()
                if isinstance(value, float) and _is_number(value) and name not in OTHER
            ]
            found.update(dict.fromkeys((step["stage"], term) for term in terms))
    return list(found)


def gradient_norms_of(
    steps: Iterable[Mapping[str, Any]], stage: str
) -> list[tuple[int, dict[str, float]]]:
    """Return the steps of a stage that logged gradient norms, with the norm of each term."""
    return [
        (step["step"], {term: float(n) for term, n in norms.items() if _is_number(n)})
        for step in steps
        if step["stage"] == stage and isinstance(norms := step.get("gradient_norms"), dict)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fit_to_publish(command: str) -> str:
    """Return a command line without what is of one machine or one person.

    Folders become DIR, and the account on a benchmark's server NAME@HOST.
    """
    words: list[str] = []
    flag = ""
    for word in shlex.split(command):
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            flag = name.replace("_", "-")
            words.append(f"{name}={_public(flag, value)}" if equals else word)
        else:
            words.append(_public(flag, word))
            flag = ""
    return shlex.join(words)


def _public(flag: str, value: str) -> str:
    """Return the value of a flag as others may see it; `flag` is empty for a further value."""
    if flag == "--submit-account" or re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        return "NAME@HOST"
    if flag in _FOLDERS:
        return "DIR"
    return f"DIR/{Path(value).name}" if value.startswith(("/", "~")) else value


def option_text(value: object) -> str:
    """Return an option's value as it stands on a command line."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
