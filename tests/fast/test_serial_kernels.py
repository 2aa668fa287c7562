"""The CUDA kernels of Rips persistence at full size, compiled for the CPU as a single thread.

numba's simulator interprets Python and cannot go beyond some twenty points. Compiled so, nothing
can race, but every branch and index, and the growth of every buffer, are as on a GPU.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType

import numba
import numpy as np
import pytest
import torch
from numba import njit

import fast
from fast.kernels.rips import rips_cpu

MODULES = (
    "edges.edges_gpu",
    "pairing.tree_gpu",
    "lunes.lunes_gpu",
    "pairing.pairing_gpu",
    "pairing.list_pairing_gpu",
    "rips.rips_gpu",
)
FIELDS = ("birth_edges", "death_edges", "death_simplices", "counts", "num_essential")


def _module(name, **names):
    """Return a module of these names: numba takes them for constants and functions."""
    module = ModuleType(name)
    module.__dict__.update(names)
    return module


@njit
def _nothing():
    pass


@njit
def _array(shape, dtype):
    return np.empty(shape, dtype)


@njit
def _popc(word):
    count = 0
    while word != np.uint64(0):
        word &= word - np.uint64(1)
        count += 1
    return count


@njit
def _add(array, index, value):
    before = array[index]
    array[index] = before + value
    return before


@njit
def _min(array, index, value):
    array[index] = min(array[index], value)


@njit
def _max(array, index, value):
    array[index] = max(array[index], value)


@njit
def _or(array, index, value):
    array[index] |= value


@njit
def _xor(array, index, value):
    array[index] ^= value


def _one_thread():
    """Return what stands for numba.cuda: one block of one thread, on the CPU."""
    first, single = _module("first", x=0), _module("single", x=1)
    return _module(
        "cuda",
        jit=lambda **options: njit,
        threadIdx=first,
        blockIdx=first,
        blockDim=single,
        gridDim=single,
        grid=njit(lambda dimensions: 0),
        gridsize=njit(lambda dimensions: 1),
        syncthreads=_nothing,
        shared=_module("shared", array=_array),
        local=_module("local", array=_array),
        popc=_popc,
        atomic=_module("atomic", add=_add, min=_min, max=_max, or_=_or, xor=_xor),
    )


def _launch(kernel, blocks, threads, *arguments):
    kernel(*(a.numpy() if isinstance(a, torch.Tensor) else a for a in arguments))


@pytest.fixture(scope="module")
def rips_gpu():
    """Return a copy of fast.kernels.rips.rips_gpu whose kernels run on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba, "cuda", _one_thread(), raising=False)
        for name in MODULES:
            spec = find_spec(f"fast.kernels.{name}")
            module = module_from_spec(spec)
            patch.setitem(sys.modules, spec.name, module)
            step = import_module(spec.parent)
            patch.setattr(step, spec.name.rpartition(".")[2], module, raising=False)
            spec.loader.exec_module(module)
            if hasattr(module, "launch"):
                module.launch = _launch
        yield module


def assert_same_pairs(rips_gpu, distances, sizes=None, max_dim=1, threshold=torch.inf):
    """Compare every field with the CPU's own kernels; returns how many pairs there are."""
    got = rips_gpu.rips_pairs(distances, sizes, max_dim, threshold)
    want = rips_cpu.rips_pairs(distances, sizes, max_dim, threshold)
    for mine, theirs in zip(got, want, strict=True):
        for field in FIELDS:
            assert torch.equal(mine[field], theirs[field]), field
    return [part["counts"].tolist() for part in got]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("gaussian", [320, 200]),  # serial kernels take a minute and a half for 1024
        ("features", [1024, 700]),
        ("circle", [1024, 700]),
        ("grid", [1024, 700]),
    ],
)
def test_at_the_paper_s_size_it_equals_the_cpu(rips_gpu, make_cloud, family, sizes):
    clouds = [torch.tensor(make_cloud(family, size, seed=size)) for size in sizes]
    points = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True).float()
    counts = assert_same_pairs(rips_gpu, fast.pairwise_distances(points), sizes)
    assert min(counts[1]) > 50


def test_more_births_than_there_is_room_for(rips_gpu):
    # Two sides at 1, all else at 2: a loop for nearly every edge between the sides.
    side = torch.arange(70) % 2
    lengths = torch.where(side[:, None] == side, 2.0, 1.0).fill_diagonal_(0)
    assert rips_gpu._first_room(70).births < 34 * 34
    assert assert_same_pairs(rips_gpu, lengths[None])[1] == [34 * 34]


def by_lists(rips_gpu, monkeypatch):
    """Let rows of bits have no memory; returns how often lists were taken instead."""
    taken = []

    class Seen(rips_gpu.ListPairing):
        def run(self):
            taken.append(len(self.done))
            super().run()

    monkeypatch.setattr(rips_gpu, "ListPairing", Seen)
    monkeypatch.setattr(sys.modules[Seen.__base__.__module__], "_BLOCKS", 1)  # one thread's scratch
    monkeypatch.setattr(rips_gpu, "_LEAST_ROW_BYTES", 0)
    monkeypatch.setattr(rips_gpu, "_ROWS_PER_MATRIX", 0)
    return taken


def two_sides(n, noise=0.0):
    """Two sides at 1, all else at 2: a loop for nearly every edge between the sides."""
    side = torch.arange(n) % 2
    lengths = torch.where(side[:, None] == side, 2.0, 1.0)
    lengths += noise * torch.rand(n, n, generator=torch.Generator().manual_seed(n)).triu(1)
    return (lengths.triu(1) + lengths.triu(1).T)[None]


@pytest.mark.parametrize("family", ["gaussian", "grid", "circle"])
def test_lists_give_the_same_pairs_as_rows_of_bits(rips_gpu, make_cloud, monkeypatch, family):
    taken = by_lists(rips_gpu, monkeypatch)
    points = torch.tensor(np.stack([make_cloud(family, 200, seed) for seed in range(2)])).float()
    counts = assert_same_pairs(rips_gpu, fast.pairwise_distances(points), [200, 150])
    assert min(counts[1]) > 5
    assert taken == [2]


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_births_squared_are_never_in_memory(rips_gpu, monkeypatch, noise):
    """Bitsets of these births take 130 MB, the matrix 0.26."""
    largest = []
    allocate = torch.full

    def full(shape, value, **options):
        if shape[0] == 1:  # of a cloud; scratch is of threads
            largest.append(np.prod(shape))
        return allocate(shape, value, **options)

    monkeypatch.setattr(torch, "full", full)
    n = 256
    births = (n // 2 - 1) ** 2
    counts = assert_same_pairs(rips_gpu, two_sides(n, noise))
    assert counts[1] == [births]
    assert 0 < max(largest) < 5 * n**2


def test_lists_that_find_no_room_get_more(rips_gpu, monkeypatch):
    taken = by_lists(rips_gpu, monkeypatch)
    module = sys.modules["fast.kernels.pairing.list_pairing_gpu"]
    monkeypatch.setattr(module, "_FEWEST_ENTRIES", 1)
    start = rips_gpu.ListPairing.__init__

    def tight(self, *arguments):
        start(self, *arguments)
        self.arena = self.arena[:, :3].contiguous()
        self.pending = self.pending[:, :1].contiguous()

    monkeypatch.setattr(rips_gpu.ListPairing, "__init__", tight)
    rng = np.random.default_rng(3)
    lengths = np.triu(rng.random((3, 40, 40)), k=1)
    assert_same_pairs(rips_gpu, torch.tensor(lengths + lengths.transpose(0, 2, 1)))
    assert taken == [3]


@pytest.mark.parametrize("lists", [False, True], ids=["bits", "lists"])
def test_many_small_batches_of_ties(rips_gpu, monkeypatch, lists):
    taken = by_lists(rips_gpu, monkeypatch) if lists else [0]
    rng = np.random.default_rng(0)
    pairs = 0
    for trial in range(150):
        n, clouds = int(rng.integers(0, 22)), int(rng.integers(1, 4))
        lengths = rng.integers(0, rng.integers(2, 10), size=(clouds, n, n)).astype(float)
        lengths = np.triu(lengths, k=1)
        matrices = torch.tensor(lengths + lengths.transpose(0, 2, 1)).float()
        if trial % 3 == 0:
            matrices[matrices > 4] = torch.inf
        sizes = rng.integers(0, n + 1, size=clouds).tolist() if trial % 2 else None
        threshold = (torch.inf, 2.0, 3.5, 0.0)[trial % 4]
        pairs += sum(assert_same_pairs(rips_gpu, matrices, sizes, 1, threshold)[-1])
    assert pairs > 300
    assert taken


def test_the_copy_leaves_the_package_alone(rips_gpu):
    assert rips_gpu.launch is _launch
    assert rips_gpu.lunes_gpu.search_lunes.targetoptions["nopython"]
