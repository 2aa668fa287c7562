"""Distillation methods behind one protocol, and their registry: one file per method."""

from train.methods.protocol import DistillationMethod, LossTerm
from train.methods.registry import METHODS, method_class

__all__ = ["METHODS", "DistillationMethod", "LossTerm", "method_class"]
