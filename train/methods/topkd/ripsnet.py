"""RipsNet: a small network that predicts the persistence image of a cloud, whatever its order.

Shape letters: M points of a cloud, C channels, P pixels of an image.
"""

from itertools import chain, pairwise
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

Operator = Literal["mean", "sum"]
"""What joins the points of a cloud; the paper takes the one of lower validation loss."""

PIXELS: Final = 400
"""P: an image has 20 rows and 20 columns."""

UNIT_LISTS: Final[dict[int, tuple[int, int, int]]] = {
    16: (16, 16, 16),
    32: (32, 16, 16),
    64: (64, 32, 32),
    128: (128, 64, 64),
    256: (256, 128, 128),
    512: (512, 256, 256),
    1024: (512, 256, 256),
    2048: (1024, 512, 256),
}
"""Outputs of the three layers that see one point, by the width C of the features (Table 14)."""

IMAGE_UNITS: Final = (50, 100, 200, PIXELS)
"""Outputs of the four layers that see the cloud, for every width."""


def unit_list(channels: int) -> tuple[int, ...]:
    """Return the input width and the outputs of the seven layers.

    Parameters
    ----------
    channels
        C. The paper has lists for powers of two from 16 to 2048; a width between them gets the
        layers of the next one above, one beyond them those of 2048.

    Raises
    ------
    ValueError
        If `channels` is not positive.

    Examples
    --------
    >>> unit_list(64)
    (64, 64, 32, 32, 50, 100, 200, 400)
    """
    if channels < 1:
        raise ValueError(f"unit_list: channels is {channels}; pass the width of the features")
    listed = next((width for width in UNIT_LISTS if width >= channels), max(UNIT_LISTS))
    return (channels, *UNIT_LISTS[listed], *IMAGE_UNITS)


class RipsNet(nn.Module):
    """Predicts persistence images from points, without persistence.

    Three layers on each point (ReLU), then the mean or the sum over the points, then four layers
    without bias (ReLU, and a sigmoid at the end). 113,896 parameters for 64 channels.

    Parameters
    ----------
    channels
        C: width of the points.
    operator
        See `Operator`.

    Raises
    ------
    ValueError
        If an argument is none of these.

    Notes
    -----
    T. de Surrel et al., "RipsNet: a general architecture for fast and robust estimation of the
    persistent homology of point clouds", 2022, with the sizes of TopKD (ICML 2024), appendix F. The
    weights begin Glorot-uniform, the biases as 0.
    """

    def __init__(self, channels: int, operator: Operator = "mean") -> None:
        super().__init__()
        if operator not in get_args(Operator):
            raise ValueError(f"RipsNet: operator is {operator!r}; pass 'mean' or 'sum'")
        widths = unit_list(channels)
        self.channels = channels
        self.operator: Operator = operator
        pairs = list(pairwise(widths))
        seeing_points = len(pairs) - len(IMAGE_UNITS)
        self.point_layers = nn.ModuleList(nn.Linear(*pair) for pair in pairs[:seeing_points])
        self.image_layers = nn.ModuleList(
            nn.Linear(*pair, bias=False) for pair in pairs[seeing_points:]
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def extra_repr(self) -> str:
        """Return the arguments, for the module's repr."""
        return f"{self.channels}, {self.operator!r}"

    def forward(self, clouds: Tensor) -> Tensor:
        """Return the predicted images.

        Parameters
        ----------
        clouds
            (..., M, C) floating point; computed in the weights' precision, float32 as a rule, also
            under autocast.

        Returns
        -------
        Tensor
            (..., P), between 0 and 1.

        Raises
        ------
        ValueError
            If the points have another width, or there are none.
        """
        if clouds.ndim < 2 or clouds.shape[-1] != self.channels or clouds.shape[-2] < 1:
            raise ValueError(
                f"RipsNet: clouds has shape {tuple(clouds.shape)}; pass (..., points, "
                f"{self.channels}), at least one point"
            )
        with torch.autocast(clouds.device.type, enabled=False):
            found = clouds.to(next(chain(self.parameters(), self.buffers())).dtype)
            for layer in self.point_layers:
                found = torch.relu(layer(found))
            found = found.mean(dim=-2) if self.operator == "mean" else found.sum(dim=-2)
            *hidden, last = self.image_layers
            for layer in hidden:
                found = torch.relu(layer(found))
            return torch.sigmoid(last(found))

    @torch.no_grad()
    def absorb(self, shift: Tensor, spread: Tensor) -> None:
        """Take the standardization of the points into the first layer.

        What was predicted for (x - shift) / spread is then predicted for x.

        Parameters
        ----------
        shift, spread
            (C,), the latter positive.
        """
        first = self.point_layers[0]
        assert isinstance(first, nn.Linear)
        scaled = first.weight.double() / spread.double()
        first.bias.copy_(first.bias.double() - scaled @ shift.double())
        first.weight.copy_(scaled)

    def frozen(self) -> "RipsNet":
        """Make the weights buffers, which no optimizer sees and no checkpoint repeats; return self.

        Gradients still pass through to the points.
        """
        for module in self.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach().clone(), persistent=False)
        return self

    def weights(self) -> dict[str, Any]:
        """Return the weights by name on the CPU, as `load_state_dict` of an unfrozen one takes."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: tensor.detach().cpu().contiguous() for name, tensor in named}
