"""Part `ablation` of gpu_check.sh: as many paired runs of the grid "main" as the time allows.

Every run is a record of `train.ablate`'s; `train.ablate --page-only` adds them to others.

python -m benchmarks.gpu_ablation --out DIR
"""

import dataclasses
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.gpu_parts import Part, run_part
from train.ablation.grids import Grid, Variant, built_in
from train.ablation.records import RECORDS_NAME, read_records
from train.ablation.runner import Ablation, Runner
from train.ablation.verdicts import Comparison
from train.core.device import resolve_device
from train.core.interrupts import Interrupted
from train.networks.pretrained import pretrained_path
from train.networks.registry import PAIRS
from train.presets import preset

SEEDS = 5


def body(part: Part) -> None:
    """Run the variants, seed by seed, on simulated Waymo with the teacher that comes along."""
    teacher = pretrained_path("waymo", PAIRS["tiny"][0], simulated=True)
    assert teacher is not None
    run = preset("waymo", "tiny")
    grid = built_in()["main"]
    frames, steps, epochs = (4, 60, 1) if part.small else (160, 600, 3)
    if part.small:
        variants = {name: grid.variants[name] for name in list(grid.variants)[:2]}
        grid = Grid(grid.title, variants, _between(variants))
    with tempfile.TemporaryDirectory() as folder:
        data = dataclasses.replace(
            run.data,
            simulated_frames=frames,
            simulated_validation_frames=max(2, frames // 2),
            simulated_azimuth_steps=steps,
            max_voxels=1000 if part.small else 5000,
        )
        shared = dataclasses.replace(
            run,
            simulate=True,
            data_root=Path(folder) / "data",
            device=part.device.type,
            data=data,
            optim=dataclasses.replace(run.optim, student_epochs=epochs),
            log_gradient_norms_every=50,
        )
        runner = Runner(
            Ablation(
                run=shared,
                grid_name="main",
                grid=grid,
                seeds=tuple(range(1 if part.small else SEEDS)),
                teachers=(teacher,),
                output=part.out / "ablation",
                keep=4 if part.small else 96,
                score_every=2,
            ),
            resolve_device(part.device.type),
        )
        try:
            runner.start()
        except Interrupted as stop:
            raise KeyboardInterrupt from stop
        finally:
            records = part.out / "ablation" / RECORDS_NAME
            runs = read_records([records]).runs if records.is_file() else ()
            part.keep("records", count=len(runs), runs=[str(run) for run in runs])


def _between(variants: dict[str, Variant]) -> tuple[Comparison, ...]:
    """Return the comparisons of a grid that are between these variants."""
    return tuple(
        each
        for each in built_in()["main"].comparisons
        if each.variant in variants and each.baseline in variants
    )


main = partial(run_part, "gpu_ablation", body, __doc__ or "")

if __name__ == "__main__":
    sys.exit(main())
