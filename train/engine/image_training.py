"""Train an image network: from a folder of pairs, or on simulated scenes that a run never sees.

Shape letters: K pairs, H x W pixels.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from train.config import RunConfig
from train.core.console import logger
from train.core.device import describe_device
from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec
from train.networks.image import (
    IMAGE_SIZE,
    ImageCard,
    ImageNetwork,
    load_image_network,
    refuse_other_classes,
    save_image_network,
)
from train.networks.image.backbones import UNET, read_backbone
from train.networks.image.fit import ImageFitOptions, fit_image_network, image_scores
from train.networks.image.pairs import ImagePairs

NAME: Final = "image_network.safetensors"
"""In a run's folder, where the run trains one itself."""

OTHER_SCENES: Final = 1_000_003
"""What is added to the seed of a run's scenes for those of the image network."""

FRAMES: Final = 64
"""Of which the cameras' images are simulated; scenes hold four."""

_LABELED_IMAGES: Final = "train.simulation.camera_images:labeled_images"
_AZIMUTH_STEPS: Final = 16  # the frames' points are not looked at
_HELD_OUT: Final = 8  # one pair of so many, at the end: other scenes than those before


@dataclass(frozen=True)
class LabeledImages:
    """Pairs in memory.

    Attributes
    ----------
    images, labels
        [K, 3, H, W] and [K, H, W] uint8.
    what
        Where they are from, in words.
    """

    images: Tensor
    labels: Tensor
    what: str


def images_of_folder(
    folder: Path, num_classes: int, image_size: tuple[int, int] = IMAGE_SIZE
) -> LabeledImages:
    """Return all pairs below a folder; see `ImagePairs`."""
    pairs = ImagePairs(folder, num_classes, image_size)
    images, labels = pairs.load(range(len(pairs)))
    return LabeledImages(images, labels, f"{len(pairs)} pairs of {folder.name}")


def simulated_images(
    spec: DatasetSpec,
    root: Path,
    *,
    seed: int,
    frames: int = FRAMES,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> LabeledImages:
    """Return images of simulated scenes with their label images, written under `root`.

    Parameters
    ----------
    spec
        The dataset, which has cameras and a simulator.
    root
        Folder for simulated frames; those that are there already are read.
    seed
        Of the scenes.
    frames
        How many; every camera takes an image of each.
    image_size
        H, W.

    Raises
    ------
    UserError
        If the dataset has no cameras or no simulator, or `root` holds something else.
    """
    made = spec.simulate(
        root,
        num_frames=frames,
        num_validation_frames=1,
        azimuth_steps=_AZIMUTH_STEPS,
        seed=seed,
        cameras=True,
    )
    source = spec.open(root, "training", sequences=made.training_sequences, cameras=True)
    module, function = _LABELED_IMAGES.split(":")
    found: Iterator[Any] = getattr(importlib.import_module(module), function)(source, root)
    images, labels = [], []
    for _, image, ids in found:
        images.append(torch.from_numpy(image.resized(image_size)).permute(2, 0, 1))
        labels.append(_nearest(torch.from_numpy(ids), image_size))
    what = f"{len(images)} images of simulated {spec.name} scenes, seed {seed}"
    return LabeledImages(torch.stack(images), torch.stack(labels), what)


def _nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return labels (H, W) at another size, each pixel the one that its center lies in."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * (old / new)).long().clamp(max=old - 1)
        for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[rows][:, columns].contiguous()


def train_image_network(
    pairs: LabeledImages,
    spec: DatasetSpec,
    options: ImageFitOptions,
    device: torch.device,
    *,
    backbone: Path | None = None,
) -> tuple[ImageNetwork, ImageCard]:
    """Return a network that is trained on all pairs but the last eighth, and scored on these.

    Parameters
    ----------
    pairs
        At least two.
    spec
        The dataset whose classes the labels are.
    options
        Of the training; the seed is also that of the weights.
    device
        Where to compute.
    backbone
        A checkpoint of others, see `train.networks.image.backbones`: it is frozen and a linear head
        is trained. None: a U-Net.

    Raises
    ------
    UserError
        If there is one pair alone, none is labeled, or the backbone cannot be used.
    """
    count = len(pairs.images)
    if count < 2:
        raise UserError(f"{pairs.what}: too few to train on some and score on others; give 2 pairs")
    kept = count - max(1, count // _HELD_OUT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        name, given = (UNET, None) if backbone is None else read_backbone(backbone)
        height, width = pairs.images.shape[-2:]
        card = ImageCard(
            class_names=tuple(spec.class_names),
            image_size=(int(height), int(width)),
            backbone=name,
            dataset=spec.name,
            trained_on=pairs.what,
        )
        network = card.build()
        if given is not None:
            network.backbone.load_state_dict(given.state_dict())
    counted = sum(each.numel() for each in network.parameters() if each.requires_grad)
    logger.info(
        f"image network: {name}, {counted:,} trained parameters, on {kept} of {count} "
        f"{height} x {width} images; {describe_device(device)}"
    )
    fit_image_network(network, pairs.images[:kept], pairs.labels[:kept], options, device=device)
    scores = image_scores(network, pairs.images[kept:], pairs.labels[kept:], device=device)
    logger.info(
        f"image network: mIoU {100 * scores['miou']:.1f}, {100 * scores['accuracy']:.1f} % of the "
        f"pixels right on the {count - kept} images that were held out"
    )
    found = ImageCard(**{**vars(card), "scores": scores})
    return network, found


def image_network_of_run(
    config: RunConfig, spec: DatasetSpec, folder: Path, device: torch.device
) -> Path:
    """Return the file of a run's own image network, trained if it is not there.

    Parameters
    ----------
    config
        Of the run; with --simulate.
    spec
        Its dataset.
    folder
        Of the run.
    device
        Where to compute.

    Raises
    ------
    UserError
        If it cannot be trained.
    """
    path = folder / NAME
    if path.is_file():
        refuse_other_classes(path, load_image_network(path)[1], spec.class_names)
        return path
    root = config.resolved_data_root
    root = root.with_name(f"{root.name}-images")
    seed = config.data.simulated_seed + OTHER_SCENES
    logger.info(f"image network: trained first, on simulated images of other scenes: {root}")
    pairs = simulated_images(spec, root, seed=seed)
    save_image_network(*train_image_network(pairs, spec, ImageFitOptions(), device), path)
    logger.info(f"image network: kept; other runs take it by --method.image-network {path}")
    return path
