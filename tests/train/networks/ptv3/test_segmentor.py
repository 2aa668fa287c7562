"""The tiny pair, and the batches and hierarchies that are refused."""

from pathlib import Path

import pytest
import torch

from train.networks.ptv3 import build_hierarchy, build_segmentor

KEYS = Path(__file__).parent / "keys"


def test_the_tiny_pair_relates_like_the_large_one():
    with torch.device("meta"):
        teacher, student = (build_segmentor(f"tiny-{s}", 19) for s in ("teacher", "student"))
    counts = [sum(p.numel() for p in model.parameters()) for model in (teacher, student)]
    assert 14 < counts[0] / counts[1] < 18
    assert teacher.decoder_stages == student.decoder_stages
    assert teacher.seg_head.in_features == student.seg_head.in_features


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
