"""Where a run's numbers come from: versions, commit, command."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

PACKAGES = ("topodistill", "torch", "numpy", "numba")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    found.update({name: importlib.metadata.version(name) for name in PACKAGES})
    return found


def commit() -> dict[str, object]:
    """Return the commit of the source tree and whether it has uncommitted changes.

    Both are None where the package does not run from a git checkout.
    """
    folder = Path(__file__).resolve().parents[2]
    unknown: dict[str, object] = {"commit": None, "dirty": None}
    if not (folder / ".git").exists():
        return unknown
    try:
        head = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return unknown
    return {"commit": head, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def command() -> str:
    """Return the command line in the form a reader can run."""
    return shlex.join(["python", "-m", "train.run", *sys.argv[1:]])
