"""LiDAR sweeps as they lie on disk, the transforms between disk and network, and a simulator."""
