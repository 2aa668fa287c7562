"""Cameras beside a LiDAR frame: at which pixels of their images a point is seen.

Columns u count to the right, rows v down, in pixels. Pixel (row r, column c) covers u from c to
c + 1 and v from r to r + 1, so that its center is at (c + 0.5, r + 0.5).

Shape letters: N points, V views, P pairs, H and W pixels of the working size.
"""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import SKIP_HINT, CameraImage, LidarFrame, Views

CAMERA_FIELDS: Final = frozenset({"images", "point_pixel"})
"""Entries of a batch that need cameras; methods ask for them by `batch_fields`."""

IMAGE_SIZE: Final = (160, 320)
"""(H, W) to which images are brought for a batch."""

MIN_DEPTH_M: Final = 1.0
"""Points nearer to a camera's plane are left out: they are of the vehicle itself."""

DEPTH_TOLERANCE: Final = 0.05
"""A point hides another if it is nearer by this share of the other's depth, and by `_APART_M`."""

_APART_M: Final = 0.3

# In pixels of a 160 x 320 image: how far off a nearer point can be that hides, with another one
# across, what lies between them, and how far to the side of the line through both. Beams of a
# sensor with 32 of them are 6 rows apart there, its columns 3 at most.
_BEAM_ROWS: Final = 6
_BEAM_COLUMNS: Final = 4
_ASIDE: Final = 2

_HORIZON_ROWS: Final = 4.0
"""Nearer to the horizon than so many rows, a row's share of the ground is not asked for."""


def project(
    coord: NDArray[np.floating], image: CameraImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where points come to lie in an image, whether anything hides them or not.

    Parameters
    ----------
    coord
        (N, 3) meters, in the frame's frame.
    image
        Only its calibration is looked at.

    Returns
    -------
    pixel
        (N, 2) float64: u, v in pixels of the whole image; outside it too. NaN for points nearer
        to the camera's plane than `MIN_DEPTH_M`, behind it, or so far to the side that the lens
        model turns back.
    depth
        (N,) float64 meters along the camera's axis.
    """
    moved = image.camera_from_points
    at = coord.astype(np.float64) @ moved[:3, :3].T + moved[:3, 3]
    depth = at[:, 2]
    there = depth >= MIN_DEPTH_M
    flat = np.full((len(at), 2), np.nan)
    flat[there] = at[there, :2] / depth[there, None]
    if image.distortion:
        flat = _distorted(flat, image.distortion)
    pixel = flat @ image.intrinsic[:2, :2].T + image.intrinsic[:2, 2]
    return pixel, depth


def _distorted(flat: NDArray[np.float64], distortion: tuple[float, ...]) -> NDArray[np.float64]:
    """Return where a lens puts the directions (x / z, y / z); NaN beyond where its model holds."""
    k1, k2, p1, p2, k3 = distortion
    x, y = flat.T
    square = x * x + y * y
    with np.errstate(over="ignore", invalid="ignore"):
        radial = 1.0 + square * (k1 + square * (k2 + square * k3))
        bent = np.stack(
            [
                x * radial + 2.0 * p1 * x * y + p2 * (square + 2.0 * x * x),
                y * radial + p1 * (square + 2.0 * y * y) + 2.0 * p2 * x * y,
            ],
            axis=1,
        )
    # Where the distance from the axis no longer grows, what lies outside would come back inside.
    turns = np.roots([7.0 * k3, 5.0 * k2, 3.0 * k1, 1.0])
    turns = turns.real[(abs(turns.imag) < 1e-9) & (turns.real > 0)]
    if len(turns):
        bent[~(square < turns.min())] = np.nan
    return bent


def point_pixels(
    frame: LidarFrame,
    images: Sequence[CameraImage],
    *,
    image_size: tuple[int, int] = IMAGE_SIZE,
    depth_tolerance: float = DEPTH_TOLERANCE,
) -> NDArray[np.int64]:
    """Return which points of a frame the cameras see, and at which pixels.

    Parameters
    ----------
    frame
        Its points; not augmented.
    images
        Only their calibrations are looked at.
    image_size
        (H, W) pixels to count in, whatever the images' own sizes.
    depth_tolerance
        See `DEPTH_TOLERANCE`; at least 0.

    Returns
    -------
    ndarray
        (P, 4) int64: view, row, column, point, in the order of views and points.

    Notes
    -----
    A depth buffer at the working size holds the nearest point of each pixel. The points are sparse
    beside the pixels, so a surface has holes in it through which nothing can be seen: a point is
    hidden, too, if nearer points lie both above and below it, or both above to its left and above
    to its right, within the few pixels that neighboring beams are apart. On ground that rises
    slowly towards the horizon all nearer points lie below, so that it hides nothing of itself.
    What shows between the outline of a near surface and its outermost beams is not noticed.
    """
    if depth_tolerance < 0:
        raise ValueError(f"point_pixels: depth_tolerance is {depth_tolerance}, must be at least 0")
    found = [np.zeros((0, 4), dtype=np.int64)]
    for view, image in enumerate(images):
        pixel, depth = project(frame.coord, image)
        scaled = pixel * (image_size[1] / image.width, image_size[0] / image.height)
        with np.errstate(invalid="ignore"):
            inside = (scaled >= 0).all(axis=1) & (scaled < (image_size[1], image_size[0])).all(
                axis=1
            )
        points = np.flatnonzero(inside)
        column, row = np.floor(scaled[points]).astype(np.int64).T
        level_row = float(image.intrinsic[1, 2]) * image_size[0] / image.height
        seen = ~_hidden(row, column, depth[points], image_size, level_row, depth_tolerance)
        views = np.full(int(seen.sum()), view)
        found.append(np.stack([views, row[seen], column[seen], points[seen]], axis=1))
    return np.concatenate(found)


def _hidden(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    depth: NDArray[np.float64],
    image_size: tuple[int, int],
    level_row: float,
    tolerance: float,
) -> NDArray[np.bool_]:
    """Return which of some points (N,) in a view lie behind others; the axis is at `level_row`."""
    nearest = np.full(image_size, np.inf)
    np.minimum.at(nearest, (row, column), depth)
    apart = np.maximum(tolerance * depth, _APART_M)
    between_nearer = _nearest_across(nearest)[row, column] < depth - apart
    # On level ground, a row of pixels spans this share of its depth: what lies so far behind the
    # nearest point of its own pixel is the same ground.
    below_horizon = np.maximum(np.abs(row + 0.5 - level_row), _HORIZON_ROWS)
    behind_in_pixel = nearest[row, column] < depth - np.maximum(apart, depth / below_horizon)
    hidden: NDArray[np.bool_] = between_nearer | behind_in_pixel
    return hidden


def _nearest_across(nearest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how near a surface may be (H, W) that goes on behind the holes between its points.

    It is the farther of the nearest points above and below each pixel, or above to its left and
    above to its right, whichever pair is nearer. Never of a pair below: there the ground is nearer,
    on both sides. `nearest` (H, W) is infinite without a point.
    """
    scale = min(nearest.shape[0] / IMAGE_SIZE[0], nearest.shape[1] / IMAGE_SIZE[1])
    rows, columns, aside = (
        max(1, round(pixels * scale)) for pixels in (_BEAM_ROWS, _BEAM_COLUMNS, _ASIDE)
    )
    around = range(-aside, aside + 1)
    above = _window_minimum(nearest, range(-rows, 0), around)
    below = _window_minimum(nearest, range(1, rows + 1), around)
    left = _window_minimum(nearest, range(-aside, 0), range(-columns, 0))
    right = _window_minimum(nearest, range(-aside, 0), range(1, columns + 1))
    return np.minimum(np.maximum(above, below), np.maximum(left, right))


def _window_minimum(
    values: NDArray[np.float64], rows: range, columns: range
) -> NDArray[np.float64]:
    """Return the least value within a window of offsets around each pixel, infinite outside."""
    reach = max(abs(offset) for offset in (*rows, *columns))
    padded = np.pad(values, reach, constant_values=np.inf)
    height, width = values.shape
    across = np.full((len(padded), width), np.inf)
    for offset in columns:
        np.minimum(across, padded[:, reach + offset : reach + offset + width], out=across)
    least = np.full(values.shape, np.inf)
    for offset in rows:
        np.minimum(least, across[reach + offset : reach + offset + height], out=least)
    return least


def camera_views(
    frame: LidarFrame, fields: Collection[str], image_size: tuple[int, int] = IMAGE_SIZE
) -> Views:
    """Return what a batch needs of a frame's cameras.

    Parameters
    ----------
    frame
        Not augmented, from a source that was opened with cameras.
    fields
        Some of `CAMERA_FIELDS`; what is not asked for is not computed.
    image_size
        (H, W).

    Raises
    ------
    UserError
        If the frame has no images, an image cannot be read, or a camera sees no point.
    """
    if not frame.images:
        raise UserError(
            f"{frame.path}: frame {frame.name} has no camera images; copy them there, {SKIP_HINT}"
        )
    pairs = None
    if "point_pixel" in fields:
        pairs = point_pixels(frame, frame.images, image_size=image_size)
        counts = np.bincount(pairs[:, 0], minlength=len(frame.images))
        if not counts.all():
            blind = frame.images[int(np.argmin(counts))]
            raise UserError(
                f"{frame.path}: camera {blind.name} sees none of the {len(frame.coord)} points of "
                f"frame {frame.name}; look at its calibration (topodistill inspect --images), "
                f"{SKIP_HINT}"
            )
    decoded = None
    if "images" in fields:
        views = [image.resized(image_size) for image in frame.images]
        decoded = np.ascontiguousarray(np.stack(views).transpose(0, 3, 1, 2))
    return Views(len(frame.images), decoded, pairs)


def check_camera_fields(fields: Collection[str], caller: str) -> frozenset[str]:
    """Return the fields as a set.

    Raises
    ------
    ValueError
        If one of them is none of `CAMERA_FIELDS`.
    """
    unknown = sorted(set(fields) - CAMERA_FIELDS)
    if unknown:
        raise ValueError(
            f"{caller}: fields has {', '.join(unknown)}; known: {', '.join(sorted(CAMERA_FIELDS))}"
        )
    return frozenset(fields)
