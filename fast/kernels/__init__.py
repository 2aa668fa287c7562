"""Kernels behind fast/: numba on the CPU; reached through the modules of fast alone."""
