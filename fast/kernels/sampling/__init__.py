"""Farthest-point sampling and covering radii."""
