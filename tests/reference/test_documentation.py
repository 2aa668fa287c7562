"""The examples run, and a reader with the paper open finds each formula by its number."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import reference

MODULES = [f"reference.{module.name}" for module in pkgutil.iter_modules(reference.__path__)]
README = Path(reference.__file__).parent / "README.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.failed == 0


def test_every_public_function_has_an_example_and_says_what_it_refuses():
    functions = [getattr(reference, name) for name in reference.__all__]
    for function in filter(inspect.isfunction, functions):
        for section in ("Parameters", "Returns", "Raises", "Examples"):
            underlined = f"\n    {section}\n    {'-' * len(section)}\n"
            assert underlined in (function.__doc__ or ""), (function.__name__, section)


FORMULAS = [f"Eq. {number}" for number in range(1, 9)]
FORMULAS += [f"Algorithm {number}" for number in range(1, 6)]
FORMULAS += ["Theorem 1", "Proposition 1", "Lemma 1", "Table 11"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_readme_says_where_each_formula_is(formula):
    row = next(line for line in README.read_text().splitlines() if line.startswith(f"| {formula} "))
    named = [word for word in row.split("`") if hasattr(reference, word)]
    assert named, row


def test_the_readme_lists_every_public_name():
    text = README.read_text()
    missing = [name for name in reference.__all__ if f"`{name}`" not in text]
    assert not missing
