"""Compare the methods that distill from cameras; python -m train.cross_modal --help."""

import sys

from train.experiments.cross_modal.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
