"""What the networks cost: python -m train.efficiency --help."""

import sys

from train.profiling.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
