"""Small clouds in one compiled loop: every field as by the definition and as for large clouds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import threads
from fast.kernels.rips import rips_cpu, small_rips_cpu
from tests.reference.checks import assert_same_diagram

FIELDS = ["birth_edges", "death_edges", "death_simplices", "counts", "num_essential"]


def symmetric(rng, n, lengths):
    """Return a matrix whose upper triangle is `lengths` of its shape."""
    upper = np.triu(lengths, k=1)
    return upper + upper.T


def tied(rng, n):
    return symmetric(rng, n, rng.integers(0, rng.integers(2, 9), size=(n, n)).astype(float))


def uniform(rng, n):
    return symmetric(rng, n, rng.random((n, n)))


def points(rng, n):
    return reference.pairwise_distances(rng.normal(size=(n, rng.integers(1, 8))))


def duplicates(rng, n):
    return reference.pairwise_distances(rng.integers(0, 4, size=(n, 2)).astype(float))


def lattice(rng, n):
    side = max(1, int(np.ceil(np.sqrt(n))))
    cells = np.stack(np.divmod(np.arange(n), side), axis=1)
    return reference.pairwise_distances(cells.astype(float))


def equal(rng, n):
    return symmetric(rng, n, np.ones((n, n)))


def bipartite(rng, n):
    side = np.arange(n) % 2
    return symmetric(rng, n, np.where(side[:, None] == side, 2.0, 1.0))


def gappy(rng, n):
    return symmetric(rng, n, np.where(rng.random((n, n)) < 0.6, np.inf, rng.random((n, n))))


def uneven(rng, n):
    """Lengths over many orders of magnitude: buckets of equal width are useless."""
    return symmetric(rng, n, np.exp(rng.normal(size=(n, n)) * 8))


KINDS = [tied, uniform, points, duplicates, lattice, equal, bipartite, gappy, uneven]


def batch_of(kinds, n, seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return torch.tensor(np.stack([kind(rng, n) for kind in kinds])).to(dtype)


def as_large(monkeypatch, *arguments):
    """Return what the path of large clouds gives."""
    with monkeypatch.context() as patch:
        patch.setattr(rips_cpu, "_MOST_POINTS_SMALL", -1)
        return rips_cpu.rips_pairs(*arguments)


def assert_same(got, want):
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        for field in FIELDS:
            assert mine[field].dtype == theirs[field].dtype, field
            assert torch.equal(mine[field], theirs[field]), field


def assert_defined(batch, max_dim=1, threshold=np.inf, sizes=None):
    """Compare every field with the definition; returns how many pairs there are."""
    found = fast.rips_persistence(batch, max_dim, threshold, sizes=sizes)
    pairs = 0
    for index, matrix in enumerate(batch.double().numpy()):
        size = len(matrix) if sizes is None else sizes[index]
        want = reference.rips_persistence(matrix[:size, :size], max_dim, threshold)
        for diagram, expected in zip(found, want, strict=True):
            assert_same_diagram(diagram.cloud(index), expected)
            pairs += len(expected)
    return pairs


@pytest.fixture
def small(monkeypatch):
    """Fail if a cloud takes the path of large ones."""

    def refuse(*arguments):
        raise AssertionError("a small cloud took the path of large ones")

    monkeypatch.setattr(rips_cpu, "_pairs_of_clouds", refuse)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 6, 13])
@pytest.mark.usefixtures("small")
def test_it_equals_the_definition_in_every_field(n, dtype):
    rng = np.random.default_rng(n)
    matrices = [np.minimum(kind(rng, n), 2.0**40) for kind in KINDS[:-1]]
    batch = torch.tensor(np.stack(matrices)).to(dtype)
    for threshold in (np.inf, 1.0, 0.0):
        for max_dim in (0, 1):
            assert_defined(batch, max_dim, threshold)
    sizes = rng.integers(0, n + 1, len(batch)).tolist()
    assert_defined(batch, sizes=sizes)


@given(seed=st.integers(0, 10**6), largest=st.integers(1, 6), n=st.integers(4, 14))
def test_it_equals_the_definition_on_ties(seed, largest, n):
    rng = np.random.default_rng(seed)
    lengths = [symmetric(rng, n, rng.integers(0, largest + 1, size=(n, n)) * 1.0) for _ in range(2)]
    assert_defined(torch.tensor(np.stack(lengths)).float())


# `lanes` are 1, 2 and 4 words: both sides of each border; one and several words of births.
@pytest.mark.parametrize("n", [40, 64, 65, 128, 129, 192, 256])
@pytest.mark.parametrize("max_dim", [0, 1])
def test_it_equals_the_path_of_large_clouds(monkeypatch, n, max_dim):
    few_births = {bipartite: 64, tied: 128, uniform: 192, gappy: 192, uneven: 192}  # up to which n
    kinds = [kind for kind in KINDS if n <= few_births.get(kind, n)]
    for dtype in (torch.float32, torch.float64):
        batch = batch_of(kinds, n, n, dtype)
        got, status = small_rips_cpu.rips_pairs(batch.numpy(), None, max_dim, np.inf)
        assert status is None
        assert_same(got, as_large(monkeypatch, batch, None, max_dim, np.inf))
    if max_dim == 1:
        assert int(got[1]["counts"].sum()) > 100


def test_buffers_that_grew_serve_clouds_of_other_sizes(monkeypatch):
    # Many births, then few points, then all: the second cloud must not see the first one's bits.
    batch = batch_of([bipartite, uniform, points, bipartite, tied, uniform], 64, 3)
    for sizes in ([40, 64, 10, 64, 64, 3], [10, 12, 64, 64, 0, 64], [64, 9, 30, 20, 64, 64]):
        got = rips_cpu.rips_pairs(batch, sizes, 1, np.inf)
        assert_same(got, as_large(monkeypatch, batch, sizes, 1, np.inf))


def test_too_many_births_for_the_small_path_are_found_all_the_same(monkeypatch):
    batch = batch_of([points, bipartite, uniform], 80, 0)
    _, status = small_rips_cpu.rips_pairs(batch.numpy(), None, 1, np.inf)
    assert status.tolist() == [small_rips_cpu.DONE, small_rips_cpu.CROWDED, small_rips_cpu.DONE]
    got = rips_cpu.rips_pairs(batch, None, 1, np.inf)
    assert int(got[1]["counts"][1]) == 39 * 39
    assert_same(got, as_large(monkeypatch, batch, None, 1, np.inf))


@pytest.mark.parametrize("max_dim", [0, 1])
def test_every_number_of_threads_gives_the_same_bits(set_threads, monkeypatch, max_dim):
    batch = batch_of([*KINDS, points, tied], 33, 1)
    sizes = [33, 2, 0, 33, 20, 33, 8, 33, 33, 1, 30]
    want = as_large(monkeypatch, batch, sizes, max_dim, np.inf)
    monkeypatch.setattr(threads, "_MIN_OPERATIONS", 0)
    used = []
    run = threads.run

    def spy(function, calls, num_threads):
        used.append(len(calls))
        return run(function, calls, num_threads)

    monkeypatch.setattr(threads, "run", spy)
    for count in (1, 2, 3, 5, 16):
        set_threads(count)
        assert_same(rips_cpu.rips_pairs(batch, sizes, max_dim, np.inf), want)
    assert used == [1, 2, 3, 5, 11]


@pytest.mark.usefixtures("small")
def test_a_negative_zero_is_a_zero():
    batch = batch_of([tied, duplicates], 12, 0)
    signed = torch.where(batch == 0, -0.0, batch)
    assert_same(*(rips_cpu.rips_pairs(each, None, 1, np.inf) for each in (signed, batch)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("max_dim", [0, 1])
@pytest.mark.parametrize(
    ("i", "j", "value"),
    [
        (1, 2, np.nan),
        (1, 2, -np.nan),
        (3, 0, -1.0),
        (3, 0, -np.inf),
        (2, 2, 1.0),
        (0, 4, 9.0),
        (5, 4, 9.0),
        (5, 5, np.inf),
    ],
)
def test_an_error_is_that_of_the_path_of_large_clouds(monkeypatch, i, j, value, max_dim, dtype):
    batch = batch_of([tied, tied, tied], 6, 0, dtype)
    batch[1, i, j] = value
    batch[2, 0, 0] = 1.0  # a later cloud's error is not the one that is reported
    with pytest.raises(ValueError, match="rips_persistence: ") as want:
        as_large(monkeypatch, batch, None, max_dim, np.inf)
    with pytest.raises(ValueError, match="rips_persistence: ") as got:
        fast.rips_persistence(batch, max_dim)
    assert str(got.value) == str(want.value)
    fast.rips_persistence(batch, max_dim, sizes=[6, min(i, j), 0])  # what is cut off is not read


def test_a_batch_that_is_not_contiguous_is_read_right():
    batch = batch_of([tied, points], 12, 0)
    assert_same(rips_cpu.rips_pairs(batch.repeat(1, 2, 1)[:, ::2][:, :0], None, 1, np.inf)[:0], [])
    wide = torch.full((2, 24, 24), 7.0, dtype=batch.dtype)
    wide[:, ::2, ::2] = batch
    got = rips_cpu.rips_pairs(wide[:, ::2, ::2], None, 1, np.inf)
    assert_same(got, rips_cpu.rips_pairs(batch, None, 1, np.inf))


# The comparison, and what it must catch.


def _reversed_apexes(find_pairs):
    def mutant(*arguments):
        pairs = find_pairs(*arguments)
        pairs[:, 2] = pairs[::-1, 2].copy()
        return pairs

    return mutant


def _swapped_rows(find_pairs):
    def mutant(*arguments):
        return find_pairs(*arguments)[::-1]

    return mutant


def _one_more_class_alive(find_pairs):
    def mutant(*arguments):
        pairs = find_pairs(*arguments)
        arguments[8][4] += 1
        return pairs

    return mutant


@pytest.mark.parametrize("mutant", [_reversed_apexes, _swapped_rows, _one_more_class_alive])
def test_a_broken_kernel_is_caught(monkeypatch, mutant):
    batch = batch_of([tied, points, uniform], 20, 0)
    assert_defined(batch[:, :12, :12].contiguous())
    monkeypatch.setattr(small_rips_cpu, "find_pairs", mutant(small_rips_cpu.find_pairs))
    with pytest.raises(AssertionError):
        assert_defined(batch[:, :12, :12].contiguous())
