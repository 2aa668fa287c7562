"""What is distilled and how: one object a method."""

from train.methods.topology_gradient import TopologyGradientDistillation

__all__ = ["TopologyGradientDistillation"]
