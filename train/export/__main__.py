"""A trained network in the forms that others take: python -m train.export --help."""

import sys

from train.export.command import main

if __name__ == "__main__":
    sys.exit(main())
