"""Farthest point sampling on the CPU, skipping points by the triangle inequality.

Points are kept in groups, those nearest to one pick, and within a group in buckets, the farthest
from that pick first. A new pick can only come nearer to a point p of the group of pick o than o
is if |p - o| > |new - o| / 2: so a step visits the first buckets of each group (docs/numerics.md).
"""

import itertools
import math

import numpy as np
import torch

from fast import threads
from fast.kernels.distances.squares import safe_range, scale_of
from fast.kernels.numba_cpu import compiled, helper

_BUCKETS = 32  # of a group
_LANES = 16  # groups begin, and visits end, at multiples: no loop is left with odd points
_REGROUP = 64  # picks before the points are grouped; then whenever there are _GROWTH times as many
_GROWTH = 4
_MIN_STEPS_SAVED = 120  # over all points, by a regrouping, which costs about half of that
_QUERIES = 4  # latest picks by which the saving is estimated


def farthest_points(clouds, num_samples, start):
    """Sample each (N_b, C) of a list of tensors; returns lists of (M_b,) indices and radii.

    `num_samples` has one entry per cloud. Indices are -1 once only duplicates are left.
    """
    indices = [torch.full((count,), -1, dtype=torch.int64) for count in num_samples]
    radii = [cloud.new_zeros(count) for cloud, count in zip(clouds, num_samples, strict=True)]
    scales = [scale_of(cloud) for cloud in clouds]
    calls = [
        sampling_call(cloud * scale, start, picked, radius)
        for cloud, (scale, _), picked, radius in zip(clouds, scales, indices, radii, strict=True)
    ]
    work = sum(cloud.numel() * count for cloud, count in zip(clouds, num_samples, strict=True))
    states = threads.run(sample, calls, threads.number_for(work))
    for cloud, (_, unit), picked, radius, state in zip(
        clouds, scales, indices, radii, states, strict=True
    ):
        ended_early = float(radius[-1]) < safe_range(cloud.dtype).least_root
        radius *= unit
        if ended_early:
            _, places, owner = state
            go_on(cloud.contiguous().numpy(), picked.numpy(), radius.numpy(), places, owner)
    return indices, radii


def sampling_call(cloud, start, picked, radii):
    """Return the arguments of `sample` for one cloud (N, C) and outputs (M,), M at least 1."""
    width = len(cloud) + _LANES * (1 + len(picked))  # room for the odd places of every group
    nearest = np.full(width, np.inf, cloud.numpy().dtype)
    keys = nearest.view(np.int32 if cloud.dtype == torch.float32 else np.int64)
    least = nearest.dtype.type(safe_range(cloud.dtype).least_root ** 2)
    return cloud.contiguous().numpy(), nearest, keys, least, start, picked.numpy(), radii.numpy()


@compiled
def sample(points, nearest, keys, least, start, picked, radii):
    """Sample one cloud (N, C) until all squares are below `least`: from there on, see `go_on`.

    No sum of squares may overflow: see `scale_of`.

    `nearest` (at least N + 16 (M + 1)) is scratch, infinite; `keys` are its bits: as integers they
    order alike, and their maxima vectorize.

    Returns how many distances between points and picks were computed, which point stands where (N
    where none does), and the nearest pick of each place.
    """
    n, num_channels = points.shape
    places = _in_order(n)  # which point stands where; n where none does
    channels = np.empty((num_channels, nearest.shape[0]), points.dtype)
    _arrange(points, places, channels)
    nearest[n:] = 0
    owner = np.zeros(places.shape[0], np.int32)  # the pick nearest to each point
    anchors = points[start : start + 1].T.copy()
    tops = np.full(1, np.inf)  # largest distance in each group
    ends = np.full((1, _BUCKETS + 1), n)
    ends[0, 0] = 0
    longest = np.full(1, keys[0])
    # What a distance may be off by: rounding, relative, and squares that underflow.
    slack = 1 + 8.0 * (num_channels + 4) * np.finfo(points.dtype).eps
    tiny = math.sqrt((num_channels + 1) * np.finfo(points.dtype).tiny)
    gaps = np.empty(1, points.dtype)
    block = 512
    squares = np.empty(block, points.dtype)
    regroup_at = _REGROUP
    visited = 0
    visited_before = 0
    picked_before = 0
    pick = start
    square = nearest[0]
    for k in range(picked.shape[0]):
        picked[k] = pick
        new = np.int32(k)
        _gaps_to(anchors, points[pick], gaps)
        for g in range(gaps.shape[0]):
            if tops[g] == 0:
                continue
            share = 1 - (math.sqrt(gaps[g]) - tiny) / (2 * tops[g] * slack)
            if share < 0:
                continue
            buckets = _BUCKETS
            if share < 1:
                buckets = min(int(share * _BUCKETS) + 1, _BUCKETS)
            begin = ends[g, 0]
            end = begin + (ends[g, buckets] - begin + _LANES - 1) // _LANES * _LANES
            visited += end - begin
            nearer = 0
            for first in range(begin, end, block):
                size = min(block, end - first)
                squares[:size] = 0
                # Four channels per round, one after another: fewer trips, the same sum.
                for c in range(0, num_channels - 3, 4):
                    row0 = channels[c, first : first + size]
                    row1 = channels[c + 1, first : first + size]
                    row2 = channels[c + 2, first : first + size]
                    row3 = channels[c + 3, first : first + size]
                    center0 = points[pick, c]
                    center1 = points[pick, c + 1]
                    center2 = points[pick, c + 2]
                    center3 = points[pick, c + 3]
                    for p in range(size):
                        difference = row0[p] - center0
                        total = squares[p] + difference * difference
                        difference = row1[p] - center1
                        total += difference * difference
                        difference = row2[p] - center2
                        total += difference * difference
                        difference = row3[p] - center3
                        squares[p] = total + difference * difference
                for c in range(num_channels - num_channels % 4, num_channels):
                    row = channels[c, first : first + size]
                    center = points[pick, c]
                    for p in range(size):
                        difference = row[p] - center
                        squares[p] += difference * difference
                near = nearest[first : first + size]
                own = owner[first : first + size]
                hits = 0
                for p in range(size):
                    hits += squares[p] < near[p]
                if hits > 0:
                    nearer += hits
                    for p in range(size):
                        own[p] = new if squares[p] < near[p] else own[p]
                    for p in range(size):
                        near[p] = min(near[p], squares[p])
            if nearer > 0:
                longest[g] = _largest(keys, begin, ends[g, _BUCKETS])
        farthest = _largest(longest, 0, longest.shape[0])
        pick = n
        for g in range(longest.shape[0]):
            if longest[g] == farthest:
                for p in range(ends[g, 0], ends[g, _BUCKETS]):
                    if keys[p] == farthest:
                        pick = min(pick, places[p])  # of equally far points the lowest index
                        square = nearest[p]
        radii[k] = np.sqrt(square)
        if square < least:
            break
        if k + 1 == regroup_at:
            regroup_at *= _GROWTH
            now = (visited - visited_before) / (k + 1 - picked_before)
            visited_before = visited
            picked_before = k + 1
            saved = now - _expected_visits(points, picked[: k + 1], nearest, owner)
            if saved * (picked.shape[0] - k - 1) > _MIN_STEPS_SAVED * n:
                places, owner, tops, ends = _regroup(n, places, owner, nearest, k + 1)
                _arrange(points, places, channels)
                anchors = points[picked[: k + 1]].T.copy()
                gaps = np.empty(k + 1, points.dtype)
                longest = np.empty(k + 1, keys.dtype)
                for g in range(k + 1):
                    longest[g] = _largest(keys, ends[g, 0], ends[g, _BUCKETS])
    return visited, places, owner


@compiled
def go_on(points, picked, radii, places, owner):
    """Sample on where `sample` ended early, by lengths of which no square is lost.

    Where every point is a copy of the pick nearest to it there is nothing left. `places` may be
    empty: then that is found out by lengths.
    """
    n, num_samples = points.shape[0], picked.shape[0]
    k = 0
    while k + 1 < num_samples and picked[k + 1] >= 0:
        k += 1
    copies = places.shape[0] > 0
    for p in range(places.shape[0]):
        copies = copies and (
            places[p] == n or _are_equal(points[places[p]], points[picked[owner[p]]])
        )
    radii[k] = 0
    if copies:
        return
    nearest = np.empty(n)
    samples = points[picked[: k + 1]]
    for p in range(n):
        nearest[p] = _length_to_nearest(points[p], samples)
    while True:
        pick = np.argmax(nearest)  # of equally far points the lowest index
        radii[k] = nearest[pick]
        if k + 1 == num_samples or nearest[pick] == 0:
            return
        k += 1
        picked[k] = pick
        for p in range(n):
            nearest[p] = min(nearest[p], _length(points[p], points[pick]))


@helper
def _are_equal(one, other):
    """Whether two points (C,) are copies."""
    equal = True
    for c in range(one.shape[0]):
        equal = equal and one[c] == other[c]
    return equal


@helper
def _length(one, other):
    """Return the distance of two points (C,) in float64; no square is lost, none overflows."""
    largest = 0.0
    for c in range(one.shape[0]):
        largest = max(largest, abs(np.float64(one[c]) - np.float64(other[c])))
    if largest == 0 or largest == np.inf:
        return largest
    unit = math.ldexp(0.5, math.frexp(largest)[1])
    total = 0.0
    for c in range(one.shape[0]):
        difference = (np.float64(one[c]) - np.float64(other[c])) / unit
        total += difference * difference
    return math.sqrt(total) * unit


@helper
def _length_to_nearest(point, samples):
    """Return `_length` from a point (C,) to the nearest of `samples` (M, C)."""
    for m in range(samples.shape[0]):  # much faster than lengths, and enough for copies
        if _are_equal(point, samples[m]):
            return 0.0
    nearest = np.inf
    for m in range(samples.shape[0]):
        nearest = min(nearest, _length(point, samples[m]))
    return nearest


@helper
def _in_order(n):
    """Places of n points in their own order."""
    places = np.full((n + _LANES - 1) // _LANES * _LANES, n)
    for p in range(n):
        places[p] = p
    return places


@helper
def _arrange(points, places, channels):
    """Write the points channel by channel, so that they lie side by side in vectors; 0 if none."""
    n, num_channels = points.shape
    for first in range(0, places.shape[0], _LANES):
        for c in range(num_channels):
            for p in range(first, first + _LANES):
                channels[c, p] = points[places[p], c] if places[p] < n else 0


@helper
def _gaps_to(anchors, point, gaps):
    """Write the squared distance of `point` (C,) to each of `anchors` (C, G)."""
    gaps[:] = 0
    for c in range(anchors.shape[0]):
        row = anchors[c]
        for g in range(gaps.shape[0]):
            difference = row[g] - point[c]
            gaps[g] += difference * difference


@helper
def _largest(keys, first, last):
    """Return the maximum of keys[first:last], at least one."""
    most = keys[first]
    for p in range(np.uint64(first), np.uint64(last)):
        most = max(most, keys[p])
    return most


@helper
def _expected_visits(points, picked, nearest, owner):
    """Return the points a step would visit if grouped now, as the latest picks would have."""
    k = picked.shape[0]
    anchors = points[picked].T.copy()
    gaps = np.empty(k, points.dtype)
    total = 0
    for query in range(k - _QUERIES, k):
        _gaps_to(anchors, points[picked[query]], gaps)
        for p in range(owner.shape[0]):
            total += gaps[owner[p]] < 4 * nearest[p]
    return total / _QUERIES


@helper
def _regroup(n, places, owner, nearest, num_groups):
    """Group the points by owner, farthest buckets first; `nearest` is rearranged in place.

    Returns places, owner, each group's largest distance, and where its buckets end (G, 33).
    """
    tops = np.zeros(num_groups)
    for p in range(places.shape[0]):
        tops[owner[p]] = max(tops[owner[p]], nearest[p])
    for g in range(num_groups):
        tops[g] = math.sqrt(tops[g])
    buckets = np.zeros(places.shape[0], np.int64)
    slots = np.zeros((num_groups, _BUCKETS), np.int64)
    for p in range(places.shape[0]):
        if places[p] < n:
            top = tops[owner[p]]
            if 0 < top < np.inf:
                share = 1 - math.sqrt(nearest[p]) / top
                buckets[p] = min(int(share * _BUCKETS), _BUCKETS - 1)
            slots[owner[p], buckets[p]] += 1
    ends = np.empty((num_groups, _BUCKETS + 1), np.int64)
    width = 0
    for g in range(num_groups):
        ends[g, 0] = width
        for b in range(_BUCKETS):
            ends[g, b + 1] = ends[g, b] + slots[g, b]
            slots[g, b] = ends[g, b]
        width = (ends[g, _BUCKETS] + _LANES - 1) // _LANES * _LANES
    new_places = np.full(width, n)
    new_owner = np.zeros(width, np.int32)
    new_nearest = np.zeros(width, nearest.dtype)
    for p in range(places.shape[0]):
        if places[p] < n:
            slot = slots[owner[p], buckets[p]]
            slots[owner[p], buckets[p]] += 1
            new_places[slot] = places[p]
            new_owner[slot] = owner[p]
            new_nearest[slot] = nearest[p]
    nearest[:width] = new_nearest
    return new_places, new_owner, tops, ends


def covering_radius(points, samples):
    """Return the largest distance () from a row of `points` (N, C) to its nearest of `samples`.

    The samples are rows of `points`, or no farther from 0 than these.
    """
    scale, unit = scale_of(points)
    channels = (points * scale).mT.contiguous().numpy()
    scaled = (samples * scale).numpy()
    num_threads = threads.number_for(points.numel() * len(samples))
    borders = [len(points) * part // num_threads for part in range(num_threads + 1)]
    calls = [
        (channels, scaled, first, last)
        for first, last in itertools.pairwise(borders)
        if first < last
    ]
    farthest = max(threads.run(_farthest, calls, num_threads))
    if farthest < safe_range(points.dtype).least_root:
        calls = [
            (points[first:last].contiguous().numpy(), samples.contiguous().numpy())
            for first, last in itertools.pairwise(borders)
            if first < last
        ]
        return points.new_tensor(max(threads.run(_farthest_by_lengths, calls, num_threads)))
    return points.new_tensor(farthest) * unit


@compiled
def _farthest(channels, samples, first, last):
    """Return the covering radius of points [first, last), block by block in the fastest cache."""
    num_channels = channels.shape[0]
    block = 512
    squares = np.empty(block, channels.dtype)
    nearest = np.empty(block, channels.dtype)
    farthest = channels.dtype.type(0)
    for begin in range(first, last, block):
        size = min(block, last - begin)
        nearest[:] = np.inf
        for m in range(samples.shape[0]):
            squares[:] = 0
            for c in range(num_channels):
                row = channels[c, begin : begin + size]
                center = samples[m, c]
                for p in range(size):
                    difference = row[p] - center
                    squares[p] += difference * difference
            for p in range(size):
                nearest[p] = min(nearest[p], squares[p])
        for p in range(size):
            farthest = max(farthest, nearest[p])
    return np.sqrt(farthest)


@compiled
def _farthest_by_lengths(points, samples):
    """Return the covering radius of points (N, C) by lengths of which no square is lost."""
    farthest = 0.0
    for p in range(points.shape[0]):
        farthest = max(farthest, _length_to_nearest(points[p], samples))
    return farthest
