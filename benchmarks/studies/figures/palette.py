"""Colors that color-blind readers can tell apart, for lines, and for the classes of a map."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Okabe and Ito, "Color Universal Design" (2008).
BLACK: Final = "#000000"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"

RIGHT: Final = "#C8C8C8"
"""A point whose class is right."""
WRONG: Final = VERMILION
"""A point whose class is wrong."""

# Like classes share a hue; the hues can be told apart by everyone, the shades by their lightness.
_GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("#9A9A9A", ("road", "driveable_surface", "lane-marker", "parking", "other_flat")),
    (PURPLE, ("sidewalk", "walkable", "curb", "other-ground")),
    (BLUE, ("car", "truck", "bus", "other-vehicle", "construction_vehicle", "trailer")),
    (VERMILION, ("pedestrian", "person", "bicyclist", "motorcyclist", "bicycle", "motorcycle")),
    (YELLOW, ("building", "manmade", "fence", "barrier")),
    (GREEN, ("vegetation", "terrain", "trunk", "tree-trunk")),
    (SKY, ("pole", "traffic-sign", "sign", "traffic-light", "construction-cone", "traffic_cone")),
)
_UNKNOWN: Final = "#303030"


def rgb(color: str) -> NDArray[np.float64]:
    """Return a color "#RRGGBB" as red, green, blue in 0..1."""
    return np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def class_colors(class_names: Sequence[str]) -> NDArray[np.float64]:
    """Return a color (red, green, blue in 0..1) for each class: its group's hue, in a shade.

    Parameters
    ----------
    class_names
        In the order of train ids; a class of no group is dark gray.
    """
    rows = []
    for name in class_names:
        color = rgb(_UNKNOWN)
        for hue, names in _GROUPS:
            if name in names:
                color = _shade(rgb(hue), names.index(name))
        rows.append(color)
    return np.array(rows).reshape(-1, 3)


def _shade(color: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    """Return the hue itself, then by turns darker and lighter shades of it."""
    step = (0.0, -0.45, 0.5, -0.25, 0.3, -0.6)[place % 6]
    return color * (1 + step) if step <= 0 else color + (1 - color) * step
