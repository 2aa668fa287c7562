"""The flags for frames of one's own, for every command that reads frames without being a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from train.core.console import logger
from train.core.errors import UserError
from train.data.dataset_spec import LAYOUT_OPTIONS


def plain(value: Any) -> Any:
    """Return an option as a checkpoint has it, in which tuples are lists."""
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class LayoutFlags:
    """Frames of your own (--dataset kitti-layout); spelled as the flags of a run are."""

    class_map: Annotated[Path | None, arg(metavar="FILE")] = None
    """what labels mean: .yaml with SemanticKITTI's keys, or GOOSE's .csv"""
    point_columns: Annotated[str | None, arg(metavar="NAMES")] = None
    """columns of .bin files, with commas between [x,y,z,remission]; a type other than float32
    behind a colon, such as ring:u2"""
    strength_scale: Annotated[float | None, arg(metavar="X")] = None
    """divide strengths by this [1; .las and .laz: 65535]"""
    origin: Annotated[tuple[float, float, float] | None, arg(metavar="X Y Z")] = None
    """the sensor's place in the files' coordinates, meters, where these are those of a map [0 0 0]
    """
    label_type: Literal["uint8", "uint16", "uint32"] | None = None
    """numbers in .label files [uint32, its upper 16 bits are instances]"""

    def __post_init__(self) -> None:
        scale = self.strength_scale
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise UserError(
                f"--data.strength-scale is {scale}: above 0, 255 for strengths of 0 to 255"
            )
        if self.origin is not None and not all(map(math.isfinite, self.origin)):
            raise UserError(f"--data.origin is {self.origin}: three numbers of meters")

    def over(self, layout: Mapping[str, Any]) -> dict[str, Any]:
        """Return how files lie, by `LAYOUT_OPTIONS`: as a checkpoint says, unless a flag does.

        Parameters
        ----------
        layout
            `ModelMetadata.layout`. What a flag says otherwise is told in one warning; another class
            map is checked against the network's classes where it is used, and tells itself.
        """
        every = {name: plain(getattr(self, name)) for name in LAYOUT_OPTIONS}
        given = {name: value for name, value in every.items() if value is not None}
        changed = [
            f"--data.{name.replace('_', '-')} {value}, in training {layout.get(name, 'not given')}"
            for name, value in given.items()
            if layout and name != "class_map" and value != layout.get(name)
        ]
        if changed:
            logger.warning(
                f"warning: files are read otherwise than in training: {'; '.join(changed)}"
            )
        return {**layout, **given}
