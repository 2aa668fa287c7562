"""Lunes of edges: which are empty, and which fall apart."""
