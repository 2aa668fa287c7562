"""Measurements beside named peers: one JSON a run; tables and plots are made from JSON."""

# Before anything of `train`, which tells OpenMP to wait passively in its own commands: what is
# measured here waits as it does by default.
import torch  # noqa: F401
