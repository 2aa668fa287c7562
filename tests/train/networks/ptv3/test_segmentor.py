"""Names, shapes and counts of Table 8, and what is refused."""

from pathlib import Path

import pytest
import torch

from train.networks.ptv3 import build_hierarchy, build_segmentor

KEYS = Path(__file__).parent / "keys"


def expected_entries(size):
    entries = []
    for line in (KEYS / f"{size}.txt").read_text().splitlines():
        key, shape = line.split()
        axes = () if shape == "scalar" else tuple(int(axis) for axis in shape.split("x"))
        entries.append((key, axes))
    return entries


@pytest.mark.parametrize(("size", "parameters"), [("teacher", 46_159_312), ("student", 2_777_344)])
def test_keys_shapes_and_counts_are_the_official_ones(size, parameters):
    with torch.device("meta"):
        model = build_segmentor(size, 16)
    got = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    assert got == expected_entries(size)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("num_classes", "teacher", "student"),
                         [(19, 46_159_507, 2_777_539), (22, 46_159_702, 2_777_734)])  # fmt: skip
def test_other_class_counts_change_the_head_alone(num_classes, teacher, student):
    with torch.device("meta"):
        for size, want in (("teacher", teacher), ("student", student)):
            model = build_segmentor(size, num_classes)
            assert sum(parameter.numel() for parameter in model.parameters()) == want


def test_the_tiny_pair_relates_like_the_large_one():
    with torch.device("meta"):
        teacher, student = (build_segmentor(f"tiny-{s}", 19) for s in ("teacher", "student"))
    counts = [sum(p.numel() for p in model.parameters()) for model in (teacher, student)]
    assert 14 < counts[0] / counts[1] < 18
    assert teacher.decoder_stages == student.decoder_stages
    assert teacher.seg_head.in_features == student.seg_head.in_features


@pytest.mark.parametrize("size", ["student", "tiny-teacher", "tiny-student"])
def test_fresh_weights_depend_on_the_seed_alone(size):
    torch.manual_seed(3)
    first = build_segmentor(size, 4).state_dict()
    torch.manual_seed(3)
    second = build_segmentor(size, 4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def broken(batch, key, change):
    return batch | {key: change(batch[key])}


def with_entry(value, at=(2, 1)):
    def change(tensor):
        tensor = tensor.clone()
        tensor[at] = value
        return tensor

    return change


BAD_BATCHES = {
    "nan-feat": ("feat", with_entry(float("nan")), "feat has a NaN"),
    "infinite-coord": ("coord", with_entry(float("inf")), "coord has a NaN or infinite"),
    "short-feat": ("feat", lambda t: t[:-1], "feat has shape"),
    "short-coord": ("coord", lambda t: t[:-1], "coord has shape"),
    "flat-grid": ("grid_coord", lambda t: t[:, :2], "grid_coord has shape"),
    "fractional-grid": ("grid_coord", lambda t: t.float(), "whole numbers"),
    "negative-grid": ("grid_coord", with_entry(-4), "negative entry -4"),
    "too-few-channels": ("feat", lambda t: t[:, :3], "feat has 3 channels"),
    "offset-too-short": ("offset", lambda t: t[:-1], "offset ends at 30"),
    "offset-too-far": ("offset", with_entry(99, at=-1), "offset ends at 99"),
    "offset-decreases": ("offset", lambda t: t.flip(0), "decreases"),
    "offset-with-zero": ("offset", lambda t: torch.cat([t[:1] * 0, t]), "cloud 0 .* is empty"),
    "offset-repeats": ("offset", lambda t: t[[0, 0, 1]], "cloud 1 .* is empty"),
    "offset-of-two-axes": ("offset", lambda t: t[None], "one"),
    "no-cloud": ("offset", lambda t: t[:0], "empty"),
    "batch-unsorted": ("batch", lambda t: t.flip(0), "not sorted"),
    "batch-disagrees": ("batch", with_entry(1, at=29), "disagrees with offset"),
    "batch-short": ("batch", lambda t: t[:-1], "cloud of each of the 50 voxels"),
    "batch-fractional": ("batch", lambda t: t.float(), "in whole numbers"),
}


@pytest.mark.parametrize("case", list(BAD_BATCHES))
def test_a_malformed_batch_is_refused_by_name(make_batch, make_network, case):
    key, change, message = BAD_BATCHES[case]
    batch = make_batch([30, 20]) | {
        "batch": torch.arange(2).repeat_interleave(torch.tensor([30, 20]))
    }
    model = make_network().eval()
    model(batch)
    with pytest.raises(ValueError, match=message):
        model(broken(batch, key, change))


def test_an_empty_batch_and_a_missing_key_are_refused(make_batch, make_network):
    model = make_network().eval()
    empty = {key: value[:0] for key, value in make_batch([5]).items()}
    with pytest.raises(ValueError, match="empty"):
        model(empty)
    batch = make_batch([5])
    del batch["coord"]
    with pytest.raises(ValueError, match="'coord'"):
        model(batch)


def test_a_hierarchy_of_another_batch_or_network_is_refused(make_batch, make_network):
    batch, model = make_batch([30, 20]), make_network().eval()
    for other, message in (
        (build_hierarchy(make_batch([30, 21])), "voxels 51, needs 50"),
        (build_hierarchy(make_batch([50])), "clouds 1, needs 2"),
        (build_hierarchy(batch, num_stages=4), "stages 4, needs 5"),
        (build_hierarchy(batch, orders=("z", "hilbert")), "curves 2, needs 4"),
        (build_hierarchy(batch, depth_rule="v1.5.1"), "depth rule v1.5.1, needs main"),
    ):
        with pytest.raises(ValueError, match=message):
            model(batch, other)


def test_a_hierarchy_of_other_voxels_is_refused_though_all_its_sizes_fit(make_batch, make_network):
    batch, model = make_batch([30, 20]), make_network().eval()
    moved = batch | {"grid_coord": batch["grid_coord"].clone()}
    want = model(batch).logits
    assert torch.equal(model(batch, build_hierarchy(moved)).logits, want), "the same voxels, copied"
    moved["grid_coord"][7, 2] += 1
    with pytest.raises(ValueError, match="built from other voxels"):
        model(batch, build_hierarchy(moved))


@pytest.mark.parametrize("convolution", ["torch", "spconv"])
def test_keys_and_fresh_weights_do_not_depend_on_who_convolves(convolution):
    if convolution == "spconv":
        pytest.importorskip("spconv.pytorch", reason="spconv, a peer, is not installed")
    torch.manual_seed(0)
    state = build_segmentor("student", 16, convolution=convolution).state_dict()
    assert [(key, tuple(value.shape)) for key, value in state.items()] == expected_entries(
        "student"
    )
    torch.manual_seed(0)
    assert all(
        torch.equal(state[key], value)
        for key, value in build_segmentor("student", 16).state_dict().items()
    )


def test_it_says_what_it_is_and_which_implementations_it_took():
    line = build_segmentor("student", 16, cpe_input="v1.5.1").describe()
    for word in (
        "2,777,344 parameters", "16 classes", "convolution: our own",
        "attention: torch's scaled_dot_product_attention", "cpe_input=v1.5.1", "depth_rule=main",
    ):  # fmt: skip
        assert word in line
    assert "attention: plain" in build_segmentor("student", 16, attention="plain").describe()


def test_training_on_a_stage_of_one_voxel_is_refused_and_evaluating_is_not(
    make_batch, make_network
):
    batch = make_batch([20], side=8)
    model = make_network()
    assert build_hierarchy(batch).levels[4].num_voxels == 1
    with pytest.raises(ValueError, match="single voxel"):
        model.train()(batch)
    assert model.eval()(batch).logits.isfinite().all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"cpe_input": "v2"}, "cpe_input"),
        ({"attention": "flashy"}, "attention"),
        ({"convolution": "dense"}, "convolution"),
        ({"shuffle_orders": "sometimes"}, "shuffle_orders"),
        ({"depth_rule": "old"}, "depth_rule"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"batch_norm_momentum": 0.0}, "batch_norm_momentum"),
        ({"patch_size": 0}, "patch_size"),
        ({"enc_heads": (1, 1)}, "enc_heads has 2 entries"),
        ({"dec_heads": (2, 2, 4, 3)}, "do not divide into 3 heads"),
        ({"color": 1}, "no option 'color'"),
    ],
)
def test_wrong_options_are_refused_by_name(overrides, message):
    with pytest.raises(ValueError, match=message):
        build_segmentor("student", 4, **overrides)


def test_wrong_names_and_widths_are_refused():
    with pytest.raises(ValueError, match="'huge'"):
        build_segmentor("huge", 4)
    with pytest.raises(ValueError, match="num_classes is 0"):
        build_segmentor("student", 0)
    with pytest.raises(ValueError, match="in_channels is 0"):
        build_segmentor("student", 4, in_channels=0)
