"""Where numbers come from: versions, commit, command, processor."""

import hashlib
import importlib.metadata
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGES = ("topodistill", "torch", "numpy", "numba")


def version(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that numbers depend on.

    None for what is not installed: this package itself where it runs from a copied folder.
    """
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> dict[str, object]:
    """Return the commit of the source tree and whether it has uncommitted changes.

    Where the package runs from a copied folder the commit is what its file `.commit` says, and
    nobody knows whether something was changed. Without that file both are None.
    """
    folder = Path(__file__).resolve().parents[2]
    if (folder / ".git").exists():
        head, status = git(folder, "rev-parse", "HEAD"), git(folder, "status", "--porcelain")
        if head is not None and status is not None:
            return {"commit": head, "dirty": bool(status)}
    return {"commit": carried_commit(folder), "dirty": None}


def carried_commit(folder: Path) -> str | None:
    """Return the commit that a copied folder's file `.commit` names; None if it names none."""
    path = folder / ".commit"
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return text if re.fullmatch("[0-9a-f]{40}", text) else None


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints in a folder; None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], check=False, capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def processor() -> str:
    """Return the processor's own name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def command() -> str:
    """Return the command line in the form a reader can run."""
    return f"{program('train.run')} {shlex.join(sys.argv[1:])}".rstrip()


def without_folders(command: str, run: Mapping[str, object]) -> str:
    """Return a run's command line with the folders of one machine replaced by DIR."""
    for name in ("data_root", "output", "teacher_checkpoint", "initial_teacher"):
        if run.get(name):
            command = command.replace(str(run[name]), "DIR")
    return command


def program(module: str) -> str:
    """Return how the running command was called: "topodistill NAME", or "python -m MODULE"."""
    called = sys.argv[0]
    return called if called.startswith("topodistill ") else f"python -m {module}"
