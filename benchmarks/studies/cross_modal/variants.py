"""The variants of the experiment, by how many labels they may see; and what is compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from train.ablation.verdicts import Comparison

FUSED: Final = "-fused"
"""Ends the name of a variant that is the same run, scored with images."""
MAJORITY: Final = "majority"
PROJECTION: Final = "projection"
UNTRAINED: Final = (MAJORITY, PROJECTION)
"""Baselines that train nothing on points."""


@dataclass(frozen=True)
class Variant:
    """A way to get a network on points.

    Attributes
    ----------
    method
        Of `train.methods.registry`; "" for a baseline that trains nothing.
    options
        Of the method, where they differ from those of the tiny pair.
    description
        In a few words.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class Grid:
    """Variants that see equally many labels.

    Attributes
    ----------
    title
        For the page.
    label_share
        Of the points of each training frame, those that keep their labels; 0: nobody looks at one.
    variants, comparisons
        What runs, and what is compared.
    """

    title: str
    label_share: float
    variants: Mapping[str, Variant]
    comparisons: tuple[Comparison, ...]


def _supervised(title: str, share: float) -> Grid:
    variants = {
        "lidar": Variant("none", {}, "cross-entropy alone"),
        "xmodel-kd": Variant("xmodel-kd", {}, "our reading of xModel-KD, scored on points alone"),
        "xmodel-kd-shuffled": Variant("xmodel-kd", {"images": "other"}, "images of another cloud"),
    }
    return Grid(
        title,
        share,
        variants,
        (
            Comparison("xmodel-kd", "lidar", primary=True),
            Comparison("xmodel-kd", "xmodel-kd-shuffled", primary=True),
            Comparison("xmodel-kd-shuffled", "lidar"),
            Comparison(f"xmodel-kd{FUSED}", "lidar"),
        ),
    )


_WITHOUT: Final = {
    MAJORITY: Variant("", {}, "the most frequent class everywhere"),
    PROJECTION: Variant("", {}, "the class at a point's pixels; the most frequent one elsewhere"),
    "udakd": Variant("udakd", {}, "our reading of UDAKD"),
    "udakd-plain": Variant(
        "udakd", {"self_calibrated": False}, "without self-calibrated convolution"
    ),
    "udakd-no-adaptation": Variant("udakd", {"adaptation": "none"}, "without a discriminator"),
    "udakd-shuffled": Variant("udakd", {"images": "other"}, "images of another cloud"),
    "fskd": Variant("fskd", {}, "our reading of FSKD"),
    "fskd-plain": Variant(
        "fskd", {"self_calibrated": False}, "without self-calibrated convolution"
    ),
    "fskd-shuffled": Variant("fskd", {"images": "other"}, "images of another cloud"),
}

GRIDS: Final[Mapping[str, Grid]] = {
    "labels-5": _supervised("With labels of 5% of the points", 0.05),
    "labels-100": _supervised("With all labels", 1.0),
    "labels-0": Grid(
        "Without a label",
        0.0,
        _WITHOUT,
        (
            *(Comparison(variant, MAJORITY, primary=True) for variant in ("udakd", "fskd")),
            *(Comparison(variant, PROJECTION, primary=True) for variant in ("udakd", "fskd")),
            *(Comparison(variant, f"{variant}-shuffled") for variant in ("udakd", "fskd")),
            *(Comparison(variant, f"{variant}-plain") for variant in ("udakd", "fskd")),
            Comparison("udakd", "udakd-no-adaptation"),
        ),
    ),
}
"""By name."""
