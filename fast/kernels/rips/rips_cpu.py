"""Rips pairs of clouds on the CPU: checks, threads over clouds, padded results."""

import itertools

import numpy as np
import torch

from fast import threads
from fast.kernels.distances import lengths
from fast.kernels.edges import edge_keys_cpu, edges_cpu
from fast.kernels.pairing import tree_cpu
from fast.kernels.rips import small_rips_cpu
from fast.kernels.rips.cloud_cpu import Cloud, merge_pairs, no_pairs
from fast.kernels.rips.large_cloud_cpu import LargeCloud
from fast.kernels.rips.point_cloud_cpu import PointCloud

_MIN_POINTS_TO_SPLIT = 320  # points below which a cloud is not split: handing over takes longer
_MIN_POINTS_FOR_THREADS = 64  # points of a cloud; below, Python's part is the larger
MOST_CHANNELS_OF_A_TREE = 3  # beyond, boxes say little about distances
_MOST_WORK = 2.0  # vertices looked at, over N^2, which take about as long as all distances
_MOST_POINTS_SMALL = 256  # points up to which a batch is one compiled loop
_LEAST_POINTS_LARGE = 6144  # with fewer the other way is up to twice as fast, and memory small


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return the finite pairs of positive persistence, one dict of padded tensors per dimension.

    Parameters
    ----------
    distances
        (B, N, N) float32 or float64 tensor.
    sizes
        How many points each of the B clouds has, or None for N each.
    max_dim, threshold
        As in `fast.rips_persistence`.

    Returns
    -------
    list[dict[str, torch.Tensor]]
        The int64 fields of `fast.BatchedDiagram`: birth_edges, death_edges, death_simplices,
        counts, num_essential; of small clouds the others too, which are at hand.

    Raises
    ------
    ValueError
        If an entry is no distance.
    """
    if distances.shape[1] <= _MOST_POINTS_SMALL:
        found = _pairs_of_small_clouds(distances.numpy(), sizes, max_dim, threshold)
        if found is not None:
            return found
    clouds = list(distances.numpy())
    if sizes is not None:
        clouds = [cloud[:size, :size] for cloud, size in zip(clouds, sizes, strict=True)]
    clouds = [np.ascontiguousarray(cloud) for cloud in clouds]
    return _padded(_pairs_of_clouds(clouds, max_dim, threshold, torch.get_num_threads()), max_dim)


def rips_pairs_of_points(points, sizes, max_dim, threshold, may_give_up=False):
    """Return what `rips_pairs` returns for the distances of points, without computing them all.

    Up to three dimensions by a tree; None if it `may_give_up` and that would take longer than with
    them: long edges between dense clusters are looked at one by one. Beyond, by blocks of rows;
    None if the edges that matter are too many.

    `points` is a (B, N, C) float32 or float64 tensor without an entry so large that a square
    overflows and, beyond three dimensions, so small that it underflows; the rest is as in
    `rips_pairs`.
    """
    clouds = list(points.numpy())
    if sizes is not None:
        clouds = [cloud[:size] for cloud, size in zip(clouds, sizes, strict=True)]
    longest = lengths.longest_key(points.numpy().dtype, threshold)
    num_threads = torch.get_num_threads()
    most_work = _MOST_WORK if may_give_up else np.inf
    found = []
    for cloud in clouds:
        pairs = [no_pairs(dim, 0) for dim in range(max_dim + 1)]
        if len(cloud) and cloud.shape[1] <= MOST_CHANNELS_OF_A_TREE:
            length = float(np.array(longest, f"i{cloud.itemsize}").view(cloud.dtype))
            pairs = PointCloud(cloud, length, num_threads, most_work).pairs(max_dim)
        elif len(cloud):
            pairs = _pairs_by_blocks(cloud, max_dim, longest, num_threads)
        if pairs is None:
            return None
        found.append(pairs)
    return _padded(found, max_dim)


def _pairs_by_blocks(points, max_dim, longest, num_threads):
    """Pairs of one cloud, whose distances are computed a block of rows at a time."""
    source = edge_keys_cpu.of_points(points)
    n = len(points)
    if n < 2:
        return [no_pairs(dim, n if dim == 0 else 0) for dim in range(max_dim + 1)]
    if max_dim == 0:
        return [_merges(source, longest)]
    row_max = np.empty(n, source.stored.dtype)
    borders = [n * part // num_threads for part in range(num_threads + 1)]
    calls = [(source, *rows, row_max) for rows in itertools.pairwise(borders)]
    threads.run(edge_keys_cpu.largest_keys, calls, num_threads)
    return LargeCloud(source, min(int(row_max.min()), longest), num_threads).pairs()


def _merges(source, cutoff):
    """Return the pairs of dimension 0."""
    n = edge_keys_cpu.num_vertices(source)
    tree, num_trees = tree_cpu.spanning_forest(source, cutoff)
    return merge_pairs(tree // n, tree % n, num_trees)


def _padded(found, max_dim):
    """Return the padded fields of a list over clouds of one CloudPairs per dimension."""
    return [padded_dimension([cloud[dim] for cloud in found]) for dim in range(max_dim + 1)]


def padded_dimension(found):
    """Return the padded fields of a list over clouds of CloudPairs."""
    return {
        "birth_edges": _padded_rows([cloud.birth_edges for cloud in found]),
        "death_edges": _padded_rows([cloud.death_edges for cloud in found]),
        "death_simplices": _padded_rows([cloud.death_simplices for cloud in found]),
        "counts": torch.tensor([len(cloud.death_edges) for cloud in found]),
        "num_essential": torch.tensor([cloud.num_essential for cloud in found]),
    }


def _pairs_of_small_clouds(distances, sizes, max_dim, threshold):
    """Return what `rips_pairs` returns, or None if a cloud has too many births for that."""
    found, status = small_rips_cpu.rips_pairs(distances, sizes, max_dim, threshold)
    if status is None:
        return found
    refused = np.flatnonzero(status == small_rips_cpu.REFUSED)
    for cloud in refused:
        size = distances.shape[1] if sizes is None else sizes[cloud]
        _checked_keys(np.ascontiguousarray(distances[cloud, :size, :size]), 1)
    if len(refused):  # but nothing was raised: the signs are those of zeros
        distances = distances + distances.dtype.type(0)
        found, status = small_rips_cpu.rips_pairs(distances, sizes, max_dim, threshold)
    return found if status is None else None


def _padded_rows(rows):
    """Stack (K_b, width) arrays to (B, K, width), -1 where a cloud has no row."""
    longest = max(len(row) for row in rows)
    out = np.full((len(rows), longest, rows[0].shape[1]), -1, np.int64)
    for cloud, row in enumerate(rows):
        out[cloud, : len(row)] = row
    return torch.from_numpy(out)


def _pairs_of_clouds(clouds, max_dim, threshold, num_threads):
    """Return a list over clouds of one CloudPairs per dimension."""
    # Whole clouds need no waiting for each other, so threads go inside a cloud only if idle.
    inside = max(1, num_threads // max(1, len(clouds)))
    largest = max((len(cloud) for cloud in clouds), default=0)
    if inside > 1 and largest >= _MIN_POINTS_TO_SPLIT:
        return [_pairs_of_cloud(cloud, max_dim, threshold, num_threads) for cloud in clouds]
    calls = [(cloud, max_dim, threshold, 1) for cloud in clouds]
    num_threads = num_threads if largest >= _MIN_POINTS_FOR_THREADS else 1
    return threads.run(_pairs_of_cloud, calls, num_threads)


def _pairs_of_cloud(distances, max_dim, threshold, num_threads):
    """Pairs of one cloud, one CloudPairs per dimension."""
    n = distances.shape[0]
    keys, row_max = _checked_keys(distances, num_threads)
    if n < 2:
        return [no_pairs(dim, n if dim == 0 else 0) for dim in range(max_dim + 1)]
    # Beyond the enclosing radius the complex is a cone.
    cutoff = min(int(row_max.min()), lengths.longest_key(distances.dtype, threshold))
    source = edge_keys_cpu.of_distances(keys)
    if max_dim == 0:
        return [_merges(source, cutoff)]
    if n >= _LEAST_POINTS_LARGE:
        found = LargeCloud(source, cutoff, num_threads).pairs()
        if found is not None:
            return found
    return Cloud(keys, cutoff, num_threads).pairs()


def _checked_keys(distances, num_threads):
    """Return the lengths as ordered integers, and each row's maximum."""
    integer = np.int32 if distances.dtype == np.float32 else np.int64
    keys = distances.view(integer)
    row_max = np.zeros(distances.shape[0], integer)
    if distances.shape[0] == 0:
        return keys, row_max
    code, i, j = _scan(keys, distances.dtype, row_max, num_threads)
    if code == lengths.NEGATIVE_ZERO:
        keys = (distances + distances.dtype.type(0)).view(integer)
        code, i, j = _scan(keys, distances.dtype, row_max, num_threads)
    if code != lengths.VALID:
        raise ValueError(lengths.error_message(code, i, j, distances[i, j], distances[j, i]))
    return keys, row_max


def _scan(keys, dtype, row_max, num_threads):
    """Check keys and write each row's maximum; returns (code, row, column) of the first fault."""
    n = len(keys)
    infinity = np.int64(np.array(np.inf, dtype).view(keys.dtype))
    mask = np.int64(np.iinfo(keys.dtype).max)
    rows = _bands(n, lambda share: share, num_threads)
    calls = [(keys, infinity, mask, row_max, *band) for band in rows]
    found = threads.run(edges_cpu.scan_rows, calls, num_threads)
    faults = [each for each in found if each[0] not in (lengths.VALID, lengths.NEGATIVE_ZERO)]
    if faults:
        return faults[0]
    if any(each[0] == lengths.NEGATIVE_ZERO for each in found):
        return lengths.NEGATIVE_ZERO, 0, 0
    rows = _bands(n, lambda share: 1 - (1 - share) ** 0.5, num_threads)  # to the diagonal's right
    found = threads.run(edges_cpu.scan_symmetry, [(keys, *band) for band in rows], num_threads)
    faults = [each for each in found if each[0] != lengths.VALID]
    return min(faults, key=lambda fault: fault[0], default=(lengths.VALID, 0, 0))


def _bands(n, place, num_threads):
    """Rows [first, last) for each thread, whole tiles: which fault is found depends on those."""
    tile = edges_cpu.TILE
    shares = [place(part / num_threads) for part in range(num_threads)]
    firsts = [min(n, tile * round(n / tile * share)) for share in shares]
    return list(itertools.pairwise([*firsts, n]))
