"""A source's frames kept on disk as they are in memory, for formats that are slow to decode.

A file holds one frame: a checksum of the rest, a line of JSON that says what it is and which files
it was decoded from, then the arrays. Whatever does not fit (another version, other source files,
damage) is decoded again from the source.
"""

import dataclasses
import hashlib
import inspect
import itertools
import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from train.core.console import Progress, logger
from train.core.errors import UserError
from train.core.interrupts import reader_ignores_stop
from train.data import readers
from train.data.batch import OnBadFrame
from train.data.files import reading
from train.data.frame import CameraImage, FrameSource, HasCameras, LidarFrame, ReadsInFileOrder
from train.data.index import write_whole

_MAGIC: Final = b"topodistill frame 2\n"
_CHECKSUM_BYTES: Final = 4
_SUFFIX: Final = ".frame"
_ALIGNMENT: Final = 64
_FIELDS: Final = {"pose": "<f8", "coord": "<f4", "strength": "<f4", "segment": "i1"}
"""How each array is kept, the widest numbers first; train ids fit one byte."""

_READERS: Final = Path(readers.__file__).parent
"""What all sources may read their files with."""

_RESCAN_SHARE: Final = 1 / 8
"""Of the room that is left under `max_bytes`: what is written between two scans of the folder."""

_ABANDONED_S: Final = 3600.0
"""An unfinished entry that is older was left by a process that was killed."""


def decoded_frames(
    source: FrameSource,
    folder: Path | str,
    *,
    on_bad_frame: OnBadFrame = "stop",
    max_bytes: int | None = None,
    num_workers: int = 0,
    rank: int = 0,
    num_ranks: int = 1,
) -> "DecodedCache":
    """Return a source that reads decoded frames from a folder, after decoding those not there yet.

    What a run needs of a dataset that is slow to decode (`DatasetSpec.slow_to_decode`), or of any
    other if its user wants it. See `DecodedCache` and its `fill` for the parameters.

    Returns
    -------
    DecodedCache
        Its `bad` names the frames that cannot be read, with "skip".

    Raises
    ------
    UserError
        As `DecodedCache` and `DecodedCache.fill`.
    """
    cache = DecodedCache(source, folder, max_bytes=max_bytes)
    cache.fill(on_bad_frame=on_bad_frame, num_workers=num_workers, rank=rank, num_ranks=num_ranks)
    return cache


@dataclass
class _Filled:
    """Of frames: entries written, left out for `max_bytes`, bad by index, and why not."""

    written: int = 0
    num_bytes: int = 0
    left_out: int = 0
    bad: dict[int, str] = field(default_factory=dict)
    failure: str | None = None


class DecodedCache:
    """A source that reads each frame from its own files once, and then from a folder.

    Worth most where decoding is slow (Waymo's range images); `docs/results/data.md` compares. An
    entry takes 17 bytes per point. Entries appear when a frame is read, or all at once by `fill`.
    Processes may share a folder, and so may several sources: each entry is written whole or not at
    all, also when a process is killed.

    Parameters
    ----------
    source
        Where frames come from when the folder has no entry that is sound and current. An entry is
        current while the source's files of the frame and the code that reads them do not change.
    folder
        Created if it is not there.
    max_bytes
        Once entries take this much, no more are written and the other frames are read from the
        source. None for no bound. Each process counts what it writes itself, and scans the folder
        again whenever that is an eighth of the room that it last found, so that what others write
        counts too. Each exceeds the bound by at most an entry and that eighth.

    Attributes
    ----------
    bad
        By name, why `fill` could not read frames, those that "skip" leaves out.

    Raises
    ------
    UserError
        If the folder cannot be created or written to, or a frame cannot be read from the source.
    """

    def __init__(
        self, source: FrameSource, folder: Path | str, *, max_bytes: int | None = None
    ) -> None:
        self.source = source
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.bad: dict[str, str] = {}
        self._reader = _reader_hash(type(source))
        self._names = tuple(source.names)  # some sources list them again each time
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._measure()

    @property
    def names(self) -> Sequence[str]:
        """The source's names."""
        return self._names

    @property
    def skipped_unlabeled(self) -> int:
        """How many frames the source left out because they have no labels."""
        return self.source.skipped_unlabeled

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What the source left out because it is damaged."""
        return self.source.unreadable

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.source)

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the source's files of a frame."""
        return self.source.files(index)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame, from the folder if it is there.

        Raises
        ------
        UserError
            If the frame cannot be read from the source, or its entry cannot be written.
        """
        # Looked at before the source is read: a file that changes meanwhile makes a stale entry.
        identity = self._identity(index)
        path = self._path(identity)
        frame = _unpacked(path, identity)
        if frame is not None:
            # Images are small as they are, and always the source's own.
            return dataclasses.replace(frame, images=self.images(index))
        frame = self.source[index]
        if self._has_room(path):
            self._keep(path, _packed(frame, identity))
        return frame

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """Return the source's images of a frame; none if it was opened without cameras."""
        return self.source.images(index) if isinstance(self.source, HasCameras) else ()

    def fill(
        self,
        *,
        on_bad_frame: OnBadFrame = "stop",
        num_workers: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        """Decode all frames whose entries are missing or stale, in the order of the source's files.

        A fill that was stopped, by a kill too, goes on with what is missing. Several processes may
        fill a folder at the same time; each looks for what is missing once more before it reads a
        file. Entries that are there are not read: damage to their arrays is found, and repaired,
        when the frame is.

        Parameters
        ----------
        on_bad_frame
            "skip" goes on after a frame that cannot be read, which is then in `bad`.
        num_workers
            Processes that decode, each another file; 0 decodes in this one.
        rank, num_ranks
            Where several processes call this together: which of them this is. Each begins with
            another share of the files, and goes on with what the others have not done.

        Raises
        ------
        UserError
            If an entry cannot be written, the disk has no room for the rest, or, with "stop", a
            frame cannot be read.
        """
        bad: dict[int, str] = {}
        missing, replaced_bytes = [], 0
        for index in range(len(self)):
            try:
                identity = self._identity(index)
            except UserError as error:
                if on_bad_frame == "stop":
                    raise
                bad[index] = str(error)
                continue
            path = self._path(identity)
            if not _is_entry(path, identity):
                missing.append(index)
                replaced_bytes += _num_bytes(path)
        if missing:
            groups = [
                list(group)
                for _, group in itertools.groupby(missing, lambda at: self.source.files(at)[0])
            ]
            first = len(groups) * rank // num_ranks
            groups = groups[first:] + groups[:first]
            bad |= self._fill(groups, replaced_bytes, on_bad_frame, num_workers)
        self.bad = {self._names[index]: bad[index] for index in sorted(bad)}

    def _fill(
        self,
        groups: list[list[int]],
        replaced_bytes: int,
        on_bad_frame: OnBadFrame,
        num_workers: int,
    ) -> dict[int, str]:
        """Decode some frames, and return which of them cannot be read."""
        loader = DataLoader(
            _Groups(self, groups),
            batch_size=None,
            num_workers=min(num_workers, len(groups)),
            collate_fn=_unchanged,
            worker_init_fn=reader_ignores_stop,
            # Whether something was missing must not change what a run draws from torch's generator.
            generator=torch.Generator(),
        )
        total = sum(map(len, groups))
        progress = Progress("decoding frames, file by file", len(groups))
        bad: dict[int, str] = {}
        done = written = num_bytes = left_out = 0
        for group, filled in zip(groups, loader, strict=True):
            bad |= filled.bad
            if filled.failure is not None:
                raise UserError(filled.failure)
            if filled.bad and on_bad_frame == "stop":
                raise UserError(filled.bad[min(filled.bad)])
            if filled.written and not written:
                # Once, before other processes that fill the folder have done much of the rest.
                missing_bytes = filled.num_bytes / filled.written * (total - done - len(group))
                self._check_disk(missing_bytes - replaced_bytes)
            done, written = done + len(group), written + filled.written
            num_bytes, left_out = num_bytes + filled.num_bytes, left_out + filled.left_out
            progress.advance({"GB": num_bytes / 1e9})
        progress.close()
        if left_out:
            logger.info(
                f"{self.folder}: decoded frames take the {self.max_bytes:,} bytes that they may; "
                f"{left_out} are not kept and will be decoded whenever they are read"
            )
        return bad

    def _fill_group(self, indices: Sequence[int]) -> _Filled:
        """Decode frames that share a file."""
        filled = _Filled()
        entries = {}
        for index in indices:
            try:
                identity = self._identity(index)
            except UserError as error:
                filled.bad[index] = str(error)
                continue
            path = self._path(identity)
            # Another process may have written it meanwhile.
            if _is_entry(path, identity):
                continue
            if self._has_room(path):
                entries[index] = path, identity
            else:
                filled.left_out += 1
        for index, frame in _in_file_order(self.source, list(entries)):
            path, identity = entries[index]
            if isinstance(frame, UserError):
                filled.bad[index] = str(frame)
            elif self._has_room(path):
                data = _packed(frame, identity)
                try:
                    self._keep(path, data)
                except UserError as error:
                    filled.failure = str(error)
                    break
                filled.written += 1
                filled.num_bytes += len(data)
            else:
                filled.left_out += 1
        return filled

    def _check_disk(self, num_bytes: float) -> None:
        """Refuse to go on for hours if the disk will be full before the end."""
        if self.max_bytes is not None:
            num_bytes = min(num_bytes, self._room - self._written)
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise self._unusable(error) from error
        if num_bytes > free:
            raise UserError(
                f"{self.folder}: the disk has {free / 1e9:.1f} GB left, the decoded frames that "
                f"are missing take about {num_bytes / 1e9:.1f} GB; choose another cache folder, "
                "or do not keep decoded frames"
            )

    def _has_room(self, path: Path) -> bool:
        """Return whether an entry may be written; one that is stale may always be replaced."""
        if self.max_bytes is None:
            return True
        if self._room > 0:
            # What a forked process knows of the folder is as old as its parent's last look.
            forked = self._measured_by != os.getpid()
            if forked or self._written >= self._room * _RESCAN_SHARE:
                self._measure()
        return self._room > 0 or path.exists()

    def _measure(self) -> None:
        """Find out how much room is left, and remove what killed processes left unfinished."""
        used = 0
        try:
            for folder in self.folder.iterdir():
                if folder.is_dir():
                    used += sum(_num_bytes(path) for path in folder.iterdir())
        except OSError as error:
            raise self._unusable(error) from error
        self._room = math.inf if self.max_bytes is None else float(self.max_bytes - used)
        self._written, self._measured_by = 0, os.getpid()

    def _unusable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.folder}: cannot keep decoded frames ({error.strerror}); give a folder that "
            "can be written to, or leave it out"
        )

    def _identity(self, index: int) -> dict[str, Any]:
        """Return what identifies the state of a frame's files and of their reader."""
        files = []
        for path in self.source.files(index):
            with reading(path):
                status = path.stat()
            files.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
        return {"name": self._names[index], "reader": self._reader, "files": files}

    def _path(self, identity: dict[str, Any]) -> Path:
        """Return where the entry lies: by the frame and its files' places, whatever their state."""
        places = [identity["name"], *(path for path, _, _ in identity["files"])]
        key = hashlib.sha256(json.dumps(places).encode()).hexdigest()
        # Folders of some hundred entries each: one of 20,000 is slow to list.
        return self.folder / key[:2] / f"{key[2:34]}{_SUFFIX}"

    def _keep(self, path: Path, data: bytes) -> None:
        """Write an entry."""
        try:
            write_whole(path, data)
        except OSError as error:
            raise UserError(
                f"{path}: a decoded frame cannot be written ({error.strerror}); make room, bound "
                "the folder's size, or leave it out"
            ) from error
        self._written += len(data)


class _Groups(Dataset[_Filled]):
    """What worker processes do: decode the frames of one file after the other."""

    def __init__(self, cache: DecodedCache, groups: list[list[int]]) -> None:
        self._cache, self._groups = cache, groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> _Filled:
        return self._cache._fill_group(self._groups[number])


def _unchanged(filled: Any) -> Any:
    return filled


def _in_file_order(
    source: FrameSource, indices: list[int]
) -> Iterator[tuple[int, LidarFrame | UserError]]:
    """Yield some frames of a source, or why they cannot be read."""
    if isinstance(source, ReadsInFileOrder):
        yield from source.read_in_file_order(indices)
        return
    for index in indices:
        try:
            frame = source[index]
        except UserError as error:
            yield index, error
        else:
            yield index, frame


def _reader_hash(kind: type) -> str:
    """Return a hash of a source's code: its package's files, and those of the shared readers."""
    digest = hashlib.sha256(kind.__qualname__.encode())
    for package in (Path(inspect.getfile(kind)).parent, _READERS):
        for path in sorted(package.glob("*.py")):
            digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()[:32]


def _packed(frame: LidarFrame, identity: dict[str, Any]) -> bytes:
    """Return an entry's contents."""
    arrays, shapes = [], {}
    for name, dtype in _FIELDS.items():
        array: NDArray[Any] | None = getattr(frame, name)
        if array is None:
            continue
        kept = array.astype(dtype)
        if not np.array_equal(kept, array):
            raise ValueError(f"DecodedCache: {name} of frame {frame.name} does not fit {dtype}")
        arrays.append(kept.tobytes())
        shapes[name] = array.shape
    content: dict[str, Any] = {"identity": identity, "shapes": shapes, "path": str(frame.path)}
    if frame.rays_without_return:
        content["rays_without_return"] = frame.rays_without_return
    header = json.dumps(content).encode()
    before = len(_MAGIC) + _CHECKSUM_BYTES + len(header) + 1
    body = header + b" " * (-before % _ALIGNMENT) + b"\n" + b"".join(arrays)
    return _MAGIC + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES) + body


def _unpacked(path: Path, identity: dict[str, Any]) -> LidarFrame | None:
    """Return an entry's frame; None if there is no entry, or it is damaged or stale."""
    try:
        data = _contents(path)
    except OSError:
        # Not there, or not ours to read: it is decoded again, and writing says what is wrong.
        return None
    start = len(_MAGIC) + _CHECKSUM_BYTES
    checksum = zlib.crc32(memoryview(data)[start:]).to_bytes(_CHECKSUM_BYTES)
    if data[:start] != _MAGIC + checksum:
        return None
    end = data.index(b"\n", start)
    header = json.loads(data[start:end])
    if header["identity"] != identity:
        return None
    at = end + 1
    fields: dict[str, Any] = {"segment": None, "pose": None}
    for name, shape in header["shapes"].items():
        count = math.prod(shape)
        dtype = np.dtype(_FIELDS[name])
        array = np.frombuffer(data, dtype=dtype, count=count, offset=at).reshape(shape)
        fields[name] = array.astype(np.int64) if name == "segment" else array
        at += count * dtype.itemsize
    fields["rays_without_return"] = header.get("rays_without_return", 0)
    return LidarFrame(name=identity["name"], path=Path(header["path"]), **fields)


def _is_entry(path: Path, identity: dict[str, Any]) -> bool:
    """Return whether a file is an entry for these files, and of the length that it should have."""
    start = len(_MAGIC) + _CHECKSUM_BYTES
    try:
        with path.open("rb") as file:
            magic, line = file.read(start)[: len(_MAGIC)], file.readline()
            num_bytes = os.fstat(file.fileno()).st_size
    except OSError:
        return False  # not there, or not ours to read: writing it will say what is wrong
    try:
        header = json.loads(line)
        arrays = sum(
            math.prod(shape) * np.dtype(_FIELDS[name]).itemsize
            for name, shape in header["shapes"].items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # damaged
    same = magic == _MAGIC and header.get("identity") == identity
    return same and num_bytes == start + len(line) + arrays


def _num_bytes(path: Path) -> int:
    """Return the size of an entry; 0 for what is none, or vanishes meanwhile."""
    try:
        status = path.stat()
        if path.suffix == _SUFFIX and not path.name.startswith("."):
            return status.st_size
        if path.name.startswith(".") and status.st_mtime < time.time() - _ABANDONED_S:
            path.unlink()
    except OSError:
        return 0  # another process replaced it; what cannot be written is said when it is
    return 0


def _contents(path: Path) -> bytearray:
    """Return a file's bytes, in memory that arrays may lie in and be written to."""
    with path.open("rb") as file:
        data = bytearray(os.fstat(file.fileno()).st_size)
        del data[file.readinto(data) :]
    return data
