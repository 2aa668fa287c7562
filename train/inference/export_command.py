"""The command that writes a trained network for others: safetensors, ONNX, Pointcept, torch.export.

python -m train.export --checkpoint student.pt --output DIR --format onnx
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from train.core.atomic_write import atomic_write, make_folder
from train.core.command import run_command
from train.core.console import logger
from train.core.errors import UserError
from train.core.provenance import program
from train.data.frame import SPLITS
from train.data.layout_flags import add_layout_flags
from train.data.registry import DATASETS
from train.data.terms import data_license
from train.inference.export_input import clouds, open_frames, open_network_to_export
from train.inference.export_scores import score, write_page
from train.inference.onnx_export import (
    EXPORT_PRECISIONS,
    PROGRAM,
    README,
    RUNNER,
    export_onnx,
    export_program,
    require_packages,
    require_ptv3,
)
from train.inference.onnx_network import plan_of
from train.inference.onnx_quantize import int8_quantizer
from train.inference.onnx_runner import GEOMETRY, MANIFEST, MODEL
from train.inference.onnx_score import first_frames
from train.inference.run_card import card_of_run
from train.networks.official.checkpoint import FORMS
from train.networks.official.pointcept_export import pointcept_config, save_pointcept_checkpoint
from train.networks.pretrained_folder import CARD, WEIGHTS, save_pretrained
from train.networks.protocol import Network
from train.networks.weights import FOLDER_CONFIG, ModelMetadata, read_folder_config

POINTCEPT_WEIGHTS, POINTCEPT_CONFIG = "model.pth", "pointcept_model.py"

FILES: Final = {
    "safetensors": (WEIGHTS, FOLDER_CONFIG, CARD),
    "onnx": (MODEL, MANIFEST, GEOMETRY, RUNNER, README),
    "pointcept": (POINTCEPT_WEIGHTS, POINTCEPT_CONFIG),
    "torch-export": (PROGRAM, MANIFEST, GEOMETRY, README),
}
"""Format -> the files that it writes."""

EPILOG: Final = """\
formats:
  safetensors   weights, config.json and a model card; from_pretrained reads the folder
  onnx          ONNX Runtime, TensorRT: geometry comes in as tables, which a file of numpy makes
  pointcept     model.pth under Pointcept's key names, and the model part of its config
  torch-export  model.pt2 for torch.export.load and AOTInductor, the same tables as input

examples:
  python -m train.export --checkpoint runs/waymo/student.pt --output exported --format onnx
  python -m train.export --checkpoint student.pt --output int8 --format onnx --precision int8 \\
      --data-root data/waymo --calibration-frames 8
  python -m train.export --score int8 --checkpoint student.pt --data-root data/waymo
  python -m train.export --checkpoint model_best.pth --form v1.5.1 --dataset nuscenes \\
      --output teacher
"""


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see topodistill export --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake of the user's, 128 + N after signal N."""
    return run_command(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program("train.export"),
        description="Write a trained network in the form that others take; score and time what "
        "was exported to ONNX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="student.pt or teacher.pt of train.run, a .safetensors file or its folder, or a file "
        "of Pointcept or LitePT",
    )
    add("--output", type=Path, metavar="DIR", help="folder to write; made if need be")
    add("--format", choices=tuple(FILES), default="safetensors", help="default: safetensors")
    add("--overwrite", action="store_true", help="replace files that exist")
    add(
        "--data-license",
        metavar="TEXT",
        help="the training data's terms, for the model card (default: those of a known dataset)",
    )
    onnx = parser.add_argument_group("ONNX")
    onnx.add_argument(
        "--precision", choices=EXPORT_PRECISIONS, default="fp32", help="default: fp32"
    )
    onnx.add_argument(
        "--calibration-frames",
        type=_count,
        metavar="N",
        help="of --precision int8: frames of the training split whose smallest and largest values "
        "give the ranges (default: 8)",
    )
    onnx.add_argument(
        "--score",
        type=Path,
        metavar="DIR",
        help="score and time an exported folder beside --checkpoint in torch; writes scores.json "
        "there",
    )
    onnx.add_argument("--max-frames", type=_count, metavar="N", help="of --score: so many frames")
    onnx.add_argument(
        "--untrained",
        action="store_true",
        help="of --score: time it alone; the scores of fresh weights say nothing",
    )
    onnx.add_argument(
        "--repeats", type=_count, default=5, metavar="N", help="of --score: timed passes; 5"
    )
    onnx.add_argument(
        "--remark", default="", metavar="TEXT", help="of --score: about the machine, for the page"
    )
    onnx.add_argument(
        "--page", type=Path, metavar="FILE", help="write the page about the folders in --exports"
    )
    onnx.add_argument(
        "--exports", type=Path, nargs="+", default=(), metavar="DIR", help="of --page: scored ones"
    )
    data = parser.add_argument_group("frames, to calibrate with or to score")
    data.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the dataset (data/DATASET)"
    )
    data.add_argument(
        "--split",
        choices=SPLITS,
        help="default: training to calibrate with, validation to score",
    )
    data.add_argument(
        "--sequences", nargs="+", default=(), metavar="NAME", help="these in place of a split"
    )
    add_layout_flags(parser)
    foreign = parser.add_argument_group("checkpoints of Pointcept and LitePT")
    foreign.add_argument(
        "--form",
        choices=FORMS,
        help="of a PTv3: v1.5.1 for the weights that Pointcept released, main for those trained "
        "with its code since 2024-03-26",
    )
    foreign.add_argument(
        "--classes",
        metavar="FILE",
        help="its classes in its order, one name per line or a YAML list, or a dataset's name",
    )
    foreign.add_argument(
        "--dataset", choices=tuple(sorted(DATASETS)), help="whose classes the file has"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    jobs = {"--output": options.output, "--score": options.score, "--page": options.page}
    given = [flag for flag, value in jobs.items() if value is not None]
    if len(given) != 1:
        raise UserError(
            f"give one of {', '.join(jobs)}" + (f", not {' and '.join(given)}" if given else "")
        )
    if options.page is not None:
        write_page(options)
        return
    if options.checkpoint is None:
        raise UserError(f"{given[0]} needs --checkpoint FILE, the network")
    if options.score is not None:
        score(options)
    else:
        _export(options)


def _export(options: argparse.Namespace) -> None:
    """Check all that can be checked, then write."""
    if options.precision != "fp32" and options.format != "onnx":
        raise UserError(f"--precision {options.precision} is for --format onnx")
    if options.calibration_frames is not None and options.precision != "int8":
        raise UserError("--calibration-frames is for --precision int8")
    if options.data_license is not None and options.format != "safetensors":
        raise UserError("--data-license is for --format safetensors, which writes a model card")
    if options.format == "onnx":
        require_packages()
    _check_output(options.output, FILES[options.format], overwrite=options.overwrite)
    network, metadata = open_network_to_export(options)
    if options.format == "safetensors":
        _write_safetensors(options, network, metadata)
    elif options.format == "pointcept":
        segmentor = require_ptv3(network)
        make_folder(options.output, "--output")
        save_pointcept_checkpoint(segmentor, options.output / POINTCEPT_WEIGHTS)
        with atomic_write(options.output / POINTCEPT_CONFIG) as unfinished:
            unfinished.write_text(pointcept_config(segmentor), encoding="utf-8")
        logger.info(f"wrote {options.output}: {POINTCEPT_WEIGHTS}, {POINTCEPT_CONFIG}")
    elif options.format == "torch-export":
        export_program(network, metadata, options.output)
    else:
        quantize = None
        if options.precision == "int8":
            frames = open_frames(options, metadata, "training", labels=False)
            chosen = first_frames(frames, options.calibration_frames or 8)
            logger.info(f"calibrating on {len(chosen)} frames")
            quantize = int8_quantizer(clouds(chosen), plan_of(require_ptv3(network)))
        export_onnx(
            network, metadata, options.output, precision=options.precision, quantize=quantize
        )


def _write_safetensors(
    options: argparse.Namespace, network: Network, metadata: ModelMetadata
) -> None:
    if options.checkpoint.is_dir():
        known = read_folder_config(options.checkpoint)
        made_by, scores = known.get("made_by"), known.get("scores")
        note = known.get("data_license")
    else:
        made_by, scores = card_of_run(options.checkpoint)
        note = None
    path = save_pretrained(
        network,
        options.output,
        metadata=metadata,
        data_license=data_license(
            metadata.dataset,
            simulated=metadata.simulated_seed is not None,
            given=note if options.data_license is None else options.data_license,
        ),
        scores=scores,
        made_by=made_by,
    )
    logger.info(
        f"wrote {options.output}: {path.name}, {path.stat().st_size / 1e6:.2f} MB; {FOLDER_CONFIG} "
        f"and {CARD} beside it"
    )


def _check_output(folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuse to replace what nobody asked to replace."""
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f"--output {folder}: has {there[0]} already; give another folder, or add --overwrite"
        )
    run_files = [name for name in ("log.jsonl", "checkpoint.pt") if (folder / name).exists()]
    if run_files and "config.json" in names:
        raise UserError(
            f"--output {folder}: holds a training run, whose config.json would be replaced; give "
            f"another folder, such as {folder / 'exported'}"
        )


if __name__ == "__main__":
    sys.exit(main())
