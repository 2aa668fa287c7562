"""The page that lies in the folder of an export: what its inputs are and how to run it."""

from collections.abc import Mapping
from typing import Any

from train.core.blocks import heading, page, table

_ONNX_USE = """\
```bash
python run.py --input frame.bin --output labels.npy   # needs numpy and onnxruntime
```

```python
import sys

sys.path.insert(0, "THIS FOLDER")
from run import ExportedNetwork

network = ExportedNetwork("THIS FOLDER")
labels = network.predict(points)            # [N, 4] x, y, z, strength as in your files -> [N]
labels = network.predict("frame.pcd")       # .bin, .npy, .pcd, .ply; .las with laspy
```

Files are read as in training (columns, strength scale, origin). Rays without a return (NaN) get -1.
The runner checks that `model.onnx`, `geometry.py`, `readers/` and `export.json` are of one export.
In other languages: build the tables below (`geometry.py`, 300 lines of numpy, defines them) and
feed them by name."""

_PROGRAM_USE = """\
```python
import sys

import torch

sys.path.insert(0, "THIS FOLDER")
import geometry

program = torch.export.load("THIS FOLDER/model.pt2").module()
voxels = geometry.voxelize(points, GRID_SIZE_M, CLIP_RANGE_M)
tables = geometry.build_tables(voxels.grid_coord, geometry.Plan.from_plain(PLAN))
names = geometry.input_names(geometry.Plan.from_plain(PLAN))[1:]
logits = program(torch.from_numpy(voxels.feat), [torch.from_numpy(tables[name]) for name in names])
labels = logits.argmax(1)[torch.from_numpy(voxels.inverse)]
```

`export.json` has the three constants under "metadata": grid_size_m, clip_range_m and geometry."""

_PRECISIONS = {
    "fp32": "float32 throughout.",
    "fp16": (
        "Weights and products of blocks, pooling, the way up and the head in float16; the stem, "
        "which reads meters, all norms and the sums of branches in float32. Inputs and output are "
        "float32."
    ),
    "int8": (
        "Linear layers and convolutions of blocks and stages (products with constant weights) in "
        "int8, by QuantizeLinear and DequantizeLinear nodes: weights per column, activations per "
        "tensor, both symmetric, ranges from the smallest and largest values on calibration "
        "frames. The stem, the head, attention's products and all norms stay in float32."
    ),
}


def readme(described: Mapping[str, Any], *, onnx: bool) -> str:
    """Return the page.

    Parameters
    ----------
    described
        What the export says about itself.
    onnx
        Whether it is an ONNX file; else a `torch.export` program.
    """
    plan = described["geometry"]
    clip = described["clip_range_m"]
    names = ", ".join(f"{index} {name}" for index, name in enumerate(described["class_names"]))
    box = (
        ""
        if clip is None
        else (f"; points are first moved into the box {tuple(clip[:3])} to {tuple(clip[3:])} m")
    )
    return page(
        heading(f"{described['network']}, {described['dataset']}, {described['precision']}", 1),
        f"{described['parameters']:,} parameters, exported by topodistill "
        f"{described['versions']['topodistill']} (export {described['export_id']}, weights "
        f"{described['weights_checksum']}). {_PRECISIONS[described['precision']]}",
        heading("Use"),
        _ONNX_USE if onnx else _PROGRAM_USE,
        heading("Inputs"),
        f"One cloud per call. Voxels of {described['grid_size_m']:g} m{box}; of each voxel the "
        "point nearest to its center. `voxels_s` is the number of voxels at "
        f"stage s, of edge {described['grid_size_m']:g} * 2^s m; all tables are int32. Every axis "
        "with a name is free.",
        table(("input", "shape", "what"), _input_rows(described), "l"),
        f"A stage's curves are the first of {', '.join(plan['orders'])}; patches_s is "
        f"max(1, ceil(voxels_s / {plan['patch_size']})) and slots_s is min(voxels_s, "
        f"{plan['patch_size']}). A cloud of at most {2**16 - 1} voxels along an axis fits the "
        "curves.",
        heading("Output"),
        f"`logits` [voxels_0, {len(described['class_names'])}] float32. Classes: {names}.",
    )


def _input_rows(described: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = [
        (
            "`feat`",
            f"[voxels_0, {described['in_channels']}] float32",
            "x, y, z in meters and strength of each voxel's point",
        ),
        (
            "`stem_neighbors`",
            "[voxels_0, 125]",
            "row of the voxel at each place of the 5 x 5 x 5 cube around each voxel, z fastest; "
            "voxels_0 where there is none",
        ),
    ]
    for stage, count in enumerate(described["geometry"]["curves"]):
        finer = stage - 1
        if stage:
            rows += [
                (
                    f"`children_{stage}`",
                    f"[voxels_{stage}, 8]",
                    f"the voxels of stage {finer} in each voxel, the first one repeated where "
                    "there are fewer",
                ),
                (
                    f"`parent_{stage}`",
                    f"[voxels_{finer}]",
                    f"the voxel of stage {stage} around each voxel of stage {finer}",
                ),
            ]
        rows += [
            (
                f"`neighbors_{stage}`",
                f"[voxels_{stage}, 27]",
                "the same as `stem_neighbors` for the 3 x 3 x 3 cube",
            ),
            (
                f"`patches_{stage}`",
                f"[{count}, patches_{stage}, slots_{stage}]",
                "for each curve the rows that attend to each other; the last patch borrows from "
                "the one before",
            ),
            (
                f"`patch_place_{stage}`",
                f"[{count}, voxels_{stage}]",
                f"for each curve where a voxel's own result is: patch * slots_{stage} + slot",
            ),
        ]
    return rows
