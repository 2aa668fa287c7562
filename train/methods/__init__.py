"""Distillation methods behind one protocol, and their registry: one file per method."""

from train.methods.protocol import DistillationMethod
from train.methods.registry import METHODS, method_class
from train.methods.terms import LossTerm

__all__ = ["METHODS", "DistillationMethod", "LossTerm", "method_class"]
