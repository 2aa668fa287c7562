"""The command that writes a trained network for others: safetensors, ONNX, Pointcept, torch.export.

topodistill export --checkpoint student.pt --output DIR --format onnx
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from train.core.atomic_write import atomic_write, make_folder
from train.core.command import Command
from train.core.console import logger
from train.core.errors import UserError
from train.data.terms import data_license
from train.export.onnx_export import (
    export_onnx,
    export_program,
    require_packages,
    require_ptv3,
)
from train.export.onnx_network import plan_of
from train.export.onnx_quantize import int8_quantizer
from train.export.onnx_score import first_frames, score
from train.export.options import FILES, POINTCEPT_CONFIG, POINTCEPT_WEIGHTS, Options
from train.export.run_card import card_of_run
from train.export.source import clouds, open_frames, open_network_to_export
from train.networks.official.ptv3 import pointcept_config, save_pointcept_checkpoint
from train.networks.pretrained_folder import CARD, save_pretrained
from train.networks.protocol import Network
from train.networks.weights import FOLDER_CONFIG, ModelMetadata, read_folder_config, shipped_file

EPILOG: Final = """\
formats:
  safetensors   weights, config.json and a model card; from_pretrained reads the folder
  onnx          ONNX Runtime, TensorRT: geometry comes in as tables, which a file of numpy makes
  pointcept     model.pth under Pointcept's key names, and the model part of its config
  torch-export  model.pt2 for torch.export.load and AOTInductor, the same tables as input

examples:
  topodistill export --checkpoint runs/waymo/student.pt --output exported --format onnx
  topodistill export --checkpoint student.pt --output int8 --format onnx --precision int8 \\
      --data-root data/waymo --calibration-frames 8
  topodistill export --score int8 --checkpoint student.pt --data-root data/waymo
  topodistill export --checkpoint model_best.pth --form v1.5.1 --dataset nuscenes \\
      --output teacher
"""


def _run(options: Options) -> None:
    if options.output is not None and options.score is None:
        _export(options, options.output)
    elif options.score is not None and options.output is None:
        score(options, options.score)
    else:
        raise UserError("give one of --output, a folder to write, and --score, one to measure")


def _export(options: Options, output: Path) -> None:
    """Check all that can be checked, then write."""
    if options.precision != "fp32" and options.format != "onnx":
        raise UserError(f"--precision {options.precision} is for --format onnx")
    if options.calibration_frames is not None and options.precision != "int8":
        raise UserError("--calibration-frames is for --precision int8")
    if options.data_license is not None and options.format != "safetensors":
        raise UserError("--data-license is for --format safetensors, which writes a model card")
    if options.format == "onnx":
        require_packages()
    _check_output(output, FILES[options.format], overwrite=options.overwrite)
    network, metadata = open_network_to_export(options)
    if options.format == "safetensors":
        _write_safetensors(options, output, network, metadata)
    elif options.format == "pointcept":
        segmentor = require_ptv3(network)
        make_folder(output, "--output")
        save_pointcept_checkpoint(segmentor, output / POINTCEPT_WEIGHTS)
        with atomic_write(output / POINTCEPT_CONFIG) as unfinished:
            unfinished.write_text(pointcept_config(segmentor), encoding="utf-8")
        logger.info(f"wrote {output}: {POINTCEPT_WEIGHTS}, {POINTCEPT_CONFIG}")
    elif options.format == "torch-export":
        export_program(network, metadata, output)
    else:
        quantize = None
        if options.precision == "int8":
            frames = open_frames(options, metadata, "training", labels=False)
            chosen = first_frames(frames, options.calibration_frames or 8)
            logger.info(f"calibrating on {len(chosen)} frames")
            quantize = int8_quantizer(clouds(chosen), plan_of(require_ptv3(network)))
        export_onnx(network, metadata, output, precision=options.precision, quantize=quantize)


def _write_safetensors(
    options: Options, output: Path, network: Network, metadata: ModelMetadata
) -> None:
    if options.checkpoint.is_dir():
        known = read_folder_config(options.checkpoint)
        made_by, scores = known.get("made_by"), known.get("scores")
        note = known.get("data_license")
    else:
        made_by, scores = card_of_run(shipped_file(options.checkpoint))
        note = None
    path = save_pretrained(
        network,
        output,
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
        f"wrote {output}: {path.name}, {path.stat().st_size / 1e6:.2f} MB; {FOLDER_CONFIG} "
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


COMMAND: Final = Command(
    "topodistill export",
    Options,
    _run,
    "Write a trained network in the form that others take; score and time what was exported to "
    "ONNX.",
    epilog=EPILOG,
)
main: Final = COMMAND.main
