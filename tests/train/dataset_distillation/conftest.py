"""What the tests of the command share."""

import pytest

from train.dataset_distillation.command import main


@pytest.fixture
def refused(capsys):
    """Give the command what it refuses; return the one line that says why."""

    def refusal(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        shown = capsys.readouterr().err.strip().splitlines()[-1]
        assert shown.startswith("error: ")
        return shown

    return refusal
