"""PTv3 written a second time, a voxel at a time, from the published description.

It shares no code with `train.networks.ptv3` and is as slow as it looks: the oracle
of the network tests.
Weights come as a state dict, so the names and shapes of checkpoints are tested along the way.
"""

import itertools
import math

import torch
import torch.nn.functional as F


def z_index(x, y, z, depth):
    """Place on the Morton curve: write the bits of x, y, z in turn, highest first."""
    bits = [f"{axis:0{depth}b}" for axis in (x, y, z)] if depth else ["", "", ""]
    return int("0" + "".join("".join(triple) for triple in zip(*bits, strict=True)), 2)


def hilbert_index(x, y, z, depth):
    """Place on the Hilbert curve: Skilling's published loop, Gray encoding included."""
    axes = [x, y, z]
    q = 1 << (depth - 1) if depth else 0
    while q > 1:
        for k in range(3):
            if axes[k] & q:
                axes[0] ^= q - 1
            else:
                t = (axes[0] ^ axes[k]) & (q - 1)
                axes[0] ^= t
                axes[k] ^= t
        q >>= 1
    axes[1] ^= axes[0]
    axes[2] ^= axes[1]
    t, q = 0, 1 << (depth - 1) if depth else 0
    while q > 1:
        if axes[2] & q:
            t ^= q - 1
        q >>= 1
    return z_index(*(axis ^ t for axis in axes), depth)


def curve_index(name, voxel, depth):
    x, y, z = voxel
    if name.endswith("-trans"):
        x, y = y, x
    return (z_index if name.startswith("z") else hilbert_index)(x, y, z, depth)


def patch_members(count, patch_size):
    """List for each place of a curve the places it attends to."""
    if count <= patch_size:
        return [list(range(count))] * count
    members = []
    for place in range(count):
        start = place - place % patch_size
        patch = list(range(start, min(start + patch_size, count)))
        borrowed = patch_size - len(patch)
        members.append(patch + list(range(start - borrowed, start)))
    return members


def as_voxels(batch):
    """List (cloud, (x, y, z)) of every voxel of a batch."""
    counts = batch["offset"].diff(prepend=torch.zeros(1, dtype=torch.long))
    cloud = torch.arange(len(counts)).repeat_interleave(counts)
    return list(zip(cloud.tolist(), map(tuple, batch["grid_coord"].tolist()), strict=True))


class PlainPTv3:
    """Logits in evaluation mode.

    `voxels` is a list of (cloud, (x, y, z)); `shuffles` one permutation of the curves a stage, each
    applied to what the stage before had.
    """

    def __init__(self, state, config, voxels, shuffles):
        self.state, self.config = state, config
        deepest = max(max(voxel) for _, voxel in voxels)
        depth = 0
        while (1 << depth) <= deepest + 1:
            depth += 1
        self.levels, self.parents, self.places = [list(voxels)], [], []
        full = {place: voxel for place, (_, voxel) in enumerate(voxels)}
        curves = list(config.orders)
        for stage, shuffle in enumerate(shuffles):
            if stage:
                fine = self.levels[-1]
                coarse = [(c, tuple(axis // 2 for axis in voxel)) for c, voxel in fine]
                first = curves[0]
                scale = stage if stage < depth else depth

                def along(row, scale=scale, first=first, fine=fine, full=full):
                    return fine[row][0], curve_index(first, full[row], depth) >> (3 * scale)

                rows = sorted(range(len(fine)), key=along)
                listed = list(dict.fromkeys(coarse[row] for row in rows))
                self.parents.append([listed.index(cell) for cell in coarse])
                full = {listed.index(coarse[row]): full[row] for row in rows}
                self.levels.append(listed)
            curves = [curves[k] for k in shuffle]
            scale = min(stage, depth)
            self.places.append(
                [
                    [curve_index(name, full[row], depth) >> (3 * scale) for row in range(len(full))]
                    for name in curves
                ]
            )

    def linear(self, name, feat):
        return feat @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def layer_norm(self, name, feat):
        mean = feat.mean(1, keepdim=True)
        variance = ((feat - mean) ** 2).mean(1, keepdim=True)
        scaled = (feat - mean) / torch.sqrt(variance + 1e-5)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def batch_norm_gelu(self, name, feat):
        s = self.state
        scaled = (feat - s[f"{name}.running_mean"]) / torch.sqrt(s[f"{name}.running_var"] + 1e-3)
        out = scaled * s[f"{name}.weight"] + s[f"{name}.bias"]
        return out * 0.5 * (1 + torch.erf(out / math.sqrt(2)))

    def convolution(self, name, feat, stage):
        weight = self.state[f"{name}.weight"]
        radius = weight.shape[1] // 2
        row_of = {voxel: row for row, voxel in enumerate(self.levels[stage])}
        reach = range(-radius, radius + 1)
        out = []
        for cloud, (x, y, z) in self.levels[stage]:
            total = torch.zeros(weight.shape[0], dtype=feat.dtype)
            for i, j, k in itertools.product(reach, reach, reach):
                other = row_of.get((cloud, (x + i, y + j, z + k)))
                if other is not None:
                    total += weight[:, i + radius, j + radius, k + radius] @ feat[other]
            out.append(total)
        bias = self.state.get(f"{name}.bias")
        return torch.stack(out) + (0 if bias is None else bias)

    def attention(self, name, feat, stage, block, heads):
        width = feat.shape[1] // heads
        q, k, v = self.linear(f"{name}.qkv", feat).split(feat.shape[1], dim=1)
        places = self.places[stage][self.curve(block)]
        out = torch.zeros_like(feat)
        for cloud in sorted({cloud for cloud, _ in self.levels[stage]}):
            rows = [row for row, (c, _) in enumerate(self.levels[stage]) if c == cloud]
            rows.sort(key=lambda row: places[row])
            members = patch_members(len(rows), self.patch_size(stage))
            for row, member in zip(rows, members, strict=True):
                seen = [rows[place] for place in member]
                for head in range(heads):
                    part = slice(head * width, (head + 1) * width)
                    scores = torch.stack(
                        [self.score(q[row, part], k[s, part], stage, row, s) for s in seen]
                    )
                    weights = torch.exp(scores / math.sqrt(self.divisor(width)))
                    out[row, part] = (weights / weights.sum()) @ v[seen, part]
        return self.linear(f"{name}.proj", out)

    def curve(self, block):
        return block % len(self.config.orders)

    def patch_size(self, stage):
        return self.config.patch_size

    def divisor(self, width):
        return width

    def score(self, query, key, stage, row, other):
        return query @ key

    def blocks(self, name, feat, seen, stage, side):
        heads = getattr(self.config, f"{side}_heads")[stage]
        for block in range(getattr(self.config, f"{side}_depths")[stage]):
            own = f"{name}.block{block}"
            position = self.linear(f"{own}.cpe.1", self.convolution(f"{own}.cpe.0", seen, stage))
            feat = feat + self.layer_norm(f"{own}.cpe.2", position)
            normed = self.layer_norm(f"{own}.norm1.0", feat)
            feat = feat + self.attention(f"{own}.attn", normed, stage, block, heads)
            hidden = self.linear(f"{own}.mlp.0.fc1", self.layer_norm(f"{own}.norm2.0", feat))
            branch = self.linear(f"{own}.mlp.0.fc2", F.gelu(hidden))
            feat = feat + branch
            seen = feat if self.config.cpe_input == "main" else branch
        return feat

    def logits(self, feat):
        config = self.config
        stem = "backbone.embedding.stem"
        feat = self.batch_norm_gelu(f"{stem}.norm", self.convolution(f"{stem}.conv", feat, 0))
        skips = []
        for stage in range(len(config.enc_depths)):
            name = f"backbone.enc.enc{stage}"
            if stage:
                projected = self.linear(f"{name}.down.proj", feat)
                parent = torch.tensor(self.parents[stage - 1])
                feat = torch.stack(
                    [projected[parent == row].amax(0) for row in range(len(self.levels[stage]))]
                )
                feat = self.between(f"{name}.down.norm.0", feat)
            feat = self.blocks(name, feat, feat, stage, "enc")
            skips.append(feat)
        for stage in range(len(config.dec_depths) - 1, -1, -1):
            name = f"backbone.dec.dec{stage}"
            up = self.between(f"{name}.up.proj.1", self.linear(f"{name}.up.proj.0", feat))
            skip = self.linear(f"{name}.up.proj_skip.0", skips[stage])
            skip = self.between(f"{name}.up.proj_skip.1", skip)
            total = skip + up[torch.tensor(self.parents[stage])]
            feat = self.blocks(name, total, skip, stage, "dec")
        return self.linear("seg_head", feat)

    def between(self, name, feat):
        """Norm and GELU of pooling and unpooling."""
        return self.batch_norm_gelu(name, feat)
