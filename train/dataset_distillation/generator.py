"""The point-wise generator: any number of points from as many random numbers (Section 4.2).

A SIREN maps each noise z, one number between 0 and 1, to a point; a modulator, a ReLU network on
(class, index), multiplies each of its layers (Eq. 7-9). Sizes and frequencies are those of the
authors' code.

Shape letters: S synthetic clouds = classes x clouds per class, N points, D width, L layers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from train.core import provenance
from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.core.tensor_file import read_safetensors
from train.dataset_distillation.chance import Stream, generator_for, weights_from
from train.dataset_distillation.clouds import PointClouds

FORMAT: Final = "topodistill-generator-1"
_CHUNK: Final = 64
"""Clouds that are made at a time."""
PartIntervals = tuple[tuple[int, float, float], ...]
"""Of one class: part, begin and end of its noise, one after the other from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Enough to build a generator again.

    Attributes
    ----------
    classes
        Names of the classes.
    clouds_per_class
        Synthetic clouds of each.
    width, layers
        D and L.
    w0
        Frequency of the first layer: 100 for ModelNet40 and MVPNet, 50 for ScanObjectNN, 400 for
        ShapeNet's parts; later layers have 1.
    part_names
        Of a generator of clouds with parts.
    intervals
        For each class, where each part's noise begins and ends, (part, begin, end); empty without
        parts.
    """

    classes: tuple[str, ...]
    clouds_per_class: int
    width: int = 256
    layers: int = 2
    w0: float = 100.0
    part_names: tuple[str, ...] = ()
    intervals: tuple[PartIntervals, ...] = ()

    def __post_init__(self) -> None:
        """Check what the annotations cannot say."""
        for name in ("clouds_per_class", "width", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if not 0 < self.w0 < math.inf:
            raise ValueError(f"w0 is {self.w0}; give a finite number above 0")
        if not self.classes:
            raise ValueError("classes is empty; name at least one")
        if self.intervals and len(self.intervals) != len(self.classes):
            raise ValueError(f"intervals are of {len(self.intervals)} classes; give one list each")

    @property
    def num_clouds(self) -> int:
        """Return S."""
        return len(self.classes) * self.clouds_per_class

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "GeneratorSpec":
        """Return what `dataclasses.asdict` and JSON made plain values of.

        Raises
        ------
        KeyError, TypeError, ValueError
            If fields are missing, unknown or refused.
        """
        found = dict(values)
        found["classes"] = tuple(found["classes"])
        found["part_names"] = tuple(found.get("part_names", ()))
        found["intervals"] = tuple(
            tuple((int(part), float(begin), float(end)) for part, begin, end in own)
            for own in found.get("intervals", ())
        )
        return cls(**found)


def noise_intervals(real: PointClouds, power: float = 1.0) -> tuple[PartIntervals, ...]:
    """Return where each part's noise begins and ends, as wide as the part's share of the points.

    Widths are the shares to a power, over their sum.
    """
    found = []
    for shares in real.part_shares():
        ends = np.cumsum(list(shares.values()))
        ends[-1] = 1.0  # whatever the sum's rounding
        begins = [0.0, *ends[:-1]]
        found.append(
            tuple(
                (part, float(begin), float(end))
                for part, begin, end in zip(shares, begins, ends, strict=True)
            )
        )
    return tuple(found if power == 1 else (tempered(own, power) for own in found))


def tempered(intervals: Sequence[tuple[int, float, float]], power: float) -> PartIntervals:
    """Return intervals whose widths are those of others to a power, over their sum."""
    ends = torch.tensor([end - begin for _, begin, end in intervals], dtype=torch.float64)
    ends = (ends**power).cumsum(0)
    ends = ends / ends[-1]
    begins = [0.0, *ends[:-1].tolist()]
    return tuple(
        (number, begin, end)
        for (number, _, _), begin, end in zip(intervals, begins, ends.tolist(), strict=True)
    )


class PointGenerator(nn.Module):
    """Generates point clouds of given classes at any number of points."""

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.width
        self.modulator_input = nn.Embedding(spec.num_clouds, width)
        self.modulator = nn.ModuleList(nn.Linear(width, width) for _ in range(spec.layers - 1))
        self.siren = nn.ModuleList(
            nn.Linear(1 if layer == 0 else width, width) for layer in range(spec.layers)
        )
        self.decoder = nn.Linear(width, 3, bias=False)
        with torch.no_grad():
            for layer, linear in enumerate(self.siren):
                assert isinstance(linear, nn.Linear)
                # Sitzmann et al. 2020, Section 3.2: sines of every layer stay spread out.
                bound = 1.0 if layer == 0 else math.sqrt(6.0 / width)
                linear.weight.uniform_(-bound, bound)
            bound = math.sqrt(6.0 / width)
            self.decoder.weight.uniform_(-bound, bound)

    def forward(self, noise: Tensor, index: Tensor) -> Tensor:
        """Return points (B, N, 3) in the cube from -1 to 1, of noise (B, N) between 0 and 1.

        The index (B,) says which of the S clouds: class times clouds per class, plus index.
        ValueError if there is no noise, or the shapes do not fit.
        """
        if noise.ndim != 2 or noise.shape[1] < 1 or index.shape != noise.shape[:1]:
            raise ValueError(
                f"noise has shape {tuple(noise.shape)} and index {tuple(index.shape)}; give (B, N) "
                "with at least one point, and (B,)"
            )
        condition = torch.relu(self.modulator_input(index))
        hidden = noise[..., None]
        for layer, linear in enumerate(self.siren):
            if layer > 0:
                condition = torch.relu(self.modulator[layer - 1](condition))
            frequency = self.spec.w0 if layer == 0 else 1.0
            hidden = torch.sin(frequency * linear(hidden)) * condition[:, None]
        return torch.tanh(self.decoder(hidden))

    def num_parameters(self) -> int:
        """Return how many numbers are stored."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_generator(spec: GeneratorSpec, seed: int) -> PointGenerator:
    """Return an untrained generator whose weights are a function of the seed."""
    with weights_from(seed, Stream.GENERATOR):
        return PointGenerator(spec)


def draw_noise(clouds: int, points: int, generator: torch.Generator) -> Tensor:
    """Return (clouds, points) numbers, even between 0 and 1; at least one point."""
    if points < 1:
        raise ValueError(f"points is {points}; give at least 1")
    return torch.rand(clouds, points, generator=generator)


def part_of_noise(spec: GeneratorSpec, noise: Tensor, labels: Tensor) -> Tensor:
    """Return the part (B, N) int64 of each noise (B, N) by the interval that it lies in."""
    found = torch.full(noise.shape, -1, dtype=torch.int64, device=noise.device)
    for row, label in enumerate(labels.tolist()):
        for part, begin, end in spec.intervals[label]:
            found[row][(noise[row] >= begin) & (noise[row] < end)] = part
    return found


def stored_numbers(spec: GeneratorSpec) -> int:
    """Return how many numbers a generator of this spec has."""
    with torch.device("meta"), weights_from(0):
        return PointGenerator(spec).num_parameters()


def pays_from(spec: GeneratorSpec, points: int) -> int | None:
    """Return from how many clouds per class a generator is smaller than their coordinates.

    None where it never is: a cloud of 85 points is smaller than its row of 256 numbers. The spec's
    clouds per class are not looked at.
    """
    classes, row = len(spec.classes), spec.width
    if 3 * points <= row:
        return None
    shared = stored_numbers(spec) - spec.num_clouds * row
    return shared // (classes * (3 * points - row)) + 1


def generate(
    generator: PointGenerator, points: int, seed: int | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return all S clouds (S, N, 3) at one resolution, their labels, and their parts if any.

    The noise is of a seed, or spaced evenly without one; `chunk` clouds are made at a time, where
    the generator is.
    """
    spec = generator.spec
    device = generator.decoder.weight.device
    if seed is None:
        noise = ((torch.arange(points) + 0.5) / points).expand(spec.num_clouds, -1)
    else:
        noise = draw_noise(spec.num_clouds, points, generator_for(seed, Stream.GENERATED_CLOUDS))
    index = torch.arange(spec.num_clouds)
    labels = index // spec.clouds_per_class
    with torch.no_grad():
        made = [
            generator(noise[rows].to(device), rows.to(device))
            for rows in torch.split(index, _CHUNK)
        ]
    parts = part_of_noise(spec, noise, labels) if spec.intervals else None
    return torch.cat(made), labels, parts


def save_generator(path: Path, generator: PointGenerator, more: Mapping[str, Any]) -> None:
    """Write a generator, whole or not at all; beside it plain values that say how it was made.

    UserError if the file, NAME.safetensors, cannot be written.
    """
    from safetensors.torch import save

    header = {
        "format": FORMAT,
        "spec": json.dumps(asdict(generator.spec)),
        "made_from": json.dumps(dict(more)),
        "made_by": json.dumps({"versions": provenance.versions(), **provenance.commit()}),
    }
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()
    }
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(save(weights, metadata=header))


def load_generator(path: Path) -> tuple[PointGenerator, dict[str, Any]]:
    """Read what `save_generator` wrote; return the generator and what was kept beside it.

    Raises
    ------
    UserError
        If the file is missing, damaged, or of another version.
    """
    tensors, header = read_safetensors(path, FORMAT, "generator")
    try:
        spec = GeneratorSpec.from_plain(json.loads(header["spec"]))
        more = dict(json.loads(header["made_from"]))
        with weights_from(0):
            generator = PointGenerator(spec)
        generator.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"{path}: its weights do not fit its header ({reason}); distill again"
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise UserError(f"{path}: its weights are not finite; distill again")
    return generator, more
