"""Simulated sweeps beside a real one."""
