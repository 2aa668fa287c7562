"""The command that trains an image network, for methods that distill from cameras.

python -m train.train_images --dataset nuscenes --simulate --output image.safetensors
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from train.core.atomic_write import check_writable
from train.core.command import run_command
from train.core.console import logger
from train.core.device import resolve_device
from train.core.distributed import current_world
from train.core.errors import UserError
from train.core.provenance import program
from train.core.tensor_file import SAFETENSORS
from train.data.registry import DATASETS, dataset_spec
from train.engine.image_training import (
    OTHER_STREETS,
    SWEEPS,
    images_of_folder,
    simulated_images,
    train_image_network,
)
from train.networks.image import IMAGE_SIZE, save_image_network
from train.networks.image.backbones import PUBLISHED
from train.networks.image.fit import Colors, ImageFitOptions
from train.networks.image.pairs import IGNORED, LABEL_SUFFIX

_USUAL = ImageFitOptions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train.train_images"),
        description="Train a small network to segment camera images, for run --method xmodel-kd, "
        "udakd or fskd.",
        epilog="A run with --simulate trains one itself if it is given none.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--dataset", required=True, metavar="NAME", help=f"whose classes: {', '.join(DATASETS)}")
    add("--output", type=Path, required=True, metavar="FILE", help="NAME.safetensors; is replaced")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--pairs",
        type=Path,
        metavar="DIR",
        help=f"folder of images (NAME.jpg or .png) with label images beside them "
        f"(NAME{LABEL_SUFFIX}: train ids, {IGNORED} for none)",
    )
    source.add_argument(
        "--simulate", action="store_true", help="render streets, with other seeds than runs have"
    )
    add(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="with --simulate: folder for the rendered streets [data/DATASET-simulated-images]",
    )
    add("--sweeps", type=int, default=SWEEPS, help=f"with --simulate: how many [{SWEEPS}]")
    add("--simulated-seed", type=int, default=0, help="with --simulate: of a run's streets [0]")
    add(
        "--backbone",
        type=Path,
        metavar="FILE",
        help=f"freeze this backbone and train a linear head on it ({', '.join(PUBLISHED)}, as "
        "published; nothing is downloaded) [a small U-Net]",
    )
    add(
        "--size",
        type=int,
        nargs=2,
        default=IMAGE_SIZE,
        metavar=("H", "W"),
        help="pixels to which images are brought [160 320]",
    )
    add("--epochs", type=int, default=_USUAL.epochs, help=f"[{_USUAL.epochs}]")
    add("--batch-size", type=int, default=_USUAL.batch_size, help=f"[{_USUAL.batch_size}]")
    add("--lr", type=float, default=_USUAL.lr, help=f"peak learning rate [{_USUAL.lr:g}]")
    add(
        "--colors",
        choices=get_args(Colors),
        default=_USUAL.colors,
        help="how colors are changed in training: any also exchanges red, green and blue "
        f"[{_USUAL.colors}]",
    )
    add("--seed", type=int, default=0, help="of weights, order and augmentation [0]")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto [auto]")
    return parser


def _run(options: argparse.Namespace) -> None:
    if current_world().size > 1:
        raise UserError("train-images runs on one process; start it without torchrun")
    output: Path = options.output
    if output.suffix != SAFETENSORS:
        raise UserError(f"--output {output}: end the name in {SAFETENSORS}")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}; make it first")
    check_writable(output.parent, "--output")
    fit = ImageFitOptions(
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        seed=options.seed,
        colors=options.colors,
    )
    height, width = options.size
    if min(height, width) < 16:
        raise UserError(f"--size {height} {width}: at least 16 pixels each way, 160 320 is usual")
    for name in ("sweeps", "simulated_seed"):
        least = 1 if name == "sweeps" else 0
        if getattr(options, name) < least:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} {getattr(options, name)}: at least {least}")
    spec = dataset_spec(options.dataset)
    device = resolve_device(options.device)
    if options.pairs is not None:
        pairs = images_of_folder(options.pairs, len(spec.class_names), (height, width))
    else:
        root = options.data_root or Path("data") / f"{spec.name}-simulated-images"
        pairs = simulated_images(
            spec,
            root,
            seed=options.simulated_seed + OTHER_STREETS,
            sweeps=options.sweeps,
            image_size=(height, width),
        )
    trained = train_image_network(pairs, spec, fit, device, backbone=options.backbone)
    save_image_network(*trained, output)
    logger.info(f"done: {output}")
