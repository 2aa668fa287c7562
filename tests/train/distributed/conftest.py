"""Sweeps for the runs on several processes."""

import pytest

from train.simulation.semantickitti import simulate_semantickitti


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory):
    """Return a folder of four simulated training sweeps and two for validation."""
    root = tmp_path_factory.mktemp("sweeps") / "semantickitti"
    simulate_semantickitti(root, num_sweeps=4, num_validation_sweeps=2, azimuth_steps=40)
    return root
