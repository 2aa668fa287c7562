"""A run from its configuration to its metrics: what it reads, what it writes, in which order."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch

from fast import rips_persistence
from train.config import RunConfig, differences, to_json
from train.core import provenance
from train.core.atomic_write import atomic_write
from train.core.console import Progress, logger
from train.core.device import describe_device
from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec
from train.data.decoded import DecodedCache
from train.data.frame import FrameSource
from train.data.index import FOLDER
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.registry import dataset_spec
from train.data.skipping import BadFrame, SkippedFrames
from train.data.transforms import PAPER_AUGMENTATION
from train.data.voxel_counts import VoxelCounts, voxel_counts
from train.engine.loop import Stage, fit
from train.engine.run_log import RunLog
from train.engine.training_state import load_state
from train.evaluation.evaluate import evaluate
from train.evaluation.evaluate_tta import evaluate_tta
from train.evaluation.tta import SINGLE_PASS, TEST_TIME_AUGMENTATIONS
from train.inference.predict import predict_frame
from train.methods import TopologyGradientDistillation
from train.methods.losses import require_finite, segmentation_loss
from train.networks.ptv3 import Segmentor, build_segmentor
from train.networks.weights import ModelMetadata, load_model, load_teacher, save_model

IN_CHANNELS = 4  # x, y, z in meters and strength
PAIRS = {"paper": ("teacher", "student"), "tiny": ("tiny-teacher", "tiny-student")}
SWEEPS_READ_BEFORE_START = 64


class Experiment:
    """One run: what it reads, where it writes, and its stages in order.

    Everything that can be refused is refused while this object is built, before anything is written
    under the output folder.

    Parameters
    ----------
    config
        With `model` and `device` resolved, as `parse` returns it.

    Raises
    ------
    UserError
        If the output folder, the data or a checkpoint does not fit.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.output = config.resolved_output
        self.teacher_path = self.output / "teacher.pt"
        self.student_path = self.output / "student.pt"
        self.state_path = self.output / "checkpoint.pt"
        self.device = torch.device(config.device)
        self.teacher_size, self.student_size = PAIRS[config.model]
        self._check_output()
        self.dataset: DatasetSpec = dataset_spec(config.dataset)
        self._check_implementations()
        if config.teacher_checkpoint is not None:
            self._load_teacher(config.teacher_checkpoint)
        if config.stage == "student" and self._trained_teacher() is None:
            raise UserError(
                "--stage student needs a trained teacher: give --teacher-checkpoint FILE, or "
                f"--resume with the --output of a run that has one (no {self.teacher_path})"
            )
        if config.stage == "evaluate" and not self._finished_models():
            raise UserError(
                f"--stage evaluate: neither {self.teacher_path} nor {self.student_path}"
            )
        self.state = self._read_state()
        self.skipped = SkippedFrames(self.output / "skipped.json")
        self.bad_before_start: list[BadFrame] = []
        self.train_source, self.validation_source = self._open_data()
        self.submission_path = self.output / f"submission{self.dataset.submission_suffix}"
        self.submission_source = self._open_submission_source() if config.submit else None

    def _check_output(self) -> None:
        """Refuse a folder that holds something else, or, to resume, nothing or another run."""
        recorded = self.output / "config.json"
        if self.output.exists() and not self.output.is_dir():
            raise UserError(f"--output {self.output}: is a file; give a folder")
        if not self.config.resume:
            if self.output.exists() and any(self.output.iterdir()):
                raise UserError(
                    f"--output {self.output}: holds another run or other files; give a new folder, "
                    "or add --resume to go on with the run in it"
                )
            return
        if not recorded.is_file():
            raise UserError(
                f"--resume: {self.output} holds no run (no config.json); check --output, or leave "
                "out --resume to start one"
            )
        try:
            before = json.loads(recorded.read_text(encoding="utf-8"))["config"]
        except (json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
            raise UserError(f"--resume: {recorded} is damaged ({error})") from error
        changed = differences(before, to_json(self.config))
        if changed:
            raise UserError(
                f"--resume: this is not the run in {self.output}: {'; '.join(changed)}; give the "
                "flags it was started with, or a new --output"
            )

    def _check_implementations(self) -> None:
        """Refuse packages and kernels that are asked for and not there."""
        config = self.config
        build_segmentor(
            "tiny-student", 2, convolution=config.convolution, attention=config.attention
        )
        if config.loss.topology > 0:
            try:
                rips_persistence(torch.zeros(1, 1, device=self.device))
            except RuntimeError as error:
                raise UserError(f"--device {self.device}: {error}") from error

    def _load_teacher(self, path: Path) -> Segmentor:
        model, _ = load_teacher(
            path,
            size=self.teacher_size,
            in_channels=IN_CHANNELS,
            class_names=self.dataset.class_names,
            convolution=self.config.convolution,
            attention=self.config.attention,
        )
        return model

    def _load(self, path: Path) -> tuple[Segmentor, ModelMetadata]:
        model, card = load_model(
            path, convolution=self.config.convolution, attention=self.config.attention
        )
        return model.to(self.device), card

    def _trained_teacher(self) -> Path | None:
        """Return the file of the teacher that is there already, if any."""
        if self.config.teacher_checkpoint is not None:
            return self.config.teacher_checkpoint
        return self.teacher_path if self.teacher_path.is_file() else None

    def _finished_models(self) -> dict[str, Path]:
        found = {"teacher": self._trained_teacher(), "student": self.student_path}
        return {name: path for name, path in found.items() if path is not None and path.is_file()}

    def _read_state(self) -> dict[str, Any] | None:
        if not (self.config.resume and self.state_path.is_file()):
            return None
        return load_state(self.state_path)

    def _open_data(self) -> tuple[FrameSource, FrameSource]:
        config = self.config
        root = config.resolved_data_root
        if config.simulate:
            logger.info(f"simulated sweeps: {root}")
            made = self.dataset.simulate(
                root,
                num_sweeps=config.data.simulated_sweeps,
                num_validation_sweeps=config.data.simulated_validation_sweeps,
                azimuth_steps=config.data.simulated_azimuth_steps,
                seed=config.seed,
            )
            chosen = (made.training_sequences, made.validation_sequences)
        else:
            chosen = (config.data.train_sequences, config.data.validation_sequences)
        training = self._open_split(root, "training", chosen[0])
        if chosen[1] and chosen[1] == chosen[0]:
            return training, training
        return training, self._open_split(root, "validation", chosen[1])

    def _open_split(self, root: Path, split: str, sequences: tuple[str, ...]) -> FrameSource:
        data = self.config.data
        source = self.dataset.open(
            root,
            split,
            sequences=sequences,
            cache_dir=data.cache_dir,
            strict=self.config.on_bad_sweep == "stop",
        )
        self.bad_before_start += [BadFrame(*left_out) for left_out in source.unreadable.items()]
        if source.skipped_unlabeled:
            what = f"{self.dataset.sequence_word}s {', '.join(sequences)}" if sequences else split
            logger.info(
                f"{root}, {what}: {source.skipped_unlabeled} sweeps without labels are left out"
            )
        # What only the contents show is found now where the dataset is small; in a large one an
        # even sample stands for it, and the rest is checked as it is read.
        stride = max(1, len(source) // SWEEPS_READ_BEFORE_START)
        for index in range(0, len(source), stride):
            try:
                source[index]
            except UserError as error:
                if self.config.on_bad_sweep == "stop":
                    raise
                self.bad_before_start.append(BadFrame(source.names[index], str(error)))
        if data.cache_decoded:
            return DecodedCache(source, (data.cache_dir or root / FOLDER) / "decoded")
        return source

    def run(self) -> None:
        """Do the stages that the configuration asks for, and write the metrics."""
        self._write_config()
        logger.info(
            f"{self.config.dataset}: {len(self.train_source)} sweeps to train on, "
            f"{len(self.validation_source)} to evaluate on; {self.config.model} pair on "
            f"{describe_device(self.device)}, {self.config.precision}; "
            f"output {self.output}"
        )
        self.skipped.add(self.bad_before_start)
        stage = self.config.stage
        with RunLog(self.output, self._resume_point()) as log:
            if stage in ("all", "teacher") and self._trained_teacher() is None:
                self._train_teacher(log)
            if stage in ("all", "student") and not self.student_path.is_file():
                self._train_student(log)
        self._write_metrics()
        if self.submission_source is not None:
            self._write_submission(self.submission_source)
        self.state_path.unlink(missing_ok=True)
        for line in self.skipped.lines():
            logger.info(line)
        logger.info(f"done: {self.output / 'metrics.json'}")

    def _resume_point(self) -> tuple[str, int] | None:
        """Return the stage that is to be trained next and how many of its steps stand."""
        if not self.config.resume or self.student_path.is_file():
            return None
        stage = "teacher" if self._trained_teacher() is None else "student"
        state = self._state_of(stage)
        return stage, 0 if state is None else int(state["step"])

    def _state_of(self, stage: str) -> dict[str, Any] | None:
        return self.state if self.state is not None and self.state["stage"] == stage else None

    def _write_config(self) -> None:
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--output {self.output}: cannot be made ({error.strerror}); give another folder"
            ) from error
        _write_json(
            self.output / "config.json",
            {
                "config": to_json(self.config),
                "command": provenance.command(),
                "versions": provenance.versions(),
                "device": describe_device(self.device),
                **provenance.commit(),
            },
        )

    def _build(self, role: str) -> Segmentor:
        """Build an untrained network; the same weights every time for the same seed."""
        size = self.teacher_size if role == "teacher" else self.student_size
        torch.manual_seed(2 * self.config.seed + (role == "student"))
        model = build_segmentor(
            size,
            len(self.dataset.class_names),
            in_channels=IN_CHANNELS,
            convolution=self.config.convolution,
            attention=self.config.attention,
        )
        return model.to(self.device)

    def _save(self, model: Segmentor, size: str, path: Path) -> None:
        card = ModelMetadata(
            size=size,
            num_classes=len(self.dataset.class_names),
            in_channels=IN_CHANNELS,
            # Weights of one form load into the other without a word, and give other numbers.
            overrides={
                "cpe_input": model.config.cpe_input,
                "depth_rule": model.config.depth_rule,
            },
            dataset=self.config.dataset,
            class_names=tuple(self.dataset.class_names),
            grid_size_m=self.config.data.grid_size_m,
            clip_range_m=self.config.data.clip_range_m,
        )
        save_model(model, card, path)

    def _training_sweeps(self, role: str) -> TrainingFrames:
        data = self.config.data
        return TrainingFrames(
            self.train_source,
            grid_size_m=data.grid_size_m,
            augmentation=PAPER_AUGMENTATION if data.augment else None,
            max_voxels=data.max_voxels or None,
            clip_range_m=data.clip_range_m,
            repeats=data.repeats,
            max_batch_voxels=data.max_batch_voxels or None,
            counts=self._voxel_counts() if data.max_batch_voxels else None,
            on_bad_sweep=self.config.on_bad_sweep,
            seed=2 * self.config.seed + (role == "student"),
        )

    def _voxel_counts(self) -> VoxelCounts:
        data = self.config.data
        return voxel_counts(
            self.train_source,
            data.grid_size_m,
            self.config.resolved_data_root,
            cache_dir=data.cache_dir,
            num_workers=data.num_workers,
            on_bad_sweep=self.config.on_bad_sweep,
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"
        )

    def _train_teacher(self, log: RunLog) -> None:
        teacher = self._build("teacher")
        logger.info(f"teacher: {teacher.describe()}")

        def step(batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
            with self._autocast():
                logits = teacher(batch)
                loss = segmentation_loss(logits, batch["segment"], self.config.loss.segmentation)
            require_finite("segmentation", loss)
            return loss, {"segmentation": float(loss.detach())}

        stage = Stage("teacher", teacher, self.config.optim.teacher_epochs, step)
        self._fit(stage, log)
        self._save(teacher, self.teacher_size, self.teacher_path)

    def _train_student(self, log: RunLog) -> None:
        path = self._trained_teacher()
        if path is None:
            raise RuntimeError("Experiment: the student's stage began without a teacher")
        teacher = self._load_teacher(path).to(self.device).eval().requires_grad_(False)
        student = self._build("student")
        logger.info(f"student: {student.describe()}")
        method = TopologyGradientDistillation(self.config.loss)

        def step(batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
            with self._autocast():
                hierarchy = student.build_hierarchy(batch)
                result = method(teacher, student, batch, hierarchy)
            record: dict[str, Any] = result.parts.as_numbers()
            if result.topology is not None:
                record["diagrams"] = dataclasses.asdict(result.topology)
            return result.parts.total, record

        stage = Stage("student", student, self.config.optim.student_epochs, step)
        self._fit(stage, log)
        self._save(student, self.student_size, self.student_path)

    def _fit(self, stage: Stage, log: RunLog) -> None:
        fit(
            stage,
            self._training_sweeps(stage.name),
            self.config,
            self.device,
            log,
            self.state_path,
            self._state_of(stage.name),
            skipped=self.skipped,
        )

    def _open_submission_source(self) -> FrameSource:
        """Open the sweeps to predict, and refuse to replace a submission."""
        if self.submission_path.exists():
            raise UserError(
                f"--submit: {self.submission_path} is there already; move it away to write another"
            )
        if self.config.simulate:
            source = self.validation_source
            return source.source if isinstance(source, DecodedCache) else source
        return self.dataset.open(
            self.config.resolved_data_root,
            "test",
            require_labels=False,
            cache_dir=self.config.data.cache_dir,
        )

    def _write_submission(self, source: FrameSource) -> None:
        """Predict every point of the split and write what the benchmark's server takes."""
        models = self._finished_models()
        role = "student" if "student" in models else "teacher"
        model, card = self._load(models[role])
        if self.dataset.submission is None:
            raise UserError(f"--submit: {self.dataset.name} has no benchmark server")
        submission = self.dataset.submission(
            self.submission_path, source, self.config.submit_account
        )
        views = TEST_TIME_AUGMENTATIONS.get(self.config.tta, SINGLE_PASS)
        progress = Progress(f"{role} predictions for the server", len(source))
        try:
            for index in range(len(source)):
                sweep = source[index]
                prediction, _ = predict_frame(
                    model, sweep, card.grid_size_m, clip_range_m=card.clip_range_m, views=views
                )
                submission.add(sweep, prediction)
                progress.advance({})
        finally:
            progress.close()
        path = submission.finish()
        logger.info(f"{role} predictions, mean of {len(views)} passes: {path}")

    def _write_metrics(self) -> None:
        """Score the models from their files, which are what one deploys, and write metrics.json."""
        started = time.monotonic()
        metrics: dict[str, Any] = {
            "dataset": self.config.dataset,
            "simulated": self.config.simulate,
            "train_sweeps": len(self.train_source),
            "validation_sweeps": len(self.validation_source),
        }
        for role, path in self._finished_models().items():
            metrics[role] = self._scores(self._load(path)[0], role)
        if self.config.evaluate_untrained and "student" in metrics:
            scores = self._scores(self._build("student"), "untrained student")
            metrics["student"]["miou_untrained"] = scores["miou"]
        metrics["skipped_sweeps"] = self.skipped.messages
        metrics["seconds"] = {
            **_seconds_by_stage(self.output / "log.jsonl"),
            "evaluation": time.monotonic() - started,
        }
        _write_json(self.output / "metrics.json", metrics)

    def _scores(self, model: Segmentor, title: str) -> dict[str, Any]:
        sweeps = EvaluationFrames(
            self.validation_source,
            self.config.data.grid_size_m,
            clip_range_m=self.config.data.clip_range_m,
            on_bad_sweep=self.config.on_bad_sweep,
        )
        scores = evaluate(
            model,
            sweeps,
            self.dataset.class_names,
            self.dataset.benchmark_rule,
            self.device,
            title=f"{title} evaluation",
            num_workers=self.config.data.num_workers,
            skipped=self.skipped,
        )
        if self.config.tta != "none":
            scores["tta"] = evaluate_tta(
                model,
                sweeps,
                self.dataset.class_names,
                self.dataset.benchmark_rule,
                self.device,
                title=f"{title} evaluation, {self.config.tta}",
                augmentation=self.config.tta,
                num_workers=self.config.data.num_workers,
                skipped=self.skipped,
            )
        return {"parameters": sum(p.numel() for p in model.parameters()), **scores}


def _seconds_by_stage(log_path: Path) -> dict[str, float]:
    """Sum the steps' wall times, reading and checkpoints included, over all parts of the run."""
    seconds: dict[str, float] = {}
    for line in log_path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        seconds[record["stage"]] = seconds.get(record["stage"], 0.0) + record["seconds"]
    return seconds


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
