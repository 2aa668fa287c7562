"""Lengths of edges, and gradients on the way back through them."""
