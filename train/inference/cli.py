"""The command for one's own cloud: a class and probabilities for every point.

python -m train.predict --checkpoint student.pt --input sweep.bin --output sweep.label
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.atomic_write import check_writable
from train.core.command import run_command
from train.core.console import logger
from train.core.device import describe_device, resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.data import semantickitti
from train.data.frame_checks import prediction_warnings
from train.data.registry import DATASETS
from train.evaluation.network_pass import PRECISIONS
from train.evaluation.tta import SINGLE_PASS, TEST_TIME_AUGMENTATIONS, WHEN_IT_HELPS
from train.inference.load_network import POINTCEPT_GRID_SIZE_M, open_network
from train.inference.point_cloud_io import LABEL_ENDINGS, read_cloud, write_prediction
from train.inference.predict import predict_frame

EPILOG: Final = """\
input, by the file name's ending:
  .bin      SemanticKITTI: float32 x, y, z, remission
  .pcd.bin  nuScenes: float32 x, y, z, intensity 0..255, ring; strength = intensity / 255
  .tfrecord Waymo v1: a drive; --frame TIME chooses the frame. Strength = tanh(intensity)
  .parquet  Waymo v2: lidar/CONTEXT.parquet, the other tables beside it; --frame as well
  .npy      numbers (N, 3) or (N, 4): x, y, z, strength
  .ply      ascii or binary; x, y, z and strength, intensity or remission if there
Coordinates are meters in the sensor's frame (x forward, y left, z up). Strengths of .npy and .ply
are taken as they are: give the scale of training (0..1 for SemanticKITTI and nuScenes, tanh of the
intensity for Waymo). Without a strength every point gets 0, and the command says so.

output, by the file name's ending:
  .label    uint32 SemanticKITTI ids (10 car, 11 bicycle, ...), as the benchmark takes them
  .npy      int64 train ids, 0 for the network's first class

examples:
  python -m train.predict --checkpoint runs/semantickitti/student.pt \\
      --input sequences/08/velodyne/000000.bin --output 000000.label
  python -m train.predict --checkpoint student.pt --input cloud.ply --output labels.npy \\
      --probabilities probabilities.npy --tta
  python -m train.predict --checkpoint model_best.pth --pointcept-size teacher \\
      --cpe-input v1.5.1 --input sweep.pcd.bin --output labels.npy
  python -m train.predict --checkpoint student.pt --input segment-NAME.tfrecord \\
      --frame 1515097199686241 --output labels.npy
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake of the user's, 128 + N after signal N."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train.predict"),
        description="Predict a class for every point of a LiDAR cloud.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def file(flag: str, text: str, *, required: bool = True) -> None:
        parser.add_argument(flag, type=Path, metavar="FILE", required=required, help=text)

    file("--checkpoint", "student.pt or teacher.pt of train.run")
    file("--input", "the cloud")
    parser.add_argument(
        "--frame",
        type=int,
        metavar="TIME",
        help="of a Waymo file: the frame's time in microseconds",
    )
    file("--output", "labels, one for each point in the input's order")
    file("--probabilities", "also write [N, classes] float32 to this .npy file", required=False)
    parser.add_argument(
        "--tta",
        nargs="?",
        const="rotations",
        choices=tuple(TEST_TIME_AUGMENTATIONS),
        help="test-time augmentation: average the probabilities of several passes. rotations (if "
        "nothing is said): 0, 90, 180, 270 degrees about z; scales-flips: scales 0.9 to 1.1, each "
        f"with and without x and y flipped, 10 passes. Default: a single pass. {WHEN_IT_HELPS}",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="arithmetic of the network (default: fp32)",
    )
    parser.add_argument(
        "--grid-size-m",
        type=float,
        metavar="M",
        help="the voxels' edge in meters (default: that of training)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    foreign = parser.add_argument_group("checkpoints of Pointcept")
    foreign.add_argument(
        "--pointcept-size",
        choices=("teacher", "student"),
        help="the checkpoint is a file of Pointcept's trainer, of this size of Table 8; its grid "
        f"is {POINTCEPT_GRID_SIZE_M} m unless --grid-size-m says otherwise",
    )
    foreign.add_argument(
        "--cpe-input",
        choices=("main", "v1.5.1"),
        help="v1.5.1 for the weights that Pointcept released, main for those trained with its code "
        "since 2024-03-26; a wrong choice ruins the prediction and nothing shows it",
    )
    foreign.add_argument(
        "--dataset",
        choices=tuple(sorted(DATASETS)),
        help="whose classes the network has; without it classes are numbers",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    """Check all that can be checked, then predict, then write."""
    _check_outputs(options)
    device = resolve_device(options.device)
    cloud = read_cloud(options.input, options.frame)
    network = open_network(
        options.checkpoint,
        pointcept_size=options.pointcept_size,
        cpe_input=options.cpe_input,
        dataset=options.dataset,
    )
    if network.note:
        logger.info(network.note)
    logger.info(network.model.describe())
    if options.output.suffix == ".label" and network.class_names != semantickitti.CLASS_NAMES:
        raise UserError(
            f"--output {options.output}: .label files hold SemanticKITTI ids, but the network's "
            "classes are others or unknown (a file of Pointcept needs --dataset semantickitti); "
            "end the name in .npy"
        )
    grid_size_m = network.grid_size_m if options.grid_size_m is None else options.grid_size_m
    strength = cloud.sweep.strength
    logger.info(
        f"{options.input}: {cloud.kind}, {len(strength)} points; strength: {cloud.strength_from}"
    )
    for line in prediction_warnings(cloud.sweep, network.class_names):
        logger.warning(f"warning: {options.input}: {line}")
    if grid_size_m != network.grid_size_m:
        logger.info(f"note: voxels of {grid_size_m:g} m, in training {network.grid_size_m:g} m")
    transforms = SINGLE_PASS if options.tta is None else TEST_TIME_AUGMENTATIONS[options.tta]
    passes = (
        "a single pass"
        if options.tta is None
        else f"test-time augmentation {options.tta}, mean of {len(transforms)} passes"
    )
    started = time.monotonic()
    try:
        labels, probabilities = predict_frame(
            network.model.to(device),
            cloud.sweep,
            grid_size_m,
            clip_range_m=network.clip_range_m,
            views=transforms,
            precision=options.precision,
        )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{options.input}: {device} has too little memory for this cloud and network; use "
            "--device cpu, or a larger --grid-size-m"
        ) from error
    seconds = time.monotonic() - started
    logger.info(f"{passes} on {describe_device(device)}, {options.precision}, {seconds:.1f} s")
    logger.info(f"classes: {_summary(labels, network.class_names)}")
    write_prediction(options.output, labels, options.probabilities, probabilities)
    for path in (options.output, options.probabilities):
        if path is not None:
            logger.info(f"wrote {path}")


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse output files that cannot be meant, before anything is computed."""
    if options.output.suffix not in LABEL_ENDINGS:
        raise UserError(f"--output {options.output}: end the name in {' or '.join(LABEL_ENDINGS)}")
    if options.probabilities is not None and options.probabilities.suffix != ".npy":
        raise UserError(f"--probabilities {options.probabilities}: end the name in .npy")
    taken = {options.input.resolve(): "--input", options.checkpoint.resolve(): "--checkpoint"}
    for flag, path in (
        ("--output", options.output),
        ("--probabilities", options.probabilities),
    ):
        if path is None:
            continue
        if path.resolve() in taken:
            raise UserError(f"{flag} {path}: is {taken[path.resolve()]} too; choose another name")
        if path.is_dir():
            raise UserError(f"{flag} {path}: is a folder; give a file name")
        if path.exists() and not options.overwrite:
            raise UserError(f"{flag} {path}: exists; choose another name, or give --overwrite")
        if not path.parent.is_dir():
            raise UserError(f"{flag} {path}: there is no folder {path.parent}; make it first")
        check_writable(path.parent, flag)
        taken[path.resolve()] = flag


def _summary(labels: NDArray[np.int64], class_names: tuple[str, ...] | None) -> str:
    """Return the shares of the five largest classes, for people."""
    counts = np.bincount(labels)
    shown = [
        f"{train_id if class_names is None else class_names[train_id]} "
        f"{100.0 * counts[train_id] / len(labels):.1f} %"
        for train_id in np.argsort(-counts, kind="stable")[:5].tolist()
        if counts[train_id]
    ]
    return ", ".join(shown)


if __name__ == "__main__":
    sys.exit(main())
