"""Self-attention inside patches of a space-filling curve.

Shape letters: N voxels, S slots, P patches, K patch size, C channels, H heads, D channels a head.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from train.core.console import logger
from train.core.errors import UserError
from train.networks.ptv3.patches import PatchRows

AttentionForm = Literal["sdpa", "flash", "plain"]
ATTENTION_FORMS: tuple[AttentionForm, ...] = ("sdpa", "flash", "plain")
FLASH_DEVICES = ("cuda",)

Rotate = Callable[[Tensor], Tensor]
"""Turns queries or keys [N, heads, D] by their voxels' positions; same shape and dtype."""

HEAD_MULTIPLE: Final = 8
"""GPU kernels want head widths that are multiples of it; others make them fall back to K x K."""


def scaled_dot_product(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """Attend as `torch.nn.functional.scaled_dot_product_attention`, written out for checking.

    Parameters
    ----------
    query, key, value
        [..., K, D].
    scale
        Factor of the scores; D^-0.5 if None.
    """
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query @ key.transpose(-2, -1) * factor
    return torch.softmax(scores, dim=-1) @ value


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Let torch choose among its flash, memory-efficient and plain kernels, not cuDNN's.

    That one builds a plan for each new shape, and the number of patches is another one in every
    stage of every batch. (`torch.nn.attention.sdpa_kernel` does the same ten times as slowly.)
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """Attend by a kernel of torch's choice, never cuDNN's; on a GPU, log which, once a type.

    Parameters
    ----------
    query, key, value
        [..., K, D].
    scale
        Factor of the scores; D^-0.5 if None.
    """
    with _without_cudnn():
        if query.is_cuda:
            _log_kernel(query, key, value)
        return F.scaled_dot_product_attention(query, key, value, scale=scale)


def padded_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend as `fused_attention`, with heads filled up with zeros to a width that kernels take.

    Zeros add nothing to a score and give columns of zeros, which are cut off. The scale is that of
    the true width.

    Parameters
    ----------
    query, key, value
        [..., K, D]; the scores are divided by sqrt(D).
    """
    width = query.shape[-1]
    missing = -width % HEAD_MULTIPLE
    query, key, value = (F.pad(each, (0, missing)) for each in (query, key, value))
    return fused_attention(query, key, value, width**-0.5)[..., :width]


_logged: set[tuple[str, torch.dtype, int]] = set()


def _log_kernel(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Log which kernel torch takes for these tensors, unless it is known for such ones."""
    kind = (str(query.device), query.dtype, query.shape[-1])
    if kind not in _logged:
        _logged.add(kind)
        logger.info(
            f"attention in {query.dtype}, {query.shape[-1]} channels a head, on {query.device}: "
            f"{chosen_kernel(query, key, value)}"
        )


def chosen_kernel(query: Tensor, key: Tensor, value: Tensor) -> str:
    """Return the name of the kernel that `fused_attention` takes for tensors [..., K, D]."""
    with _without_cudnn():
        return SDPBackend(torch._fused_sdp_choice(query, key, value)).name.lower()


@cache
def load_flash_attention() -> Callable[..., Tensor]:
    """Import flash-attn's attention over patches of any sizes.

    Raises
    ------
    UserError
        If it is not installed or cannot be imported.
    """
    try:
        package: Any = importlib.import_module("flash_attn")
        attend: Callable[..., Tensor] = package.flash_attn_varlen_qkvpacked_func
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"attention='flash' needs the package flash-attn, which cannot be imported ({error});"
            " install flash-attn (CUDA GPUs), or choose attention='sdpa', which has flash kernels"
            " of torch's own"
        ) from error
    return attend


class SerializedAttention(nn.Module):
    """Full softmax attention inside each patch of consecutive voxels.

    The patch size is the configured one for every cloud, whatever else is in the batch (the
    official code's flash path; its plain path shrinks all patches to the smallest cloud).

    Parameters
    ----------
    channels
        C, a multiple of `num_heads`.
    num_heads
        H.
    form
        ``"sdpa"``: torch's fused attention; ``"flash"``: that of the package flash-attn, on CUDA
        GPUs; ``"plain"``: the same written out, for checking.

    Notes
    -----
    flash-attn knows float16 and bfloat16 alone: queries, keys and values of another type are
    rounded to bfloat16 and the result is cast back, as the official code does.
    """

    def __init__(self, channels: int, num_heads: int, form: AttentionForm = "sdpa") -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f"SerializedAttention: {channels} channels do not divide into {num_heads} heads"
            )
        if form not in ATTENTION_FORMS:
            raise ValueError(
                f"SerializedAttention: form is {form!r}, must be one of {ATTENTION_FORMS}"
            )
        if form == "flash":
            load_flash_attention()  # a missing package is reported when the network is built
        self.channels, self.num_heads, self.form = channels, num_heads, form
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, feat: Tensor, patches: PatchRows, rotate: Rotate | None = None) -> Tensor:
        """Return [N, C] from [N, C]; every voxel gets the result of its own patch.

        Parameters
        ----------
        feat
            [N, C].
        patches
            Who attends to whom.
        rotate
            Turns queries and keys by position; None for attention that knows no positions.
        """
        qkv = self.qkv(feat)
        if rotate is not None:
            # Before rows are gathered into slots: a borrowed copy is turned as its voxel is.
            turned = qkv[:, : 2 * self.channels].unflatten(1, (2 * self.num_heads, -1))
            qkv = torch.cat([rotate(turned).flatten(1), qkv[:, 2 * self.channels :]], dim=1)
        qkv = qkv.index_select(0, patches.slots)  # [S, 3 C]
        out = self._flash(qkv, patches) if self.form == "flash" else self._dense(qkv, patches)
        projected: Tensor = self.proj(out.index_select(0, patches.slot_of_row))
        return projected

    def _dense(self, qkv: Tensor, patches: PatchRows) -> Tensor:
        """Attend in all full patches at once and in the short ones singly: [S, 3 C] to [S, C]."""
        num_full_slots = patches.num_full * patches.patch_size
        parts = []
        if num_full_slots:
            parts.append(self._attend(qkv[:num_full_slots], patches.num_full))
        start = num_full_slots
        for size in patches.short_sizes:
            parts.append(self._attend(qkv[start : start + size], 1))
            start += size
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attend(self, qkv: Tensor, num_patches: int) -> Tensor:
        """Attend inside equal patches: [P K, 3 C] to [P K, C]."""
        heads = qkv.view(num_patches, -1, 3, self.num_heads, self.channels // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each [P, H, K, D]
        attend: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_dot_product
        if self.form == "sdpa":
            # A CPU's kernel takes every width.
            fits = query.shape[-1] % HEAD_MULTIPLE == 0 or not query.is_cuda
            attend = fused_attention if fits else padded_attention
        out = attend(query, key, value)
        return out.transpose(1, 2).reshape(-1, self.channels)

    def _flash(self, qkv: Tensor, patches: PatchRows) -> Tensor:
        """Attend in patches of all sizes in one call: [S, 3 C] to [S, C]."""
        if qkv.device.type not in FLASH_DEVICES:
            raise ValueError(
                f"SerializedAttention: attention='flash' needs a CUDA GPU, the features are on"
                f" {qkv.device}; choose attention='sdpa'"
            )
        is_short = qkv.dtype in (torch.float16, torch.bfloat16)
        packed = qkv if is_short else qkv.to(torch.bfloat16)
        width = self.channels // self.num_heads
        heads, missing = packed.view(-1, 3, self.num_heads, width), -width % HEAD_MULTIPLE
        out = load_flash_attention()(
            F.pad(heads, (0, missing)) if missing else heads,
            patches.bounds,
            patches.patch_size,
            dropout_p=0.0,
            softmax_scale=width**-0.5,
        )
        return out[..., :width].reshape(-1, self.channels).to(qkv.dtype)

    def extra_repr(self) -> str:
        """Return width, heads and form, for printing."""
        return f"channels={self.channels}, num_heads={self.num_heads}, form={self.form}"
