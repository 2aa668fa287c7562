"""Every reader of users' files with a sound file for it; run as a program, it reads damaged ones.

`python -m tests.train.damaged.readers FOLDER FIRST END` prints the number of each mutant before it
is read, and after it what is wrong with the answer, if anything is. It may die of a reader that
aborts, or takes more CPU time or memory than it may.
"""

import json
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

import h5py
import laspy
import numpy as np
import onnx
import torch
from safetensors.torch import save_file

from tests.train.damaged.mutants import mutant
from tests.train.data.damage import check_sound
from tests.train.networks.official.official_files import write_official
from train.core.errors import UserError
from train.data.readers import open_cloud
from train.data.readers.bare_points import KITTI_COLUMNS
from train.data.readers.class_map_file import class_map_yaml, read_class_map
from train.data.semantickitti.classes import CLASS_MAP
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.objects.read import read_objects, write_folder
from train.evaluation.load_network import open_checkpoint, read_class_names
from train.export import onnx_geometry, onnx_runner
from train.networks.official.ptv3 import to_pointcept_keys
from train.networks.pretrained_folder import save_pretrained
from train.networks.ptv3 import build_segmentor
from train.networks.weights import ModelMetadata, load_model, save_model
from train.predict.cloud_files import KITTI_FILES, read_cloud

STDERR = "stderr"
SECONDS, NUM_BYTES = 5.0, 1 << 30
"""What an answer may take: of CPU time, and of memory beyond what reading a sound file takes."""

RNG = np.random.default_rng(7)
POINTS = RNG.uniform(-20, 20, (60, 4)).astype(np.float32)
POINTS[:, 3] = RNG.uniform(0, 1, 60)
REFUSALS = (UserError, onnx_runner.ExportError, onnx_geometry.GeometryError)


_LAS_KINDS = (("las", 1, "1.2"), ("las", 6, "1.4"), ("laz", 1, "1.2"), ("laz", 6, "1.4"))


class Reader(NamedTuple):
    """A file and what reads it."""

    path: Path
    use: Callable[[], object]


def _cloud(path: Path, data: bytes) -> Reader:
    path.write_bytes(data)

    def use() -> None:
        check_sound(read_cloud(path).frame, 1)
        if path.suffix != ".bin":
            file = open_cloud(path)
            file.labeled(np.zeros(len(file.values()[0]), dtype=np.int64))

    return Reader(path, use)


def _clouds(folder: Path) -> Iterator[Reader]:
    text = "\n".join(" ".join(map(str, row)) for row in POINTS.tolist()).encode()
    yield _cloud(folder / "a.bin", POINTS.tobytes())
    np.save(folder / "a.npy", POINTS)
    yield _cloud(folder / "a.npy", (folder / "a.npy").read_bytes())
    properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity"))
    for form, body in (("ascii", text), ("binary_little_endian", POINTS.tobytes())):
        header = f"ply\nformat {form} 1.0\nelement camera 0\nproperty int id\nelement vertex 60\n"
        head = f"{header}{properties}end_header\n".encode()
        yield _cloud(folder / f"{form}.ply", head + body)
    header = (
        "# .PCD\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1"
    )
    header += "\nWIDTH 60\nHEIGHT 1\nPOINTS 60\nDATA "
    columns = POINTS.T.tobytes()
    packed = b"".join(b"\x1f" + columns[at : at + 32] for at in range(0, len(columns), 32))
    sizes = np.array([len(packed), len(columns)], "<u4").tobytes()
    for form, body in (
        ("ascii", text), ("binary", POINTS.tobytes()), ("binary_compressed", sizes + packed)
    ):  # fmt: skip
        yield _cloud(folder / f"{form}.pcd", f"{header}{form}\n".encode() + body)
    for ending, number, version in _LAS_KINDS:
        las = laspy.LasData(laspy.LasHeader(point_format=number, version=version))
        las.header.vlrs.append(laspy.VLR("someone", 77, "a note", b"kept"))
        las.x, las.y, las.z = POINTS[:, :3].T
        las.intensity = POINTS[:, 3] * 65535
        path = folder / f"{number}.{ending}"
        las.write(path)
        yield _cloud(path, path.read_bytes())
    label = folder / "a.label.npy"
    np.save(label, np.zeros(60, dtype=np.uint16))
    yield Reader(label, lambda: KITTI_FILES.read_segment(label, 60))


def _class_maps(folder: Path) -> Iterator[Reader]:
    rows = "undefined,0,0,#000000\ntraffic_cone,1,1,#ff8000\nasphalt,23,0,#010203\n"
    for name, text in (
        ("map.yaml", class_map_yaml(CLASS_MAP, CLASS_MAP.split)),
        ("small.yaml", "labels: {0: a, 1: b, 2: c}\nlearning_ignore: {0: true}\n"),
        ("map.csv", f"class_name,label_key,has_instance,hex\n{rows}"),
    ):
        path = folder / name
        path.write_text(text)
        yield Reader(path, lambda path=path: read_class_map(path))


def _objects(folder: Path) -> Iterator[Reader]:
    ours = folder / "ours"
    ours.mkdir()
    points = RNG.normal(size=(4, 30, 3)).astype(np.float32)
    labels, parts = np.array([0, 0, 1, 1]), RNG.integers(-1, 2, (4, 30))
    write_folder(ours, {"train": PointClouds(points, labels, ("a", "b"), parts, ("p", "q"))}, {})
    for name in ("objects.json", "train.npz"):
        yield Reader(ours / name, lambda: read_objects(ours, "train", 12))
    off = folder / "modelnet/cup/train/a.off"
    off.parent.mkdir(parents=True)
    off.write_text("OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
    yield Reader(off, lambda: read_objects(folder / "modelnet", "train", 12))
    shapes = folder / "shapes"
    (shapes / "train_test_split").mkdir(parents=True)
    (shapes / "02").mkdir()
    for name, text in (
        ("synsetoffset2category.txt", "Cup\t02\n"),
        ("train_test_split/shuffled_train_file_list.json", '["shape_data/02/m"]'),
        ("02/m.txt", "\n".join(" ".join(map(str, row)) for row in POINTS.round(2).tolist())),
    ):
        (shapes / name).write_text(text)
        yield Reader(shapes / name, lambda: read_objects(shapes, "train", 12))
    h5 = folder / "scan/training_objectdataset.h5"
    h5.parent.mkdir()
    with h5py.File(h5, "w") as file:
        file["data"], file["label"], file["mask"] = points, labels, parts
    yield Reader(h5, lambda: read_objects(h5.parent, "train", 12))


def _networks(folder: Path) -> Iterator[Reader]:
    torch.manual_seed(0)
    model = build_segmentor("tiny-student", 3)
    card = ModelMetadata(
        size="tiny-student", num_classes=3, in_channels=4, overrides={}, dataset="toy",
        class_names=("a", "b", "c"), grid_size_m=0.2,
    )  # fmt: skip
    save_model(model, card, folder / "m.pt")
    weights = save_pretrained(model, folder / "pretrained", metadata=card, data_license="none")
    yield Reader(folder / "m.pt", lambda: load_model(folder / "m.pt"))
    yield Reader(weights, lambda: load_model(weights))
    yield Reader(weights.with_name("config.json"), lambda: load_model(weights.parent))
    official = write_official(folder / "official.pth", model)
    others = folder / "official.safetensors"
    save_file(to_pointcept_keys(model.state_dict()), others, {"format": "pt"})
    for path in (official, others):
        yield Reader(path, lambda path=path: open_checkpoint(path, form="main"))
    names = folder / "names.txt"
    names.write_text("0: car\n1: road\n2: tree\n")
    yield Reader(names, lambda: read_class_names(names))


def _exports(folder: Path) -> Iterator[Reader]:
    plan = onnx_geometry.Plan(2, ("z", "hilbert"), (2, 1), 16, "main")
    described = {
        "export_id": "7", "class_names": ["a", "b"], "grid_size_m": 0.5, "in_channels": 4,
        "clip_range_m": [-9, -9, -9, 9, 9, 9],
        "input": {
            "columns": KITTI_COLUMNS, "strength_scale": 255, "origin": [0, 0, 1],
            "label_type": "uint32", "raw_ids": [40, 50], "ignored_id": 0,
        },
        "geometry": dict(zip(vars(plan), astuple(plan), strict=True)),
    }  # fmt: skip
    model, manifest = folder / onnx_runner.MODEL, folder / onnx_runner.MANIFEST
    model.write_bytes(_model(plan, described))

    def write_manifest() -> None:
        digests = {
            name: onnx_runner.digest_of(path)
            for name, path in {onnx_runner.MODEL: model, **onnx_runner.BESIDE}.items()
        }
        content = {"format": onnx_runner.FORMAT, "files": digests, "metadata": described}
        manifest.write_text(json.dumps(content))

    def run() -> None:
        onnx_runner.ExportedNetwork(folder, num_threads=1).predict(POINTS)

    def run_other() -> None:
        write_manifest()
        run()

    write_manifest()
    yield Reader(manifest, run)
    yield Reader(model, run_other)
    points = folder / "a.npy"
    np.save(points, POINTS)
    yield Reader(points, lambda: onnx_runner.read_points(points, described))


def _model(plan: onnx_geometry.Plan, described: dict[str, object]) -> bytes:
    """Return an ONNX network with the inputs of ours that multiplies features with a matrix."""
    helper, kind = onnx.helper, onnx.TensorProto
    inputs = [helper.make_tensor_value_info("feat", kind.FLOAT, ["V", 4])]
    tables = onnx_geometry.build_tables(np.arange(12).reshape(4, 3), plan)
    for name in onnx_geometry.input_names(plan)[1:]:
        shape = [None] * tables[name].ndim
        inputs.append(helper.make_tensor_value_info(name, kind.INT32, shape))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["feat", "weight"], ["logits"])],
        "toy",
        inputs,
        [helper.make_tensor_value_info("logits", kind.FLOAT, ["V", 2])],
        [helper.make_tensor("weight", kind.FLOAT, (4, 2), np.arange(8.0))],
    )
    opset = [helper.make_opsetid("", 18)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=10)
    helper.set_model_props(made, {"topodistill": json.dumps(described)})
    return made.SerializeToString()


def readers(folder: Path) -> dict[str, Reader]:
    """Write a sound file for each reader into an empty folder; return them by file name."""
    found = {}
    for make in (_clouds, _class_maps, _objects, _networks, _exports):
        own = folder / make.__name__
        own.mkdir()
        for reader in make(own):
            found[str(reader.path.relative_to(folder))] = reader
    return found


def problem(reader: Reader) -> str | None:
    """Return what is wrong with the answer to a file; None if it is right or one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader.use()
    except REFUSALS as error:
        said = str(error)
        if not said.isprintable() or len(said) > 3000:
            return f"more than one line: {said[:300]!r} ({len(said)} letters)"
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError) or "allocate" in str(cause):
                return f"took too much memory: {cause}"
            cause = cause.__cause__ or cause.__context__
    except Exception:  # whatever else an answer can be is what is looked for
        return traceback.format_exc(limit=-4)
    return None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(folder: Path, first: int, end: int) -> None:
    """Read mutants FIRST to END."""
    folder.mkdir()
    found = list(readers(folder).values())
    sound = [reader.path.read_bytes() for reader in found]
    for reader in found:
        assert problem(reader) is None, (reader, problem(reader))
    # What libraries write beside the one line, from C or Rust, is seen by a file alone.
    written = (folder / STDERR).open("wb")
    os.dup2(written.fileno(), 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + NUM_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the end of a reader that takes too long
    for number in range(first, end):
        reader, data = found[number % len(found)], sound[number % len(found)]
        _say(f"{number} {reader.path.relative_to(folder)}")
        reader.path.write_bytes(mutant(data, number))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        wrong = problem(reader)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if size := os.fstat(2).st_size:
            wrong = f"{wrong or ''}\nwrote {(folder / STDERR).read_bytes()[-300:]}, {size} bytes"
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
        if wrong is not None:
            _say(wrong)
        reader.path.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
