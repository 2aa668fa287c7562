"""LitePT by name: S, S*, B and L of the paper, and a small one that trains on CPUs."""

from dataclasses import dataclass
from typing import Any, Final

from train.networks.ptv3.hierarchy_config import HierarchyConfig, resized


@dataclass(frozen=True, kw_only=True)
class LitePTConfig(HierarchyConfig):
    """All that defines a LitePT besides its input and output widths. Tuples run from stage 0.

    Attributes
    ----------
    enc_conv, enc_attention, dec_conv, dec_attention
        Whether the blocks of a stage have a convolution, and whether they have attention and an
        MLP; with both, the convolution comes first. Blocks of convolutions count where drop-path
        rates are spread, and drop nothing.
    head_width
        Channels of an attention head, a multiple of 6.
    rotary_base
        See `train.networks.litept.rotary.point_rotation`.

    See Also
    --------
    HierarchyConfig : The other attributes.
    """

    dec_depths: tuple[int, ...] = (0, 0, 0, 0)
    enc_conv: tuple[bool, ...] = (True, True, True, False, False)
    enc_attention: tuple[bool, ...] = (False, False, False, True, True)
    dec_conv: tuple[bool, ...] = (True, True, True, False)
    dec_attention: tuple[bool, ...] = (False, False, False, True)
    head_width: int = 18
    rotary_base: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("enc", "dec"):
            self._check_stages(side)
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

    def parts(self, side: str, stage: int) -> tuple[bool, bool]:
        """Return whether a stage of ``"enc"`` or ``"dec"`` convolves, and whether it attends."""
        if not super().parts(side, stage)[0]:
            return False, False
        conv, attention = (getattr(self, f"{side}_{what}")[stage] for what in _PARTS)
        return conv, attention

    @property
    def attention_stages(self) -> tuple[int, ...]:
        """The levels at which a block attends, in the encoder or in the decoder."""
        return tuple(stage for stage in range(self.num_stages) if self.num_curves(stage))


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
    return resized("litept_config", SIZES, ALIASES, size, overrides)
