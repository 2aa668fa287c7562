"""LiDAR frames as they lie on disk, and the transforms between disk and network."""
