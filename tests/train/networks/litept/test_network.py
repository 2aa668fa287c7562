"""The whole network against its slow twin, and what must hold for any weights."""

import pytest
import torch

from tests.train.networks.litept.plain_litept import PlainLitePT
from tests.train.networks.ptv3.plain_ptv3 import as_voxels
from train.networks.litept import build_litept
from train.networks.ptv3 import build_hierarchy
from train.networks.ptv3.block import PointDropPath

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
