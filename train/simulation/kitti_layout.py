"""Simulated sweeps in the KITTI layout, with the class map that says what their labels mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from train.data.dataset_spec import SimulatedData
from train.data.frame import IGNORE_INDEX
from train.data.readers.class_map import ClassMap
from train.data.readers.class_map_file import SPLIT_KEYS
from train.data.semantickitti.classes import CLASS_MAP
from train.simulation.semantickitti import simulate_in_semantickitti_s_layout, write_sequences

CLASS_MAP_FILE: Final = "class_map.yaml"
"""The file in the data root; --data.class-map takes it."""

_SPLIT: Final = {"training": ("00",), "validation": ("08",)}


def simulate_kitti_layout(
    root: Path | str,
    *,
    num_sweeps: int = 8,
    num_validation_sweeps: int = 2,
    seed: int = 0,
    azimuth_steps: int = 500,
) -> SimulatedData:
    """Write simulated sweeps and a class map, or find that they are there already.

    The sweeps are those that `simulate_semantickitti` writes for the same arguments.

    Parameters
    ----------
    root, num_sweeps, num_validation_sweeps, seed, azimuth_steps
        As for `simulate_semantickitti`.

    Raises
    ------
    UserError
        As `train.simulation.write.simulate`.
    """
    return simulate_in_semantickitti_s_layout(
        root,
        dataset="kitti-layout",
        num_sweeps=num_sweeps,
        num_validation_sweeps=num_validation_sweeps,
        seed=seed,
        azimuth_steps=azimuth_steps,
        write=_write,
    )


def _write(folder: Path, settings: dict[str, Any]) -> None:
    write_sequences(folder, settings)
    (folder / CLASS_MAP_FILE).write_text(class_map_yaml(CLASS_MAP, _SPLIT), encoding="utf-8")


def class_map_yaml(class_map: ClassMap, split: Mapping[str, tuple[str, ...]]) -> str:
    """Return a class map as `read_class_map` reads it, in the form of SemanticKITTI's own.

    Parameters
    ----------
    class_map
        Must have an id that is ignored.
    split
        "training", "validation", "test" -> sequences.
    """

    def section(name: str, entries: Mapping[int, object], comments: Mapping[int, str]) -> list[str]:
        rows = [f"  {key}: {value}" for key, value in entries.items()]
        notes = (comments.get(key) for key in entries)
        noted = [f"{row}  # {note}" if note else row for row, note in zip(rows, notes, strict=True)]
        return [f"{name}:", *noted]

    assert class_map.ignored_raw is not None
    names = class_map.raw_names
    learning = {
        raw: 0 if train == IGNORE_INDEX else train + 1
        for raw, train in class_map.raw_to_train.items()
    }
    inverse = {0: class_map.ignored_raw} | {
        train + 1: raw for train, raw in enumerate(class_map.train_to_raw)
    }
    lines = [
        "# What the ids in labels/ mean: id on disk -> class -> the id that a prediction has.",
        *section("labels", {raw: f'"{name}"' for raw, name in names.items()}, {}),
        *section("learning_map", learning, names),
        *section("learning_map_inv", inverse, {key: names[raw] for key, raw in inverse.items()}),
        *section("learning_ignore", {key: str(key == 0).lower() for key in inverse}, {}),
        "split:",
    ]
    for key, ours in SPLIT_KEYS.items():
        quoted = ", ".join(f'"{name}"' for name in split.get(ours, ()))
        lines.append(f"  {key}: [{quoted}]")
    return "\n".join([*lines, ""])
