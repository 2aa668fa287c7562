"""Part `train` of gpu_check.sh: steps of the paper's pair by part, and a run that is killed.

python -m benchmarks.gpu_train --out DIR
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_parts import Part, frames, moved, run_part
from train.config import OptimConfig, RunConfig
from train.data.batch import Batch
from train.engine.optimizer import make_optimizer
from train.engine.stages import run as train_run
from train.engine.train_step import Stepper, TrainTask
from train.methods.registry import method_class
from train.networks.ptv3 import Segmentor, build_segmentor
from train.networks.ptv3.attention import chosen_kernel
from train.presets import preset
from train.profiling.timing import time_network

NUM_CLASSES = 19
STEPS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the part; see `run_part`. `--child CONFIG` is a run that the part kills."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--child"]:
        train_run(_child_config(json.loads(words[1])))
        return 0
    return run_part("gpu_train", body, __doc__ or "", words)


def body(part: Part) -> None:
    """Do the teacher's steps, the student's, both networks' passes, then kill and resume."""
    num_frames, num_voxels = (2, 300) if part.small else (12, 30_000)
    sizes = ("tiny-teacher", "tiny-student") if part.small else ("teacher", "student")
    batch = frames(part, num_frames, num_voxels)
    torch.manual_seed(0)
    teacher, student = (build_segmentor(size, NUM_CLASSES).to(part.device) for size in sizes)
    with part.case("attention"):
        attention_kernels(part, (teacher, student))
    with part.case("teacher steps"):
        steps(part, "teacher", "none", teacher, None, batch)
    teacher.eval().requires_grad_(False)
    with part.case("student steps"):
        steps(part, "student", "topology-gradient", student, teacher, batch)
    with part.case("passes"):
        passes(part, teacher, student, batch)
    with part.case("kill and resume"):
        kill_and_resume(part)


def attention_kernels(part: Part, networks: tuple[Segmentor, ...]) -> None:
    """Say which of torch's attention kernels full patches of each width take."""
    found = {}
    for network in networks:
        config = network.config
        channels, heads = config.enc_channels[-1], config.enc_heads[-1]
        for dtype in (torch.float32, torch.bfloat16):
            shape = (2, heads, config.patch_size, channels // heads)
            query = torch.zeros(shape, dtype=dtype, device=part.device, requires_grad=True)
            found[f"{network.size} {dtype}"] = chosen_kernel(query, query, query)
    part.keep("attention kernels", **found)


class PartClock:
    """Seconds of named parts of a step, by events of the GPU or by the host's clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[tuple[str, Any, Any]] = []

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Count each call of a method of an object under a label."""
        call: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            begin = self._mark()
            result = call(*arguments, **options)
            self.marks.append((label, begin, self._mark()))
            return result

        setattr(owner, name, timed)

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """Count each step of an optimizer; its method must stay, or its scheduler warns."""
        begin: list[Any] = []

        def after(*_: Any) -> None:
            self.marks.append(("optimizer", begin.pop(), self._mark()))

        optimizer.register_step_pre_hook(lambda *_: begin.append(self._mark()))
        optimizer.register_step_post_hook(after)

    def read(self) -> dict[str, float]:
        """Return the seconds of each label since the last reading; the device must be done."""
        seconds: dict[str, float] = {}
        for label, begin, end in self.marks:
            taken = end - begin if isinstance(begin, float) else begin.elapsed_time(end) / 1e3
            seconds[label] = seconds.get(label, 0.0) + taken
        self.marks.clear()
        return seconds


def steps(
    part: Part, role: str, method: str, network: Segmentor, teacher: Segmentor | None, batch: Batch
) -> None:
    """Time steps by part; count the waits of the host by line; profile two."""
    cls = method_class(method)
    changes: dict[str, Any] = {"num_samples": 64} if part.small and teacher else {}
    options: Any = cls.Config(**changes)
    config = RunConfig(
        dataset="semantickitti", precision="bf16", method=method, options=options,
        optim=OptimConfig(lr=1e-4, block_lr=1e-5),
    )  # fmt: skip
    module = cls(options, network, teacher).to(part.device)
    optimizer, scheduler = make_optimizer(network, module, config.optim, 10 * STEPS)
    task = TrainTask("student", network, module, teacher, 1)
    stepper = Stepper(task, config, part.device, optimizer, scheduler)
    kept = moved(batch, torch.device("cpu"))
    count = [0]

    def step() -> dict[str, Any]:
        count[0] += 1
        return stepper.step(kept, count[0], batch.names)[0]

    clock = PartClock(part.device)
    clock.wrap(stepper.module, "forward", "forward, all")
    clock.wrap(network, "prepare", "hierarchy")
    clock.wrap(network.backbone, "forward", f"{role} forward")
    if teacher is not None:
        clock.wrap(teacher.backbone, "forward", "teacher forward")
        clock.wrap(module, "_geometry_and_targets", "hierarchy, teacher and its saliency")
        clock.wrap(module, "_topology", "topology")
        clock.wrap(module, "_saliency", "saliency")
    clock.watch(optimizer)
    clock.wrap(stepper, "step", "step")
    on_gpu = part.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    all_parts: list[dict[str, float]] = []
    wall, losses = [], []
    for _ in range(2 if part.small else STEPS):
        begin = time.perf_counter()
        losses.append(float(step()["total"]))
        part.synchronize()
        wall.append(time.perf_counter() - begin)
        all_parts.append(clock.read())
    late = all_parts[len(all_parts) // 4 :]  # the first ones compile
    part.check(
        f"{role} steps",
        all(abs(loss) < float("inf") for loss in losses) and losses[-1] < losses[0],
        first_step_s=wall[0],
        median_s=statistics.median(wall[len(wall) // 4 :]),
        by_part={name: statistics.median(each[name] for each in late) for name in late[0]},
        peak_bytes=torch.cuda.max_memory_allocated() if on_gpu else None,
        losses=losses,
    )
    if on_gpu:
        with waits() as found:
            step()
        part.keep(f"{role}: waits of the host", count=sum(found.values()), by_line=dict(found))
    profiled(part, role, step)


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Count what makes the host wait for the GPU, by file and line."""
    found: Counter[str] = Counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for one in caught:
        if "called a synchroniz" in str(one.message):
            found[f"{Path(one.filename).name}:{one.lineno}"] += 1


def profiled(part: Part, role: str, step: Callable[[], Any]) -> None:
    """Write a table of the operators of two steps."""
    activities = [ProfilerActivity.CPU]
    clock = "self_cpu_time_total"
    if part.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        clock = "self_cuda_time_total"
    with profile(activities=activities) as profiler:
        step()
        step()
        part.synchronize()
    table = profiler.key_averages().table(sort_by=clock, row_limit=60, max_name_column_width=70)
    (part.out / f"{part.name}_{role}_profile.txt").write_text(table + "\n", encoding="utf-8")
    part.keep(f"{role}: profile", operators=len(profiler.key_averages()))


def passes(part: Part, teacher: Segmentor, student: Segmentor, batch: Batch) -> None:
    """Time whole passes of both networks in bfloat16; the ratio with and without the hierarchy."""
    on_device = moved(batch, part.device)
    inputs = {name: on_device[name] for name in ("feat", "coord", "grid_coord", "offset")}
    repeats = 2 if part.small else 10
    found = {
        name: time_network(network.eval(), inputs, repeats, "bfloat16")
        for name, network in (("teacher", teacher), ("student", student))
    }
    ratio = {
        what: found["teacher"][what]["p50_s"] / found["student"][what]["p50_s"]
        for what in ("network", "total")
    }
    part.keep(
        "passes",
        ratio_without_hierarchy=ratio["network"],
        ratio_with_hierarchy=ratio["total"],
        seconds=found,
    )


def _child_config(options: dict[str, Any]) -> RunConfig:
    """Return a run of the tiny teacher on simulated frames: a few epochs of a few steps."""
    base = preset("semantickitti", "tiny")
    data = dataclasses.replace(
        base.data,
        simulated_frames=4 if options["small"] else 8,
        simulated_validation_frames=2,
        simulated_azimuth_steps=100,
        max_voxels=1000,
        grid_size_m=0.2,
    )
    return dataclasses.replace(
        base,
        simulate=True,
        precision="bf16",
        device=options["device"],
        data_root=Path(options["root"]),
        output=Path(options["output"]),
        resume=options["resume"],
        data=data,
        checkpoint_minutes=0.001,  # after every step or so
        stage="teacher",
        optim=dataclasses.replace(base.optim, teacher_epochs=2 if options["small"] else 6),
    )


def kill_and_resume(part: Part) -> None:
    """Kill a run with no warning after some steps, go on, and compare with one left alone."""
    with tempfile.TemporaryDirectory() as folder:

        def start(name: str, *, resume: bool = False) -> subprocess.Popen[bytes]:
            options = {
                "device": part.device.type,
                "root": f"{folder}/data",
                "output": f"{folder}/{name}",
                "resume": resume,
                "small": part.small,
            }
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_train", "--child", json.dumps(options)]
            )

        def steps_of(name: str) -> dict[tuple[str, int], float]:
            log = Path(folder) / name / "log.jsonl"
            lines = (
                log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
            )
            records = [json.loads(line) for line in lines if line.endswith("\n")]
            return {
                (record["stage"], record["step"]): record["total"]
                for record in records
                if "total" in record
            }

        whole = start("whole").wait(timeout=240)
        stopped = start("killed")
        try:
            while stopped.poll() is None and len(steps_of("killed")) < (2 if part.small else 10):
                time.sleep(0.02)
        finally:
            stopped.kill()
        killed = stopped.wait()
        resumed = start("killed", resume=True).wait(timeout=240)
        want, got = steps_of("whole"), steps_of("killed")
        gaps = [abs(got[key] - loss) / abs(loss) for key, loss in want.items() if key in got]
        part.check(
            "kill and resume",
            (whole, killed, resumed) == (0, -9, 0) and got.keys() == want.keys(),
            steps=len(want),
            exits=str((whole, killed, resumed)),
            same_bits=got == want,
            largest_relative_gap=max(gaps, default=float("nan")),
        )


if __name__ == "__main__":
    sys.exit(main())
