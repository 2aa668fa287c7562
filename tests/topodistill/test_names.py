"""`topodistill` has `fast`'s public names and nothing of its own, and loads little."""

import re
import sys
from importlib import metadata
from pathlib import Path
from pkgutil import resolve_name

import pytest

import fast
import fast.plot
import topodistill
import train.networks
import train.predict
from benchmarks.imports import COMPILER, HEAVY, in_fresh_process
from tests.train.processes import run_bare
from train.data.dataset_spec import DatasetSpec
from train.methods.protocol import DistillationMethod
from train.networks.protocol import Network

ROOT = Path(__file__).resolve().parents[2]


def loaded_beside_torch(statements):
    """Return the packages that statements load where torch is loaded already."""
    named = "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    done = run_bare(f"import sys; before = set(sys.modules)\n{statements}\n{named}")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("name", fast.__all__)
def test_a_name_is_the_same_object_as_in_fast(name):
    assert getattr(topodistill, name) is getattr(fast, name)


def test_the_names_are_those_of_fast_and_the_version():
    assert set(topodistill.__all__) == {*fast.__all__, "__version__"}
    others = ["compat", "from_pretrained", "plot", "save_pretrained", "transformers"]
    assert dir(topodistill) == sorted([*topodistill.__all__, *others])


@pytest.mark.parametrize(
    ("name", "module"), [("from_pretrained", train.predict), ("save_pretrained", train.networks)]
)
def test_networks_are_saved_and_opened_by_the_function_of_train(name, module):
    assert getattr(topodistill, name) is getattr(module, name)
    assert "tensorboard" not in loaded_beside_torch(f"import topodistill; topodistill.{name}")


def test_pictures_are_an_attribute_a_module_and_those_of_fast():
    done = "import topodistill; draw = topodistill.plot.plot_diagram"
    assert "matplotlib" not in loaded_beside_torch(done)
    assert topodistill.plot.__all__ == fast.plot.__all__
    for name in topodistill.plot.__all__:
        assert getattr(topodistill.plot, name) is getattr(fast.plot, name)


def test_a_star_import_gives_every_name():
    given = {}
    exec("from topodistill import *", given)
    assert set(topodistill.__all__) <= given.keys()


def test_every_public_name_and_contract_is_on_one_page_of_the_api_reference():
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    shown = {name.rpartition(".")[2]: resolve_name(name) for name in named}
    contracts = {each.__name__: each for each in (DatasetSpec, DistillationMethod, Network)}
    public = {name: getattr(topodistill, name) for name in dir(topodistill)}
    assert {**shown, "__version__": topodistill.__version__} == {**public, **contracts}
    assert len(shown) == len(named)


def test_the_version_is_that_of_the_installed_distribution():
    assert topodistill.__version__ == metadata.version("topodistill")


@pytest.mark.parametrize("name", ["rips_persistance", "np", "_fast_", "__wrapped__", "torch"])
def test_any_other_name_is_missing(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(topodistill, name)


@pytest.mark.parametrize("statement", ["import topodistill", "from topodistill import *"])
def test_importing_loads_nothing_that_training_or_compiling_needs(statement):
    packages = loaded_beside_torch(statement)
    assert "topodistill" in packages
    assert not packages & {*HEAVY, COMPILER}


def test_the_commands_do_not_wait_for_torch():
    assert "torch" not in in_fresh_process("import topodistill.commands", before="").packages


def test_the_reference_needs_numpy_and_jaxtyping_alone():
    packages = in_fresh_process("import reference", before="").packages
    # What they bring themselves, numpy.random among it, counts as theirs.
    theirs = in_fresh_process("import numpy.random, jaxtyping", before="").packages
    assert {"numpy", "jaxtyping"} <= packages
    assert packages - theirs - set(sys.stdlib_module_names) == {"reference"}
    assert "torch" not in packages


FIRST_ON_THE_PATH = "import sys; sys.path.insert(0, sys.argv[1])\n"


@pytest.mark.parametrize("name", ["rips_persistence", "plot", "compat", "transformers"])
def test_a_file_that_hides_a_package_is_named(tmp_path, name):
    (tmp_path / "reference.py").write_text("")
    done = run_bare(f"{FIRST_ON_THE_PATH}from topodistill import {name}", tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"`import reference` finds {tmp_path.resolve() / 'reference.py'}" in last
    assert "rename what hides it" in last


def test_a_folder_that_hides_a_package_is_named(tmp_path):
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "__init__.py").write_text("")
    code = f"{FIRST_ON_THE_PATH}import topodistill; topodistill.rips_persistence"
    done = run_bare(code, tmp_path)
    assert done.returncode == 1
    assert f"`import fast` finds {tmp_path.resolve() / 'fast'}" in done.stderr.splitlines()[-1]
