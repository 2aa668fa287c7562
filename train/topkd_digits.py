"""TopKD on images, with seeds and intervals: python -m train.topkd_digits --help."""

import sys

from train.experiments.topkd_digits.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
