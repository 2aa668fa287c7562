"""The teacher that a run does not train: from a file that is given, its folder or the package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from train.config import RunConfig
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.data.frame import IN_CHANNELS
from train.engine.run_folder import RunFolder
from train.evaluation.load_network import OpenedCheckpoint, fit_classes, open_checkpoint
from train.networks.pretrained import PretrainedCard, pretrained_path, read_card
from train.networks.registry import network_name, parse_network
from train.networks.weights import ModelMetadata, load_model, load_teacher, weights_file

TRAINED_HERE: Final = {"from": "this run"}
"""What config.json says about a teacher that was neither given nor came with the package."""


@dataclass(frozen=True)
class GivenTeacher:
    """A teacher from a file.

    Attributes
    ----------
    path
        The file.
    opened
        Network and metadata; its classes are the data's.
    is_foreign
        Whether others wrote the file.
    classes_note
        What is known to one side alone; "" if teacher and data have the same classes.
    """

    path: Path
    opened: OpenedCheckpoint
    is_foreign: bool
    classes_note: str = ""

    @property
    def is_converted(self) -> bool:
        """Whether the file itself is not what the run uses: a copy of ours is."""
        return self.is_foreign or bool(self.classes_note)

    def origin(self) -> dict[str, Any]:
        """Return what config.json says of it."""
        found: dict[str, Any] = {
            "from": "--teacher-checkpoint",
            "file": str(self.path),
            "sha256": sha256_of(weights_file(self.path)),
        }
        return found | ({"converted": "; ".join(self.lines())} if self.is_converted else {})

    def lines(self) -> list[str]:
        """Return what to say of it."""
        told = [f"teacher: {self.opened.note}"] if self.opened.note else []
        return told + ([f"teacher: {self.classes_note}"] if self.classes_note else [])


def named_teacher(
    config: RunConfig,
    class_names: Sequence[str],
    *,
    wanted: bool,
    copy: Path | None,
    **options: Any,
) -> GivenTeacher | None:
    """Return the teacher that a flag names, read and fitted; None where none is named or wanted.

    Parameters
    ----------
    config
        The run's.
    class_names
        Of the data.
    wanted
        Whether the run has a teacher at all.
    copy
        What an earlier start made of the file, which may be gone; None if there is none.
    **options
        How to compute, as `build_network` takes them.

    Raises
    ------
    UserError
        If flags do not go together, or the file cannot be used.
    """
    if config.initial_teacher is not None and config.teacher_checkpoint is not None:
        raise UserError(
            "--initial-teacher: is trained further, and --teacher-checkpoint is taken as it is; "
            "give one of them"
        )
    path = config.teacher_checkpoint or config.initial_teacher
    for flag, value in (
        ("--teacher-form", config.teacher_form),
        ("--teacher-classes", config.teacher_classes),
    ):
        if path is None and value is not None:
            raise UserError(
                f"{flag}: says something of the file of --teacher-checkpoint, which is missing"
            )
    if path is None or not wanted:
        return None
    if copy is not None:
        return GivenTeacher(copy, OpenedCheckpoint(*load_model(copy, **options)), is_foreign=False)
    return open_given_teacher(path, config, class_names, **options)


def open_given_teacher(
    path: Path, config: RunConfig, class_names: Sequence[str], **options: Any
) -> GivenTeacher:
    """Read the file of a teacher and fit its classes to the data's.

    Parameters
    ----------
    path
        The file.
    config
        The run's; `teacher`, if it is given, must be what the file holds.
    class_names
        Of the data.
    **options
        How to compute, as `build_network` takes them.

    Raises
    ------
    UserError
        If the file cannot be used; see `open_checkpoint` and `fit_classes`.
    """
    opened = open_checkpoint(
        path,
        form=config.teacher_form,
        classes=config.teacher_classes,
        dataset=config.dataset,
        **options,
    )
    held = network_name(opened.metadata.spec)
    if config.teacher is not None:
        wanted = ":".join(parse_network("teacher", config.teacher))
        if wanted != held:
            raise UserError(
                f"{path}: holds a {held}, but this run needs a {wanted}; leave out --teacher, or "
                f"say --teacher {held}"
            )
    if opened.metadata.in_channels != IN_CHANNELS:
        raise UserError(
            f"{path}: takes {opened.metadata.in_channels} input channels, but the data has "
            f"{IN_CHANNELS}"
        )
    is_foreign = not opened.is_ours
    fitted, note = fit_classes(opened, class_names, path, "--teacher-classes")
    return GivenTeacher(path, fitted, is_foreign, note)


@dataclass(frozen=True)
class FoundTeacher:
    """The teacher that is there before a run trains anything, and where it is from.

    Attributes
    ----------
    path
        Its file, checked; None if there is none.
    origin
        What config.json says of it; None for a run without.
    metadata
        Of a teacher that was not trained here.
    card
        Of the one that comes with the package, if it serves.
    misfit
        Why that one does not serve; "" if there is nothing to say.
    """

    path: Path | None
    origin: dict[str, Any] | None
    metadata: ModelMetadata | None = None
    card: PretrainedCard | None = None
    misfit: str = ""


def converted_copy(
    config: RunConfig, folder: RunFolder, origin: Mapping[str, Any] | None
) -> Path | None:
    """Return the copy of a teacher of others that the run began with; None if there is none."""
    wanted = config.teacher_checkpoint is not None and "converted" in (origin or {})
    return folder.teacher if wanted and folder.teacher.is_file() else None


def find_teacher(
    config: RunConfig,
    folder: RunFolder,
    given: GivenTeacher | None,
    *,
    needed: bool,
    name: str,
    class_names: Sequence[str],
    origin: dict[str, Any] | None,
    copy: Path | None,
    **options: Any,
) -> FoundTeacher:
    """Look for the trained teacher that a run begins with.

    Parameters
    ----------
    config, folder
        The run's.
    given
        The teacher that a flag names.
    needed
        Whether the method has a teacher.
    name
        Which network it is to be, "NETWORK:SIZE".
    class_names
        Of the data.
    origin
        What an earlier part of the run recorded.
    copy
        From `converted_copy`.
    **options
        How to compute, as `build_network` takes them.

    Raises
    ------
    UserError
        If there has to be one and there is none, or the package's cannot be used.
    """
    metadata = None if given is None else given.opened.metadata
    if config.teacher_checkpoint is not None and given is not None:
        if copy is not None:
            return FoundTeacher(copy, origin, metadata)
        return FoundTeacher(config.teacher_checkpoint, given.origin(), metadata)
    if folder.teacher.is_file():
        return FoundTeacher(folder.teacher, origin, metadata)
    if config.stage == "student" and needed:
        raise UserError(
            "--stage student needs a trained teacher: give --teacher-checkpoint FILE, or "
            f"--resume with the --output of a run that has one (no {folder.teacher})"
        )
    path = pretrained_path(config.dataset, name, simulated=config.simulate)
    may_serve = config.stage == "all" and needed and not config.from_scratch
    # A run that began to train its teacher goes on with that.
    begun = config.initial_teacher is not None or origin == TRAINED_HERE
    misfit = ""
    if path is not None and may_serve and not begun:
        packaged = _packaged_teacher(path, config, name, class_names, **options)
        if packaged.path is not None:
            return packaged
        misfit = packaged.misfit
    trains = needed or config.stage == "teacher"
    return FoundTeacher(None, TRAINED_HERE if trains else origin, metadata, misfit=misfit)


def _packaged_teacher(
    path: Path, config: RunConfig, name: str, class_names: Sequence[str], **options: Any
) -> FoundTeacher:
    """Return the teacher that comes with the package, checked, or why it does not serve."""
    try:
        card = read_card(path)
        own = (config.data.grid_size_m, config.data.clip_range_m)
        if own != (card.metadata.grid_size_m, card.metadata.clip_range_m):
            misfit = (
                f"the teacher that comes with the package has voxels of "
                f"{card.metadata.grid_size_m} m in the box {card.metadata.clip_range_m}, this run "
                f"{own[0]} m in {own[1]}: one is trained here"
            )
            return FoundTeacher(None, None, misfit=misfit)
        _, metadata = load_teacher(
            path, wanted=name, in_channels=IN_CHANNELS, class_names=class_names, **options
        )
    except UserError as error:
        raise UserError(
            f"the teacher that comes with the package cannot be used: {error}. Install "
            "topodistill again, or add --from-scratch to train a teacher"
        ) from error
    origin = {
        "from": "the package",
        "file": path.name,
        "sha256": sha256_of(path),
        "made_by": dict(card.made_by),
    }
    return FoundTeacher(path, origin, metadata, card)
