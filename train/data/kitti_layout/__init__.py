"""Frames of one's own: the KITTI layout, with classes from a file."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from train.data.class_map import ClassMap
from train.data.dataset_spec import DATASETS, BenchmarkRule, DatasetSpec, dataset_spec
from train.data.kitti_layout.layout import KittiLayout, find_drives, list_sequences
from train.data.layout_flags import plain
from train.data.readers.bare_points import KITTI_COLUMNS
from train.data.readers.class_map_file import read_class_map
from train.data.readers.frame_files import FrameFiles, parse_columns
from train.data.semantickitti.classes import CLASS_MAP

__all__ = [
    "KittiLayout",
    "class_map_of",
    "find_drives",
    "frame_files",
    "kitti_layout_spec",
    "list_sequences",
    "read_class_map",
]

OWN_DATA_RULE: Final = BenchmarkRule(empty_union=None, abstention_is_miss=True, has_benchmark=False)
"""There is no benchmark: classes that are neither there nor predicted are left out of the mean."""


def frame_files(options: Mapping[str, Any]) -> FrameFiles:
    """Return how points and labels lie in their files.

    Parameters
    ----------
    options
        `class_map`, `point_columns`, `strength_scale`, `origin`, `label_type`: fields of
        `DataConfig` by name; None or missing for SemanticKITTI's. A class map is a file, or what a
        checkpoint keeps of one.

    Raises
    ------
    UserError
        If the class map cannot be read, or a column is not known.
    """
    class_map, given = CLASS_MAP, options.get("class_map")
    if isinstance(given, Mapping):
        class_map = ClassMap.from_plain(given, "give their class map: --data.class-map")
    elif given is not None:
        class_map = read_class_map(Path(given))
    columns, origin = options.get("point_columns"), options.get("origin")
    return FrameFiles(
        class_map=class_map,
        columns=KITTI_COLUMNS if columns is None else parse_columns(columns),
        strength_scale=options.get("strength_scale"),
        origin_m=None if origin is None else (origin[0], origin[1], origin[2]),
        label_type=options.get("label_type") or "uint32",
        not_ours="its columns are others (--data.point-columns)",
        add_labels="add the labels",
        type_is_said=True,
    )


def class_map_of(layout: Mapping[str, Any], class_names: Sequence[str] | None) -> ClassMap | None:
    """Return what a network's classes are in label files; None if that is not known.

    Parameters
    ----------
    layout
        `ModelMetadata.layout`: the class map that is kept there, or that of the dataset of
        `DATASETS` that has these classes.
    class_names
        By train id; None where nobody knows.

    Raises
    ------
    UserError
        If the class map that is kept is damaged.
    """
    if "class_map" in layout:
        return frame_files(layout).class_map
    specs = (dataset_spec(name) for name in DATASETS) if class_names else ()
    return next(
        (s.class_map for s in specs if s.class_map and s.class_names == tuple(class_names or ())),
        None,
    )


def kitti_layout_spec(options: Mapping[str, Any]) -> DatasetSpec:
    """Return the dataset whose classes are those of a class map.

    Parameters
    ----------
    options
        As for `frame_files`. Without a class map it is that of simulated frames, SemanticKITTI's,
        and only such frames are read.

    Raises
    ------
    UserError
        As `frame_files`.
    """
    files = frame_files(options)
    return DatasetSpec(
        name="kitti-layout",
        class_names=files.class_map.class_names,
        sequence_word="sequence",
        reader=partial(KittiLayout, files=files, given=options.get("class_map") is not None),
        list_sequences=list_sequences,
        benchmark_rule=OWN_DATA_RULE,
        layout={
            name: files.class_map.to_plain() if name == "class_map" else plain(value)
            for name, value in options.items()
            if value is not None
        },
        simulator="train.simulation.semantickitti:simulate_kitti_layout",
    )
