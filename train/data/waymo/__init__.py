"""Waymo Open (Perception): its reader for both formats, its classes, its submission."""
