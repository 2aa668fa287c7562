"""Reads the files of a finished run, and takes from them what both kinds of page show."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from train.core.errors import UserError
from train.engine.run_folder import RunFolder
from train.engine.run_log import read_log

ROLES: Final = ("teacher", "student", "baseline")
"""Networks of a run, in the order in which pages name them; the baseline is the student alone."""

OTHER: Final = ("gradient_norm", "lr", "seconds")
"""Numbers of a step that are no loss term."""

ENDS: Final = 10
"""Steps averaged at either end: one step sees one or two crops, and says little."""


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Return the metrics, the configuration record and the step records of a finished run.

    Raises
    ------
    UserError
        If the folder holds no finished run.
    """
    run = RunFolder(folder)
    metrics, config = _read_json(folder, run.metrics), _read_json(folder, run.config)
    if not run.log.exists():
        raise _missing(folder, run.log.name)
    return metrics, config, read_log(run.log)


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Return what a run recorded sweep by sweep; nothing for a run of an earlier version.

    Raises
    ------
    UserError
        If the file is there and cannot be read.
    """
    path = RunFolder(folder).evaluation
    return _read_json(folder, path) if path.exists() else {}


def _read_json(folder: Path, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
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


def mean_of(steps: Sequence[dict[str, Any]], name: str) -> float:
    """Return the mean of a number over some steps."""
    return sum(float(step[name]) for step in steps) / len(steps)


def curves(steps: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return stage and name of every loss term that was logged, in the order of the log."""
    found: dict[tuple[str, str], None] = {}
    for step in steps:
        if step["stage"] in ROLES:
            terms = [n for n, value in step.items() if isinstance(value, float) and n not in OTHER]
            found.update(dict.fromkeys((step["stage"], term) for term in terms))
    return list(found)


def without_folders(command: str) -> str:
    """Return a command line with the folders of one machine replaced by DIR."""
    words = shlex.split(command)
    for flag in ("--data-root", "--output", "--teacher-checkpoint"):
        if flag in words[:-1]:
            words[words.index(flag) + 1] = "DIR"
        words = [f"{flag}=DIR" if word.startswith(f"{flag}=") else word for word in words]
    return shlex.join(words)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in percent; "-" for none."""
    return "-" if share is None else f"{100 * share:.{digits}f}"


def option_text(value: object) -> str:
    """Return an option's value as it stands on a command line."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
