"""What turns a persistence diagram into an image: kernel, ranges, pixels, weight, divisor."""

import math
import operator
from dataclasses import dataclass
from typing import Literal, get_args

ImageWeight = Literal["topkd", "linear", "one"]


@dataclass(frozen=True, kw_only=True)
class ImageScale:
    """The scale that all persistence images to be compared have in common.

    Written by hand, or fitted to many diagrams by `fit_persistence_image`. Plain numbers and words:
    `dataclasses.asdict` of it survives JSON, whose lists come back as tuples.

    Attributes
    ----------
    bandwidth
        Standard deviation of the Gaussians, in the unit of the filtration, above 0.
    birth_range, persistence_range
        (lowest, highest) of each axis, in the unit of the filtration. Both are centers of pixels.
        They may be equal, as births are in dimension 0: then all pixels of that axis are alike.
    maximum
        What every image is divided by, above 0.
    weight
        What a pair (b, d) of persistence p = d - b counts. "topkd": 10 (tanh p + ln(100 b + 1));
        "linear": p; "one": 1.
    resolution
        Pixels along births, pixels along persistence: columns, rows. 1 pixel lies at the lowest.

    Raises
    ------
    ValueError
        If a field is out of range.
    """

    bandwidth: float
    birth_range: tuple[float, float]
    persistence_range: tuple[float, float]
    maximum: float = 1.0
    weight: ImageWeight = "topkd"
    resolution: tuple[int, int] = (20, 20)

    def __post_init__(self) -> None:
        for name in ("bandwidth", "maximum"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"ImageScale: {name} is {getattr(self, name)}; pass a finite number above 0"
                )
            object.__setattr__(self, name, float(getattr(self, name)))  # frozen from here on
        for name in ("birth_range", "persistence_range"):
            ends = tuple(map(float, getattr(self, name)))
            if len(ends) != 2 or not -math.inf < ends[0] <= ends[1] < math.inf:
                raise ValueError(
                    f"ImageScale: {name} is {ends}; pass two finite numbers, the lower one first"
                )
            object.__setattr__(self, name, ends)
        if self.weight not in get_args(ImageWeight):
            raise ValueError(
                f"ImageScale: weight is {self.weight!r}; "
                f"pass one of {', '.join(map(repr, get_args(ImageWeight)))}"
            )
        try:
            pixels = tuple(map(operator.index, self.resolution))
        except TypeError:  # one number, or others than integers
            pixels = ()
        if len(pixels) != 2 or min(pixels) < 1:
            raise ValueError(
                f"ImageScale: resolution is {self.resolution}; "
                "pass two numbers of at least 1, pixels along births and along persistence"
            )
        object.__setattr__(self, "resolution", pixels)
