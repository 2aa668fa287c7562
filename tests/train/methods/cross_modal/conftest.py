"""A hand-made scene: voxels of four classes, and images that are colored by class plus noise."""

import dataclasses

import pytest
import torch

from tests.train.toys import build_toy
from train.methods.registry import METHODS, method_class
from train.networks.image import ImageCard, ImageNetwork, save_image_network
from train.networks.image.fit import ImageFitOptions, fit_image_network
from train.networks.image.unet import UNet

NUM_CLASSES = 4
SIZE = (16, 24)
CLASS_NAMES = ("road", "wall", "car", "tree")
COLORS = torch.tensor([[200, 40, 40], [40, 200, 40], [40, 40, 200], [180, 180, 40]])
CAMERA_METHODS = [name for name in METHODS if method_class(name).needs_image_network]
WITHOUT_LABELS = [name for name in CAMERA_METHODS if not method_class(name).needs_labels]
SMALL = {"width": 16, "fusion_layers": 1}


def colored(labels, generator):
    """Return images (V, 3, H, W) uint8 of label images (V, H, W)."""
    clean = COLORS[labels].permute(0, 3, 1, 2)
    noisy = clean + 15 * torch.randn(clean.shape, generator=generator)
    return noisy.clamp(0, 255).to(torch.uint8)


def make_batch(seed=0, sizes=(60, 80), views=(2, 1), pairs=25):
    """Return clouds whose first two thirds can be seen, `pairs` by each view; labels lie in feat.

    Each view is an image of vertical bars, one for each class; a point is seen where its class is.
    """
    generator = torch.Generator().manual_seed(seed)
    segment = torch.randint(0, NUM_CLASSES, (sum(sizes),), generator=generator)
    cells = [torch.randperm(12**3, generator=generator)[:size] for size in sizes]
    grid = torch.cat([torch.stack([c // 144, c // 12 % 12, c % 12], dim=1) for c in cells])
    offset = torch.tensor(sizes).cumsum(0)
    bars = torch.arange(SIZE[1]) * NUM_CLASSES // SIZE[1]
    labels = bars.expand(sum(views), *SIZE).clone()
    bar = SIZE[1] // NUM_CLASSES
    rows = []
    view = 0
    for cloud, count in enumerate(views):
        start = int(offset[cloud]) - sizes[cloud]
        for _ in range(count):
            point = start + torch.randperm(2 * sizes[cloud] // 3, generator=generator)[:pairs]
            column = segment[point] * bar + torch.randint(
                0, bar, (len(point),), generator=generator
            )
            row = torch.randint(0, SIZE[0], (len(point),), generator=generator)
            rows.append(torch.stack([torch.full_like(point, view), row, column, point], dim=1))
            view += 1
    feat = torch.cat([grid.float(), segment[:, None].float()], dim=1)
    feat = feat + 0.3 * torch.randn(feat.shape, generator=generator)
    return {
        "feat": feat,
        "coord": 0.1 * grid.float(),
        "grid_coord": grid,
        "offset": offset,
        "segment": segment,
        "images": colored(labels, generator),
        "view_cloud": torch.repeat_interleave(torch.arange(len(views)), torch.tensor(views)),
        "point_pixel": torch.cat(rows) if rows else torch.zeros(0, 4, dtype=torch.int64),
    }


def without_pixels(batch):
    """Return a batch in which no point is seen."""
    return {**batch, "point_pixel": batch["point_pixel"][:0]}


def without_images(batch):
    """Return a batch that has no image at all."""
    return {
        **without_pixels(batch),
        "images": batch["images"][:0],
        "view_cloud": batch["view_cloud"][:0],
    }


def write_image_network(path):
    """Train a tiny network on colored bars, and write its file."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(0, NUM_CLASSES, (12, 1, 4), generator=generator)
    labels = labels.repeat_interleave(SIZE[0], 1).repeat_interleave(SIZE[1] // 4, 2)
    torch.manual_seed(7)
    network = ImageNetwork(UNet(6), NUM_CLASSES)
    options = ImageFitOptions(epochs=12, batch_size=4, lr=0.02)
    fit_image_network(network, colored(labels, generator), labels.to(torch.uint8), options)
    card = ImageCard(class_names=CLASS_NAMES, image_size=SIZE, width=6)
    save_image_network(network, card, path)
    return path


@pytest.fixture(scope="session")
def image_file(tmp_path_factory):
    return write_image_network(tmp_path_factory.mktemp("image-network") / "image.safetensors")


@pytest.fixture
def batch():
    return make_batch()


@pytest.fixture
def toy_student():
    torch.manual_seed(1)
    return build_toy("small", NUM_CLASSES, 4).train()


def build(name, student, image_file, **options):
    """Return a method in training mode, with small widths and those options that it has."""
    kind = method_class(name)
    torch.manual_seed(2)
    fields = {field.name for field in dataclasses.fields(kind.Config)}
    given = {key: value for key, value in (SMALL | options).items() if key in fields}
    config = kind.Config(image_network=image_file, **given)
    return kind(config, student, None).train()


@pytest.fixture
def make(toy_student, image_file):
    """A function that returns a method of the toy student."""

    def made(name, **options):
        return build(name, toy_student, image_file, **options)

    return made
