"""The edges of a cloud on the CPU: sorted by length, then (i, j), in no more passes than needed."""

import numpy as np
import pytest

from fast.kernels.edges import edges_cpu


def sorted_edges(lengths, low, high):
    """Return the keys, the order, and whether it took an odd number of passes."""
    keys = lengths.view(f"i{lengths.itemsize}").copy()
    edges = np.arange(len(keys))
    spare_keys, spare_edges = np.empty_like(keys), np.empty_like(edges)
    is_odd = edges_cpu.sort_edges(keys, edges, low, high, spare_keys, spare_edges)
    return (spare_keys, spare_edges, True) if is_odd else (keys, edges, False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smallest", [0.0, 5e-45, 1e-20, 0.5, 1 - 2**-20, 1.0])
def test_they_are_sorted_stably_in_a_pass_for_every_11_bits_that_differ(dtype, smallest):
    """Keys of float64 have up to 63 bits; a shift by 66 made 29 passes of 6."""
    rng = np.random.default_rng(0)
    lengths = rng.uniform(smallest, 1, 500).astype(dtype)
    lengths[100:200] = lengths[:100]  # ties
    lengths[0] = smallest
    largest = lengths.max().view(f"i{lengths.itemsize}")
    keys, edges, is_odd = sorted_edges(lengths, 0, int(largest))
    order = np.lexsort((np.arange(500), lengths))
    np.testing.assert_array_equal(edges, order)
    np.testing.assert_array_equal(keys.view(dtype), lengths[order])
    spread = int(largest) - int(lengths[0].view(f"i{lengths.itemsize}"))
    assert is_odd == (-(-spread.bit_length() // 11) % 2 == 1)


def test_the_first_chunk_is_not_sorted_by_the_bits_that_all_of_its_lengths_share():
    """Lengths in [1, 2) differ in 52 bits: 5 passes, not the 6 of all 62."""
    lengths = np.random.default_rng(0).uniform(1, 2, 300)
    lengths[:2] = 1, np.nextafter(2, 0)
    *_, is_odd = sorted_edges(lengths, 0, int(lengths.max().view("i8")))
    assert is_odd


def test_no_edges_and_one_length_need_no_pass():
    for lengths in (np.empty(0), np.ones(7)):
        _, edges, is_odd = sorted_edges(lengths, 0, int(np.ones(1).view("i8")[0]))
        assert not is_odd
        assert edges.tolist() == list(range(len(lengths)))
