"""Compares simulated sweeps with a real one, and writes the page that says how they differ.

python -m benchmarks.studies compare --real FILE.bin --labels FILE.label --output docs/results

Of the real sweep only counts and quartiles are written; the points in the picture are simulated.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.studies.compare.page import page
from benchmarks.studies.compare.plot import draw_comparison
from benchmarks.studies.compare.statistics import FrameStatistics, statistics
from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.semantickitti import CLASS_NAMES, SPEC
from train.data.semantickitti.reader import FILES
from train.simulation.semantickitti import simulate_semantickitti
from train.simulation.simulator.models import HDL64_AZIMUTH_STEPS
from train.simulation.write import SIMULATOR_VERSION

NAME: Final = "simulated_lidar"
"""Stem of the page and the picture."""


def real_sweep(points: Path, labels: Path) -> LidarFrame:
    """Return the sweep in a SemanticKITTI `.bin` and its `.label` file.

    Raises
    ------
    UserError
        If a file is no such file, or the two do not belong together.
    """
    coord, strength, _ = FILES.read_points(points)
    return LidarFrame(coord, strength, FILES.read_segment(labels, len(coord)), points.stem, points)


def simulated(
    num_sweeps: int, seed: int, azimuth_steps: int
) -> tuple[list[FrameStatistics], LidarFrame]:
    """Return what simulated sweeps are like, read back from disk, and one of them to look at.

    The one to look at is that with the most classes.
    """
    found: list[FrameStatistics] = []
    shown: LidarFrame | None = None
    most = -1
    with tempfile.TemporaryDirectory() as folder:
        made = simulate_semantickitti(
            Path(folder) / "data",
            num_sweeps=num_sweeps,
            num_validation_sweeps=1,
            seed=seed,
            azimuth_steps=azimuth_steps,
        )
        source = SPEC.open(made.root, "training", sequences=["00"])
        for sweep in (source[index] for index in range(len(source))):
            found.append(statistics(sweep, len(CLASS_NAMES)))
            classes = int((found[-1].by_class[1:] >= 20).sum())
            if classes > most:
                most, shown = classes, sweep
    assert shown is not None
    return found, shown


def compare(
    real: LidarFrame, output: Path, *, num_sweeps: int, seed: int, azimuth_steps: int
) -> tuple[Path, Path]:
    """Write the page and its picture; return their paths.

    Parameters
    ----------
    real
        A labeled sweep of SemanticKITTI.
    output
        The folder to write to.
    num_sweeps
        How many simulated sweeps it is compared with, at least 1.
    seed, azimuth_steps
        As for `simulate_semantickitti`.
    """
    measured = statistics(real, len(CLASS_NAMES))
    found, shown = simulated(num_sweeps, seed, azimuth_steps)
    text, picture = output / f"{NAME}.md", output / f"{NAME}.png"
    with atomic_write(picture) as path:
        draw_comparison(measured, found, shown, path)
    command = (
        "python -m benchmarks.studies compare --real FILE.bin --labels FILE.label "
        f"--sweeps {num_sweeps} --seed {seed} --azimuth-steps {azimuth_steps} --output docs/results"
    )
    with atomic_write(text) as path:
        path.write_text(
            page(measured, found, shown, picture.name, command, SIMULATOR_VERSION), encoding="utf-8"
        )
    return text, picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 for a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies compare", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--real", type=Path, required=True, help="a .bin of SemanticKITTI")
    parser.add_argument("--labels", type=Path, required=True, help="its .label")
    parser.add_argument("--sweeps", type=int, default=40, help="how many to simulate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--azimuth-steps", type=int, default=HDL64_AZIMUTH_STEPS)
    parser.add_argument("--output", type=Path, required=True, help="folder for page and picture")
    options = parser.parse_args(arguments)
    try:
        if options.sweeps < 1:
            raise UserError(f"--sweeps must be at least 1, not {options.sweeps}")
        if options.output.exists() and not options.output.is_dir():
            raise UserError(f"{options.output}: is a file; --output must be a folder")
        real = real_sweep(options.real, options.labels)
        options.output.mkdir(parents=True, exist_ok=True)
        written = compare(
            real,
            options.output,
            num_sweeps=options.sweeps,
            seed=options.seed,
            azimuth_steps=options.azimuth_steps,
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"error: {error.filename}: cannot be written ({error.strerror}); "
            "choose another --output\n"
        )
        return 2
    sys.stdout.write("".join(f"written: {path}\n" for path in written))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
