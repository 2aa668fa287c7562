"""Dataset distillation on simulated objects: DD3D against every baseline and the full set."""
