"""A small training set in place of a large one: python -m train.distill_data --help."""

import sys

from train.dataset_distillation.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
