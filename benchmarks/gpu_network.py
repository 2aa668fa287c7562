"""Part `network` of gpu_check.sh: PTv3 on the GPU against the CPU, in values and every gradient.

python -m benchmarks.gpu_network --out DIR
"""

import dataclasses
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_parts import Part, error_of, frames, moved, run_part
from train.data.batch import Batch
from train.data.frame import IGNORE_INDEX
from train.evaluation.network_pass import arithmetic
from train.networks.ptv3 import Hierarchy, Segmentor, build_hierarchy, build_segmentor

NUM_CLASSES = 19

LOGITS_FLOAT32, GRADIENT_FLOAT32 = 1e-4, 2e-3
BFLOAT16_MARGIN = 1.5
"""How many times the CPU's error the GPU's may be: both round products to 8 bits, in other orders.
The tiny pair's own error on a CPU is 1.1e-2 and 1.4e-2, so that no fixed 1e-2 would do."""


def body(part: Part) -> None:
    """Compare geometry, then each network."""
    sizes = ("tiny-student", "tiny-teacher") if part.small else ("student", "teacher")
    batch = frames(part, 2, 300 if part.small else 8000)
    on_cpu, on_device = (moved(batch, torch.device(kind)) for kind in ("cpu", part.device))
    with part.case("geometry"):
        compare_geometry(part, on_cpu, on_device)
    for size in sizes:
        with part.case(size):
            compare_network(part, size, on_cpu, on_device)


def geometry(batch: Batch) -> Hierarchy:
    """Return the hierarchy of a batch; its curves are shuffled by one generator on the CPU."""
    return build_hierarchy(batch, shuffle_orders=True, generator=torch.Generator().manual_seed(0))


def compare_geometry(part: Part, on_cpu: Batch, on_device: Batch) -> None:
    """Compare curves, pooling, neighbor and patch tables: whole numbers, all equal."""
    cpu, device = geometry(on_cpu), geometry(on_device)
    for stage, (want, got) in enumerate(zip(cpu.levels, device.levels, strict=True)):
        same = {
            one.name: _same(getattr(got, one.name), getattr(want, one.name))
            for one in dataclasses.fields(want)
            if one.name != "coord"
        }
        same |= {
            f"neighbors of {side}": _same(
                device.table(stage, side).rows, cpu.table(stage, side).rows
            )
            for side in ((5, 3) if stage == 0 else (3,))
        }
        patches = [each.patches(stage, 0, 1024) for each in (device, cpu)]
        same["slots"] = _same(patches[0].slots, patches[1].slots)
        wrong = [name for name, value in same.items() if not value]
        part.check(
            f"geometry of stage {stage}",
            not wrong and error_of(got.coord, want.coord) < 1e-6,
            voxels=want.num_voxels,
            differ=", ".join(wrong),
        )


def _same(got: Any, want: Any) -> bool:
    return torch.equal(got.cpu(), want) if isinstance(want, Tensor) else bool(got == want)


def compare_network(part: Part, size: str, on_cpu: Batch, on_device: Batch) -> None:
    """Compare logits and the gradient of every parameter, and count what is not repeated."""
    torch.manual_seed(0)
    model = build_segmentor(size, NUM_CLASSES, drop_path=0.0).train()
    want, want_grads = one_pass(model, on_cpu, "fp32")
    of_cpu = error_of(one_pass(model, on_cpu, "bf16")[0], want)
    model.to(part.device)
    got, got_grads = one_pass(model, on_device, "fp32")
    logits = error_of(got, want)
    part.check(f"{size}: float32 logits", logits < LOGITS_FLOAT32, error=logits)
    # Biases before a batch normalization have the gradient 0, and rounding in its place.
    total = torch.stack([grad.double().norm() for grad in want_grads.values()]).norm()
    errors = {
        name: error_of(got_grads[name], grad, floor=1e-3 * float(total))
        for name, grad in want_grads.items()
    }
    worst = sorted(errors, key=lambda name: -errors[name])[:5]
    part.check(
        f"{size}: float32 gradients",
        errors[worst[0]] < GRADIENT_FLOAT32,
        error=errors[worst[0]],
        worst={name: errors[name] for name in worst},
        parameters=len(errors),
    )
    half, half_grads = one_pass(model, on_device, "bf16")
    # Of all logits together: a single one near 0 may be off by more.
    logits = error_of(half, want)
    part.check(
        f"{size}: bfloat16 logits",
        logits < BFLOAT16_MARGIN * of_cpu,
        error=logits,
        error_of_cpu=of_cpu,
    )
    gradient = {name: error_of(half_grads[name], g) for name, g in want_grads.items()}
    part.keep(
        f"{size}: bfloat16 gradients", median_error=sorted(gradient.values())[len(errors) // 2]
    )
    for precision, first in (("fp32", got_grads), ("bf16", half_grads)):
        again = one_pass(model, on_device, precision)[1]
        differ = [name for name, grad in again.items() if not torch.equal(grad, first[name])]
        part.keep(f"{size}: {precision} gradients twice", other_bits=len(differ), names=differ[:8])


def one_pass(model: Segmentor, batch: Batch, precision: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits and gradients of the cross-entropy, in training mode."""
    model.zero_grad()
    hierarchy = geometry(batch)
    with arithmetic(batch["feat"].device, precision):
        logits = model(batch, hierarchy).logits
    loss = torch.nn.functional.cross_entropy(
        logits.float(), batch["segment"], ignore_index=IGNORE_INDEX
    )
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return logits.detach(), gradients


main = partial(run_part, "gpu_network", body, __doc__ or "")

if __name__ == "__main__":
    sys.exit(main())
