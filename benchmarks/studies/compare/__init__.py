"""Simulated frames beside a real one."""
