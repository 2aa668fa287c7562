"""Count a network's multiply-accumulates by stage and by kind of work, from its configuration.

A multiply-accumulate (MAC) is one product and one sum; a matrix product of [N, I] and [I, O] has
N I O of them. Norms, activations, sums, maxima and copies have none and are not counted.

Shape letters: N_s voxels at stage s, C channels, K voxels of a patch.
"""

from dataclasses import dataclass
from typing import Literal

from train.networks.ptv3.hierarchy import Hierarchy
from train.networks.ptv3.hierarchy_config import HierarchyConfig
from train.networks.ptv3.sizes import SIZES

Counts = dict[str, dict[str, int]]
"""MACs by stage ("stem", "enc0".., "dec0", "head") and part (the names of `PARTS`)."""

PARTS = {
    "stem": "stem convolution (5 x 5 x 5)",
    "position_convolution": "position encoding, convolution (3 x 3 x 3)",
    "position_linear": "position encoding, linear",
    "attention_projections": "attention, Q K V and output projections",
    "attention_scores": "attention, scores and weighted sums",
    "MLP": "MLP",
    "pooling": "pooling, linear",
    "skip_projection": "unpooling, skip projection",
    "up_projection": "unpooling, projection of the coarse features",
    "head": "head",
}
"""What each part is called on a page."""

BLOCK_PARTS = ("position_convolution", "position_linear", "attention_projections", "MLP")

PAPER_PARTS = (*BLOCK_PARTS, "stem", "skip_projection")
"""What a profile near that of the ruling has to count to give Table 8's totals."""


@dataclass(frozen=True)
class Geometry:
    """What a frame adds to the count; all tuples run from stage 0.

    Attributes
    ----------
    voxels
        N_s.
    pairs
        Pairs of a voxel and an active neighbor within 3 x 3 x 3, itself included.
    stem_pairs
        The same within 5 x 5 x 5 at stage 0.
    scores
        Pairs of a query and a key in one block's attention, borrowed voxels included.
    """

    voxels: tuple[int, ...]
    pairs: tuple[int, ...]
    stem_pairs: int
    scores: tuple[int, ...]


def paper_geometry(voxels: tuple[int, ...]) -> Geometry:
    """Return the geometry of the paper's convention: every neighbor is there, no scores."""
    return Geometry(
        voxels=voxels,
        pairs=tuple(27 * count for count in voxels),
        stem_pairs=125 * voxels[0],
        scores=(0,) * len(voxels),
    )


def geometry_of(hierarchy: Hierarchy, patch_size: int) -> Geometry:
    """Return what a batch really has.

    Parameters
    ----------
    hierarchy
        From `build_hierarchy`.
    patch_size
        Of the network.
    """
    levels = range(len(hierarchy.levels))
    voxels = tuple(level.num_voxels for level in hierarchy.levels)
    stem_pairs = hierarchy.table(0, 5).num_pairs + voxels[0]
    scores = []
    for stage in levels:
        patches = hierarchy.patches(stage, 0, patch_size)  # all curves are cut alike
        full = patches.num_full * patches.patch_size**2
        scores.append(full + sum(size**2 for size in patches.short_sizes))
    return Geometry(
        voxels=voxels,
        pairs=tuple(hierarchy.table(stage, 3).num_pairs + voxels[stage] for stage in levels),
        stem_pairs=stem_pairs,
        scores=tuple(scores),
    )


def count_operations(
    config: HierarchyConfig,
    geometry: Geometry,
    *,
    in_channels: int,
    num_classes: int,
) -> Counts:
    """Return the MACs of one forward pass.

    Parameters
    ----------
    config
        The network.
    geometry
        The frame; as many stages as the network.
    in_channels, num_classes
        Of the network's input and of its head.

    Raises
    ------
    ValueError
        If the numbers of stages differ.
    """
    if len(geometry.voxels) != config.num_stages:
        raise ValueError(
            f"count_operations: geometry has {len(geometry.voxels)} stages, config has"
            f" {config.num_stages}; build both for the same network"
        )
    voxels, widths = geometry.voxels, config.enc_channels
    counts: Counts = {"stem": {"stem": geometry.stem_pairs * in_channels * widths[0]}}
    for stage, width in enumerate(widths):
        parts = _blocks(config, geometry, stage, width, "enc")
        if stage:
            parts["pooling"] = voxels[stage - 1] * widths[stage - 1] * width
        counts[f"enc{stage}"] = parts
    coarse = widths[-1]
    for stage in reversed(range(config.num_stages - 1)):
        width = config.dec_channels[stage]
        parts = _blocks(config, geometry, stage, width, "dec")
        parts["skip_projection"] = voxels[stage] * widths[stage] * width
        parts["up_projection"] = voxels[stage + 1] * coarse * width
        counts[f"dec{stage}"] = parts
        coarse = width
    counts["head"] = {"head": voxels[0] * coarse * num_classes}
    return counts


def _blocks(
    config: HierarchyConfig,
    geometry: Geometry,
    stage: int,
    width: int,
    side: Literal["enc", "dec"],
) -> dict[str, int]:
    """Count the blocks of one stage; LitePT's have a convolution, attention, or both."""
    has_conv, has_attention = config.parts(side, stage)
    depth = config.depth(side, stage)
    square = depth * width**2
    rows = geometry.voxels[stage]
    parts: dict[str, int] = {}
    if has_conv:
        parts["position_convolution"] = geometry.pairs[stage] * square
        parts["position_linear"] = rows * square
    if has_attention:
        parts["attention_projections"] = 4 * rows * square
        parts["attention_scores"] = 2 * geometry.scores[stage] * depth * width
        parts["MLP"] = 2 * config.mlp_ratio * rows * square
    return parts


def total(
    counts: Counts, *, stages: tuple[str, ...] = (), parts: tuple[str, ...] = tuple(PARTS)
) -> int:
    """Add up the MACs of some parts.

    Parameters
    ----------
    counts
        From `count_operations`.
    stages
        Beginnings of the stages' names, e.g. ``("stem", "enc")``; empty for all.
    parts
        Names of `PARTS`; all of them by default.
    """
    return sum(
        macs
        for stage, of_stage in counts.items()
        if not stages or stage.startswith(stages)
        for part, macs in of_stage.items()
        if part in parts
    )


ENCODER, DECODER = ("stem", "enc"), ("dec",)


@dataclass(frozen=True)
class Convention:
    """A way of counting and the voxels a stage with which it gives Table 8's totals."""

    parts: tuple[str, ...]
    voxels: tuple[int, ...]


CONVENTIONS = {
    "blocks, stem, skip projections": Convention(
        PAPER_PARTS, (33_340, 24_007, 23_927, 12_382, 6_819)
    ),
    "every layer but the head": Convention(
        (*PAPER_PARTS, "pooling", "up_projection"), (26_789, 25_560, 24_331, 12_291, 6_741)
    ),
}
"""Two answers to the same question: four totals do not determine five stages and a convention."""

PAPER_TOTALS = {
    "teacher": {"encoder": 380.25, "decoder": 116.44, "attention": 22.58},
    "student": {"encoder": 10.36, "decoder": 33.45, "attention": 0.60},
}
"""Table 8: "Encoder GFLOPs", "Decoder GFLOPs", "Attention Compute (Encoder)"."""


def convention_totals(convention: Convention, size: str) -> dict[str, float]:
    """Return Table 8's three totals of a network by a convention, in units of 10^9 MAC.

    Parameters
    ----------
    convention
        What to count, on how many voxels; all 27 neighbors are there.
    size
        Name of the network.
    """
    counts = count_operations(
        SIZES[size], paper_geometry(convention.voxels), in_channels=4, num_classes=16
    )
    macs = {
        "encoder": total(counts, stages=ENCODER, parts=convention.parts),
        "decoder": total(counts, stages=DECODER, parts=convention.parts),
        "attention": total(counts, stages=ENCODER, parts=("attention_projections",)),
    }
    return {name: count / 1e9 for name, count in macs.items()}
