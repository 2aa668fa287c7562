"""Looks a dataset over before it is trained on: counts, classes, problems, pictures.

python -m train.inspect --dataset waymo --data-root DIR --output DIR
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from tyro.conf import arg

from train.core.command import Command, Names
from train.core.console import Progress
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS, DatasetSpec, dataset_spec
from train.data.frame import FrameSource, HasWarnings, LidarFrame, Split
from train.data.layout_flags import LayoutFlags
from train.inspection.frame_checks import ONE_PLACE, VOXEL_M, FrameChecks

REPORT = "inspection.json"
_RANGE_EDGES_M = (0, 5, 10, 15, 20, 30, 40, 50, 60, 80, 120, 250)


@dataclass
class Inspection:
    """What was found.

    Attributes
    ----------
    dataset, root, split, sequences
        What was looked at: a split, or sequences by name.
    frames_there
        How many frames there are, without those that opening found to be damaged.
    frames, unlabeled_frames
        How many of them were read, and how many of these have no labels.
    points
        Of all frames.
    rays_without_return
        Rows of the files read that are no points: their coordinates are no numbers.
    points_a_frame
        Least, median and most.
    points_by_class
        By class name; "ignored" counts labeled points that do not train.
    strength_by_class
        Median strength by class name, of those present.
    points_by_range_m
        "from-to" in meters.
    one_voxel_frames
        Names of frames whose points all lie in one voxel of the usual size, 5 cm: sound to the
        reader, but a network can learn nothing from them.
    problems
        What cannot be used, a line each: a frame that could not be read, a segment that could not
        be indexed, frames that cannot be trained on.
    warnings
        What looks wrong and can be used, a line each; see `train.inspection.frame_checks`.
    pictures
        The files that were drawn.
    points_by_camera
        By camera, how many points it saw in the frames that were drawn with images.
    """

    dataset: str
    root: str
    split: str
    sequences: list[str]
    frames_there: int = 0
    frames: int = 0
    unlabeled_frames: int = 0
    points: int = 0
    rays_without_return: int = 0
    points_a_frame: list[int] = field(default_factory=list)
    points_by_class: dict[str, int] = field(default_factory=dict)
    strength_by_class: dict[str, float] = field(default_factory=dict)
    points_by_range_m: dict[str, int] = field(default_factory=dict)
    one_voxel_frames: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    points_by_camera: dict[str, int] = field(default_factory=dict)


class _Tally:
    """Adds up frames."""

    def __init__(self, num_classes: int, origin_m: tuple[float, float, float]) -> None:
        self.origin_m = np.array(origin_m, dtype=np.float32)
        self.sizes: list[int] = []
        self.unlabeled = self.rays_without_return = 0
        # Class -1 comes first. Strengths are counted in hundredths, which is how fine they are.
        self.by_class = np.zeros((num_classes + 1, 101), dtype=np.int64)
        self.by_range = np.zeros(len(_RANGE_EDGES_M) - 1, dtype=np.int64)

    def add(self, frame: LidarFrame) -> None:
        """Count one frame."""
        self.sizes.append(len(frame.coord))
        self.rays_without_return += frame.rays_without_return
        range_m = np.linalg.norm(frame.coord - self.origin_m, axis=1)
        self.by_range += np.histogram(range_m, _RANGE_EDGES_M)[0]
        if frame.segment is None:
            self.unlabeled += 1
            return
        hundredths = np.clip(np.round(frame.strength[:, 0] * 100), 0, 100).astype(np.int64)
        np.add.at(self.by_class, (frame.segment + 1, hundredths), 1)


def inspect(
    spec: DatasetSpec,
    root: Path,
    *,
    split: str = "",
    sequences: Sequence[str] = (),
    output: Path | None = None,
    num_pictures: int = 2,
    num_frames: int = 0,
    images: bool = False,
) -> Inspection:
    """Return what is in a dataset; frames that cannot be read are listed and left out.

    Parameters
    ----------
    spec, root
        What to look at.
    split, sequences
        Which part: an official split, or sequences by name; neither for all that is there.
    output
        Where pictures go; None for no pictures.
    num_pictures
        How many frames to draw, evenly spread.
    num_frames
        How many frames to read, evenly spread; 0 for all.
    images
        Whether to open the cameras too, and draw points on images and images on points beside each
        picture.

    Raises
    ------
    UserError
        If the data cannot be opened, or has no cameras where images are asked for.
    """
    spec.check_cameras(images)
    if not split and not sequences:
        sequences = spec.list_sequences(root)
    source = _open(spec, root, split, sequences, images)
    read = _spread(len(source), num_frames or len(source))
    drawn = {read[place] for place in _spread(len(read), num_pictures)}
    found = Inspection(spec.name, str(root), split, list(sequences), len(source))
    found.problems += source.unreadable.values()
    if isinstance(source, HasWarnings):
        found.warnings += source.warnings
    checks = FrameChecks(spec)
    tally = _Tally(len(spec.class_names), spec.sensor_origin_m)
    progress = Progress("looking at frames", len(read))
    for index in read:
        progress.advance({})
        try:
            frame = source[index]
        except UserError as error:
            found.problems.append(str(error))
            continue
        tally.add(frame)
        if any(finding.kind == ONE_PLACE for finding in checks.add(frame)):
            found.one_voxel_frames.append(frame.name)
        if output is not None and index in drawn:
            path = output / f"{frame.name.replace('/', '_')}.png"
            from train.inspection.picture import draw  # loads matplotlib: not for --help

            with _writing(path):
                draw(
                    frame,
                    spec.class_names,
                    path,
                    origin_m=spec.sensor_origin_m,
                    forward_deg=spec.forward_deg,
                )
            found.pictures.append(path.name)
            if images:
                _draw_images(spec, frame, path.with_suffix(".cameras.png"), found)
    progress.close()
    found.rays_without_return = tally.rays_without_return
    found.problems += checks.problems()
    found.warnings += checks.warnings()
    found.frames, found.unlabeled_frames = len(tally.sizes), tally.unlabeled
    found.points = sum(tally.sizes)
    if tally.sizes:
        found.points_a_frame = [
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


def _draw_images(spec: DatasetSpec, frame: LidarFrame, path: Path, found: Inspection) -> None:
    """Draw a frame's images; what is wrong with them is a problem of the frame."""
    from train.inspection.picture import draw_cameras

    try:
        with _writing(path):
            counts = draw_cameras(
                frame, path, origin_m=spec.sensor_origin_m, forward_deg=spec.forward_deg
            )
    except UserError as error:
        found.problems.append(str(error))
        return
    found.pictures.append(path.name)
    for image, count in zip(frame.images, counts, strict=True):
        found.points_by_camera[image.name] = found.points_by_camera.get(image.name, 0) + count


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a place into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); choose another --output") from error


def _open(
    spec: DatasetSpec, root: Path, split: str, sequences: Sequence[str], images: bool
) -> FrameSource:
    """Open what is to be looked at, frames without labels included."""
    try:
        return spec.open(
            root,
            split or "training",
            sequences=sequences,
            require_labels=False,
            strict=False,
            cameras=images,
        )
    except UserError as error:
        if split:
            raise
        raise UserError(f"{error}; or look at a part with --split or --sequences") from error


def _spread(count: int, wanted: int) -> list[int]:
    """Return at most so many numbers below `count`, evenly spread, the first and last included."""
    return [int(number) for number in np.linspace(0, count - 1, min(count, wanted))]


def lines(found: Inspection) -> Iterable[str]:
    """Yield a report to read."""
    part = ", ".join(found.sequences[:8]) or f"{found.split} split"
    more = f" and {len(found.sequences) - 8} more" if len(found.sequences) > 8 else ""
    yield f"{found.dataset} in {found.root}: {part}{more}"
    yield (
        f"{found.frames:,} of {found.frames_there:,} frames, {found.unlabeled_frames:,} of them "
        "without labels"
    )
    if found.points_a_frame:
        least, median, most = found.points_a_frame
        yield f"{found.points:,} points; a frame has {least:,} to {most:,}, median {median:,}"
    if found.rays_without_return:
        yield f"{found.rays_without_return:,} rows are rays without a return (NaN), and left out"
    labeled = sum(found.points_by_class.values())
    if labeled:
        yield f"{'class':<24}{'points':>14}{'share':>9}{'strength':>10}"
        for name, count in found.points_by_class.items():
            strength = found.strength_by_class.get(name)
            shown = "" if strength is None else f"{strength:.2f}"
            yield f"{name:<24}{count:>14,}{count / labeled:>9.2%}{shown:>10}"
        missing = [name for name, count in found.points_by_class.items() if not count]
        if missing:
            yield f"not present: {', '.join(missing)}"
    for span, count in found.points_by_range_m.items():
        if count:
            yield f"{span + ' m':<24}{count:>14,}{count / found.points:>9.2%}"
    for name, count in found.points_by_camera.items():
        yield f"{name:<24}{count:>14,} points seen in the frames drawn"
    if found.one_voxel_frames:
        yield f"frames in one voxel of {100 * VOXEL_M:g} cm: {len(found.one_voxel_frames)}"
        yield from found.one_voxel_frames
    for title, lines_of in (("problems", found.problems), ("warnings", found.warnings)):
        yield f"{title}: {len(lines_of) or 'none'}"
        yield from lines_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is looked at, and where the findings go."""

    dataset: Annotated[str, arg(metavar="NAME", help=f"one of {', '.join(sorted(DATASETS))}")]
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    """folder of the dataset [data/DATASET]"""
    split: Split | None = None
    """look at an official split alone"""
    sequences: Names = ()
    """look at these alone [all]"""
    output: Annotated[Path, arg(metavar="DIR")]
    """folder for report and pictures"""
    pictures: Annotated[int, arg(metavar="N")] = 2
    """how many frames to draw"""
    max_frames: Annotated[int, arg(metavar="N", aliases=("--frames",))] = 0
    """how many frames to read, evenly spread; 0 for all"""
    images: bool = False
    """draw points on the cameras' images, and the images' colors on the points"""
    data: LayoutFlags = field(default_factory=LayoutFlags)

    def __post_init__(self) -> None:
        for name, count in (("pictures", self.pictures), ("max-frames", self.max_frames)):
            if count < 0:
                raise UserError(f"--{name} must be at least 0, not {count}")
        if self.split and self.sequences:
            raise UserError("--split and --sequences both say what to look at; give one of them")


def _run(options: Options) -> int:
    """Look a dataset over; return 1 if there are problems or warnings."""
    spec = dataset_spec(options.dataset, vars(options.data))
    output, report = options.output, options.output / REPORT
    with _writing(output):
        if output.exists() and not output.is_dir():
            raise UserError(f"{output}: is a file; --output must be a folder")
        output.mkdir(parents=True, exist_ok=True)
        # Found out now and not after all frames were read.
        with tempfile.TemporaryFile(dir=output):
            pass
    found = inspect(
        spec,
        options.data_root or Path("data") / spec.name,
        split=options.split or "",
        sequences=options.sequences,
        output=output,
        num_pictures=options.pictures,
        num_frames=options.max_frames,
        images=options.images,
    )
    with _writing(report):
        report.write_text(json.dumps(asdict(found), indent=2) + "\n")
    sys.stdout.write("\n".join([*lines(found), f"written: {report}"]) + "\n")
    return 1 if found.problems or found.warnings else 0


COMMAND: Final = Command(
    "topodistill inspect",
    Options,
    _run,
    "Look a dataset over before it is trained on: counts, classes, problems, pictures.",
)
main = COMMAND.main
