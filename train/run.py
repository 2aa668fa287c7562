"""The main command: train a teacher, distill it into a student, score both, write the report.

python -m train.run --dataset waymo --simulate
"""

import sys
from collections.abc import Sequence

from train.core.command import run_command
from train.engine.command_line import parse
from train.engine.stages import run
from train.report.write import write_run_report

__all__ = ["main", "parse"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: run(parse(given), write_run_report), stopped="go on with --resume")


if __name__ == "__main__":
    sys.exit(main())
