"""Scores of a finished checkpoint: python -m train.evaluate --help."""

import sys

from train.evaluation.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
