"""The page of a run: python -m train.report --help."""

from train.report.command import main

__all__ = ["main"]
