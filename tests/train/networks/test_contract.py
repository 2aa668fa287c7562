"""What PTv3 and LitePT promise alike: one result by every way, official keys, and refusals."""

from functools import partial
from pathlib import Path

import pytest
import torch

from train.networks.litept import build_litept, litept_config
from train.networks.ptv3 import SIZES, build_segmentor, network_config

HERE = Path(__file__).parent
PARAMETERS = {
    ("teacher", 16): 46_159_312,
    ("teacher", 19): 46_159_507,
    ("teacher", 22): 46_159_702,
    ("student", 16): 2_777_344,
    ("student", 19): 2_777_539,
    ("student", 22): 2_777_734,
    ("S", 16): 12_705_100,
    ("S", 19): 12_705_319,
    ("S", 22): 12_705_538,
    ("S*", 16): 15_980_884,
    ("B", 16): 45_100_456,
    ("L", 16): 85_863_616,
}


def build(size, num_classes=16, *more, **options):
    return (build_segmentor if size in SIZES else build_litept)(size, num_classes, *more, **options)


def shapes_of(model):
    return [(key, tuple(value.shape)) for key, value in model.state_dict().items()]


def official_shapes(size):
    folder = HERE / ("ptv3" if size in SIZES else "litept")
    entries = []
    for line in (folder / "keys" / f"{size}.txt").read_text().splitlines():
        key, shape = line.split()
        axes = () if shape == "scalar" else tuple(int(axis) for axis in shape.split("x"))
        entries.append((key, axes))
    return entries


@pytest.fixture(params=["tiny-student", "tiny"], ids=["ptv3", "litept"])
def small(request, make_network):
    """Return a function from options to a small network of either kind, with telling weights."""
    return partial(make_network, request.param)


# ---- the same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "plain"])
@pytest.mark.parametrize("convolution", ["torch", "as-on-a-gpu", "spconv"])
def test_all_ways_to_compute_it_agree_in_logits_and_gradients(
    make_batch, small, as_on_a_gpu, convolution, attention
):
    batch = make_batch([90, 5, 40])
    overrides = {"patch_size": 8, "drop_path": 0.0}
    wanted = small(**overrides).eval()
    logits = wanted(batch).logits
    gradients = torch.autograd.grad(logits.square().sum(), list(wanted.parameters()))
    if convolution == "spconv":
        pytest.importorskip("spconv.pytorch", reason="spconv, a peer, is not installed")
        overrides["convolution"] = "spconv"
    if convolution == "as-on-a-gpu":
        as_on_a_gpu()
    model = small(attention=attention, **overrides).eval()
    got = model(batch).logits
    torch.testing.assert_close(got, logits, rtol=1e-9, atol=1e-9)
    for mine, want in zip(
        torch.autograd.grad(got.square().sum(), list(model.parameters())), gradients, strict=True
    ):
        torch.testing.assert_close(mine, want, rtol=1e-7, atol=1e-9)


def test_permuting_the_points_permutes_the_logits(make_batch, small):
    batch = make_batch([100, 40])
    model = small(patch_size=16).eval()
    swap = torch.cat([torch.randperm(100), 100 + torch.randperm(40)])
    permuted = {key: value if key == "offset" else value[swap] for key, value in batch.items()}
    torch.testing.assert_close(
        model(permuted).logits, model(batch).logits[swap], rtol=1e-9, atol=1e-10
    )


def test_three_clouds_together_equal_three_clouds_alone(make_batch, small):
    """Clouds of one curve depth, one of them smaller than a patch."""
    batch = make_batch([90, 6, 50])
    model = small(patch_size=16).eval()
    together = model(batch).logits
    start = 0
    for end in batch["offset"].tolist():
        part = {key: batch[key][start:end] for key in ("feat", "coord", "grid_coord")}
        alone = model(part | {"offset": torch.tensor([end - start])}).logits
        torch.testing.assert_close(together[start:end], alone, rtol=1e-9, atol=1e-10)
        start = end


def test_16_bits_stay_close_to_float32_and_every_parameter_gets_a_gradient(make_batch, small):
    batch = make_batch([300], dtype=torch.float32)
    model = small().float().eval()
    exact = model(batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(batch).logits
    agree = (rounded.argmax(1) == exact.argmax(1)).float().mean()
    assert agree > 0.9, "bfloat16 has 8 bits: a few close calls may flip"
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(batch).logits.float().square().mean().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None] == []
    assert all(each.grad.isfinite().all() for each in model.parameters())


def test_a_head_s_classes_can_be_put_in_another_order(make_batch, small):
    batch = make_batch([40])
    model = small(num_classes=5).eval()
    with torch.no_grad():
        before = model(batch).logits
        model.select_classes([3, None, 0])
        after = model(batch).logits
    torch.testing.assert_close(after[:, [0, 2]], before[:, [3, 0]])
    assert (after[:, 1] == -1e4).all()
    assert model.known_classes == (True, False, True)
    assert model.num_classes == model.spec().num_classes == 3
    with pytest.raises(ValueError, match="column 3 is none of 3"):
        model.select_classes([3])


# ---- names, shapes and counts -------------------------------------------------------------------


@pytest.mark.parametrize(("size", "num_classes"), PARAMETERS)
def test_parameters_are_the_official_ones(size, num_classes):
    with torch.device("meta"):
        model = build(size, num_classes)
    assert sum(each.numel() for each in model.parameters()) == PARAMETERS[size, num_classes]


@pytest.mark.parametrize("size", ["teacher", "student", "S"])
def test_keys_and_shapes_are_the_official_ones(size):
    with torch.device("meta"):
        assert shapes_of(build(size)) == official_shapes(size)


@pytest.mark.parametrize("size", ["student", "tiny-teacher", "tiny-student", "tiny"])
@pytest.mark.parametrize("convolution", ["torch", "spconv"])
def test_fresh_weights_depend_on_the_seed_and_not_on_who_convolves(size, convolution):
    if convolution == "spconv":
        pytest.importorskip("spconv.pytorch", reason="spconv, a peer, is not installed")
    torch.manual_seed(3)
    first = build(size, convolution=convolution)
    torch.manual_seed(3)
    second = build(size)
    assert shapes_of(first) == shapes_of(second)
    assert all(
        torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items()
    )


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        *(
            (make, options, message)
            for make in (partial(network_config, "student"), partial(litept_config, "tiny"))
            for options, message in (
                ({"attention": "flashy"}, "attention is 'flashy'"),
                ({"convolution": "dense"}, "convolution"),
                ({"shuffle_orders": "sometimes"}, "shuffle_orders"),
                ({"drop_path": 1.0}, r"drop_path is 1\.0"),
                ({"batch_norm_momentum": 0.0}, r"batch_norm_momentum is 0\.0"),
                ({"patch_size": 0}, "patch_size is 0"),
                ({"dec_depths": (0, 0)}, "dec_depths has 2 entries, must have 4"),
                ({"color": 1}, "no option 'color'"),
            )
        ),
        (network_config, {"size": "huge"}, "'huge'"),
        (litept_config, {"size": "XL"}, "size is 'XL', must be one of"),
        (partial(network_config, "student"), {"cpe_input": "v2"}, "cpe_input"),
        (partial(network_config, "student"), {"depth_rule": "old"}, "depth_rule"),
        (partial(network_config, "student"), {"enc_heads": (1, 1)}, "enc_heads has 2 entries"),
        (
            partial(build, "student"),
            {"dec_heads": (2, 2, 4, 3)},
            "do not divide into 3 heads",
        ),
        (partial(litept_config, "tiny"), {"head_width": 16}, "is 16, must be a multiple of 6"),
        (
            partial(litept_config, "tiny"),
            {"head_width": 12, "enc_channels": (18, 36, 36, 72, 90)},
            "enc4 has 90 channels",
        ),
        (partial(litept_config, "tiny"), {"enc_conv": (False,) * 5}, "blocks of enc0 have neither"),
        (partial(litept_config, "tiny"), {"rotary_base": 1.0}, r"rotary_base is 1\.0"),
        (partial(build, "student"), {"num_classes": 0}, "num_classes is 0"),
        (partial(build, "student"), {"in_channels": 0}, "in_channels is 0"),
        (partial(build, "tiny"), {"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
