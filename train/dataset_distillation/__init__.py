"""Dataset distillation: makes a small training set of point clouds in place of a large one."""
