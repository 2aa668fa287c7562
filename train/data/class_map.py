"""What the ids in label files mean: names, train ids, and the way back.

Shape letters: N points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import listed
from train.data.frame import IGNORE_INDEX

MAX_RAW_ID: Final = (1 << 16) - 1
"""The largest id: label files have 16 bits for the class."""

_UNKNOWN: Final = -2


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """The classes of a dataset and the ids that its label files have for them.

    Attributes
    ----------
    source
        Where the map is from, for people: a dataset's name, or a file.
    class_names
        By train id.
    raw_names
        Raw id -> what it means. An id that is not here is an error in a label file.
    raw_to_train
        Raw id -> train id, `IGNORE_INDEX` for what does not count.
    train_to_raw
        By train id: the raw id that a prediction is written as.
    ignored_raw
        The raw id that is written where no class is predicted; None if every id counts.
    unknown_hint
        What to do about label files with other ids.
    split
        "training", "validation", "test" -> names of sequences; empty if the map does not say.
    colors
        (red, green, blue), 0 to 1, by train id; None if the map does not say.
    """

    source: str
    class_names: tuple[str, ...]
    raw_names: Mapping[int, str]
    raw_to_train: Mapping[int, int]
    train_to_raw: tuple[int, ...]
    ignored_raw: int | None
    unknown_hint: str
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    colors: tuple[tuple[float, float, float], ...] | None = None

    @cached_property
    def _lookup(self) -> NDArray[np.int64]:
        # One entry for each 16-bit id, and a last one that -1 finds: no check of bounds is needed.
        lookup = np.full(MAX_RAW_ID + 2, _UNKNOWN, dtype=np.int64)
        for raw, train in self.raw_to_train.items():
            lookup[raw] = train
        return lookup

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as JSON has it: all but colors and the file's folder."""
        return {
            "source": Path(self.source).name,
            "class_names": list(self.class_names),
            "raw_names": {str(raw): name for raw, name in self.raw_names.items()},
            "raw_to_train": {str(raw): train for raw, train in self.raw_to_train.items()},
            "train_to_raw": list(self.train_to_raw),
            "ignored_raw": self.ignored_raw,
            "split": {name: list(sequences) for name, sequences in self.split.items()},
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any], unknown_hint: str) -> "ClassMap":
        """Return what `to_plain` wrote.

        Raises
        ------
        UserError
            If it was changed since.
        """
        try:
            found = cls(
                source=str(values["source"]),
                class_names=tuple(map(str, values["class_names"])),
                raw_names={int(raw): str(name) for raw, name in values["raw_names"].items()},
                raw_to_train={int(raw): int(to) for raw, to in values["raw_to_train"].items()},
                train_to_raw=tuple(map(int, values["train_to_raw"])),
                ignored_raw=values["ignored_raw"],
                unknown_hint=unknown_hint,
                split={str(k): tuple(map(str, v)) for k, v in values["split"].items()},
            )
            count = len(found.class_names)
            raw_ids = {*found.raw_names, *found.raw_to_train, *found.train_to_raw}
            if found.ignored_raw is not None:
                raw_ids.add(int(found.ignored_raw))
            fits = all(0 <= raw <= MAX_RAW_ID for raw in raw_ids) and all(
                to == IGNORE_INDEX or 0 <= to < count for to in found.raw_to_train.values()
            )
            if len(found.train_to_raw) != count or not fits:
                raise ValueError("ids and classes do not belong together")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the class map that a checkpoint was trained with is damaged ({error}); give it "
                "with --data.class-map"
            ) from error
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the table: it goes to every worker of a loader, who makes it as fast."""
        return {name: value for name, value in vars(self).items() if name != "_lookup"}

    def train_ids(self, raw: NDArray[np.integer], path: Path) -> NDArray[np.int64]:
        """Return the train ids of raw ones.

        Parameters
        ----------
        raw
            (N,) any integers.
        path
            The file that they are from.

        Returns
        -------
        segment
            (N,) int64: 0 to C - 1, or `IGNORE_INDEX`.

        Raises
        ------
        UserError
            If an id is not in the map.
        """
        inside = (raw >= -1) & (raw <= MAX_RAW_ID)
        segment = self._lookup[raw if inside.all() else np.where(inside, raw, 0)]
        unknown = (segment == _UNKNOWN) | ~inside
        if unknown.any():
            ids = np.unique(raw[unknown]).tolist()
            shown = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
            raise UserError(
                f"{path}: {int(unknown.sum())} labels have ids that {self.source} does not have "
                f"({shown}; first at point {int(np.argmax(unknown))}); {self.unknown_hint}"
            )
        return segment

    def raw_ids(self, segment: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return what label files have for train ids.

        Parameters
        ----------
        segment
            (N,) 0 to C - 1, or `IGNORE_INDEX`.

        Raises
        ------
        UserError
            If a point has no class and the map has no id for that.
        """
        table = np.zeros(len(self.train_to_raw) + 1, dtype=np.uint32)
        table[:-1] = self.train_to_raw
        if (segment == IGNORE_INDEX).any():
            if self.ignored_raw is None:
                raise UserError(
                    f"{self.source}: has no ignored id for the points that get no class; name one "
                    "in learning_ignore"
                )
            table[-1] = self.ignored_raw  # where -1 points to
        return table[segment]

    def check_classes(self, class_names: tuple[str, ...], of: str) -> None:
        """Refuse a network whose classes are others.

        Raises
        ------
        UserError
            If names or their order differ.
        """
        if class_names != self.class_names:
            raise UserError(
                f"{of}: its classes ({listed(class_names)}) are not those of {self.source} "
                f"({listed(self.class_names)}); give the class map that it was trained with"
            )
