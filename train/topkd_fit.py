"""TopKD, step 2: RipsNet, fitted to the images of step 1; python -m train.topkd_fit --help."""

import sys

from train.methods.topkd.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
