"""The paper's figures, and a page of all its tables and figures: python -m train.figures --help."""

import sys

from train.experiments.figures.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
