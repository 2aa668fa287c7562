"""An image network: its features and logits, its file, and checkpoints of others."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from train.core.errors import UserError
from train.networks.image import (
    ImageCard,
    load_image_network,
    refuse_other_classes,
    save_image_network,
)
from train.networks.image.backbones import PUBLISHED, build_backbone, read_backbone
from train.networks.image.network import ImageNetwork, read_pixels
from train.networks.image.unet import UNet
from train.networks.image.vision_transformer import VisionTransformer, ViTForm


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


# ---- its file ------------------------------------------------------------------------------------


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


# ---- checkpoints of others -----------------------------------------------------------------------


# Of the published models, their classifiers (fc, 1,000 classes) and mask tokens apart.
PARAMETERS = {
    "resnet18": 11_689_512 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "dinov2-vits14": 22_056_576 - 384,
    "dino-vits16": 21_665_664,
}
# Some keys of the published files, written down from their documentation.
KEYS = {
    "resnet18": {"conv1.weight": (64, 3, 7, 7), "layer2.0.downsample.0.weight": (128, 64, 1, 1)},
    "resnet50": {"layer1.0.conv3.weight": (256, 64, 1, 1), "layer4.2.bn3.running_var": (2048,)},
    "dinov2-vits14": {"pos_embed": (1, 1370, 384), "blocks.11.ls2.gamma": (384,)},
    "dino-vits16": {"blocks.0.attn.qkv.weight": (1152, 384), "patch_embed.proj.bias": (384,)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_and_keys_are_the_published_ones(name):
    with torch.device("meta"):
        backbone = build_backbone(name)
    assert sum(each.numel() for each in backbone.parameters()) == PARAMETERS[name]
    state = backbone.state_dict()
    assert {key: tuple(state[key].shape) for key in KEYS[name]} == KEYS[name]


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return build_backbone("resnet18").state_dict()


def test_a_file_of_others_gives_its_backbone(resnet, tmp_path):
    bare = {key: value for key, value in resnet.items() if "num_batches" not in key}
    classifier = {"fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}
    wrapped = {f"module.{key}": value for key, value in (bare | classifier).items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "file.pth")
    name, backbone = read_backbone(tmp_path / "file.pth")
    assert name == "resnet18"
    for key, value in bare.items():
        assert torch.equal(backbone.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": torch.zeros(64, 4, 7, 7)}, r"conv1.weight is \(64, 4, 7, 7\) instead of"),
        ({"layer1.0.conv1.weight": None}, "layer1.0.conv1.weight is missing"),
        ({"neck.weight": torch.zeros(1)}, "of resnet18 1 keys differ, the first: neck.weight is"),
        ({"bn1.bias": torch.full((64,), torch.nan)}, "bn1.bias has NaN or infinite entries"),
    ],
)
def test_what_does_not_fit_is_one_line(change, message, resnet, tmp_path):
    changed = {key: value for key, value in (resnet | change).items() if value is not None}
    torch.save(changed, tmp_path / "file.pth")
    with pytest.raises(UserError, match=message):
        read_backbone(tmp_path / "file.pth")


def test_a_file_without_tensors_is_one_line(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "file.pth")
    with pytest.raises(UserError, match="holds no tensors by name"):
        read_backbone(tmp_path / "file.pth")


def test_positions_are_those_of_training_where_the_grid_is_the_same():
    form = ViTForm(patch=4, grid=3, layer_scale=True, dim=8, depth=1, heads=2)
    torch.manual_seed(0)
    network = VisionTransformer(form)
    torch.nn.init.normal_(network.pos_embed)
    assert network._positions(3, 3) is network.pos_embed
    wider = network._positions(3, 6)
    assert wider.shape == (1, 19, 8)
    assert torch.equal(wider[:, 0], network.pos_embed[:, 0])
    # A row of tokens is a row of the image: rows are as they were, columns are stretched.
    grid = network.pos_embed[0, 1:].view(3, 3, 8)
    stretched = wider[0, 1:].view(3, 6, 8)
    torch.testing.assert_close(stretched.mean(1), grid.mean(1), rtol=0.3, atol=0.4)
