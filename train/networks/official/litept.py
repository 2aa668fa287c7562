"""Which LitePT an official checkpoint holds."""

from train.networks.litept.sizes import SIZES
from train.networks.official.checkpoint import HEAD, STEM, OfficialFile, stage_shapes
from train.networks.protocol import NetworkSpec


def infer_litept(file: OfficialFile) -> NetworkSpec:
    """Return the LitePT whose depths and widths a file's keys and shapes have.

    Head width, patch size and base are not in a file: those of the paper's sizes are taken, which
    all have the same.

    Raises
    ------
    UserError
        If a stage is missing, or there is no stem.
    """
    enc_depths, enc_channels = stage_shapes(file, "enc", "LitePT")
    dec_depths, dec_channels = stage_shapes(file, "dec", "LitePT")
    has = {
        f"{side}_{what}": tuple(
            any(key.startswith(f"backbone.{side}.{side}{s}.block0.{part}.") for key in file.state)
            for s in range(len(depths))
        )
        for side, depths in (("enc", enc_depths), ("dec", dec_depths))
        for what, part in (("conv", "conv"), ("attention", "attn"))
    }
    num_classes, in_channels = file.state[HEAD].shape[0], file.state[STEM].shape[-1]
    for name, config in SIZES.items():
        same = (config.enc_depths, config.enc_channels, config.dec_depths, config.dec_channels) == (
            enc_depths,
            enc_channels,
            dec_depths,
            dec_channels,
        )
        encoder = (config.enc_conv, config.enc_attention) == (has["enc_conv"], has["enc_attention"])
        if same and encoder:
            return NetworkSpec("litept", name, num_classes, in_channels)
    overrides = {
        "enc_depths": enc_depths,
        "enc_channels": enc_channels,
        "dec_depths": dec_depths,
        "dec_channels": dec_channels,
        **has,
    }
    return NetworkSpec("litept", "S", num_classes, in_channels, overrides)
