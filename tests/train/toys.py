"""A second network and a method with a trainable part, in a few lines each: what others would add.

`registered()`, or the fixture `toys_registered`, adds their rows to `NETWORKS` and `METHODS`.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import nn

from train.config import MethodConfig, require
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.registry import METHODS
from train.methods.terms import LossTerm
from train.networks.protocol import Network, NetworkOutput, NetworkSpec, prepare_pair
from train.networks.registry import NETWORKS
from train.networks.weights import ModelMetadata

TOY_NETWORK = {"toy": "tests.train.toys:build_toy"}
TOY_METHOD = {"hint": "tests.train.toys:Hint"}


@contextmanager
def registered():
    """Add the toys to the tables while a block lasts, as a package that has them would."""
    with ExitStack() as held:
        for table, rows in ((NETWORKS, TOY_NETWORK), (METHODS, TOY_METHOD)):
            held.enter_context(patch.dict(table, rows))
        yield


WIDTHS = {"small": 6, "wide": 10}


def toy_metadata(network: Network | None = None, **changes: object) -> ModelMetadata:
    """Return metadata of a network; of a tiny student of four classes unless another is given."""
    spec = NetworkSpec("ptv3", "tiny-student", 4, 4) if network is None else network.spec()
    names = changes.get("class_names", tuple("abcdefghijklmnopqrstuvwxyz"[: spec.num_classes]))
    values = {
        "network": spec.network,
        "size": spec.size,
        "num_classes": len(names),
        "in_channels": spec.in_channels,
        "overrides": dict(spec.overrides),
        "dataset": "toy",
        "class_names": names,
        "grid_size_m": 0.05,
    }
    return ModelMetadata(**{**values, **changes})


class Toy(Network):
    """An MLP on each voxel, with a stage at all voxels on either side of the middle."""

    # The first has the name of a coarser stage of PTv3: a method must not take them for the same.
    encoder_stages = ("enc1",)
    decoder_stages = ("top",)

    def __init__(self, size: str, num_classes: int, in_channels: int) -> None:
        super().__init__()
        if size not in WIDTHS:
            raise ValueError(f"Toy: no size {size!r}; choose among {', '.join(WIDTHS)}")
        self.size, self.num_classes, self.in_channels = size, num_classes, in_channels
        width = WIDTHS[size]
        self.enc1 = nn.Linear(in_channels, width)
        self.top = nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)

    @property
    def stage_channels(self) -> dict[str, int]:
        return {"enc1": WIDTHS[self.size], "top": WIDTHS[self.size]}

    def spec(self) -> NetworkSpec:
        return NetworkSpec("toy", self.size, self.num_classes, self.in_channels)

    def forward(self, batch, geometry=None, *, stage_hook=None) -> NetworkOutput:
        del geometry
        features, found = batch["feat"] / 10, {}
        for name in ("enc1", "top"):
            features = torch.tanh(getattr(self, name)(features))
            if stage_hook is not None:
                features = stage_hook(name, features)
            found[name] = features
        offsets = dict.fromkeys(found, batch["offset"])
        return NetworkOutput(self.head(features), found, offsets)


def build_toy(size: str, num_classes: int, in_channels: int, **options: str) -> Toy:
    """Build a toy; `convolution` and `attention`, given to every network, change nothing."""
    unknown = options.keys() - {"convolution", "attention"}
    if unknown:
        raise ValueError(f"build_toy: no option {min(unknown)!r}")
    return Toy(size, num_classes, in_channels)


@dataclass(frozen=True, kw_only=True)
class HintConfig(MethodConfig):
    """The cross-entropy has weight 1."""

    hint_weight: float = 1.0
    """Weight of the squared distance between the last features."""

    def __post_init__(self) -> None:
        require(self.hint_weight >= 0, "method.hint-weight", self.hint_weight, "0 or above")


class Hint(DistillationMethod):
    """The student's last features, brought to the teacher's width, are to equal the teacher's."""

    Config = HintConfig

    def __init__(self, config, student, teacher, *, artifacts=None) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        widths = [each.stage_channels[each.decoder_stages[-1]] for each in (student, teacher)]
        self.adapter = nn.Linear(*widths)

    def forward(self, student, teacher, batch) -> dict[str, LossTerm]:
        geometry, teacher_geometry = prepare_pair(student, teacher, batch)
        output = student(batch, geometry)
        terms = {"segmentation": segmentation_term(output.logits, batch, self.config.segmentation)}
        with torch.no_grad():
            target = teacher(batch, teacher_geometry).features[teacher.decoder_stages[-1]]
        found = self.adapter(output.features[student.decoder_stages[-1]])
        value = require_finite("hint", (found - target).square().mean())
        return terms | {"hint": LossTerm(value, self.config.hint_weight)}
