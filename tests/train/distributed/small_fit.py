"""A small training through the real loop: ragged clouds, what it logged, what it ended with."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.train.conftest import NUM_CLASSES
from train.config import DataConfig, MethodConfig, OptimConfig, RunConfig
from train.core.distributed import is_first_process
from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.frame import LidarFrame
from train.data.loader import TrainingFrames
from train.data.voxel_counts import measure_voxels
from train.engine.loop import FrameBatches, fit
from train.engine.train_step import TrainTask
from train.methods.registry import method_class
from train.networks.batch_norm import synchronize_batch_norm
from train.networks.protocol import Network, NetworkOutput, NetworkSpec
from train.networks.ptv3 import Segmentor, build_segmentor

GRID_SIZE_M = 0.2
CPU = torch.device("cpu")


class Rooms:
    """Rooms with about 200 to 1,100 points each; those in `bad` cannot be read.

    A share of the labels is missing, another one in each room; one room has none at all.
    """

    names = tuple(f"room/{index}" for index in range(9))
    skipped_unlabeled = 0
    unreadable: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> LidarFrame:
        path = Path(f"{index}.bin")
        if index in self.bad:
            raise UserError(f"{path}: is damaged")
        rng = np.random.default_rng([7, index])
        floor, wall, ball = 90 + 12 * index**2, 60 + 15 * index, 40 + 20 * (index % 3)
        direction = rng.normal(size=(ball, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        coord = np.concatenate(
            [
                np.c_[rng.uniform(-4, 4, (floor, 2)), rng.normal(0, 0.02, floor)],
                np.c_[rng.uniform(-4, 4, wall), np.full(wall, 4.0), rng.uniform(0, 2, wall)],
                0.7 * direction + [1.0, -1.0, 0.8],
            ]
        ).astype(np.float32)
        segment = np.repeat([0, 1, 2], [floor, wall, ball]).astype(np.int64)
        segment[rng.random(len(segment)) < (0.05 + 0.1 * index if index != 4 else 1.1)] = -1
        strength = rng.uniform(0, 1, (len(coord), 1)).astype(np.float32)
        return LidarFrame(coord, strength, segment, self.names[index], path)

    def files(self, index: int) -> tuple[Path, ...]:
        return (Path(f"{index}.bin"),)


class PerPoint(Network):
    """An MLP on single points, without batch norm: a process may have no cloud at all."""

    decoder_stages = ("points",)
    stage_channels = {"points": 8}  # noqa: RUF012

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.num_classes, self.in_channels = num_classes, 4
        self.hidden = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 8), nn.GELU())
        self.head = nn.Linear(8, num_classes)

    def forward(self, batch, geometry=None, *, stage_hook=None):
        features = self.hidden(batch["feat"].to(self.head.weight.dtype))
        if stage_hook is not None:
            features = stage_hook("points", features)
        return NetworkOutput(self.head(features), {"points": features}, {"points": batch["offset"]})

    def spec(self):
        return NetworkSpec("per-point", "only", self.num_classes, 4)


class DoubleSegmentor(Segmentor):
    """A PTv3 that computes in float64 on batches of float32."""

    def forward(self, batch, geometry=None, *, stage_hook=None):
        double = {name: batch[name].double() for name in ("feat", "coord")}
        return super().forward({**batch, **double}, geometry, stage_hook=stage_hook)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What to train and how; plain values, so that it can be sent to processes."""

    network: str = "ptv3"
    double: bool = True
    method: str = "topology-gradient"
    options: dict[str, Any] = dataclasses.field(default_factory=lambda: {"num_samples": 48})
    epochs: int = 7
    batch_size: int = 3
    max_batch_voxels: int = 0
    accumulate: int = 1
    lr: float = 2e-3
    bad: tuple[int, ...] = ()
    num_workers: int = 0
    norms_every: int = 0
    synchronized: bool = True


@dataclasses.dataclass(frozen=True)
class Trained:
    """Of one process: its log (the first's alone), its network, and what it saw."""

    records: list[dict[str, Any]]
    weights: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]
    joint_batches: list[list[list[int]]]
    skipped: dict[str, str]
    cropped: int


class Records(list):
    """Takes what would go to a log."""

    def step(self, stage, step, record):
        self.append({"stage": stage, "step": step, **record})


def build(role: str, wanted: Fit) -> Network:
    """Return one of the pair, with the same weights every time."""
    torch.manual_seed(3 + (role == "student"))
    if wanted.network == "per-point":
        network: Network = PerPoint()
    else:
        network = build_segmentor(
            f"tiny-{role}",
            NUM_CLASSES,
            enc_depths=(1, 1, 1),
            enc_channels=(16, 32, 32) if role == "teacher" else (16, 16, 32),
            enc_heads=(2, 2, 2),
            dec_depths=(1, 1),
            dec_channels=(32, 32),
            dec_heads=(2, 2),
            patch_size=64,
            drop_path=0.0,
            shuffle_orders="never",
        )
    if wanted.double:
        network = network.double()
        if wanted.network == "ptv3":
            network.__class__ = DoubleSegmentor
    if wanted.synchronized:
        synchronize_batch_norm(network)
    return network


def trained(wanted: Fit) -> Trained:
    """Train on this process's share; call it on all processes of a group, or on a lone one."""
    config = RunConfig(
        dataset="rooms",
        seed=18,
        log_gradient_norms_every=wanted.norms_every,
        on_bad_frame="skip" if wanted.bad else "stop",
        data=DataConfig(
            batch_size=wanted.batch_size,
            max_batch_voxels=wanted.max_batch_voxels,
            num_workers=wanted.num_workers,
        ),
        optim=OptimConfig(
            lr=wanted.lr, block_lr=wanted.lr, warmup_fraction=0.3, accumulate=wanted.accumulate
        ),
    )
    source = Rooms(wanted.bad)
    student = build("student", wanted)
    method_type = method_class(wanted.method)
    teacher = None
    if method_type.needs_teacher:
        teacher = build("teacher", wanted).eval().requires_grad_(False)
    options: MethodConfig = method_type.Config(**wanted.options)
    frames = TrainingFrames(
        source,
        grid_size_m=GRID_SIZE_M,
        max_batch_voxels=wanted.max_batch_voxels or None,
        counts=measure_voxels(source, GRID_SIZE_M, on_bad_frame=config.on_bad_frame)
        if wanted.max_batch_voxels
        else None,
        on_bad_frame=config.on_bad_frame,
        seed=11,
        coarsest_cell_voxels=student.coarsest_cell_voxels,
    )
    batches = FrameBatches(frames, config)
    records, skipped = Records(), SkippedFrames()
    with tempfile.TemporaryDirectory() as folder:
        fit(
            TrainTask(
                "student", student, method_type(options, student, teacher), teacher, wanted.epochs
            ),
            batches,
            config,
            CPU,
            records if is_first_process() else None,
            Path(folder) / "state.pt",
            skipped=skipped,
        )
    skipped.share()
    return Trained(
        records=list(records),
        weights={name: value.detach().clone() for name, value in student.named_parameters()},
        gradients={
            name: value.grad.clone()
            for name, value in student.named_parameters()
            if value.grad is not None
        },
        buffers={name: value.clone() for name, value in student.named_buffers()},
        joint_batches=[
            batch for epoch in range(wanted.epochs) for batch in batches.order.joint_batches(epoch)
        ],
        skipped=skipped.messages,
        cropped=sum(record.get("cropped_voxels", 0) for record in records),
    )
