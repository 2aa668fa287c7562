"""Compares simulated frames with a real one, and writes the page that says how they differ.

python -m benchmarks.studies compare --real FILE.bin --labels FILE.label --output docs/results

Of the real frame only counts and quartiles are written; the points in the picture are simulated.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.studies.compare.page import page
from benchmarks.studies.compare.plot import draw_comparison
from benchmarks.studies.compare.statistics import FrameStatistics, statistics
from benchmarks.studies.study_page import command, refuse_below, write_page
from train.core.atomic_write import atomic_write, make_folder
from train.data.frame import LidarFrame
from train.data.semantickitti import CLASS_NAMES, SPEC
from train.data.semantickitti.reader import FILES
from train.simulation.semantickitti import simulate_semantickitti
from train.simulation.simulator.models import HDL64_AZIMUTH_STEPS
from train.simulation.write import SIMULATOR_VERSION

NAME: Final = "simulated_lidar"
"""Stem of the page and the picture."""


def real_frame(points: Path, labels: Path) -> LidarFrame:
    """Return the frame in a SemanticKITTI `.bin` and its `.label` file.

    Raises
    ------
    UserError
        If a file is no such file, or the two do not belong together.
    """
    coord, strength, _ = FILES.read_points(points)
    return LidarFrame(coord, strength, FILES.read_segment(labels, len(coord)), points.stem, points)


def simulated(
    num_frames: int, seed: int, azimuth_steps: int
) -> tuple[list[FrameStatistics], LidarFrame]:
    """Return what simulated frames are like, read back from disk, and one of them to look at.

    The one to look at is that with the most classes.
    """
    found: list[FrameStatistics] = []
    shown: LidarFrame | None = None
    most = -1
    with tempfile.TemporaryDirectory() as folder:
        made = simulate_semantickitti(
            Path(folder) / "data",
            num_frames=num_frames,
            num_validation_frames=1,
            seed=seed,
            azimuth_steps=azimuth_steps,
        )
        source = SPEC.open(made.root, "training", sequences=["00"])
        for frame in (source[index] for index in range(len(source))):
            found.append(statistics(frame, len(CLASS_NAMES)))
            classes = int((found[-1].by_class[1:] >= 20).sum())
            if classes > most:
                most, shown = classes, frame
    assert shown is not None
    return found, shown


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is asked."""

    real: Path
    """a .bin of SemanticKITTI"""
    labels: Path
    """its .label"""
    output: Path
    """folder of page and picture"""
    frames: int = 40
    """how many to simulate"""
    seed: int = 0
    """of the scenes"""
    azimuth_steps: int = HDL64_AZIMUTH_STEPS
    """columns of a turn"""


def run(options: Options) -> None:
    """Write the page and its picture.

    Raises
    ------
    UserError
        If a file cannot be read or written, or a number is out of range.
    """
    refuse_below(1, frames=options.frames)
    real = statistics(real_frame(options.real, options.labels), len(CLASS_NAMES))
    make_folder(options.output, "--output")
    found, shown = simulated(options.frames, options.seed, options.azimuth_steps)
    picture = options.output / f"{NAME}.png"
    with atomic_write(picture) as path:
        draw_comparison(real, found, shown, path)
    made_by = (
        "python -m benchmarks.studies compare --real FILE.bin --labels FILE.label "
        f"--frames {options.frames} --seed {options.seed} "
        f"--azimuth-steps {options.azimuth_steps} --output docs/results"
    )
    text = page(real, found, shown, picture.name, made_by, SIMULATOR_VERSION)
    write_page(options.output / f"{NAME}.md", text)


COMMAND = command(
    "compare",
    Options,
    run,
    "Compare simulated frames with a real one, and write the page that says how they differ. Of "
    "the real frame only counts and quartiles are written; the points in the picture are "
    "simulated.",
)
main = COMMAND.main
