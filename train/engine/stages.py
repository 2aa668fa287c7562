"""A run's stages in order: train a teacher, distill it into a student, score both."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from fast import rips_persistence
from train.config import CHANGEABLE_ON_RESUME, MethodConfig, RunConfig, differences, to_json
from train.core import provenance
from train.core.console import logger
from train.core.device import describe_device, to_device
from train.core.distributed import (
    agree,
    broadcast_object,
    current_world,
    first_process_first,
    gather_objects,
    is_first_process,
    process_device,
    process_group,
    require_same,
)
from train.core.errors import UserError
from train.data.batching import VoxelBudgetBatchSampler
from train.data.collate import collate
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.registry import dataset_spec
from train.data.skipping import SkippedFrames
from train.data.transforms import PAPER_AUGMENTATION
from train.engine.loop import TrainTask, batch_sampler, fit
from train.engine.run_data import counts_of, open_data
from train.engine.run_folder import RunFolder
from train.engine.run_log import RunLog
from train.engine.scoring import Scorer, write_metrics
from train.engine.training_state import TrainingState, load_state
from train.inference.submit import check_submission, write_submission
from train.methods.none import CrossEntropy
from train.methods.registry import method_class
from train.networks.batch_norm import average_batch_norm_statistics, synchronize_batch_norm
from train.networks.protocol import Network, NetworkSpec
from train.networks.registry import PAIRS, build_network, parse_network
from train.networks.weights import ModelMetadata, load_model, load_teacher, save_model

IN_CHANNELS = 4  # x, y, z in meters and strength


def _flag(name: str) -> str:
    """Return the flag of a dotted field name, as config.json has it."""
    return f"--{name.replace('options.', 'method.').replace('_', '-')}"


def run(config: RunConfig) -> None:
    """Do a run, on this process or on all that torchrun started.

    Raises
    ------
    UserError
        If anything does not fit; whatever can be refused is refused before anything is written.
    Interrupted
        If the run was asked to stop, after a checkpoint.
    """
    device = process_device(config.device)
    with process_group(device):
        _require_same_run(config)
        Run(config, device).start()


def _require_same_run(config: RunConfig) -> None:
    """Refuse processes that were started with different flags; name these alone."""
    everyone = gather_objects(_flat(to_json(config)))
    first = everyone[0]
    names = {name for other in everyone for name in first if other.get(name) != first[name]}
    # The method decides which options there are, so it comes before them.
    for name in sorted(names, key=lambda name: (name != "method", name)):
        flag = name.replace("options.", "method.").replace("_", "-")
        require_same(f"--{flag}", everyone[current_world().rank].get(name))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        flat |= {prefix + name: value} if inner is None else inner
    return flat


class Run:
    """One run: what it reads, where it writes, and its stages in order.

    Everything that can be refused is refused while this object is built, before anything is written
    under the output folder.

    Parameters
    ----------
    config
        With `model`, `method` and `device` resolved, as `parse` returns it.
    device
        Of this process.

    Raises
    ------
    UserError
        If the output folder, the data, a network or a checkpoint does not fit.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.folder = RunFolder(config.resolved_output)
        self.changes: dict[str, tuple[Any, Any]] = {}
        with first_process_first():
            if is_first_process():
                self._check_folder()
        # What is to be trained depends on it, and the folder is the first process's to read.
        self.changes = broadcast_object(self.changes)
        self.spec = dataset_spec(config.dataset)
        self.method = method_class(config.method)
        pair = PAIRS[config.model]
        self.names = {
            "teacher": config.teacher or pair[0],
            "student": config.student or pair[1],
        }
        self._check_choices()
        self.teacher_file = self._find_teacher()
        if config.stage == "evaluate" and not self._finished():
            raise UserError(
                f"--stage evaluate: neither {self.folder.teacher} nor {self.folder.student}"
            )
        self.state = self._read_state()
        self.skipped = SkippedFrames(self.folder.skipped)
        self.data = open_data(config, self.spec, needs_labels=self.method.needs_labels)
        self._check_progress()
        if config.stage != "evaluate":
            self._check_number_of_processes()
        self.submission = check_submission(config, self.spec, self.data.validation)

    def _check_folder(self) -> None:
        """Refuse a folder that holds something else, or, to resume, nothing or another run."""
        if not self.config.resume:
            self.folder.check_new()
            return
        content = self.folder.check_resume()
        before = content["config"]
        changed = differences(before, to_json(self.config))
        refused = {k: v for k, v in changed.items() if k not in CHANGEABLE_ON_RESUME}
        if "method" in refused:  # its options are others, too, but that says nothing more
            refused = {"method": refused["method"]}
        if refused:
            told = "; ".join(
                f"{_flag(name)} {old}, now {new}" for name, (old, new) in refused.items()
            )
            raise UserError(
                f"--resume: this is not the run in {self.folder.path}: {told}; leave these flags "
                "out, or give a new --output"
            )
        if "optim.teacher_epochs" in changed and self.folder.teacher.is_file():
            raise UserError(
                f"--optim.teacher-epochs {self.config.optim.teacher_epochs}: the teacher of "
                f"{self.folder.path} is finished after {changed['optim.teacher_epochs'][0]} "
                "epochs and cannot go on; leave the flag out, or give a new --output"
            )
        if (
            "optim.student_epochs" in changed
            and self.folder.student.is_file()
            and not self.folder.checkpoint.is_file()
        ):
            raise UserError(
                f"--optim.student-epochs {self.config.optim.student_epochs}: the student of "
                f"{self.folder.path} is finished, and there is no {self.folder.checkpoint.name} "
                "to go on from; leave the flag out, or give a new --output"
            )
        self.changes = changed
        processes = content.get("processes", 1), current_world().size
        if processes[0] != processes[1] and self.config.stage != "evaluate":
            self.changes["processes"] = processes

    def _check_number_of_processes(self) -> None:
        """Refuse more processes than sweeps in a step."""
        data = self.config.data
        VoxelBudgetBatchSampler(
            len(self.data.training) * data.repeats, data.batch_size, world=current_world()
        )

    def _check_choices(self) -> None:
        """Refuse networks, packages and kernels that are asked for and not there."""
        config = self.config
        networks: dict[str, Network] = {}
        for role, name in self.names.items():
            if role == "teacher" and not self.method.needs_teacher:
                continue
            try:
                networks[role] = self._build(role)
            except (TypeError, ValueError) as error:
                raise UserError(f"--{role} {name}: {error}") from error
        if config.stage in ("all", "student"):
            self.method.check(config.options, networks["student"], networks.get("teacher"))
        if self.method.batch_fields:
            raise UserError(
                f"--method {config.method} needs {', '.join(sorted(self.method.batch_fields))}, "
                f"which the frames of {config.dataset} do not have"
            )
        if config.teacher_checkpoint is not None and not self.method.needs_teacher:
            raise UserError(
                f"--teacher-checkpoint: --method {config.method} has no teacher; leave it out, or "
                "choose another method"
            )
        if config.log_gradient_norms_every and config.optim.accumulate > 1:
            raise UserError(
                "--log-gradient-norms-every needs whole steps: leave out --optim.accumulate"
            )
        if getattr(config.options, "topology", 0) > 0:
            try:
                rips_persistence(torch.zeros(1, 1, device=self.device))
            except RuntimeError as error:
                raise UserError(f"--device {self.device}: {error}") from error

    def _find_teacher(self) -> Path | None:
        """Return the file of the teacher that is there already, checked; None if there is none."""
        config = self.config
        if config.teacher_checkpoint is not None:
            self._load_teacher(config.teacher_checkpoint)
            return config.teacher_checkpoint
        if self.folder.teacher.is_file():
            return self.folder.teacher
        if config.stage == "student" and self.method.needs_teacher:
            raise UserError(
                "--stage student needs a trained teacher: give --teacher-checkpoint FILE, or "
                f"--resume with the --output of a run that has one (no {self.folder.teacher})"
            )
        return None

    def _finished(self) -> dict[str, Path]:
        """Return the trained networks that are there, by role."""
        found = {"teacher": self.teacher_file, "student": self.folder.student}
        return {role: path for role, path in found.items() if path is not None and path.is_file()}

    def _read_state(self) -> TrainingState | None:
        if not (self.config.resume and self.folder.checkpoint.is_file()):
            return None
        return load_state(self.folder.checkpoint)

    def _check_progress(self) -> None:
        """Refuse a schedule that is over before the step that the run is at."""
        state = self.state
        if state is None or not self._needs(state.stage):
            return
        epochs = self._epochs(state.stage)
        steps = batch_sampler(self._training_frames(state.stage), self.config).ends(epochs)[-1]
        if state.step > steps:
            raise UserError(
                f"--resume: {state.step} steps of the {state.stage} are done, but with "
                f"--optim.{state.stage}-epochs {epochs} and batches as they are now it ends at "
                f"step {steps}; give more epochs, or a new --output"
            )

    def _epochs(self, role: str) -> int:
        optim = self.config.optim
        return optim.teacher_epochs if role == "teacher" else optim.student_epochs

    def start(self) -> None:
        """Do the stages that the configuration asks for, and write the metrics."""
        config = self.config
        with ExitStack() as held:
            with first_process_first():
                if is_first_process():
                    held.enter_context(self.folder.hold(resume=config.resume))
                    self._write_config()
            world = current_world()
            logger.info(
                f"{config.dataset}: {len(self.data.training)} sweeps to train on, "
                f"{len(self.data.validation)} to evaluate on; method {config.method}, "
                f"{config.model} pair on {describe_device(self.device)}"
                f"{f', {world.size} processes' if world.size > 1 else ''}, {config.precision}; "
                f"output {self.folder.path}"
            )
            self.skipped.add(self.data.bad)
            with ExitStack() as open_log:
                log: RunLog | None = None
                if is_first_process():
                    log = open_log.enter_context(RunLog(self.folder.path, self._resume_point()))
                if self._needs("teacher"):
                    self._train_teacher(log)
                if self._needs("student"):
                    self._train_student(log)
            scorer = self._scorer()
            networks = {role: self._load(path) for role, path in self._finished().items()}
            untrained = self._build("student") if config.model == "tiny" else None
            write_metrics(self.folder, config, self.data, scorer, networks, untrained)
            if self.submission is not None:
                with first_process_first():
                    if is_first_process():
                        role = "student" if "student" in networks else "teacher"
                        path = self._finished()[role]
                        model, metadata = load_model(path, **self._options())
                        write_submission(
                            self.submission, model.to(self.device), metadata, role, config
                        )
            self.skipped.share()
            for line in self.skipped.lines():
                logger.info(line)
            logger.info(f"done: {self.folder.metrics}")

    def _needs(self, role: str) -> bool:
        """Return whether a network is to be trained, or trained further."""
        if self.config.stage not in ("all", role):
            return False
        if role == "teacher":
            return self.teacher_file is None and (
                self.method.needs_teacher or self.config.stage == "teacher"
            )
        if not self.folder.student.is_file():
            return True
        # A finished student goes on if it is to have another number of epochs.
        state = self._state_of("student")
        return state is not None and state.finished_epochs != self._epochs("student")

    def _resume_point(self) -> tuple[str, int] | None:
        """Return the stage that is to be trained next and how many of its steps stand."""
        if not self.config.resume:
            return None
        for role in ("teacher", "student"):
            if self._needs(role):
                state = self._state_of(role)
                return role, 0 if state is None else state.step
        return None

    def _state_of(self, role: str) -> TrainingState | None:
        return self.state if self.state is not None and self.state.stage == role else None

    def _write_config(self) -> None:
        content = {
            "config": to_json(self.config),
            "command": provenance.command(),
            "processes": current_world().size,
            "versions": provenance.versions(),
            "device": describe_device(self.device),
            **provenance.commit(),
        }
        if not self.config.resume:
            self.folder.write_json(self.folder.config, content)
            return
        step = 0 if self.state is None else self.state.step
        changes = [
            {
                "utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "step": step,
                "field": name,
                "before": before,
                "after": after,
            }
            for name, (before, after) in self.changes.items()
        ]
        for change in changes:
            logger.info(
                f"changed from step {step + 1} on: {_flag(change['field'])} {change['before']} -> "
                f"{change['after']}"
            )
        self.folder.record_resume(content, changes)

    def _options(self) -> dict[str, Any]:
        """Return how networks are to compute, where that is not as usual."""
        asked = {name: getattr(self.config, name) for name in ("convolution", "attention")}
        usual = {field.name: field.default for field in dataclasses.fields(RunConfig)}
        return {name: value for name, value in asked.items() if value != usual[name]}

    def _build(self, role: str) -> Network:
        """Build an untrained network; the same weights every time for the same seed."""
        network, size = parse_network(role, self.names[role])
        torch.manual_seed(2 * self.config.seed + (role == "student"))
        spec = NetworkSpec(network, size, len(self.spec.class_names), IN_CHANNELS)
        model = build_network(spec, **self._options()).to(self.device)
        if self.config.sync_batch_norm:
            synchronize_batch_norm(model)
        return model

    def _load(self, path: Path) -> Network:
        return load_model(path, **self._options())[0].to(self.device)

    def _load_teacher(self, path: Path) -> Network:
        model, _ = load_teacher(
            path,
            wanted=self.names["teacher"],
            in_channels=IN_CHANNELS,
            class_names=self.spec.class_names,
            **self._options(),
        )
        return model

    def _train_teacher(self, log: RunLog | None) -> None:
        teacher = self._build("teacher")
        logger.info(f"teacher: {teacher.describe()}")
        options = MethodConfig(segmentation=self.config.options.segmentation)
        task = TrainTask(
            "teacher",
            teacher,
            CrossEntropy(options, teacher, None),
            None,
            self._epochs("teacher"),
        )
        self._fit(task, log, self.folder.teacher, self.folder.teacher_best)
        self.teacher_file = self.folder.teacher

    def _train_student(self, log: RunLog | None) -> None:
        teacher = None
        if self.method.needs_teacher:
            if self.teacher_file is None:
                raise RuntimeError("Run: the student's stage began without a teacher")
            teacher = self._load_teacher(self.teacher_file).to(self.device)
            teacher = teacher.eval().requires_grad_(False)
        student = self._build("student")
        logger.info(f"student: {student.describe()}; method {self.config.method}")
        artifacts = None
        if teacher is not None:
            with first_process_first():
                artifacts = self.method.prepare(
                    self.config.options, teacher, self._plain_batches(), self.folder.path
                )
        method = self.method(self.config.options, student, teacher, artifacts=artifacts)
        task = TrainTask(
            "student",
            student,
            method.to(self.device),
            teacher,
            self._epochs("student"),
        )
        self._fit(task, log, self.folder.student, self.folder.student_best)

    def _fit(self, task: TrainTask, log: RunLog | None, last: Path, best_path: Path) -> None:
        frames = self._training_frames(task.name, task.network.coarsest_cell_voxels)
        scorer = self._scorer()

        def at_epoch_end(epoch: int, best: float | None) -> float | None:
            every = self.config.evaluate_every
            if not every or (epoch % every and epoch != task.epochs):
                return best
            average_batch_norm_statistics(task.network)
            # Scoring draws numbers too (its loader does): how often it is done must not change
            # what is trained.
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                scores = scorer.score(task.network, f"{task.name} validation, epoch {epoch}")
            miou = scores["miou"] or 0.0
            better = best is None or miou > best
            logger.info(
                f"{task.name}, epoch {epoch}: mIoU {100 * miou:.2f} on the validation sweeps"
                f"{'' if better else f' (best so far {100 * (best or 0):.2f})'}"
            )
            if better:
                self._save(task, best_path)
            if log is not None:
                record = {"validation_miou": miou, "seconds": scores["seconds"]}
                log.step(f"{task.name} validation", epoch, record)
            return miou if better else best

        def at_end() -> None:
            average_batch_norm_statistics(task.network)
            self._save(task, last)

        fit(
            task,
            frames,
            self.config,
            self.device,
            log,
            self.folder.checkpoint,
            self._state_of(task.name),
            skipped=self.skipped,
            at_epoch_end=at_epoch_end,
            at_end=at_end,
        )

    def _training_frames(self, role: str, coarsest_cell_voxels: int = 1) -> TrainingFrames:
        config, data = self.config, self.config.data
        return TrainingFrames(
            self.data.training,
            grid_size_m=data.grid_size_m,
            augmentation=PAPER_AUGMENTATION if data.augment else None,
            max_voxels=data.max_voxels or None,
            clip_range_m=data.clip_range_m,
            repeats=data.repeats,
            max_batch_voxels=data.max_batch_voxels or None,
            counts=counts_of(config, self.data.training),
            on_bad_sweep=config.on_bad_sweep,
            seed=2 * config.seed + (role == "student"),
            coarsest_cell_voxels=coarsest_cell_voxels,
        )

    def _plain_batches(self) -> Iterator[dict[str, Any]]:
        """Yield the training frames, whole and not augmented, one by one."""
        data = self.config.data
        frames = EvaluationFrames(
            self.data.training,
            data.grid_size_m,
            clip_range_m=data.clip_range_m,
            on_bad_sweep=self.config.on_bad_sweep,
        )
        loader = DataLoader(frames, batch_size=1, collate_fn=collate, num_workers=data.num_workers)
        for batch in self.skipped.watch(loader):
            if batch["names"]:
                yield to_device(batch, self.device)

    def _scorer(self) -> Scorer:
        return Scorer(self.config, self.data, self.device, self.skipped)

    def _save(self, task: TrainTask, path: Path) -> None:
        """Write a network's file; the first process does, an error ends all."""
        spec = task.network.spec()
        metadata = ModelMetadata(
            **{**dataclasses.asdict(spec), "overrides": dict(spec.overrides)},
            dataset=self.config.dataset,
            class_names=tuple(self.spec.class_names),
            grid_size_m=self.config.data.grid_size_m,
            clip_range_m=self.config.data.clip_range_m,
            trained_on=self.data.training_sequences(),
        )
        error: UserError | None = None
        if is_first_process():
            try:
                save_model(task.network, metadata, path)
            except UserError as raised:
                error = raised
        agree(error)
