"""The paper's sizes: the counts of their parts, and what a file says of them."""

from pathlib import Path

import pytest
import torch

from train.networks.litept import SIZES, build_litept, litept_config
from train.networks.protocol import NetworkSpec
from train.networks.registry import build_network

KEYS = Path(__file__).parent / "keys"
PARAMETERS = {
    ("S", 16): 12_705_100,
    ("S", 19): 12_705_319,
    ("S", 22): 12_705_538,
    ("S*", 16): 15_980_884,
    ("B", 16): 45_100_456,
    ("L", 16): 85_863_616,
}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_parts_of_s_have_their_counts():
    with torch.device("meta"):
        backbone = build_litept("S", 16).backbone
    assert count(backbone) == 12_703_932
    assert count(backbone.embedding) == 18_072
    encoder = [count(stage) for stage in backbone.enc.values()]
    assert encoder == [72_864, 293_688, 1_173_168, 4_632_012, 6_240_024]
    assert [count(stage) for stage in backbone.dec.values()] == [192_024, 57_888, 15_984, 8_208]


@pytest.mark.parametrize("size", ["tiny", "S*", "S-star"])
def test_a_spec_builds_the_same_network_again(size):
    with torch.device("meta"):
        model = build_litept(size, 7, 4, drop_path=0.1, attention="plain")
        spec = model.spec()
        again = build_network(spec, attention="plain")
    assert spec == NetworkSpec("litept", size.replace("-star", "*"), 7, 4, {"drop_path": 0.1})
    assert again.config == model.config
    assert again.geometry_key == model.geometry_key


def test_tuples_that_a_file_brings_as_lists_are_tuples_again():
    config = litept_config("tiny", enc_depths=[1, 1, 1, 1, 1], orders=["z", "hilbert"])
    assert config.enc_depths == (1,) * 5
    assert isinstance(hash((config.orders,)), int)


def test_what_the_sizes_have_in_common():
    for name, config in SIZES.items():
        assert config.enc_attention == (False, False, False, True, True), name
        assert config.attention_stages == (3, 4), name
        assert config.head_width == 18, name
