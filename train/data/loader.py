"""Frames as torch datasets: augmented and seeded for training, untouched for evaluation.

What a training sample is depends on (seed, epoch, index) alone: not on the number of workers, not
on which samples came before. A run that stops and goes on sees what it would have seen.
"""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from train.core.errors import UserError
from train.core.streams import Stream
from train.data.batch import BadFrame, CroppedVoxels, OnBadFrame, Sample, crop_together
from train.data.cameras import IMAGE_SIZE, camera_views, check_camera_fields
from train.data.frame import IGNORE_INDEX, FrameSource, LidarFrame
from train.data.transforms import (
    PAPER_AUGMENTATION,
    Augmentation,
    ClipRange,
    VoxelFrame,
    augment,
    check_grid_size,
    clip,
    crop,
    voxelize,
)
from train.data.voxel_counts import VoxelCounts


@dataclass(eq=False, repr=False)
class TrainingFrames(Dataset[VoxelFrame]):
    """A source's frames, augmented, voxelized with random picks, cropped.

    Parameters
    ----------
    source
        Where frames come from.
    grid_size_m
        The voxels' edge.
    augmentation
        None for no augmentation at all.
    max_voxels
        Crop to the nearest so many voxels around a random one; None for the whole frame.
    clip_range_m
        Move points beyond this box (lower corner, upper corner) onto its faces after augmentation
        and before voxelizing; None for no box.
    repeats
        How often one epoch goes through the source, augmented differently each time.
    seed
        At least 0.
    max_batch_voxels
        Bound on the voxels of a batch, where the loader asks for whole batches; what exceeds it is
        cropped, the largest frames first. None for no bound.
    counts
        Voxels of each frame at this grid size, by which `VoxelBudgetBatchSampler` keeps
        within the bound; needed with `max_batch_voxels`.
    on_bad_frame
        "skip" takes the next frame that can be used in place of one that cannot.
    coarsest_cell_voxels
        Edge of a cell of the network's coarsest stage, in voxels. A sample that lies within one
        such cell cannot be trained on by itself (batch norm needs two values) and is a bad one.
    fields
        Entries of the batch that need cameras, some of `train.data.cameras.CAMERA_FIELDS`; the
        source must have been opened with cameras. Images are as they were taken: pixels are paired
        with points before these are augmented.
    image_size
        (H, W) to which images are brought.
    labels
        False drops the labels of frames that have some, for a method that does without. Names: no
        point of the other frames has a label, whether it had one on disk or not.
    """

    source: FrameSource
    _: KW_ONLY
    grid_size_m: float = 0.05
    augmentation: Augmentation | None = PAPER_AUGMENTATION
    max_voxels: int | None = None
    clip_range_m: ClipRange | None = None
    repeats: int = 1
    seed: int = 0
    max_batch_voxels: int | None = None
    counts: VoxelCounts | None = None
    on_bad_frame: OnBadFrame = "stop"
    coarsest_cell_voxels: int = 1
    fields: Collection[str] = ()
    image_size: tuple[int, int] = IMAGE_SIZE
    labels: bool | Collection[str] = True

    def __post_init__(self) -> None:
        check_grid_size(self.grid_size_m)
        if self.coarsest_cell_voxels < 1:
            raise ValueError(
                f"coarsest_cell_voxels must be at least 1, not {self.coarsest_cell_voxels}"
            )
        for option, least in (("repeats", 1), ("seed", 0), ("max_voxels", 1)):
            value = getattr(self, option)
            if value is not None and value < least:
                raise UserError(f"TrainingFrames: {option} must be at least {least}, not {value}")
        if self.max_batch_voxels is not None and len(self.counts or ()) != len(self.source):
            raise ValueError(
                f"TrainingFrames: max_batch_voxels needs counts of the source's {len(self.source)} "
                f"frames, not {self.counts and len(self.counts)}"
            )
        self.fields = check_camera_fields(self.fields, "TrainingFrames")
        # Shared memory: workers that outlive an epoch hold a copy of this object, and must see the
        # epoch change all the same.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch whose samples are served."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; call it before an iteration over the loader starts."""
        if epoch < 0:
            raise ValueError(f"TrainingFrames.set_epoch: epoch must be at least 0, not {epoch}")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return how many samples an epoch has."""
        return len(self.source) * self.repeats

    def planned_voxels(self) -> NDArray[np.int64] | None:
        """Return how many voxels to expect of each sample, (len(self),); None without counts."""
        if self.counts is None:
            return None
        scale_max = 1.0 if self.augmentation is None else max(1.0, self.augmentation.scale_max)
        planned = self.counts.grown(scale_max)
        if self.max_voxels is not None:
            planned = np.minimum(planned, self.max_voxels)
        return np.tile(planned, self.repeats)

    def __getitem__(self, index: int) -> VoxelFrame:
        """Return one sample of the current epoch.

        Raises
        ------
        UserError
            If the frame cannot be read, or all of the sample lies within one cell of the network's
            coarsest stage.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"TrainingFrames: index {index} is not in 0..{len(self) - 1}")
        return self._sample(index, index % len(self.source))

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return a batch's samples within the bound on its voxels, and notes on what was done.

        No indices, a process's part of a joint batch with too few samples, give a note alone.

        Raises
        ------
        UserError
            If a frame cannot be used, or, with "skip", none can.
        """
        if not len(indices):
            return [CroppedVoxels(0)]
        frames: list[VoxelFrame] = []
        notes: list[Sample] = []
        for index in indices:
            if self.on_bad_frame == "stop":
                frames.append(self[index])
                continue
            frame, bad = self._sample_or_next(index)
            frames.append(frame)
            notes += bad
        if self.max_batch_voxels is None:
            return [*frames, *notes]
        rng = np.random.default_rng([Stream.BATCH_CROP, self.seed, self.epoch, *indices])
        kept = crop_together(frames, self.max_batch_voxels, rng)
        cut = sum(len(frame.coord) for frame in frames) - sum(len(frame.coord) for frame in kept)
        return [*kept, *notes, CroppedVoxels(cut)]

    def _sample_or_next(self, index: int) -> tuple[VoxelFrame, list[BadFrame]]:
        """Return a sample of the first frame from the index on that can be used, and the others."""
        bad: list[BadFrame] = []
        for step in range(len(self.source)):
            at = (index + step) % len(self.source)
            try:
                return self._sample(index, at), bad
            except UserError as error:
                bad.append(BadFrame(self.source.names[at], str(error)))
        raise UserError(
            f"none of the {len(bad)} training frames can be used; the first: {bad[0].message}"
        )

    def _sample(self, index: int, at: int) -> VoxelFrame:
        """Return the source's frame `at` as the epoch's sample `index`."""
        rng = np.random.default_rng([Stream.SAMPLE, self.seed, self.epoch, index])
        frame = self.source[at]
        if self.labels is False:
            frame = dataclasses.replace(frame, segment=None)
        elif self.labels is not True and frame.name not in self.labels:
            unknown = np.full(len(frame.coord), IGNORE_INDEX, dtype=np.int64)
            frame = dataclasses.replace(frame, segment=unknown)
        if self.fields:
            # Before the augmentation: images are not turned with the points.
            views = camera_views(frame, self.fields, self.image_size)
            frame = dataclasses.replace(frame, views=views)
        if self.augmentation is not None:
            frame = augment(frame, rng, self.augmentation)
        if self.clip_range_m is not None:
            frame = clip(frame, self.clip_range_m)
        voxels = voxelize(frame, self.grid_size_m, rng=rng)
        if self.max_voxels is not None:
            voxels = crop(voxels, self.max_voxels, rng)
        if int(voxels.grid_coord.max()) < self.coarsest_cell_voxels:
            edge_m = self.grid_size_m * self.coarsest_cell_voxels
            raise UserError(
                f"{frame.path}: the {len(frame.coord)} points of frame {frame.name} lie within one "
                f"cell of {edge_m:g} m, the network's coarsest, and cannot be trained on; remove "
                "the frame, or leave such out with --on-bad-frame skip"
            )
        return voxels


@dataclass(eq=False, repr=False)
class EvaluationFrames(Dataset[VoxelFrame]):
    """A source's frames as they are: whole, nothing random, every point reachable by `inverse`.

    Parameters
    ----------
    source
        Where frames come from.
    grid_size_m
        The voxels' edge.
    clip_range_m
        The box that training used, or None.
    on_bad_frame
        "skip" leaves out a frame that cannot be read: the loader's batch has a `BadFrame` instead.
    fields, image_size
        As for `TrainingFrames`.
    """

    source: FrameSource
    grid_size_m: float = 0.05
    _: KW_ONLY
    clip_range_m: ClipRange | None = None
    on_bad_frame: OnBadFrame = "stop"
    fields: Collection[str] = ()
    image_size: tuple[int, int] = IMAGE_SIZE

    def __post_init__(self) -> None:
        check_grid_size(self.grid_size_m)
        self.fields = check_camera_fields(self.fields, "EvaluationFrames")

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.source)

    def __getitem__(self, index: int) -> VoxelFrame:
        """Return one frame.

        Raises
        ------
        UserError
            If it cannot be read.
        """
        return self.voxelized(self.source[index])

    def voxelized(self, frame: LidarFrame) -> VoxelFrame:
        """Return a frame of the source as the network gets it."""
        if self.fields:
            views = camera_views(frame, self.fields, self.image_size)
            frame = dataclasses.replace(frame, views=views)
        if self.clip_range_m is not None:
            frame = clip(frame, self.clip_range_m)
        return voxelize(frame, self.grid_size_m)

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return a batch's frames; with "skip", a note in the place of one that cannot be read."""
        samples: list[Sample] = []
        for index in indices:
            try:
                samples.append(self[index])
            except UserError as error:
                if self.on_bad_frame == "stop":
                    raise
                samples.append(BadFrame(self.source.names[index], str(error)))
        return samples
