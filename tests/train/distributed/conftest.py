"""Frames for the runs on several processes."""

import pytest

from train.simulation.semantickitti import simulate_semantickitti


@pytest.fixture(scope="session")
def frames(tmp_path_factory):
    """Return a folder of four simulated training frames and two for validation."""
    root = tmp_path_factory.mktemp("frames") / "semantickitti"
    simulate_semantickitti(root, num_frames=4, num_validation_frames=2, azimuth_steps=40)
    return root
