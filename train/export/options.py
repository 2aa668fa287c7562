"""The options of the export command, and the files that each format is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from tyro.conf import arg

from train.core.command import Names
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS
from train.data.frame import Split
from train.data.layout_flags import LayoutFlags
from train.export.onnx_export import PROGRAM, README, RUNNER, ExportPrecision
from train.export.onnx_runner import GEOMETRY, MANIFEST, MODEL, READERS
from train.networks.official.checkpoint import Form
from train.networks.pretrained_folder import CARD, WEIGHTS
from train.networks.weights import FOLDER_CONFIG

POINTCEPT_WEIGHTS, POINTCEPT_CONFIG = "model.pth", "pointcept_model.py"

FILES: Final = {
    "safetensors": (WEIGHTS, FOLDER_CONFIG, CARD),
    "onnx": (MODEL, MANIFEST, GEOMETRY, READERS, RUNNER, README),
    "pointcept": (POINTCEPT_WEIGHTS, POINTCEPT_CONFIG),
    "torch-export": (PROGRAM, MANIFEST, GEOMETRY, README),
}
"""Format -> the files that it writes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is written from which network, or measured."""

    checkpoint: Annotated[Path, arg(metavar="FILE")]
    """student.pt or teacher.pt of a run, a .safetensors file or its folder, or a file of Pointcept
    or LitePT"""
    output: Annotated[Path | None, arg(metavar="DIR")] = None
    """folder to write; made if need be"""
    format: Literal["safetensors", "onnx", "pointcept", "torch-export"] = "safetensors"
    overwrite: bool = False
    """replace files that exist"""
    data_license: Annotated[str | None, arg(metavar="TEXT")] = None
    """the training data's terms, for the model card [those of a known dataset]"""
    precision: ExportPrecision = "fp32"
    """of the ONNX file"""
    calibration_frames: Annotated[int | None, arg(metavar="N")] = None
    """of --precision int8: frames of the training split whose smallest and largest values give the
    ranges [8]"""
    score: Annotated[Path | None, arg(metavar="DIR")] = None
    """score and time an exported ONNX folder beside --checkpoint in torch; writes scores.json
    there"""
    max_frames: Annotated[int | None, arg(metavar="N")] = None
    """of --score: so many frames"""
    untrained: bool = False
    """of --score: time it alone; the scores of fresh weights say nothing"""
    repeats: Annotated[int, arg(metavar="N")] = 5
    """of --score: timed passes"""
    remark: Annotated[str, arg(metavar="TEXT")] = ""
    """of --score: about the machine, for a page"""
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    """folder of the dataset, for frames to calibrate with or to score [data/DATASET]"""
    split: Split | None = None
    """of those frames [training to calibrate with, validation to score]"""
    sequences: Names = ()
    """these in place of a split"""
    form: Form | None = None
    """of a PTv3 of Pointcept: v1.5.1 for the weights that were released, main for those trained
    with its code since 2024-03-26"""
    classes: Annotated[str | None, arg(metavar="FILE")] = None
    """of a file of Pointcept or LitePT: its classes in its order, one name per line or a YAML list,
    or a dataset's name"""
    dataset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="of a file of Pointcept or LitePT: whose classes it has "
            f"({', '.join(sorted(DATASETS))})",
        ),
    ] = None
    data: LayoutFlags = field(default_factory=LayoutFlags)

    def __post_init__(self) -> None:
        for name in ("calibration_frames", "max_frames", "repeats"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} is {value}: at least 1")
