"""The command that makes the paper's figures and the page of all its tables and figures.

python -m benchmarks.studies figures --run runs/waymo --output docs/results
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

from tyro.conf import arg

from benchmarks.studies.figures import (
    barcode,
    embedding,
    gradient_weighting,
    panels,
    ripser_equality,
    score_over_cost,
)
from benchmarks.studies.figures.embedding import Method
from benchmarks.studies.figures.figure_file import Drawn, disagreement, read_numbers, write_figure
from benchmarks.studies.figures.networks import (
    ALONE,
    FLAGS,
    STUDENT,
    TEACHER,
    Shown,
    Trained,
    checkpoints_of_run,
    load,
    look,
    open_frames_of_run,
    spread,
)
from benchmarks.studies.figures.paper_page import FIGURES, pages, read_ablation
from benchmarks.studies.figures.readme_block import NAME as BLOCK
from benchmarks.studies.figures.readme_block import ablation_block
from benchmarks.studies.study_page import refuse_below, write_page
from train.core.atomic_write import make_folder
from train.core.blocks import with_block
from train.core.command import Command, Device, Names, Paths
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.evaluation.feature_agreement import sampled_rows

PAGE_ONLY: Final = "paper"
"""The name for `--only` that makes the pages and no figure."""

RECORDS: Final = "ablation_records.jsonl.gz"
"""What the file of records is called beside the pages of results."""

EPILOG: Final = f"""\
figures: {", ".join(FIGURES)}; paper: the pages alone.
Without --only: all that can be made of what is given. Figures of earlier calls stay.

examples:
  python -m benchmarks.studies figures
  python -m benchmarks.studies figures --run runs/waymo
  python -m benchmarks.studies figures --only figure5 figure6 --dataset waymo --data-root DIR \\
      --teacher-checkpoint teacher.pt --student student.pt --baseline baseline.pt
  python -m benchmarks.studies figures --only figure1 --records runs/ablation/records.jsonl.gz
  python -m benchmarks.studies figures --check

Tables 6, 8 and 9 and Figures 7 and 8 are measured by pytest benchmarks/ --benchmark and
python -m train.efficiency; Tables 5, 7, 10 and 11 by python -m train.ablate.
"""


Folder = Annotated[Path | None, arg(metavar="DIR")]
File = Annotated[Path | None, arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is asked; the networks, from --run on, are for figures 3 to 6."""

    only: Names = ()
    """make these alone"""
    output: Path = Path("docs/results")
    """folder of figures and pages"""
    check: bool = False
    """write nothing; fail where pages or pictures are not what the records give"""
    readme: File = None
    """also write the main comparison between this file's markers"""
    ablation: File = None
    """the results of train.ablate; without it, OUTPUT/ablation.json"""
    efficiency: Paths = ()
    """what the networks cost, records of train.efficiency for figure1; without it,
    OUTPUT/efficiency.json"""
    records: Paths = ()
    """records of train.ablate, for figure1; without it, those in OUTPUT if they are there"""
    run: Folder = None
    """the --output of a finished run of train.run"""
    teacher_checkpoint: File = None
    """its teacher.pt, or another"""
    student: File = None
    """its student.pt, or another"""
    baseline: File = None
    """its baseline.pt, or another student to compare with"""
    data_root: Folder = None
    """of the dataset; without it, the run's, or data/DATASET"""
    dataset: str | None = None
    """without it, the run's"""
    sequences: Names = ()
    """show frames of these; without it, of those that the run validated on, or of the official
    split"""
    frames: int = 4
    """look at N frames, evenly spread"""
    embedding: Method = "pca"
    """how figure6 is made"""
    device: Device = "auto"


@dataclass
class _Networks:
    """The networks that are given, loaded and asked once, when the first figure wants them."""

    options: Options
    checkpoints: dict[str, Path]
    asked: tuple[Trained, list[Shown]] | None = field(default=None, init=False)

    def ask(self) -> tuple[Trained, list[Shown]]:
        """Return the networks and what they make of the frames."""
        if self.asked is None:
            options = self.options
            device = resolve_device(options.device)
            if options.run is not None:
                spec, source = open_frames_of_run(
                    options.run, options.dataset, options.data_root, options.sequences
                )
            else:
                assert options.dataset is not None  # `_checkpoints` refuses networks without
                spec = dataset_spec(options.dataset)
                root = options.data_root or Path("data") / spec.name
                source = spec.open(root, "validation", sequences=tuple(options.sequences))
            trained = load(self.checkpoints, spec, source, device)
            chosen = spread(len(source), options.frames)
            self.asked = trained, look(trained, chosen, device)
        return self.asked


def run(options: Options) -> int:
    """Make the figures and the pages; return 1 if `--check` finds a difference.

    Raises
    ------
    UserError
        If something that is asked for cannot be made; nothing is written then.
    """
    if not options.records and (records := options.output / RECORDS).is_file():
        options = replace(options, records=(records,))
    if options.check:
        found = _check(options)
        for line in found:
            logger.error(f"{line}; run: python -m benchmarks.studies figures")
        return int(bool(found))
    if unknown := [name for name in options.only if name not in (*FIGURES, PAGE_ONLY)]:
        known = ", ".join((*FIGURES, PAGE_ONLY))
        raise UserError(f"--only {unknown[0]}: no such figure; known: {known}")
    for path in options.efficiency:
        if not path.is_file():
            raise UserError(f"--efficiency {path}: no such file; train.efficiency writes it")
    refuse_below(1, frames=options.frames)
    readme = _readme(options)  # first: it may refuse
    networks = _Networks(options, _checkpoints(options))
    makers = _makers(options, networks)
    chosen = [name for name in FIGURES if name in (options.only or FIGURES)]
    ready = []
    for name in chosen:
        reason = _lacks(name, options, networks.checkpoints)
        if reason is None:
            ready.append(name)
        elif options.only:
            raise UserError(f"{name}: {reason}")
        else:
            logger.info(f"{name} is left as it is: {reason}")
    make_folder(options.output, "--output")
    for name in ready:
        written = write_figure(options.output, name, makers[name]())
        logger.info("wrote " + ", ".join(str(path) for path in written))
    for name, text in pages(options.output, _ablation(options)).items():
        write_page(options.output / name, text)
    if options.readme is not None and readme is not None:
        write_page(options.readme, readme)
    return 0


def _makers(options: Options, networks: _Networks) -> dict[str, Callable[[], Drawn]]:

    def of_teacher() -> Drawn:
        trained, shown = networks.ask()
        features = shown[0].features[TEACHER]
        rows = sampled_rows(
            len(features), name=shown[0].name, seed=0, num_samples=barcode.NUM_FEATURES
        )
        source = {**trained.described(), "frame": shown[0].name}
        return barcode.make_of_features(features[rows], source)

    return {
        score_over_cost.NAME: lambda: score_over_cost.make(options.records, _efficiency(options)),
        panels.NAME_OF_FRAME: lambda: panels.make_frame(*networks.ask()),
        barcode.NAME: barcode.make,
        barcode.NAME_OF_TEACHER: of_teacher,
        panels.NAME_OF_CELLS: lambda: panels.make_cells(*networks.ask()),
        embedding.NAME: lambda: embedding.make(*networks.ask(), options.embedding),
        gradient_weighting.NAME: gradient_weighting.make,
        ripser_equality.NAME: ripser_equality.make,
    }


def _checkpoints(options: Options) -> dict[str, Path]:
    """Return the networks that are given, by role; those named come before the run's."""
    given = {TEACHER: options.teacher_checkpoint, STUDENT: options.student, ALONE: options.baseline}
    named = {role: path for role, path in given.items() if path is not None}
    for role, path in named.items():
        if not path.is_file():
            raise UserError(f"{FLAGS[role]} {path}: no such file; give a checkpoint of train.run")
    if options.run is not None:
        return checkpoints_of_run(options.run) | named
    if named and options.dataset is None:
        raise UserError(
            f"{FLAGS[next(iter(named))]}: say whose frames to show, --dataset and --data-root, or "
            "give a --run"
        )
    return named


def _lacks(name: str, options: Options, checkpoints: dict[str, Path]) -> str | None:
    """Return what a figure needs and is not given; None if it can be made."""
    if name == score_over_cost.NAME and not options.records:
        return "needs the records of an ablation; give --records FILE"
    missing = [role for role in FIGURES[name].needs if role not in checkpoints]
    if not missing:
        return None
    flags = " and ".join(f"{FLAGS[role]} FILE" for role in missing)
    return f"needs the {' and the '.join(missing)}; give --run DIR, or {flags}"


def _ablation(options: Options) -> Path:
    """Return the file of comparisons; one that is named has to be there."""
    named = options.ablation
    if named is not None and not named.is_file():
        raise UserError(f"--ablation {named}: no such file; python -m train.ablate writes it")
    return named or options.output / "ablation.json"


def _readme(options: Options) -> str | None:
    """Return the README with its block as the records have it; None if none is named."""
    readme = options.readme
    if readme is None:
        return None
    if not readme.is_file():
        raise UserError(f"--readme {readme}: no such file")
    try:
        return with_block(
            readme.read_text(encoding="utf-8"),
            ablation_block(read_ablation(_ablation(options))),
            BLOCK,
        )
    except ValueError as error:
        raise UserError(f"--readme {readme}: {error}") from error


def _efficiency(options: Options) -> Sequence[Path]:
    return options.efficiency or (options.output / "efficiency.json",)


def _check(options: Options) -> list[str]:
    """Return a line for every page or picture that is not what the records give."""
    if not options.output.is_dir():
        raise UserError(f"--output {options.output}: no such folder")
    found = []
    for name, text in pages(options.output, _ablation(options)).items():
        page = options.output / name
        if not page.is_file():
            found.append(f"{name} is missing")
        elif page.read_text(encoding="utf-8") != text:
            found.append(f"{name} disagrees with the records")
    readme = _readme(options)
    if options.readme is not None and options.readme.read_text(encoding="utf-8") != readme:
        found.append(f"{options.readme} disagrees with the records between its markers")
    score = score_over_cost.NAME
    made = read_numbers(options.output, score)
    if made is not None and options.records:
        wanted = score_over_cost.collect(options.records, _efficiency(options))
        if any(made.get(name) != value for name, value in wanted.items()):
            found.append(f"{score}.json disagrees with the records of the ablation")
    reasons = (disagreement(options.output, name) for name in FIGURES)
    return found + [reason for reason in reasons if reason is not None]


COMMAND = Command(
    "python -m benchmarks.studies figures",
    Options,
    run,
    "Make the paper's figures, and the page of all its tables and figures.",
    EPILOG,
)
main = COMMAND.main
