"""The command that trains an image network, for methods that distill from cameras.

topodistill train-images --dataset nuscenes --simulate --output image.safetensors
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from tyro.conf import arg

from train.core.atomic_write import check_writable
from train.core.command import Command, Device
from train.core.console import logger
from train.core.device import resolve_device
from train.core.distributed import current_world
from train.core.errors import UserError
from train.core.tensor_file import SAFETENSORS
from train.data.dataset_spec import DATASETS, dataset_spec
from train.engine.image_training import (
    FRAMES,
    OTHER_SCENES,
    images_of_folder,
    simulated_images,
    train_image_network,
)
from train.networks.image import IMAGE_SIZE, save_image_network
from train.networks.image.backbones import PUBLISHED
from train.networks.image.fit import Colors, ImageFitOptions
from train.networks.image.pairs import IGNORED, LABEL_SUFFIX

_USUAL = ImageFitOptions()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the network learns from, and how."""

    dataset: Annotated[str, arg(metavar="NAME", help=f"whose classes: {', '.join(DATASETS)}")]
    output: Annotated[Path, arg(metavar="FILE")]
    """NAME.safetensors; is replaced"""
    pairs: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="folder of images (NAME.jpg or .png) with label images beside them "
            f"(NAME{LABEL_SUFFIX}: train ids, {IGNORED} for none)",
        ),
    ] = None
    simulate: bool = False
    """render scenes, with other seeds than runs have"""
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    """with --simulate: folder for the rendered scenes [data/DATASET-simulated-images]"""
    frames: Annotated[int, arg(aliases=("--data.simulated-frames",))] = FRAMES
    """with --simulate: how many"""
    simulated_seed: Annotated[int, arg(aliases=("--data.simulated-seed",))] = 0
    """with --simulate: of a run's scenes"""
    backbone: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help=f"freeze this backbone and train a linear head on it ({', '.join(PUBLISHED)}, as "
            "published; nothing is downloaded) [a small U-Net]",
        ),
    ] = None
    size: Annotated[tuple[int, int], arg(metavar="H W")] = IMAGE_SIZE
    """pixels to which images are brought"""
    epochs: int = _USUAL.epochs
    batch_size: int = _USUAL.batch_size
    """images in a step"""
    lr: float = _USUAL.lr
    """peak learning rate"""
    colors: Colors = _USUAL.colors
    """how colors are changed in training: any also exchanges red, green and blue"""
    seed: int = 0
    """of weights, order and augmentation"""
    device: Device = "auto"


def _run(options: Options) -> None:
    if current_world().size > 1:
        raise UserError("train-images runs on one process; start it without torchrun")
    output = options.output
    if (options.pairs is None) == (not options.simulate):
        raise UserError("give one of --pairs DIR and --simulate, the images to learn from")
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
    for name in ("frames", "simulated_seed"):
        least = 1 if name == "frames" else 0
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
            seed=options.simulated_seed + OTHER_SCENES,
            frames=options.frames,
            image_size=(height, width),
        )
    trained = train_image_network(pairs, spec, fit, device, backbone=options.backbone)
    save_image_network(*trained, output)
    logger.info(f"done: {output}")


COMMAND: Final = Command(
    "topodistill train-images",
    Options,
    _run,
    "Train a small network to segment camera images, for run --method xmodel-kd, udakd or fskd.",
    epilog="A run with --simulate trains one itself if it is given none.\n",
)
main: Final = COMMAND.main
