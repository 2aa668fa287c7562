"""What the Python parts of `gpu_check.sh` share: options, a record written case by case, inputs.

Each part also runs with `--device cpu --small`, at sizes of seconds: so it is known to run before a
GPU is at hand.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.frames import REAL_RAYS, simulated
from train.core import provenance
from train.core.atomic_write import atomic_write
from train.data.batch import Batch, collate
from train.data.transforms import crop, voxelize
from train.evaluation.network_pass import TTATransform

FAILED, NO_DEVICE, STOPPED = 1, 3, 130  # exit codes; 2 is argparse's own

_DIFFERENT_FRAMES = 3  # the others are these, turned


@dataclass
class Part:
    """A part that runs: where, how large, and what it has found so far."""

    name: str
    device: torch.device
    small: bool
    out: Path
    cases: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> list[str]:
        """Names of the cases whose check failed or that ended in an error."""
        return [case["case"] for case in self.cases if case["state"] not in ("measured", "passed")]

    def keep(self, case: str, state: str = "measured", **found: Any) -> None:
        """Add a case to the record, and write the record."""
        self.cases.append({"case": case, "state": state, **found})
        print(f"{self.name}: {case}: {state} {_short(found)}", flush=True)
        self.write(finished=False)

    def check(self, case: str, passed: bool, **found: Any) -> None:
        """Add a case that passes or fails."""
        self.keep(case, "passed" if passed else "failed", **found)

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """Keep an error as the case's result, and go on with the next one."""
        try:
            yield
        except Exception as error:  # of any kind: a record says it, the exit code too
            traceback.print_exc()
            self.keep(name, "error", error=f"{type(error).__name__}: {error}"[:2000])

    def write(self, *, finished: bool) -> None:
        """Write all that is there."""
        on_gpu = self.device.type == "cuda"
        content = {
            "part": self.name,
            "finished": finished,
            "seconds": time.monotonic() - self.began,
            "device": torch.cuda.get_device_name(self.device) if on_gpu else "cpu",
            "small": self.small,
            **provenance.commit(),
            "versions": provenance.versions() | {"numba-cuda": provenance.version("numba-cuda")},
            "cases": self.cases,
        }
        with atomic_write(self.out / f"{self.name}.json") as unfinished:
            unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], Any], repeats: int) -> list[float]:
        """Return the seconds of each call after one that warms up."""
        call()
        taken = []
        for _ in range(repeats):
            self.synchronize()
            begin = time.perf_counter()
            call()
            self.synchronize()
            taken.append(time.perf_counter() - begin)
        return taken


def _short(found: dict[str, Any]) -> str:
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in found.items()
        if isinstance(value, float | int | str)
    )


def run_part(
    name: str,
    body: Callable[[Part], None],
    description: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a part's body; return 0, 1 if a case failed, 3 without a device, 130 if stopped."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the record")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="[cuda]")
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"{name}: torch sees no CUDA device; nothing was run", file=sys.stderr)
        return NO_DEVICE
    options.out.mkdir(parents=True, exist_ok=True)
    part = Part(name, torch.device(options.device), options.small, options.out)
    try:
        body(part)
    except KeyboardInterrupt:
        part.write(finished=False)
        print(f"{name}: stopped; the record has {len(part.cases)} cases", file=sys.stderr)
        return STOPPED
    part.write(finished=True)
    print(f"{name}: {len(part.cases)} cases, failed: {', '.join(part.failed) or 'none'}")
    return FAILED if part.failed else 0


def frames(part: Part, num_frames: int, num_voxels: int) -> Batch:
    """Return a collated batch of simulated frames, each cropped to `num_voxels`, on the host.

    A few different frames, turned by quarters for the rest, with labels.
    """
    rays = 64 * 150 if part.small else REAL_RAYS["semantickitti"]
    different = min(num_frames, _DIFFERENT_FRAMES)
    rng = np.random.default_rng(0)
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        source = simulated("semantickitti", rays, different, Path(folder)).source
        for number in range(num_frames):
            view = TTATransform(quarter_turns=number // different % 4)
            frame = view.of(source[number % different])
            samples.append(crop(voxelize(frame, 0.2 if part.small else 0.05), num_voxels, rng))
    return collate(samples)


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return what a training step reads of a batch, on the device."""
    raw = ("inverse", "raw_offset", "raw_segment")
    kept = {name: value for name, value in batch.items() if name not in raw}
    return replace(batch, tensors=kept).to(device)


def error_of(got: Tensor, want: Tensor, floor: float = 0.0) -> float:
    """Return ||got - want|| / max(||want||, floor), in float64 on the host."""
    got, want = got.detach().double().cpu(), want.detach().double().cpu()
    return float((got - want).norm() / max(float(want.norm()), floor, 1e-300))
