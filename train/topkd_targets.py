"""TopKD, step 1: a teacher's clouds with their images; python -m train.topkd_targets --help."""

import sys

from train.engine.topkd_targets import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
