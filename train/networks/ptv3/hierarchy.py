"""All that a batch's geometry decides and no weight changes: shared by teacher and student.

Shape letters: B clouds, N_s voxels at stage s, R curves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from fast.rows import sum_rows
from train.networks.ptv3.batch import BatchMetadata, check_batch
from train.networks.ptv3.conv_backends import ConvBackend, Neighbors
from train.networks.ptv3.convolution_spconv import SpconvSites, spconv_sites
from train.networks.ptv3.neighbors import NeighborTable, neighbor_table
from train.networks.ptv3.patches import PatchRows, patch_rows
from train.networks.ptv3.serialization import MAX_DEPTH, ORDERS, DepthRule, curve_depth, serialize

CurveRule = DepthRule | Literal["each-stage"]
"""What gives curves their depth: the indices of stage 0 (see `curve_depth`), halved with them; or
each stage's own indices, by the rule "main", as in LitePT."""


@dataclass(frozen=True)
class Level:
    """The voxels of one stage.

    Attributes
    ----------
    grid_coord
        [N_s, 3] int64 voxel indices at this stage's resolution.
    coord
        [N_s, 3] meters, mean of the finer stage's coordinates.
    batch
        [N_s] int64 cloud of each voxel, not decreasing.
    offset
        [B] int64 cumulative ends of the clouds.
    counts
        Voxels of each cloud, on the host.
    code
        [R, N_s] packed curve codes, rows in the (shuffled) order in which blocks use them.
    order, inverse
        [R, N_s] rows sorted along each curve, and the place of each row on it.
    cluster
        [N_{s-1}] row of this stage that each voxel of the finer stage is pooled into; None at
        stage 0.
    """

    grid_coord: Tensor
    coord: Tensor
    batch: Tensor
    offset: Tensor
    counts: tuple[int, ...]
    code: Tensor
    order: Tensor
    inverse: Tensor
    cluster: Tensor | None

    @property
    def num_voxels(self) -> int:
        """Rows of this stage."""
        return sum(self.counts)


class Hierarchy:
    """The levels of a batch, with neighbor and patch tables made on first use and then kept.

    Attributes
    ----------
    levels
        One a stage, fine to coarse.
    depth_rule
        The rule that gave the curves their depth; `CurveRule`.
    """

    def __init__(
        self,
        levels: tuple[Level, ...],
        depth_rule: CurveRule,
        max_grid_coord: int | None = None,
    ) -> None:
        self.levels = levels
        self.depth_rule = depth_rule
        self._max_grid_coord = max_grid_coord
        self._tables: dict[tuple[int, int], NeighborTable] = {}
        self._sites: dict[int, SpconvSites] = {}
        self._patches: dict[tuple[int, int, int], PatchRows] = {}

    def __repr__(self) -> str:
        sizes = " > ".join(str(level.num_voxels) for level in self.levels)
        return f"Hierarchy({len(self.levels[0].counts)} clouds, voxels {sizes})"

    @property
    def max_grid_coord(self) -> int:
        """Largest voxel index of the batch at stage 0, over all axes."""
        if self._max_grid_coord is None:
            self._max_grid_coord = int(self.levels[0].grid_coord.max())
        return self._max_grid_coord

    def with_curves(
        self,
        orders: tuple[str, ...],
        depths: Sequence[int | None],
        depth_rule: CurveRule,
        *,
        shuffle_orders: bool = False,
        generator: torch.Generator | None = None,
    ) -> "Hierarchy":
        """Return the same rows along other curves, for a network that cuts its patches by those.

        Row i of a stage stays the same voxel, and tables of neighbors are shared.

        Parameters
        ----------
        orders
            Curves of every stage.
        depths
            Bits an axis of each stage's curves; None leaves a stage's curves as they are.
        depth_rule
            What gave those depths.
        shuffle_orders, generator
            Permute the curves of each stage that gets new ones; see `build_hierarchy`.

        Raises
        ------
        ValueError
            If there are not as many depths as levels.
        """
        levels = []
        for level, depth in zip(self.levels, depths, strict=True):
            if depth is None:
                levels.append(level)
                continue
            code = serialize(level.grid_coord, level.batch, depth, orders)
            code = _shuffled(code, shuffle_orders, generator)
            order, inverse = _sorted(code)
            levels.append(replace(level, code=code, order=order, inverse=inverse))
        made = Hierarchy(tuple(levels), depth_rule, self._max_grid_coord)
        made._tables, made._sites = self._tables, self._sites
        return made

    def stage_level(self, name: str) -> Level:
        """Return the level of a stage: ``"stem"``, ``"enc0"``.., ``"dec0"``.."""
        return self.levels[self._stage_index(name)]

    def stage_offset(self, name: str) -> Tensor:
        """Return the [B] cumulative ends of the clouds at a stage, by the stage's name."""
        return self.stage_level(name).offset

    def neighbors(self, stage: int, kernel_size: int, form: ConvBackend) -> Neighbors:
        """Return what a form of convolution reads its neighbors from, see `table`."""
        return self.table(stage, kernel_size) if form == "torch" else self.sites(stage)

    def table(self, stage: int, kernel_size: int) -> NeighborTable:
        """Return the neighbors within a cube at a stage; one table serves all its layers."""
        key = (stage, kernel_size)
        if key not in self._tables:
            larger = [k for s, k in self._tables if s == stage and k > kernel_size]
            if larger:
                self._tables[key] = self._tables[(stage, min(larger))].inner(kernel_size)
            else:
                level = self.levels[stage]
                self._tables[key] = neighbor_table(level.grid_coord, level.batch, kernel_size)
        return self._tables[key]

    def sites(self, stage: int) -> SpconvSites:
        """Return a stage's voxels as spconv takes them, with the neighbors it has found so far."""
        if stage not in self._sites:
            level = self.levels[stage]
            self._sites[stage] = spconv_sites(level.grid_coord, level.batch, len(level.counts))
        return self._sites[stage]

    def patches(self, stage: int, curve: int, patch_size: int) -> PatchRows:
        """Return the patches of a curve (row of `Level.order`) at a stage."""
        key = (stage, curve, patch_size)
        if key not in self._patches:
            level = self.levels[stage]
            self._patches[key] = patch_rows(
                level.order[curve], level.inverse[curve], level.counts, patch_size
            )
        return self._patches[key]

    def _stage_index(self, name: str) -> int:
        if name == "stem":
            return 0
        index = name[3:]
        is_known = name[:3] in ("enc", "dec") and index.isdecimal()
        if not is_known or int(index) >= len(self.levels):
            raise ValueError(
                f"Hierarchy: {name!r} is no stage of a network with {len(self.levels)} levels;"
                " stages are 'stem', 'enc0'.., 'dec0'.."
            )
        return int(index)


def build_hierarchy(
    batch: Mapping[str, Tensor],
    *,
    num_stages: int = 5,
    orders: tuple[str, ...] = ORDERS,
    shuffle_orders: bool = False,
    generator: torch.Generator | None = None,
    depth_rule: DepthRule = "main",
) -> Hierarchy:
    """Serialize a batch and pool it down to the coarsest stage.

    Parameters
    ----------
    batch
        `feat` [N, C], `coord` [N, 3] meters, `grid_coord` [N, 3] whole numbers from 0 in each
        cloud, `offset` [B] cumulative ends; other keys are ignored.
    num_stages
        Stages of the network; each but the first halves the resolution.
    orders
        Curves, see `train.networks.ptv3.serialization.ORDERS`.
    shuffle_orders
        Permute the curves once at the input and once at each pooling, as PTv3 does in training.
    generator
        CPU generator of those permutations; torch's default one if None.
    depth_rule
        See `train.networks.ptv3.serialization.curve_depth`.

    Returns
    -------
    Hierarchy
        Rows of stage 0 are the batch's. Rows of a pooled stage are sorted along the first of the
        finer stage's (shuffled) curves.

    Raises
    ------
    ValueError
        If the batch is malformed or too large for the curves.
    """
    if num_stages < 1:
        raise ValueError(f"build_hierarchy: num_stages is {num_stages}, must be at least 1")
    facts = check_batch(batch, "build_hierarchy")
    depth = _checked_depth(facts, depth_rule)
    grid_coord = batch["grid_coord"].long()
    counts = torch.tensor(facts.counts)
    cloud = torch.repeat_interleave(torch.arange(len(facts.counts)), counts).to(grid_coord.device)
    code = serialize(grid_coord, cloud, depth, orders)
    level = _level(
        grid_coord,
        batch["coord"],
        cloud,
        batch["offset"].long(),
        facts.counts,
        _shuffled(code, shuffle_orders, generator),
        None,
    )
    levels = [level]
    for _ in range(1, num_stages):
        # Once the curve has a single cell left there is nothing more to halve.
        shift = 1 if depth > 0 else 0
        depth -= shift
        level = _pooled(level, shift, shuffle_orders, generator)
        levels.append(level)
    return Hierarchy(tuple(levels), depth_rule, facts.max_grid_coord)


def _checked_depth(facts: BatchMetadata, rule: DepthRule) -> int:
    depth = curve_depth(facts.max_grid_coord, rule)
    if depth > MAX_DEPTH:
        largest = (1 << MAX_DEPTH) - (2 if rule == "main" else 1)
        raise ValueError(
            f"build_hierarchy: grid_coord reaches {facts.max_grid_coord}, the curves end at"
            f" {largest}; the batch is {facts.extent_m:.6g} m long, which needs a grid of at least"
            f" {facts.extent_m / largest:.3g} m (or drop the points far away)"
        )
    num_clouds = len(facts.counts)
    if 3 * depth + num_clouds.bit_length() > 63:
        raise ValueError(
            f"build_hierarchy: {num_clouds} clouds of depth {depth} do not fit a 63-bit code;"
            " use fewer clouds a batch or a coarser grid"
        )
    return depth


def _shuffled(code: Tensor, shuffle: bool, generator: torch.Generator | None) -> Tensor:
    if not shuffle:
        return code
    # One draw on the CPU whatever the device, as the official code does.
    return code[torch.randperm(code.shape[0], generator=generator).to(code.device)]


def _sorted(code: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows along each curve, and the place of each row on it."""
    order = torch.argsort(code, dim=1, stable=True)
    place = torch.arange(code.shape[1], device=code.device).expand_as(order)
    return order, torch.empty_like(order).scatter_(1, order, place)


def _level(
    grid_coord: Tensor,
    coord: Tensor,
    cloud: Tensor,
    offset: Tensor,
    counts: tuple[int, ...],
    code: Tensor,
    cluster: Tensor | None,
) -> Level:
    order, inverse = _sorted(code)
    return Level(grid_coord, coord, cloud, offset, counts, code, order, inverse, cluster)


def _pooled(fine: Level, shift: int, shuffle: bool, generator: torch.Generator | None) -> Level:
    """Merge the voxels that share a cell twice as wide (curves are hierarchical: a code prefix)."""
    along = fine.order[0]
    cell = fine.code[0, along] >> (3 * shift)
    starts_cell = torch.ones_like(cell, dtype=torch.bool)
    starts_cell[1:] = cell[1:] != cell[:-1]
    cell_index = torch.cumsum(starts_cell, 0) - 1
    cluster = torch.empty_like(along).scatter_(0, along, cell_index)
    # Clouds follow each other along a curve, so each ends with the cell of its last voxel. These
    # sizes are all that reaches the host.
    offset = cell_index[fine.offset - 1] + 1
    ends = offset.tolist()
    counts = tuple(end - start for start, end in zip([0, *ends[:-1]], ends, strict=True))
    num_cells = ends[-1]
    first = torch.searchsorted(cell_index, torch.arange(num_cells, device=cell_index.device))
    member = along[first]  # one voxel of each cell; they agree on all that is taken from it
    size = first.new_full((num_cells,), along.shape[0])
    size[:-1] = first[1:]
    size -= first
    total = sum_rows(fine.coord, cluster, num_cells)
    return _level(
        fine.grid_coord[member] >> shift,
        total / size.unsqueeze(1),
        fine.batch[member],
        offset,
        counts,
        _shuffled(fine.code[:, member] >> (3 * shift), shuffle, generator),
        cluster,
    )
