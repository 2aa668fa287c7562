"""What a dataset is to the commands: how it is opened, scored, simulated and submitted.

`DATASETS` lists those there are; each is imported when it is chosen.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from train.core.bounded import read_json
from train.core.errors import UserError
from train.core.user_file import is_in_user_file, load_in_file, parse_in_file, short_name
from train.data.class_map import ClassMap
from train.data.frame import SPLITS, FrameSource
from train.data.submission import Submission


@dataclass(frozen=True)
class BenchmarkRule:
    """What the tool of a benchmark does where definitions of the mean IoU differ.

    Attributes
    ----------
    empty_union
        The IoU of a class that is in neither truth nor prediction; None leaves the class
        out of the mean.
    abstention_is_miss
        Whether a labeled point for which no class was predicted counts against its class. False:
        the point is left out.
    has_benchmark
        Whether there is such a tool. Without one, scores name no mean of the benchmark.
    """

    empty_union: float | None
    abstention_is_miss: bool
    has_benchmark: bool = True


SEMANTICKITTI_RULE: Final = BenchmarkRule(empty_union=0.0, abstention_is_miss=True)
"""Unions have 1e-15 added, so that an empty one gives 0; prediction 0 is a miss."""

NUSCENES_RULE: Final = BenchmarkRule(empty_union=None, abstention_is_miss=False)
"""Row and column 0 of the confusion matrix are zeroed; classes without a union are no numbers and
left out."""

WAYMO_RULE: Final = BenchmarkRule(empty_union=1.0, abstention_is_miss=True)
"""A class with an empty union is counted as perfect."""


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """Which frames of a dataset are opened, and what is done about damaged ones.

    Attributes
    ----------
    split
        "training", "validation" or "test": the dataset's own part.
    sequences
        Names of the wanted sequences, whatever their split; none: all of the split.
    require_labels
        Leave out (and count) frames without labels. Otherwise these have `segment=None`.
    cache_dir
        Where an index may be kept; None leaves the place to `train.data.index.cached_index`.
    strict
        Refuse what opening shows to be damaged; otherwise it is left out and in `unreadable`.
    cameras
        Give each frame its images, `LidarFrame.images`; a dataset without any refuses.

    Raises
    ------
    UserError
        If there is no such split, or the sequences are no list or name one twice.
    """

    split: str = "training"
    sequences: Sequence[str] = ()
    require_labels: bool = True
    cache_dir: Path | None = None
    strict: bool = True
    cameras: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UserError(f"split must be one of {', '.join(SPLITS)}, not {self.split}")
        if isinstance(self.sequences, str):
            raise UserError(f"sequences must be a list of names, not {self.sequences!r}")
        if len(set(self.sequences)) != len(self.sequences):
            raise UserError(f"sequences: one is named twice in {list(self.sequences)}")


@dataclass(frozen=True)
class SimulatedData:
    """Where simulated frames are, and which of them are for what.

    Attributes
    ----------
    root
        The data root to give to the loader.
    training_sequences, validation_sequences
        The sequences that were written.
    reused
        True if an earlier run had written the same frames already.
    """

    root: Path
    training_sequences: tuple[str, ...]
    validation_sequences: tuple[str, ...]
    reused: bool


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset as the commands see it; each dataset's folder exports one as `SPEC`.

    Attributes
    ----------
    name
        What `--dataset` says.
    class_names
        In the order of train ids.
    sequence_word
        What the dataset calls a drive.
    reader
        `reader(root, options)` opens the frames; see `open`.
    list_sequences
        `list_sequences(root)` names the sequences that are there, of all splits.
    benchmark_rule
        How the benchmark's own tool takes the mean.
    simulator
        "module:function" that writes simulated frames in the dataset's own format, called as
        `simulate` says; imported when it is called. None: the dataset cannot be simulated.
    submission
        `submission(output, source, account)` collects predictions for the benchmark's server;
        `account` is the user's name there, for those that want it in the file. None: there is no
        server.
    submission_suffix
        Of the file that it writes.
    submission_needs_account
        Whether the server refuses a file without the user's account.
    sensor_origin_m
        Where the main sensor is in the frame of the points; pictures look from there.
    forward_deg
        The vehicle's heading in that frame, from x towards y.
    ground_z_m
        Where a level scene lies in that frame; None if that differs from vehicle to vehicle.
    slow_to_decode
        Whether decoding a frame takes longer than all that follows, so that decoded frames are kept
        on disk unless a flag says otherwise.
    has_cameras
        Whether `reader` and `simulator` know cameras.
    clip_range_m
        The box that points are moved into before they become voxels, unless a run says otherwise:
        lower x y z, upper x y z, meters; None for none.
    class_map
        The ids that its label files have, in which `predict` writes labels; None for train ids.
    layout
        What was said about how its files lie on disk, by `LAYOUT_OPTIONS`, for those who use a
        network later (`ModelMetadata.layout`).
    """

    name: str
    class_names: tuple[str, ...]
    sequence_word: str
    reader: Callable[[Path, OpenOptions], FrameSource]
    list_sequences: Callable[[Path], tuple[str, ...]]
    benchmark_rule: BenchmarkRule
    simulator: str | None = None
    submission: Callable[[Path, FrameSource, str], Submission] | None = None
    submission_suffix: str = ""
    submission_needs_account: bool = False
    sensor_origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    forward_deg: float = 0.0
    ground_z_m: float | None = None
    slow_to_decode: bool = False
    has_cameras: bool = False
    clip_range_m: tuple[float, float, float, float, float, float] | None = None
    class_map: ClassMap | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)

    def open(
        self,
        root: Path | str,
        split: str = "training",
        *,
        sequences: Sequence[str] = (),
        require_labels: bool = True,
        cache_dir: Path | None = None,
        strict: bool = True,
        cameras: bool = False,
    ) -> FrameSource:
        """Return the frames under a data root that `OpenOptions` with these values chooses.

        Raises
        ------
        UserError
            As `OpenOptions`; or if the data is laid out otherwise, damaged, or not there, or was
            simulated without the cameras that are asked for.
        """
        root = Path(root)
        # Each reader would say to download images, which are none of anybody's.
        if cameras and _record(root).get("cameras", True) is False:
            raise UserError(
                f"{root}: holds simulated frames without camera images; remove it and simulate "
                "again (topodistill run --simulate with a method that needs images), or choose a "
                "method that needs none"
            )
        options = OpenOptions(
            split=split,
            sequences=sequences,
            require_labels=require_labels,
            cache_dir=cache_dir,
            strict=strict,
            cameras=cameras,
        )
        return self.reader(root, options)

    def simulate(
        self,
        root: Path,
        *,
        num_frames: int,
        num_validation_frames: int,
        azimuth_steps: int,
        seed: int,
        cameras: bool = False,
    ) -> SimulatedData:
        """Write simulated frames under `root`, or find that they are there; images if asked for.

        Raises
        ------
        UserError
            If the dataset has no simulator, or no cameras where images are asked for, an option is
            out of range, or `root` holds other data.
        """
        if self.simulator is None:
            raise UserError(
                f"--simulate: {self.name} has no simulator; give --data-root with real frames"
            )
        self.check_cameras(cameras)
        module, function = self.simulator.split(":")
        simulated: SimulatedData = getattr(importlib.import_module(module), function)(
            root,
            num_frames=num_frames,
            num_validation_frames=num_validation_frames,
            azimuth_steps=azimuth_steps,
            seed=seed,
            **({"cameras": True} if cameras else {}),
        )
        return simulated

    def check_cameras(self, wanted: bool) -> None:
        """Refuse to look for images in a dataset that has none.

        Raises
        ------
        UserError
            If cameras are wanted and there are none.
        """
        if wanted and not self.has_cameras:
            raise UserError(
                f"--dataset {self.name}: its frames come without camera images; choose nuscenes, "
                "waymo or semantickitti, or a method that needs none"
            )


DATASETS: Final = {
    "kitti-layout": "train.data.kitti_layout:kitti_layout_spec",
    "nuscenes": "train.data.nuscenes:SPEC",
    "semantickitti": "train.data.semantickitti:SPEC",
    "waymo": "train.data.waymo:SPEC",
}
"""Name -> "module:object" of its `DatasetSpec`, or of a function that makes it from options."""

LAYOUT_OPTIONS: Final = ("class_map", "point_columns", "strength_scale", "origin", "label_type")
"""Fields of `DataConfig` that say how own frames lie on disk; only `kitti-layout` has them."""


def dataset_spec(name: str, options: Mapping[str, Any] | None = None) -> DatasetSpec:
    """Return a dataset by name.

    Parameters
    ----------
    name
        One of `DATASETS`, or FILE.py:SPEC, a `DatasetSpec` in a Python file of the user's.
    options
        `LAYOUT_OPTIONS` by name, None or missing where nothing is said; other entries are not
        looked at, so that the options of a run (``vars(config.data)``, or `data` of its
        config.json) can be given.

    Raises
    ------
    UserError
        If there is no such dataset; the message lists those there are. If an option is not for it,
        or cannot be met.
    """
    said = {key: (options or {}).get(key) for key in LAYOUT_OPTIONS}
    if is_in_user_file(name):
        found = _of_file(name)
    elif name in DATASETS:
        module, attribute = DATASETS[name].split(":")
        found = getattr(importlib.import_module(module), attribute)
    else:
        raise UserError(
            f"unknown dataset {name!r}; known: {', '.join(sorted(DATASETS))}, or FILE.py:SPEC"
        )
    if isinstance(found, DatasetSpec):
        for key, value in said.items():
            # What a checkpoint keeps of the dataset's own class map comes back to it.
            if value is not None and value != found.layout.get(key):
                raise UserError(
                    f"--data.{key.replace('_', '-')} {value}: is for --dataset kitti-layout, "
                    f"frames of your own; {name} has its own"
                )
        return found
    made: DatasetSpec = found(said)
    return made


def _of_file(name: str) -> DatasetSpec:
    """Return the dataset of a user's file, under the file's name.

    Its checkpoints keep the ids of its labels, so that no file has to be run to predict.
    """
    path, inside = parse_in_file("dataset", name, "SPEC")
    found = load_in_file(Path(path), inside, "dataset")
    if not isinstance(found, DatasetSpec):
        raise UserError(
            f"--dataset {name}: {inside} is a {type(found).__name__}, not a "
            "train.data.dataset_spec.DatasetSpec; docs/guides/extend.md has an example"
        )
    if found.class_map is None:
        return replace(found, name=short_name(name))
    found.class_map.check_classes(tuple(found.class_names), f"--dataset {name}")
    layout = {"class_map": found.class_map.to_plain()}
    return replace(found, name=short_name(name), layout=layout)


RECORD: Final = "simulation.json"
"""The file in the data root that says how its frames were made; recorded data has none."""


def simulated_seed(root: Path) -> int | None:
    """Return the seed of the simulated scenes under a data root; None for recorded frames.

    Raises
    ------
    UserError
        If there is a record that cannot be read.
    """
    return _record(root).get("seed")


def _record(root: Path) -> dict[str, Any]:
    """Return the seed of simulated frames and whether they have images; empty for recorded ones."""
    path = root / RECORD
    try:
        found = read_json(path)
        return {"seed": int(found["seed"]), "cameras": bool(found.get("cameras"))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); remove {root} and simulate again"
        ) from error
