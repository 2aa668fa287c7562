"""Settings that all tests share: hypothesis profiles, threads, the real sweeps' folder."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# Small tensors: a second thread costs more than it brings, far more where other work runs too.
torch.set_num_threads(1)

settings.register_profile(
    "default", deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what costs a minute and shows little that is new to the thorough profile."""
    if settings().max_examples >= settings.get_profile("thorough").max_examples:
        return
    reason = "a minute for what others show in small: --hypothesis-profile=thorough"
    for item in items:
        if item.get_closest_marker("thorough") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real sweeps beside the checkout; skip, saying so, if there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real sweeps are not beside this checkout (they may not be shipped)")
    return folder
