"""LiDAR frames as clouds whose semantic classes are the parts: a few frames in place of many."""
