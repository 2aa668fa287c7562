"""An ONNX file of a PTv3 with all that runs it: tables in numpy, a runner, what it is.

Standard operators only; the number of points is free at every stage.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from train.core import provenance
from train.core.atomic_write import atomic_write, make_folder
from train.core.bounded import first_line
from train.core.console import logger
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.data.kitti_layout import class_map_of, frame_files
from train.export import onnx_geometry, onnx_runner
from train.export.onnx_network import ExportedPTv3
from train.export.onnx_quantize import errors_only
from train.export.onnx_readme import readme
from train.export.onnx_runner import GEOMETRY
from train.networks.protocol import Network
from train.networks.ptv3.segmentor import Segmentor
from train.networks.weights import ModelMetadata, checksum

ExportPrecision = Literal["fp32", "fp16", "int8"]
OPSET: Final = 18
README, RUNNER, PROGRAM = "README.md", "run.py", "model.pt2"
EXTRA: Final = ("onnx", "onnxscript", "onnxruntime")
Quantize = Callable[[Path, Path], None]
"""Writes to the second path a quantized copy of the network at the first."""


def export_onnx(
    network: Network,
    metadata: ModelMetadata,
    folder: Path,
    *,
    precision: ExportPrecision = "fp32",
    quantize: Quantize | None = None,
) -> dict[str, Any]:
    """Write a network as ONNX, with its geometry builder, a runner and a page of its inputs.

    Parameters
    ----------
    network
        A PTv3; is left as it is.
    metadata
        What it is.
    folder
        Made if need be; files of these names are replaced.
    precision
        ``"fp32"``; ``"fp16"``: weights and products of all but stem and norms; ``"int8"``: what
        `quantize` makes of the fp32 network.
    quantize
        Needed for ``"int8"`` alone, see `train.export.onnx_quantize`.

    Returns
    -------
    dict
        What is in ``export.json``.

    Raises
    ------
    UserError
        If the network is no PTv3, a package is missing, or a file cannot be written.
    ValueError
        If precision and `quantize` do not belong together.
    """
    if (precision == "int8") != (quantize is not None):
        raise ValueError("export_onnx: quantize is for precision 'int8', which needs it")
    segmentor = require_ptv3(network)
    require_packages()
    dtype = torch.float16 if precision == "fp16" else torch.float32
    program = ExportedPTv3(segmentor, product_dtype=dtype)
    make_folder(folder, "--output")
    described = _described(segmentor, metadata, precision, program)
    path = folder / onnx_runner.MODEL
    with atomic_write(path) as unfinished:
        if quantize is None:
            unfinished.write_bytes(_with_metadata(_onnx_bytes(program), described))
        else:
            plain = unfinished.with_name(f"{unfinished.name}.fp32")
            try:
                plain.write_bytes(_onnx_bytes(program))
                quantize(plain, unfinished)
            finally:
                plain.unlink(missing_ok=True)
            unfinished.write_bytes(_with_metadata(unfinished.read_bytes(), described))
    return _write_beside(folder, described, path)


def export_program(network: Network, metadata: ModelMetadata, folder: Path) -> dict[str, Any]:
    """Write a network as a `torch.export` program, ``model.pt2``, with its geometry builder.

    Parameters and errors are those of `export_onnx`; attention is one fused operator of torch's.
    """
    segmentor = require_ptv3(network)
    program = ExportedPTv3(segmentor, fused_attention=True)
    make_folder(folder, "--output")
    described = _described(segmentor, metadata, "fp32", program)
    path = folder / PROGRAM
    with atomic_write(path) as unfinished:
        exported = _traced(program)
        # `save` wants a name that ends in .pt2, or it warns; it takes an open file as well.
        with unfinished.open("wb") as file:
            torch.export.save(exported, file, extra_files={"metadata": json.dumps(described)})
    return _write_beside(folder, described, path)


def require_ptv3(network: Network) -> Segmentor:
    """Return the network if it can be exported.

    Raises
    ------
    UserError
        If it is none of ours that has an exported form, or a file of the user's built it and it
        has other parts, or computes something else with them.
    """
    if not isinstance(network, Segmentor):
        raise UserError(
            f"--format: a {type(network).__name__} cannot be exported so, only PTv3 can, of the "
            "package or as a file of your own builds it; --format safetensors takes every network"
        )
    if network.built_from is not None:
        where = f"--format: the network of {network.built_from.network} cannot be exported so"
        hint = "--format safetensors takes every network"
        try:
            same = _computes_the_same(ExportedPTv3(network), network)
        # What a part that is another raises where its weights are looked for is of no common class.
        except Exception as error:
            told = f"its parts are not those of PTv3 ({first_line(error)})"
            raise UserError(f"{where}: {told}; {hint}") from error
        if not same:
            raise UserError(f"{where}: it computes something else than PTv3 of its weights; {hint}")
    return network


@torch.no_grad()
def _computes_the_same(program: ExportedPTv3, network: Segmentor) -> bool:
    """Return whether two networks give the same logits on a small cloud, but for rounding."""
    rng = np.random.default_rng(0)
    grid = np.unique(rng.integers(0, 24, (600, 3)), axis=0)
    feat = torch.from_numpy(rng.random((len(grid), network.in_channels), dtype=np.float32))
    tables = onnx_geometry.build_tables(grid, program.plan)
    names = onnx_geometry.input_names(program.plan)[1:]
    found = program(feat, [torch.from_numpy(tables[name]) for name in names])
    voxels = torch.from_numpy(grid)
    batch = {
        "feat": feat,
        "coord": voxels.float(),
        "grid_coord": voxels,
        "offset": torch.tensor([len(grid)]),
    }
    was_training = network.training
    want = network.eval()(batch).logits
    network.train(was_training)
    tolerance = 1e-3 * float(want.abs().max())
    return found.shape == want.shape and torch.allclose(found, want, rtol=0.0, atol=tolerance)


def require_packages() -> None:
    """Refuse to export to ONNX where what it takes is not installed."""
    missing = [name for name in EXTRA if provenance.version(name) is None]
    if missing:
        raise UserError(
            f"--format onnx needs {', '.join(missing)}: pip install 'topodistill[onnx]'"
        )


def _described(
    network: Segmentor, metadata: ModelMetadata, precision: str, program: ExportedPTv3
) -> dict[str, Any]:
    """Return what an export says about itself; its id is made from all of it."""
    files = frame_files(metadata.layout)
    class_map = class_map_of(metadata.layout, metadata.class_names)
    described: dict[str, Any] = {
        "network": f"{metadata.network}:{metadata.size}",
        "cpe_input": network.config.cpe_input,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "dataset": metadata.dataset,
        "class_names": list(metadata.class_names),
        "in_channels": metadata.in_channels,
        "grid_size_m": metadata.grid_size_m,
        "clip_range_m": None if metadata.clip_range_m is None else list(metadata.clip_range_m),
        "input": {
            "columns": [list(column) for column in files.columns],
            "strength_scale": files.strength_scale,
            "origin": None if files.origin_m is None else list(files.origin_m),
            "label_type": files.label_type,
            "raw_ids": None if class_map is None else list(class_map.train_to_raw),
            "ignored_id": None if class_map is None else class_map.ignored_raw,
        },
        "precision": precision,
        "weights_checksum": checksum(network),
        "geometry": asdict(program.plan),
        "versions": {name: provenance.version(name) for name in ("topodistill", "torch", *EXTRA)},
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    return {"export_id": digest.hexdigest()[:16], **described}


def _traced(program: ExportedPTv3) -> torch.export.ExportedProgram:
    """Return the program with free axes; dimensions of one name are equal in every cloud."""
    feat, tables = program.example()
    first, rest = program.dynamic_axes()
    dims: dict[str, Any] = {}

    def named(axes: dict[int, str]) -> dict[int, Any]:
        return {axis: dims.setdefault(name, torch.export.Dim(name)) for axis, name in axes.items()}

    shapes = (named(first), [named(axes) for axes in rest])
    with torch.no_grad():
        return torch.export.export(program, (feat, tables), dynamic_shapes=shapes, strict=False)


def _onnx_bytes(program: ExportedPTv3) -> bytes:
    """Return the ONNX file of a program, without traces of the machine that made it."""
    import onnx

    names = onnx_geometry.input_names(program.plan)
    with warnings.catch_warnings(), errors_only("torch.onnx"):
        # About torch's own code, and about packages that are not needed.
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            program,
            program.example(),
            dynamic_shapes=program.dynamic_axes(),
            input_names=list(names),
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    # Every node carries the lines of source it came from, with their folders.
    for graph in (model.graph, *model.functions):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    found = {node.domain for node in model.graph.node} | {f.domain for f in model.functions}
    if found - {"", "ai.onnx"}:
        raise RuntimeError(f"export_onnx: the graph has operators of {sorted(found)}")
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _with_metadata(content: bytes, described: dict[str, Any]) -> bytes:
    """Return an ONNX file that says what it is."""
    import onnx

    model = onnx.load_from_string(content)
    model.producer_name = "topodistill"
    model.producer_version = described["versions"]["topodistill"] or ""
    onnx.helper.set_model_props(
        model,
        {
            "topodistill": json.dumps(described),
            "class_names": json.dumps(described["class_names"]),
            "grid_size_m": json.dumps(described["grid_size_m"]),
            "clip_range_m": json.dumps(described["clip_range_m"]),
            "weights_checksum": described["weights_checksum"],
        },
    )
    result: bytes = model.SerializeToString()
    return result


def _write_beside(folder: Path, described: dict[str, Any], network_file: Path) -> dict[str, Any]:
    """Write the geometry builder, the runner, the page and the manifest; return the last."""
    is_onnx = network_file.name == onnx_runner.MODEL
    beside = {
        name: path for name, path in onnx_runner.BESIDE.items() if is_onnx or name == GEOMETRY
    }
    if is_onnx:
        make_folder(folder / onnx_runner.READERS, "--output")
    for name, path in beside.items():
        with atomic_write(folder / name) as unfinished:
            unfinished.write_text(onnx_runner.portable(path.read_text("utf-8")), encoding="utf-8")
    if is_onnx:
        lines = Path(onnx_runner.__file__).read_text(encoding="utf-8").splitlines(keepends=True)
        of_us = ("import train.", "from train.")
        text = "".join(onnx_runner.portable(x) if x.startswith(of_us) else x for x in lines)
        with atomic_write(folder / RUNNER) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    with atomic_write(folder / README) as unfinished:
        unfinished.write_text(readme(described, onnx=is_onnx), encoding="utf-8")
    manifest = {
        "format": onnx_runner.FORMAT if is_onnx else "topodistill-program-1",
        "metadata": described,
        "files": {name: sha256_of(folder / name) for name in (network_file.name, *beside)},
    }
    with atomic_write(folder / onnx_runner.MANIFEST) as unfinished:
        unfinished.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    size = f"{network_file.name}, {network_file.stat().st_size / 1e6:.2f} MB"
    then = f"; then python {folder / RUNNER} --input FILE --output FILE" if is_onnx else ""
    logger.info(f"wrote {folder}: {size}{then}")
    return manifest
