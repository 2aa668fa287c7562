"""Dataset distillation against baselines, a page: python -m train.distill_data_page --help."""

import sys

from train.experiments.distill_data.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
