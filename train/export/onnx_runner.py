"""Runs an exported PTv3 on a point cloud: needs numpy and onnxruntime, nothing of topodistill.

`topodistill export` copies this file beside the network as ``run.py``, and what it imports:

python run.py --input frame.bin --output labels.npy
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import train.data.readers as readers
import train.export.onnx_geometry as geometry
from train.core import bounded, errors
from train.data import files
from train.data.readers import bare_points, cloud_file, las, pcd, ply

FORMAT = "topodistill-onnx-1"
MODEL, MANIFEST, GEOMETRY, READERS = "model.onnx", "export.json", "geometry.py", "readers"
PLACES = {
    "train.export.onnx_geometry": "geometry",
    "train.data.readers": READERS,
    "train.data": READERS,
    "train.core": READERS,
}
"""Where modules of topodistill are in an export; the first that fits."""

_MODULES = (readers, bare_points, cloud_file, las, pcd, ply, bounded, errors, files)
# What is used is what this file imported, wherever it lies.
BESIDE = {GEOMETRY: Path(geometry.__file__)} | {
    f"{READERS}/{Path(str(module.__file__)).name}": Path(str(module.__file__))
    for module in _MODULES
}

NUSCENES_COLUMNS = tuple((name, "<f4") for name in ("x", "y", "z", "intensity", "ring"))
NUSCENES_SCALE = 255.0


class ExportError(Exception):
    """Says in one line what is wrong with an exported network and what to do about it."""

    def __init__(self, message: str) -> None:
        """Keep the message, in which a damaged file may have a part, as one line."""
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        super().__init__(line if len(line) < 2000 else f"{line[:1000]} ... {line[-1000:]}")


@contextmanager
def damaged_files(place: Path | str) -> Iterator[None]:
    """Turn what a parser raises for damaged bytes, of no common class, into one line."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        reason = next(iter(f"{error}".splitlines()), "")[:200]
        raise ExportError(
            f"{place}: is damaged ({type(error).__name__}: {reason}); copy the whole folder again"
        ) from error


class ExportedNetwork:
    """An exported network, ready to run; its files are checked first.

    Parameters
    ----------
    folder
        With ``model.onnx``, ``export.json`` and ``geometry.py`` of one export.
    providers
        Of ONNX Runtime, in order of preference; None: the CPU's.
    num_threads
        For the CPU; None: ONNX Runtime's choice.

    Attributes
    ----------
    metadata
        What the export says about itself: "class_names", "grid_size_m", "clip_range_m", ...
    plan
        Which tables it takes.

    Raises
    ------
    ExportError
        If a file is missing, or the files are not of one export.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        providers: Sequence[str] | None = None,
        num_threads: int | None = None,
    ) -> None:
        import onnxruntime

        folder = Path(folder)
        self.metadata = check_files(folder)
        self.plan = geometry.Plan.from_plain(self.metadata["geometry"])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong is said below, in one line
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        with damaged_files(folder / MODEL):
            self.session = onnxruntime.InferenceSession(
                str(folder / MODEL),
                options,
                providers=list(providers or ["CPUExecutionProvider"]),
                enable_fallback=int(providers is not None),  # which prints
            )
            described = self.session.get_modelmeta().custom_metadata_map["topodistill"]
            inside = json.loads(described)["export_id"]
        if inside != self.metadata["export_id"]:
            raise ExportError(
                f"{folder / MODEL}: is of export {inside}, {MANIFEST} beside it of "
                f"{self.metadata['export_id']}; copy the whole folder again"
            )

    def inputs(self, feat: np.ndarray, grid_coord: np.ndarray) -> dict[str, np.ndarray]:
        """Return the session's inputs for voxels: [V, channels] features, [V, 3] indices."""
        channels = self.metadata["in_channels"]
        if feat.shape != (len(grid_coord), channels):
            raise geometry.GeometryError(
                f"feat has shape {feat.shape}, this network takes ({len(grid_coord)}, {channels})"
            )
        tables = geometry.build_tables(grid_coord, self.plan)
        return {"feat": np.ascontiguousarray(feat, dtype=np.float32), **tables}

    def logits(self, feat: np.ndarray, grid_coord: np.ndarray) -> np.ndarray:
        """Return [V, classes] float32 of [V, channels] features and [V, 3] voxel indices."""
        return self.run(self.inputs(feat, grid_coord))

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return [V, classes] float32 of what `inputs` returned."""
        with damaged_files(MODEL):
            (logits,) = self.session.run(["logits"], dict(inputs))
            wanted = (len(inputs["feat"]), len(self.metadata["class_names"]))
            if np.shape(logits) != wanted:
                raise ValueError(f"logits have shape {np.shape(logits)} instead of {wanted}")
        return np.asarray(logits)

    def predict(self, points: np.ndarray | Path | str) -> np.ndarray:
        """Return the class [N] int64 of every point, -1 for rays without a return (NaN).

        Parameters
        ----------
        points
            A file, or what lies in a ``.npy`` file: [N, 3] or [N, 4], x, y, z, strength, in the
            units of the frames of training. See `read_points`.
        """
        found, there = read_points(points, self.metadata)
        return of_rows(self.classes(found), there)

    def classes(self, points: np.ndarray) -> np.ndarray:
        """Return the class [N] int64 of every point [N, 4], as `read_points` returns them."""
        meta = self.metadata
        voxels = geometry.voxelize(points, meta["grid_size_m"], meta["clip_range_m"])
        logits = self.logits(voxels.feat, voxels.grid_coord)
        return logits.argmax(axis=1)[voxels.inverse].astype(np.int64)


def check_files(folder: Path) -> dict[str, Any]:
    """Return an export's metadata; refuse files that do not belong together.

    Raises
    ------
    ExportError
        If a file is missing, unreadable, of another export or changed since.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ExportError(
            f"{folder}: has no {MANIFEST}; keep the files of an export together, and copy the "
            "whole folder"
        )
    with damaged_files(path):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ExportError(f"{path}: is no description of an ONNX export ({FORMAT})")
        wanted = dict(manifest["files"])
        metadata: dict[str, Any] = dict(manifest["metadata"])
        _check_metadata(metadata)
    for name, place in {MODEL: folder / MODEL, **BESIDE}.items():
        if not place.is_file():
            raise ExportError(f"{place}: no such file; keep the files of an export together")
        if digest_of(place) != wanted.get(name):
            raise ExportError(
                f"{place}: is not the file that {path} was written with (its SHA-256 differs): it "
                "is damaged or of another export; copy the whole folder again, or export again"
            )
    return metadata


def digest_of(path: Path) -> str:
    """Return a file's SHA-256, of a module as it is in an export."""
    data = path.read_bytes()
    if path.suffix == ".py":
        data = portable(data.decode("latin-1")).encode("latin-1")
    return hashlib.sha256(data).hexdigest()


def portable(source: str) -> str:
    """Return a module's text that imports what lies beside it in an export."""
    for ours, there in PLACES.items():
        source = source.replace(ours, there)
    return source


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse values that no export has: KeyError, TypeError or ValueError."""
    geometry.Plan.from_plain(metadata["geometry"])
    grid, clip = metadata["grid_size_m"], metadata["clip_range_m"]
    names = metadata["class_names"]
    numbers = [grid, *(clip or ())]
    if not all(type(each) in (int, float) and abs(each) < 1e15 for each in numbers):
        raise ValueError("grid_size_m or clip_range_m is no number of meters")
    if not grid > 1e-6 or len(numbers) not in (1, 7):
        raise ValueError(f"grid_size_m is {grid}, clip_range_m is {clip}")
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise ValueError("class_names is no list of names")
    given = metadata["input"]
    bare_points.row_type(given["columns"])
    scale, ids, origin = given["strength_scale"], given["raw_ids"], given["origin"]
    if not set("xyz") <= {name for name, _ in given["columns"]}:
        raise ValueError("input has no columns x, y and z")
    if scale is not None and not (type(scale) in (int, float) and 0 < scale < 1e15):
        raise ValueError(f"strength_scale is {scale}")
    if ids is not None and (len(ids) != len(names) or any(type(each) is not int for each in ids)):
        raise ValueError("raw_ids are no ids of the classes")
    if origin is not None and not (
        len(origin) == 3 and all(type(each) in (int, float) and abs(each) < 1e15 for each in origin)
    ):
        raise ValueError(f"origin is {origin}")
    if type(given["ignored_id"]) not in (int, type(None)):
        raise ValueError(f"ignored_id is {given['ignored_id']}")
    if given["label_type"] not in ("uint8", "uint16", "uint32"):
        raise ValueError(f"label_type is {given['label_type']}")
    if type(metadata["in_channels"]) is not int or not isinstance(metadata["export_id"], str):
        raise ValueError("in_channels is no number, or export_id no text")


def read_points(
    source: np.ndarray | Path | str,
    metadata: Mapping[str, Any],
    origin: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return points as the network takes them, and which rows they are.

    Parameters
    ----------
    source
        ``.bin``, in the columns of the frames that the network was trained on; ``.pcd.bin`` of
        nuScenes where these have SemanticKITTI's; ``.npy``, ``.pcd``, ``.ply``, ``.las`` or
        ``.laz`` (these two need laspy); or an array, as in a ``.npy`` file. Strengths are divided
        and coordinates shifted as in training.
    metadata
        Of the export.
    origin
        x, y, z of the sensor in the coordinates of the file, in place of that of training.

    Returns
    -------
    points
        [N, 4] float32.
    there
        [R] bool: which rows of the source are points; None for all. Others are rays without a
        return, whose coordinates are NaN.

    Raises
    ------
    ExportError
        If it is none of these, damaged, has other columns, or points too far out.
    """
    given = metadata["input"]
    columns = tuple((name, kind) for name, kind in given["columns"])
    scale, shift = given["strength_scale"], given["origin"] if origin is None else origin
    path = Path("points" if isinstance(source, np.ndarray) else source)
    bare = path.suffix.lower() == ".bin"
    if path.name.endswith(".pcd.bin") and columns == bare_points.KITTI_COLUMNS:
        columns, scale, shift = NUSCENES_COLUMNS, NUSCENES_SCALE, None
    place = None if shift is None else (shift[0], shift[1], shift[2])
    cloud: cloud_file.CloudFile | None = None
    there = None
    values: np.ndarray
    try:
        if isinstance(source, np.ndarray):
            cloud = cloud_file.npy_cloud(source, path)
        elif path.suffix.lower() in readers.CLOUD_ENDINGS:
            cloud = readers.open_cloud(path)
        if cloud is not None:
            values, there = cloud.values(scale, place)
            values = values[there]
        elif bare:
            values = bare_points.bare_points(files.read_bytes(path), columns, scale, place)
        else:
            endings = ", ".join((".bin", ".pcd.bin", *readers.CLOUD_ENDINGS))
            raise ExportError(f"--input {path}: end the name in one of {endings}")
        coord, strength = bare_points.checked_points(
            path,
            values,
            not_finite="remove them",
            too_far="coordinates are meters from the sensor: give its place in them (--origin "
            "X Y Z)",
        )
        points = np.concatenate([coord, strength], axis=1)
        if bare and columns == bare_points.KITTI_COLUMNS:
            bare_points.refuse_other_columns(path, points)
    except (bare_points.PointsError, errors.UserError) as error:
        raise ExportError(f"--input {error}") from error
    except ExportError:
        raise
    except Exception as error:  # numpy's parser has no common class for damaged headers
        raise ExportError(f"--input {path}: is damaged or of another format ({error})") from error
    return points, None if there is None or there.all() else there


def of_rows(labels: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    """Return [R] labels of a file's rows for [N] of its points; -1 where there is no point."""
    if there is None:
        return labels
    rows = np.full(len(there), -1, dtype=np.int64)
    rows[there] = labels
    return rows


def _label_file(rows: np.ndarray, given: Mapping[str, Any], path: Path) -> np.ndarray:
    """Return what a ``.label`` file holds for the classes of rows."""
    ids = given["raw_ids"]
    if ids is None:
        raise ExportError(
            f"--output {path}: which ids .label files have for these classes is not known; end "
            "the name in .npy"
        )
    if given["ignored_id"] is None and (rows < 0).any():
        raise ExportError(
            f"--output {path}: rays without a return get the ignored id, and the class map has "
            "none; end the name in .npy"
        )
    table = np.array([*ids, given["ignored_id"] or 0], dtype=np.int64)
    kind = np.dtype(given["label_type"]).newbyteorder("<")
    if table.max() > np.iinfo(kind).max:
        raise ExportError(f"--output {path}: {given['label_type']} does not hold id {table.max()}")
    return table[rows].astype(kind)  # -1 is the last


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after one line about a mistake."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="FILE",
        help=f".bin, .pcd.bin, {', '.join(readers.CLOUD_ENDINGS)}",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="classes: .npy, 0 for the network's first, -1 for rays without a return; .label, ids "
        "of the class map",
    )
    parser.add_argument(
        "--origin",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="the sensor's place in the file's coordinates, meters (default: that of training)",
    )
    parser.add_argument(
        "--export",
        type=Path,
        default=Path(__file__).resolve().parent,
        metavar="DIR",
        help="folder of the export (default: where this file is)",
    )
    options = parser.parse_args(arguments)
    try:
        kind = options.output.suffix
        if kind not in (".npy", ".label") or not options.output.parent.is_dir():
            raise ExportError(
                f"--output {options.output}: give a .npy or .label file in an existing folder"
            )
        if not options.input.is_file():
            raise ExportError(f"--input {options.input}: no such file")
        network = ExportedNetwork(options.export)
        given = network.metadata["input"]
        if kind == ".label":  # refused before anything is computed
            _label_file(np.zeros(0, np.int64), given, options.output)
        points, there = read_points(options.input, network.metadata, options.origin)
        low, high = float(points[:, 3].min()), float(points[:, 3].max())
        if low < 0 or high > 1:
            sys.stderr.write(
                f"warning: {options.input}: strengths run from {low:g} to {high:g}, and "
                "the network was trained on 0 to 1; its classes cannot be trusted\n"
            )
        labels = network.classes(points)
        rows = of_rows(labels, there)
        if kind == ".label":
            _label_file(rows, given, options.output).tofile(options.output)
        else:
            np.save(options.output, rows)
    except (ExportError, geometry.GeometryError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    names = network.metadata["class_names"]
    counts = np.bincount(labels, minlength=len(names))
    shares = ", ".join(
        f"{names[index]} {100.0 * counts[index] / len(labels):.1f} %"
        for index in np.argsort(-counts, kind="stable")[:5]
        if counts[index]
    )
    lost = f" ({len(rows) - len(labels)} rows are rays without a return)" * (there is not None)
    sys.stderr.write(f"{len(labels)} points{lost}: {shares}\nwrote {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
