"""What defines PTv3 and LitePT alike: stages, widths, curves, and implementations."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from train.networks.ptv3.attention import ATTENTION_FORMS, AttentionForm
from train.networks.ptv3.conv_backends import CONV_BACKENDS, ConvBackend
from train.networks.ptv3.serialization import ORDERS

ShuffleOrders = Literal["training", "always", "never"]
SHUFFLE_ORDERS = ("training", "always", "never")


@dataclass(frozen=True, kw_only=True)
class HierarchyConfig:
    """What defines a network over a `Hierarchy`, widths of input and output aside.

    Tuples run from stage 0.

    Attributes
    ----------
    enc_depths, enc_channels
        Blocks and width of each encoder stage; the stem has the first width.
    dec_depths, dec_channels
        The same for the decoder, one stage fewer; with a depth of 0 a stage unpools alone.
    patch_size
        Voxels that attend to each other, at all stages.
    mlp_ratio
        Hidden width of the MLPs over the stage's width.
    drop_path
        Largest drop-path rate; rates rise linearly over the encoder and with coarseness over the
        decoder.
    batch_norm_momentum
        Share of a step's statistics in the running ones: running = (1 - m) old + m new.
    orders
        Space-filling curves; block i of a stage uses curve i modulo their number.
    shuffle_orders
        When a network that builds its own hierarchy permutes the curves: the official codes do
        ``"always"``, which makes inference random; the default does not in evaluation.
    attention
        ``"sdpa"``, ``"flash"`` or ``"plain"``; see `SerializedAttention`.
    convolution
        ``"torch"``: our own; ``"spconv"``: that package's; see `make_convolution`.

    Raises
    ------
    ValueError
        If a tuple has not an entry per stage, or a value is out of range.
    """

    enc_depths: tuple[int, ...]
    enc_channels: tuple[int, ...]
    dec_depths: tuple[int, ...]
    dec_channels: tuple[int, ...]
    patch_size: int = 1024
    mlp_ratio: int = 4
    drop_path: float = 0.3
    batch_norm_momentum: float = 0.01
    orders: tuple[str, ...] = ORDERS
    shuffle_orders: ShuffleOrders = "training"
    attention: AttentionForm = "sdpa"
    convolution: ConvBackend = "torch"

    def __post_init__(self) -> None:
        network = type(self).__name__
        for field in fields(self):
            side = field.name.partition("_")[0]
            if side not in ("enc", "dec"):
                continue
            stages = self.num_stages - (side == "dec")
            if len(getattr(self, field.name)) != stages:
                raise ValueError(
                    f"{network}: {field.name} has {len(getattr(self, field.name))} entries, must"
                    f" have {stages} for {self.num_stages} encoder stages"
                )
        self.check_choices(
            shuffle_orders=SHUFFLE_ORDERS, attention=ATTENTION_FORMS, convolution=CONV_BACKENDS
        )
        if self.patch_size < 1:
            raise ValueError(f"{network}: patch_size is {self.patch_size}, must be positive")
        if not 0.0 < self.batch_norm_momentum <= 1.0:
            raise ValueError(
                f"{network}: batch_norm_momentum is {self.batch_norm_momentum}, must be in (0, 1]"
            )
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"{network}: drop_path is {self.drop_path}, must be in [0, 1)")

    def check_choices(self, **choices: tuple[str, ...]) -> None:
        """Refuse a field that is none of its choices."""
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{type(self).__name__}: {name} is {getattr(self, name)!r}, must be one of"
                    f" {allowed}"
                )

    @property
    def num_stages(self) -> int:
        """Encoder stages; the decoder has one fewer."""
        return len(self.enc_depths)

    def parts(self, side: str, stage: int) -> tuple[bool, bool]:
        """Return whether a stage of ``"enc"`` or ``"dec"`` convolves, and whether it attends."""
        has_blocks = stage < self.num_stages - (side == "dec") and self.depth(side, stage) > 0
        return has_blocks, has_blocks

    def depth(self, side: str, stage: int) -> int:
        """Return the number of blocks of a stage."""
        return int(getattr(self, f"{side}_depths")[stage])

    def num_curves(self, stage: int) -> int:
        """Return along how many of its curves a level is attended, in encoder or decoder."""
        depths = [self.depth(side, stage) for side in ("enc", "dec") if self.parts(side, stage)[1]]
        return min(max(depths, default=0), len(self.orders))


Config = TypeVar("Config", bound=HierarchyConfig)


def resized(
    function: str,
    sizes: Mapping[str, Config],
    aliases: Mapping[str, str],
    size: str,
    overrides: Mapping[str, Any],
) -> Config:
    """Return the configuration of a named size with some fields replaced.

    Parameters
    ----------
    function
        The name that errors begin with.
    sizes, aliases
        Configurations by name, and other names of some.
    size
        A name.
    overrides
        Fields; lists, as a file may bring them, become tuples.

    Raises
    ------
    ValueError
        If the size or a field is unknown, or a value is not allowed.
    """
    name = aliases.get(size, size)
    if name not in sizes:
        raise ValueError(f"{function}: size is {size!r}, must be one of {(*sizes, *aliases)}")
    known = tuple(field.name for field in fields(sizes[name]))
    unknown = [option for option in overrides if option not in known]
    if unknown:
        raise ValueError(f"{function}: no option {unknown[0]!r}; options are {', '.join(known)}")
    values: dict[str, Any] = {
        option: tuple(value) if isinstance(value, list) else value
        for option, value in overrides.items()
    }
    return replace(sizes[name], **values)
