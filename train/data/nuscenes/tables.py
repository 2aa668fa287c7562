"""Reads nuScenes' tables, JSON arrays of objects, row by row in bounded memory.

The largest, `sample_data.json` and `ego_pose.json` of v1.0-trainval, have 2.6 million rows.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import reading

_Entry = TypeVar("_Entry")

_CHUNK_CHARACTERS: Final = 1 << 20
MAX_ROW_CHARACTERS: Final = 1 << 20
"""No row of a table that is read here comes near to it; a longer one is damage."""

_BETWEEN: Final = re.compile(r"[ \t\r\n]*")
_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_NAME_CHARACTERS: Final = 250


class Row:
    """A row of a table whose values are checked as they are asked for.

    Parameters
    ----------
    path
        The table.
    number
        Counted from 0.
    values
        The row itself.
    """

    __slots__ = ("number", "path", "values")

    def __init__(self, path: Path, number: int, values: dict[str, Any]) -> None:
        self.path, self.number, self.values = path, number, values

    def token(self, key: str = "token") -> str:
        """Return a value that names a row: letters, digits, - and _."""
        value = self._get(key)
        if not isinstance(value, str) or not _TOKEN.fullmatch(value):
            raise self.error(f"{key!r} is {_show(value)}, not a token of letters and digits")
        return value

    def text(self, key: str) -> str:
        """Return a value that is text on one line."""
        value = self._get(key)
        if not isinstance(value, str) or not value.isprintable() or not value:
            raise self.error(f"{key!r} is {_show(value)}, not text on one line")
        return value

    def file_name(self, key: str = "filename") -> str:
        """Return a path below the data root, its parts joined by /."""
        value = self.text(key)
        parts = value.split("/")
        if len(value) > _MAX_NAME_CHARACTERS or {"", ".", ".."} & set(parts) or "\\" in value:
            raise self.error(f"{key!r} is {_show(value)}, not a file below the data root")
        return value

    def flag(self, key: str) -> bool:
        """Return a value that is true or false."""
        value = self._get(key)
        if not isinstance(value, bool):
            raise self.error(f"{key!r} is {_show(value)}, not true or false")
        return value

    def integer(self, key: str) -> int:
        """Return a whole number of at most 63 bits."""
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
            raise self.error(f"{key!r} is {_show(value)}, not a whole number")
        return value

    def transform(self) -> NDArray[np.float64]:
        """Return what "rotation" (w, x, y, z) and "translation" (meters) do, (4, 4) float64."""
        w, x, y, z = self._numbers("rotation", 4)
        length = math.sqrt(w * w + x * x + y * y + z * z)
        if not 0.99 < length < 1.01:
            raise self.error(f"'rotation' has length {length:.6g}, a quaternion of a turn has 1")
        w, x, y, z = w / length, x / length, y / length, z / length
        tx, ty, tz = self._numbers("translation", 3)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), tx],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), ty],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), tz],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )

    def found(self, key: str, table: Mapping[str, _Entry], path: Path) -> _Entry:
        """Return what a token points to in another table, whose file is `path`."""
        token = self.token(key)
        if token not in table:
            raise self.error(f"{key!r} points to {token}, which is not in {path.name}")
        return table[token]

    def error(self, reason: str) -> UserError:
        """Return the complaint about this row."""
        return UserError(
            f"{self.path}: row {self.number} (counted from 0): {reason}; "
            "the table is damaged, unpack it again"
        )

    def _get(self, key: str) -> object:
        try:
            return self.values[key]
        except KeyError:
            raise self.error(f"has no {key!r}") from None

    def _numbers(self, key: str, count: int) -> list[float]:
        """Return a list of finite numbers."""
        value = self._get(key)
        if isinstance(value, list) and len(value) == count:
            numbers = [
                float(entry)
                for entry in value
                if isinstance(entry, int | float)
                and not isinstance(entry, bool)
                and abs(entry) < 1e12  # False for NaN as well
            ]
            if len(numbers) == count:
                return numbers
        raise self.error(f"{key!r} is {_show(value)}, not {count} finite numbers")


def table_files(root: Path, version: str, names: Iterable[str]) -> dict[str, Path]:
    """Return the files of some of a version's tables, by name.

    Raises
    ------
    UserError
        If one is not there.
    """
    folder = root / version
    tables = {name: folder / f"{name}.json" for name in names}
    with reading(folder):
        for path in tables.values():
            if not path.is_file():
                raise UserError(
                    f"{path}: no such file; unpack the version's tables (the metadata archive) "
                    f"into {root}"
                )
    return tables


def read_rows(path: Path) -> Iterator[Row]:
    """Give the rows of a table one after the other.

    Parameters
    ----------
    path
        A JSON array of objects, UTF-8. At most one chunk and one row of it are in memory at a time.

    Raises
    ------
    UserError
        If the file cannot be read or is no such array; the message says where it stops being one.
    """
    hint = "unpack the version's tables (the metadata archive) into the data root"
    try:
        # Line ends as they are: translating them would only cost time.
        with reading(path, hint), path.open(encoding="utf-8", newline="") as stream:
            for number, values in enumerate(_objects(path, _Text(stream))):
                yield Row(path, number, values)
    except UnicodeDecodeError as error:
        raise _damaged(path, f"is no UTF-8 text ({error.reason})") from error


def utf_8(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Return texts as UTF-8, a quarter of the size of numpy's own text."""
    return np.array([text.encode() for text in texts], dtype=np.bytes_)


class _Text:
    """A part of a long text, moved on as it is consumed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.held, self.at = "", 0

    def more(self) -> bool:
        """Drop what is consumed and read on; return False at the end."""
        new = self._stream.read(_CHUNK_CHARACTERS)
        self.held, self.at = self.held[self.at :] + new, 0
        return bool(new)

    def next(self) -> str:
        """Return the next character that is no white space, "" at the end; do not consume it."""
        while True:
            found = _BETWEEN.match(self.held, self.at)
            assert found is not None  # it matches the empty text as well
            self.at = found.end()
            if self.at < len(self.held):
                return self.held[self.at]
            if not self.more():
                return ""


def _objects(path: Path, text: _Text) -> Iterator[dict[str, Any]]:
    """Give the objects of an array."""
    if (first := text.next()) != "[":
        found = f"begins with {first!r}" if first else "is empty"
        raise _damaged(path, f"{found}, expected a JSON array of rows, '['")
    text.at += 1
    decode = json.JSONDecoder().raw_decode
    number = 0
    more_to_come = text.next() != "]"
    while more_to_come:
        if (mark := text.next()) != "{":
            raise _damaged(path, _instead(mark, f"'{{' at the begin of row {number}"))
        while True:
            try:
                values, text.at = decode(text.held, text.at)
                break
            except (ValueError, RecursionError) as error:
                # Perhaps only the rest of the row is not here yet.
                if len(text.held) - text.at > MAX_ROW_CHARACTERS or not text.more():
                    reason = str(error).split(":")[0]
                    raise _damaged(path, f"row {number} is no JSON object ({reason})") from None
        yield values
        number += 1
        mark = text.next()
        if mark not in (",", "]"):
            raise _damaged(path, _instead(mark, f"',' or ']' after row {number - 1}"))
        more_to_come = mark == ","
        text.at += more_to_come
    text.at += 1
    if mark := text.next():
        raise _damaged(path, f"goes on with {mark!r} after the array's end")


def _instead(mark: str, wanted: str) -> str:
    return (f"has {mark!r}" if mark else "ends") + f" where there should be {wanted}"


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: {reason}; the table is damaged or cut short, unpack it again")


def _show(value: object) -> str:
    """Return a value on one short line."""
    if isinstance(value, dict | list):
        return f"a {type(value).__name__} of {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
