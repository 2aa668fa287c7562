"""What no LiDAR frame should be: other columns, units or axes, all in one place, without labels.

One place for all who look at frames before they use them: `train.inspect`, the sample of frames
that training reads before it starts, and `train.predict`. What cannot work is a problem, what looks
wrong is a warning; both say what was seen and what to do about it. A sound frame of any dataset,
recorded or simulated, is told nothing.

Shape letters: N points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import IGNORE_INDEX, LidarFrame

NEAR_M: Final = (3.0, 20.0)
"""Horizontal distances between which the ground is looked for: off the vehicle, and before slopes
and walls take over."""

_LAYER_M: Final = 0.2
_FEWEST_OF_GROUND: Final = 300
_SHARE: Final = 0.2


def ground_height_m(coord: NDArray[np.floating]) -> float | None:
    """Return the z of the ground; None where no layer stands out.

    Parameters
    ----------
    coord
        (N, 3) meters, z up or down.

    Notes
    -----
    The fullest of all layers 0.4 m thick, if it holds a fifth of the near points; of at most some
    20,000 points, evenly taken.
    """
    some = coord[:: max(1, len(coord) // 20_000)]
    range_m = np.hypot(some[:, 0], some[:, 1])
    z = some[(range_m > NEAR_M[0]) & (range_m < NEAR_M[1]), 2].astype(np.float64)
    if len(z) < _FEWEST_OF_GROUND:
        return None
    layer = np.floor(z / _LAYER_M).astype(np.int64)
    lowest = int(layer.min())
    counts = np.bincount(layer - lowest, minlength=2)
    # Two neighbors each, so that ground on the border of two layers is not cut in halves.
    pairs = counts[:-1] + counts[1:]
    fullest = int(np.argmax(pairs))
    if pairs[fullest] < _SHARE * len(z):
        return None
    bottom = (lowest + fullest) * _LAYER_M
    return float(np.median(z[(z >= bottom) & (z < bottom + 2 * _LAYER_M)]))


VOXEL_M: Final = 0.05
"""Points that lie in one voxel of this size lie in one place."""

GROUND_TOLERANCE_M: Final = 1.0
"""How far from its place the ground may be: mounts differ, and scenes slope."""

_FEWEST: Final = 1000  # points; how fewer are spread says nothing
_MOST: Final = 20_000  # points that spreads are taken from: as good, and sixty frames take a second
_FORMATS: Final = {
    ".pcd.bin": "nuscenes",
    ".bin": "semantickitti",
    ".tfrecord": "waymo",
    ".parquet": "waymo",
}
"""Whose axes a file has, by its ending; the longer ending comes first."""


@dataclass(frozen=True)
class Finding:
    """Something about a frame that is wrong, or looks wrong.

    Attributes
    ----------
    kind
        Which check found it; equal for all frames with the same trouble.
    seen
        What was seen, to follow the frame's name.
    hint
        What to do.
    """

    kind: str
    seen: str
    hint: str


def check_frame(frame: LidarFrame) -> list[Finding]:
    """Return what is wrong with a frame, or looks wrong; nothing for a sound one.

    Parameters
    ----------
    frame
        With or without labels, as a dataset's reader gives it.
    """
    some = frame.coord[:: max(1, len(frame.coord) // _MOST)].astype(np.float64)
    found = [_strength(frame), _one_place(frame.coord), _no_label(frame)]
    if len(frame.coord) >= _FEWEST:
        found += [_equal_strength(frame), *(check(some) for check in _SPREADS)]
    kinds = [each for each in found if each is not None]
    if any(each.kind == ONE_PLACE for each in kinds):  # says why all else is odd, too
        return [each for each in kinds if each.kind in (ONE_PLACE, STRENGTH, NO_LABEL)]
    return kinds


STRENGTH: Final = "strength"
EQUAL_STRENGTH: Final = "equal strength"
ONE_PLACE: Final = "one place"
NO_LABEL: Final = "no label"


def _strength(frame: LidarFrame) -> Finding | None:
    low, high = float(frame.strength.min()), float(frame.strength.max())
    if low >= 0.0 and high <= 1.0:
        return None
    hint = "subtract the lowest, then divide by the largest possible value"
    if low >= 0.0:
        largest = 255 if high <= 255.0 else 65535
        hint = (
            f"divide them by the largest possible value ({largest}, if they are counts); own "
            f"frames are by --data.strength-scale {largest}"
        )
    return Finding(
        STRENGTH,
        f"strengths (remission, intensity) run from {low:g} to {high:g}, and networks are trained "
        "on 0 to 1",
        hint,
    )


def _equal_strength(frame: LidarFrame) -> Finding | None:
    low, high = float(frame.strength.min()), float(frame.strength.max())
    if low == high:
        return Finding(
            EQUAL_STRENGTH,
            f"every point has the strength {low:g}",
            "if the sensor gives one, write it; a network that was trained with it needs it",
        )
    if low >= 0.0 and high < 1 / 128:
        return Finding(
            EQUAL_STRENGTH,
            f"strengths are at most {high:.2g}",
            "they look divided by 255 twice; write them as the dataset has them",
        )
    return None


def _one_place(coord: NDArray[np.float32]) -> Finding | None:
    cell = np.floor(coord.astype(np.float64) / VOXEL_M)
    if not (cell == cell[0]).all():
        return None
    return Finding(
        ONE_PLACE,
        f"all {len(coord):,} points lie in one voxel of {100 * VOXEL_M:g} cm, at "
        f"{' '.join(f'{value:.4g}' for value in coord[0].tolist())}",
        "such a frame cannot be trained on; write it again, or remove it",
    )


def _no_label(frame: LidarFrame) -> Finding | None:
    if frame.segment is None or bool((frame.segment != IGNORE_INDEX).any()):
        return None
    return Finding(
        NO_LABEL,
        "it has a label file and no point with a class that counts",
        "look at the labels and at how they are mapped to classes",
    )


# What follows looks at how points are spread: (N, 3) float64, at least `_FEWEST` of them.


def _at_the_origin(coord: NDArray[np.float64]) -> Finding | None:
    share = float(np.mean((coord == 0.0).all(axis=1)))
    if share < 0.05:
        return None
    return Finding(
        "at the origin",
        f"{share:.0%} of the points lie at 0 0 0",
        "these are pulses without a return; leave them out",
    )


def _too_small(coord: NDArray[np.float64]) -> Finding | None:
    size = float(np.ptp(coord, axis=0).max())
    if size >= 1.0:
        return None
    return Finding(
        "too small",
        f"all points lie within {size:.2g} m",
        "coordinates are meters; multiply them if they are kilometers or scaled to 1",
    )


def _far_away(coord: NDArray[np.float64]) -> Finding | None:
    range_m = np.linalg.norm(coord[:, :2], axis=1)
    nearest = float(np.quantile(range_m, 0.05))
    if nearest < 40.0:
        return None
    return Finding(
        "far away",
        f"95 % of the points are more than {nearest:.0f} m from 0 0",
        "coordinates are relative to the sensor or its vehicle; subtract its place in the map",
    )


def _upright(coord: NDArray[np.float64]) -> Finding | None:
    """Find a z that does not point up: it spans far more than a scene is high."""
    low, high = np.quantile(coord, (0.05, 0.95), axis=0)
    x, y, z = (high - low).tolist()
    if z < 15.0 or z < 2.0 * min(x, y):
        return None
    return Finding(
        "not upright",
        f"nine tenths of the points span {x:.0f} m in x, {y:.0f} m in y and {z:.0f} m in z",
        "z points up; write the axes in the dataset's order",
    )


def _upside_down(coord: NDArray[np.float64]) -> Finding | None:
    """Find a z that points down: most points lie under what looks like the ground."""
    ground = ground_height_m(coord)
    if ground is None:
        return None
    near = coord[np.linalg.norm(coord[:, :2], axis=1) < NEAR_M[1], 2]
    below, above = float(np.mean(near < ground - 0.5)), float(np.mean(near > ground + 0.5))
    if below < 0.2 or below < 4.0 * above:
        return None
    return Finding(
        "upside down",
        f"{below:.0%} of the near points lie under the ground, at z = {ground:.1f} m, and "
        f"{above:.0%} above it",
        "z points up; change its sign (and that of y, so that left stays left)",
    )


_SPREADS: Final[tuple[Callable[[NDArray[np.float64]], Finding | None], ...]] = (
    _at_the_origin,
    _too_small,
    _far_away,
    _upright,
    _upside_down,
)


@dataclass
class FrameChecks:
    """Adds up what was found in the frames of a dataset that were looked at.

    Attributes
    ----------
    spec
        The dataset, for where its ground should be.
    trains
        Whether the frames are to be trained on: some that can be scored cannot.
    needs_labels
        Whether labels will be looked at.
    """

    spec: DatasetSpec
    trains: bool = True
    needs_labels: bool = True
    _frames: int = field(default=0, init=False)
    _labeled: int = field(default=0, init=False)
    _found: dict[str, list[tuple[str, Finding]]] = field(default_factory=dict, init=False)
    _grounds: list[float] = field(default_factory=list, init=False)

    def add(self, frame: LidarFrame) -> list[Finding]:
        """Look at one frame; return what was found in it."""
        self._frames += 1
        self._labeled += frame.segment is not None
        found = check_frame(frame)
        for finding in found:
            if finding.kind != NO_LABEL or self.needs_labels:
                self._found.setdefault(finding.kind, []).append((frame.name, finding))
        ground = None if found else ground_height_m(frame.coord)
        if ground is not None:
            self._grounds.append(ground)
        return found

    def problems(self) -> list[str]:
        """Return what cannot work, a line each."""
        found = []
        if self.trains and ONE_PLACE in self._found:
            found.append(self._line(ONE_PLACE))
        if self._all_without_a_label():
            found.append(
                f"none of the {self._labeled} labeled frames that were looked at has a point with "
                "a class that counts: nothing can be learned or scored; look at the labels and at "
                "how they are mapped to classes"
            )
        return found

    def warnings(self) -> list[str]:
        """Return what looks wrong, a line each."""
        told = {ONE_PLACE} if self.trains else set()
        if self._all_without_a_label():
            told.add(NO_LABEL)
        lines = [self._line(kind) for kind in self._found if kind not in told]
        expected = self.spec.ground_z_m
        if self._grounds and expected is not None:
            ground = float(np.median(self._grounds))
            if abs(ground - expected) > GROUND_TOLERANCE_M:
                lines.append(
                    f"the ground lies at z = {ground:.1f} m, in {self.spec.name} at "
                    f"{expected:.1f} m: {_SHIFT}"
                )
        return lines

    def _all_without_a_label(self) -> bool:
        return 0 < self._labeled == len(self._found.get(NO_LABEL, ()))

    def _line(self, kind: str) -> str:
        name, first = self._found[kind][0]
        count = len(self._found[kind])
        if count == 1:
            return f"{name}: {first.seen}; {first.hint}"
        return f"{name} and {count - 1} more of {self._frames} frames: {first.seen}; {first.hint}"


_SHIFT: Final = (
    "networks are trained with it there; shift z, or do not mix these frames with those of the "
    "dataset nor with networks that were trained on it"
)


def prediction_warnings(frame: LidarFrame, class_names: Sequence[str] | None) -> list[str]:
    """Return what looks wrong with a cloud, and with giving it to a network, a line each.

    Parameters
    ----------
    frame
        The cloud.
    class_names
        The network's, which say whose frames it was trained on; None where nobody said.
    """
    # That a file has no strength is told where it is read.
    found = [each for each in check_frame(frame) if each.kind not in (EQUAL_STRENGTH, NO_LABEL)]
    lines = [f"{each.seen}; {each.hint}" for each in found]
    specs = (dataset_spec(name) for name in dict.fromkeys(_FORMATS.values()))
    trained = next((spec for spec in specs if spec.class_names == tuple(class_names or ())), None)
    if trained is None:
        return lines
    name = next((of for end, of in _FORMATS.items() if frame.path.name.endswith(end)), None)
    if name is not None and dataset_spec(name).forward_deg != trained.forward_deg:
        lines.append(
            f"the network was trained on {trained.name}, whose vehicle heads along "
            f"{_heading(trained)}, and this is a file of {name}, whose vehicle heads along "
            f"{_heading(dataset_spec(name))}; turn the cloud about z first"
        )
    ground = ground_height_m(frame.coord)
    expected = trained.ground_z_m
    if ground is not None and expected is not None and abs(ground - expected) > GROUND_TOLERANCE_M:
        lines.append(
            f"the ground lies at z = {ground:.1f} m; in {trained.name}, which the network was "
            f"trained on, it lies at {expected:.1f} m; add {expected - ground:.1f} m to z first"
        )
    return lines


def _heading(spec: DatasetSpec) -> str:
    """Return the axis that a dataset's vehicle heads along."""
    return {0.0: "x", 90.0: "y"}.get(spec.forward_deg, f"{spec.forward_deg:g} degrees from x")
