"""The examples in fast's docstrings give what they show."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import fast

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
