"""What an ablation runs: the variants of a grid as a study, paired by seed."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from fast import TopologicalLoss
from train.ablation.grids import TEACHER, Grid, Variant
from train.ablation.kept_batches import KeptBatches
from train.ablation.records import (
    GRADIENT_ENTROPY,
    RECORDS_NAME,
    Outcome,
    Records,
    RunRecord,
    add_records,
    differences,
    hash_of,
)
from train.ablation.study import Study
from train.config import RunConfig, to_json
from train.core.atomic_write import make_folder
from train.core.console import logger
from train.core.errors import UserError
from train.data.batch import Batch, SkippedFrames
from train.data.dataset_spec import LAYOUT_OPTIONS, DatasetSpec, dataset_spec
from train.data.frame import IN_CHANNELS, FrameSource, SomeFrames
from train.data.labels import ALL, labeled_frames
from train.data.loader import EvaluationFrames, TrainingFrames
from train.engine.loop import BatchSource, FrameBatches, fit, plain_batches
from train.engine.run_data import RunData, open_data, training_frames
from train.engine.run_log import RunLog, read_log
from train.engine.train_step import TrainTask
from train.engine.training_state import load_state
from train.evaluation.evaluate_structure import (
    PreparedFrames,
    StructureEvaluation,
    evaluate_structure,
    sample_features,
)
from train.evaluation.feature_agreement import SampledFeatures
from train.evaluation.structure import thin_classes
from train.evaluation.training_overlap import sequence_of
from train.methods.protocol import DistillationMethod
from train.methods.registry import method_class
from train.methods.terms import TargetChoice
from train.networks.protocol import Network, NetworkSpec
from train.networks.registry import PAIRS, build_network, parse_network
from train.networks.weights import checksum, load_teacher, save_model

SETUP_FORMAT: Final = 1
"""Raised whenever the same settings give other runs than before."""

_NO_PART: Final = frozenset({"num_workers", "cache_dir", "cache_decoded", "labels"})
"""Options of the data that change no run, and labels, which are a variant's."""

OWN_OTHER_LOSSES: Final = {
    "edges": {"loss": "edges", "normalisation": "rms"},
    "pwcd": {"loss": "pwcd", "normalisation": "l2"},
}
"""Losses whose own/other test is recorded for every student, as options of `TopologicalLoss`."""


class Run(NamedTuple):
    """One run; the teacher's own score is one too, its seed is the teacher's number."""

    grid: str
    variant: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What an ablation runs.

    Attributes
    ----------
    run
        What all variants share: data, networks, schedule, device. Its method is not looked at.
    grid_name, grid
        The variants.
    seeds
        In the order in which they run; all variants of a seed come before the next seed.
    teachers
        Files of trained teachers; seed s learns from number s modulo how many there are.
    output
        Folder for records and for what is kept on the way.
    keep
        Batches of a seed whose teacher outputs are kept on disk, and which an epoch goes through; 0
        asks the teacher in every step, and an epoch goes through the training frames.
    score_every
        Every so many validation frames one is scored.
    """

    run: RunConfig
    grid_name: str
    grid: Grid
    seeds: tuple[int, ...]
    teachers: tuple[Path, ...]
    output: Path
    keep: int
    score_every: int

    @property
    def records(self) -> Path:
        """Where records are."""
        return self.output / RECORDS_NAME

    def runs(self) -> list[Run]:
        """Return the runs: the teachers' scores, then seed after seed."""
        teachers = [Run(self.grid_name, TEACHER, place) for place in range(len(self.teachers))]
        return teachers + [
            Run(self.grid_name, variant, seed)
            for seed in self.seeds
            for variant in self.grid.variants
        ]


class Runner:
    """Does the runs of an ablation that have no record yet.

    Everything that can be refused is refused while this object is built.

    Parameters
    ----------
    ablation
        What to run.
    device
        Where.
    page
        Writes the page of all records; without, none is written.
    also
        Further files of records, for the page.

    Raises
    ------
    UserError
        If data, teachers, variants or the records that are there do not fit.
    """

    def __init__(
        self,
        ablation: Ablation,
        device: torch.device,
        page: Callable[[Records], None] = lambda _: None,
        also: Sequence[Path] = (),
    ) -> None:
        self.ablation, self.device = ablation, device
        run = ablation.run
        self.spec: DatasetSpec = dataset_spec(run.dataset, vars(run.data))
        pair = PAIRS[run.model]
        self.names = {"teacher": run.teacher or pair[0], "student": run.student or pair[1]}
        self.teachers = [self._load_teacher(path) for path in ablation.teachers]
        self.teacher_hashes = [checksum(teacher) for teacher in self.teachers]
        # Refuses a dataset whose thin classes nobody has named.
        self.thin = thin_classes(run.dataset, self.spec.class_names)
        self.data: RunData = open_data(run, self.spec)
        self._check_variants()
        validation = self.data.validation
        scored = SomeFrames(validation, range(0, len(validation), ablation.score_every))
        self.study = Study(
            settings=self._settings(scored),
            runs=ablation.runs(),
            run_one=self._run,
            page=page,
            records=ablation.records,
            also=also,
            device=device,
        )
        self.validation = PreparedFrames(
            EvaluationFrames(
                scored,
                run.data.grid_size_m,
                clip_range_m=run.data.clip_range_m,
                on_bad_frame=run.on_bad_frame,
            ),
            len(self.spec.class_names),
            keep=run.model == "tiny",
        )
        self._samples: dict[int, SampledFeatures] = {}
        self._artifacts: dict[str, Path | None] = {}
        self._kept_seed: int | None = None
        self._trained: Path | None = None
        self._refuse_other_options()

    def _load_teacher(self, path: Path) -> Network:
        teacher, _ = load_teacher(
            path,
            wanted=self.names["teacher"],
            in_channels=IN_CHANNELS,
            class_names=self.spec.class_names,
        )
        return teacher.to(self.device).eval().requires_grad_(False)

    def _settings(self, scored: FrameSource) -> dict[str, Any]:
        """Return what all variants share, in plain values; its hash names the setup."""
        run = self.ablation.run
        plain = to_json(run)
        return {
            "format": SETUP_FORMAT,
            "dataset": run.dataset,
            "simulated": run.simulate,
            "pair": run.model,
            "networks": dict(self.names),
            "precision": run.precision,
            "keep": self.ablation.keep,
            "data": {
                name: value
                for name, value in plain["data"].items()
                if name not in _NO_PART and not (name in LAYOUT_OPTIONS and value is None)
            },
            "optim": {name: v for name, v in plain["optim"].items() if name != "teacher_epochs"},
            "training_frames": _listed(self.data.training.names),
            "validation_frames": _listed(scored.names),
        }

    def _check_variants(self) -> None:
        """Refuse variants whose options do not fit the networks."""
        for name, variant in self.ablation.grid.variants.items():
            cls = method_class(variant.method)
            if cls.batch_fields:
                raise UserError(
                    f"--grid, variant {name}: --method {variant.method} needs "
                    f"{', '.join(sorted(cls.batch_fields))}, which the batches of an ablation do "
                    "not have; python -m benchmarks.studies cross-modal compares the methods "
                    "of cameras"
                )
            student = self._student(0)
            try:
                config = variant.config(self.ablation.run.model)
                cls.check(config, student, self.teachers[0] if cls.needs_teacher else None)
                cls.check_labels(config, self._labels(variant))
                labeled_frames(self.data.training.names, self._labels(variant), 0)
            except UserError as error:
                raise UserError(f"--grid, variant {name}: {error}") from error

    def _refuse_other_options(self) -> None:
        """Refuse a variant that is recorded with options other than it has now."""
        done = self.study.done()
        for run in self.study.runs:
            record = done.get(run)
            if record is None or run.variant == TEACHER:
                continue
            if changed := self._changed_since(record, self.ablation.grid.variants[run.variant]):
                raise UserError(
                    f"{self.ablation.records}: variant {run.variant} had other options then "
                    f"({changed}); "
                    "give the variant another name, or another --output"
                )

    def start(self) -> int:
        """Do all missing runs, seed by seed; return how many there were."""
        self._take_from_other_grids()
        missing = self.study.start()
        self._clean(None)
        return missing

    def _take_from_other_grids(self) -> None:
        """Record each run that another grid has made to the last option."""
        done = self.study.done()
        made = [
            record
            for record in done.values()
            if record.setup == self.study.setup and record.role == "student"
        ]
        taken = []
        for run in self.study.runs:
            if run in done or run.variant == TEACHER:
                continue
            teacher = self.teacher_hashes[self._teacher_of(run.seed)]
            variant = self.ablation.grid.variants[run.variant]
            for record in made:
                same = (record.teacher, record.seed) == (teacher, run.seed)
                if same and not self._changed_since(record, variant):
                    # A run does not know which grid asked for it.
                    taken.append(dataclasses.replace(record, grid=run.grid, variant=run.variant))
                    logger.info(f"{run.variant}, seed {run.seed}: the run is there as {record}")
                    break
        if taken:
            add_records(self.ablation.records, taken)

    def _changed_since(self, record: RunRecord, variant: Variant) -> str:
        """Return what is different in a variant's options and those that a record was made with."""
        # An option that is younger than the record had its default then.
        usual = self._options(Variant(variant.method))
        return differences(usual | dict(record.options), self._options(variant))

    def _options(self, variant: Variant) -> dict[str, Any]:
        labels = {} if self._labels(variant) == ALL else {"labels": self._labels(variant)}
        config = to_json(variant.config(self.ablation.run.model))
        return {"method": variant.method, **labels, **config}

    def _labels(self, variant: Variant) -> str:
        """Return which frames have labels: the variant's own choice, else the run's."""
        return self.ablation.run.data.labels if variant.labels == ALL else variant.labels

    def _teacher_of(self, seed: int) -> int:
        return seed % len(self.teachers)

    def _student(self, seed: int) -> Network:
        """Build an untrained student; the same weights for every variant of a seed."""
        network, size = parse_network("student", self.names["student"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2 * seed + 1)
            spec = NetworkSpec(network, size, len(self.spec.class_names), IN_CHANNELS)
            return build_network(spec).to(self.device).train()

    def _frames(
        self,
        seed: int,
        student: Network,
        source: FrameSource | None = None,
        repeats: int | None = None,
        labels: frozenset[str] | None = None,
    ) -> TrainingFrames:
        run = self.ablation.run
        return training_frames(
            run,
            self.data.training if source is None else source,
            student.coarsest_cell_voxels,
            repeats=repeats or run.data.repeats,
            seed=2 * seed + 1,
            labels=True if labels is None else labels,
        )

    def _method(self, variant: Variant, student: Network, place: int) -> DistillationMethod:
        cls = method_class(variant.method)
        config = variant.config(self.ablation.run.model)
        if not cls.needs_teacher:
            return cls(config, student, None).to(self.device)
        artifacts = self._prepared(variant, place)
        return cls(config, student, self.teachers[place], artifacts=artifacts).to(self.device)

    def _prepared(self, variant: Variant, place: int) -> Path | None:
        """Return what a variant's method prepares, made once for each teacher and kept on disk."""
        key = hash_of(self._options(variant) | {"teacher": self.teacher_hashes[place]})
        if key not in self._artifacts:
            cls = method_class(variant.method)
            folder = self.ablation.output / "prepared" / key
            if cls.prepares:
                make_folder(folder, "--output")
            run = self.ablation.run
            frames = plain_batches(self.data.training, run, self.device, SkippedFrames())
            self._artifacts[key] = cls.prepare(
                variant.config(run.model), self.teachers[place], frames, folder
            )
        return self._artifacts[key]

    def _batches(self, seed: int, student: Network, variant: Variant) -> BatchSource:
        """Return the batches of a run; kept ones are made first, where they are not there."""
        run = dataclasses.replace(self.ablation.run, seed=seed)
        labeled = None
        if self._labels(variant) != ALL:
            labeled = labeled_frames(self.data.training.names, self._labels(variant), seed)
            if not method_class(variant.method).needs_teacher:
                return FrameBatches(self._labeled_frames(seed, student, labeled), run)
        if not self.ablation.keep:
            return FrameBatches(self._frames(seed, student, labels=labeled), run)
        teacher = self.teachers[self._teacher_of(seed)]
        kept = KeptBatches(
            folder=self._kept_folder(seed),
            number=self.ablation.keep,
            seed=seed,
            student=student,
            device=self.device,
            with_targets=method_class(variant.method).needs_teacher,
            labeled=labeled,
        )
        if kept.missing():
            frames = FrameBatches(self._frames(seed, student), run)
            kept.make(_first(frames, self.ablation.keep), teacher, self._choice(student, seed))
        return kept

    def _labeled_frames(
        self, seed: int, student: Network, labeled: frozenset[str]
    ) -> TrainingFrames:
        """Return the labeled frames alone, so often that a pass has as many steps as others'."""
        training = self.data.training
        rows = [row for row, name in enumerate(training.names) if name in labeled]
        samples = len(training) * self.ablation.run.data.repeats
        if self.ablation.keep:
            samples = self.ablation.keep * self.ablation.run.data.batch_size
        repeats = max(1, samples // len(rows))
        return self._frames(seed, student, SomeFrames(training, rows), repeats)

    def _kept_folder(self, seed: int) -> Path:
        name = f"{self.study.setup}--{self.teacher_hashes[self._teacher_of(seed)]}--seed-{seed}"
        return self.ablation.output / "kept" / name

    def _choice(self, student: Network, seed: int) -> TargetChoice:
        """Return all that any variant wants of a seed's teacher."""
        place = self._teacher_of(seed)
        teacher = self.teachers[place]
        features: set[str] = set()
        saliency: set[str] = set()
        losses: set[str] = set()
        for variant in self.ablation.grid.variants.values():
            choice = self._method(variant, student, place).choice
            if choice is not None:
                features |= set(choice.features)
                saliency |= set(choice.saliency)
                losses |= {choice.segmentation} if choice.saliency else set()
        if len(losses) > 1:
            raise UserError(
                "--grid: variants align the saliency of two losses (--method.segmentation), and "
                "kept "
                "outputs have one; give --keep 0"
            )
        stages = (*teacher.encoder_stages, *teacher.decoder_stages)
        return TargetChoice(
            features=tuple(stage for stage in stages if stage in features),
            saliency=tuple(stage for stage in stages if stage in saliency),
            segmentation="ce+lovasz" if losses == {"ce+lovasz"} else "ce",
        )

    def _run(self, run: Run) -> dict[str, Outcome]:
        if run.variant == TEACHER:
            return {TEACHER: self._score_teacher(run.seed)}
        self._clean(run.seed)
        return {run.variant: self._train(run.seed, run.variant)}

    def _clean(self, seed: int | None) -> None:
        """Remove what recorded runs no longer need; kept batches are gigabytes.

        Parameters
        ----------
        seed
            Of the next run, whose kept batches stay; None after the last one.
        """
        if self._kept_seed not in (None, seed):
            shutil.rmtree(self._kept_folder(self._kept_seed), ignore_errors=True)
        if self._trained is not None:
            shutil.rmtree(self._trained, ignore_errors=True)
        self._kept_seed, self._trained = seed, None

    def _train(self, seed: int, name: str) -> Outcome:
        """Train and score one student."""
        variant = self.ablation.grid.variants[name]
        place = self._teacher_of(seed)
        teacher = self.teachers[place]
        student = self._student(seed)
        source = self._batches(seed, student, variant)
        method = self._method(variant, student, place)
        folder = self.ablation.output / "unfinished" / f"{self.ablation.grid_name}--{name}--{seed}"
        make_folder(folder, "--output")
        state_path = folder / "checkpoint.pt"
        state = load_state(state_path) if state_path.is_file() else None
        if state is not None and (state.method.keys() != method.state_dict().keys()):
            raise UserError(
                f"{state_path}: was written by a variant {name} with other options; remove {folder}"
            )
        run = dataclasses.replace(self.ablation.run, seed=seed)
        # Drop path draws from the global generator: the same numbers in every variant of a seed.
        torch.manual_seed(2 * seed + 1)
        task = TrainTask(
            f"{name}, seed {seed}",
            student,
            method,
            teacher if method.needs_teacher else None,
            run.optim.student_epochs,
        )
        resume_at = None if state is None else (task.name, state.step)
        with RunLog(folder, resume_at) as log:
            fit(task, source, run, self.device, log, state_path, state, skipped=SkippedFrames())
        students = self.ablation.output / "students"
        make_folder(students, "--output")
        save_model(student, self.data.metadata(student, run), students / f"{folder.name}.pt")
        steps = [line for line in read_log(folder / "log.jsonl") if line["stage"] == task.name]
        found = evaluate_structure(
            student,
            self.validation,
            self.device,
            title=f"{task.name}, evaluation",
            teacher=self._sampled(place),
            losses=_own_other_losses() if self._has_other_scenes() else None,
            precision=run.precision,
        )
        self._trained = folder
        return self._outcome(
            place,
            self._options(variant),
            found,
            steps=source.ends(run.optim.student_epochs)[-1],
            seconds=sum(line["seconds"] for line in steps),
            gradient_norms=_gradient_norms(steps),
            stats={"first": mean_terms(steps[:20]), "last": mean_terms(steps[-20:])},
        )

    def _score_teacher(self, place: int) -> Outcome:
        found = evaluate_structure(
            self.teachers[place],
            self.validation,
            self.device,
            title="teacher, evaluation",
            precision=self.ablation.run.precision,
        )
        options = {"file": self.ablation.teachers[place].name}
        return self._outcome(place, options, found, role="teacher")

    def _has_other_scenes(self) -> bool:
        """Return whether there is another scene for the own/other test."""
        return len({sequence_of(name) for name in self.validation.names}) > 1

    def _sampled(self, place: int) -> SampledFeatures:
        if place not in self._samples:
            self._samples[place] = sample_features(
                self.teachers[place], self.validation, self.device, title="teacher's features"
            )
        return self._samples[place]

    def _outcome(
        self, place: int, options: Mapping[str, Any], found: StructureEvaluation, **more: Any
    ) -> Outcome:
        """Return what a run gave: its scores, and in `more` what else is known of a student."""
        scores = found.total().scores(
            self.spec.class_names, self.spec.benchmark_rule, {"thin_iou": self.thin}
        )
        if more.get("role") != "teacher":
            scores["distance_correlation"] = found.distance_correlation()
            scores["own_other"] = None
            for loss, test in found.own_other.items():
                scores["own_other" if loss == "edges" else f"own_other_{loss}"] = test.ratio
        return Outcome(
            teacher=self.teacher_hashes[place],
            options=options,
            scores=scores,
            scenes={scene: counts.to_json() for scene, counts in found.scenes().items()},
            **more,
        )


def _first(source: BatchSource, number: int) -> Iterator[Batch]:
    """Yield the first batches of a source, of as many epochs as that takes."""
    epochs = 1
    while source.ends(epochs)[-1] < number:
        epochs += 1
    for _, batch in zip(range(number), source.batches(source.ends(epochs), 0), strict=False):
        yield batch


def _own_other_losses() -> dict[str, Any]:
    def of(options: dict[str, Any]) -> Any:
        loss = TopologicalLoss(num_samples=512, **options)
        return lambda teacher, student: loss(teacher, student, torch.tensor([len(student)]))

    return {name: of(options) for name, options in OWN_OTHER_LOSSES.items()}


def _gradient_norms(steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the mean norms of the first and of the last half of the steps that logged them."""
    found = [line["gradient_norms"] for line in steps if "gradient_norms" in line]
    if not found:
        return None
    half = max(1, len(found) // 2)
    return {"start": _means(found[:half]), "end": _means(found[-half:])}


def mean_terms(steps: list[dict[str, Any]]) -> dict[str, float]:
    """Return the means of a log's terms, and of the topological term's weight and entropies."""
    lines = [{k: v for k, v in line.items() if isinstance(v, float)} for line in steps]
    for line, step in zip(lines, steps, strict=True):
        stats = step.get("topology_stats", {})
        if stats.get("weight") is not None:
            line["topology_weight"] = stats["weight"]
        for dim, entropy in enumerate(stats.get("gradient_entropies", ())):
            line[f"{GRADIENT_ENTROPY}{dim}"] = entropy
    return _means(lines) if lines else {}


def _means(parts: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _listed(names: Any) -> dict[str, Any]:
    listed = list(names)
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()[:12]
    return {"number": len(listed), "hash": digest}
