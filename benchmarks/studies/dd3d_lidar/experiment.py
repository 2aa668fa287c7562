"""The runs of the experiment: a small set of frames and a network trained on it, for every seed.

A run is (frames of the small set, network, method, seed); what it gave is one record. Each seed has
its own distillation, its own draw of real frames and its own initial weights; runs of one seed
share them across methods as far as they have them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from train.ablation.records import Outcome, Records, hash_of
from train.ablation.study import Study
from train.core.atomic_write import make_folder
from train.core.iou import ClassCounts
from train.dataset_distillation.folder import GENERATOR_NAME, STATE_NAME, load_clouds, write_made
from train.dataset_distillation.frames.read import FrameData, read_frame_data
from train.dataset_distillation.make import SmallSet, features_of, make, score
from train.dataset_distillation.options import LEARNED, DistillOptions, Method
from train.dataset_distillation.pictures import draw_frames
from train.dataset_distillation.prepare import Prepared, canonical, prepare
from train.dataset_distillation.start import StartOptions
from train.dataset_distillation.training import (
    FrameTraining,
    Score,
    fixed_draw,
    total,
    train_and_score,
)

FrameScore = Score[dict[str, ClassCounts]]

FULL: Final = "full"
FORMAT: Final = 1
"""Raised whenever the same settings give other runs than before."""
VARIANTS: Final[Mapping[str, tuple[Method, str]]] = {
    "dd3d": ("dd3d", "the paper's: a generator learned from scratch"),
    "dd3d-start": ("dd3d", "ours: a generator that starts from real points"),
    "start-alone": ("dd3d", "that start, and no gradients matched"),
    "random": ("random", "as many real points: frames drawn"),
    "random-weighted": ("random", "the same, and rare classes count more in the student's loss"),
    "k-center": ("k-center", "as many real points: frames far from each other"),
    "gradient-matching": ("gradient-matching", "free coordinates, from real frames at first"),
}
"""Name -> the method behind it, and what it is."""
STARTED: Final = ("dd3d-start", "start-alone")
PICTURED: Final = ("dd3d", "dd3d-start")
WEIGHTED: Final = "random-weighted"
FRAMES_A_SCENE: Final = 4
"""Of the simulator: so many frames are taken in each scene."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs share.

    Attributes
    ----------
    train_frames, test_frames, azimuth_steps, data_seed
        Of the simulation, in SemanticKITTI's classes; four frames in each scene.
    points, range_m
        N, and where frames are cropped.
    distill_points, iterations, outer, inner, real_batch, lr, width, layers, w0, widths
        See `DistillOptions`. Free coordinates have as many points as real frames.
    start_steps, start_points, start_frames
        See `StartOptions`, of the variants in `STARTED`.
    share_power
        Of the same variants: points of rare classes are more than their share. `WEIGHTED` has it in
        its loss, so that what the shares do can be told from what the points do.
    started_lr
        Of the matching after such a start.
    epochs, batch_size, rate, turn_deg, grid_size_m
        See `FrameTraining`.
    full_epochs
        Of a network on all training frames.
    """

    train_frames: int = 64
    test_frames: int = 32
    azimuth_steps: int = 300
    data_seed: int = 0
    points: int = 1024
    range_m: float = 25.0
    distill_points: int = 512
    iterations: int = 40
    outer: int = 10
    inner: int = 1
    real_batch: int = 4
    lr: float = 1e-3
    width: int = 256
    layers: int = 2
    w0: float = 400.0
    widths: tuple[int, ...] = (32, 64, 128)
    start_steps: int = 600
    start_points: int = 1024
    start_frames: int = 0
    share_power: float = 0.5
    started_lr: float = 1e-5
    epochs: int = 100
    batch_size: int = 8
    rate: float = 2e-3
    turn_deg: float = 15.0
    grid_size_m: float = 0.5
    full_epochs: int = 25

    def plain(self) -> dict[str, Any]:
        """Return plain values, with what the records' readers look for."""
        shared = {
            "format": FORMAT,
            "dataset": "kitti-layout",
            "simulated": True,
            "pair": "ptv3:tiny-student",
        }
        plain = dataclasses.asdict(self)
        return shared | plain | {"widths": list(self.widths)}

    def data(self, root: Path) -> FrameData:
        """Return which frames are read; they are simulated below a folder."""
        return FrameData(
            dataset="kitti-layout",
            root=root,
            points=self.points,
            range_m=self.range_m,
            frames=self.train_frames,
            test_frames=self.test_frames,
            simulate=True,
            simulated_frames=self.train_frames,
            simulated_test_frames=self.test_frames,
            azimuth_steps=self.azimuth_steps,
            seed=self.data_seed,
        )

    def start(self, variant: str) -> StartOptions:
        """Return how the generator of a variant is fitted first."""
        if variant not in STARTED:
            return StartOptions()
        return StartOptions(
            steps=self.start_steps,
            points=self.start_points,
            frames=self.start_frames,
            share_power=self.share_power,
        )

    def options(self, variant: str, frames: int, seed: int) -> DistillOptions:
        """Return how a small set is made."""
        method, _ = VARIANTS[variant]
        return DistillOptions(
            method=method,
            task="parts",
            clouds_per_class=frames,
            points=self.distill_points if method == "dd3d" else self.points,
            iterations=self.iterations,
            outer=self.outer,
            inner=self.inner,
            real_batch=self.real_batch,
            lr=self.started_lr if variant in STARTED else self.lr,
            # A decay of weights would pull what was fitted apart.
            weight_decay=0.0 if variant in STARTED else 5e-4,
            width=self.width,
            layers=self.layers,
            w0=self.w0,
            widths=self.widths,
            seed=seed,
        )

    def training(self, variant: str, network: str, seed: int) -> FrameTraining:
        """Return how a network is trained on what a variant gives."""
        epochs = self.full_epochs if variant == FULL else self.epochs
        return FrameTraining(
            network=network,
            epochs=epochs,
            batch_size=self.batch_size,
            lr=self.rate,
            last_lr=self.rate / 10,
            share_power=self.share_power if variant == WEIGHTED else 1.0,
            turn_deg=self.turn_deg,
            grid_size_m=self.grid_size_m,
            test_every=max(1, epochs // 4),
            seed=seed,
        )


class Run(NamedTuple):
    """One run."""

    frames: int
    """Of the small set; 0 for all."""
    network: str
    variant: str
    """One of `VARIANTS`, or `FULL`."""
    seed: int

    @property
    def grid(self) -> str:
        """The name of the table that it is in."""
        return f"{self.frames or FULL}-{self.network}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which runs are wanted; the records of several plans add up."""

    frames: tuple[int, ...] = (1,)
    """of a small set"""
    networks: tuple[str, ...] = ("ptv3", "pointnet-small")
    """trained on the sets"""
    methods: tuple[str, ...] = ("dd3d", "dd3d-start", "start-alone", "random", "random-weighted")
    """that make the sets"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """one distillation each"""

    def runs(self) -> Iterator[Run]:
        """Yield the runs: seed after seed, all networks of one small set in a row.

        All frames are learned from once, with the first seed: to see how far there is to go.
        """
        for seed in self.seeds:
            for frames in self.frames:
                for method in self.methods:
                    for network in self.networks:
                        yield Run(frames, network, method, seed)
        for network in self.networks:
            yield Run(0, network, FULL, self.seeds[0])


class Experiment:
    """Does the runs that have no record yet.

    Parameters
    ----------
    settings
        What all runs share.
    work
        Folder for the frames and the small sets; a distillation that was stopped goes on there.
    device
        Where to compute.
    """

    def __init__(self, settings: Settings, work: Path, device: torch.device) -> None:
        self.settings, self.work, self.device = settings, work, device
        self.has_run = False
        self._real: Prepared | None = None
        self._features: NDArray[np.float64] | None = None
        self._made: tuple[tuple[object, ...], SmallSet] | None = None

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

    def draw(self, path: Path, plan: Plan) -> None:
        """Draw a real frame beside generated ones of the plan's first seed, where they are."""
        columns = {"real": self.real().train}
        for variant in (name for name in PICTURED if name in plan.methods):
            folder = self.work / f"{max(plan.frames)}-{variant}-{plan.seeds[0]}"
            file = folder / GENERATOR_NAME
            if file.is_file():
                columns[variant] = load_clouds(file, self.settings.points, plan.seeds[0])[0]
        draw_frames(path, columns)

    def real(self) -> Prepared:
        """Return the frames, simulated once."""
        if self._real is None:
            train, test = read_frame_data(self.settings.data(self.work / "frames"), needs_test=True)
            self._real = prepare(train, test, self.settings.options("random", 1, 0))
        return self._real

    def _run(self, run: Run) -> dict[str, Outcome]:
        """Train a network on a small set, or on all frames, and score it."""
        self.has_run = True
        real = self.real()
        options = self.settings.training(run.variant, run.network, run.seed)
        if run.variant == FULL:
            assert real.test is not None
            draw = fixed_draw(real.train)
            found, _ = train_and_score(draw, real.test, options, self.device)
            return {run.variant: self._outcome(run, found, None)}
        made = self._small_set(run, real)
        found = score(made, real, options, self.device, points=self.settings.points)
        return {run.variant: self._outcome(run, found, made)}

    def _small_set(self, run: Run, real: Prepared) -> SmallSet:
        """Return the set of a run; the networks that are trained on one set follow each other."""
        key = (run.frames, run.variant, run.seed)
        if self._made is not None and self._made[0] == key:
            return self._made[1]
        options = self.settings.options(run.variant, run.frames, run.seed)
        method = options.method
        folder = self.work / f"{run.frames}-{run.variant}-{run.seed}"
        make_folder(folder, "--work")
        if method in ("herding", "k-center") and self._features is None:
            # One network has seen all frames; what it saw is the same for every seed.
            train = canonical(real.train, real.rotator)
            self._features = features_of(train, 0, self.device)
        made = make(
            real,
            options,
            self.device,
            points=self.settings.points,
            state=folder / STATE_NAME if method in LEARNED else None,
            resume=True,
            features=self._features if method in ("herding", "k-center") else None,
            start=self.settings.start(run.variant),
            match=run.variant != "start-alone",
        )
        write_made(folder, made, real, options, "simulated")
        self._made = (key, made)
        return made

    def _outcome(self, run: Run, found: FrameScore, made: SmallSet | None) -> Outcome:
        counts = total(found.found.values())
        real = self.real()
        stats: dict[str, Any] = {
            "best_epoch": found.best_epoch,
            "iou": dict(zip(real.train.part_names, counts.iou(), strict=True)),
        }
        if made is not None:
            stats |= {
                "numbers_stored": made.numbers_stored,
                "distillation_seconds": round(made.seconds, 1),
                "classes": int((made.clouds.part_counts() > 0).sum()),
            }
        settings = self.settings
        return Outcome(
            # There is no teacher: all runs are of one group of pairs.
            teacher=hash_of({"data": settings.data_seed}),
            options={"method": run.variant, "frames": run.frames, "network": run.network},
            steps=settings.full_epochs if run.variant == FULL else settings.epochs,
            seconds=found.seconds,
            scores={"miou": found.last, "best_miou": found.best, "accuracy": counts.accuracy()},
            scenes=by_scene(found),
            stats=stats,
        )


def by_scene(found: FrameScore) -> dict[str, dict[str, list[int]]]:
    """Return a score's counts scene by scene, as plain values."""
    scenes: dict[str, ClassCounts] = {}
    for name, counts in found.found.items():
        sequence, _, number = name.rpartition("/")
        scene = f"{sequence}-{int(number) // FRAMES_A_SCENE:02d}"
        scenes[scene] = scenes[scene] + counts if scene in scenes else counts
    return {
        scene: {
            "right": counts.right.tolist(),
            "true": counts.true.tolist(),
            "found": counts.found.tolist(),
        }
        for scene, counts in scenes.items()
    }
