"""The main command: train a teacher, distill it into a student, score both, write the report.

python -m train.run --dataset waymo --simulate
"""

import sys
from collections.abc import Sequence

from train.core.command import run_command
from train.engine.command_line import parse

__all__ = ["main", "parse"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: _run(given), stopped="go on with --resume")


def _run(given: Sequence[str]) -> None:
    config = parse(given)
    # What trains, scores and draws takes tenths of a second to load: not for --help.
    from train.engine.stages import run
    from train.report.write import write_run_report

    run(config, write_run_report)


if __name__ == "__main__":
    sys.exit(main())
