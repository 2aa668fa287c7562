"""LitePT by name: S, S*, B and L of the paper, and a small one that trains on CPUs."""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from train.networks.ptv3.attention import ATTENTION_FORMS, AttentionForm
from train.networks.ptv3.conv_backends import CONV_BACKENDS, ConvBackend
from train.networks.ptv3.serialization import ORDERS
from train.networks.ptv3.sizes import ShuffleOrders


@dataclass(frozen=True, kw_only=True)
class LitePTConfig:
    """All that defines a LitePT besides its input and output widths. Tuples run from stage 0.

    Attributes
    ----------
    enc_depths, enc_channels
        Blocks and width of each encoder stage; the stem has the first width.
    enc_conv, enc_attention
        Whether the blocks of an encoder stage have a convolution, and whether they have attention
        and a perceptron; with both, the convolution comes first.
    dec_depths, dec_channels, dec_conv, dec_attention
        The same for the decoder, one stage fewer; a depth of 0 leaves unpooling alone.
    head_width
        Channels of an attention head, a multiple of 6.
    patch_size
        Voxels that attend to each other.
    mlp_ratio
        Hidden width of the perceptrons over the stage's width.
    drop_path
        Largest drop-path rate. Blocks of convolutions count where rates are spread, and drop
        nothing.
    batch_norm_momentum
        Share of a step's statistics in the running ones.
    rotary_base
        See `train.networks.litept.rotary.point_rotation`.
    orders
        Space-filling curves; block i of a stage uses curve i modulo their number.
    shuffle_orders
        When a network that builds its own hierarchy permutes the curves: the official code does
        ``"always"``, which makes inference random; the default does not in evaluation.
    attention
        ``"sdpa"``, ``"flash"`` or ``"plain"``; see `SerializedAttention`.
    convolution
        ``"torch"``: our own; ``"spconv"``: that package's; see `make_convolution`.
    """

    enc_depths: tuple[int, ...]
    enc_channels: tuple[int, ...]
    dec_channels: tuple[int, ...]
    dec_depths: tuple[int, ...] = (0, 0, 0, 0)
    enc_conv: tuple[bool, ...] = (True, True, True, False, False)
    enc_attention: tuple[bool, ...] = (False, False, False, True, True)
    dec_conv: tuple[bool, ...] = (True, True, True, False)
    dec_attention: tuple[bool, ...] = (False, False, False, True)
    head_width: int = 18
    patch_size: int = 1024
    mlp_ratio: int = 4
    drop_path: float = 0.3
    batch_norm_momentum: float = 0.01
    rotary_base: float = 100.0
    orders: tuple[str, ...] = ORDERS
    shuffle_orders: ShuffleOrders = "training"
    attention: AttentionForm = "sdpa"
    convolution: ConvBackend = "torch"

    def __post_init__(self) -> None:
        for stages, names in (
            (self.num_stages, ("enc_channels", "enc_conv", "enc_attention")),
            (self.num_stages - 1, ("dec_depths", "dec_channels", "dec_conv", "dec_attention")),
        ):
            for name in names:
                if len(getattr(self, name)) != stages:
                    raise ValueError(
                        f"LitePTConfig: {name} has {len(getattr(self, name))} entries, must have"
                        f" {stages} for {self.num_stages} encoder stages"
                    )
        for side in ("enc", "dec"):
            self._check_stages(side)
        choices = {
            "shuffle_orders": ("training", "always", "never"),
            "attention": ATTENTION_FORMS,
            "convolution": CONV_BACKENDS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"LitePTConfig: {name} is {getattr(self, name)!r}, must be one of {allowed}"
                )
        if self.patch_size < 1:
            raise ValueError(f"LitePTConfig: patch_size is {self.patch_size}, must be positive")
        if not 0.0 < self.batch_norm_momentum <= 1.0:
            raise ValueError(
                f"LitePTConfig: batch_norm_momentum is {self.batch_norm_momentum}, must be in"
                " (0, 1]"
            )
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"LitePTConfig: drop_path is {self.drop_path}, must be in [0, 1)")
        if not self.rotary_base > 1.0:
            raise ValueError(f"LitePTConfig: rotary_base is {self.rotary_base}, must be above 1")

    def _check_stages(self, side: str) -> None:
        """Refuse blocks of nothing, and widths that heads do not divide."""
        if self.head_width < 6 or self.head_width % 6:
            raise ValueError(
                f"LitePTConfig: head_width is {self.head_width}, must be a multiple of 6: two"
                " channels or more per axis"
            )
        for stage, depth in enumerate(getattr(self, f"{side}_depths")):
            conv, attention = (getattr(self, f"{side}_{what}")[stage] for what in _PARTS)
            if depth and not (conv or attention):
                raise ValueError(
                    f"LitePTConfig: blocks of {side}{stage} have neither convolution nor attention"
                )
            width = getattr(self, f"{side}_channels")[stage]
            if depth and attention and width % self.head_width:
                raise ValueError(
                    f"LitePTConfig: {side}{stage} has {width} channels, must be a multiple of the"
                    f" head width {self.head_width}"
                )

    @property
    def num_stages(self) -> int:
        """Encoder stages."""
        return len(self.enc_depths)

    @property
    def attention_stages(self) -> tuple[int, ...]:
        """The levels at which a block attends, in the encoder or in the decoder."""
        return tuple(
            stage
            for stage in range(self.num_stages)
            if any(
                flags[stage] and depths[stage]
                for flags, depths in (
                    (self.enc_attention, self.enc_depths),
                    (self.dec_attention, self.dec_depths),
                )
                if stage < len(depths)
            )
        )


_PARTS: Final = ("conv", "attention")

SIZES: Final[dict[str, LitePTConfig]] = {
    "S": LitePTConfig(
        enc_depths=(2, 2, 2, 6, 2),
        enc_channels=(36, 72, 144, 252, 504),
        dec_channels=(72, 72, 144, 252),
    ),
    # With blocks in the decoder, for instance segmentation.
    "S*": LitePTConfig(
        enc_depths=(2, 2, 2, 6, 2),
        enc_channels=(36, 72, 144, 252, 504),
        dec_channels=(72, 72, 144, 252),
        dec_depths=(2, 2, 2, 2),
    ),
    "B": LitePTConfig(
        enc_depths=(3, 3, 3, 12, 3),
        enc_channels=(54, 108, 216, 432, 576),
        dec_channels=(72, 108, 216, 432),
    ),
    "L": LitePTConfig(
        enc_depths=(3, 3, 3, 12, 3),
        enc_channels=(72, 144, 288, 576, 864),
        dec_channels=(72, 144, 288, 576),
    ),
    # Like PTv3's tiny pair: short patches, and running statistics that follow some hundred steps.
    "tiny": LitePTConfig(
        enc_depths=(1, 1, 1, 2, 1),
        enc_channels=(18, 36, 36, 72, 90),
        dec_channels=(36, 36, 36, 72),
        patch_size=128,
        batch_norm_momentum=0.1,
        drop_path=0.05,
    ),
}

ALIASES: Final = {"S-star": "S*"}
"""Names without a star, which shells take for a pattern."""


def litept_config(size: str, **overrides: Any) -> LitePTConfig:
    """Return the configuration of a named size with some fields replaced.

    Raises
    ------
    ValueError
        If the size or a field is unknown, or a value is not allowed.
    """
    name = ALIASES.get(size, size)
    if name not in SIZES:
        known_sizes = (*SIZES, *ALIASES)
        raise ValueError(f"litept_config: size is {size!r}, must be one of {known_sizes}")
    known = tuple(field.name for field in fields(LitePTConfig))
    unknown = [option for option in overrides if option not in known]
    if unknown:
        raise ValueError(f"litept_config: no option {unknown[0]!r}; options are {', '.join(known)}")
    # A file may bring lists.
    values: dict[str, Any] = {
        option: tuple(value) if isinstance(value, list) else value
        for option, value in overrides.items()
    }
    return replace(SIZES[name], **values)
