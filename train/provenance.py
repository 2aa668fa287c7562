"""Where a run's numbers come from: versions, commit, device."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from train.errors import UserError

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
    folder = Path(__file__).resolve().parent.parent
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


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` asks for.

    Parameters
    ----------
    name
        "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.

    Raises
    ------
    UserError
        If the name is no device, or the GPU is not there.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name!r} is no device: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(
            f"--device {name} is not there: torch {torch.__version__} sees {gpus} GPUs; "
            "use --device cpu, or install a CUDA build of torch"
        )
    return device


def describe_device(device: torch.device) -> str:
    """Return a device's name for people: the GPU's, or the CPU with its threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
