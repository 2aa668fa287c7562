"""What the figures of trained networks look at: networks by role, frames, and their predictions.

Shape letters: N points of a frame, V voxels, C channels.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.console import Progress
from train.core.errors import UserError
from train.data.batch import collate
from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import IGNORE_INDEX, FrameSource
from train.data.loader import EvaluationFrames
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata, load_model
from train.report.write import validation_frames

TEACHER: Final = "teacher"
STUDENT: Final = "student"
ALONE: Final = "student alone"
ROLES: Final = (TEACHER, STUDENT, ALONE)
"""The teacher, the student that was distilled, and the same student from labels alone."""

TITLES: Final = {TEACHER: "teacher", STUDENT: "student, distilled", ALONE: "student alone"}
"""What pictures call them."""

FILES: Final = {TEACHER: "teacher.pt", STUDENT: "student.pt", ALONE: "baseline.pt"}
"""What a run calls them."""

FLAGS: Final = {TEACHER: "--teacher-checkpoint", STUDENT: "--student", ALONE: "--baseline"}


@dataclass(frozen=True)
class Trained:
    """Networks by role and the frames to show them on.

    Attributes
    ----------
    spec
        The dataset.
    frames
        Whole validation frames, as all the networks get them.
    networks
        By role, those that are there, in the order of `ROLES`.
    files
        By role, twelve hexadecimal digits of the file's SHA-256.
    """

    spec: DatasetSpec
    frames: EvaluationFrames
    networks: Mapping[str, Network]
    files: Mapping[str, str]

    def described(self) -> dict[str, Any]:
        """Return what a record has to say of them."""
        return {
            "dataset": self.spec.name,
            "networks": {
                role: {
                    "file": self.files[role],
                    "parameters": sum(p.numel() for p in network.parameters()),
                }
                for role, network in self.networks.items()
            },
        }


@dataclass(frozen=True)
class Shown:
    """A frame and what the networks make of it.

    Attributes
    ----------
    name
        The frame's.
    coord
        (N, 3) float32 meters.
    truth
        (N,) int64 train ids, `IGNORE_INDEX` where a label does not count.
    predictions
        By role, (N,) int64 train ids.
    voxel_truth
        (V,) int64.
    features
        By role, (V, C) float32 of the last decoder stage.
    """

    name: str
    coord: NDArray[np.float32]
    truth: NDArray[np.int64]
    predictions: Mapping[str, NDArray[np.int64]]
    voxel_truth: NDArray[np.int64]
    features: Mapping[str, torch.Tensor]

    def right(self, role: str) -> float:
        """Return the share of the labeled points whose class is right."""
        labeled = self.truth != IGNORE_INDEX
        return float((self.predictions[role] == self.truth)[labeled].mean())


def checkpoints_of_run(folder: Path) -> dict[str, Path]:
    """Return the networks that a finished run left, by role.

    Raises
    ------
    UserError
        If there is no such folder, or it holds no teacher or no student.
    """
    if not folder.is_dir():
        raise UserError(f"--run {folder}: no such folder; give the --output of a finished run")
    found = {role: folder / name for role, name in FILES.items() if (folder / name).is_file()}
    for role in (TEACHER, STUDENT):
        if role not in found:
            raise UserError(
                f"--run {folder}: no {FILES[role]}; give the --output of a finished run, or the "
                f"file itself with {FLAGS[role]}"
            )
    return found


def open_frames_of_run(
    folder: Path, dataset: str | None, root: Path | None, sequences: Sequence[str]
) -> tuple[DatasetSpec, FrameSource]:
    """Return the dataset and the validation frames of a run.

    Parameters
    ----------
    folder
        The run's.
    dataset, root, sequences
        What the command line says in place of what the run recorded; None and () for nothing.

    Raises
    ------
    UserError
        If the run's configuration cannot be read, is of another dataset, or its data is not there.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        names = ("dataset", "data", "simulate", "data_root")
        recorded, data, _, _ = (config[name] for name in names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--run {folder}: config.json cannot be read ({error}); give the --output of a "
            "finished run"
        ) from error
    if dataset is not None and dataset != recorded:
        raise UserError(f"--dataset {dataset}: the run in {folder} is of {recorded}")
    spec = dataset_spec(recorded, data)
    return spec, validation_frames(spec, config, root, sequences)


def load(
    checkpoints: Mapping[str, Path], spec: DatasetSpec, source: FrameSource, device: torch.device
) -> Trained:
    """Load networks and check that they can be shown side by side.

    Parameters
    ----------
    checkpoints
        By role; at least one.
    spec, source
        What to show them on.
    device
        Where they compute.

    Raises
    ------
    UserError
        If a file is missing or damaged, knows other classes than the dataset, or was trained on
        other voxels than the others.
    """
    networks: dict[str, Network] = {}
    files: dict[str, str] = {}
    first: tuple[Path, ModelMetadata] | None = None
    for role in ROLES:
        if role not in checkpoints:
            continue
        path = checkpoints[role]
        if not path.is_file():
            raise UserError(f"{FLAGS[role]} {path}: no such file; give a checkpoint of train.run")
        network, card = load_model(path)
        if card.class_names != tuple(spec.class_names):
            raise UserError(
                f"{path}: knows the {len(card.class_names)} classes of {card.dataset}, not those "
                f"of {spec.name}"
            )
        first = first or (path, card)
        voxels = (card.grid_size_m, card.clip_range_m)
        if voxels != (first[1].grid_size_m, first[1].clip_range_m):
            raise UserError(
                f"{path}: was trained on voxels of {card.grid_size_m:g} m in {card.clip_range_m}, "
                f"{first[0]} on {first[1].grid_size_m:g} m in {first[1].clip_range_m}; their "
                "features belong to different points"
            )
        networks[role] = network.to(device).eval().requires_grad_(False)
        files[role] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    if first is None:
        raise ValueError("load: no checkpoint is given")
    frames = EvaluationFrames(source, first[1].grid_size_m, clip_range_m=first[1].clip_range_m)
    return Trained(spec, frames, networks, files)


def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` indices below `count`, evenly spread, each in the middle of its part."""
    wanted = min(count, wanted)
    return [(2 * place + 1) * count // (2 * wanted) for place in range(wanted)]


@torch.no_grad()
def look(trained: Trained, indices: Sequence[int], device: torch.device) -> list[Shown]:
    """Return what the networks make of some frames.

    Raises
    ------
    UserError
        If a frame cannot be read, or has no labels.
    """
    found = []
    progress = Progress("looking at frames", len(indices))
    for index in indices:
        frame = trained.frames.source[index]
        if frame.segment is None:
            raise UserError(f"{frame.path}: frame {frame.name} has no labels to show beside")
        batch = collate([trained.frames.voxelized(frame)])
        inverse = batch["inverse"]
        moved = batch.to(device)
        predictions, features = {}, {}
        for role, network in trained.networks.items():
            output = network(moved)
            predictions[role] = output.logits.argmax(dim=1).cpu()[inverse].numpy()
            features[role] = output.features[network.decoder_stages[-1]].float().cpu()
        found.append(
            Shown(
                frame.name,
                frame.coord,
                frame.segment,
                predictions,
                batch["segment"].numpy(),
                features,
            )
        )
        progress.advance({})
    progress.close()
    return found
