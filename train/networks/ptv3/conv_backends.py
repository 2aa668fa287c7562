"""Which convolution a network uses: our own, or spconv's."""

from typing import Literal

from train.networks.ptv3.convolution import ConvolutionWeights, SubmanifoldConv3d
from train.networks.ptv3.convolution_spconv import SpconvConv3d, SpconvSites
from train.networks.ptv3.neighbors import NeighborTable

ConvBackend = Literal["torch", "spconv"]
CONV_BACKENDS: tuple[ConvBackend, ...] = ("torch", "spconv")

Neighbors = NeighborTable | SpconvSites
"""What a convolution reads its neighbors from; each form has its own."""


def make_convolution(
    form: ConvBackend, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool
) -> ConvolutionWeights:
    """Return a convolution; weights, keys and results are the same in both forms.

    Raises
    ------
    UserError
        If spconv is asked for and cannot be imported.
    """
    kind = SubmanifoldConv3d if form == "torch" else SpconvConv3d
    return kind(in_channels, out_channels, kernel_size, bias=bias)
