"""Looks a dataset over before it is trained on: counts, classes, problems, pictures.

python -m train.data.inspect --dataset semantickitti --data-root DIR --output DIR
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from train.data.picture import draw
from train.data.registry import DATASETS, DatasetSpec, dataset_spec
from train.data.sweep import Sweep, SweepSource
from train.errors import UserError

REPORT = "inspection.json"
_RANGE_EDGES_M = (0, 5, 10, 15, 20, 30, 40, 50, 60, 80, 120, 250)


@dataclass
class Inspection:
    """What was found.

    Attributes
    ----------
    dataset, root, sequences
        What was looked at.
    sweeps, unlabelled_sweeps
        How many were read, and how many of them have no labels.
    points
        Of all sweeps.
    points_a_sweep
        Least, median and most.
    points_by_class
        By class name; "ignored" counts labelled points that do not train.
    strength_by_class
        Median strength by class name, of those present.
    points_by_range_m
        "from-to" in metres.
    problems
        One line for each sweep that could not be read.
    pictures
        The files that were drawn.
    """

    dataset: str
    root: str
    sequences: list[str]
    sweeps: int = 0
    unlabelled_sweeps: int = 0
    points: int = 0
    points_a_sweep: list[int] = field(default_factory=list)
    points_by_class: dict[str, int] = field(default_factory=dict)
    strength_by_class: dict[str, float] = field(default_factory=dict)
    points_by_range_m: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


class _Tally:
    """Adds up sweeps."""

    def __init__(self, num_classes: int) -> None:
        self.sizes: list[int] = []
        self.unlabelled = 0
        # Class -1 comes first. Strengths are counted in hundredths, which is how fine they are.
        self.by_class = np.zeros((num_classes + 1, 101), dtype=np.int64)
        self.by_range = np.zeros(len(_RANGE_EDGES_M) - 1, dtype=np.int64)

    def add(self, sweep: Sweep) -> None:
        """Count one sweep."""
        self.sizes.append(len(sweep.coord))
        range_m = np.linalg.norm(sweep.coord, axis=1)
        self.by_range += np.histogram(range_m, _RANGE_EDGES_M)[0]
        if sweep.segment is None:
            self.unlabelled += 1
            return
        hundredths = np.clip(np.round(sweep.strength[:, 0] * 100), 0, 100).astype(np.int64)
        np.add.at(self.by_class, (sweep.segment + 1, hundredths), 1)


def inspect(
    spec: DatasetSpec,
    root: Path,
    sequences: Sequence[str],
    *,
    output: Path | None = None,
    num_pictures: int = 2,
) -> Inspection:
    """Return what is in a dataset; sweeps that cannot be read are listed and left out.

    Parameters
    ----------
    spec, root, sequences
        What to look at.
    output
        Where pictures go; None for no pictures.
    num_pictures
        How many sweeps to draw, evenly spread.

    Raises
    ------
    UserError
        If the data cannot be opened.
    """
    source: SweepSource = spec.open(root, sequences=sequences, require_labels=False)
    found = Inspection(spec.name, str(root), list(sequences))
    tally = _Tally(len(spec.class_names))
    drawn = set(np.linspace(0, len(source) - 1, num_pictures).astype(int).tolist())
    for index in range(len(source)):
        try:
            sweep = source[index]
        except UserError as error:
            found.problems.append(str(error))
            continue
        tally.add(sweep)
        if output is not None and index in drawn:
            path = output / f"{sweep.name.replace('/', '_')}.png"
            draw(sweep, spec.class_names, path)
            found.pictures.append(path.name)
    found.sweeps, found.unlabelled_sweeps = len(tally.sizes), tally.unlabelled
    found.points = sum(tally.sizes)
    if tally.sizes:
        found.points_a_sweep = [
            min(tally.sizes),
            int(np.median(tally.sizes)),
            max(tally.sizes),
        ]
    for name, row in zip(("ignored", *spec.class_names), tally.by_class, strict=True):
        total = int(row.sum())
        found.points_by_class[name] = total
        if total:
            middle = int(np.searchsorted(np.cumsum(row), (total + 1) // 2))
            found.strength_by_class[name] = middle / 100
    spans = itertools.pairwise(_RANGE_EDGES_M)
    found.points_by_range_m = {
        f"{low}-{high}": int(count)
        for (low, high), count in zip(spans, tally.by_range, strict=True)
    }
    return found


def lines(found: Inspection) -> Iterable[str]:
    """Yield a report to read."""
    yield f"{found.dataset} in {found.root}, sequences {', '.join(found.sequences)}"
    yield f"{found.sweeps:,} sweeps, {found.unlabelled_sweeps:,} of them without labels"
    if found.points_a_sweep:
        least, median, most = found.points_a_sweep
        yield f"{found.points:,} points; a sweep has {least:,} to {most:,}, median {median:,}"
    labelled = sum(found.points_by_class.values())
    if labelled:
        yield f"{'class':<24}{'points':>14}{'share':>9}{'strength':>10}"
        for name, count in found.points_by_class.items():
            strength = found.strength_by_class.get(name)
            shown = "" if strength is None else f"{strength:.2f}"
            yield f"{name:<24}{count:>14,}{count / labelled:>9.2%}{shown:>10}"
        missing = [name for name, count in found.points_by_class.items() if not count]
        if missing:
            yield f"not present: {', '.join(missing)}"
    for span, count in found.points_by_range_m.items():
        if count:
            yield f"{span + ' m':<24}{count:>14,}{count / found.points:>9.2%}"
    yield f"problems: {len(found.problems) or 'none'}"
    yield from found.problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if there are sweeps with problems, 2 for a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m train.data.inspect", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--dataset", required=True, help=f"one of {', '.join(sorted(DATASETS))}")
    parser.add_argument("--data-root", type=Path, help="default: data/DATASET")
    parser.add_argument("--sequences", nargs="+", help="default: all that have sweeps")
    parser.add_argument("--output", type=Path, required=True, help="folder for report and pictures")
    parser.add_argument("--pictures", type=int, default=2, help="how many sweeps to draw")
    options = parser.parse_args(arguments)
    try:
        spec = dataset_spec(options.dataset)
        root = options.data_root or Path("data") / spec.name
        if options.pictures < 0:
            raise UserError(f"--pictures must be at least 0, not {options.pictures}")
        sequences = options.sequences or spec.list_sequences(root)
        report = options.output / REPORT
        if options.output.exists() and not options.output.is_dir():
            raise UserError(f"{options.output}: is a file; --output must be a folder")
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{options.output}: cannot be made ({error.strerror}); choose another --output"
            ) from error
        found = inspect(spec, root, sequences, output=options.output, num_pictures=options.pictures)
        report.write_text(json.dumps(asdict(found), indent=2) + "\n")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n".join([*lines(found), f"written: {report}"]) + "\n")
    return 1 if found.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
