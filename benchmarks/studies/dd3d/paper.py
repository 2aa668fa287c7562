"""What the paper reports, to stand beside our numbers."""

from collections.abc import Mapping
from typing import Final

from benchmarks.studies.dd3d.experiment import FULL

PAPER: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("aligned", "1"): {
        "random": "40.53",
        "herding": "43.41",
        "k-center": "43.90",
        "gradient-matching": "53.38",
        "distribution-matching": "53.21",
        "dd3d": "53.82",
    },
    ("aligned", "10"): {
        "random": "71.89",
        "herding": "74.63",
        "k-center": "73.13",
        "gradient-matching": "75.45",
        "distribution-matching": "74.45",
        "dd3d": "76.31",
    },
    ("aligned", "50"): {
        "random": "82.37",
        "herding": "82.75",
        "k-center": "82.73",
        "gradient-matching": "81.74",
        "distribution-matching": "83.02",
        "dd3d": "83.91",
    },
    ("rotated", "1"): {
        "random": "34.65",
        "herding": "30.03",
        "k-center": "30.05",
        "gradient-matching": "41.32",
        "distribution-matching": "41.71",
        "dd3d": "42.36",
    },
    ("rotated", "10"): {
        "random": "58.87",
        "herding": "56.03",
        "k-center": "57.69",
        "gradient-matching": "55.69",
        "distribution-matching": "55.45",
        "dd3d": "58.14",
    },
    ("rotated", "50"): {
        "random": "70.13",
        "herding": "70.02",
        "k-center": "69.68",
        "gradient-matching": "68.92",
        "distribution-matching": "69.31",
        "dd3d": "71.27",
    },
    ("aligned", FULL): {FULL: "88.05"},
    ("rotated", FULL): {FULL: "80.45"},
}
"""ModelNet40 with PointNet, Table 1: means over 10 runs, each at its best test epoch."""
