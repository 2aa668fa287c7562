"""How frames are shown: a color for each class, and where points are as the sensor sees them.

Shape letters: N points.
"""

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

CLASS_COLORS = {
    "car": (0.39, 0.59, 0.96),
    "bicycle": (0.39, 0.90, 0.96),
    "motorcycle": (0.12, 0.24, 0.59),
    "truck": (0.31, 0.12, 0.71),
    "bus": (0.39, 0.31, 0.98),
    "other-vehicle": (0.20, 0.20, 1.00),
    "construction_vehicle": (0.00, 0.35, 0.75),
    "trailer": (0.55, 0.35, 0.75),
    "person": (1.00, 0.12, 0.12),
    "pedestrian": (1.00, 0.12, 0.12),
    "bicyclist": (1.00, 0.16, 0.78),
    "motorcyclist": (0.59, 0.12, 0.35),
    "road": (0.90, 0.00, 0.90),
    "driveable_surface": (0.90, 0.00, 0.90),
    "lane-marker": (1.00, 0.55, 1.00),
    "parking": (1.00, 0.59, 1.00),
    "sidewalk": (0.45, 0.15, 0.45),
    "curb": (0.75, 0.35, 0.60),
    "other-ground": (0.69, 0.00, 0.29),
    "other_flat": (0.69, 0.00, 0.29),
    "walkable": (0.59, 0.94, 0.31),
    "building": (1.00, 0.78, 0.00),
    "manmade": (1.00, 0.78, 0.00),
    "fence": (1.00, 0.47, 0.20),
    "barrier": (1.00, 0.47, 0.20),
    "vegetation": (0.00, 0.69, 0.00),
    "trunk": (0.53, 0.24, 0.00),
    "tree-trunk": (0.53, 0.24, 0.00),
    "terrain": (0.59, 0.94, 0.31),
    "pole": (1.00, 0.94, 0.59),
    "traffic-sign": (1.00, 0.00, 0.00),
    "sign": (0.80, 0.00, 0.00),
    "traffic-light": (0.00, 1.00, 0.75),
    "construction-cone": (1.00, 0.47, 0.20),
    "traffic_cone": (0.00, 1.00, 0.75),
}
"""Colors that readers of SemanticKITTI's pictures know; like classes elsewhere have the same."""

UNLABELED_COLOR = (0.35, 0.35, 0.35)


def class_colors(class_names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return a color (red, green, blue in 0..1) for each class, then the one for no class."""
    rows = []
    for number, name in enumerate(class_names):
        around = number * 0.618034 * 2 * np.pi
        default = tuple(0.55 + 0.45 * np.cos(around + shift) for shift in (0.0, 2.1, 4.2))
        rows.append(CLASS_COLORS.get(name, default))
    return np.array([*rows, UNLABELED_COLOR], dtype=np.float64)


def directions(
    coord: NDArray[np.float32], origin_m: tuple[float, float, float], forward_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return where points are as seen from the sensor.

    Parameters
    ----------
    coord
        (N, 3).
    origin_m, forward_deg
        Where the sensor is in the points' frame, and which way the vehicle heads, from x towards y.

    Returns
    -------
    azimuth_deg, elevation_deg, range_m
        (N,) each. Azimuth is in [-180, 180), 0 ahead and positive to the left.
    """
    x, y, z = coord.astype(np.float64).T - np.array(origin_m)[:, None]
    range_m = np.sqrt(x * x + y * y + z * z)
    azimuth = (np.rad2deg(np.arctan2(y, x)) - forward_deg + 180.0) % 360.0 - 180.0
    elevation = np.rad2deg(np.arcsin(np.clip(z / np.maximum(range_m, 1e-9), -1.0, 1.0)))
    return azimuth, elevation, range_m


NO_POINT: Final = -1
"""What a pixel shows where no point is."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def from_above(
    coord: NDArray[np.float32], *, pixels: int = 480, extent_m: float = 50.0
) -> NDArray[np.int64]:
    """Return which point each pixel of a square view from above shows: the highest.

    Parameters
    ----------
    coord
        (N, 3) meters. x is to the right and y up.
    pixels
        H and W.
    extent_m
        How far the view reaches from the origin, either way.

    Returns
    -------
    ndarray
        (H, W) indices of points, `NO_POINT` where there is none.
    """
    if pixels < 1 or not 0 < extent_m < np.inf:
        raise ValueError(f"from_above: pixels is {pixels} and extent_m {extent_m}; both above 0")
    scale = pixels / (2 * extent_m)
    columns = np.floor((coord[:, 0].astype(np.float64) + extent_m) * scale)
    rows = np.floor((extent_m - coord[:, 1].astype(np.float64)) * scale)
    order = np.argsort(coord[:, 2], kind="stable")
    return _painted(rows, columns, order, (pixels, pixels), _dot(len(coord), pixels * pixels))


def from_sensor(
    coord: NDArray[np.float32],
    *,
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    forward_deg: float = 0.0,
    pixels: int = 960,
    height_from: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return which point each pixel of a panorama from the sensor shows: the nearest.

    Parameters
    ----------
    coord
        (N, 3) meters, N at least 1.
    origin_m, forward_deg
        As for `train.inspection.views.directions`. Ahead is in the middle, left is left.
    pixels
        W, a full turn. A degree is three times as high as wide; H is what the points need, between
        a twelfth and a third of W.
    height_from
        (N,) which points the picture must be high enough for; None, or none of them: all. Sensors
        that look down at their own bumper would else take most of it.

    Returns
    -------
    ndarray
        (H, W) indices of points, `NO_POINT` where there is none.
    """
    if pixels < 12:
        raise ValueError(f"from_sensor: pixels is {pixels}, must be at least 12")
    azimuth, elevation, range_m = directions(coord, origin_m, forward_deg)
    # A few points straight below or above must not squeeze all others into a line.
    some = height_from is not None and bool(height_from.any())
    low, high = np.quantile(elevation[height_from] if some else elevation, (0.002, 0.998))
    per_degree = 3 * pixels / 360.0
    height = int(np.clip(np.ceil((high - low) * per_degree) + 4, pixels // 12, pixels // 3))
    columns = np.floor((180.0 - azimuth) / 360.0 * pixels) % pixels
    rows = np.floor((high - elevation) * per_degree) + 2
    order = np.argsort(-range_m, kind="stable")
    return _painted(rows, columns, order, (height, pixels), _dot(len(coord), height * pixels))


def values_seen(
    view: NDArray[np.int64], values: NDArray[np.integer], background: int
) -> NDArray[np.uint8]:
    """Return the value of the point that each pixel shows.

    Parameters
    ----------
    view
        (H, W) from `from_above` or `from_sensor`.
    values
        (N,) of the points, 0 to 255.
    background
        Where there is no point.
    """
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) <= 255:
        raise ValueError(
            f"values_seen: values from {values.min()} to {values.max()}, outside 0 to 255"
        )
    seen = np.full(view.shape, background, dtype=np.uint8)
    there = view != NO_POINT
    seen[there] = values[view[there]]
    return seen


def indexed_png(pixels: NDArray[np.uint8], palette: NDArray[np.float64]) -> bytes:
    """Return a PNG file of indices into a palette.

    Parameters
    ----------
    pixels
        (H, W), each below the palette's length.
    palette
        (K, 3) red, green, blue in 0..1, at most 256 rows.
    """
    if palette.ndim != 2 or palette.shape[1] != 3 or not 1 <= len(palette) <= 256:
        raise ValueError(f"indexed_png: palette has shape {palette.shape}, must be (1..256, 3)")
    if pixels.ndim != 2 or not pixels.size or int(pixels.max()) >= len(palette):
        raise ValueError(
            f"indexed_png: pixels of shape {pixels.shape} with indices that are not all below "
            f"{len(palette)}"
        )
    height, width = pixels.shape
    colors = np.clip(np.round(palette * 255), 0, 255).astype(np.uint8)
    # Every row begins with its filter: 0, none.
    rows = np.concatenate([np.zeros((height, 1), dtype=np.uint8), pixels], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colors.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _dot(num_points: int, num_pixels: int) -> int:
    """Return the edge of a point's square in pixels: what fills the picture, 1 to 3."""
    return int(np.clip(np.round(np.sqrt(num_pixels / max(num_points, 1))), 1, 3))


def _painted(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    order: NDArray[np.int64],
    shape: tuple[int, int],
    dot: int,
) -> NDArray[np.int64]:
    """Return the point that each pixel shows: of those that cover it, the last in `order`."""
    rank = np.full(shape, NO_POINT, dtype=np.int64)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    kept = np.flatnonzero(inside[order])
    at_row, at_column = rows[order[kept]].astype(int), columns[order[kept]].astype(int)
    for down in range(dot):
        for right in range(dot):
            row, column = at_row + down, at_column + right
            drawn = (row < shape[0]) & (column < shape[1])
            # Where an index is repeated the last value stands, and `kept` rises.
            layer = np.full(shape, NO_POINT, dtype=np.int64)
            layer[row[drawn], column[drawn]] = kept[drawn]
            np.maximum(rank, layer, out=rank)
    return np.where(rank == NO_POINT, NO_POINT, order[rank])
