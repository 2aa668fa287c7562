"""Files of image networks: what is written is read, and what does not fit is one line."""

import dataclasses

import pytest
import torch

from train.core.errors import UserError
from train.networks.image import (
    ImageCard,
    load_image_network,
    refuse_other_classes,
    save_image_network,
)

CARD = ImageCard(
    class_names=("road", "car", "tree"),
    image_size=(16, 24),
    width=3,
    dataset="nuscenes",
    trained_on="4 pairs",
    scores={"miou": 0.5},
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = CARD.build().eval()
    save_image_network(network, CARD, tmp_path / "image.safetensors")
    return network, tmp_path / "image.safetensors"


def test_what_is_written_is_read(saved):
    network, path = saved
    loaded, card = load_image_network(path)
    assert card == CARD
    images = torch.randint(0, 256, (1, 3, 16, 24), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
    assert not loaded.training
    assert not any(each.requires_grad for each in loaded.parameters())


def test_a_network_of_other_classes_is_one_line(saved):
    path = saved[1]
    refuse_other_classes(path, CARD, ("road", "car", "tree"))
    with pytest.raises(UserError, match="of other classes: it has 3 classes, the run has 2") as one:
        refuse_other_classes(path, CARD, ("road", "car"))
    assert "\n" not in str(one.value)
    with pytest.raises(UserError, match="it calls class 1 'car', the run 'bus'"):
        refuse_other_classes(path, CARD, ("road", "bus", "tree"))


def test_weights_that_do_not_fit_the_card_are_refused(saved, tmp_path):
    wider = dataclasses.replace(CARD, width=6)
    save_image_network(saved[0], wider, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="of its tensors do not fit its own card"):
        load_image_network(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "vgg"}, "cannot build: build_backbone: no backbone 'vgg'"),
        ({"class_names": ()}, "cannot build: no classes"),
    ],
)
def test_a_card_that_cannot_be_built_is_refused(change, message, saved, tmp_path):
    save_image_network(saved[0], dataclasses.replace(CARD, **change), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=message):
        load_image_network(tmp_path / "a.safetensors")


def test_entries_that_are_no_numbers_are_refused(saved, tmp_path):
    network = saved[0]
    network.head.bias.data[0] = torch.nan
    save_image_network(network, CARD, tmp_path / "nan.safetensors")
    with pytest.raises(UserError, match=r"head.bias has NaN"):
        load_image_network(tmp_path / "nan.safetensors")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file; give a file of topodistill"):
        load_image_network(tmp_path / "gone.safetensors")
