"""Checkpoints of others: known by keys and shapes, counted against the published sizes."""

import pytest
import torch

from train.core.errors import UserError
from train.networks.image.backbones import PUBLISHED, build_backbone, read_backbone
from train.networks.image.vision_transformer import VisionTransformer, ViTForm

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
