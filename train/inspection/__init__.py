"""Looks at LiDAR frames: counts, checks and pictures, for people and before training."""
