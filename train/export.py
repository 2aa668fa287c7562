"""A trained network in the form others take: python -m train.export --help."""

import sys

from train.inference.export_command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
