"""The whole network against its slow twin, its sizes, and the rotation by its definition."""

import math

import pytest
import torch

from tests.train.networks.litept.plain_litept import PlainLitePT
from tests.train.networks.ptv3.plain_ptv3 import as_voxels
from train.networks.litept import SIZES, build_litept, litept_config
from train.networks.litept.rotary import point_rotation
from train.networks.protocol import NetworkSpec
from train.networks.ptv3 import build_hierarchy
from train.networks.ptv3.block import PointDropPath
from train.networks.registry import build_network

IN_ORDER = [range(4)] * 5
CLOUDS = {"one-cloud": [90], "three-clouds": [60, 5, 40]}
FORMS = {
    "S": {},
    "S*": {"dec_depths": (1, 1, 1, 2)},
    "both-parts-in-a-stage": {"enc_conv": (True, True, True, True, False)},
}


@pytest.fixture(scope="module")
def telling(make_batch):
    """A batch whose Hilbert curves at stage 3 are one bit deeper than stage 0's, less three."""
    batch = make_batch([110, 2], side=63, seed=4)
    largest = int(batch["grid_coord"].max())
    assert largest + 1 < 64 <= largest + 8
    return batch


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sizes", CLOUDS.values(), ids=CLOUDS)
def test_it_equals_the_slow_twin(make_batch, make_network, form, sizes):
    batch = make_batch(sizes)
    model = make_network("tiny", patch_size=4, enc_depths=(1, 1, 1, 5, 1), **FORMS[form]).eval()
    twin = PlainLitePT(model.state_dict(), model.config, as_voxels(batch), IN_ORDER)
    with torch.no_grad():
        got, want = model(batch).logits, twin.logits(batch["feat"])
    assert want.std() > 0.1, "the logits must vary, or agreeing is easy"
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_shuffled_curves_are_drawn_once_for_each_stage_that_attends(make_batch, make_network):
    batch = make_batch([90])
    model = make_network("tiny", patch_size=4, shuffle_orders="always").eval()
    torch.manual_seed(5)
    draws = [torch.randperm(4).tolist() for _ in range(2)]
    after = torch.rand(1)
    twin = PlainLitePT(model.state_dict(), model.config, as_voxels(batch), [range(4)] * 3 + draws)
    torch.manual_seed(5)
    with torch.no_grad():
        got = model(batch).logits
        assert torch.equal(torch.rand(1), after), "two draws, no more"
        torch.testing.assert_close(got, twin.logits(batch["feat"]), rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def on_telling(telling, make_network):
    """Return the network's logits and a function from mistakes to the twin's."""
    model = make_network(
        "tiny", patch_size=4, enc_depths=(1, 1, 1, 3, 1), dec_depths=(1, 1, 1, 1)
    ).eval()
    voxels = as_voxels(telling)

    @torch.no_grad()
    def twin(*mistakes):
        plain = PlainLitePT(model.state_dict(), model.config, voxels, IN_ORDER, mistakes)
        return plain.logits(telling["feat"])

    with torch.no_grad():
        return model(telling).logits, twin


def test_curves_have_the_depth_of_their_own_stage(on_telling):
    got, twin = on_telling
    torch.testing.assert_close(got, twin(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "mistake",
    [
        "norm0 as a branch", "no norm0", "conv without residual", "activation after conv",
        "norm after GELU", "smallest cloud's patches", "first curve", "depth of stage 0",
        "axes z y x", "base 10000", "neighboring channels", "no rotation", "positions of stage 0",
        "scale of padded heads",
    ],
)  # fmt: skip
def test_each_known_mistake_would_be_seen(on_telling, mistake):
    got, twin = on_telling
    assert (got - twin(mistake)).abs().max() > 1e-5


def test_convolution_blocks_count_for_the_drop_path_and_drop_nothing():
    with torch.device("meta"):
        networks = {size: build_litept(size, 16) for size in ("S", "S*")}
    rates = {
        size: {
            name.removeprefix("backbone.").removesuffix(".drop_path"): round(module.rate, 4)
            for name, module in network.named_modules()
            if isinstance(module, PointDropPath)
        }
        for size, network in networks.items()
    }
    encoder = [0.1385, 0.1615, 0.1846, 0.2077, 0.2308, 0.2538, 0.2769, 0.3]
    assert list(rates["S"].values()) == encoder
    assert list(rates["S"])[::7] == ["enc.enc3.block0", "enc.enc4.block1"]
    assert list(rates["S*"].values()) == [*encoder, 0.3, 0.2571]
    assert list(rates["S*"])[-2:] == ["dec.dec3.block0", "dec.dec3.block1"]


def test_it_takes_the_rows_of_another_hierarchy_and_cuts_its_own_patches(telling, make_network):
    model = make_network("tiny", patch_size=4).eval()
    foreign = build_hierarchy(telling, orders=("hilbert", "z"), depth_rule="v1.5.1")
    adopted = model.prepare_on(foreign, telling)
    for level, other in zip(adopted.levels, foreign.levels, strict=True):
        assert level.grid_coord is other.grid_coord
    with torch.no_grad():
        want = model(telling)
        got = model(telling, adopted)
        torch.testing.assert_close(got.logits, want.logits, rtol=1e-9, atol=1e-9)
        # Rows are another order, voxels the same: sort both by what they are.
        own = model.prepare(telling)
        for stage in range(5):
            keys = [
                [*zip(lv.batch.tolist(), map(tuple, lv.grid_coord.tolist()), strict=True)]
                for lv in (own.levels[stage], adopted.levels[stage])
            ]
            assert sorted(keys[0]) == sorted(keys[1])
    with pytest.raises(ValueError, match=r"LitePT.forward: hierarchy does not fit: depth rule v1"):
        model(telling, foreign)
    with pytest.raises(ValueError, match="needs 5"):
        model(telling, build_hierarchy(telling, num_stages=4))
    assert model.prepare_on(build_hierarchy(telling, num_stages=4), telling) is None


# ---- the paper's sizes ---------------------------------------------------------------------------


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


# ---- the rotation --------------------------------------------------------------------------------


def turned_by_hand(head, place, base):
    """Turn one head's channels, a pair at a time."""
    out, third = list(head), len(head) // 3
    for axis in range(3):
        for j in range(third // 2):
            u, v = axis * third + j, axis * third + third // 2 + j
            angle = place[axis] * base ** (-j / (third // 2))
            out[u] = head[u] * math.cos(angle) - head[v] * math.sin(angle)
            out[v] = head[v] * math.cos(angle) + head[u] * math.sin(angle)
    return out


@pytest.mark.parametrize("width", [6, 18, 24])
def test_each_pair_of_channels_is_turned_by_its_axis_and_frequency(width):
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(7, 2, width, generator=generator, dtype=torch.float64)
    places = torch.randint(0, 900, (7, 3), generator=generator)
    places[0] = 0
    got = point_rotation(places, width, 100.0, heads.dtype)(heads)
    want = [
        [turned_by_hand(head.tolist(), place.tolist(), 100.0) for head in row]
        for row, place in zip(heads, places, strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=1e-12, atol=1e-11)
    assert torch.equal(got[0], heads[0]), "nothing turns at the origin"


def test_scores_depend_on_differences_of_places_alone():
    generator = torch.Generator().manual_seed(1)
    query, key = torch.randn(2, 5, 1, 18, generator=generator, dtype=torch.float64)
    places = torch.randint(0, 200, (2, 5, 3), generator=generator)
    scores = []
    for shift in (0, 37):
        turned = [
            point_rotation(place + shift, 18, 100.0, query.dtype)(head)
            for place, head in zip(places, (query, key), strict=True)
        ]
        scores.append((turned[0] * turned[1]).sum(-1))
    torch.testing.assert_close(*scores)


def test_angles_of_16_bit_heads_are_those_of_32_bits():
    places = torch.tensor([[257, 301, 999]])  # bfloat16 would make 256, 302 and 1000 of these
    heads = torch.randn(1, 3, 18, generator=torch.Generator().manual_seed(2))
    short = heads.to(torch.bfloat16)
    got = point_rotation(places, 18, 100.0, torch.bfloat16)(short)
    want = point_rotation(places, 18, 100.0, torch.float32)(short.float())
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, want.to(torch.bfloat16))


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="head_width is 16, must be a multiple of 6"):
        point_rotation(torch.zeros(1, 3), 16, 100.0, torch.float32)
