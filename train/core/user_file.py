"""What stands in a Python file of the user's: a network, a method, a dataset, as FILE.py:NAME."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from train.core.console import logger
from train.core.errors import UserError

SUFFIX: Final = ".py"


def is_user_file(name: str) -> bool:
    """Return whether a name is that of a Python file."""
    return name.endswith(SUFFIX)


def is_in_user_file(name: str) -> bool:
    """Return whether a name is FILE.py:NAME, or lacks only the NAME."""
    return f"{SUFFIX}:" in name or is_user_file(name)


def parse_in_file(flag: str, name: str, what: str) -> tuple[str, str]:
    """Return the absolute path and the name of "FILE.py:NAME".

    Parameters
    ----------
    flag
        Where it was given, without the dashes, for messages.
    name
        As given.
    what
        What NAME is, in capitals, for messages.

    Raises
    ------
    UserError
        If there is no such file, or nothing behind it.
    """
    file, _, inside = name.rpartition(":") if f"{SUFFIX}:" in name else (name, "", "")
    if not inside:
        raise UserError(f"--{flag} {name}: say which {what.lower()}, FILE.py:{what}")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"--{flag} {name}: there is no file {path}; give the path of a Python file")
    return str(path.resolve()), inside


def whole_name(flag: str, name: str, what: str) -> str:
    """Return a name whose file is named from the root, for what goes on elsewhere; others as is."""
    return ":".join(parse_in_file(flag, name, what)) if is_in_user_file(name) else name


def short_name(name: str) -> str:
    """Return "my_file" for "FOLDER/my_file.py:NAME", for folders and titles; others as they are."""
    return Path(name.partition(f"{SUFFIX}:")[0]).stem if is_in_user_file(name) else name


def load_in_file(path: Path, name: str, what: str) -> Any:
    """Run a Python file and return what has a name in it.

    The file is run once in a process; while it does not change, later calls return the same object.

    Parameters
    ----------
    path
        Absolute. Modules beside it can be imported by it if they are importable from where the
        command was started.
    name
        Of what is wanted.
    what
        What that is: "function", "class".

    Raises
    ------
    UserError
        If the file is missing, cannot be run, or has nothing of that name.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: the file that has the {what} {name} is not there; put it back to that place"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    # Two files of one name are two modules, and so is a file that was changed.
    digest = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()[:16]
    module = f"topodistill_file_{path.stem}_{digest}"
    if module not in sys.modules:
        _run(path, module)
    found = getattr(sys.modules[module], name, None)
    if found is None:
        raise UserError(f"{path}: has no {what} {name}; name it as FILE.py:{what.upper()}")
    return found


def call_in_file(path: Path, function: str, *arguments: Any, **options: Any) -> Any:
    """Return what a function of a user's file returns.

    Raises
    ------
    UserError
        As `load_in_file`; also if the function raises: one line that names the line in the file.
    """
    called: Callable[..., Any] = load_in_file(path, function, "function")
    if not callable(called):
        raise UserError(f"{path}: has no function {function}; name it as FILE.py:FUNCTION")
    try:
        return called(*arguments, **options)
    except UserError:
        raise
    except Exception as error:
        place = _last_line(error, path)
        raise UserError(
            f"{path}{place}: {function} failed: {type(error).__name__}: {error}"
        ) from error


def _run(path: Path, name: str) -> None:
    """Run a file as a module."""
    logger.info(f"running {path}")
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
