"""A class for every point of clouds: python -m train.predict --help."""

import sys

from train.predict.command import main

if __name__ == "__main__":
    sys.exit(main())
