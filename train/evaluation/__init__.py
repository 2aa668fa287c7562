"""Scores of finished networks."""
