"""The same convolution by spconv, for those who have it: same weights, same keys, its kernels.

Shape letters: N voxels, I input channels, O output channels.
"""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from train.core.errors import UserError
from train.networks.ptv3.convolution import ConvolutionWeights

_races_allowed = False


@contextmanager
def allow_nondeterministic_threads() -> Iterator[None]:
    """Let spconv's CPU kernels run on several threads, where their results may be wrong.

    For measuring how fast they are, and for nothing else.
    """
    global _races_allowed
    before, _races_allowed = _races_allowed, True
    try:
        yield
    finally:
        _races_allowed = before


@cache
def load_spconv() -> Any:
    """Import `spconv.pytorch`.

    Raises
    ------
    UserError
        If it is not installed or cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            # Its dependencies call what Python 3.15 drops; that is theirs to fix.
            warnings.simplefilter("ignore", DeprecationWarning)
            spconv: Any = importlib.import_module("spconv.pytorch")
    except ImportError as error:
        raise UserError(
            f"convolution='spconv' needs the package spconv, which cannot be imported ({error});"
            " install spconv (CPU) or the spconv-cu1xx of your CUDA, or choose convolution='torch'"
        ) from error
    if not torch.cuda.is_available():
        # Its backward asks for the CUDA stream on a CPU too, where it has no use for it (2.3.8),
        # and torch without CUDA refuses to name one.
        operations: Any = importlib.import_module("spconv.pytorch.ops")
        operations.get_current_stream = lambda: 0
    return spconv


@dataclass(frozen=True)
class SpconvSites:
    """The voxels of a stage as spconv takes them.

    Attributes
    ----------
    indices
        [N, 4] int32: cloud, then grid coordinates.
    spatial_shape
        Cells along each axis.
    num_clouds
        Clouds of the batch.
    tables
        What spconv found out about neighbors, by kernel; filled by the first layer that needs it
        and shared by the others of the stage.
    """

    indices: Tensor
    spatial_shape: list[int]
    num_clouds: int
    tables: dict[str, Any] = field(default_factory=dict)


def spconv_sites(grid_coord: Tensor, batch: Tensor, num_clouds: int) -> SpconvSites:
    """Return the sites of [N, 3] voxel indices and their [N] clouds; copies three numbers."""
    indices = torch.cat([batch.unsqueeze(1), grid_coord], dim=1).int()
    # The official code leaves as much room; submanifold kernels do not need it.
    shape = [extent + 96 for extent in grid_coord.amax(0).tolist()]
    return SpconvSites(indices.contiguous(), shape, num_clouds)


class SpconvConv3d(ConvolutionWeights):
    """What `SubmanifoldConv3d` computes, by spconv's kernels. Parameters are the same.

    Notes
    -----
    Under autocast spconv computes in float16 on a GPU, whatever the autocast dtype (it has no
    bfloat16 kernels); on a CPU it computes in float32. Of several points in one voxel it lets one
    stand for the voxel that need not be the first. Its CPU kernels (2.3.8) add into the same rows
    from several threads, so that results are wrong now and then: more than one is refused.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)
        if kernel_size == 1:
            raise ValueError(
                "SpconvConv3d: kernel_size is 1, for which spconv reads the weight in another"
                " layout; use torch.nn.Linear"
            )
        load_spconv()  # a missing package is reported when the network is built

    def forward(self, feat: Tensor, sites: SpconvSites) -> Tensor:
        """Convolve [N, I] features to [N, O]."""
        spconv = load_spconv()
        weight = self.weight
        on_cpu = feat.device.type == "cpu"
        if on_cpu and torch.get_num_threads() > 1 and not _races_allowed:
            raise UserError(
                f"convolution='spconv' gives wrong results on a CPU with {torch.get_num_threads()}"
                " threads (as of spconv 2.3.8); set OMP_NUM_THREADS=1 before Python starts, or"
                " choose convolution='torch'"
            )
        if on_cpu and feat.dtype != weight.dtype:  # a branch that autocast left in 16 bits
            feat = feat.to(weight.dtype)
        engine = _engine(self.in_channels, self.out_channels, self.kernel_size, on_cpu)
        voxels = spconv.SparseConvTensor(
            feat, sites.indices, sites.spatial_shape, sites.num_clouds, indice_dict=sites.tables
        )
        with torch.autocast("cpu", enabled=False) if on_cpu else nullcontext():
            found = torch.func.functional_call(engine, {"weight": weight}, (voxels,))
        sites.tables.update(found.indice_dict)
        out: Tensor = found.features
        # Added here: spconv's inference on a CPU refuses a bias.
        return out if self.bias is None else out + self.bias.to(out.dtype)


@cache
def _engine(in_channels: int, out_channels: int, kernel_size: int, on_cpu: bool) -> Any:
    """Return spconv's module of a shape; it has no weight of its own, each call brings one."""
    spconv = load_spconv()
    algorithm = spconv.ConvAlgo.Native if on_cpu else None  # None: spconv's choice for a GPU
    with torch.device("meta"):
        return spconv.SubMConv3d(
            in_channels,
            out_channels,
            kernel_size,
            bias=False,
            indice_key=f"side{kernel_size}",
            algo=algorithm,
        )
