"""How far RipsNet and a run's student are from the truth: python -m train.topkd_fidelity --help."""

import sys

from train.experiments.topkd_fidelity import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
