"""Pairs from a folder, and a network that learns from them."""

import numpy as np
import pytest
import torch
from PIL import Image

from train.core.errors import UserError
from train.networks.image.fit import (
    ImageFitOptions,
    _augmented,
    fit_image_network,
    image_scores,
)
from train.networks.image.network import ImageNetwork
from train.networks.image.pairs import ImagePairs
from train.networks.image.unet import UNet

COLORS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])


def scene(seed, size=(16, 24)):
    """An image of a few blocks, colored by class with noise, and its labels; one is ignored."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, (size[0] // 8, size[1] // 8)), np.ones((8, 8), dtype=int))
    image = COLORS[labels] + rng.normal(0, 20, (*size, 3))
    labels[0, 0] = 255
    return image.clip(0, 255).astype(np.uint8), labels.astype(np.uint8)


def write(folder, name, image, labels):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{name}.png")
    Image.fromarray(labels).save(folder / f"{name}.labels.png")


@pytest.fixture
def folder(tmp_path):
    for seed in range(3):
        write(tmp_path / "pairs" / "front", f"{seed}", *scene(seed))
    Image.fromarray(scene(9)[0]).save(tmp_path / "pairs" / "without.png")
    return tmp_path / "pairs"


def test_pairs_are_found_below_a_folder_and_read_as_they_are(folder):
    pairs = ImagePairs(folder, 3, (16, 24))
    assert len(pairs) == 3
    image, labels = pairs[1]
    want = scene(1)
    assert np.array_equal(image.numpy().transpose(1, 2, 0), want[0])
    assert np.array_equal(labels.numpy(), want[1])
    images, ids = pairs.load([0, 2])
    assert (images.shape, ids.shape) == ((2, 3, 16, 24), (2, 16, 24))


def test_another_size_keeps_labels_that_are_classes(folder):
    image, labels = ImagePairs(folder, 3, (8, 12))[0]
    assert (image.shape, labels.shape) == ((3, 8, 12), (8, 12))
    assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
    assert ImagePairs(folder, 3, (32, 48))[0][0].shape == (3, 32, 48)


def test_bad_pairs_are_one_line(folder):
    with pytest.raises(UserError, match="no such folder"):
        ImagePairs(folder / "gone", 3)
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="has no image with a label image beside it"):
        ImagePairs(folder / "empty", 3)
    with pytest.raises(UserError, match=r"has the label 2, the classes are 0 to 1, and 255"):
        ImagePairs(folder, 2, (16, 24)).load([0, 1, 2])
    image, labels = scene(5)
    write(folder / "sizes", "a", image, labels[:8])
    with pytest.raises(UserError, match="is 24 x 8 pixels, its image 24 x 16"):
        ImagePairs(folder / "sizes", 3)[0]
    write(folder / "colors", "a", image, image)
    with pytest.raises(UserError, match="is no gray image of 8 bits"):
        ImagePairs(folder / "colors", 3, (16, 24))[0]
    path = folder / "front" / "0.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"0.png: cannot be read as an image"):
        ImagePairs(folder / "front", 3)[0]


def tensors(seeds):
    scenes = [scene(seed) for seed in seeds]
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image, _ in scenes])
    return images, torch.stack([torch.from_numpy(labels) for _, labels in scenes])


def fitted(**changes):
    torch.manual_seed(0)
    network = ImageNetwork(UNet(6), 3)
    options = ImageFitOptions(**{"epochs": 15, "batch_size": 4, "lr": 0.02} | changes)
    return network, fit_image_network(network, *tensors(range(8)), options)


def test_a_small_network_learns_colors_and_knows_them_on_other_images():
    network, losses = fitted()
    assert losses[-1] < 0.5 * losses[0]
    assert not network.training
    scores = image_scores(network, *tensors(range(20, 24)))
    assert scores["miou"] > 0.6
    assert scores["accuracy"] > 0.7


def test_equal_seeds_give_equal_networks():
    (one, _), (other, _) = fitted(epochs=1), fitted(epochs=1)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_the_scores_of_an_exact_and_of_a_constant_prediction():
    class Says(torch.nn.Module):
        num_classes = 3

        def __init__(self, ids):
            super().__init__()
            self.ids = ids

        def forward(self, images):
            ids = torch.where(self.ids == 255, 0, self.ids.long())
            return torch.nn.functional.one_hot(ids, 3).permute(0, 3, 1, 2).float()

    images, labels = tensors([1])
    assert image_scores(Says(labels), images, labels) == {"accuracy": 1.0, "miou": 1.0}
    share = float((labels == 0).sum() / (labels != 255).sum())
    scores = image_scores(Says(torch.zeros_like(labels)), images, labels)
    assert scores["accuracy"] == pytest.approx(share)
    present = len(set(labels.unique().tolist()) - {255})
    assert scores["miou"] == pytest.approx(share / present)


def test_nothing_labeled_is_one_line():
    images, labels = tensors([1])
    network = ImageNetwork(UNet(3), 3)
    with pytest.raises(UserError, match="none of the 1 label images has a labeled pixel"):
        fit_image_network(network, images, torch.full_like(labels, 255), ImageFitOptions())


@pytest.mark.parametrize("colors", ["natural", "any"])
def test_augmented_pairs_keep_their_classes_and_change_their_colors(colors):
    """Blocks of one class stay blocks of one color; labels move with the pixels."""
    _, labels = tensors(range(6))
    clean = torch.from_numpy(COLORS)[labels.long().clamp(max=2)].permute(0, 3, 1, 2).byte()
    generator = torch.Generator().manual_seed(0)
    changed, moved = _augmented(clean, labels, colors, generator)
    assert changed.shape == clean.shape
    orders = set()
    for image, ids in zip(changed, moved, strict=True):
        for label in range(3):
            of_class = image[:, ids == label]
            if of_class.shape[1]:
                assert (of_class == of_class[:, :1]).all()
                orders.add((label, int(of_class[:, 0].int().argmax())))
    # Red, green and blue stay what they are, or become each other.
    assert (orders == {(0, 0), (1, 1), (2, 2)}) == (colors == "natural")
    assert len(orders) > 3 or colors == "natural"
