"""Rips pairs of clouds on the CPU: checks, threads over clouds, padded results."""

import numpy as np
import torch

from fast import threads
from fast.kernels import edges_cpu, lengths, small_rips_cpu, tree_cpu
from fast.kernels.cloud_cpu import Cloud, merge_pairs, no_pairs
from fast.kernels.point_cloud_cpu import PointCloud

_MIN_POINTS_TO_SPLIT = 320  # points below which a cloud is not split: handing over takes longer
_MIN_POINTS_FOR_THREADS = 64  # points of a cloud; below, Python's part is the larger
_MOST_WORK = 2.0  # vertices looked at, over N^2, which take about as long as all distances
_MOST_POINTS_SMALL = 256  # points up to which a batch is one compiled loop


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

    None if it `may_give_up` and that would take longer than with them: long edges between dense
    clusters are looked at one by one.

    `points` is a (B, N, C) float32 or float64 tensor, C at most 3, without an entry so large that
    a square overflows; the rest is as in `rips_pairs`.
    """
    clouds = list(points.numpy())
    if sizes is not None:
        clouds = [cloud[:size] for cloud, size in zip(clouds, sizes, strict=True)]
    key = np.array(lengths.longest_key(points.numpy().dtype, threshold))
    longest = float(key.astype(f"i{points.element_size()}").view(points.numpy().dtype))
    num_threads = torch.get_num_threads()
    most_work = _MOST_WORK if may_give_up else np.inf
    found = []
    for cloud in clouds:
        pairs = [no_pairs(dim, 0) for dim in range(max_dim + 1)]
        if len(cloud):
            pairs = PointCloud(cloud, longest, num_threads, most_work).pairs(max_dim)
        if pairs is None:
            return None
        found.append(pairs)
    return _padded(found, max_dim)


def _padded(found, max_dim):
    """Return the padded fields of a list over clouds of one CloudPairs per dimension."""
    return [
        {
            "birth_edges": _padded_rows([cloud[dim].birth_edges for cloud in found]),
            "death_edges": _padded_rows([cloud[dim].death_edges for cloud in found]),
            "death_simplices": _padded_rows([cloud[dim].death_simplices for cloud in found]),
            "counts": torch.tensor([len(cloud[dim].death_edges) for cloud in found]),
            "num_essential": torch.tensor([cloud[dim].num_essential for cloud in found]),
        }
        for dim in range(max_dim + 1)
    ]


def _pairs_of_small_clouds(distances, sizes, max_dim, threshold):
    """Return what `rips_pairs` returns, or None if a cloud has too many births for that."""
    found, status = small_rips_cpu.rips_pairs(distances, sizes, max_dim, threshold)
    if status is None:
        return found
    refused = np.flatnonzero(status == small_rips_cpu.REFUSED)
    for cloud in refused:
        size = distances.shape[1] if sizes is None else sizes[cloud]
        _checked_keys(np.ascontiguousarray(distances[cloud, :size, :size]))
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
    keys, row_max = _checked_keys(distances)
    if n < 2:
        return [no_pairs(dim, n if dim == 0 else 0) for dim in range(max_dim + 1)]
    # Beyond the enclosing radius the complex is a cone.
    cutoff = min(int(row_max.min()), lengths.longest_key(distances.dtype, threshold))
    if max_dim == 0:
        tree, num_trees = tree_cpu.spanning_forest(keys, cutoff)
        return [merge_pairs(tree // n, tree % n, num_trees)]
    return Cloud(keys, cutoff, num_threads).pairs()


def _checked_keys(distances):
    """Return the lengths as ordered integers, and each row's maximum."""
    integer = np.int32 if distances.dtype == np.float32 else np.int64
    infinity = np.int64(np.array(np.inf, distances.dtype).view(integer))
    keys = distances.view(integer)
    row_max = np.zeros(distances.shape[0], integer)
    if distances.shape[0] == 0:
        return keys, row_max
    mask = np.int64(np.iinfo(integer).max)
    code, i, j = edges_cpu.scan_keys(keys, infinity, mask, row_max)
    if code == lengths.NEGATIVE_ZERO:
        keys = (distances + distances.dtype.type(0)).view(integer)
        code, i, j = edges_cpu.scan_keys(keys, infinity, mask, row_max)
    if code != lengths.VALID:
        raise ValueError(lengths.error_message(code, i, j, distances[i, j], distances[j, i]))
    return keys, row_max
