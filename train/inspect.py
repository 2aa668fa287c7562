"""Count, check and draw a dataset: python -m train.inspect --help."""

import sys

from train.inspection.inspect import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
