"""Read one cloud from a file and write its labels; a file name's ending says of which kind.

Shape letters: N points.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data import nuscenes, semantickitti
from train.data.frame import LidarFrame
from train.data.semantickitti import MAX_COORDINATE_M
from train.data.semantickitti.classes import TRAIN_TO_RAW
from train.inference.ply import read_vertices
from train.inference.waymo_frame import ENDINGS as WAYMO_ENDINGS
from train.inference.waymo_frame import read_frame

LABEL_ENDINGS: Final = (".label", ".npy")
"""Endings of files of labels; see `write_prediction`."""

_STRENGTH_NAMES: Final = ("strength", "intensity", "remission")
_NO_STRENGTH: Final = "none in the file, 0 for every point"


@dataclass(frozen=True)
class Cloud:
    """A cloud without labels and what is to be told about its file.

    Attributes
    ----------
    sweep
        At least one point, all finite and within `MAX_COORDINATE_M`.
    kind
        The file's kind, for people.
    strength_from
        Where the strength came from, for people.
    """

    sweep: LidarFrame
    kind: str
    strength_from: str


def read_cloud(path: Path, frame: int | None = None) -> Cloud:
    """Read a cloud from a `.bin`, `.pcd.bin`, `.tfrecord`, `.parquet`, `.npy` or `.ply` file.

    Parameters
    ----------
    path
        `.bin`: SemanticKITTI, float32 (x, y, z, remission). `.pcd.bin`: nuScenes, float32 (x, y, z,
        intensity 0..255, ring); the strength is intensity / 255. `.tfrecord`, `.parquet`: Waymo,
        see `read_frame`; the strength is tanh of the intensity. `.npy`: numbers (N, 3) or (N, 4).
        `.ply`: properties x, y, z, and strength, intensity or remission (the first that is there;
        CloudCompare's prefix ``scalar_`` is understood). Meters; strengths of `.npy` and `.ply` are
        taken as they are, and are 0 where the file has none.
    frame
        The time of a Waymo frame, microseconds; None if its file holds one, and for other files.

    Raises
    ------
    UserError
        If the ending is not known, the file cannot be read, is damaged, empty, or holds a value
        that is not finite or a point beyond `MAX_COORDINATE_M`.
    """
    if path.suffix.lower() in WAYMO_ENDINGS:
        return Cloud(read_frame(path, frame), "Waymo frame", "tanh of the intensity")
    if frame is not None:
        raise UserError(
            f"{path}: --frame chooses a frame of a Waymo file ({', '.join(WAYMO_ENDINGS)}); this "
            "file holds a single cloud"
        )
    for ending, read in _READERS.items():
        if path.name.lower().endswith(ending):
            return read(path)
    raise UserError(
        f"{path}: clouds are read from files that end in "
        f"{', '.join([*_READERS, *WAYMO_ENDINGS])}; rename or convert the file"
    )


def write_prediction(
    labels_path: Path,
    labels: NDArray[np.int64],
    probabilities_path: Path | None,
    probabilities: NDArray[np.float32],
) -> None:
    """Write labels, and probabilities if a path is given: all files or none.

    Parameters
    ----------
    labels_path
        `.label`: uint32 raw SemanticKITTI ids; `.npy`: the train ids as they are.
    labels
        (N,) train ids; of SemanticKITTI for a `.label` file.
    probabilities_path
        An `.npy` file.
    probabilities
        (N, classes).

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    # Whichever of the two cannot be written, the other is not left alone: neither replaces anything
    # before both are whole.
    with contextlib.ExitStack() as stack:
        unfinished = stack.enter_context(atomic_write(labels_path))
        with unfinished.open("wb") as stream:
            if labels_path.suffix == ".label":
                stream.write(np.array(TRAIN_TO_RAW, dtype="<u4")[labels].tobytes())
            else:
                np.save(stream, labels)
        if probabilities_path is not None:
            unfinished = stack.enter_context(atomic_write(probabilities_path))
            with unfinished.open("wb") as stream:
                np.save(stream, probabilities)


def _read_semantickitti(path: Path) -> Cloud:
    coord, strength = semantickitti.read_points(path)
    sweep = LidarFrame(coord, strength, None, path.name, path)
    return Cloud(sweep, "SemanticKITTI sweep", "remission")


def _read_nuscenes(path: Path) -> Cloud:
    coord, strength = nuscenes.read_points(path)
    sweep = LidarFrame(coord, strength, None, path.name, path)
    return Cloud(sweep, "nuScenes sweep", "intensity / 255")


def _read_npy(path: Path) -> Cloud:
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: cannot be read as a numpy array of numbers ({reason}); "
            "write it with numpy.save"
        ) from error
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds no array of numbers; write one of shape (N, 3) or (N, 4)")
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise UserError(
            f"{path}: the array has shape {points.shape}; it must be (N, 3), x y z in meters, or "
            "(N, 4) with the strength"
        )
    if points.shape[1] == 3:
        sweep = _checked(path, points, np.zeros(len(points)))
        return Cloud(sweep, "numpy array", _NO_STRENGTH)
    return Cloud(_checked(path, points[:, :3], points[:, 3]), "numpy array", "fourth column")


def _read_ply(path: Path) -> Cloud:
    columns = {name.removeprefix("scalar_"): values for name, values in read_vertices(path).items()}
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise UserError(
            f"{path}: the vertices have no property {', '.join(missing)}; "
            f"they have {', '.join(columns) or 'none'}"
        )
    coord = np.stack([columns[axis] for axis in "xyz"], axis=1)
    for name in _STRENGTH_NAMES:
        if name in columns:
            return Cloud(_checked(path, coord, columns[name]), "PLY vertices", f"property {name}")
    return Cloud(_checked(path, coord, np.zeros(len(coord))), "PLY vertices", _NO_STRENGTH)


def _checked(path: Path, coord: NDArray[np.number], strength: NDArray[np.number]) -> LidarFrame:
    """Return a sweep of float32, refusing what no network should see."""
    if len(coord) == 0:
        raise UserError(f"{path}: the cloud is empty (0 points); nothing can be predicted")
    values = np.concatenate([coord, strength[:, None]], axis=1).astype(np.float64)
    # As float32, which is what the network takes: a larger number is infinite there.
    with np.errstate(over="ignore"):
        points = values.astype(np.float32)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise UserError(
            f"{path}: {int((~finite).sum())} of {len(points)} points have NaN or infinite values "
            f"(first: point {first}); remove them or copy the file again"
        )
    far = np.abs(points[:, :3]).max(axis=1) > MAX_COORDINATE_M
    if far.any():
        first = int(np.argmax(far))
        shown = " ".join(f"{value:.6g}" for value in points[first, :3].tolist())
        raise UserError(
            f"{path}: {int(far.sum())} of {len(points)} points lie more than {MAX_COORDINATE_M:g} m"
            f" out (first: point {first} at {shown}); coordinates are meters from the sensor: "
            "subtract its position, or remove those points"
        )
    coord32, strength32 = np.ascontiguousarray(points[:, :3]), np.ascontiguousarray(points[:, 3:])
    return LidarFrame(coord32, strength32, None, path.name, path)


# The longer ending first: `.pcd.bin` also ends in `.bin`.
_READERS: Final[dict[str, Callable[[Path], Cloud]]] = {
    ".pcd.bin": _read_nuscenes,
    ".bin": _read_semantickitti,
    ".npy": _read_npy,
    ".ply": _read_ply,
}
