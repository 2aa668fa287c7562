"""The main command: train a teacher, distill it into a student, score both.

python -m train.run --dataset waymo --simulate
"""

import sys

from train.engine.command import main
from train.engine.command_line import parse

__all__ = ["main", "parse"]

if __name__ == "__main__":
    sys.exit(main())
