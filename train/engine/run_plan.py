"""What a run will do, checked before anything is written: folder, networks, data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from fast import rips_persistence
from train.config import CHANGEABLE_ON_RESUME, RunConfig, differences, to_json
from train.core.distributed import (
    broadcast_object,
    current_world,
    first_process_first,
    is_first_process,
)
from train.core.errors import UserError
from train.data.batch import SkippedFrames, VoxelBudgetBatchSampler
from train.data.cameras import CAMERA_FIELDS
from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import SomeFrames
from train.data.labels import NONE, check_labels
from train.data.loader import TrainingFrames
from train.engine.loop import FrameBatches
from train.engine.pair import (
    TRAINED_HERE,
    FoundTeacher,
    Pair,
    converted_copy,
    find_teacher,
    named_teacher,
    network_of,
)
from train.engine.run_data import RunData, open_data, training_frames
from train.engine.run_folder import ROLES, RunFolder
from train.engine.teacher_score import look_at_teacher
from train.engine.training_state import TrainingState, load_state
from train.methods.protocol import DistillationMethod
from train.methods.registry import method_class
from train.networks.protocol import Network
from train.predict.submit import PlannedSubmission, check_submission


def flag_of(name: str) -> str:
    """Return the flag of a dotted field name, as config.json has it; torchrun's has none here."""
    if name == "processes":
        return name
    return f"--{name.replace('options.', 'method.').replace('_', '-')}"


def changes_of_training(names: Iterable[str]) -> list[str]:
    """Return those of the changed fields that change how a student is trained."""
    return [
        name
        for name in names
        if name == "data.max_batch_voxels"
        or (name.startswith("optim.") and name != "optim.teacher_epochs")
    ]


@dataclass(frozen=True)
class Resumed:
    """What an earlier part of a run left; nothing for a run that starts.

    Attributes
    ----------
    changes
        Fields of the configuration that are others now: before and after, by dotted name.
    teacher_origin
        Where the teacher is from, as config.json says it.
    """

    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    teacher_origin: dict[str, Any] | None = None


def look_at_folder(config: RunConfig, folder: RunFolder) -> Resumed:
    """Refuse a folder that holds something else, or, to resume, nothing or another run.

    Raises
    ------
    UserError
        If the folder does not fit, or an option was changed that cannot be.
    """
    if not config.resume:
        folder.check_new()
        return Resumed()
    content = folder.check_resume()
    changed = differences(content["config"], to_json(config))
    refused = {k: v for k, v in changed.items() if k not in CHANGEABLE_ON_RESUME}
    if "method" in refused:  # its options are others, too, but that says nothing more
        refused = {"method": refused["method"]}
    if refused:
        told = "; ".join(
            f"{flag_of(name)} {old}, now {new}" for name, (old, new) in refused.items()
        )
        raise UserError(
            f"--resume: this is not the run in {folder.path}: {told}; leave these flags out, or "
            "give a new --output"
        )
    if "optim.teacher_epochs" in changed and folder.teacher.is_file():
        raise UserError(
            f"--optim.teacher-epochs {config.optim.teacher_epochs}: the teacher of {folder.path} "
            f"is finished after {changed['optim.teacher_epochs'][0]} epochs and cannot go on; "
            "leave the flag out, or give a new --output"
        )
    for role, weights in (("student", folder.student), ("baseline", folder.baseline)):
        checkpoint = folder.checkpoint_of(role)
        if (
            "optim.student_epochs" in changed
            and (role == "student" or config.baseline)
            and weights.is_file()
            and not checkpoint.is_file()
        ):
            raise UserError(
                f"--optim.student-epochs {config.optim.student_epochs}: the {role} of "
                f"{folder.path} is finished, and there is no {checkpoint.name} to go on from; "
                "leave the flag out, or give a new --output"
            )
    processes = content.get("processes", 1), current_world().size
    if processes[0] != processes[1] and config.stage != "evaluate":
        changed["processes"] = processes
    # Earlier versions did not say it, and trained every teacher that was not given.
    return Resumed(changed, content.get("teacher") or TRAINED_HERE)


def check_choices(
    config: RunConfig, spec: DatasetSpec, method: type[DistillationMethod], pair: Pair
) -> None:
    """Refuse networks, packages, kernels and options that are asked for and do not go.

    Raises
    ------
    UserError
        For the first of them.
    """
    check_labels(config.data.labels)
    networks: dict[str, Network] = {}
    for role, name in pair.names.items():
        if role == "teacher" and not method.needs_teacher:
            continue
        try:
            networks[role] = pair.build(role)
        except (TypeError, ValueError) as error:
            raise UserError(f"--{role} {name}: {error}") from error
    trains_student = config.stage in ("all", "student")
    if trains_student:
        if config.baseline and config.method == "none":
            raise UserError(
                "--baseline: --method none is the student alone already; leave --baseline out, "
                "or choose another method"
            )
        if config.baseline and not method.needs_labels:
            raise UserError(
                f"--baseline: --method {config.method} learns without labels, and the student "
                "alone would learn from them; leave --baseline out"
            )
        method.check(config.options, networks["student"], networks.get("teacher"))
        unknown = method.batch_fields - CAMERA_FIELDS
        if unknown or (method.batch_fields and not spec.has_cameras):
            raise UserError(
                f"--method {config.method} needs "
                f"{', '.join(sorted(unknown or method.batch_fields))}, which the frames of "
                f"{config.dataset} do not have"
            )
        method.check_classes(config.options, spec.class_names)
        method.check_labels(config.options, config.data.labels)
        given = method.given_image_network(config.options) or config.simulate
        if method.batch_fields and method.needs_image_network and not given:
            raise UserError(
                f"--method.image-network is missing: --method {config.method} looks at images "
                "through a network; train one with topodistill train-images (with --simulate a run "
                "does it itself)"
            )
    if config.teacher_checkpoint is not None and not method.needs_teacher:
        raise UserError(
            f"--teacher-checkpoint: --method {config.method} has no teacher; leave it out, or "
            "choose another method"
        )
    if config.log_gradient_norms_every and config.optim.accumulate > 1:
        raise UserError(
            "--log-gradient-norms-every needs whole steps: leave out --optim.accumulate"
        )
    if method.needs_persistence(config.options):
        try:
            rips_persistence(torch.zeros(1, 1, device=pair.device))
        except RuntimeError as error:
            raise UserError(f"--device {pair.device}: {error}") from error


@dataclass
class RunPlan:
    """What a run reads, where it writes, and what of it is left to do; made by `of`.

    Attributes
    ----------
    changes
        Fields of the configuration that are others than in the earlier part of the run.
    states
        The checkpoints that it goes on from, by stage.
    teacher
        What is known of the teacher that is there before anything is trained.
    teacher_file
        The trained teacher, once there is one.
    fields
        Entries of the student's batches that need cameras.
    skipped
        Collects the frames that cannot be read.
    """

    config: RunConfig
    folder: RunFolder
    changes: Mapping[str, tuple[Any, Any]]
    states: Mapping[str, TrainingState]
    spec: DatasetSpec
    method: type[DistillationMethod]
    pair: Pair
    teacher: FoundTeacher
    teacher_file: Path | None
    data: RunData
    fields: frozenset[str]
    skipped: SkippedFrames
    submission: PlannedSubmission | None

    @classmethod
    def of(cls, config: RunConfig, device: torch.device) -> Self:
        """Return the plan of a run; everything that can be refused is refused here.

        Nothing is written under the output folder.

        Parameters
        ----------
        config
            Of the run.
        device
            Of this process.

        Raises
        ------
        UserError
            If the output folder, the data, a network or a checkpoint does not fit.
        """
        folder = RunFolder(config.resolved_output)
        with first_process_first():
            left = look_at_folder(config, folder) if is_first_process() else None
        # What is to be trained depends on it, and the folder is the first process's to read.
        resumed: Resumed = broadcast_object(left)
        spec = dataset_spec(config.dataset, vars(config.data))
        method = method_class(config.method)
        copy = converted_copy(config, folder, resumed.teacher_origin)
        wanted = method.needs_teacher or config.stage == "teacher"
        given = named_teacher(config, spec.class_names, wanted=wanted, copy=copy)
        pair = Pair(config, device, tuple(spec.class_names), given)
        check_choices(config, spec, method, pair)
        origin, needed = resumed.teacher_origin, method.needs_teacher
        teacher = find_teacher(pair, folder, needed=needed, origin=origin, copy=copy)
        if config.stage == "evaluate" and not finished_networks(config, folder, teacher.path):
            raise UserError(f"--stage evaluate: neither {folder.teacher} nor {folder.student}")
        states = _read_states(folder) if config.resume else {}
        trains_student = config.stage in ("all", "student")
        scores_images = method.scores_with_images and config.stage != "teacher"
        fields = method.batch_fields if trains_student else frozenset[str]()
        data = open_data(
            config,
            spec,
            needs_labels=method.needs_labels,
            fields=fields,
            evaluation_fields=method.batch_fields if scores_images else frozenset[str](),
        )
        plan = cls(
            config,
            folder,
            resumed.changes,
            states,
            spec,
            method,
            pair,
            teacher,
            teacher.path,
            data,
            fields,
            SkippedFrames(folder.skipped),
            check_submission(config, spec, data.validation),
        )
        plan.check()
        return plan

    def check(self) -> None:
        """Refuse what cannot be done with the frames, the checkpoints or the teacher that are."""
        self._check_labels()
        self._check_progress()
        if self.config.stage != "evaluate":
            data = self.config.data
            # Refuses more processes than frames in a step.
            VoxelBudgetBatchSampler(
                len(self.data.training) * data.repeats, data.batch_size, world=current_world()
            )
        self._check_given_teacher()

    def _check_labels(self) -> None:
        """Refuse what learns from labels where no frame has one."""
        ways = {
            "teacher": "give a trained one, --teacher-checkpoint FILE",
            "baseline": "leave --baseline out",
        }
        for role, way in ways.items():
            if self.config.data.labels == NONE and self._needs(role):
                raise UserError(
                    f"--data.labels none: the {role} would be trained on labels; {way}, or give "
                    "labels"
                )

    def _check_progress(self) -> None:
        """Refuse a schedule that is over before the step that the run is at, or an unfair one."""
        for stage, state in self.states.items():
            if not self._needs(stage):
                continue
            epochs = self._epochs(stage)
            steps = FrameBatches(self._training_frames(stage), self.config).ends(epochs)[-1]
            if state.step > steps:
                raise UserError(
                    f"--resume: {state.step} steps of the {stage} are done, but with "
                    f"--optim.{network_of(stage)}-epochs {epochs} and batches as they are now it "
                    f"ends at step {steps}; give more epochs, or a new --output"
                )
        baseline, changed = self.states.get("baseline"), changes_of_training(self.changes)
        begun = baseline is not None and baseline.finished_epochs is None
        if begun and changed and self._needs("baseline"):
            raise UserError(
                f"--resume: {', '.join(map(flag_of, changed))}: the baseline is to be trained as "
                "the student was, and has begun; leave out the change, or add --no-baseline"
            )

    def _check_given_teacher(self) -> None:
        """Score the teacher of --teacher-checkpoint on some frames before a student is trained."""
        config = self.config
        begun = config.resume and ("student" in self.states or self.folder.student.is_file())
        given = None if config.teacher_checkpoint is None else self.pair.given
        if config.data.labels == NONE:
            return
        if given is not None and not begun and self._needs("student"):
            names = tuple(self.spec.class_names)
            look_at_teacher(given, self.data.training, config, self.pair.device, names)

    def _epochs(self, role: str) -> int:
        optim = self.config.optim
        return optim.teacher_epochs if role == "teacher" else optim.student_epochs

    def _needs(self, role: str) -> bool:
        """Return whether a network is to be trained, or trained further."""
        if self.config.stage not in ("all", network_of(role)):
            return False
        if role == "baseline" and not self.config.baseline:
            return False
        if role == "teacher":
            return self.teacher_file is None and (
                self.method.needs_teacher or self.config.stage == "teacher"
            )
        weights = self.folder.student if role == "student" else self.folder.baseline
        if not weights.is_file():
            return True
        # A finished network goes on if it is to have another number of epochs.
        state = self.states.get(role)
        return state is not None and state.finished_epochs != self._epochs(role)

    def _resume_point(self) -> tuple[str, int] | None:
        """Return the stage that is to be trained next and how many of its steps stand."""
        if not self.config.resume:
            return None
        for role in ROLES:
            if self._needs(role):
                state = self.states.get(role)
                return role, 0 if state is None else state.step
        return None

    def _training_frames(self, role: str, coarsest_cell_voxels: int = 1) -> TrainingFrames:
        source, repeats = self.data.training, self.config.data.repeats
        labels: bool | frozenset[str] = self.method.needs_labels
        if self.data.labeled is not None:
            labels = self.data.labeled
            if role != "student" or not self.method.needs_teacher:
                # Without a teacher others say nothing; the labeled ones come as often as all did.
                rows = [row for row, name in enumerate(source.names) if name in labels]
                source = SomeFrames(source, rows)
                repeats *= 1 if role == "teacher" else len(self.data.training) // len(rows)
        return training_frames(
            self.config,
            source,
            coarsest_cell_voxels,
            repeats=repeats,
            # The student and its baseline see equal crops.
            seed=2 * self.config.seed + (network_of(role) == "student"),
            # Only the method that is distilled by asks for more than points.
            fields=self.fields if role == "student" else (),
            # Of frames that are all used, some may have labels and some not.
            labels=labels,
        )


def finished_networks(
    config: RunConfig, folder: RunFolder, teacher: Path | None
) -> dict[str, Path]:
    """Return the trained networks that are there, by role."""
    found = {
        "teacher": teacher,
        "student": folder.student,
        "baseline": folder.baseline if config.baseline else None,
    }
    return {role: path for role, path in found.items() if path is not None and path.is_file()}


def _read_states(folder: RunFolder) -> dict[str, TrainingState]:
    paths = (folder.checkpoint, folder.baseline_checkpoint)
    states = [load_state(path) for path in paths if path.is_file()]
    return {state.stage: state for state in states}
