"""Who stands where: rectangles on the ground that nothing else may stand on."""

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.scene import Frame


class Footprints:
    """Rectangles on the ground."""

    def __init__(self) -> None:
        # x, y, cosine and sine of the heading, half length, half width
        self._rows = np.zeros((64, 6))
        self._count = 0

    def record(self, frame: Frame, half_length: float, half_width: float) -> None:
        """Add a rectangle about a frame, whatever else is there."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count] = _row(frame, half_length, half_width)
        self._count += 1

    def take(self, frame: Frame, half_length: float, half_width: float) -> bool:
        """Add a rectangle if it touches no other; return whether it was added."""
        if self._touched(_row(frame, half_length, half_width)).any():
            return False
        self.record(frame, half_length, half_width)
        return True

    def _touched(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rectangles share a place with another one (separating axes)."""
        rows = self._rows[: self._count]
        offset = rows[:, :2] - row[:2]
        # The angle between the two tells how far each reaches along the other's axes.
        cos = np.abs(rows[:, 2] * row[2] + rows[:, 3] * row[3])
        sin = np.abs(rows[:, 3] * row[2] - rows[:, 2] * row[3])
        touched = np.ones(len(rows), dtype=np.bool_)
        for axis_x, axis_y, own, other in (
            (row[2], row[3], row[4], cos * rows[:, 4] + sin * rows[:, 5]),
            (-row[3], row[2], row[5], sin * rows[:, 4] + cos * rows[:, 5]),
            (rows[:, 2], rows[:, 3], rows[:, 4], cos * row[4] + sin * row[5]),
            (-rows[:, 3], rows[:, 2], rows[:, 5], sin * row[4] + cos * row[5]),
        ):
            apart = np.abs(offset[:, 0] * axis_x + offset[:, 1] * axis_y)
            touched &= apart < own + other
        return touched


def _row(frame: Frame, half_length: float, half_width: float) -> NDArray[np.float64]:
    cos, sin = float(np.cos(frame.yaw)), float(np.sin(frame.yaw))
    return np.array([frame.x, frame.y, cos, sin, half_length, half_width])
