"""Make `python -m train.report` work."""

import sys

from train.report.command import main

if __name__ == "__main__":
    sys.exit(main())
