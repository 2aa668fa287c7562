"""Which loss pays: an ablation with seeds and intervals; python -m train.ablate --help."""

import sys

from train.ablation.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
