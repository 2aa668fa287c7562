"""The earlier place of `train.simulation.compare`; the command keeps working from here."""

import sys

from train.simulation.compare import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
