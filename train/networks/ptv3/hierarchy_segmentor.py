"""What PTv3 and LitePT share: a U-net of stages on halved grids, and a linear head on the finest.

Shape letters: N voxels, N_s at stage s, B clouds, C channels.
"""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from train.config import OptimConfig
from train.networks.protocol import (
    UNKNOWN_LOGIT,
    Network,
    NetworkOutput,
    NetworkSpec,
    StageHook,
)
from train.networks.ptv3.backbone import Backbone, Stage
from train.networks.ptv3.batch import check_shapes
from train.networks.ptv3.hierarchy import Hierarchy
from train.networks.ptv3.hierarchy_config import HierarchyConfig


class HierarchySegmentor(Network):
    """Backbone over a `Hierarchy`, and a linear head.

    Parameters
    ----------
    config
        The backbone.
    num_classes
        Logits per voxel.
    in_channels
        Channels of the input features.
    size
        The name in `sizes` that `config` was derived from.
    """

    network: ClassVar[str]
    """The name in the registry."""
    stage: ClassVar[type[Stage]]
    """What the backbone's stages are."""
    sizes: ClassVar[Mapping[str, HierarchyConfig]]
    """Configurations by name."""
    always_named: ClassVar[tuple[str, ...]] = ()
    """Fields of the configuration that every file names, whatever they are."""

    config: Any

    def __init__(
        self, config: HierarchyConfig, num_classes: int, in_channels: int = 4, *, size: str
    ) -> None:
        for name, number in (("num_classes", num_classes), ("in_channels", in_channels)):
            if number < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {number}, must be at least 1")
        super().__init__()
        self.config = self._stages = config
        self.num_classes, self.in_channels, self.size = num_classes, in_channels, size
        # The backbone's weights are drawn first, but the head is listed first: the order in which
        # official checkpoints list their keys.
        backbone = Backbone(config, in_channels, self.stage)
        self.seg_head = nn.Linear(config.dec_channels[0], num_classes)
        self.backbone = backbone
        self._known: tuple[bool, ...] | None = None

    @property
    def encoder_stages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the encoder's stages in the order in which they run, finest first."""
        return tuple(f"enc{stage}" for stage in range(self._stages.num_stages))

    @property
    def decoder_stages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the decoder's stages in the order in which they run, coarsest first."""
        return tuple(f"dec{stage}" for stage in reversed(range(self._stages.num_stages - 1)))

    @property
    def stage_channels(self) -> dict[str, int]:
        """The width of every stage."""
        encoder = dict(zip(self.encoder_stages, self._stages.enc_channels, strict=True))
        decoder = {f"dec{s}": width for s, width in enumerate(self._stages.dec_channels)}
        return {**encoder, **decoder}

    @property
    def coarsest_cell_voxels(self) -> int:  # type: ignore[override]
        """Each stage but the first doubles the edge of the cells."""
        return int(2 ** (self._stages.num_stages - 1))

    @property
    def voxel_key(self) -> Hashable:
        """The grids of all such networks are halved alike, whatever their curves."""
        return ("halved grids", self._stages.num_stages)

    @property
    def known_classes(self) -> tuple[bool, ...]:
        """Which classes the head has learned; see `select_classes`."""
        if self._known is None:
            bias = self.seg_head.bias.detach().float().cpu()
            self._known = tuple(bool(value > UNKNOWN_LOGIT / 2) for value in bias)
        return self._known

    def select_classes(self, columns: Sequence[int | None]) -> None:
        """Put the head's classes in another order; a class given as None is never predicted."""
        for column in columns:
            if column is not None and not 0 <= column < self.num_classes:
                raise ValueError(
                    f"select_classes: column {column} is none of {self.num_classes} classes"
                )
        old = self.seg_head
        with torch.random.fork_rng(devices=[]):  # its first weights are not drawn for a run
            head = nn.Linear(old.in_features, len(columns)).to(old.weight)
        with torch.no_grad():
            for place, column in enumerate(columns):
                head.weight[place] = 0.0 if column is None else old.weight[column]
                head.bias[place] = UNKNOWN_LOGIT if column is None else old.bias[column]
        self.seg_head, self.num_classes, self._known = head, len(columns), None

    def learn_unknown_classes(self) -> None:
        """Begin unknown classes at a logit of 0."""
        bias = self.seg_head.bias
        with torch.no_grad():
            bias[bias < UNKNOWN_LOGIT / 2] = 0.0
        self._known = None

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Load weights, as torch does; which classes are known is looked up again."""
        self._known = None
        return super().load_state_dict(*arguments, **options)

    def parameter_groups(self, optim: OptimConfig) -> list[dict[str, Any]]:
        """Return two groups: all but the blocks, and the blocks."""
        named = list(self.named_parameters())
        return [
            {"params": [p for name, p in named if ".block" not in name], "lr": optim.lr},
            {"params": [p for name, p in named if ".block" in name], "lr": optim.block_lr},
        ]

    def spec(self) -> NetworkSpec:
        """Return the size by name, and what of it was overridden and belongs to the weights.

        What a file of the user's built may be more than its size says: the file builds it again.
        """
        if self.built_from is not None:
            return replace(self.built_from, num_classes=self.num_classes)
        usual = self.sizes[self.size]
        # How attention and convolution are computed changes no weight.
        overrides = {
            field.name: getattr(self.config, field.name)
            for field in fields(self.config)
            if field.name not in ("attention", "convolution")
            and (
                field.name in self.always_named
                or getattr(self.config, field.name) != getattr(usual, field.name)
            )
        }
        return NetworkSpec(self.network, self.size, self.num_classes, self.in_channels, overrides)

    @property
    def shuffles(self) -> bool:
        """Whether a hierarchy that is built now gets its curves in a drawn order."""
        shuffle = self.config.shuffle_orders
        return bool(shuffle == "always" or (shuffle == "training" and self.training))

    @abstractmethod
    def prepare(self, batch: Mapping[str, Tensor]) -> Hierarchy:
        """Build the hierarchy that this network uses if given none."""

    def prepare_whole(self, batch: Mapping[str, Tensor]) -> Hierarchy:
        """Return what `prepare` does with every table that `forward` reads, so that none is left.

        They are otherwise made on first use, and kept.
        """
        hierarchy = self.prepare(batch)
        hierarchy.table(0, 5)
        for stage in range(self._stages.num_stages):
            if any(self._stages.parts(side, stage)[0] for side in ("enc", "dec")):
                hierarchy.table(stage, 3)
            for curve in range(self._stages.num_curves(stage)):
                hierarchy.patches(stage, curve, self._stages.patch_size)
        return hierarchy

    def prepare_on(self, geometry: Any, batch: Mapping[str, Tensor]) -> Hierarchy | None:
        """Return this network's curves over the rows of another's hierarchy."""
        del batch
        if not isinstance(geometry, Hierarchy) or len(geometry.levels) != self._stages.num_stages:
            return None
        return self.with_own_curves(geometry)

    @abstractmethod
    def with_own_curves(self, hierarchy: Hierarchy) -> Hierarchy:
        """Return a hierarchy of as many stages with the curves that this network attends along."""

    @abstractmethod
    def curves_of(self, hierarchy: Hierarchy) -> tuple[tuple[str, object, object], ...]:
        """Return what is compared of a hierarchy's curves: a word, what it has, what is needed."""

    def forward(
        self,
        batch: Mapping[str, Tensor],
        geometry: Hierarchy | None = None,
        *,
        stage_hook: StageHook | None = None,
    ) -> NetworkOutput:
        """Return logits and the features of every stage.

        Parameters
        ----------
        batch
            `feat` [N, in_channels], `coord` [N, 3], `grid_coord` [N, 3], `offset` [B].
        geometry
            From `prepare` or `build_hierarchy` on the same batch; hand one to several networks so
            that their stages list the same voxels in the same order. Built here if None. Values of
            the batch are checked where it is built, shapes here too.
        stage_hook
            Called with each stage's name and output; what it returns takes the output's place in
            the network and in the result.

        Returns
        -------
        NetworkOutput
            Features of ``"stem"``, ``"enc0"``.., then the decoder from the coarsest to ``"dec0"``;
            nothing later changes these tensors.

        Raises
        ------
        ValueError
            If the batch is malformed, the geometry belongs to another batch or network, or batch
            normalization would have to train on a stage with a single voxel.
        """
        caller = f"{type(self).__name__}.forward"
        num_voxels = check_shapes(batch, caller)
        if batch["feat"].shape[1] != self.in_channels:
            raise ValueError(
                f"{caller}: feat has {batch['feat'].shape[1]} channels, this network"
                f" takes {self.in_channels}"
            )
        hierarchy = self.prepare(batch) if geometry is None else geometry
        self._check_fit(hierarchy, num_voxels, len(batch["offset"]), caller)
        if geometry is not None:
            _check_same_voxels(geometry, batch["grid_coord"], caller)
        stages = self.backbone(batch["feat"], hierarchy, stage_hook)
        logits: Tensor = self.seg_head(stages[self.decoder_stages[-1]])
        offsets = {name: hierarchy.stage_offset(name) for name in stages}
        return NetworkOutput(logits, stages, offsets)

    def _check_fit(
        self, hierarchy: Hierarchy, num_voxels: int, num_clouds: int, caller: str
    ) -> None:
        finest, num_stages = hierarchy.levels[0], self._stages.num_stages
        facts: list[tuple[str, object, object]] = [("stages", len(hierarchy.levels), num_stages)]
        if len(hierarchy.levels) == num_stages:
            facts += self.curves_of(hierarchy)
        facts += [
            ("voxels", finest.num_voxels, num_voxels),
            ("clouds", len(finest.counts), num_clouds),
        ]
        for what, has, needs in facts:
            if has != needs:
                raise ValueError(
                    f"{caller}: hierarchy does not fit: {what} {has}, needs {needs};"
                    " build it from this batch with this network's settings"
                )
        if self.training:
            for stage, level in enumerate(hierarchy.levels):
                if level.num_voxels == 1:
                    raise ValueError(
                        f"{caller}: stage enc{stage} has a single voxel in the whole"
                        " batch, on which batch normalization cannot train; use larger crops or"
                        " more clouds a batch"
                    )


def _check_same_voxels(hierarchy: Hierarchy, grid_coord: Tensor, caller: str) -> None:
    """Refuse a hierarchy of as many voxels that lie elsewhere."""
    known = hierarchy.levels[0].grid_coord
    # The same tensor (int64 is kept as it is) needs no look at values, for which on a GPU the host
    # would wait.
    if known is not grid_coord and not torch.equal(known, grid_coord.long()):
        raise ValueError(
            f"{caller}: hierarchy does not fit: it was built from other voxels; build it"
            " from this batch"
        )
