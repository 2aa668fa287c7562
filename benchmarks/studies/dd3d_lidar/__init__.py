"""Dataset distillation on simulated LiDAR frames: DD3D against as many real points."""
