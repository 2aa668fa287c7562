"""How repeated times are summed up, in commands and benchmarks alike."""

from collections.abc import Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 20th, 50th and 80th percentile of some times: "p20_s", "p50_s", "p80_s"."""
    values = np.percentile(seconds, [20, 50, 80])
    return {f"p{name}_s": float(value) for name, value in zip((20, 50, 80), values, strict=True)}
