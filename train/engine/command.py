"""The main command: what it does with a command line, and how it ends."""

import sys
from collections.abc import Sequence

from train.core.command import run_command
from train.engine.command_line import parse
from train.engine.stages import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: run(parse(given)), stopped="go on with --resume")
