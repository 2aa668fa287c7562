"""A source's sweeps kept on disk as they are in memory, for formats that are slow to decode.

A file holds one sweep: a checksum of the rest, a line of JSON that says what it is and what it was
made of, then the arrays. Whatever does not fit (another version, other source files, damage) is
made anew from the source.
"""

import hashlib
import inspect
import json
import math
import os
import secrets
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import FrameSource, LidarFrame

_MAGIC: Final = b"topodistill sweep 1\n"
_CHECKSUM_BYTES: Final = 4
_SUFFIX: Final = ".sweep"
_ALIGNMENT: Final = 64
_FIELDS: Final = {"pose": "<f8", "coord": "<f4", "strength": "<f4", "segment": "i1"}
"""How each array is kept, the widest numbers first; train ids fit one byte."""


class DecodedCache:
    """A source that reads each sweep from its own files once, and then from a folder.

    Worth most where decoding is slow (Waymo's range images); `docs/results/data.md` compares. An
    entry takes 17 bytes a point. Processes may share a folder, and so may several sources.

    Parameters
    ----------
    source
        Where sweeps come from when the folder has no entry that is sound and current. An entry is
        current while the source's files of the sweep and the code that reads them do not change.
    folder
        Made if it is not there.
    max_bytes
        Once entries take this much, no more are written and the other sweeps are read from the
        source; exceeded by at most an entry for each process. None for no bound.

    Raises
    ------
    UserError
        If the folder cannot be made or written to, or a sweep cannot be read from the source.
    """

    def __init__(
        self, source: FrameSource, folder: Path | str, *, max_bytes: int | None = None
    ) -> None:
        self.source = source
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._reader = _reader_hash(type(source))
        self._names = tuple(source.names)  # some sources make them anew each time
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            used = sum(path.stat().st_size for path in self.folder.glob(f"*/*{_SUFFIX}"))
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot keep decoded sweeps ({error.strerror}); give a folder that "
                "can be written to, or leave it out"
            ) from error
        # Shared memory: workers hold copies of this object and add to one sum.
        self._used_bytes = torch.tensor(used, dtype=torch.int64)
        self._used_bytes.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def names(self) -> Sequence[str]:
        """The source's names."""
        return self._names

    @property
    def skipped_unlabeled(self) -> int:
        """How many sweeps the source left out because they have no labels."""
        return self.source.skipped_unlabeled

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What the source left out because it is damaged."""
        return self.source.unreadable

    def __len__(self) -> int:
        """Return how many sweeps there are."""
        return len(self.source)

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the source's files of a sweep."""
        return self.source.files(index)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one sweep, from the folder if it is there.

        Raises
        ------
        UserError
            If the sweep cannot be read from the source, or its entry cannot be written.
        """
        # Looked at before the source is read: a file that changes meanwhile makes a stale entry.
        made_of = self._made_of(index)
        path = self._path(made_of)
        sweep = _unpacked(path, made_of)
        if sweep is not None:
            return sweep
        sweep = self.source[index]
        if self.max_bytes is None or int(self._used_bytes) < self.max_bytes:
            self._keep(path, _packed(sweep, made_of))
        return sweep

    def _made_of(self, index: int) -> dict[str, Any]:
        """Return what tells one state of a sweep's files and of their reader from another."""
        files = []
        for path in self.source.files(index):
            try:
                status = path.stat()
            except OSError as error:
                raise UserError(
                    f"{path}: cannot be read ({error.strerror}); check that it exists and its "
                    "rights"
                ) from error
            files.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
        return {"name": self._names[index], "reader": self._reader, "files": files}

    def _path(self, made_of: dict[str, Any]) -> Path:
        """Return where the entry lies: by the sweep and its files' places, whatever their state."""
        places = [made_of["name"], *(path for path, _, _ in made_of["files"])]
        key = hashlib.sha256(json.dumps(places).encode()).hexdigest()
        # Folders of some hundred entries each: one of 20,000 is slow to list.
        return self.folder / key[:2] / f"{key[2:34]}{_SUFFIX}"

    def _keep(self, path: Path, data: bytes) -> None:
        """Write an entry whole or not at all, also when other processes write the same one."""
        unfinished = path.with_name(f".{path.stem}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replaced = path.stat().st_size if path.exists() else 0
            try:
                unfinished.write_bytes(data)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{path}: a decoded sweep cannot be written ({error.strerror}); make room, bound "
                "the folder's size, or leave it out"
            ) from error
        self._used_bytes += len(data) - replaced


def _reader_hash(kind: type) -> str:
    """Return what tells one state of a source's code from another: its package's files."""
    digest = hashlib.sha256(kind.__qualname__.encode())
    for path in sorted(Path(inspect.getfile(kind)).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()[:32]


def _packed(sweep: LidarFrame, made_of: dict[str, Any]) -> bytes:
    """Return an entry's contents."""
    arrays, shapes = [], {}
    for name, dtype in _FIELDS.items():
        array: NDArray[Any] | None = getattr(sweep, name)
        if array is None:
            continue
        kept = array.astype(dtype)
        if not np.array_equal(kept, array):
            raise ValueError(f"DecodedCache: {name} of sweep {sweep.name} does not fit {dtype}")
        arrays.append(kept.tobytes())
        shapes[name] = array.shape
    header = json.dumps({"made_of": made_of, "shapes": shapes, "path": str(sweep.path)}).encode()
    before = len(_MAGIC) + _CHECKSUM_BYTES + len(header) + 1
    body = header + b" " * (-before % _ALIGNMENT) + b"\n" + b"".join(arrays)
    return _MAGIC + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES) + body


def _unpacked(path: Path, made_of: dict[str, Any]) -> LidarFrame | None:
    """Return an entry's sweep; None if there is no entry, or it is damaged or stale."""
    try:
        data = _contents(path)
    except OSError:
        # Not there, or not ours to read: it is made anew, and writing says what is wrong.
        return None
    start = len(_MAGIC) + _CHECKSUM_BYTES
    checksum = zlib.crc32(memoryview(data)[start:]).to_bytes(_CHECKSUM_BYTES)
    if data[:start] != _MAGIC + checksum:
        return None
    end = data.index(b"\n", start)
    header = json.loads(data[start:end])
    if header["made_of"] != made_of:
        return None
    at = end + 1
    fields: dict[str, NDArray[Any] | None] = {"segment": None, "pose": None}
    for name, shape in header["shapes"].items():
        count = math.prod(shape)
        dtype = np.dtype(_FIELDS[name])
        array = np.frombuffer(data, dtype=dtype, count=count, offset=at).reshape(shape)
        fields[name] = array.astype(np.int64) if name == "segment" else array
        at += count * dtype.itemsize
    return LidarFrame(name=made_of["name"], path=Path(header["path"]), **fields)  # type: ignore[arg-type]


def _contents(path: Path) -> bytearray:
    """Return a file's bytes, in memory that arrays may lie in and be written to."""
    with path.open("rb") as file:
        data = bytearray(os.fstat(file.fileno()).st_size)
        del data[file.readinto(data) :]
    return data
