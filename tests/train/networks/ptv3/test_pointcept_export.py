"""A student goes to Pointcept and comes back, bit for bit."""

import pytest
import torch

from train.networks.official.ptv3 import (
    load_pointcept_checkpoint,
    pointcept_config,
    save_pointcept_checkpoint,
)
from train.networks.ptv3 import build_segmentor


@pytest.mark.parametrize("form", ["main", "v1.5.1"])
def test_the_way_there_and_back_changes_no_bit(tmp_path, make_network, make_batch, form):
    network = make_network("tiny-student", num_classes=7, cpe_input=form, depth_rule=form)
    network = network.float().eval()
    save_pointcept_checkpoint(network, tmp_path / "model.pth")
    loaded, report = load_pointcept_checkpoint(
        tmp_path / "model.pth", cpe_input=form, size="tiny-student"
    )
    assert (report.missing, report.unexpected) == ((), ())
    mine, theirs = network.state_dict(), loaded.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
    batch = make_batch([80], dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(loaded(batch).logits, network(batch).logits)


@pytest.mark.parametrize("size", ["student", "teacher"])
def test_the_file_is_what_pointcepts_loader_strips_and_loads(tmp_path, size):
    """Its loader takes `state_dict`, drops ``module.`` on one GPU and loads strictly."""
    from pathlib import Path

    network = build_segmentor(size, 16)
    save_pointcept_checkpoint(network, tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert {"epoch", "best_metric_value"} <= content.keys()
    assert all(name.startswith("module.") for name in content["state_dict"])
    found = [
        f"{name[len('module.') :]} {'x'.join(map(str, tensor.shape))}".rstrip()
        for name, tensor in content["state_dict"].items()
    ]
    listed = (Path(__file__).parent / "keys" / f"{size}.txt").read_text().splitlines()
    assert len(found) == len(listed)
    names = {line.split()[0] for line in listed}
    assert {line.split()[0] for line in found} == names


def test_the_config_builds_this_network_there():
    network = build_segmentor("tiny-student", 19, 5)
    made = {}
    exec(pointcept_config(network), made)
    model = made["model"]
    assert (model["type"], model["num_classes"]) == ("DefaultSegmentorV2", 19)
    assert model["backbone_out_channels"] == network.config.dec_channels[0]
    backbone = model["backbone"]
    assert backbone["type"] == "PT-v3m1"
    assert backbone["in_channels"] == 5
    assert backbone["enc_channels"] == network.config.enc_channels
    assert backbone["enc_patch_size"] == (128,) * 5
    assert backbone["dec_patch_size"] == (128,) * 4
    assert backbone["dec_num_head"] == network.config.dec_heads
    assert backbone["stride"] == (2, 2, 2, 2)
    assert backbone["order"] == ["z", "z-trans", "hilbert", "hilbert-trans"]


@pytest.mark.parametrize(
    ("forms", "version"),
    [
        ({}, "v1.6.0 or later"),
        ({"cpe_input": "v1.5.1", "depth_rule": "v1.5.1"}, "v1.5.1: from its commit"),
        ({"depth_rule": "v1.5.1"}, "before v1.6.0"),
    ],
)
def test_the_config_says_which_version_computes_the_same(forms, version):
    assert version in pointcept_config(build_segmentor("tiny-student", 4, **forms))
