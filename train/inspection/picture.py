"""Draws a frame from above and as the sensor sees it, and the images of its cameras."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from train.data.cameras import camera_views, project
from train.data.frame import CameraImage, LidarFrame
from train.inspection.views import class_colors, directions

_RANGES_M = (2.0, 80.0)
_TICKS_M = (2, 5, 10, 20, 40, 80)
_DEGREES_A_PANEL = 30.0
_POINTS_A_PANORAMA = 200_000  # of dots of one square point; fewer points get larger dots


def draw(
    frame: LidarFrame,
    class_names: tuple[str, ...],
    path: Path,
    *,
    extent_m: float = 50.0,
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    forward_deg: float = 0.0,
) -> None:
    """Write a PNG with two views from above and three panoramas from the sensor, and a legend.

    All points are drawn as seen from one place, the farthest first, so that what is near hides what
    is behind it: with several lidars, too, this is what one would see from there.

    Parameters
    ----------
    frame
        With or without labels.
    class_names
        In the order of train ids.
    path
        The file to write.
    extent_m
        How far the views from above reach, either way.
    origin_m, forward_deg
        As for `train.inspection.views.directions`.
    """
    azimuth, elevation, range_m = directions(frame.coord, origin_m, forward_deg)
    number = np.full(len(range_m), -1) if frame.segment is None else frame.segment
    by_class = class_colors(class_names)[number]
    strength = frame.strength[:, 0].astype(np.float64)
    strengths = ScalarMappable(
        Normalize(0.0, max(float(np.quantile(strength, 0.98)), 1e-9), clip=True),
        colormaps["viridis"],
    )
    ranges = ScalarMappable(LogNorm(*_RANGES_M, clip=True), colormaps["turbo"])
    by_strength, by_range = strengths.to_rgba(strength), ranges.to_rgba(range_m)
    # A degree is as high in every picture, but for lidars that look down at their own bumper.
    span = float(np.quantile(elevation, 0.999) - np.quantile(elevation, 0.001))
    height = min(max(span / _DEGREES_A_PANEL, 0.5), 2.5)
    figure = Figure(figsize=(20, 11.5 + 4 * height), layout="constrained")
    figure.suptitle(f"{frame.name}, {len(range_m):,} points")
    grid = figure.add_gridspec(4, 2, height_ratios=[3, height, height, height])
    from_above = np.argsort(frame.coord[:, 2], kind="stable")
    for column, (color, title) in enumerate(((by_class, "class"), (by_strength, "strength"))):
        axes = figure.add_subplot(grid[0, column])
        x, y, _ = frame.coord[from_above].T
        axes.scatter(x, y, c=color[from_above], s=0.6, linewidths=0)
        axes.set(title=f"from above, {title}", xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.set(xlim=(-extent_m, extent_m), ylim=(-extent_m, extent_m), facecolor="black")
    views = ((by_class, "class"), (by_strength, "strength"), (by_range, "range"))
    from_sensor = np.argsort(-range_m, kind="stable")
    dot = float(np.clip(_POINTS_A_PANORAMA / len(range_m), 1.0, 6.0))
    panoramas: list[Axes] = []
    for row, (color, title) in enumerate(views, start=1):
        axes = figure.add_subplot(grid[row, :])
        axes.scatter(
            azimuth[from_sensor],
            elevation[from_sensor],
            c=color[from_sensor],
            s=dot,
            linewidths=0,
        )
        axes.set(title=f"as the sensor sees it, {title}", ylabel="elevation [degrees]")
        axes.set(xlim=(180, -180), facecolor="black")
        panoramas.append(axes)
    axes.set(xlabel="azimuth [degrees], 0 ahead, positive to the left")
    # Beside all three, so that they stay aligned.
    figure.colorbar(
        ranges, ax=panoramas, label="range [m]", pad=0.01, aspect=40, ticks=_TICKS_M, format="%d"
    )
    figure.colorbar(strengths, ax=panoramas, label="strength", pad=0.01, aspect=40, extend="max")
    _draw_legend(figure, number, class_names)
    figure.savefig(path, format="png")


def _draw_legend(figure: Figure, number: NDArray[np.integer], class_names: tuple[str, ...]) -> None:
    """Name the colors of the classes that are there, below the views."""
    colors = class_colors(class_names)
    there = np.unique(number).tolist()
    names = {each: "no label" if each == -1 else class_names[each] for each in there}
    handles = [
        Line2D([], [], marker="s", ls="", ms=9, color=tuple(colors[each]), label=name)
        for each, name in names.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=11, frameon=False)


_COLUMNS: Final = 3
_DEPTHS_M: Final = (2.0, 60.0)
_DEPTH_TICKS_M: Final = (2, 5, 10, 20, 40, 60)
_UNSEEN: Final = (0.22, 0.22, 0.26)
_PIXELS_WIDE: Final = 800


def draw_cameras(
    frame: LidarFrame,
    path: Path,
    *,
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    forward_deg: float = 0.0,
    extent_m: float = 25.0,
) -> list[int]:
    """Write a PNG: each image with the points that it sees, then the points in the images' colors.

    A calibration that does not fit shows at once: points of a car lie beside the car.

    Parameters
    ----------
    frame
        From a source that was opened with cameras.
    path
        The file to write.
    origin_m, forward_deg
        As for `train.inspection.views.directions`.
    extent_m
        How far the view from above reaches, either way.

    Returns
    -------
    list of int
        How many points each camera sees, in the order of the frame's images.

    Raises
    ------
    UserError
        If there are no images, one cannot be read, or a camera sees no point.
    """
    pairs = camera_views(frame, {"point_pixel"}).point_pixel
    assert pairs is not None
    images = frame.images
    rows = -(-len(images) // _COLUMNS)
    figure = Figure(figsize=(21, 3.9 * rows + 11.5), layout="constrained")
    figure.suptitle(f"{frame.name}: {len(frame.coord):,} points, {len(images)} cameras")
    grid = figure.add_gridspec(rows + 2, _COLUMNS, height_ratios=[*[1.0] * rows, 0.75, 1.9])
    depths = ScalarMappable(LogNorm(*_DEPTHS_M, clip=True), colormaps["turbo"])
    colors = np.tile(np.array(_UNSEEN), (len(frame.coord), 1))
    counts: list[int] = np.bincount(pairs[:, 0], minlength=len(images)).tolist()
    for place, view in enumerate(_ahead_first(images, forward_deg)):
        image = images[view]
        picture = image.resized(_shown_size(image.width, image.height))
        seen = pairs[pairs[:, 0] == view, 3]
        pixel, depth = project(frame.coord[seen], image)
        height, width = picture.shape[:2]
        u, v = (pixel * (width / image.width, height / image.height)).T
        at = np.minimum(v.astype(int), height - 1), np.minimum(u.astype(int), width - 1)
        colors[seen] = picture[at] / 255.0
        axes = figure.add_subplot(grid[place // _COLUMNS, place % _COLUMNS])
        # Pixel (0, 0) covers u and v from 0 to 1.
        axes.imshow(picture, extent=(0, width, height, 0))
        farthest_first = np.argsort(-depth)
        axes.scatter(
            u[farthest_first],
            v[farthest_first],
            c=depths.to_rgba(depth[farthest_first]),
            s=5.0,
            linewidths=0,
        )
        axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        offset_ms = 1000 * image.time_offset_s
        axes.set_title(f"{image.name}, {len(seen):,} points, {offset_ms:+.0f} ms")
    bar = figure.colorbar(depths, ax=figure.axes, label="depth [m]", pad=0.01, ticks=_DEPTH_TICKS_M)
    bar.ax.set_yticks(_DEPTH_TICKS_M, [str(depth_m) for depth_m in _DEPTH_TICKS_M])
    bar.ax.minorticks_off()
    azimuth, elevation, range_m = directions(frame.coord, origin_m, forward_deg)
    order = np.argsort(-range_m, kind="stable")
    axes = figure.add_subplot(grid[rows, :])
    axes.scatter(azimuth[order], elevation[order], c=colors[order], s=9.0, linewidths=0)
    low, high = np.quantile(elevation[pairs[:, 3]], (0.002, 0.998))
    axes.set(title="the points in the images' colors, as the sensor sees them", facecolor="black")
    axes.set(xlim=(180, -180), ylim=(low - 1, high + 1))
    axes.set(xlabel="azimuth [degrees], 0 ahead, positive to the left", ylabel="elevation")
    axes = figure.add_subplot(grid[rows + 1, :])
    ahead, left = _ahead_up(frame.coord, forward_deg).T
    axes.scatter(ahead, left, c=colors, s=5.0, linewidths=0)
    axes.set(xlim=(-2.2 * extent_m, 2.2 * extent_m), ylim=(-extent_m, extent_m), aspect="equal")
    axes.set(title="from above, ahead is to the right; dark points are seen by no camera")
    axes.set(xlabel="ahead [m]", ylabel="left [m]", facecolor="black")
    figure.savefig(path, format="png", dpi=75)
    return counts


def _ahead_first(images: Sequence[CameraImage], forward_deg: float) -> list[int]:
    """Return the images in the order of a walk around: ahead from left to right, then behind."""

    def place(number: int) -> tuple[bool, float]:
        axis = images[number].camera_from_points[2, :2]
        left = (np.rad2deg(np.arctan2(axis[1], axis[0])) - forward_deg + 180.0) % 360.0 - 180.0
        behind = abs(left) > 90.5
        return behind, float(left % 360.0 if behind else -left)

    return sorted(range(len(images)), key=place)


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """Return (H, W) of an image in the picture."""
    wide = min(width, _PIXELS_WIDE)
    return max(1, round(height * wide / width)), wide


def _ahead_up(coord: NDArray[np.float32], forward_deg: float) -> NDArray[np.float64]:
    """Return points from above, (N, 2): ahead and left."""
    heading = np.deg2rad(forward_deg)
    x, y = coord[:, 0].astype(np.float64), coord[:, 1].astype(np.float64)
    ahead = np.cos(heading) * x + np.sin(heading) * y
    return np.stack([ahead, -np.sin(heading) * x + np.cos(heading) * y], axis=1)
