"""The runs of the experiment: simulated scenes and an image network once, then variant by variant.

A run is (grid, variant, seed); what it gave is one record. Variants of one seed share initial
weights, the order of frames and their crops.
"""

import dataclasses
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.studies.cross_modal.baselines import KeptMaps, Projection, majority_class
from benchmarks.studies.cross_modal.variants import (
    FUSED,
    GRIDS,
    MAJORITY,
    PROJECTION,
    UNTRAINED,
    Variant,
)
from train.ablation.records import Outcome, Records
from train.ablation.study import Study
from train.config import RunConfig, from_json
from train.core.atomic_write import make_folder
from train.core.provenance import sha256_of
from train.data.cameras import CAMERA_FIELDS
from train.data.dataset_spec import dataset_spec
from train.data.frame import IGNORE_INDEX, IN_CHANNELS, FrameSource, LidarFrame, SomeFrames
from train.data.loader import EvaluationFrames
from train.engine.image_training import image_network_of_run
from train.engine.loop import FrameBatches, fit
from train.engine.run_data import RunData, open_data, training_frames
from train.engine.train_step import TrainTask
from train.evaluation.evaluate import evaluate
from train.methods.cross_modal.camera_method import CameraMethod
from train.methods.registry import method_class
from train.networks.image import load_image_network
from train.networks.protocol import Network, NetworkSpec
from train.networks.registry import PAIRS, build_network, parse_network
from train.presets import preset

FORMAT: Final = 1
"""Raised whenever the same settings give other runs than before."""

_LABELS: Final = 7  # of the stream of chance that says which labels are kept


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs share.

    Attributes
    ----------
    dataset
        With cameras and a simulator.
    frames, validation_frames, azimuth_steps
        Of the simulated scenes.
    epochs, max_voxels, batch_size
        Of a student's training.
    student
        NETWORK:SIZE; "" for the student of the tiny pair.
    """

    dataset: str = "nuscenes"
    frames: int = 40
    validation_frames: int = 16
    azimuth_steps: int = 600
    epochs: int = 10
    max_voxels: int = 4_000
    batch_size: int = 2
    student: str = ""

    def run_config(self, work: Path, device: torch.device, seed: int = 0) -> RunConfig:
        """Return the options of a run on the same data."""
        default = preset(self.dataset, "tiny", "none")
        return replace(
            default,
            simulate=True,
            data_root=work / self.dataset,
            device=str(device),
            seed=seed,
            data=replace(
                default.data,
                simulated_frames=self.frames,
                simulated_validation_frames=self.validation_frames,
                simulated_azimuth_steps=self.azimuth_steps,
                max_voxels=self.max_voxels,
                batch_size=self.batch_size,
            ),
            optim=replace(default.optim, student_epochs=self.epochs),
        )


class Run(NamedTuple):
    """One run."""

    grid: str
    variant: str
    seed: int


class SomeLabeled(SomeFrames):
    """A source in which some points of each frame keep their labels, the same in every epoch.

    Parameters
    ----------
    source
        Labeled frames.
    share
        Of the points that keep theirs, drawn at random.
    """

    def __init__(self, source: FrameSource, share: float) -> None:
        super().__init__(source, range(len(source)))
        self.share = share

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame."""
        frame = self.source[index]
        if frame.segment is None:
            return frame
        kept = np.random.default_rng([_LABELS, index]).random(len(frame.segment)) < self.share
        return dataclasses.replace(frame, segment=np.where(kept, frame.segment, IGNORE_INDEX))


class Experiment:
    """Does the runs that have no record yet.

    Parameters
    ----------
    settings
        What all runs share.
    work
        Folder for the scenes and the image network, there already.
    device
        Where to compute.

    Raises
    ------
    UserError
        If the data cannot be simulated.
    """

    def __init__(self, settings: Settings, work: Path, device: torch.device) -> None:
        self.settings, self.work, self.device = settings, work, device
        self.spec = dataset_spec(settings.dataset)
        config = settings.run_config(work, device)
        self.data: RunData = open_data(
            config, self.spec, fields=CAMERA_FIELDS, evaluation_fields=CAMERA_FIELDS
        )
        self.image_file = image_network_of_run(config, self.spec, work, device)
        # Other images networks teach other things: they are part of what runs share.
        digest = sha256_of(self.image_file)[:12]
        shared = {"format": FORMAT, "simulated": True, "pair": "tiny", "image_network": digest}
        self.plain = shared | dataclasses.asdict(settings)
        self.image_hash = digest
        self._majority: int | None = None
        self._kept = KeptMaps()

    def study(
        self,
        records: Path,
        page: Callable[[Records], None],
        grids: Collection[str],
        seeds: Collection[int],
    ) -> Study[Run]:
        """Return the study of some grids, seed by seed."""
        runs = [
            Run(grid, variant, seed)
            for seed in seeds
            for grid in grids
            for variant in GRIDS[grid].variants
        ]
        return Study(
            settings=self.plain,
            runs=runs,
            run_one=self._run,
            page=page,
            records=records,
            device=self.device,
        )

    def _run(self, run: Run) -> dict[str, Outcome]:
        """Do a run; one that can be scored with images gives two records."""
        variant = GRIDS[run.grid].variants[run.variant]
        if run.variant in UNTRAINED:
            fields = CAMERA_FIELDS if run.variant == PROJECTION else frozenset[str]()
            return {
                run.variant: self._outcome(
                    variant, self._score(self._plain(run.variant), fields), 1, 0.0
                )
            }
        student, with_images, steps, seconds = self._train(run, variant)
        models = {} if with_images is None else {run.variant + FUSED: (with_images, CAMERA_FIELDS)}
        return {
            name: self._outcome(variant, self._score(model, fields), steps, seconds)
            for name, (model, fields) in {
                **models,
                run.variant: (student, frozenset[str]()),
            }.items()
        }

    def _plain(self, name: str) -> nn.Module:
        """Return a baseline that is not trained."""
        classes = len(self.spec.class_names)
        if self._majority is None:
            self._majority = majority_class(self.data.training, classes)
        network = None if name == MAJORITY else load_image_network(self.image_file)[0]
        return Projection(None if network is None else network.to(self.device), classes,
                          self._majority)  # fmt: skip

    def _student(self, seed: int) -> Network:
        network, size = parse_network("student", self.settings.student or PAIRS["tiny"][1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2 * seed + 1)
            spec = NetworkSpec(network, size, len(self.spec.class_names), IN_CHANNELS)
            return build_network(spec).to(self.device)

    def _train(self, run: Run, variant: Variant) -> tuple[Network, nn.Module | None, int, float]:
        """Return a trained student, what predicts with images, its steps and their seconds."""
        config = self.settings.run_config(self.work, self.device, run.seed)
        cls = method_class(variant.method)
        default = preset(self.settings.dataset, "tiny", variant.method).options
        options = from_json(dict(variant.options), default)
        student = self._student(run.seed)
        artifacts = {"artifacts": self.image_file} if cls.needs_image_network else {}
        method = cls(options, student, None, **artifacts)
        if isinstance(method, CameraMethod):
            self._kept.serve(method.image_network.to(self.device))
        share = GRIDS[run.grid].label_share
        source = self.data.training if share in (0, 1) else SomeLabeled(self.data.training, share)
        frames = training_frames(
            config,
            source,
            student.coarsest_cell_voxels,
            seed=2 * run.seed + 1,
            fields=cls.batch_fields,
            labels=cls.needs_labels,
        )
        batches = FrameBatches(frames, config)
        steps = batches.ends(config.optim.student_epochs)[-1]
        folder = self.work / f"{run.grid}-{run.variant}-{run.seed}"
        make_folder(folder, "--work")
        log = _Seconds()
        torch.manual_seed(run.seed)
        fit(
            TrainTask(
                "student", student, method.to(self.device), None, config.optim.student_epochs
            ),
            batches,
            config,
            self.device,
            log,  # type: ignore[arg-type]
            folder / "checkpoint.pt",
        )
        shutil.rmtree(folder, ignore_errors=True)
        method.eval()
        student.eval()
        return student, method.with_images(student), steps, log.seconds

    def _score(self, model: nn.Module, fields: Collection[str]) -> dict[str, Any]:
        config = self.settings.run_config(self.work, self.device)
        frames = EvaluationFrames(
            self.data.validation,
            config.data.grid_size_m,
            clip_range_m=config.data.clip_range_m,
            fields=fields,
        )
        names, rule = self.spec.class_names, self.spec.benchmark_rule
        return evaluate(model, frames, names, rule, self.device, title="evaluation")

    def _outcome(
        self, variant: Variant, found: Mapping[str, Any], steps: int, seconds: float
    ) -> Outcome:
        return Outcome(
            teacher=self.image_hash,
            options={"method": variant.method, **variant.options},
            steps=steps,
            seconds=seconds,
            scores={"miou": found["miou"]},
            scenes={frame: {"miou": miou} for frame, miou in found["by_frame"].items()},
        )


class _Seconds:
    """Takes what would go to a log, and adds up the time of the steps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def step(self, stage: str, step: int, record: Mapping[str, Any]) -> None:
        del stage, step
        self.seconds += record["seconds"]
