"""LitePT written a second time, a voxel at a time, from its description.

It shares no code with `train.networks`: the oracle of the network tests. `mistakes` names what is
easily got wrong; a test sees that each of them would be found.
"""

import cmath
import math

import torch
import torch.nn.functional as F

from tests.train.networks.ptv3.plain_ptv3 import PlainPTv3, curve_index, patch_members


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

    def score(self, query, key, place, other):
        """Add up the real parts of conjugate products, each pair of channels one complex number."""
        axes = (2, 1, 0) if "axes z y x" in self.mistakes else (0, 1, 2)
        base = 10000.0 if "base 10000" in self.mistakes else self.config.rotary_base
        third = len(query) // 3
        half = third // 2
        total = 0.0
        for block, axis in enumerate(axes):
            for j in range(half):
                u = block * third + j
                v = u + half
                if "neighboring channels" in self.mistakes:
                    u, v = block * third + 2 * j, block * third + 2 * j + 1
                turn = cmath.exp(1j * (place[axis] - other[axis]) * base ** (-j / half))
                if "no rotation" in self.mistakes:
                    turn = 1
                mine = complex(query[u], query[v]) * turn
                total += (mine * complex(key[u], key[v]).conjugate()).real
        return total

    def rotary_attention(self, name, feat, stage, block):
        width = self.config.head_width
        q, k, v = self.linear(f"{name}.qkv", feat).split(feat.shape[1], dim=1)
        curve = 0 if "first curve" in self.mistakes else block % len(self.config.orders)
        places = self.places[stage][curve]
        level = self.levels[stage]
        positions = [voxel for _, voxel in level]
        if "positions of stage 0" in self.mistakes:
            positions = [tuple(axis << stage for axis in voxel) for voxel in positions]
        clouds = sorted({cloud for cloud, _ in level})
        counts = [sum(c == cloud for c, _ in level) for cloud in clouds]
        size = self.config.patch_size
        if "smallest cloud's patches" in self.mistakes:
            size = min(size, *counts)
        scale = 1 / math.sqrt(width + (6 if "scale of padded heads" in self.mistakes else 0))
        out = torch.zeros_like(feat)
        for cloud in clouds:
            rows = [row for row, (c, _) in enumerate(level) if c == cloud]
            rows.sort(key=lambda row: places[row])
            for row, member in zip(rows, patch_members(len(rows), size), strict=True):
                seen = [rows[place] for place in member]
                for head in range(feat.shape[1] // width):
                    part = slice(head * width, (head + 1) * width)
                    query = q[row, part].tolist()
                    scores = torch.tensor(
                        [
                            self.score(query, k[s, part].tolist(), positions[row], positions[s])
                            for s in seen
                        ],
                        dtype=feat.dtype,
                    )
                    weights = torch.exp(scores * scale)
                    out[row, part] = (weights / weights.sum()) @ v[seen, part]
        return self.linear(f"{name}.proj", out)

    def run(self, name, feat, stage, depth, conv, attention):
        for block in range(depth):
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
                feat = feat + self.rotary_attention(f"{own}.attn", normed, stage, block)
                hidden = self.linear(f"{own}.mlp.0.fc1", self.layer_norm(f"{own}.norm2.0", feat))
                feat = feat + self.linear(f"{own}.mlp.0.fc2", F.gelu(hidden))
        return feat

    def norm_gelu(self, name, feat):
        if "norm after GELU" not in self.mistakes:
            return self.batch_norm_gelu(name, feat)
        s, feat = self.state, F.gelu(feat)
        scaled = (feat - s[f"{name}.running_mean"]) / torch.sqrt(s[f"{name}.running_var"] + 1e-3)
        return scaled * s[f"{name}.weight"] + s[f"{name}.bias"]

    def logits(self, feat):
        config = self.config
        stem = "backbone.embedding.stem"
        feat = self.batch_norm_gelu(f"{stem}.norm", self.convolution(f"{stem}.conv", feat, 0))
        skips = []
        for stage, depth in enumerate(config.enc_depths):
            name = f"backbone.enc.enc{stage}"
            if stage:
                projected = self.linear(f"{name}.down.proj", feat)
                parent = torch.tensor(self.parents[stage - 1])
                feat = torch.stack(
                    [projected[parent == row].amax(0) for row in range(len(self.levels[stage]))]
                )
                feat = self.norm_gelu(f"{name}.down.norm.0", feat)
            parts = config.enc_conv[stage], config.enc_attention[stage]
            feat = self.run(name, feat, stage, depth, *parts)
            skips.append(feat)
        for stage in range(len(config.dec_depths) - 1, -1, -1):
            name = f"backbone.dec.dec{stage}"
            up = self.norm_gelu(f"{name}.up.proj.1", self.linear(f"{name}.up.proj.0", feat))
            skip = self.linear(f"{name}.up.proj_skip.0", skips[stage])
            skip = self.norm_gelu(f"{name}.up.proj_skip.1", skip)
            feat = skip + up[torch.tensor(self.parents[stage])]
            parts = config.dec_conv[stage], config.dec_attention[stage]
            feat = self.run(name, feat, stage, config.dec_depths[stage], *parts)
        return self.linear("seg_head", feat)
