"""Part `loss` of gpu_check.sh: the topological loss as training calls it, on features of networks.

Features of a network's last stage lie one after the other in space, unlike independent rows.

python -m benchmarks.gpu_loss --out DIR
"""

import statistics
import sys
from functools import partial

import torch
from torch import Tensor

import fast
from benchmarks.gpu_parts import Part, error_of, frames, moved, run_part
from fast.options import DiagramLoss
from train.data.batch import Batch
from train.networks.ptv3 import build_segmentor

REPEATS = 10


def body(part: Part) -> None:
    """Check value and gradient against the CPU on two frames, then time all frames."""
    num_frames, num_voxels = (2, 300) if part.small else (12, 30_000)
    pair = ("tiny-teacher", "tiny-student") if part.small else ("teacher", "student")
    batch = moved(frames(part, num_frames, num_voxels), part.device)
    features, offset = features_of(pair, batch)
    num_samples = 64 if part.small else 1024
    losses: tuple[DiagramLoss, ...] = ("pwcd", "edges")
    for loss in losses:
        with part.case(loss):
            one_loss(part, loss, num_samples, features, offset)


def features_of(pair: tuple[str, str], batch: Batch) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return teacher's and student's features of the last stage, and where each cloud ends."""
    torch.manual_seed(0)
    found = []
    for size in pair:
        model = build_segmentor(size, 19).eval().to(batch["feat"].device)
        with torch.no_grad():
            output = model(batch)
        found.append(output.features["dec0"].float())
        offset = output.offsets["dec0"]
    return (found[0], found[1]), offset


def one_loss(
    part: Part, loss: DiagramLoss, num_samples: int, features: tuple[Tensor, Tensor], offset: Tensor
) -> None:
    """Compare with the CPU, ask whether bits repeat, and time the loss with its statistics."""
    module = fast.TopologicalLoss(num_samples=num_samples, loss=loss)

    def run(teacher: Tensor, student: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        leaf = student.detach().requires_grad_()
        value, _ = module(teacher, leaf, ends, return_stats=True)
        (grad,) = torch.autograd.grad(value, leaf)
        return value.detach(), grad

    end = int(offset[min(1, len(offset) - 1)])
    two = features[0][:end], features[1][:end], offset[offset <= end]
    value, grad = run(*two)
    want_value, want_grad = run(two[0].cpu(), two[1].cpu(), two[2].cpu())
    errors = {"value": error_of(value, want_value), "gradient": error_of(grad, want_grad)}
    # Normalized on the device: two points that are almost equally far may change places there.
    part.check(f"{loss}: two frames", max(errors.values()) < 1e-3, **errors)
    again = run(*two)
    part.check(
        f"{loss}: the same bits twice", torch.equal(again[0], value) and torch.equal(again[1], grad)
    )
    if part.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = part.seconds(lambda: run(*features, offset), 2 if part.small else REPEATS)
    on_gpu = part.device.type == "cuda"
    part.keep(
        f"{loss}: all frames",
        frames=len(offset),
        points=len(features[0]),
        num_samples=num_samples,
        median_s=statistics.median(taken),
        seconds=taken,
        peak_bytes=torch.cuda.max_memory_allocated() if on_gpu else None,
    )


main = partial(run_part, "gpu_loss", body, __doc__ or "")

if __name__ == "__main__":
    sys.exit(main())
