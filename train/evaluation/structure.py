"""Scores that see structure: thin classes, class borders, fragments and spurious components.

All are made from whole numbers of each class that add up over frames, scenes and machines, so that
a bootstrap over scenes can add them again.

Shape letters: N points, L labeled points, K cells, E pairs of cells, T true components, C classes.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from train.core.iou import ClassCounts
from train.data.dataset_spec import BenchmarkRule
from train.evaluation.cells import (
    boundary_mask,
    component_roots,
    majority_label,
    occupied_cells,
)
from train.evaluation.metrics import mean_known

MIN_TRUE_CELLS: Final = 50
"""A true component counts from so many cells on."""

MIN_PREDICTED_CELLS: Final = 3
"""A predicted component, or a fragment, counts from so many cells on."""

THIN_CLASSES: Final = {
    "nuscenes": ("bicycle", "motorcycle", "pedestrian"),
    "semantickitti": (
        "bicycle",
        "motorcycle",
        "person",
        "bicyclist",
        "motorcyclist",
        "trunk",
        "pole",
        "traffic-sign",
    ),
    "waymo": (
        "motorcyclist",
        "bicyclist",
        "pedestrian",
        "sign",
        "pole",
        "bicycle",
        "motorcycle",
        "tree-trunk",
    ),
}
"""Dataset -> its poles, signs, trunks, people and two-wheelers, riders among them. nuScenes has no
class for the first three."""


def thin_classes(dataset: str, class_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of a dataset's thin classes.

    Parameters
    ----------
    dataset
        Its name.
    class_names
        Its classes; looked at for a dataset that is not in `THIN_CLASSES`, whose thin classes are
        those that have the name of one of the others'.
    """
    known = {name for names in THIN_CLASSES.values() for name in names}
    return THIN_CLASSES.get(dataset, tuple(name for name in class_names if name in known))


@dataclass(frozen=True)
class FrameStructure:
    """What the truth alone says of a frame: found once, used for the predictions of many networks.

    Points without a label take no part: they lie in no cell and are no neighbors.

    Attributes
    ----------
    num_points, num_classes
        N with those without a label, and C.
    labeled
        (L,) int32: which points have a label; all further arrays are of these.
    truth
        (L,) int16.
    boundary
        (L,) bool: has a point of another class within `cells.BOUNDARY_RADIUS_M`.
    cell_of_point
        (L,) int32.
    pairs
        (2, E) int32: neighboring cells.
    cell_truth
        (K,) int16: the class of most labeled points in the cell, the lowest of equally many.
    component
        (K,) int32: the true component, among those of at least `MIN_TRUE_CELLS`; -1 for others.
    component_class
        (T,) int16.
    """

    num_points: int
    num_classes: int
    labeled: NDArray[np.int32]
    truth: NDArray[np.int16]
    boundary: NDArray[np.bool_]
    cell_of_point: NDArray[np.int32]
    pairs: NDArray[np.int32]
    cell_truth: NDArray[np.int16]
    component: NDArray[np.int32]
    component_class: NDArray[np.int16]


def frame_structure(
    coord: NDArray[np.floating], truth: NDArray[np.int64], num_classes: int
) -> FrameStructure:
    """Return what the truth of a frame says, for `count_structure`.

    Parameters
    ----------
    coord
        (N, 3) meters, finite, of all points of the frame (not of voxels).
    truth
        (N,) training ids, negative where the label does not count.
    num_classes
        C.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not below C, or coordinates are not finite.
    """
    if truth.shape != (len(coord),):
        raise ValueError(f"frame_structure: {truth.shape} labels for {len(coord)} points")
    if len(truth) and truth.max() >= num_classes:
        raise ValueError(
            f"frame_structure: truth has id {truth.max()}, outside 0 to {num_classes - 1}"
        )
    boundary = boundary_mask(coord, truth)
    labeled = np.flatnonzero(truth >= 0)
    of_labeled = truth[labeled]
    cells = occupied_cells(coord[labeled])
    cell_truth = majority_label(cells.cell_of_point, of_labeled, cells.num_cells, num_classes)
    roots = component_roots(cells.pairs, cell_truth)
    sizes = np.bincount(roots, minlength=cells.num_cells)
    large = np.flatnonzero(sizes >= MIN_TRUE_CELLS)
    number = np.full(cells.num_cells, -1)
    number[large] = np.arange(len(large))
    return FrameStructure(
        num_points=len(truth),
        num_classes=num_classes,
        labeled=labeled.astype(np.int32),
        truth=of_labeled.astype(np.int16),
        boundary=boundary[labeled],
        cell_of_point=cells.cell_of_point,
        pairs=cells.pairs,
        cell_truth=cell_truth.astype(np.int16),
        component=number[roots].astype(np.int32),
        component_class=cell_truth[large].astype(np.int16),
    )


@dataclass(frozen=True, eq=False)
class StructureCounts:
    """What was counted in some frames; counts of disjoint sets of frames add up.

    Attributes
    ----------
    frames
        How many.
    frames_with
        (C,) int64, as all that follows: frames with a point of the class.
    truth, predicted, hits, abstained
        Labeled points: of the class, predicted as the class, both, of the class and without a
        prediction.
    boundary_truth, boundary_predicted, boundary_hits, boundary_abstained
        The same of points near a border.
    components
        True components of at least `MIN_TRUE_CELLS` cells.
    missed
        Those of which no fragment was found.
    splits
        Fragments found in true components beyond the first of each.
    spurious
        Predicted components of the class where the class is not.
    """

    frames: int
    frames_with: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    hits: NDArray[np.int64]
    abstained: NDArray[np.int64]
    boundary_truth: NDArray[np.int64]
    boundary_predicted: NDArray[np.int64]
    boundary_hits: NDArray[np.int64]
    boundary_abstained: NDArray[np.int64]
    components: NDArray[np.int64]
    missed: NDArray[np.int64]
    splits: NDArray[np.int64]
    spurious: NDArray[np.int64]

    @classmethod
    def zero(cls, num_classes: int) -> Self:
        """Return the counts of no frames."""
        return cls(0, *(np.zeros(num_classes, dtype=np.int64) for _ in PER_CLASS))

    @classmethod
    def total(cls, parts: Iterable["StructureCounts"], num_classes: int) -> "StructureCounts":
        """Return the sum of any number of counts, none included."""
        return sum(parts, cls.zero(num_classes))

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.truth)

    def __add__(self, other: "StructureCounts") -> "StructureCounts":
        if not isinstance(other, StructureCounts):
            return NotImplemented
        if self.num_classes != other.num_classes:
            raise ValueError(
                f"StructureCounts: {self.num_classes} and {other.num_classes} classes do not add up"
            )
        return StructureCounts(
            self.frames + other.frames,
            *(getattr(self, name) + getattr(other, name) for name in PER_CLASS),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StructureCounts) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, Any]:
        """Return whole numbers and lists of them, by name."""
        return {"frames": int(self.frames)} | {
            name: getattr(self, name).tolist() for name in PER_CLASS
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the counts that `to_json` gave.

        Raises
        ------
        ValueError
            If a name is missing or unknown, an entry is no whole number of at least 0, or lists
            differ in length.
        """
        names = {"frames", *PER_CLASS}
        if record.keys() != names:
            odd = sorted(names ^ record.keys())
            raise ValueError(f"StructureCounts: a record lacks, or should not have: {odd}")
        lengths = {len(record[name]) for name in PER_CLASS}
        if len(lengths) != 1:
            raise ValueError(f"StructureCounts: lists of different lengths: {sorted(lengths)}")
        numbers = [record["frames"], *(entry for name in PER_CLASS for entry in record[name])]
        for number in numbers:
            if type(number) is not int or number < 0:
                raise ValueError(f"StructureCounts: {number!r} is no whole number of at least 0")
        return cls(
            record["frames"], *(np.array(record[name], dtype=np.int64) for name in PER_CLASS)
        )

    def iou(self, rule: BenchmarkRule, *, boundary: bool = False) -> list[float | None]:
        """Return each class's intersection over union; None where the union is empty.

        Parameters
        ----------
        rule
            The benchmark's: whether a point without a prediction is a miss.
        boundary
            Of the points near a border alone.
        """
        prefix = "boundary_" if boundary else ""
        truth, predicted, hits, abstained = (
            getattr(self, prefix + name) for name in ("truth", "predicted", "hits", "abstained")
        )
        true = truth if rule.abstention_is_miss else truth - abstained
        counts = ClassCounts(hits, true, predicted)
        return counts.iou(counts.union > 0)

    def scores(
        self,
        class_names: Sequence[str],
        rule: BenchmarkRule,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> dict[str, float | None]:
        """Return the scores of these frames; None where nothing defines one.

        Parameters
        ----------
        class_names
            Of the training ids.
        rule
            The benchmark's.
        groups
            Name of a further score -> the classes whose mean IoU it is, such as
            ``{"thin_iou": thin_classes("waymo")}``.

        Returns
        -------
        dict
            `miou`, `benchmark_miou`, `accuracy`: as `ConfusionMatrix.scores` says.
            `boundary_iou`: mean IoU near borders. `fragmentation`: fragments beyond the first, per
            true component. `missed`: share of the true components of which nothing was found.
            `spurious_per_10k`: predicted components where their class is not, per 10,000 labeled
            points. The groups' scores by their names.

        Raises
        ------
        ValueError
            If the number of names is not that of the counts, or a group names an unknown class.

        Notes
        -----
        The means over borders and groups are over the classes that the truth has there, so that
        two networks are compared over the same classes; `miou` is the benchmarks', in which a
        single false alarm adds a class of IoU 0.
        """
        if len(class_names) != self.num_classes:
            raise ValueError(
                f"StructureCounts.scores: {len(class_names)} names for {self.num_classes} classes"
            )
        by_class = self.iou(rule)
        miou, empty = mean_known(by_class), rule.empty_union
        official = (empty if value is None else value for value in by_class)
        points, components = int(self.truth.sum()), int(self.components.sum())
        near_borders = self.iou(rule, boundary=True)
        scores = {
            "miou": miou,
            "benchmark_miou": None if miou is None else mean_known(official),
            "accuracy": _ratio(self.hits.sum(), points),
            "boundary_iou": mean_known(
                near_borders[at] for at in np.flatnonzero(self.boundary_truth)
            ),
            "fragmentation": _ratio(self.splits.sum(), components),
            "missed": _ratio(self.missed.sum(), components),
            "spurious_per_10k": _ratio(10_000 * self.spurious.sum(), points),
        }
        for group, members in (groups or {}).items():
            if group in scores:
                raise ValueError(f"StructureCounts.scores: {group!r} is the name of another score")
            unknown = sorted(set(members) - set(class_names))
            if unknown:
                raise ValueError(f"StructureCounts.scores: {group} has unknown classes {unknown}")
            ids = [at for at, name in enumerate(class_names) if name in members]
            scores[group] = mean_known(by_class[at] for at in ids if self.truth[at] > 0)
        return scores


PER_CLASS: Final = tuple(
    field.name for field in dataclasses.fields(StructureCounts) if field.name != "frames"
)
"""The counts that have a number for each class."""


def count_structure(structure: FrameStructure, prediction: NDArray[np.int64]) -> StructureCounts:
    """Return what there is to count in one frame.

    Parameters
    ----------
    structure
        From `frame_structure`.
    prediction
        (N,) training ids of all points, negative where no class was predicted.

    Returns
    -------
    StructureCounts
        Of this one frame.

    Raises
    ------
    ValueError
        If the length or an id does not fit.

    Notes
    -----
    A cell is predicted as what most of its labeled points are. Fragments of a true component are
    the connected components, of at least `MIN_PREDICTED_CELLS` cells, of those of its cells that
    are predicted as its class; a component without any is missed. A predicted component of at least
    as many cells is spurious if none of its cells is a true cell of its class or a neighbor of one:
    a border drawn beside its place is no invention.
    """
    num_classes = structure.num_classes
    if prediction.shape != (structure.num_points,):
        raise ValueError(
            f"count_structure: {prediction.shape} predictions for {structure.num_points} points"
        )
    if len(prediction) and prediction.max() >= num_classes:
        raise ValueError(
            f"count_structure: prediction has id {prediction.max()}, outside 0 to {num_classes - 1}"
        )
    truth, guess = structure.truth.astype(np.int64), prediction[structure.labeled]

    def per_class(ids: NDArray[Any]) -> NDArray[np.int64]:
        return np.bincount(ids, minlength=num_classes)

    def points(prefix: str, rows: NDArray[Any] | slice) -> dict[str, NDArray[np.int64]]:
        of_truth, of_guess = truth[rows], guess[rows]
        named = of_guess >= 0
        return {
            prefix + "truth": per_class(of_truth),
            prefix + "predicted": per_class(of_guess[named]),
            prefix + "hits": per_class(of_truth[of_truth == of_guess]),
            prefix + "abstained": per_class(of_truth[~named]),
        }

    cell_guess = majority_label(
        structure.cell_of_point, guess, len(structure.cell_truth), num_classes
    )
    fragments = _fragments(structure, cell_guess)
    classes = structure.component_class
    present = per_class(truth)
    return StructureCounts(
        frames=1,
        frames_with=(present > 0).astype(np.int64),
        **points("", slice(None)),
        **points("boundary_", np.flatnonzero(structure.boundary)),
        components=per_class(classes),
        missed=per_class(classes[fragments == 0]),
        splits=per_class(np.repeat(classes, np.maximum(fragments - 1, 0))),
        spurious=per_class(_spurious(structure, cell_guess)),
    )


def _fragments(structure: FrameStructure, cell_guess: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many pieces of each true component were found, (T,)."""
    found = np.where(cell_guess == structure.cell_truth, structure.component, -1)
    roots = component_roots(structure.pairs, found)
    sizes = np.bincount(roots[found >= 0], minlength=len(found))
    counted = np.flatnonzero(sizes >= MIN_PREDICTED_CELLS)
    return np.bincount(found[counted], minlength=len(structure.component_class))


def _spurious(structure: FrameStructure, cell_guess: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of each predicted component that is nowhere near its class."""
    roots = component_roots(structure.pairs, cell_guess)
    sizes = np.bincount(roots[cell_guess >= 0], minlength=len(roots))
    touches = np.zeros(len(roots), dtype=np.bool_)
    # A component of several cells that holds a true cell also holds a neighbor of it.
    for here, there in (structure.pairs, structure.pairs[::-1]):
        touches[roots[here[cell_guess[here] == structure.cell_truth[there]]]] = True
    return cell_guess[(sizes >= MIN_PREDICTED_CELLS) & ~touches]


def _ratio(part: Any, whole: int) -> float | None:
    return int(part) / whole if whole else None
