"""Tokens and tables as nuScenes has them, and the check of a complaint, for all tests of it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path


def token(*what: object) -> str:
    """Return a token as nuScenes has them."""
    return hashlib.md5(repr(what).encode(), usedforsecurity=False).hexdigest()


def write_table(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    """Write a table as the download has it: every entry on a line of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows, indent=0))
    return path


def edit_table(path: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    """Change a table's rows in place."""
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows, indent=0))
