"""Births and deaths paired: the tree for H0, chains for H1."""
