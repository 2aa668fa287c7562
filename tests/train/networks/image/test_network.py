"""Features and logits of an image network, at all pixels and at some."""

import pytest
import torch
from torch.nn import functional

from train.networks.image.backbones import build_backbone
from train.networks.image.network import ImageNetwork, read_pixels
from train.networks.image.unet import UNet


def images(count=2, height=20, width=36, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).to(torch.uint8)


def small(frozen=False):
    torch.manual_seed(0)
    return ImageNetwork(UNet(6), 5, frozen_backbone=frozen).eval()


def all_pixels(height, width):
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return row.flatten(), column.flatten()


@pytest.mark.parametrize("cells", [(10, 18), (3, 5), (20, 36), (1, 1)])
def test_reading_pixels_is_interpolating_the_map_to_the_image(cells):
    feature_map = torch.randn(2, 3, *cells, dtype=torch.float64)
    want = functional.interpolate(feature_map, size=(20, 36), mode="bilinear", align_corners=False)
    row, column = all_pixels(20, 36)
    for view in range(2):
        found = read_pixels(feature_map, torch.full_like(row, view), row, column, (20, 36))
        torch.testing.assert_close(found, want[view].flatten(1).t(), rtol=0, atol=1e-12)


def test_pixels_have_the_logits_of_the_whole_image():
    network, some = small(), images()
    row, column = all_pixels(20, 36)
    view = torch.ones_like(row)
    with torch.no_grad():
        features, logits = network.at_pixels(some, view, row, column)
        whole = network(some)
    assert whole.shape == (2, 5, 20, 36)
    assert features.shape == (720, network.channels)
    torch.testing.assert_close(logits, whole[1].flatten(1).t(), rtol=1e-4, atol=1e-5)


def test_without_pixels_the_images_are_not_looked_at():
    none = torch.zeros(0, dtype=torch.int64)
    features, logits = small().at_pixels(images(0), none, none, none)
    assert features.shape == (0, 8)
    assert logits.shape == (0, 5)


def test_images_must_be_bytes():
    with pytest.raises(ValueError, match=r"images are torch.float32 \(2, 3, 20, 36\); pass uint8"):
        small()(images().float())


def test_the_usual_network_has_under_half_a_million_parameters():
    count = sum(each.numel() for each in ImageNetwork(UNet(), 16).parameters())
    assert 300_000 < count < 500_000


def test_a_frozen_backbone_keeps_its_weights_and_statistics():
    network = small(frozen=True).train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(images()).square().mean().backward()
    assert all(each.grad is None for each in network.backbone.parameters())
    assert network.head.weight.grad.abs().max() > 0
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("name", "cells"),
    [("resnet18", [(16, 24), (8, 12), (4, 6), (2, 3)]), ("dino-vits16", [(4, 6)])],
)
def test_maps_of_published_backbones(name, cells):
    with torch.no_grad():
        backbone = build_backbone(name).eval()
        maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (channels, *size) for channels, size in zip(backbone.channels, cells, strict=True)
    ]


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match="no backbone 'vgg'; known: unet, resnet18, resnet50"):
        build_backbone("vgg")
