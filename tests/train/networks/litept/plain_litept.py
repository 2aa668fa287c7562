"""LitePT written a second time, a voxel at a time, from its description.

It shares no code with `train.networks`: the oracle of the network tests. `mistakes` names what is
easily got wrong; a test sees that each of them would be found.
"""

import cmath
from collections import Counter

import torch
import torch.nn.functional as F

from tests.train.networks.ptv3.plain_ptv3 import PlainPTv3, curve_index


def depth_of(largest):
    depth = 0
    while (1 << depth) <= largest + 1:
        depth += 1
    return depth


class PlainLitePT(PlainPTv3):
    """Logits in evaluation mode.

    `voxels` is a list of (cloud, (x, y, z)); `shuffles` one permutation of the curves per stage.
    """

    def __init__(self, state, config, voxels, shuffles, mistakes=()):
        self.state, self.config, self.mistakes = state, config, set(mistakes)
        self.levels, self.parents, self.places = [list(voxels)], [], []
        for _ in config.enc_depths[1:]:
            fine = self.levels[-1]
            coarse = [(c, tuple(axis // 2 for axis in voxel)) for c, voxel in fine]
            listed = sorted(set(coarse))
            self.parents.append([listed.index(cell) for cell in coarse])
            self.levels.append(listed)
        first = max(max(voxel) for _, voxel in voxels)
        for stage, (level, shuffle) in enumerate(zip(self.levels, shuffles, strict=True)):
            depth = depth_of(max(max(voxel) for _, voxel in level))
            if "depth of stage 0" in self.mistakes:
                depth = max(depth_of(first) - stage, 0)
            self.places.append(
                [
                    [curve_index(config.orders[k], voxel, depth) for _, voxel in level]
                    for k in shuffle
                ]
            )

    def score(self, query, key, stage, row, other):
        """Add up the real parts of conjugate products, each pair of channels one complex number."""
        axes = (2, 1, 0) if "axes z y x" in self.mistakes else (0, 1, 2)
        base = 10000.0 if "base 10000" in self.mistakes else self.config.rotary_base
        shift = stage if "positions of stage 0" in self.mistakes else 0
        apart = [
            (here - there) << shift
            for here, there in zip(*(self.levels[stage][r][1] for r in (row, other)), strict=True)
        ]
        mine, theirs = query.tolist(), key.tolist()
        third = len(mine) // 3
        half = third // 2
        total = 0.0
        for block, axis in enumerate(axes):
            for j in range(half):
                u = block * third + j
                v = u + half
                if "neighboring channels" in self.mistakes:
                    u, v = block * third + 2 * j, block * third + 2 * j + 1
                turn = cmath.exp(1j * apart[axis] * base ** (-j / half))
                if "no rotation" in self.mistakes:
                    turn = 1
                total += (complex(mine[u], mine[v]) * turn
                          * complex(theirs[u], theirs[v]).conjugate()).real  # fmt: skip
        return torch.tensor(total, dtype=query.dtype)

    def curve(self, block):
        return 0 if "first curve" in self.mistakes else super().curve(block)

    def patch_size(self, stage):
        counts = Counter(cloud for cloud, _ in self.levels[stage])
        size = self.config.patch_size
        return min(size, *counts.values()) if "smallest cloud's patches" in self.mistakes else size

    def divisor(self, width):
        return width + (6 if "scale of padded heads" in self.mistakes else 0)

    def blocks(self, name, feat, seen, stage, side):
        conv, attention = (
            getattr(self.config, f"{side}_{p}")[stage] for p in ("conv", "attention")
        )
        for block in range(getattr(self.config, f"{side}_depths")[stage]):
            own = f"{name}.block{block}"
            if conv:
                branch = self.linear(
                    f"{own}.conv.1", self.convolution(f"{own}.conv.0", feat, stage)
                )
                branch = self.layer_norm(f"{own}.conv.2", branch)
                if "activation after conv" in self.mistakes:
                    branch = F.gelu(branch)
                feat = branch if "conv without residual" in self.mistakes else feat + branch
            elif "no norm0" not in self.mistakes:
                normed = self.layer_norm(f"{own}.norm0.0", feat)
                feat = feat + normed if "norm0 as a branch" in self.mistakes else normed
            if attention:
                normed = self.layer_norm(f"{own}.norm1.0", feat)
                heads = feat.shape[1] // self.config.head_width
                feat = feat + self.attention(f"{own}.attn", normed, stage, block, heads)
                hidden = self.linear(f"{own}.mlp.0.fc1", self.layer_norm(f"{own}.norm2.0", feat))
                feat = feat + self.linear(f"{own}.mlp.0.fc2", F.gelu(hidden))
        return feat

    def between(self, name, feat):
        if "norm after GELU" not in self.mistakes:
            return self.batch_norm_gelu(name, feat)
        s, feat = self.state, F.gelu(feat)
        scaled = (feat - s[f"{name}.running_mean"]) / torch.sqrt(s[f"{name}.running_var"] + 1e-3)
        return scaled * s[f"{name}.weight"] + s[f"{name}.bias"]
