"""The command that finds out which loss pays, and by how much, with intervals.

python -m train.ablate --dataset waymo --simulate --grid main --seeds 5
"""

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from tyro.conf import arg

from train.ablation.grids import TEACHER, Grid, built_in, find_grid
from train.ablation.launch import launch
from train.ablation.page import GridPlan, write_page
from train.ablation.records import (
    RECORDS_NAME,
    SUFFIX,
    Records,
    RunRecord,
    read_records,
    refuse_single_files,
)
from train.ablation.runner import Ablation, Runner
from train.ablation.statistics import KNOWN_IOU, KNOWN_MIOU, WITHOUT, SceneBootstrap
from train.config import RunConfig
from train.core.command import Command, several
from train.core.console import logger
from train.core.distributed import current_world, process_device
from train.core.errors import UserError
from train.core.provenance import program
from train.data.dataset_spec import dataset_spec
from train.engine.command_line import parse
from train.evaluation.structure import StructureCounts, thin_classes
from train.networks.pretrained import pretrained_path, read_card
from train.networks.registry import PAIRS
from train.networks.weights import shipped_file

SIMULATED: Final = {
    "--data.simulated-frames": "160",
    "--data.simulated-validation-frames": "80",
    "--data.max-voxels": "5000",
    "--optim.student-epochs": "3",
}
"""Flags of the run, unless they are given, for the tiny pair on simulated frames."""

SIMULATED_KEEP: Final = 96
SIMULATED_SCORE_EVERY: Final = 2

EPILOG: Final = """\
Further flags are those of the run that all variants share, as topodistill run --help lists them:
--data.max-voxels, --optim.student-epochs, --teacher-checkpoint and so on; the method is that of
the variant.

examples:
  topodistill ablate --dataset waymo --simulate --grid main --seeds 5
  topodistill ablate --dataset semantickitti --data-root DIR --teacher-checkpoint teacher.pt \\
      --grid mine.toml --seeds 3
  topodistill ablate --dataset waymo --data-root DIR --launcher slurm --workers 8 \\
      --slurm timeout_min=600 gpus_per_node=1 slurm_partition=gpu
  topodistill ablate --page-only --output runs/ablation --records elsewhere/records.jsonl.gz

Each run is kept in OUTPUT/records.jsonl.gz as soon as it ends. Stopped at any moment, the same
command goes on with the runs that are missing. --launcher runs several seeds at once, here or as
Slurm jobs. Records of other machines add up: run other seeds there (--first-seed), and give their
files to --records.

A grid of one's own is a TOML file:
  title = "Is twice the weight better?"
  [variants.kd]
  method = "kd"
  [variants.twice]
  method = "kd"
  distillation = 2.0
  [[comparisons]]
  variant = "twice"
  baseline = "kd"
  primary = true
"""


Files = Annotated[tuple[Path, ...], several(Path, "FILE")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is compared, how often, and where it goes; flags of the run follow."""

    grid: Annotated[
        str,
        arg(metavar="NAME", help=f"{', '.join(built_in())}, or a file NAME.toml"),
    ] = "main"
    seeds: Annotated[int, arg(metavar="K")] = 5
    """how many seeds"""
    first_seed: Annotated[int, arg(metavar="S")] = 0
    """seeds S to S + K - 1"""
    output: Annotated[Path, arg(metavar="DIR")] = Path("runs/ablation")
    """folder"""
    teacher_checkpoint: Files = ()
    """trained teachers; seed s learns from number s modulo how many there are [the one that comes
    with the package where it fits, else one that is trained first]"""
    keep: Annotated[
        int | None,
        arg(
            metavar="N",
            help="keep the teacher's outputs for N batches a seed on disk, which every pass goes "
            "through; 0 asks the teacher in every step "
            f"[{SIMULATED_KEEP} with the tiny pair, else 0]",
        ),
    ] = None
    score_every: Annotated[
        int | None,
        arg(
            metavar="N",
            help=f"score each N-th frame [{SIMULATED_SCORE_EVERY} with the tiny pair and "
            "--simulate, else 1]",
        ),
    ] = None
    records: Annotated[
        Files,
        arg(help=f"further files of records (*{SUFFIX}), of other machines, for the page"),
    ] = ()
    page: Annotated[Path | None, arg(metavar="PATH")] = None
    """write PATH.md, PATH.json and PATH.png [OUTPUT/ablation]"""
    page_only: bool = False
    """run nothing; write the page from the records"""
    launcher: Literal["local", "slurm"] | None = None
    """one process a seed: on this machine, or as Slurm jobs (needs submitit) [all in this one]"""
    workers: Annotated[int, arg(metavar="K")] = 2
    """of a launcher: how many seeds run at once"""
    slurm: Annotated[tuple[str, ...], several(str, "NAME=VALUE")] = ()
    """of the jobs, as submitit calls it: timeout_min=600 gpus_per_node=1 slurm_partition=gpu"""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        for name, least in (
            ("seeds", 1),
            ("score_every", 1),
            ("workers", 1),
            ("first_seed", 0),
            ("keep", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name.replace('_', '-')} {value}: at least {least}")


def _run(options: Options, rest: Sequence[str]) -> None:
    name, grid = find_grid(options.grid)
    page = options.page or options.output / "ablation"
    own = options.output / RECORDS_NAME
    files = [*([own] if own.is_file() or not options.page_only else []), *options.records]

    def write(records: Records) -> None:
        _write_page(page, records, files, name, grid)

    if options.page_only:
        if rest:
            raise UserError(f"--page-only reads records alone; leave out {' '.join(rest)}")
        if not files:
            refuse_single_files(own)
            raise UserError("--page-only: no records; give --output or --records of an ablation")
        write(read_records(files))
        return
    if current_world().size > 1:
        raise UserError(
            "an ablation runs on one process; start it once per GPU, with other seeds "
            "(--first-seed) and another --output each, and add up with --records"
        )
    run = _shared_run(rest)
    tiny = run.model == "tiny"
    keep, score_every = options.keep, options.score_every
    ablation = Ablation(
        run=run,
        grid_name=name,
        grid=grid,
        seeds=tuple(range(options.first_seed, options.first_seed + options.seeds)),
        teachers=tuple(map(shipped_file, options.teacher_checkpoint))
        or (_own_teacher(options.output, run, rest),),
        output=options.output,
        keep=keep if keep is not None else SIMULATED_KEEP * tiny,
        score_every=score_every or (SIMULATED_SCORE_EVERY if tiny and run.simulate else 1),
    )
    device = process_device(run.device)
    if options.launcher is None:
        Runner(ablation, device, write, options.records).start()
        return
    # What all seeds need is checked, made and scored once, here.
    runner = Runner(dataclasses.replace(ablation, seeds=()), device, write, options.records)
    runner.start()
    done = runner.study.done()
    missing = {
        run.seed
        for run in ablation.runs()
        if run.variant != TEACHER and (run.grid, run.variant, run.seed) not in done
    }
    commands = {seed: _one_seed(options.grid, ablation, seed, rest) for seed in sorted(missing)}
    try:
        launch(
            options.launcher,
            commands,
            options.output,
            options.workers,
            _slurm_parameters(options.slurm),
        )
    finally:
        write(read_records(files))


def _one_seed(grid: str, ablation: Ablation, seed: int, rest: Sequence[str]) -> list[str]:
    """Return the words of the command line that runs one seed into the same folder."""
    return [
        *("--grid", grid, "--seeds", "1", "--first-seed", str(seed)),
        *("--output", str(ablation.output), "--keep", str(ablation.keep)),
        *("--score-every", str(ablation.score_every)),
        *("--teacher-checkpoint", *map(str, ablation.teachers)),
        *rest,
    ]


def _slurm_parameters(given: Sequence[str]) -> dict[str, int | str]:
    """Return the parameters of --slurm by name; numbers as numbers."""
    found: dict[str, int | str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise UserError(f"--slurm {word}: give NAME=VALUE, as in timeout_min=600")
        found[name] = int(value) if value.isascii() and value.isdigit() else value
    return found


COMMAND = Command(
    "topodistill ablate",
    Options,
    _run,
    "Train the same student by several losses, paired by seed, and compare them.",
    EPILOG,
    stopped="the same command goes on with the missing runs",
    passes_on=True,
)
main = COMMAND.main


def _write_page(page: Path, records: Records, files: Sequence[Path], name: str, grid: Grid) -> None:
    """Write what the records of some files say, of all grids that they have runs of."""
    plans = []
    for known, each in (built_in() | {name: grid}).items():
        seeds = {run.seed for run in records.runs if run.grid == known and run.role == "student"}
        if seeds or known == name:
            plans.append(GridPlan(known, each, tuple(sorted(seeds))))
    datasets = {str(run.setup_settings.get("dataset")): run.setup_settings for run in records.runs}
    if len(datasets) > 1:
        raise UserError(
            f"--records: runs on {' and '.join(sorted(datasets))}; a page is about one dataset"
        )
    bootstrap = _bootstrap(records, *datasets.popitem()) if datasets else None
    if bootstrap is not None:
        runs = (
            dataclasses.replace(run, scores={**bootstrap.of_all_scenes(run), **run.scores})
            for run in records.runs
        )
        records = dataclasses.replace(records, runs=tuple(runs))
    write_page(page, records, plans, bootstrap, command=_page_command(page, files))
    logger.info(f"page: {page.with_suffix('.md')}")


def _page_command(page: Path, files: Sequence[Path]) -> str:
    """Return the command that writes the page again, with files as seen from the current one."""

    def shown(path: Path) -> str:
        resolved = path.resolve()
        return (
            str(resolved.relative_to(Path.cwd()))
            if resolved.is_relative_to(Path.cwd())
            else (resolved.name)
        )

    records = " ".join(shown(file) for file in files)
    return f"{program('train.ablate')} --page-only --records {records} --page {shown(page)}"


def _bootstrap(records: Records, dataset: str, settings: Mapping[str, Any]) -> SceneBootstrap:
    """Return the drawing of scenes, whose counts become scores by the benchmark's rule."""
    spec = dataset_spec(dataset, settings.get("data"))
    thin = {"thin_iou": thin_classes(dataset, spec.class_names)}
    groups: dict[tuple[str, str], dict[str, Sequence[str]]] = {}
    for run in records.runs:
        if run.role == "teacher":
            counts = [StructureCounts.from_json(scene) for scene in run.scenes.values()]
            found = functools.reduce(operator.add, counts).iou(spec.benchmark_rule)
            ious = zip(spec.class_names, found, strict=True)
            known = [name for name, iou in ious if iou is not None and iou >= KNOWN_IOU]
            without = {
                f"{WITHOUT}{name}": [each for each in known if each != name]
                for name in known
                if len(known) > 1
            }
            groups[run.setup, run.teacher] = {KNOWN_MIOU: known, **without} if known else {}

    def score(counts: StructureCounts, run: RunRecord) -> Mapping[str, float | None]:
        own = groups.get((run.setup, run.teacher), {})
        return counts.scores(spec.class_names, spec.benchmark_rule, {**thin, **own})

    return SceneBootstrap(StructureCounts.from_json, score)


def _shared_run(rest: Sequence[str]) -> RunConfig:
    """Return what all variants share; the method is each variant's own."""
    words = {word.split("=")[0] for word in rest}
    for flag, instead in (
        ("--method", "the variants of --grid say it"),
        ("--seed", "give --seeds and --first-seed"),
        ("--resume", "a command that is given again goes on by itself"),
        ("--stage", "all variants train a student"),
        ("--submit", "an ablation submits nothing"),
    ):
        if flag in words:
            raise UserError(f"{flag}: not here; {instead}")
    if method := next((word for word in words if word.startswith("--method.")), None):
        raise UserError(f"{method}: not here; give the options of a variant in a file for --grid")
    run = parse([*_defaults(rest), *rest])
    if run.log_gradient_norms_every == 0:
        run = dataclasses.replace(run, log_gradient_norms_every=50)
    return run


def _defaults(rest: Sequence[str]) -> list[str]:
    """Return what an ablation of the tiny pair on simulated frames has for other defaults.

    More scenes than a run has, since an interval is also over scenes, and shorter runs, since
    there are many.
    """
    run = parse(rest)
    if not (run.simulate and run.model == "tiny"):
        return []
    given = {word.split("=")[0].replace("_", "-") for word in rest}
    return [
        each for flag, value in SIMULATED.items() if flag not in given for each in (flag, value)
    ]


def _own_teacher(output: Path, run: RunConfig, rest: Sequence[str]) -> Path:
    """Return the teacher that comes with the package, or this folder's, trained if need be."""
    name = run.teacher or PAIRS[run.model][0]
    shipped = pretrained_path(run.dataset, name, simulated=run.simulate)
    if shipped is not None and not run.from_scratch:
        card = read_card(shipped).metadata
        if (card.grid_size_m, card.clip_range_m) == (run.data.grid_size_m, run.data.clip_range_m):
            logger.info("teacher: the one that comes with the package")
            return shipped
    folder = output / "teacher"
    teacher = folder / "teacher.pt"
    if not teacher.is_file():
        from train.engine.stages import run as train
        from train.report.write import write_run_report

        logger.info(f"no --teacher-checkpoint: training a teacher in {folder}")
        own = ["--output", str(folder), "--stage", "teacher"]
        resume = ["--resume"] if (folder / "config.json").is_file() else []
        train(parse([*_defaults(rest), *rest, *own, *resume]), write_run_report)
    return teacher
