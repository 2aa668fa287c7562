"""A run's stages in order: teacher, distilled student, the same student alone; then the scores."""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from train.config import MethodConfig, RunConfig, flattened, to_json
from train.core import provenance
from train.core.console import logger
from train.core.device import describe_device
from train.core.distributed import (
    agreed,
    current_world,
    first_process_first,
    gather_objects,
    is_first_process,
    on_first_process,
    process_device,
    process_group,
    require_same,
)
from train.core.user_file import short_name
from train.data.dataset_spec import simulated_seed
from train.data.frame import FrameSource
from train.engine.image_training import image_network_of_run
from train.engine.loop import FrameBatches, fit, plain_batches
from train.engine.pair import computing_options
from train.engine.run_log import RunLog
from train.engine.run_plan import RunPlan, changes_of_training, finished_networks, flag_of
from train.engine.scoring import Scorer, score_lines, write_metrics
from train.engine.teacher_labels import TeacherLabeled
from train.engine.train_step import TrainTask
from train.engine.training_state import load_state
from train.evaluation.training_overlap import count_trained
from train.export.run_card import write_network_folder
from train.methods.none import CrossEntropy
from train.networks.batch_norm import average_batch_norm_statistics
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata, load_model, save_model
from train.predict.submit import write_submission

AtEnd = Callable[[Path, FrameSource, Mapping[str, Network]], object]
"""What the first process does with a finished run: folder, validation frames, networks by role."""


def run(config: RunConfig, at_end: AtEnd | None = None) -> None:
    """Do a run, on this process or on all that torchrun started.

    Parameters
    ----------
    config
        Of the run.
    at_end
        Called once the metrics are written; None for nothing.

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
        Run.of(config, device).start(at_end)


def _require_same_run(config: RunConfig) -> None:
    """Refuse processes that were started with different flags; name these alone."""
    everyone = gather_objects(flattened(to_json(config)))
    first = everyone[0]
    names = {name for other in everyone for name in first if other.get(name) != first[name]}
    # The method decides which options there are, so it comes before them.
    for name in sorted(names, key=lambda name: (name != "method", name)):
        require_same(flag_of(name), everyone[current_world().rank].get(name))


class Run(RunPlan):
    """A run that is checked, and its stages in order."""

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.pair.device

    def start(self, at_end: AtEnd | None = None) -> None:
        """Do the stages that the configuration asks for, and write the metrics; then `at_end`."""
        with ExitStack() as held:
            on_first_process(lambda: self._take_folder(held))
            if self.teacher.card is not None or self._converts_teacher:
                self.teacher_file = self.folder.teacher
            self._say_what_is_done()
            self._score_by_teacher()
            self._train()
            networks = {role: self.pair.load(path) for role, path in self._finished().items()}
            metrics = self._score(networks)
            on_first_process(lambda: self._submit(networks))
            on_first_process(lambda: self._end(networks, at_end))
            self.skipped.share()
            for line in [*self.skipped.lines(), *score_lines(metrics)]:
                logger.info(line)
            self._say_where_it_is(networks, reported=at_end is not None)

    def _take_folder(self, held: ExitStack) -> None:
        """Keep others out of the folder, and write to it what the run begins with."""
        held.enter_context(self.folder.hold(resume=self.config.resume))
        self._write_config()
        if self.teacher.card is not None and self.teacher.path is not None:
            # The folder then needs no package of this version.
            save_model(*load_model(self.teacher.path), self.folder.teacher)
        if self._converts_teacher and self.pair.given is not None:
            opened = self.pair.given.opened
            save_model(opened.model, opened.metadata, self.folder.teacher)

    def _end(self, networks: Mapping[str, Network], at_end: AtEnd | None) -> None:
        """Do what the caller wants of a finished run, and write the student's own folder."""
        if at_end is not None:
            at_end(self.folder.path, self.data.validation, networks)
        if "student" in networks:
            write_network_folder(self.folder.student, self.config.data_license)

    def _say_where_it_is(self, networks: Mapping[str, Network], *, reported: bool) -> None:
        """End with one line: what to open, and what to do next."""
        done = f"done: open {self.folder.report}" if reported else f"done: {self.folder.metrics}"
        then = f"; then topodistill predict or export --checkpoint {self.folder.student}"
        logger.info(done + (then if "student" in networks else ""))

    def _finished(self) -> dict[str, Path]:
        return finished_networks(self.config, self.folder, self.teacher_file)

    def _say_what_is_done(self) -> None:
        """Say on what, with what and where to; and what is to be known before."""
        config, world = self.config, current_world()
        known = self.data.labeled
        labeled = "" if known is None else f" ({len(known)} with labels)"
        logger.info(
            f"{short_name(config.dataset)}: {len(self.data.training)} frames to train on{labeled}, "
            f"{len(self.data.validation)} to evaluate on; method {short_name(config.method)}, "
            f"{config.model} pair on {describe_device(self.device)}"
            f"{f', {world.size} processes' if world.size > 1 else ''}, {config.precision}; "
            f"output {self.folder.path}"
        )
        if config.resume and self._resume_point() is None:
            logger.info("nothing is left to train; scoring again")
        self._say_whose_teacher()
        self.skipped.add(self.data.bad)
        if config.options.segmentation == "ce+lovasz" and (
            world.size > 1 or config.optim.accumulate > 1
        ):
            logger.warning(
                "--method.segmentation ce+lovasz: Lovász-softmax is no mean over voxels; those "
                "of the parts are averaged, which is not that of the joint batch"
            )

    def _score_by_teacher(self) -> None:
        """Let the teacher's predictions stand for labels that the validation frames lack."""
        if self.data.scored_by_teacher and self.teacher_file is not None:
            teacher, _ = self.pair.load_teacher(self.teacher_file)
            frames = TeacherLabeled(self.data.validation, teacher, self.config)
            self.data = dataclasses.replace(self.data, validation=frames)

    def _train(self) -> None:
        """Train what is to be trained, one network after the other."""
        with ExitStack() as open_log:
            log: RunLog | None = None
            if is_first_process():
                log = open_log.enter_context(RunLog(self.folder.path, self._resume_point()))
            if self._needs("teacher"):
                self._train_teacher(log)
            if self._needs("student"):
                self._train_student(log)
            if self._needs("baseline"):
                self._train_baseline(log)

    def _score(self, networks: Mapping[str, Network]) -> dict[str, Any]:
        """Score all networks on the validation frames, write and return the metrics."""
        scorer = self._scorer()
        untrained = self.pair.build("student") if self.config.model == "tiny" else None
        with_images = self._with_images(networks)
        return write_metrics(
            self.folder, self.config, self.data, scorer, networks, untrained, with_images
        )

    def _submit(self, networks: Mapping[str, Network]) -> None:
        """Write predictions for the benchmark's server, if they are wanted."""
        if self.submission is None:
            return
        role = "student" if "student" in networks else "teacher"
        model, metadata = load_model(self._finished()[role], **computing_options(self.config))
        write_submission(self.submission, model.to(self.device), metadata, role, self.config)

    def _write_config(self) -> None:
        content = {
            "config": to_json(self.config),
            "command": provenance.command(),
            "processes": current_world().size,
            "versions": provenance.versions(),
            "device": describe_device(self.device),
            "teacher": self.teacher.origin,
            **provenance.commit(),
        }
        if not self.config.resume:
            self.folder.write_json(self.folder.config, content)
            return
        point = self._resume_point()
        done = max((state.step for state in self.states.values()), default=0)
        step = done if point is None else point[1]
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
                f"changed from step {step + 1} on: {flag_of(change['field'])} "
                f"{change['before']} -> {change['after']}"
            )
        self.folder.record_resume(content, changes)

    @property
    def _converts_teacher(self) -> bool:
        """Whether the teacher of others is yet to become a file of ours in the run's folder."""
        given = self.pair.given
        return self.config.teacher_checkpoint is not None and bool(given and given.is_converted)

    def _say_whose_teacher(self) -> None:
        """Say which teacher was not trained here, and whether it knows what is scored."""
        card, metadata = self.teacher.card, self.teacher.metadata
        if card is not None:
            made, scores = card.metadata, card.scores
            score = f", mIoU {100 * scores['miou']:.1f} on others" if scores else ""
            logger.info(
                f"teacher: the one that comes with the package, trained on {len(made.trained_on)} "
                f"simulated {self.spec.sequence_word}s{score}; --from-scratch trains one here"
            )
        if self.teacher.misfit:
            logger.info(f"teacher: {self.teacher.misfit}")
        for line in [] if self.pair.given is None else self.pair.given.lines():
            logger.info(line)
        if metadata is None:
            return
        if self.config.teacher_checkpoint is not None:
            self._warn_of_other_voxels(metadata)
        count = count_trained(
            tuple(self.data.validation.names),
            metadata.trained_on,
            trained_seed=metadata.simulated_seed,
            seed=simulated_seed(self.config.resolved_data_root),
        )
        if count:
            logger.warning(
                f"warning: the teacher was trained on {count} of the {len(self.data.validation)} "
                "frames to evaluate on; its scores there say nothing about others"
            )

    def _warn_of_other_voxels(self, given: ModelMetadata) -> None:
        """Say where a teacher that was given sees other voxels than in its own training."""
        data = self.config.data
        for flag, here, there in (
            ("--data.grid-size-m", data.grid_size_m, given.grid_size_m),
            ("--data.clip-range-m", data.clip_range_m, given.clip_range_m),
        ):
            if here != there:
                shown = " ".join(map(str, there)) if isinstance(there, tuple) else there
                logger.warning(
                    f"warning: the teacher was trained with {flag} {shown}, and this run has "
                    f"{here}: a teacher predicts worse on voxels that it does not know; give the "
                    f"run {flag} {shown}, or train a teacher as this run is"
                )

    def _train_teacher(self, log: RunLog | None) -> None:
        teacher = self.pair.build("teacher")
        logger.info(f"teacher: {teacher.describe()}")
        if self.config.initial_teacher is not None and self.pair.given is not None:
            logger.info(f"teacher: from the weights of {self.config.initial_teacher} on")
            teacher.load_state_dict(self.pair.given.opened.model.state_dict())
            teacher.learn_unknown_classes()
        self._fit_alone("teacher", teacher, log)
        self.teacher_file = self.folder.teacher

    def _train_student(self, log: RunLog | None) -> None:
        teacher = None
        if self.method.needs_teacher:
            if self.teacher_file is None:
                raise RuntimeError("Run: the student's stage began without a teacher")
            teacher, _ = self.pair.load_teacher(self.teacher_file)
        student = self.pair.build("student")
        logger.info(f"student: {student.describe()}; method {short_name(self.config.method)}")
        artifacts = self._image_network() if self.method.needs_image_network else None
        if teacher is not None:
            with first_process_first():
                frames = plain_batches(
                    self.data.training, self.config, self.device, self.skipped, self.fields
                )
                artifacts = self.method.prepare(
                    self.config.options, teacher, frames, self.folder.path
                )
        method = self.method(self.config.options, student, teacher, artifacts=artifacts)
        if teacher is not None and (compared := method.describe(student, teacher)):
            logger.info(f"{short_name(self.config.method)}: {compared}")
        method = method.to(self.device)
        self._fit(TrainTask("student", student, method, teacher, self._epochs("student")), log)

    def _image_network(self) -> Path | None:
        """Return the file of the image network that the run trains itself; None if one is given."""
        if self.method.given_image_network(self.config.options) is not None:
            return None
        with first_process_first():
            return image_network_of_run(self.config, self.spec, self.folder.path, self.device)

    def _with_images(self, networks: Mapping[str, Network]) -> torch.nn.Module | None:
        """Return what predicts with images at test time, as the last checkpoint has it."""
        checkpoint = self.folder.checkpoint_of("student")
        if not self.method.scores_with_images or "student" not in networks:
            return None
        if not checkpoint.is_file():
            logger.warning(f"warning: no {checkpoint}: nothing is scored with images")
            return None
        student = networks["student"]
        method = self.method(self.config.options, student, None, artifacts=self._image_network())
        method.load_state_dict(load_state(checkpoint).method)
        return method.to(self.device).eval().with_images(student)

    def _train_baseline(self, log: RunLog | None) -> None:
        """Train the student's twin without a teacher: equal weights, crops and schedule."""
        baseline = self.pair.build("baseline")
        logger.info(f"baseline: the same student, trained alone; {baseline.describe()}")
        if "baseline" not in self.states and is_first_process():
            changed = changes_of_training(self.folder.changed_fields())
            if changed:
                logger.warning(
                    f"warning: {', '.join(map(flag_of, changed))} changed while the student was "
                    "trained; the baseline has the last values from its first step on"
                )
        self._fit_alone("baseline", baseline, log)

    def _fit_alone(self, name: str, network: Network, log: RunLog | None) -> None:
        """Train a network without a teacher."""
        options = MethodConfig(segmentation=self.config.options.segmentation)
        method = CrossEntropy(options, network, None)
        self._fit(TrainTask(name, network, method, None, self._epochs(name)), log)

    def _fit(self, task: TrainTask, log: RunLog | None) -> None:
        frames = self._training_frames(task.name, task.network.coarsest_cell_voxels)

        def at_end() -> None:
            average_batch_norm_statistics(task.network)
            self._save(task, self.folder.weights_of(task.name))

        fit(
            task,
            FrameBatches(frames, self.config),
            self.config,
            self.device,
            log,
            self.folder.checkpoint_of(task.name),
            self.states.get(task.name),
            skipped=self.skipped,
            at_epoch_end=partial(self._score_epoch, task, log),
            at_end=at_end,
        )

    def _score_epoch(
        self, task: TrainTask, log: RunLog | None, epoch: int, best: float | None
    ) -> float | None:
        """Score a network after an epoch, if it is one to be scored; keep and return the best."""
        every = self.config.evaluate_every
        if not every or (epoch % every and epoch != task.epochs):
            return best
        average_batch_norm_statistics(task.network)
        # Scoring draws numbers too (its loader does): how often it is done must not change what is
        # trained.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            scores = self._scorer().score(task.network, f"{task.name} validation, epoch {epoch}")
        miou = scores["miou"] or 0.0
        better = best is None or miou > best
        logger.info(
            f"{task.name}, epoch {epoch}: mIoU {100 * miou:.2f} on the validation frames"
            f"{'' if better else f' (best so far {100 * (best or 0):.2f})'}"
        )
        if better:
            self._save(task, self.folder.best_of(task.name))
        if log is not None:
            record = {"validation_miou": miou, "seconds": scores["seconds"]}
            log.step(f"{task.name} validation", epoch, record)
        return miou if better else best

    def _scorer(self) -> Scorer:
        return Scorer(self.config, self.data, self.device, self.skipped)

    def _save(self, task: TrainTask, path: Path) -> None:
        """Write a network's file; the first process does, an error ends all."""
        metadata = self.data.metadata(task.network, self.config)
        with agreed():
            if is_first_process():
                save_model(task.network, metadata, path)
