"""Edges: gathered, keyed and sorted in the filtration's order."""
