"""Runs an exported PTv3 on a point cloud: needs numpy and onnxruntime, nothing of topodistill.

`topodistill export` copies this file beside the network as ``run.py``:

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

import train.data.readers.bare_points as points_file
import train.export.onnx_geometry as geometry

FORMAT = "topodistill-onnx-1"
MODEL, MANIFEST, GEOMETRY, POINTS = "model.onnx", "export.json", "geometry.py", "points.py"
# What is used is what this file imported, wherever it lies.
BESIDE = {GEOMETRY: Path(geometry.__file__), POINTS: Path(points_file.__file__)}

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

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Return the class [N] int64 of every point of a cloud [N, 4]: x, y, z, strength."""
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
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        if digest != wanted.get(name):
            raise ExportError(
                f"{place}: is not the file that {path} was written with (its SHA-256 differs): it "
                "is damaged or of another export; copy the whole folder again, or export again"
            )
    return metadata


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
    points_file.row_type(given["columns"])
    scale, ids = given["strength_scale"], given["raw_ids"]
    if not set("xyz") <= {name for name, _ in given["columns"]}:
        raise ValueError("input has no columns x, y and z")
    if scale is not None and not (type(scale) in (int, float) and 0 < scale < 1e15):
        raise ValueError(f"strength_scale is {scale}")
    if ids is not None and (len(ids) != len(names) or any(type(each) is not int for each in ids)):
        raise ValueError("raw_ids are no ids of the classes")
    if type(metadata["in_channels"]) is not int or not isinstance(metadata["export_id"], str):
        raise ValueError("in_channels is no number, or export_id no text")


def read_points(path: Path, metadata: Mapping[str, Any]) -> np.ndarray:
    """Return [N, 4] float32 of a file of points, as the network takes them.

    Parameters
    ----------
    path
        ``.bin``, in the columns of the frames that the network was trained on; ``.pcd.bin`` of
        nuScenes where these have SemanticKITTI's; ``.npy``, numbers [N, 3] or [N, 4]. Strengths are
        divided as in training.
    metadata
        Of the export.

    Raises
    ------
    ExportError
        If it is none of these, damaged, has other columns, or points too far out.
    """
    columns = tuple((name, kind) for name, kind in metadata["input"]["columns"])
    scale = metadata["input"]["strength_scale"]
    if path.name.endswith(".pcd.bin") and columns == points_file.KITTI_COLUMNS:
        columns, scale = NUSCENES_COLUMNS, NUSCENES_SCALE
    try:
        if path.suffix == ".npy":
            # Mapped: an array that the file has no room for takes no memory.
            values = np.array(np.load(path, "r", allow_pickle=False), dtype=np.float32)
            if values.ndim != 2 or values.shape[1] not in (3, 4):
                raise ValueError(f"an array of shape {values.shape}, must be (N, 3) or (N, 4)")
            values = np.pad(values, ((0, 0), (0, 4 - values.shape[1])))
            values[:, 3] /= 1.0 if scale is None else scale
        elif path.suffix == ".bin":
            values = points_file.bare_points(path.read_bytes(), columns, scale)
        else:
            raise ExportError(f"--input {path}: end the name in .bin, .pcd.bin or .npy")
        coord, strength = points_file.checked_points(
            path,
            values,
            not_finite="remove them",
            too_far="coordinates are meters from the sensor: subtract its position",
        )
        points = np.concatenate([coord, strength], axis=1)
        if path.suffix == ".bin" and columns == points_file.KITTI_COLUMNS:
            points_file.refuse_other_columns(path, points)
    except points_file.PointsError as error:
        raise ExportError(f"--input {error}") from error
    except ExportError:
        raise
    except Exception as error:  # numpy's parser has no common class for damaged headers
        raise ExportError(f"--input {path}: is damaged or of another format ({error})") from error
    return points


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after one line about a mistake."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--input", type=Path, required=True, metavar="FILE", help=".bin, .pcd.bin or .npy"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="classes: .npy, 0 for the network's first; .label, ids of the class map",
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
        raw_ids = network.metadata["input"]["raw_ids"]
        if kind == ".label" and raw_ids is None:
            raise ExportError(
                f"--output {options.output}: which ids .label files have for these classes is not "
                "known; end the name in .npy"
            )
        points = read_points(options.input, network.metadata)
        low, high = float(points[:, 3].min()), float(points[:, 3].max())
        if low < 0 or high > 1:
            sys.stderr.write(
                f"warning: {options.input}: strengths run from {low:g} to {high:g}, and "
                "the network was trained on 0 to 1; its classes cannot be trusted\n"
            )
        labels = network.predict(points)
        if kind == ".label":
            np.array(raw_ids, dtype="<u4")[labels].tofile(options.output)
        else:
            np.save(options.output, labels)
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
    sys.stderr.write(f"{len(labels)} points: {shares}\nwrote {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
