"""A batch: which frames make it up, the frames one after the other, and notes on how it was made.

Memory in a step follows the batch's voxels, and frames differ in size, so a bound on frames alone
is no bound on memory. How large a sample will be is planned from counts that are measured once
(`train.data.voxel_counts`), since the batches of all epochs must be known before the first: the
learning rate follows the number of steps. What comes out larger than planned is cut when the batch
is read (`crop_together`), so that the bound holds always.

With several processes a step is one joint batch. `batch_size` counts the samples of the joint
batch, so that a run takes the same steps on any number of processes; `max_batch_voxels` bounds what
each process holds of it, because it is there for the memory of one device.

Some notes are of frames that cannot be used. With "stop" the first one ends the run. With "skip"
training takes the next frame that can be used in its place, so that a batch has its size and a run
its number of steps, and evaluation leaves it out; either way it is reported once and listed in the
end. Each process of a run has the list of what it met itself; `SkippedFrames.share` makes the lists
one.

Shape letters: S samples of an epoch, B frames, N voxels of all frames, R points of all frames
before voxelizing.
"""

import dataclasses
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from train.core.atomic_write import atomic_write
from train.core.bounded import read_json
from train.core.console import logger
from train.core.device import to_device
from train.core.distributed import World, gather_objects, is_first_process
from train.core.errors import UserError
from train.core.streams import Stream
from train.data.frame import Views
from train.data.transforms import VoxelFrame, crop

ONE_PROCESS: Final = World()


@dataclass(eq=False, repr=False)
class VoxelBudgetBatchSampler(Sampler[list[int]]):
    """An epoch's batches: a function of (seed, epoch, sizes), with a place to go on from.

    Frames come in random order, and a joint batch ends where the next one would exceed a bound.
    Filling batches better by looking ahead would save few steps and bring large frames together.
    A joint batch is dealt to the processes so that their planned voxels are about the same; every
    process has the same number of batches.

    Parameters
    ----------
    num_samples
        The dataset's length.
    batch_size
        Samples in a joint batch at most: of all processes together.
    seed
        At least 0.
    planned_voxels
        (S,) int64, how many voxels to expect of each sample; needed for the next.
    max_batch_voxels
        Planned voxels of one process in a batch at most; a sample that alone exceeds it is one
        process's batch by itself. None for no bound: all joint batches but the last have
        `batch_size` samples, and are the same for any number of processes.
    world
        Whose batches to yield; the only process's by default.

    Raises
    ------
    UserError
        If a bound or the seed is out of range, or there are more processes than samples in a batch
        or in an epoch.
    ValueError
        If there are no samples, or not one plan for each.

    Notes
    -----
    The last joint batch of an epoch may have fewer samples than there are processes. It is a step
    like the others, with the same samples as on one process: the processes that get none yield an
    empty batch.
    """

    num_samples: int
    batch_size: int
    _: KW_ONLY
    seed: int = 0
    planned_voxels: NDArray[np.int64] | None = None
    max_batch_voxels: int | None = None
    world: World = ONE_PROCESS

    def __post_init__(self) -> None:
        name, planned, processes = type(self).__name__, self.planned_voxels, self.world.size
        if self.num_samples < 1:
            raise ValueError(f"{name}: num_samples must be at least 1, not {self.num_samples}")
        if self.max_batch_voxels is not None:
            if planned is None or planned.shape != (self.num_samples,):
                raise ValueError(
                    f"{name}: needs planned_voxels of each of the {self.num_samples} samples"
                )
            if planned.min() < 1:
                raise ValueError(f"{name}: planned_voxels has a sample without voxels")
        for option, least in (("batch_size", 1), ("seed", 0), ("max_batch_voxels", 1)):
            value = getattr(self, option)
            if value is not None and value < least:
                raise UserError(f"{name}: {option} must be at least {least}, not {value}")
        more = f"raise --data.batch-size to at least {processes}, or start"
        for option, count, what, hint in (
            ("batch_size", self.batch_size, "samples in a joint batch", more),
            ("num_samples", self.num_samples, "training samples", "start"),
        ):
            if count < processes:
                raise UserError(
                    f"{option} {count}: fewer {what} than the {processes} processes; {hint} at "
                    f"most {count} processes"
                )
        self._epoch = 0
        self._start = 0
        # The plan of an epoch is asked for several times, and takes tenths of a second to make.
        self._planned: tuple[int, list[list[list[int]]]] | None = None

    def joint_batches(self, epoch: int) -> list[list[list[int]]]:
        """Return the samples of each process in each joint batch of an epoch."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = (epoch, self._plan(epoch))
        return self._planned[1]

    def _plan(self, epoch: int) -> list[list[list[int]]]:
        rng = np.random.default_rng([Stream.ORDER, self.seed, epoch])
        order = rng.permutation(self.num_samples)
        processes = self.world.size
        if self.planned_voxels is None:
            sizes = np.ones(self.num_samples, dtype=np.int64)
        else:
            sizes = self.planned_voxels[order]
        if self.max_batch_voxels is None:
            starts = list(range(0, self.num_samples, self.batch_size))
        else:
            # More than the bound is cropped to it when it is read.
            sizes = np.minimum(sizes, self.max_batch_voxels)
            starts = _starts(sizes.tolist(), self.batch_size, self.max_batch_voxels, processes)
        batches = []
        for samples, voxels in zip(
            np.split(order, starts[1:]), np.split(sizes, starts[1:]), strict=True
        ):
            dealt = deal(voxels.tolist(), processes)
            batches.append([samples[places].tolist() for places in dealt])
        return batches

    def batches(self, epoch: int) -> list[list[int]]:
        """Return this process's samples of each batch of an epoch; a list may be empty."""
        return [parts[self.world.rank] for parts in self.joint_batches(epoch)]

    def ends(self, epochs: int) -> list[int]:
        """Return how many batches there are up to the end of each epoch."""
        return list(itertools.accumulate(len(self.joint_batches(epoch)) for epoch in range(epochs)))

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch, and how many of its batches are already done."""
        if epoch < 0:
            raise ValueError(f"set_epoch: epoch must be at least 0, not {epoch}")
        number = len(self.batches(epoch))
        if not 0 <= start <= number:
            raise ValueError(f"set_epoch: start must be in 0..{number}, not {start}")
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        """Return how many batches of the epoch are still to come."""
        return len(self.batches(self._epoch)) - self._start

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches still to come."""
        yield from self.batches(self._epoch)[self._start :]


def deal(voxels: Sequence[int], num_processes: int) -> list[list[int]]:
    """Return which places of a batch each process takes, balanced by voxels.

    Parameters
    ----------
    voxels
        Size of the sample at each place.
    num_processes
        At least 1.

    Returns
    -------
    list of list of int
        Places of each process, in increasing order; as many lists as processes.

    Notes
    -----
    The largest sample first, each to the process with the fewest voxels so far: samples of equal
    size go round. No process is left without a sample while another has two.
    """
    if num_processes == 1:
        return [list(range(len(voxels)))]
    loads = [(0, rank) for rank in range(num_processes)]
    dealt: list[list[int]] = [[] for _ in range(num_processes)]
    for place in sorted(range(len(voxels)), key=lambda place: -voxels[place]):
        load, rank = loads[0]
        dealt[rank].append(place)
        heapq.heapreplace(loads, (load + voxels[place], rank))
    return [sorted(places) for places in dealt]


def shard_indices(num_samples: int, world: World) -> range:
    """Return which of a dataset's samples a process takes: each sample goes to one, none twice.

    Processes differ by one sample at most; with fewer samples than processes some have none.
    """
    return range(world.rank, num_samples, world.size)


def _starts(
    voxels: Sequence[int], batch_size: int, max_batch_voxels: int, num_processes: int
) -> list[int]:
    """Return where joint batches start in a sequence of samples of these sizes.

    A joint batch is full where one more sample could not be dealt to the processes within the
    bound; no sample is larger than the bound.
    """
    starts, total, largest = [0], 0, 0
    for place, size in enumerate(voxels):
        total += size
        largest = max(largest, size)
        full = place - starts[-1] == batch_size or total > num_processes * max_batch_voxels
        # The largest load is at most the mean load and this share of the largest sample.
        if not full and total + (num_processes - 1) * largest > num_processes * max_batch_voxels:
            batch = voxels[starts[-1] : place + 1]
            loads = [sum(batch[at] for at in part) for part in deal(batch, num_processes)]
            full = max(loads) > max_batch_voxels
        if full:
            starts.append(place)
            total = largest = size
    return starts


@dataclass(frozen=True)
class CroppedVoxels:
    """How many voxels of a batch were cropped to keep it within its bound."""

    count: int


def crop_together(
    frames: Sequence[VoxelFrame], max_batch_voxels: int, rng: np.random.Generator
) -> list[VoxelFrame]:
    """Return a batch's frames with so many voxels in all at most: the largest are cropped, alike.

    Parameters
    ----------
    frames
        Left as they are.
    max_batch_voxels
        How many voxels may stay.
    rng
        Picks the centers of the crops.

    Raises
    ------
    ValueError
        If there are more frames than voxels may stay.
    """
    sizes = [len(frame.coord) for frame in frames]
    if sum(sizes) <= max_batch_voxels:
        return list(frames)
    if len(sizes) > max_batch_voxels:
        raise ValueError(
            f"crop_together: {len(sizes)} frames cannot share {max_batch_voxels} voxels"
        )
    largest = _even_bound(sizes, max_batch_voxels)
    return [crop(frame, largest, rng) for frame in frames]


def _even_bound(sizes: Sequence[int], total: int) -> int:
    """Return the largest bound on each size for which all sizes fit into the total."""
    left = total
    for done, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - done)
        if size > share:
            return share
        left -= size
    return max(sizes)


OnBadFrame = Literal["stop", "skip"]
"""What to do with a frame that cannot be read."""

# At run time a batch is no Mapping: some versions of torch pin a Mapping as a plain dict, which has
# no notes, instead of asking its `pin_memory`.
if TYPE_CHECKING:
    _Tensors = Mapping[str, Tensor]
else:
    _Tensors = object


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read; it travels in the batch, out of the process that read it.

    Attributes
    ----------
    name
        The frame's.
    message
        What is wrong; it starts with the path of the file.
    """

    name: str
    message: str


@dataclass(frozen=True, eq=False)
class Batch(_Tensors):
    """What a step works on: tensors by name, which networks and methods read, and notes.

    It reads like a mapping of its tensors (``batch["feat"]``, ``"segment" in batch``,
    ``{**batch}``).

    Attributes
    ----------
    tensors
        See `collate`; none where no frame could be read.
    names
        The frames', in order.
    skipped
        Frames that could not be read while the batch was made.
    cropped_voxels
        How many voxels were cropped to keep the batch within its bound.
    rays_without_return
        How many rows of frames' files are no points, by name; none where all are.
    labeled_share
        Which share of the step's labeled voxels is this batch's; 1.0 on one process.
    kept
        What an earlier pass of the teacher gave (`train.methods.targets.KeptTargets`), or None.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    skipped: tuple[BadFrame, ...] = ()
    cropped_voxels: int = 0
    rays_without_return: Mapping[str, int] = field(default_factory=dict)
    labeled_share: float = 1.0
    kept: Any = None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Batch":
        """Return a batch as it is, or tensors as a batch without notes."""
        return tensors if isinstance(tensors, cls) else cls(tensors)

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor by its name."""
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a tensor."""
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the tensors."""
        return iter(self.tensors)

    def __len__(self) -> int:
        """Return how many tensors there are."""
        return len(self.tensors)

    def keys(self) -> Any:
        """Return the names of the tensors."""
        return self.tensors.keys()

    def items(self) -> Any:
        """Return the tensors with their names."""
        return self.tensors.items()

    def get(self, name: str, default: Any = None) -> Any:
        """Return a tensor by its name, or a default."""
        return self.tensors.get(name, default)

    @property
    def num_clouds(self) -> int:
        """How many clouds there are; 0 for a step that only other processes take."""
        return len(self["offset"]) if "offset" in self else 0

    def with_tensors(self, **tensors: Tensor) -> "Batch":
        """Return the batch with some tensors more, or others."""
        return dataclasses.replace(self, tensors={**self.tensors, **tensors})

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on a device."""
        return dataclasses.replace(self, tensors=to_device(self.tensors, device))

    def pin_memory(self) -> "Batch":
        """Return the batch with its tensors in memory that a GPU reads; loaders call it."""
        pinned = {name: tensor.pin_memory() for name, tensor in self.tensors.items()}
        return dataclasses.replace(self, tensors=pinned)


Sample = VoxelFrame | BadFrame | CroppedVoxels
"""What a dataset gives a batch: its frames, and notes on what was done to make it."""


def collate(samples: Sequence[Sample]) -> Batch:
    """Return a batch of frames as tensors.

    Parameters
    ----------
    samples
        At least one; frames all with labels or all without, and notes.

    Returns
    -------
    Batch
        Of `feat` [N, 4] float32 (x, y, z, strength), `coord` [N, 3] float32 meters, `grid_coord`
        [N, 3] int64, `offset` [B] int64 (cumulative ends, no leading 0), `inverse` [R] int64 into
        the N rows, `raw_offset` [B] int64; with labels also `segment` [N] and `raw_segment` [R]
        int64. Where no frame could be read, there are no tensors. Where frames have views: `images`
        [V, 3, H, W] uint8, those of all frames one after the other, `view_cloud` [V] int64, the
        frame of each, and `point_pixel` [P, 4] int64 (view, row, column, one of the N rows), as far
        as asked for.

    Raises
    ------
    ValueError
        If there are no samples, or only some frames have labels, or views.
    """
    if not samples:
        raise ValueError("collate: no frames to batch")
    frames = [sample for sample in samples if isinstance(sample, VoxelFrame)]
    return Batch(
        _tensors_of(frames) if frames else {},
        names=tuple(frame.name for frame in frames),
        skipped=tuple(sample for sample in samples if isinstance(sample, BadFrame)),
        cropped_voxels=sum(each.count for each in samples if isinstance(each, CroppedVoxels)),
        rays_without_return={
            frame.name: frame.rays_without_return for frame in frames if frame.rays_without_return
        },
    )


def _tensors_of(frames: Sequence[VoxelFrame]) -> dict[str, Tensor]:
    """Return the tensors of at least one frame."""
    labeled = [frame.segment is not None for frame in frames]
    if any(labeled) != all(labeled):
        missing = [frame.name for frame, has in zip(frames, labeled, strict=True) if not has]
        raise ValueError(f"collate: some frames have labels, but not {', '.join(missing)}")
    offset = np.cumsum([len(frame.coord) for frame in frames])
    starts = [0, *offset[:-1].tolist()]
    inverse = [frame.inverse + start for frame, start in zip(frames, starts, strict=True)]
    coord = np.concatenate([frame.coord for frame in frames])
    strength = np.concatenate([frame.strength for frame in frames])
    tensors = {
        "feat": torch.from_numpy(np.concatenate([coord, strength], axis=1)),
        "coord": torch.from_numpy(coord),
        "grid_coord": torch.from_numpy(np.concatenate([frame.grid_coord for frame in frames])),
        "offset": torch.from_numpy(offset.astype(np.int64)),
        "inverse": torch.from_numpy(np.concatenate(inverse)),
        "raw_offset": torch.from_numpy(np.cumsum([len(frame.inverse) for frame in frames])),
    }
    if all(labeled):
        tensors["segment"] = torch.from_numpy(_joined([frame.segment for frame in frames]))
        tensors["raw_segment"] = torch.from_numpy(_joined([frame.raw_segment for frame in frames]))
    views = [frame.views for frame in frames if frame.views is not None]
    if views:
        if len(views) != len(frames):
            missing = [frame.name for frame in frames if frame.views is None]
            raise ValueError(f"collate: some frames have views, but not {', '.join(missing)}")
        tensors |= _camera_fields(views, starts)
    return tensors


def _camera_fields(views: Sequence[Views], starts: Sequence[int]) -> dict[str, Tensor]:
    """Return the batch's entries that come from cameras; the frames' points begin at `starts`."""
    fields: dict[str, Tensor] = {}
    images = [each.images for each in views if each.images is not None]
    if images:
        fields["images"] = torch.from_numpy(np.concatenate(images))
    counts = [each.num_views for each in views]
    fields["view_cloud"] = torch.from_numpy(np.repeat(np.arange(len(views)), counts))
    first_views = np.cumsum([0, *counts[:-1]]).tolist()
    pairs = [
        each.point_pixel + np.array([first, 0, 0, start])
        for each, first, start in zip(views, first_views, starts, strict=True)
        if each.point_pixel is not None
    ]
    if pairs:
        fields["point_pixel"] = torch.from_numpy(np.concatenate(pairs))
    return fields


def _joined(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64]:
    """Return labels one after the other; the caller has seen that none is missing."""
    return np.concatenate([part for part in parts if part is not None])


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Return the clouds of a batch as several batches, for a step that is computed in parts.

    Parameters
    ----------
    batch
        From `collate`; at least `parts` clouds.
    parts
        How many; their clouds differ by one in number at most.

    Returns
    -------
    list of Batch
        With what a network needs for training (`feat`, `coord`, `grid_coord`, `offset`, `segment`),
        and what there is of `images`, `view_cloud` and `point_pixel`. The batch itself if `parts`
        is 1.
    """
    if parts == 1:
        return [batch]
    ends = batch["offset"].tolist()
    starts = [0, *ends[:-1]]
    made = []
    for clouds in np.array_split(np.arange(len(ends)), parts):
        rows = slice(starts[clouds[0]], ends[clouds[-1]])
        part = {
            name: batch[name][rows]
            for name in ("feat", "coord", "grid_coord", "segment")
            if name in batch
        }
        part["offset"] = batch["offset"][clouds[0] : clouds[-1] + 1] - rows.start
        if "view_cloud" in batch:
            part |= _camera_part(batch, int(clouds[0]), int(clouds[-1]) + 1, rows)
        made.append(Batch(part, names=batch.names[clouds[0] : clouds[-1] + 1]))
    return made


def _camera_part(batch: Batch, first: int, end: int, rows: slice) -> dict[str, Tensor]:
    """Return the entries from cameras of the clouds from `first` to before `end`."""
    # Views lie in the order of their clouds.
    at = torch.searchsorted(batch["view_cloud"], torch.tensor([first, end]))
    begin, stop = at.tolist()
    part = {"view_cloud": batch["view_cloud"][begin:stop] - first}
    if "images" in batch:
        part["images"] = batch["images"][begin:stop]
    if "point_pixel" in batch:
        pairs = batch["point_pixel"]
        inside = (pairs[:, 0] >= begin) & (pairs[:, 0] < stop)
        part["point_pixel"] = pairs[inside] - torch.tensor([begin, 0, 0, rows.start])
    return part


class Notes(Protocol):
    """What a loader gives: a `Batch`, or several views of a frame."""

    @property
    def names(self) -> tuple[str, ...]:
        """The frames'."""

    @property
    def skipped(self) -> tuple[BadFrame, ...]:
        """Frames that could not be read while it was made."""


AnyBatch = TypeVar("AnyBatch", bound=Notes)


class SkippedFrames:
    """The frames that a run could not read, each once, with what was said of it.

    Parameters
    ----------
    path
        A JSON file that keeps the list, so that a run that goes on knows what its first part met;
        None to keep it in memory alone. Of several processes only the first writes it.

    Raises
    ------
    UserError
        If the file is there and is no such list.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._messages: dict[str, str] = {}
        if path is not None and path.exists():
            self._messages = _read(path)

    @property
    def messages(self) -> dict[str, str]:
        """What was said, by frame name, in the order in which they were met."""
        return dict(self._messages)

    def __len__(self) -> int:
        """Return how many frames were skipped."""
        return len(self._messages)

    def add(self, bad: Iterable[BadFrame]) -> None:
        """Add frames; report those that are new, and write the list again."""
        self._add({frame.name: frame.message for frame in bad})

    def share(self) -> None:
        """Make the lists of all processes one; every process calls this at the same point."""
        for messages in gather_objects(self._messages):
            self._add(messages)

    def _add(self, messages: Mapping[str, str]) -> None:
        new = {name: line for name, line in messages.items() if name not in self._messages}
        if not new:
            return
        self._messages |= new
        for message in new.values():
            logger.info(f"skipped: {message}")
        if self.path is not None and is_first_process():
            with atomic_write(self.path) as unfinished:
                unfinished.write_text(json.dumps(self._messages, indent=2) + "\n", encoding="utf-8")

    def watch(self, batches: Iterable[AnyBatch]) -> Iterator[AnyBatch]:
        """Yield the batches of a loader, those without a frame too, and add what was skipped.

        An empty batch is a step that other processes take with frames: it must not be left out.
        """
        for batch in batches:
            self.add(batch.skipped)
            yield batch

    def lines(self) -> list[str]:
        """Return the list to be read at the end of a run; nothing if every frame was read."""
        if not self._messages:
            return []
        return [f"frames that could not be read: {len(self)}", *self._messages.values()]


def _read(path: Path) -> dict[str, str]:
    """Return a list that an earlier part of the run wrote."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it") from error
    if not isinstance(found, dict) or not all(isinstance(entry, str) for entry in found.values()):
        raise UserError(f"{path}: is no list of skipped frames; remove it")
    return found
