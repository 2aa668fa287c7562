"""The networks by name: Table 8's teacher and student, and a small pair that trains on CPUs."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from train.networks.ptv3.attention import ATTENTION_FORMS, AttentionForm
from train.networks.ptv3.block import CpeInput
from train.networks.ptv3.conv_backends import CONV_BACKENDS, ConvBackend
from train.networks.ptv3.serialization import ORDERS, DepthRule

ShuffleOrders = Literal["training", "always", "never"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """All that defines a PTv3 besides its input and output widths. Tuples run from stage 0.

    Attributes
    ----------
    enc_depths, enc_channels, enc_heads
        Blocks, width and attention heads of each encoder stage.
    dec_depths, dec_channels, dec_heads
        The same for the decoder, one stage fewer.
    patch_size
        Voxels that attend to each other, at all stages.
    mlp_ratio
        Hidden width of the perceptrons over the stage's width.
    drop_path
        Largest drop-path rate; rates rise linearly over the encoder and with coarseness over the
        decoder.
    batch_norm_momentum
        Share of a step's statistics in the running ones: running = (1 - m) old + m new.
    orders
        Space-filling curves; block i of a stage uses curve i modulo their number.
    shuffle_orders
        When a network that builds its own hierarchy permutes the curves: the official code does
        ``"always"``, which makes inference random; the default does not in evaluation.
    cpe_input
        ``"main"`` or ``"v1.5.1"``; the latter for Pointcept's released weights. See `Block`.
    depth_rule
        ``"main"`` or ``"v1.5.1"``; see `curve_depth`.
    attention
        ``"sdpa"``, ``"flash"`` or ``"plain"``; see `SerializedAttention`.
    convolution
        ``"torch"``: our own; ``"spconv"``: that package's; see `make_convolution`.
    """

    enc_depths: tuple[int, ...]
    enc_channels: tuple[int, ...]
    enc_heads: tuple[int, ...]
    dec_depths: tuple[int, ...]
    dec_channels: tuple[int, ...]
    dec_heads: tuple[int, ...]
    patch_size: int = 1024
    mlp_ratio: int = 4
    drop_path: float = 0.3
    batch_norm_momentum: float = 0.01
    orders: tuple[str, ...] = ORDERS
    shuffle_orders: ShuffleOrders = "training"
    cpe_input: CpeInput = "main"
    depth_rule: DepthRule = "main"
    attention: AttentionForm = "sdpa"
    convolution: ConvBackend = "torch"

    def __post_init__(self) -> None:
        for stages, names in (
            (self.num_stages, ("enc_channels", "enc_heads")),
            (self.num_stages - 1, ("dec_depths", "dec_channels", "dec_heads")),
        ):
            for name in names:
                if len(getattr(self, name)) != stages:
                    raise ValueError(
                        f"NetworkConfig: {name} has {len(getattr(self, name))} entries, must have"
                        f" {stages} for {self.num_stages} encoder stages"
                    )
        choices = {
            "shuffle_orders": ("training", "always", "never"),
            "cpe_input": ("main", "v1.5.1"),
            "depth_rule": ("main", "v1.5.1"),
            "attention": ATTENTION_FORMS,
            "convolution": CONV_BACKENDS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"NetworkConfig: {name} is {getattr(self, name)!r}, must be one of {allowed}"
                )
        if self.patch_size < 1:
            raise ValueError(f"NetworkConfig: patch_size is {self.patch_size}, must be positive")
        if not 0.0 < self.batch_norm_momentum <= 1.0:
            raise ValueError(
                f"NetworkConfig: batch_norm_momentum is {self.batch_norm_momentum}, must be in"
                " (0, 1]"
            )
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"NetworkConfig: drop_path is {self.drop_path}, must be in [0, 1)")

    @property
    def num_stages(self) -> int:
        """Encoder stages."""
        return len(self.enc_depths)


SIZES: dict[str, NetworkConfig] = {
    "teacher": NetworkConfig(
        enc_depths=(2, 2, 2, 6, 2),
        enc_channels=(32, 64, 128, 256, 512),
        enc_heads=(2, 4, 8, 16, 32),
        dec_depths=(2, 2, 2, 2),
        dec_channels=(64, 64, 128, 256),
        dec_heads=(4, 4, 8, 16),
    ),
    "student": NetworkConfig(
        enc_depths=(1, 1, 1, 2, 1),
        enc_channels=(16, 16, 32, 64, 128),
        enc_heads=(1, 1, 2, 4, 8),
        dec_depths=(1, 1, 1, 1),
        dec_channels=(64, 64, 128, 128),
        dec_heads=(2, 2, 4, 8),
        drop_path=0.15,
    ),
    # Head width 16 as in Table 8; the same stages and the same last width, a sixteenth of the
    # parameters; short patches because attention's cost on a CPU grows with them; running
    # statistics that follow a run of some hundred steps.
    "tiny-teacher": NetworkConfig(
        enc_depths=(1, 1, 1, 2, 1),
        enc_channels=(32, 48, 96, 128, 192),
        enc_heads=(2, 3, 6, 8, 12),
        dec_depths=(1, 1, 1, 1),
        dec_channels=(32, 48, 64, 128),
        dec_heads=(2, 3, 4, 8),
        patch_size=128,
        batch_norm_momentum=0.1,
        drop_path=0.1,
    ),
    "tiny-student": NetworkConfig(
        enc_depths=(1, 1, 1, 1, 1),
        enc_channels=(16, 16, 16, 32, 32),
        enc_heads=(1, 1, 1, 2, 2),
        dec_depths=(1, 1, 1, 1),
        dec_channels=(32, 32, 32, 32),
        dec_heads=(2, 2, 2, 2),
        patch_size=128,
        batch_norm_momentum=0.1,
        drop_path=0.05,
    ),
}


def network_config(size: str, **overrides: Any) -> NetworkConfig:
    """Return the configuration of a named size with some fields replaced.

    Raises
    ------
    ValueError
        If the size or a field is unknown, or a value is not allowed.
    """
    if size not in SIZES:
        raise ValueError(f"network_config: size is {size!r}, must be one of {tuple(SIZES)}")
    known = tuple(field.name for field in fields(NetworkConfig))
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise ValueError(
            f"network_config: no option {unknown[0]!r}; options are {', '.join(known)}"
        )
    # A file may bring lists.
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in overrides.items()
    }
    return replace(SIZES[size], **values)
