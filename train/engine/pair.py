"""The pair of networks of a run: which they are, how they are built, where the teacher is from."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch

from train.config import RunConfig
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.data.frame import IN_CHANNELS
from train.engine.run_folder import RunFolder
from train.evaluation.load_network import OpenedCheckpoint, fit_classes, open_checkpoint
from train.networks.batch_norm import synchronize_batch_norm
from train.networks.pretrained import PretrainedCard, pretrained_path, read_card
from train.networks.protocol import Network, NetworkSpec
from train.networks.registry import (
    PAIRS,
    build_network,
    form_of,
    network_name,
    parse_network,
)
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


def network_of(stage: str) -> str:
    """Return which network of the pair a stage trains: "teacher" or "student"."""
    return "teacher" if stage == "teacher" else "student"


def computing_options(config: RunConfig) -> dict[str, Any]:
    """Return how networks are to compute, where that is not as usual."""
    asked = {name: getattr(config, name) for name in ("convolution", "attention")}
    usual = {each.name: each.default for each in dataclasses.fields(RunConfig)}
    return {name: value for name, value in asked.items() if value != usual[name]}


def named_teacher(
    config: RunConfig, class_names: Sequence[str], *, wanted: bool, copy: Path | None
) -> GivenTeacher | None:
    """Return the teacher that a flag names, read and fitted; None where none is named or wanted.

    Parameters
    ----------
    config
        The run's; `teacher`, if it is given, must be what the file holds.
    class_names
        Of the data.
    wanted
        Whether the run has a teacher at all.
    copy
        What an earlier start made of the file, which may be gone; None if there is none.

    Raises
    ------
    UserError
        If flags do not go together, or the file cannot be used; see `open_checkpoint` and
        `fit_classes`.
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
    options = computing_options(config)
    if copy is not None:
        return GivenTeacher(copy, OpenedCheckpoint(*load_model(copy, **options)), is_foreign=False)
    opened = open_checkpoint(
        path,
        form=config.teacher_form,
        classes=config.teacher_classes,
        dataset=config.dataset,
        **options,
    )
    held = network_name(opened.metadata.spec)
    if config.teacher is not None:
        needed = ":".join(parse_network("teacher", config.teacher))
        if needed != held:
            raise UserError(
                f"{path}: holds a {held}, but this run needs a {needed}; leave out --teacher, or "
                f"say --teacher {held}"
            )
    if opened.metadata.in_channels != IN_CHANNELS:
        raise UserError(
            f"{path}: takes {opened.metadata.in_channels} input channels, but the data has "
            f"{IN_CHANNELS}"
        )
    fitted, note = fit_classes(opened, class_names, path, "--teacher-classes")
    return GivenTeacher(path, fitted, not opened.is_ours, note)


@dataclass(frozen=True)
class Pair:
    """The networks of a run: which they are, how they are built and read.

    Attributes
    ----------
    config, device
        The run's.
    class_names
        Of the data.
    given
        The teacher that a flag names, or None.
    """

    config: RunConfig
    device: torch.device
    class_names: tuple[str, ...]
    given: GivenTeacher | None

    @cached_property
    def names(self) -> dict[str, str]:
        """Which networks teacher and student are, as "NETWORK:SIZE" by role."""
        config, pair = self.config, PAIRS[self.config.model]
        held = None if self.given is None else network_name(self.given.opened.metadata.spec)
        named = {"teacher": config.teacher or held or pair[0], "student": config.student or pair[1]}
        return {role: ":".join(parse_network(role, name)) for role, name in named.items()}

    def build(self, role: str) -> Network:
        """Build an untrained network; the same weights every time for the same seed.

        The student and its baseline begin with equal weights.
        """
        kind = network_of(role)
        network, size = parse_network(kind, self.names[kind])
        torch.manual_seed(2 * self.config.seed + (kind == "student"))
        overrides: Mapping[str, Any] = {}
        if self.given is not None:
            own = self.given.opened.metadata.spec
            overrides = own.overrides if kind == "teacher" else form_of(own, network)
        spec = NetworkSpec(network, size, len(self.class_names), IN_CHANNELS, overrides)
        model = build_network(spec, **computing_options(self.config)).to(self.device)
        if self.config.sync_batch_norm:
            synchronize_batch_norm(model)
        return model

    def load(self, path: Path) -> Network:
        """Read a network of the run."""
        return load_model(path, **computing_options(self.config))[0].to(self.device)

    def load_teacher(self, path: Path) -> tuple[Network, ModelMetadata]:
        """Read the trained teacher, frozen; refuse one of another kind."""
        teacher, metadata = load_teacher(
            path,
            wanted=self.names["teacher"],
            in_channels=IN_CHANNELS,
            class_names=self.class_names,
            **computing_options(self.config),
        )
        return teacher.to(self.device).eval().requires_grad_(False), metadata


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
    pair: Pair,
    folder: RunFolder,
    *,
    needed: bool,
    origin: dict[str, Any] | None,
    copy: Path | None,
) -> FoundTeacher:
    """Look for the trained teacher that a run begins with.

    Parameters
    ----------
    pair, folder
        The run's.
    needed
        Whether the method has a teacher.
    origin
        What an earlier part of the run recorded.
    copy
        From `converted_copy`.

    Raises
    ------
    UserError
        If there has to be one and there is none, or the package's cannot be used.
    """
    config, given = pair.config, pair.given
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
    path = pretrained_path(config.dataset, pair.names["teacher"], simulated=config.simulate)
    may_serve = config.stage == "all" and needed and not config.from_scratch
    # A run that began to train its teacher goes on with that.
    begun = config.initial_teacher is not None or origin == TRAINED_HERE
    misfit = ""
    if path is not None and may_serve and not begun:
        packaged = _packaged_teacher(path, pair)
        if packaged.path is not None:
            return packaged
        misfit = packaged.misfit
    trains = needed or config.stage == "teacher"
    return FoundTeacher(None, TRAINED_HERE if trains else origin, metadata, misfit=misfit)


def _packaged_teacher(path: Path, pair: Pair) -> FoundTeacher:
    """Return the teacher that comes with the package, checked, or why it does not serve."""
    data = pair.config.data
    own = (data.grid_size_m, data.clip_range_m)
    try:
        card = read_card(path)
        if own != (card.metadata.grid_size_m, card.metadata.clip_range_m):
            misfit = (
                f"the teacher that comes with the package has voxels of "
                f"{card.metadata.grid_size_m} m in the box {card.metadata.clip_range_m}, this run "
                f"{own[0]} m in {own[1]}: one is trained here"
            )
            return FoundTeacher(None, None, misfit=misfit)
        _, metadata = pair.load_teacher(path)
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
