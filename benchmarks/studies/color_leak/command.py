"""The command that measures what colors of simulated camera images tell of classes.

python -m benchmarks.studies color-leak --dataset nuscenes --output docs/results
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.studies.color_leak.measure import measure, picture
from benchmarks.studies.color_leak.page import page
from benchmarks.studies.study_page import command, refuse_below, write_json, write_page
from train.core.atomic_write import atomic_write, make_folder
from train.data.dataset_spec import dataset_spec

NAME: Final = "cameras"
"""Stem of the page, the record and the picture."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is asked."""

    output: Path
    """folder of page, record and picture"""
    dataset: str = "nuscenes"
    """one with cameras"""
    data_root: Path | None = None
    """keep simulated data here; without it, in a temporary folder"""
    scenes: int = 20
    """scenes to learn from"""
    test_scenes: int = 10
    """other scenes to score on"""
    seed: int = 0
    """of the scenes"""
    image_network: Path | None = None
    """of topodistill train-images; trained on scenes of another seed"""


def run(options: Options) -> None:
    """Measure, and write the record, the picture and the page.

    Raises
    ------
    UserError
        If the dataset has no cameras, or a file cannot be read or written.
    """
    refuse_below(1, scenes=options.scenes, test_scenes=options.test_scenes)
    refuse_below(0, seed=options.seed)
    spec = dataset_spec(options.dataset)
    spec.check_cameras(True)
    make_folder(options.output, "--output")
    with tempfile.TemporaryDirectory() as folder:
        root = options.data_root or Path(folder) / "data"
        leak = measure(
            spec,
            root,
            scenes=options.scenes,
            test_scenes=options.test_scenes,
            seed=options.seed,
            network=options.image_network,
        )
        source = spec.open(root, "validation", cameras=True)
        shown = picture(source, root, spec.class_names)
    write_json(options.output / f"{NAME}.json", asdict(leak), indent=2)
    with atomic_write(options.output / f"{NAME}.jpg") as path:
        path.write_bytes(shown)
    write_page(options.output / f"{NAME}.md", page(leak, f"{NAME}.jpg"))


COMMAND = command(
    "color-leak",
    Options,
    run,
    "Measure what the color of a pixel alone tells of its class in simulated camera images: if "
    "colors encoded classes, a method that distills from images would learn from a giveaway that "
    "no scene has.",
)
main = COMMAND.main
