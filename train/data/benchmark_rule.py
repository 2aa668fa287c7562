"""What benchmarks do where definitions of the mean IoU differ."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class BenchmarkRule:
    """What the tool of a benchmark does where definitions of the mean IoU differ.

    Attributes
    ----------
    empty_union
        The IoU of a class that is in neither truth nor prediction; None leaves the class
        out of the mean.
    abstention_is_miss
        Whether a labeled point for which no class was predicted counts against its class. False:
        the point is left out.
    """

    empty_union: float | None
    abstention_is_miss: bool


SEMANTICKITTI_RULE: Final = BenchmarkRule(empty_union=0.0, abstention_is_miss=True)
"""Unions have 1e-15 added, so that an empty one gives 0; prediction 0 is a miss."""

NUSCENES_RULE: Final = BenchmarkRule(empty_union=None, abstention_is_miss=False)
"""Row and column 0 of the confusion matrix are zeroed; classes without a union are no numbers and
left out."""

WAYMO_RULE: Final = BenchmarkRule(empty_union=1.0, abstention_is_miss=True)
"""A class with an empty union is counted as perfect."""
