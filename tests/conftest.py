"""Settings that all tests share: hypothesis profiles, threads, order, the real frames' folder."""

import gc
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.compile_once import share_compilation

# Small tensors: a second thread costs more than it brings, far more where other work runs too.
torch.set_num_threads(1)

settings.register_profile(
    "default", deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Let workers take files in the order below, and compile nothing that another compiles."""
    _let_children_hear_signals()
    if hasattr(config.option, "loadscopereorder"):  # an option of pytest-xdist
        config.option.loadscopereorder = False
    if "PYTEST_XDIST_WORKER" in os.environ:
        share_compilation()


def _let_children_hear_signals() -> None:
    """Go on ignoring what this process ignores, and let those that tests start not do so too.

    Under nohup, or in the background of a script, a process ignores signals that tests send to
    others. What is ignored is inherited; a handler is not.
    """
    for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:  # none on Windows
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector off what the collection makes, which lives until the end.

    It is millions of objects: to look through them once takes half a second, which every full
    collection in every worker would.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that have slow tests first, so that no worker ends with one alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -sizes[item.path], str(item.path)))
    _leave_to_the_thorough_profile(items)


def _leave_to_the_thorough_profile(items: list[pytest.Item]) -> None:
    """Skip what costs a minute and shows little that is new."""
    if settings().max_examples >= settings.get_profile("thorough").max_examples:
        return
    reason = "a minute for what others show in small: --hypothesis-profile=thorough"
    for item in items:
        if item.get_closest_marker("thorough") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real frames beside the checkout; skip, saying so, if there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real frames are not beside this checkout (they may not be shipped)")
    return folder
