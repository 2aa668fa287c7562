"""What a network offers to be trained, distilled, scored and saved here.

Shape letters: N voxels, N_s at stage s, B clouds, C channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from torch import Tensor, nn

from train.config import OptimConfig
from train.core.errors import UserError

UNKNOWN_LOGIT: Final = -1e4
"""The logit of a class that a network never learned: its probability is 0 in every dtype."""

StageHook = Callable[[str, Tensor], Tensor]
"""Called with a stage's name and output; what it returns takes the output's place."""


@dataclass(frozen=True)
class NetworkOutput:
    """What a forward pass returns.

    Attributes
    ----------
    logits
        [N, classes].
    features
        Each stage's output [N_s, C_s] by name. The last decoder stage has the batch's voxels in the
        batch's order.
    offsets
        [B] int64 by stage: where each cloud ends among the stage's rows.
    """

    logits: Tensor
    features: dict[str, Tensor]
    offsets: dict[str, Tensor]


@dataclass(frozen=True)
class NetworkSpec:
    """Enough to build a network again, as plain values for a file.

    Attributes
    ----------
    network
        A name of `train.networks.registry.NETWORKS`.
    size
        One of the sizes that this network has.
    num_classes, in_channels
        Its output and input widths.
    overrides
        Further options of its builder.
    """

    network: str
    size: str
    num_classes: int
    in_channels: int
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Network(nn.Module, ABC):
    """A point cloud segmentation network.

    Attributes
    ----------
    num_classes, in_channels
        Widths of output and input.
    encoder_stages, decoder_stages
        Names of the stages whose features a method may ask for, in the order in which they run. The
        last decoder stage feeds the classifier, at the batch's voxels; there is at least one.
    coarsest_cell_voxels
        Edge, in voxels, of the cells of the coarsest stage: a batch normalization there cannot
        train on a cloud that lies within one cell.
    """

    num_classes: int
    in_channels: int
    encoder_stages: tuple[str, ...] = ()
    decoder_stages: tuple[str, ...]
    coarsest_cell_voxels: int = 1
    built_from: NetworkSpec | None = None

    @abstractmethod
    def forward(
        self,
        batch: Mapping[str, Tensor],
        geometry: Any = None,
        *,
        stage_hook: StageHook | None = None,
    ) -> NetworkOutput:
        """Return logits and the features of every stage.

        Parameters
        ----------
        batch
            `feat` [N, in_channels], `coord` [N, 3] meters, `grid_coord` [N, 3] int64, `offset`
            [B] int64.
        geometry
            From `prepare` on the same batch; prepared here if None.
        stage_hook
            Called with each stage's name and output; what it returns takes the output's place in
            the network and in the result.
        """

    def spec(self) -> NetworkSpec:
        """Return what `train.networks.registry.build_network` builds this network from.

        A network of the registry says it itself. One from a file of the user's need not:
        `build_network` has noted it.
        """
        if self.built_from is None:
            raise NotImplementedError(
                f"{type(self).__name__}.spec: say what builds this network, or let build_network"
                " build it"
            )
        return self.built_from

    @property
    @abstractmethod
    def stage_channels(self) -> dict[str, int]:
        """The width C_s of every stage, for methods whose adapters need it."""

    def prepare(self, batch: Mapping[str, Tensor]) -> Any:
        """Return what only the batch's geometry decides, such as neighbors; None if nothing."""
        del batch

    @property
    def geometry_key(self) -> Hashable:
        """Networks with equal keys can share what `prepare` returns: equal rows, equal voxels."""
        return None

    def prepare_on(self, geometry: Any, batch: Mapping[str, Tensor]) -> Any:
        """Return what `prepare` does, with rows listed as in another network's geometry.

        Parameters
        ----------
        geometry
            What a network of equal `voxel_key` has prepared.
        batch
            The batch it was prepared from.

        Returns
        -------
        Any
            None if that cannot be done: then rows of equal stages are other voxels.
        """
        del geometry, batch

    @property
    def voxel_key(self) -> Hashable:
        """Networks with equal keys have the same voxels at stages of one name; None: nobody knows.

        Their `prepare_on` lists them in one order.
        """
        return None

    @property
    def known_classes(self) -> tuple[bool, ...] | None:
        """Which classes the network has learned; None for all."""
        return None

    def select_classes(self, columns: Sequence[int | None]) -> None:
        """Let logit i be that of the class that was columns[i]; None: one it does not know.

        Raises
        ------
        UserError
            If the network has no such thing.
        """
        raise UserError(
            f"{type(self).__name__} cannot put its classes in another order; give it a method "
            "select_classes (see docs/guides/own_network.md), or a network with the dataset's"
        )

    def learn_unknown_classes(self) -> None:
        """Let classes that `select_classes` made unknown be learned, if there are any."""
        if self.known_classes is not None and not all(self.known_classes):
            raise UserError(
                f"{type(self).__name__} cannot learn the classes that it does not know; give it a "
                "method learn_unknown_classes"
            )

    def parameter_groups(self, optim: OptimConfig) -> list[dict[str, Any]]:
        """Return the optimizer's groups, each with "params" and its peak rate "lr"."""
        return [{"params": list(self.parameters()), "lr": optim.lr}]

    def describe(self) -> str:
        """Return one line that says what this network is."""
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"{type(self).__name__}, {count:,} parameters, {self.num_classes} classes"


def prepare_pair(
    student: Network, teacher: Network, batch: Mapping[str, Tensor]
) -> tuple[Any, Any]:
    """Return the geometry of the student and of the teacher, shared where that is possible.

    Row i of every stage is then the same voxel in both networks; see `lists_same_voxels`.
    """
    geometry = student.prepare(batch)
    if student.geometry_key == teacher.geometry_key:
        return geometry, geometry
    shared = None
    if lists_same_voxels(student, teacher):
        shared = teacher.prepare_on(geometry, batch)
    return geometry, teacher.prepare(batch) if shared is None else shared


def lists_same_voxels(student: Network, teacher: Network) -> bool:
    """Return whether stages of one name have the same voxels in both, in one order.

    The last decoder stage has the batch's voxels in every network, whatever its name.
    """
    key = student.geometry_key
    if key == teacher.geometry_key:
        return key is not None or type(student) is type(teacher)
    return student.voxel_key is not None and student.voxel_key == teacher.voxel_key
