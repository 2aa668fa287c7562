"""What the tests of several studies share."""

import pytest

from tests.train.toy_runs import write_sweeps


@pytest.fixture(scope="session")
def toy_sweeps(tmp_path_factory):
    """A data root of five small sweeps, read by all tests and changed by none."""
    root = tmp_path_factory.mktemp("toy-sweeps")
    write_sweeps(root)
    return root
