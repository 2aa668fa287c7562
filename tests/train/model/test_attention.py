"""Attention in patches: the borrowing rule, and three ways to compute the same thing."""

import pytest
import torch

from train.model import build_hierarchy
from train.model.attention import SerializedAttention
from train.model.patches import patch_rows


def rows_of(counts, patch_size):
    total = sum(counts)
    identity = torch.arange(total)
    return patch_rows(identity, identity, counts, patch_size)


def test_the_last_patch_is_filled_with_the_end_of_the_one_before():
    rows = rows_of((10,), 4)
    assert rows.slots.view(-1, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 6, 7]]
    assert rows.slot_of_row.tolist() == list(range(10))
    assert (rows.num_full, rows.short_sizes) == (3, ())


@pytest.mark.parametrize(
    ("counts", "num_full", "short"),
    [((4,), 1, ()), ((3,), 0, (3,)), ((8,), 2, ()), ((2, 9, 1, 4), 4, (2, 1)), ((1,), 0, (1,))],
)
def test_small_clouds_are_one_short_patch_and_whole_ones_borrow_nothing(counts, num_full, short):
    rows = rows_of(counts, 4)
    assert (rows.num_full, rows.short_sizes) == (num_full, short)
    assert len(rows.slots) == 4 * num_full + sum(short)


@pytest.mark.parametrize("patch_size", [1, 2, 3, 7, 16, 100])
def test_every_voxel_has_one_result_and_no_patch_crosses_clouds(patch_size):
    counts = (13, 1, 29, 7)
    rows = rows_of(counts, patch_size)
    cloud = torch.arange(4).repeat_interleave(torch.tensor(counts))
    assert torch.equal(rows.slots[rows.slot_of_row], torch.arange(50))
    assert rows.slot_of_row.unique().numel() == 50
    full = rows.slots[: rows.num_full * patch_size].view(-1, patch_size)
    short = rows.slots[rows.num_full * patch_size :].split(list(rows.short_sizes))
    for patch in [*full, *short]:
        assert cloud[patch].unique().numel() == 1
        assert patch.unique().numel() == len(patch), "a voxel would count twice as a key"


@pytest.mark.parametrize("counts", [(37,), (3, 37, 8, 16)], ids=["one-cloud", "four-clouds"])
@pytest.mark.parametrize("form", ["sdpa", "plain"])
def test_it_equals_a_loop_over_voxels(plain_ptv3, counts, form):
    torch.manual_seed(0)
    patch_size, heads, width = 8, 2, 3
    total = sum(counts)
    attention = SerializedAttention(heads * width, heads, form).double()
    feat = torch.randn(total, heads * width, dtype=torch.float64)
    starts = torch.tensor(counts).cumsum(0) - torch.tensor(counts)
    order = torch.cat(
        [torch.randperm(n) + start for n, start in zip(counts, starts.tolist(), strict=True)]
    )
    got = attention(feat, patch_rows(order, order.argsort(), counts, patch_size))

    q, k, v = attention.qkv(feat).view(total, 3, heads, width).unbind(1)
    want = torch.empty(total, heads, width, dtype=torch.float64)
    for count, start in zip(counts, starts.tolist(), strict=True):
        rows = order[start : start + count].tolist()
        for place, members in enumerate(plain_ptv3.patch_members(count, patch_size)):
            seen = [rows[member] for member in members]
            for head in range(heads):
                scores = k[seen, head] @ q[rows[place], head] / width**0.5
                want[rows[place], head] = scores.softmax(0) @ v[seen, head]
    torch.testing.assert_close(got, attention.proj(want.flatten(1)))


def test_fused_and_plain_attention_agree_in_values_and_gradients(make_batch, make_network):
    batch = make_batch([90, 5])
    hierarchy = build_hierarchy(batch)
    gradients = {}
    for form in ("sdpa", "plain"):
        model = make_network(patch_size=16, attention=form).eval()
        logits = model(batch, hierarchy)
        gradients[form] = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
    for got, want in zip(gradients["sdpa"], gradients["plain"], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)


def test_its_backward_agrees_with_finite_differences_through_the_borrowed_copies():
    torch.manual_seed(0)
    attention = SerializedAttention(4, 2).double()
    rows = rows_of((7, 2), 3)
    feat = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda feat: attention(feat, rows), feat)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="5 channels"):
        SerializedAttention(5, 2)
    with pytest.raises(ValueError, match="flashy"):
        SerializedAttention(4, 2, "flashy")
    with pytest.raises(ValueError, match="patch_size"):
        rows_of((4,), 0)
