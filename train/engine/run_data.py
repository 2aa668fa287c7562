"""The frames of a run: simulated or found, opened, looked at before anything is written."""

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.config import RunConfig
from train.core.console import logger
from train.core.distributed import (
    agreed,
    current_world,
    first_process_first,
    is_first_process,
    on_first_process,
    require_same,
)
from train.core.errors import UserError
from train.data.batch import BadFrame
from train.data.cameras import camera_views
from train.data.dataset_spec import DatasetSpec, simulated_seed
from train.data.decoded import DecodedCache
from train.data.frame import FrameSource, HasWarnings, NoLabelsError
from train.data.index import FOLDER
from train.data.labels import ALL, NONE, labeled_frames
from train.data.loader import TrainingFrames
from train.data.transforms import PAPER_AUGMENTATION
from train.data.voxel_counts import VoxelCounts, voxel_counts
from train.evaluation.training_overlap import training_sequences
from train.inspection.frame_checks import FrameChecks
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata

FRAMES_READ_BEFORE_START = 64

_PartFields = tuple[Collection[str], Collection[str]]


@dataclass(frozen=True)
class RunData:
    """What a run reads.

    Attributes
    ----------
    spec
        The dataset.
    training, validation
        The frames of each part; the same object where the same sequences were asked for.
    bad
        Frames that are left out, found before the start.
    labeled
        Names of the training frames whose labels are used; None for all.
    scored_by_teacher
        Whether the validation frames have no labels: a teacher's predictions take their place.
    """

    spec: DatasetSpec
    training: FrameSource
    validation: FrameSource
    bad: list[BadFrame] = field(default_factory=list)
    labeled: frozenset[str] | None = None
    scored_by_teacher: bool = False

    def training_sequences(self) -> tuple[str, ...]:
        """Return the names of the sequences that are trained on."""
        return training_sequences(self.training.names)

    def metadata(self, network: Network, config: RunConfig) -> ModelMetadata:
        """Return what a file says of a network that these frames trained."""
        built = network.spec()
        return ModelMetadata(
            **{**dataclasses.asdict(built), "overrides": dict(built.overrides)},
            dataset=config.dataset,
            class_names=tuple(self.spec.class_names),
            grid_size_m=config.data.grid_size_m,
            clip_range_m=config.data.clip_range_m,
            layout=dict(self.spec.layout),
            trained_on=self.training_sequences(),
            simulated_seed=simulated_seed(config.resolved_data_root),
        )

    def fill_caches(self, config: RunConfig) -> list[BadFrame]:
        """Decode the frames that are to be kept on disk and are not yet, shared by all processes.

        Returns
        -------
        list of BadFrame
            Those that cannot be read, where such are skipped.

        Raises
        ------
        UserError
            If a frame cannot be read, unless such are skipped, or the disk is full.
        """
        world = current_world()
        bad: list[BadFrame] = []
        for source in {id(each): each for each in (self.training, self.validation)}.values():
            if not isinstance(source, DecodedCache):
                continue
            with agreed(patient=True):
                source.fill(
                    on_bad_frame=config.on_bad_frame,
                    num_workers=config.data.num_workers,
                    rank=world.rank,
                    num_ranks=world.size,
                )
            bad += [BadFrame(*left_out) for left_out in source.bad.items()]
        return bad


def open_data(
    config: RunConfig,
    spec: DatasetSpec,
    *,
    needs_labels: bool = True,
    fields: Collection[str] = (),
    evaluation_fields: Collection[str] = (),
) -> RunData:
    """Open both parts of a run's data, simulated first if that is asked for.

    Of several processes the first simulates, indexes and looks at frames; the others find it done.

    Parameters
    ----------
    config, spec
        The run's.
    needs_labels
        Whether the training frames must have labels.
    fields, evaluation_fields
        Entries of a batch that need cameras (`train.data.cameras.CAMERA_FIELDS`), in training and
        in evaluation: without any, that part's images are neither simulated nor looked for.

    Raises
    ------
    UserError
        If the data cannot be opened, or a frame that is looked at is damaged, unless bad frames are
        to be skipped; on all processes. Also if the processes see different frames.
    """
    needs_labels = needs_labels and config.data.labels == ALL
    with first_process_first():
        data = _open(config, spec, needs_labels, (fields, evaluation_fields))
    data.bad.extend(data.fill_caches(config))
    on_first_process(
        lambda: _look_at_decoded(data, config, needs_labels, (fields, evaluation_fields))
    )
    for what, source in (("training", data.training), ("validation", data.validation)):
        digest = hashlib.sha256("\n".join(source.names).encode()).hexdigest()[:12]
        require_same(f"the list of {what} frames (number, hash)", (len(source), digest))
    return data


def _open(config: RunConfig, spec: DatasetSpec, needs_labels: bool, fields: _PartFields) -> RunData:
    spec.check_cameras(any(fields))
    root = config.resolved_data_root
    chosen = (config.data.train_sequences, config.data.validation_sequences)
    if config.simulate:
        logger.info(f"simulated frames: {root}")
        made = spec.simulate(
            root,
            num_frames=config.data.simulated_frames,
            num_validation_frames=config.data.simulated_validation_frames,
            azimuth_steps=config.data.simulated_azimuth_steps,
            seed=config.data.simulated_seed,
            cameras=any(fields),
        )
        chosen = (made.training_sequences, made.validation_sequences)
    bad: list[BadFrame] = []
    same = bool(chosen[1] and chosen[1] == chosen[0] and needs_labels)
    if same:
        fields = (frozenset((*fields[0], *fields[1])),) * 2
    training = _open_split(config, spec, root, "training", chosen[0], needs_labels, bad, fields[0])
    if same:
        return RunData(spec, training, training, bad)
    by_teacher = False
    if config.data.labels == NONE:
        try:
            _with_labels(config, spec, root, "validation", chosen[1])
        except NoLabelsError as error:
            by_teacher = True
            logger.info(f"{error}; students are scored by how far they agree with the teacher")
    validation = _open_split(
        config, spec, root, "validation", chosen[1], not by_teacher, bad, fields[1]
    )
    labeled: frozenset[str] | None = None
    if config.data.labels != ALL:
        none = config.data.labels == NONE
        names = () if none else _with_labels(config, spec, root, "training", chosen[0])
        labeled = labeled_frames(names, config.data.labels, config.seed)
    return RunData(spec, training, validation, bad, labeled, by_teacher)


def _with_labels(
    config: RunConfig, spec: DatasetSpec, root: Path, split: str, sequences: tuple[str, ...]
) -> Sequence[str]:
    """Return the names of a part's frames that have labels on disk; refuse a part without any."""
    return spec.open(
        root,
        split,
        sequences=sequences,
        cache_dir=config.data.cache_dir,
        strict=config.on_bad_frame == "stop",
    ).names


def _open_split(
    config: RunConfig,
    spec: DatasetSpec,
    root: Path,
    split: str,
    sequences: tuple[str, ...],
    needs_labels: bool,
    bad: list[BadFrame],
    fields: Collection[str],
) -> FrameSource:
    data = config.data
    source = spec.open(
        root,
        split,
        sequences=sequences,
        require_labels=needs_labels,
        cache_dir=data.cache_dir,
        strict=config.on_bad_frame == "stop",
        **({"cameras": True} if fields else {}),
    )
    bad += [BadFrame(*left_out) for left_out in source.unreadable.items()]
    if isinstance(source, HasWarnings):
        _warn(source.warnings)
    if source.skipped_unlabeled:
        what = f"{spec.sequence_word}s {_first_few(sequences)}" if sequences else split
        logger.info(f"{root}, {what}: {source.skipped_unlabeled} frames without labels left out")
    if data.cache_decoded:  # filling it looks at every frame
        return DecodedCache(source, (data.cache_dir or root / FOLDER) / "decoded")
    if is_first_process():
        checks = FrameChecks(spec, trains=split == "training", needs_labels=needs_labels)
        _look_at(source, config.on_bad_frame == "stop", bad, checks, fields)
    return source


def _first_few(names: tuple[str, ...], shown: int = 3) -> str:
    """Return the first names and how many more there are: a split can have a thousand."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def _look_at(
    source: FrameSource,
    stop: bool,
    bad: list[BadFrame],
    checks: FrameChecks,
    fields: Collection[str],
) -> None:
    """Read an even sample of the frames: what only the contents show is found before the start."""
    stride = max(1, len(source) // FRAMES_READ_BEFORE_START)
    for index in range(0, len(source), stride):
        try:
            frame = source[index]
            checks.add(frame)
            if fields:
                camera_views(frame, fields)
        except UserError as error:
            if stop:
                raise
            bad.append(BadFrame(source.names[index], str(error)))
    problems = checks.problems()
    if problems and stop:
        raise UserError(problems[0])
    _warn([*problems, *checks.warnings()])


def _look_at_decoded(
    data: RunData, config: RunConfig, needs_labels: bool, fields: _PartFields
) -> None:
    """Look at a sample of frames that are kept on disk; those that cannot be read are known."""
    for source in {id(each): each for each in (data.training, data.validation)}.values():
        if isinstance(source, DecodedCache):
            trains = source is data.training
            checks = FrameChecks(data.spec, trains=trains, needs_labels=needs_labels or not trains)
            _look_at(source, config.on_bad_frame == "stop", [], checks, fields[0 if trains else 1])


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        logger.warning(f"warning: {line}")


def counts_of(config: RunConfig, source: FrameSource) -> VoxelCounts | None:
    """Return how many voxels each frame has, if batches are bounded by voxels."""
    data = config.data
    if not data.max_batch_voxels:
        return None
    return voxel_counts(
        source,
        data.grid_size_m,
        config.resolved_data_root,
        cache_dir=data.cache_dir,
        num_workers=data.num_workers,
        on_bad_frame=config.on_bad_frame,
    )


def training_frames(
    config: RunConfig, source: FrameSource, coarsest_cell_voxels: int, **more: Any
) -> TrainingFrames:
    """Return a source as a run trains on it; `more` are further options of `TrainingFrames`."""
    data = config.data
    options: dict[str, Any] = {
        "grid_size_m": data.grid_size_m,
        "augmentation": PAPER_AUGMENTATION if data.augment else None,
        "max_voxels": data.max_voxels or None,
        "clip_range_m": data.clip_range_m,
        "repeats": data.repeats,
        "max_batch_voxels": data.max_batch_voxels or None,
        "counts": counts_of(config, source),
        "on_bad_frame": config.on_bad_frame,
        "coarsest_cell_voxels": coarsest_cell_voxels,
    }
    return TrainingFrames(source, **options | more)
