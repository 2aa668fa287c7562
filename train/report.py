"""The report of a run, as one HTML file or as Markdown: python -m train.report --help."""

import sys

from train.engine.report.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
