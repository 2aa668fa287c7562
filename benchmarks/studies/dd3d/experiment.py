"""The runs of the experiment: small sets made once, networks trained on each several times.

A run is (setting, clouds per class, method, distillation, evaluation network, evaluation); what it
gave is one record. Runs of one distillation and evaluation share their seeds across methods.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import with_peak
from train.ablation.records import Outcome, Records, hash_of
from train.ablation.study import Study
from train.core.atomic_write import make_folder
from train.core.iou import ClassCounts
from train.dataset_distillation.folder import STATE_NAME, write_made
from train.dataset_distillation.make import SmallSet, features_of, make, score
from train.dataset_distillation.networks.classifiers import SMALL_POINTNET, SMALL_WIDTHS
from train.dataset_distillation.objects.read import INDEX_NAME, read_objects
from train.dataset_distillation.objects.simulated import SimulatedSet, simulate_objects
from train.dataset_distillation.options import (
    LEARNED,
    METHODS,
    DistillOptions,
    Method,
    RotatorOptions,
    Start,
)
from train.dataset_distillation.pictures import draw_clouds
from train.dataset_distillation.prepare import Prepared, canonical, prepare
from train.dataset_distillation.training import ClassTraining, Score, fixed_draw, train_and_score

Setting = Literal["aligned", "rotated"]
SETTINGS: Final[tuple[Setting, ...]] = ("aligned", "rotated")
FULL: Final = "full"
MANY: Final = 10
"""Clouds per class from which on a set counts as large: fewer iterations and epochs."""
START_ALONE: Final = "start-alone"
"""DD3D's generator as it starts, with no gradient matched: the difference is what matching adds."""
REDRAWN: Final = "redrawn"
"""The real clouds that DD3D starts from, all their points kept, of which every epoch sees others as
of a generator's: a generator that makes them perfectly, of more numbers."""
CONTROLS: Final = (START_ALONE, REDRAWN)
FORMAT: Final = 3
"""Raised whenever the same settings give other runs than before."""
_SEEDS: Final = 100
"""A run's seed is its distillation times this, plus its evaluation."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs share.

    Attributes
    ----------
    data
        The simulated objects.
    points
        Of each cloud that a network is trained or scored on, its first ones; a generator makes as
        many.
    distill_points, real_batch, widths, lr, coordinate_lr, w0, start, start_steps
        Of distillations, see `DistillOptions`; other options are those of the authors' code.
    outer, inner
        Steps of the clouds on one matched network, and epochs of it in between.
    iterations, many_iterations
        Matched networks; of sets of `MANY` clouds per class and more, whose steps cost more.
    epochs, many_epochs
        Of a network on a small set, and on one of `MANY` clouds per class and more.
    batch_size
        Clouds of its steps.
    test_every
        Epochs between two scores, of which the best stands beside the last.
    full_epochs, full_batch
        Of a network on the full set.
    """

    data: SimulatedSet = field(default_factory=SimulatedSet)
    points: int = 128
    distill_points: int = 128
    real_batch: int = 8
    widths: tuple[int, ...] = SMALL_WIDTHS
    lr: float = 2e-5
    coordinate_lr: float = 1e-3
    w0: float = 100.0
    start: Start = "herding"
    start_steps: int = 3000
    outer: int = 10
    inner: int = 1
    iterations: int = 15
    many_iterations: int = 5
    epochs: int = 100
    many_epochs: int = 100
    batch_size: int = 32
    test_every: int = 20
    full_epochs: int = 30
    full_batch: int = 32

    def plain(self) -> dict[str, Any]:
        """Return plain values, with what the records' readers look for."""
        shared = {"format": FORMAT, "dataset": "objects", "simulated": True, "pair": "pointnet"}
        return shared | dataclasses.asdict(self) | {"widths": list(self.widths)}

    def epochs_for(self, clouds: int) -> int:
        """Return how long a network learns from a set of so many clouds per class."""
        return self.many_epochs if clouds >= MANY else self.epochs

    def options(self, setting: Setting, method: Method, clouds: int, seed: int) -> DistillOptions:
        """Return how a small set is made."""
        iterations = self.many_iterations if clouds >= MANY else self.iterations
        if method == "distribution-matching":
            iterations *= self.outer  # a network has one step there: as many steps as the others
        return DistillOptions(
            method=method,
            clouds_per_class=clouds,
            points=self.distill_points,
            iterations=iterations,
            outer=self.outer,
            inner=self.inner,
            real_batch=self.real_batch,
            widths=self.widths,
            lr=self.lr,
            coordinate_lr=self.coordinate_lr,
            w0=self.w0,
            start=self.start if method in LEARNED else None,
            start_steps=self.start_steps,
            rotator=RotatorOptions(mode="frozen" if setting == "rotated" else "none"),
            seed=seed,
        )


class Run(NamedTuple):
    """One run."""

    setting: Setting
    clouds: int
    """Per class; 0 for the full set."""
    variant: str
    """A method, `START_ALONE`, `REDRAWN` or `FULL`."""
    distillation: int
    network: str
    evaluation: int
    points: int | None = None
    """Of each cloud where they are not those of the settings."""
    distill_points: int | None = None
    """Of a cloud while it is learned, where they are not those of the settings."""

    @property
    def grid(self) -> str:
        """The name of the table that it is in."""
        size = FULL if self.variant == FULL else str(self.clouds)
        name = f"{self.setting}-{size}-{self.network.replace('++', '2')}"
        name += "" if self.points is None else f"-at-{self.points}"
        return name + ("" if self.distill_points is None else f"-from-{self.distill_points}")

    @property
    def options(self) -> dict[str, Any]:
        """What its record says of it; the page reads the grid from here, never from its name."""
        found = {
            "method": self.variant,
            "clouds_per_class": self.clouds,
            "setting": self.setting,
            "network": self.network,
            "points": self.points,
            "distill_points": self.distill_points,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def seed(self) -> int:
        """The number that its record has."""
        return self.distillation * _SEEDS + self.evaluation


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which runs are wanted; the records of several plans add up."""

    settings: tuple[Setting, ...] = SETTINGS
    """with or without turns of the clouds"""
    cpc: tuple[int, ...] = (1, 10)
    """clouds per class of a small set"""
    methods: tuple[str, ...] = (*METHODS, *CONTROLS)
    """names of METHODS and CONTROLS"""
    networks: tuple[str, ...] = (SMALL_POINTNET,)
    """trained on the sets"""
    distillations: int = 2
    """of each small set"""
    evaluations: int = 5
    """networks trained on each"""
    full: bool = True
    """train networks on the full set too"""
    points: int | None = None
    """of each cloud that networks see, where they are not those of the settings"""
    distill_points: int | None = None
    """of a cloud while it is learned, where they are not those of the settings"""

    def runs(self) -> Iterator[Run]:
        """Yield the runs: all of one small set in a row."""
        for setting in self.settings:
            sets = [
                (clouds, method, distillation)
                for clouds in self.cpc
                for distillation in range(self.distillations)
                for method in self.methods
            ]
            for clouds, method, distillation in [*sets, *[(0, FULL, 0)] * self.full]:
                for network in self.networks:
                    for evaluation in range(self.evaluations):
                        yield Run(
                            setting,
                            clouds,
                            method,
                            distillation,
                            network,
                            evaluation,
                            self.points,
                            self.distill_points,
                        )


def draw_made(path: Path, work: Path, points: int) -> None:
    """Draw real clouds beside what the aligned runs have made so far, if there is any of DD3D.

    Parameters
    ----------
    path
        The PNG to write.
    work
        Folder of the objects and the small sets of an experiment.
    points
        Of the real clouds.

    Raises
    ------
    UserError
        If a set is damaged, or the picture cannot be written.
    """
    objects = work / "objects"
    made = {
        "DD3D, 1 per class": work / "aligned-1-dd3d-0",
        "DD3D, 10 per class": work / "aligned-10-dd3d-0",
        "gradient matching, 1": work / "aligned-1-gradient-matching-0",
    }
    found = {title: folder for title, folder in made.items() if (folder / INDEX_NAME).exists()}
    if not (objects / INDEX_NAME).exists() or "DD3D, 1 per class" not in found:
        return
    real = read_objects(objects, "train", points)
    # The second cloud of each class, the first where there is one alone.
    rows = [real.rows_of(label) for label in range(len(real.classes))]
    second = real.take([int(own[min(1, len(own) - 1)]) for own in rows])
    columns = {"real": real, "real, another": second}
    columns |= {title: read_objects(folder, "train", points) for title, folder in found.items()}
    draw_clouds(path, columns)


class Experiment:
    """Does the runs that have no record yet.

    Parameters
    ----------
    settings
        What all runs share.
    work
        Folder for the objects and the small sets; a distillation that was stopped goes on there.
    device
        Where to compute.
    """

    def __init__(self, settings: Settings, work: Path, device: torch.device) -> None:
        self.settings, self.work, self.device = settings, work, device
        self._prepared: dict[Setting, Prepared] = {}
        self._features: dict[Setting, NDArray[np.float64]] = {}
        self._made: tuple[tuple[object, ...], SmallSet] | None = None
        self._peak_bytes: int | None = None

    def study(self, plan: Plan, records: Path, page: Callable[[Records], None]) -> Study[Run]:
        """Return the study of a plan."""
        return Study(
            settings=self.settings.plain(),
            runs=list(plan.runs()),
            run_one=self._run,
            page=page,
            records=records,
            device=self.device,
        )

    def _run(self, run: Run) -> dict[str, Outcome]:
        """Train a network on a small set, or on all, and score it."""
        real = self._real(run.setting)
        settings = self.settings
        points = run.points or settings.points
        if run.variant == FULL:
            assert real.test is not None
            train, test = (
                canonical(clouds, real.rotator).first_points(points)
                for clouds in (real.train, real.test)
            )
            options = self._evaluation(run, settings.full_epochs, settings.full_batch)
            found, _ = train_and_score(fixed_draw(train), test, options, self.device)
            return {run.variant: self._outcome(run, options.epochs, found, None)}
        made = self._small_set(run, real)
        options = self._evaluation(run, settings.epochs_for(run.clouds), settings.batch_size)
        found = score(made, real, options, self.device, points=points)
        return {run.variant: self._outcome(run, options.epochs, found, made)}

    def _evaluation(self, run: Run, epochs: int, batch_size: int) -> ClassTraining:
        return ClassTraining(
            network=run.network,
            epochs=epochs,
            batch_size=batch_size,
            test_every=min(self.settings.test_every, epochs),
            seed=run.seed,
        )

    def _real(self, setting: Setting) -> Prepared:
        if setting not in self._prepared:
            folder = self.work / "objects"
            make_folder(folder, "--work")
            simulate_objects(folder, self.settings.data)
            points = self.settings.data.num_points
            train, test = (read_objects(folder, split, points) for split in ("train", "test"))
            options = self.settings.options(setting, "random", 1, 0)
            self._prepared[setting] = prepare(train, test, options, rotate=setting == "rotated")
        return self._prepared[setting]

    def _small_set(self, run: Run, real: Prepared) -> SmallSet:
        """Return the set of a run; evaluations of one set follow each other."""
        key = *run[:4], run.distill_points
        if self._made is not None and self._made[0] == key:
            return self._made[1]
        matched = run.variant != START_ALONE
        stands_for = {START_ALONE: "dd3d", REDRAWN: self.settings.start}
        method: Method = stands_for.get(run.variant, run.variant)  # type: ignore[assignment]
        options = self.settings.options(run.setting, method, run.clouds, run.distillation)
        name = f"{run.setting}-{run.clouds}-{run.variant}-{run.distillation}"
        if run.distill_points is not None:
            options = dataclasses.replace(options, points=run.distill_points)
            name += f"-from-{run.distill_points}"
        folder = self.work / name
        make_folder(folder, "--work")
        features = None
        if {"herding", "k-center"} & {method, options.begins_as}:
            # One network has seen all of the set; what it saw is the same for every distillation.
            if run.setting not in self._features:
                train = canonical(real.train, real.rotator)
                self._features[run.setting] = features_of(
                    train.first_points(self.settings.points), 0, self.device
                )
            features = self._features[run.setting]
        made, peak_bytes = with_peak(
            lambda: make(
                real,
                options,
                self.device,
                points=self.settings.data.num_points,
                state=folder / STATE_NAME if matched and method in LEARNED else None,
                resume=True,
                features=features,
                match=matched,
            )
        )
        made = dataclasses.replace(made, redrawn=run.variant == REDRAWN)
        write_made(folder, made, real, options, "simulated")
        self._made, self._peak_bytes = (key, made), peak_bytes
        return made

    def _outcome(
        self, run: Run, epochs: int, found: Score[ClassCounts], made: SmallSet | None
    ) -> Outcome:
        names, counts = self.settings.data.classes, found.found
        stats: dict[str, Any] = {"best_epoch": found.best_epoch}
        if made is not None:
            points = made.clouds.num_points
            if not made.redrawn:
                points = min(points, run.points or self.settings.points)
            coordinates = 3 * points * len(made.clouds)
            learned = made.generator
            stats |= {
                "numbers_stored": coordinates if learned is None else learned.num_parameters(),
                "distillation_seconds": round(made.seconds, 1),
                "distillation_peak_bytes": self._peak_bytes,
            }
        return Outcome(
            # Runs are paired within one distillation; its number stands for it.
            teacher=hash_of({"distillation": run.distillation}),
            options=run.options,
            steps=epochs,
            seconds=found.seconds,
            scores={"accuracy": found.last, "best_accuracy": found.best},
            scenes={
                name: {"right": int(right), "clouds": int(clouds)}
                for name, right, clouds in zip(names, counts.right, counts.true, strict=True)
            },
            stats=stats,
        )
