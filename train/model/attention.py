"""Self-attention inside patches of a space-filling curve.

Shape letters: N voxels, S slots, P patches, K patch size, C channels, H heads, D channels a head.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.model.patches import PatchRows

AttentionForm = Literal["sdpa", "plain"]
ATTENTION_FORMS: tuple[AttentionForm, ...] = ("sdpa", "plain")


def scaled_dot_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend as `torch.nn.functional.scaled_dot_product_attention`, written out for checking.

    Parameters
    ----------
    query, key, value
        [..., K, D]; the scores are divided by sqrt(D).
    """
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return torch.softmax(scores, dim=-1) @ value


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
        ``"sdpa"``: torch's fused attention; ``"plain"``: the same written out, for checking.
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
        self.channels, self.num_heads, self.form = channels, num_heads, form
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, feat: Tensor, patches: PatchRows) -> Tensor:
        """Return [N, C] from [N, C]; every voxel gets the result of its own patch."""
        qkv = self.qkv(feat).index_select(0, patches.slots)  # [S, 3 C]
        num_full_slots = patches.num_full * patches.patch_size
        parts = []
        if num_full_slots:
            parts.append(self._attend(qkv[:num_full_slots], patches.num_full))
        start = num_full_slots
        for size in patches.short_sizes:
            parts.append(self._attend(qkv[start : start + size], 1))
            start += size
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        projected: Tensor = self.proj(out.index_select(0, patches.slot_of_row))
        return projected

    def _attend(self, qkv: Tensor, num_patches: int) -> Tensor:
        """Attend inside equal patches: [P K, 3 C] to [P K, C]."""
        heads = qkv.view(num_patches, -1, 3, self.num_heads, self.channels // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each [P, H, K, D]
        attend = F.scaled_dot_product_attention if self.form == "sdpa" else scaled_dot_product
        out: Tensor = attend(query, key, value)
        return out.transpose(1, 2).reshape(-1, self.channels)

    def extra_repr(self) -> str:
        """Return width, heads and form, for printing."""
        return f"channels={self.channels}, num_heads={self.num_heads}, form={self.form}"
