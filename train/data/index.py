"""Tables that are slow to build from a dataset's own files, built once and kept on disk.

An index is a dict of numpy arrays (numbers, or text as fixed-width bytes or str; no objects). Its
file starts with a hash of the rest, so that damage of any kind is noticed, and says which files it
was built from, so that it is rebuilt when one of them changed.
"""

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import reading

__all__ = ["FOLDER", "Index", "cached_index", "write_whole"]

Index = dict[str, NDArray[Any]]
"""Arrays by name."""

FOLDER: Final = ".topodistill-index"
"""The folder beside the data that holds its indices."""

_MAGIC: Final = b"topodistill index 1\n"
_HASH_BYTES: Final = 32
_BUILT_FROM: Final = "made_of"


def cached_index(
    root: Path,
    key: str,
    sources: Sequence[Path],
    build: Callable[[], Mapping[str, NDArray[Any]]],
    cache_dir: Path | None = None,
    *,
    version: int = 1,
) -> Index:
    """Return an index from disk, or build and store it if there is none that is sound and current.

    Kept in `cache_dir` if that is given; else in `<root>/.topodistill-index/`; else, where the data
    cannot be written to, in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`). Several
    processes may do this at once: each sees a whole file or none.

    Parameters
    ----------
    root
        The data root.
    key
        The index's name, part of a file name; one for each table of a root.
    sources
        The files that the index is built from. When the list, or the size or time of change of one
        of them differs, the stored index is stale.
    build
        Builds the index; called at most once.
    cache_dir
        Where to keep indices of any number of roots; created if it is not there.
    version
        To be raised whenever `build` returns something else for the same files.

    Raises
    ------
    UserError
        If a source cannot be looked at, or the index can be written nowhere.
    """
    built_from = _describe(root, sources, version)
    places = _places(root, key, cache_dir)
    for place in places:
        found = _read(place, built_from)
        if found is not None:
            return found
    index = dict(build())
    data = _packed(index, built_from)
    refusals = []
    for place in places:
        try:
            write_whole(place, data)
        except OSError as error:
            refusals.append(f"{place.parent} ({error.strerror or error})")
            continue
        return index
    raise UserError(
        f"{root}: the index of the data can be written to none of {', '.join(refusals)}; "
        "give a cache folder that can be written to"
    )


def _places(root: Path, key: str, cache_dir: Path | None) -> list[Path]:
    """Return the files in which an index may lie, the preferred one first."""
    name = f"{key}.index"
    # Indices of several roots share a cache folder.
    shared = f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]}-{name}"
    if cache_dir is not None:
        return [Path(cache_dir) / shared]
    beside = root / FOLDER / name
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        caches = Path(chosen) if chosen else Path.home() / ".cache"
    except RuntimeError:  # no home folder: a user id without an account, as containers have
        return [beside]
    return [beside, caches / "topodistill" / shared]


def _describe(root: Path, sources: Sequence[Path], version: int) -> bytes:
    """Return what identifies the state of the sources."""
    files = []
    for path in sources:
        with reading(path):
            status = path.stat()
        # Relative to the root: data that is moved with its index stays indexed.
        files.append([os.path.relpath(path, root), status.st_size, status.st_mtime_ns])
    return json.dumps({"version": version, "files": files}).encode()


def _packed(index: Index, built_from: bytes) -> bytes:
    """Return a file's contents."""
    objects = [name for name, array in index.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"cached_index: {', '.join(objects)} holds objects, which are not stored")
    stream = io.BytesIO()
    stamped = index | {_BUILT_FROM: np.frombuffer(built_from, dtype=np.uint8)}
    np.savez(stream, **stamped)  # type: ignore[arg-type]
    body = stream.getvalue()
    return _MAGIC + hashlib.sha256(body).digest() + body


def _read(path: Path, built_from: bytes) -> Index | None:
    """Return the index in a file; None if there is none, or it is damaged or stale."""
    try:
        data = path.read_bytes()
    except OSError:
        # Not there or not ours to read: the caller builds it, and says so if it cannot be stored.
        return None
    start = len(_MAGIC) + _HASH_BYTES
    body = data[start:]
    if data[:start] != _MAGIC + hashlib.sha256(body).digest():
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        if arrays[_BUILT_FROM].tobytes() != built_from:
            return None
        return {name: arrays[name] for name in arrays.files if name != _BUILT_FROM}


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also when other processes write the same one.

    Raises
    ------
    OSError
        What the system says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as stream:
            stream.write(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
