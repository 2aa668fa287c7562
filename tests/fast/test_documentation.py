"""The docstrings' examples give what they show, and defaults are those that they promise."""

import doctest
import importlib
import inspect
import pkgutil
from math import inf

import numpy as np
import pytest
import torch

import fast
import reference

MODULES = [
    module.name for module in pkgutil.iter_modules(fast.__path__) if module.name != "kernels"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a picture of an example is left
    module = importlib.import_module(f"fast.{name}")
    given = {each: getattr(fast, each) for each in fast.__all__} | {"torch": torch, "np": np}
    result = doctest.testmod(module, extraglobs=given, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


DEFAULTS = {
    "ImageScale": {"maximum": 1.0, "weight": "topkd", "resolution": (20, 20)},
    "default_grid": {"num_values": 100},
    "entropic_transport": {"eps": 0.1, "tolerance": 1e-9, "max_iterations": 10_000},
    "fit_persistence_image": {"weight": "topkd", "resolution": (20, 20), "birth_margin": 0.0},
    "kl_distillation": {"temperature": 1.0},
    "normalise": {"normalisation": "l2"},
    "normalize": {"normalisation": "l2"},
    "persistence_landscape": {"num_landscapes": 5},
    "persistence_weighted_chamfer": {
        "eps": 1e-8, "cost_scale": 1.0, "precision_weight": "uniform", "min_persistence": 0.0,
    },
    "rips_persistence": {"max_dim": 1, "threshold": inf},
    "saliency_loss": {"layers": "sum"},
    "saliency_map": {"eps": 0.0},
    "sample_points": {"start": 0, "sampling": "farthest"},
    "signature_loss": {"dim_weights": (1.0,), "metric": "euclidean"},
    "sliced_wasserstein": {"num_directions": 50, "order": 1.0},
    "topological_loss": {
        "num_samples": 1024, "normalisation": "l2", "max_dim": 1, "dim_weights": (1.0, 1.0),
        "eps": 1e-8, "cost_scale": 1.0, "precision_weight": "uniform", "min_persistence": 0.0,
        "sample_on": "teacher", "start": 0, "loss": "pwcd", "sinkhorn_eps": 0.1,
        "sampling": "farthest",
    },
    "topology_preserving_sampling": {"start": 0},
    "total_persistence": {"order": 1.0},
    "wasserstein_distance": {"order": 2.0, "ground": inf},
    "wasserstein_matching": {"order": 2.0, "ground": inf},
}  # fmt: skip
REFERENCE_ALONE = {"max_simplices", "tie_tolerance", "distance_eps"}
"""Bounds and smoothings that the fast path does not need."""


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {
        each.name: each.default
        for each in parameters
        if isinstance(each.default, int | float | str | tuple)
        and not isinstance(each.default, bool)
    }


def test_every_default_of_a_twin_is_in_the_table():
    twins = set(fast.__all__) & set(reference.__all__)
    functions = {name for name in twins if callable(getattr(fast, name))}
    with_defaults = set()
    for name in functions:
        try:
            found = defaults(getattr(fast, name)) or defaults(getattr(reference, name))
        except ValueError:  # a class without a signature has no defaults
            continue
        with_defaults |= {name} if found else set()
    assert with_defaults == DEFAULTS.keys()


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("twin", [fast, reference], ids=["fast", "reference"])
def test_defaults(twin, name):
    found = defaults(getattr(twin, name))
    if twin is reference:
        found = {key: value for key, value in found.items() if key not in REFERENCE_ALONE}
    assert found == DEFAULTS[name]
