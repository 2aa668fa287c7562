"""Attention in patches: the borrowing rule, and three ways to compute the same thing."""

import sys
import types

import pytest
import torch

from tests.train.networks.ptv3.plain_ptv3 import patch_members
from train.core.errors import UserError
from train.networks.ptv3 import attention as attention_module
from train.networks.ptv3 import build_hierarchy, build_segmentor
from train.networks.ptv3.attention import (
    SerializedAttention,
    chosen_kernel,
    fused_attention,
    load_flash_attention,
    padded_attention,
)
from train.networks.ptv3.patches import patch_rows


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
def test_it_equals_a_loop_over_voxels(counts, form):
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
        for place, members in enumerate(patch_members(count, patch_size)):
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
        logits = model(batch, hierarchy).logits
        gradients[form] = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
    for got, want in zip(gradients["sdpa"], gradients["plain"], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("allowed", [True, False])
def test_cudnn_is_never_chosen_and_the_user_s_choice_comes_back(monkeypatch, allowed):
    """It would plan each new number of patches: every stage of every batch."""
    cuda, seen = torch.backends.cuda, []

    def attend(query, key, value, scale=None):
        seen.append((cuda.cudnn_sdp_enabled(), cuda.flash_sdp_enabled(), cuda.math_sdp_enabled()))
        raise RuntimeError("no memory")

    monkeypatch.setattr(attention_module.F, "scaled_dot_product_attention", attend)
    before = cuda.cudnn_sdp_enabled()
    cuda.enable_cudnn_sdp(allowed)
    try:
        with pytest.raises(RuntimeError, match="no memory"):
            SerializedAttention(4, 2)(torch.zeros(9, 4), rows_of((9,), 4))
        assert cuda.cudnn_sdp_enabled() is allowed
    finally:
        cuda.enable_cudnn_sdp(before)
    assert seen == [(False, True, True)]


class OnAGPU(torch.Tensor):
    """A tensor of the CPU that says it is on a GPU."""

    is_cuda = True


def test_on_a_gpu_the_kernel_is_logged_once_a_type(capsys, monkeypatch):
    monkeypatch.setattr(attention_module, "_logged", set())
    for dtype in (torch.float32, torch.float32, torch.bfloat16):
        query, key, value = torch.randn(3, 2, 2, 8, 16, dtype=dtype).unbind(0)
        fused_attention(query.as_subclass(OnAGPU), key, value)
    assert capsys.readouterr().err.splitlines() == [
        f"attention in {dtype}, 16 channels a head, on cpu: {chosen_kernel(query, key, value)}"
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert chosen_kernel(query, key, value) in ("flash_attention", "math")


@pytest.fixture
def flash_calls(monkeypatch):
    """Put a stand-in for flash-attn in its place, which has its signature and its demands.

    It computes in the type it is given, on the CPU, where the real one does not run.
    """
    calls = []

    def flash_attn_varlen_qkvpacked_func(
        qkv,
        cu_seqlens,
        max_seqlen,
        dropout_p=0.0,
        softmax_scale=None,
        causal=False,
        window_size=(-1, -1),
        softcap=0.0,
        alibi_slopes=None,
        deterministic=False,
        return_attn_probs=False,
    ):
        total, three, _, width = qkv.shape
        assert qkv.dtype in (torch.float16, torch.bfloat16), "FlashAttention only supports these"
        assert (three, qkv.stride(-1)) == (3, 1)
        assert cu_seqlens.dtype == torch.int32
        assert cu_seqlens.is_contiguous()
        sizes = cu_seqlens.diff()
        assert (cu_seqlens[0], cu_seqlens[-1]) == (0, total)
        assert 0 < sizes.min() <= sizes.max() <= max_seqlen
        assert (dropout_p, causal) == (0.0, False)
        calls.append((qkv.dtype, tuple(qkv.shape), sizes.tolist(), max_seqlen))
        out = []
        for patch in qkv.split(sizes.tolist()):
            query, key, value = patch.transpose(0, 2).unbind(1)  # each [heads, K, width]
            scores = query @ key.transpose(1, 2) * (softmax_scale or width**-0.5)
            out.append((scores.softmax(-1) @ value).transpose(0, 1))
        return torch.cat(out)

    package = types.ModuleType("flash_attn")
    package.flash_attn_varlen_qkvpacked_func = flash_attn_varlen_qkvpacked_func
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    monkeypatch.setattr("train.networks.ptv3.attention.FLASH_DEVICES", ("cpu",))
    load_flash_attention.cache_clear()
    yield calls
    load_flash_attention.cache_clear()


@pytest.mark.parametrize("counts", [(37,), (3, 37, 8, 16)], ids=["one-cloud", "four-clouds"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_flash_attention_gets_all_patches_in_one_call(flash_calls, counts, dtype):
    torch.manual_seed(0)
    exact = SerializedAttention(32, 2, "sdpa")
    flash = SerializedAttention(32, 2, "flash")
    flash.load_state_dict(exact.state_dict())
    feat = torch.randn(sum(counts), 32)
    order = torch.cat([torch.randperm(n) + sum(counts[:i]) for i, n in enumerate(counts)])
    patches = patch_rows(order, order.argsort(), counts, 8)
    out = flash.to(dtype)(feat.to(dtype), patches)
    assert out.dtype == dtype
    ((seen, shape, sizes, longest),) = flash_calls
    assert seen == (torch.bfloat16 if dtype == torch.float32 else dtype)
    assert shape == (len(patches.slots), 3, 2, 16)
    assert sizes == [8] * patches.num_full + list(patches.short_sizes)
    assert longest == 8
    # bfloat16 has 8 bits, the values are below 1.
    torch.testing.assert_close(out.float(), exact(feat, patches), atol=0.02, rtol=0.02)


def test_a_network_with_flash_attention_agrees_and_trains(flash_calls, make_batch):
    batch = make_batch([90, 5], dtype=torch.float32)
    torch.manual_seed(0)
    model = build_segmentor("tiny-student", 5, patch_size=16).eval()
    flash = build_segmentor("tiny-student", 5, patch_size=16, attention="flash").eval()
    flash.load_state_dict(model.state_dict())
    logits = flash(batch).logits
    # One rounding of queries, keys and values to 8 bits a block.
    torch.testing.assert_close(logits, model(batch).logits, atol=0.05, rtol=0.05)
    assert len(flash_calls) == 9
    logits.square().mean().backward()
    gradient = flash.get_submodule("backbone.enc.enc0.block0.attn.qkv").weight.grad
    assert gradient.abs().max() > 0


def test_flash_attention_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)  # importing it fails
    load_flash_attention.cache_clear()
    with pytest.raises(UserError, match=r"attention='flash' needs the package flash-attn"):
        build_segmentor("tiny-student", 5, attention="flash")


def test_flash_attention_of_another_kind_is_refused_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", types.ModuleType("flash_attn"))
    load_flash_attention.cache_clear()
    with pytest.raises(UserError, match="flash_attn_varlen_qkvpacked_func"):
        SerializedAttention(4, 2, "flash")


def test_flash_attention_on_a_cpu_is_refused(flash_calls, monkeypatch):
    monkeypatch.setattr("train.networks.ptv3.attention.FLASH_DEVICES", ("cuda",))
    attention = SerializedAttention(4, 2, "flash")
    with pytest.raises(ValueError, match=r"needs a CUDA GPU, the features are on cpu"):
        attention(torch.zeros(9, 4), rows_of((9,), 4))
    assert not flash_calls


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


@pytest.mark.parametrize("width", [6, 16, 18])
def test_padded_heads_attend_as_narrow_ones(width):
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, width, generator=generator, dtype=torch.float64)
    scores = torch.einsum("phid,phjd->phij", query, key) / width**0.5
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    want = torch.einsum("phij,phjd->phid", weights, value)
    torch.testing.assert_close(padded_attention(query, key, value), want)


def test_flash_attention_gets_heads_of_a_width_it_takes(flash_calls):
    torch.manual_seed(0)
    exact, flash = SerializedAttention(36, 2, "plain"), SerializedAttention(36, 2, "flash")
    flash.load_state_dict(exact.state_dict())
    feat, patches = torch.randn(37, 36), rows_of((37,), 8)
    out = flash(feat, patches)
    ((_, shape, _, _),) = flash_calls
    assert shape == (len(patches.slots), 3, 2, 24)
    torch.testing.assert_close(out, exact(feat, patches), atol=0.02, rtol=0.02)
