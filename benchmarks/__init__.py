"""Measurements beside named peers: one JSON a run; tables and plots are made from JSON."""
