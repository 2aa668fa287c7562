"""The networks by name: Table 8's teacher and student, and a small pair that trains on CPUs."""

from dataclasses import dataclass
from typing import Any

from train.networks.ptv3.block import CpeInput
from train.networks.ptv3.hierarchy_config import HierarchyConfig, resized
from train.networks.ptv3.serialization import DepthRule


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(HierarchyConfig):
    """All that defines a PTv3 besides its input and output widths. Tuples run from stage 0.

    Attributes
    ----------
    enc_heads, dec_heads
        Attention heads of each stage.
    cpe_input
        ``"main"`` or ``"v1.5.1"``; the latter for Pointcept's released weights. See `Block`.
    depth_rule
        ``"main"`` or ``"v1.5.1"``; see `curve_depth`.

    See Also
    --------
    HierarchyConfig : The other attributes.
    """

    enc_heads: tuple[int, ...]
    dec_heads: tuple[int, ...]
    cpe_input: CpeInput = "main"
    depth_rule: DepthRule = "main"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choices(cpe_input=("main", "v1.5.1"), depth_rule=("main", "v1.5.1"))


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
    return resized("network_config", SIZES, {}, size, overrides)
