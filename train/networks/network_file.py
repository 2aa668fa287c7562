"""A network from a Python file of the user's: FILE.py:FUNCTION."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from train.core.console import logger
from train.core.errors import UserError

SUFFIX: Final = ".py"


def is_network_file(network: str) -> bool:
    """Return whether a network's name is that of a Python file."""
    return network.endswith(SUFFIX)


def resolved_file(path: Path, where: str) -> Path:
    """Return the absolute path of a file that is there.

    Parameters
    ----------
    path
        As given.
    where
        Begins the message.

    Raises
    ------
    UserError
        If there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{where}: there is no file {path}; give the path of a Python file")
    return path.resolve()


def load_builder(path: Path, function: str) -> Callable[..., Any]:
    """Run a Python file and return a function of it.

    The file is run once in a process; while it does not change, later calls return the same
    function.

    Parameters
    ----------
    path
        Absolute. Modules beside it can be imported by it if they are importable from where the
        command was started.
    function
        Name of what builds the network.

    Raises
    ------
    UserError
        If the file is missing, cannot be run, or has no such function.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: the file that builds this network is not there; put it back to that place "
            f"(it must have the function {function})"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    # Two files of one name are two modules, and so is a file that was changed.
    digest = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()[:16]
    name = f"topodistill_network_{path.stem}_{digest}"
    if name not in sys.modules:
        _run(path, name)
    found = getattr(sys.modules[name], function, None)
    if not callable(found):
        raise UserError(f"{path}: has no function {function}; name it as FILE.py:FUNCTION")
    builder: Callable[..., Any] = found
    return builder


def call_builder(path: Path, function: str, *arguments: Any, **options: Any) -> Any:
    """Return what a function of a user's file returns.

    Raises
    ------
    UserError
        As `load_builder`; also if the function raises: one line that names the line in the file.
    """
    builder = load_builder(path, function)
    try:
        return builder(*arguments, **options)
    except UserError:
        raise
    except Exception as error:
        place = _last_line(error, path)
        raise UserError(
            f"{path}{place}: {function} failed: {type(error).__name__}: {error}"
        ) from error


def _run(path: Path, name: str) -> None:
    """Run a file as a module."""
    logger.info(f"network: running {path}")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their own module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        place = _last_line(error, path)
        raise UserError(f"{path}{place}: {type(error).__name__}: {error}") from error


def _last_line(error: BaseException, path: Path) -> str:
    """Return ":LINE" of a file where an error was raised; a syntax error names it itself."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}" if error.lineno else ""
    line, step = "", error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            line = f":{step.tb_lineno}"
        step = step.tb_next
    return line
