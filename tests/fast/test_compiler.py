"""torch.compile beside fast/, kept out of numba's calls; what is said when kernels compile."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numba.core import event

import fast
from fast.dispatch import disable_compile
from tests.train.processes import run_bare

ROOT = Path(fast.__file__).parents[1]


@pytest.fixture
def counted():
    """Return a backend that counts the graphs it is given, and runs them as they are."""
    torch.compiler.reset()
    graphs = []

    def backend(module, inputs):
        graphs.append(module)
        return module.forward

    backend.graphs = graphs
    yield backend
    torch.compiler.reset()


def loaded_after(statements):
    """Return which of the slow modules a process that has torch has loaded after `statements`."""
    slow = "{'torch._dynamo', 'numba'}"
    run = run_bare(f"import sys\n{statements}\nprint(*{slow} & set(sys.modules))")
    assert run.returncode == 0, run.stderr[-4000:]
    return set(run.stdout.split())


def test_importing_fast_loads_neither_compiler():
    assert loaded_after("import fast") == set()


def test_a_loss_loads_numba_alone():
    statements = """
import torch, fast
features = torch.rand(30, 4, requires_grad=True)
fast.TopologicalLoss()(features.detach().cos(), features, torch.tensor([30])).backward()
"""
    assert loaded_after(statements) == {"numba"}


@pytest.mark.parametrize("called_before", [False, True])
def test_there_is_one_graph_break_and_nothing_inside_is_traced(counted, called_before):
    inside = []

    def halved(x):
        inside.append(torch.compiler.is_compiling())
        return torch.from_numpy(np.asarray(x) / 2)  # of a tensor that is traced there is no array

    halved = disable_compile(halved)

    def step(x):
        return halved((x + 1).cos()).sin() + 1

    want = step(torch.ones(3)) if called_before else None
    compiled = torch.compile(step, backend=counted)
    got = [compiled(torch.ones(3)) for _ in range(3)]
    assert len(counted.graphs) == 2  # before the break and after
    assert not any(inside)
    assert len(inside) == 3 + called_before
    want = step(torch.ones(3)) if want is None else want
    assert all(torch.equal(each, want) for each in got)


def test_nothing_is_traced_inside_a_function_that_takes_no_tensor_either(counted):
    def doubled(x):
        return x * 2

    @disable_compile
    def constant(number):
        return doubled(torch.full((3,), number))

    def step(x):
        return x.cos() + constant(2.0)

    assert torch.equal(
        torch.compile(step, backend=counted)(torch.zeros(3)), torch.tensor([5.0, 5.0, 5.0])
    )
    assert len(counted.graphs) == 2


# Dynamo itself reads .grad of every tensor that crosses a graph break.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_the_topological_loss_is_one_graph_break(counted):
    module = fast.TopologicalLoss(num_samples=16)
    teacher, student = (
        torch.rand(40, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(2)
    )
    leaf = student.clone().requires_grad_()

    def step(features):
        return module(teacher, features * 2, torch.tensor([15, 40])) + 1

    (want,) = torch.autograd.grad(step(leaf), leaf)
    (got,) = torch.autograd.grad(torch.compile(step, backend=counted)(leaf), leaf)
    assert len(counted.graphs) == 2
    assert torch.equal(got, want)
    assert got.abs().max() > 0


def test_name_and_docstring_stay():
    assert fast.topological_loss.__name__ == "topological_loss"
    assert fast.topological_loss.__doc__.startswith("Return the topological loss")


KERNELS = """
import gc, torch
from fast.kernels.distances.distances_cpu import column_means
for dtype in (torch.float32, torch.float64):
    print(column_means(torch.ones(3, 2, dtype=dtype)).tolist(), gc.isenabled())
"""


def test_compiling_is_said_once_and_where_it_is_kept_and_loading_is_not(tmp_path):
    def said():
        done = subprocess.run(
            [sys.executable, "-c", KERNELS],
            cwd=ROOT,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "[1.0, 1.0] True\n" * 2
        return done.stderr

    assert said() == f"topodistill: compiling kernels, once; kept in {tmp_path}\n"
    assert list(tmp_path.rglob("*.nbc"))
    assert said() == ""


def test_after_warming_up_no_diagram_and_no_loss_compiles():
    fast.warm_up()
    compiled = []

    class Listener(event.Listener):
        def on_start(self, event):
            compiled.append(event.data["dispatcher"].py_func.__qualname__)

        def on_end(self, event):
            pass

    with event.install_listener("numba:compile", Listener()):
        for size in (5, 64, 100, 200, 300, 1200):
            points = torch.randn(2, size, 5, requires_grad=True)
            for max_dim in (0, 1):
                diagrams = fast.rips_persistence_of_points(points, max_dim)
                sum(diagram.pairs.sum() for diagram in diagrams).backward()
        fast.topological_loss(points.detach(), points, 400).backward()
    assert compiled == []
