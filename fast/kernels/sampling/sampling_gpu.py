"""Farthest point sampling on the GPU: many picks a round, so that a round reads the points once.

A round brings every point's nearest distance up to the picks of the round before (`_update`), and
keeps the farthest few points of each tile as candidates. `_pick` then picks among the candidates
of a cloud, one block per cloud, as long as the best of them is farther than every point that is no
candidate: those only come nearer. The picks are those of one pass a pick, ties included
(docs/numerics.md).

Points near each other in a cloud's order, such as voxels along a curve, lie in different tiles:
then the next picks are among the candidates of more tiles, and there are fewer rounds.

Legend: C channels, B clouds, T tiles of all clouds; state (B, 3) int64 holds how many picks there
are, how many of them `_update` has seen, and whether the cloud is done (2: because squares were too
small to go on by).
"""

import math

import numpy as np
import torch
from numba import cuda

from fast.kernels.distances.squares import safe_range, scale_of
from fast.kernels.launch_gpu import is_simulated, launch, prepare
from fast.kernels.sampling import sampling_cpu

_TILE = 128  # points per tile, threads per block of _update
_CANDIDATES = 8  # kept of each tile
_PICKERS = 512  # threads per block of _pick
_ROUNDS = 8  # between two looks at whether all clouds are done


def farthest_points(clouds, num_samples, start):
    """Sample each (N_b, C) of a list; returns lists of (M_b,) indices and radii.

    `num_samples` has one entry per cloud. Indices are -1 once only duplicates are left.
    """
    device = clouds[0].device
    sizes = [len(cloud) for cloud in clouds]
    points = torch.cat(clouds)
    scale, unit = scale_of(points)  # one for all clouds: each has several launches on the host
    tiles, tiles_of, firsts = _tiles(sizes)
    rows = _rows_of_tiles(sizes, [after - before for before, after in tiles_of], device)
    # (C, N of all clouds), tile after tile: neighbors load together.
    channels = (points[rows] * scale).mT.contiguous()
    starts = torch.stack([cloud[start] for cloud in clouds]) * scale

    def integers(values):
        return torch.tensor(values, dtype=torch.int64, device=device)

    tiles, tiles_of, firsts, wanted = map(integers, (tiles, tiles_of, firsts, num_samples))
    most = max(num_samples)
    nearest = channels.new_full((channels.shape[1],), math.inf)
    slots = len(tiles) * _CANDIDATES
    candidates = torch.zeros(slots, dtype=torch.int64, device=device)
    values = channels.new_full((slots,), -1)  # where a tile has too few points it stays so
    places = channels.new_empty(len(channels), slots)
    bound_values = channels.new_full((len(tiles),), -1)
    bounds = torch.zeros(len(tiles), dtype=torch.int64, device=device)
    state = integers([[1, 0, 0]] * len(clouds))
    indices = torch.full((len(clouds), most), -1, dtype=torch.int64, device=device)
    indices[:, 0] = start
    radii = channels.new_zeros(len(clouds), most)
    centers = channels.new_zeros(len(clouds), most, len(channels))
    centers[:, 0] = starts
    update = prepare(
        _update, len(tiles), _TILE, channels, rows, nearest, tiles, state, centers,
        candidates, values, places, bounds, bound_values,
    )  # fmt: skip
    pick = prepare(
        _pick, len(clouds), _PICKERS, tiles_of, firsts, wanted, state, centers,
        candidates, values, places, bounds, bound_values, indices, radii,
        safe_range(points.dtype).least_root ** 2,
    )  # fmt: skip
    rounds = 1 if is_simulated() else _ROUNDS
    for _ in range(most // rounds + 1):  # a round picks at least one point
        for _ in range(rounds):
            update()
            pick()
        done = state[:, 2].tolist()
        if all(done):
            break
    else:
        raise RuntimeError(
            "topology_preserving_sampling: no point is farthest; look for NaN in points "
            "(a CUDA tensor is not searched for them)"
        )
    found = [row[:count] for row, count in zip(indices, num_samples, strict=True)]
    lengths = [row[:count] for row, count in zip(radii * unit, num_samples, strict=True)]
    for cloud, reason in enumerate(done):
        if reason == 2:
            _go_on(clouds[cloud], found[cloud], lengths[cloud])
    return found, lengths


def _go_on(points, picked, radii):
    """Sample one cloud on where squares were too small, on the CPU unless only copies are left."""
    so_far = picked[picked >= 0]
    radius = covering_radius(points, points[so_far])
    radii[len(so_far) - 1] = radius
    if len(so_far) < len(picked) and bool(radius > 0):
        on_cpu = [tensor.cpu().numpy().copy() for tensor in (points, picked, radii)]
        sampling_cpu.go_on(*on_cpu, np.empty(0, np.int64), np.empty(0, np.int32))
        picked.copy_(torch.from_numpy(on_cpu[1]))
        radii.copy_(torch.from_numpy(on_cpu[2]))


def covering_radius(points, samples):
    """Return the largest distance () from a row of `points` (N, C) to its nearest of `samples`.

    The samples are rows of `points`, or no farther from 0 than these.
    """
    return covering_radii([points], [samples])[0]


def covering_radii(clouds, samples):
    """Return `covering_radius` of each cloud (N_b, C) and its samples (M_b, C): (B,), at once."""
    device = clouds[0].device
    points = torch.cat(clouds)
    scale, unit = scale_of(points)
    channels = (points * scale).mT.contiguous()
    rows = torch.cat(samples)
    centers = (rows * scale)[None]
    sizes = torch.tensor([list(map(len, clouds)), list(map(len, samples))]).to(device)
    clouds_of = torch.arange(len(clouds), device=device).repeat_interleave(
        sizes[0], output_size=len(points)
    )
    ends = sizes[1].cumsum(dim=0)
    nearest = channels.new_full((len(points),), math.inf)
    blocks = -(-len(points) // _TILE)
    begins = ends - sizes[1]
    # Twice, as what is so near that no square of it is safe need not be scaled as the others are.
    apart = points.new_zeros(len(points))
    launch(
        _cover, blocks, _TILE, channels, centers, clouds_of, begins, ends, nearest,
        safe_range(points.dtype).least_root, points, rows, apart,
    )  # fmt: skip
    # A maximum is the same in any order.
    largest = points.new_zeros(2, len(clouds)).scatter_reduce(
        1, clouds_of.expand(2, -1), torch.stack([nearest * unit, apart]), "amax"
    )
    return largest.amax(dim=0)


def _tiles(sizes):
    """Return (T, 3) cloud, first and last place of each tile, then (B, 2) tiles, (B,) firsts."""
    tiles, tiles_of, firsts = [], [], []
    first = 0
    for cloud, size in enumerate(sizes):
        before = len(tiles)
        count = -(-size // _TILE)
        begin = first
        for tile in range(count):
            end = begin + len(range(tile, size, count))
            tiles.append([cloud, begin, end])
            begin = end
        tiles_of.append([before, len(tiles)])
        firsts.append(first)
        first += size
    return tiles, tiles_of, firsts


def _rows_of_tiles(sizes, num_tiles, device):
    """Return the row (N of all clouds,) at each place: every T_b-th of a cloud is in one tile."""
    total = sum(sizes)
    numbers = torch.tensor([sizes, num_tiles]).to(device)
    ends = numbers.cumsum(dim=1)
    before = torch.stack([ends[0] - numbers[0], numbers[1], ends[1] - numbers[1]])
    first, count, tile = before.repeat_interleave(numbers[0], dim=1, output_size=total)
    place = torch.arange(total, device=device) - first
    return (tile + place % count).argsort(stable=True)  # rows of a tile stay in order


@cuda.jit(device=True, cache=True)
def _nearest(channels, p, centers, cloud, first, last, value):
    """Return the least of `value` and the squared distances of point p to centers[first:last].

    Four centers at a time, so that a coordinate is loaded once for four. Each square is rounded by
    itself (fma with 0) and channels are summed in order, so that the bits are the CPU's.
    """
    zero = channels.dtype.type(0)
    while first < last:
        second = min(first + 1, last - 1)
        third = min(first + 2, last - 1)
        fourth = min(first + 3, last - 1)
        to_first = to_second = to_third = to_fourth = zero
        for c in range(channels.shape[0]):
            here = channels[c, p]
            gap = here - centers[cloud, first, c]
            to_first += cuda.fma(gap, gap, zero)
            gap = here - centers[cloud, second, c]
            to_second += cuda.fma(gap, gap, zero)
            gap = here - centers[cloud, third, c]
            to_third += cuda.fma(gap, gap, zero)
            gap = here - centers[cloud, fourth, c]
            to_fourth += cuda.fma(gap, gap, zero)
        value = min(value, min(min(to_first, to_second), min(to_third, to_fourth)))
        first += 4
    return value


@cuda.jit(cache=True)
def _update(
    channels, rows, nearest, tiles, state, centers, candidates, values, places, bounds,
    bound_values,
):  # fmt: skip
    """Bring tiles up to the picks so far; keep their farthest points, and the next as bound.

    A point has a place p in `channels`; what is kept is its row, by which ties are broken. Rows
    rise with p within a tile.
    """
    for tile in range(cuda.blockIdx.x, tiles.shape[0], cuda.gridDim.x):
        cloud = tiles[tile, 0]
        if state[cloud, 2] != 0:
            continue
        first = tiles[tile, 1] + cuda.threadIdx.x
        last = tiles[tile, 2]
        for p in range(first, last, cuda.blockDim.x):
            nearest[p] = _nearest(
                channels, p, centers, cloud, state[cloud, 1], state[cloud, 0], nearest[p]
            )
        cuda.syncthreads()
        for p in range(first, last, cuda.blockDim.x):
            value = nearest[p]
            rank = 0  # how many points of the tile go before p: farther, or of lower index
            for q in range(tiles[tile, 1], last):
                other = nearest[q]
                if other > value or (other == value and q < p):
                    rank += 1
            if rank < _CANDIDATES:
                slot = tile * _CANDIDATES + rank
                candidates[slot] = rows[p]
                values[slot] = value
                for c in range(channels.shape[0]):
                    places[c, slot] = channels[c, p]
            elif rank == _CANDIDATES:
                bounds[tile] = rows[p]
                bound_values[tile] = value


@cuda.jit(cache=True)
def _pick(
    tiles_of, firsts, wanted, state, centers, candidates, values, places, bounds, bound_values,
    indices, radii, least,
):  # fmt: skip
    """Pick in a cloud while its best candidate goes before every point that is none."""
    thread = cuda.threadIdx.x
    threads = cuda.blockDim.x
    best_values = cuda.shared.array(_PICKERS, np.float64)  # exact for float32 too
    best = cuda.shared.array(_PICKERS, np.int64)
    for cloud in range(cuda.blockIdx.x, state.shape[0], cuda.gridDim.x):
        if state[cloud, 2] != 0:
            continue
        first_tile = tiles_of[cloud, 0]
        last_tile = tiles_of[cloud, 1]
        value = np.float64(-1)
        at = first_tile
        for tile in range(first_tile + thread, last_tile, threads):
            other = np.float64(bound_values[tile])
            if other > value or (other == value and bounds[tile] < bounds[at]):
                value = other
                at = tile
        best_values[thread] = value
        best[thread] = at
        _first_of_block(best_values, best, bounds)
        bound_value = best_values[0]
        bound = bounds[best[0]]
        cuda.syncthreads()

        count = state[cloud, 0]
        seen = count
        going = True
        while going:
            value = np.float64(-1)
            at = first_tile * _CANDIDATES
            for slot in range(at + thread, last_tile * _CANDIDATES, threads):
                if count > seen and values[slot] > 0:
                    values[slot] = _nearest(
                        places, slot, centers, cloud, count - 1, count, values[slot]
                    )
                other = np.float64(values[slot])
                if other > value or (other == value and candidates[slot] < candidates[at]):
                    value = other
                    at = slot
            best_values[thread] = value
            best[thread] = at
            _first_of_block(best_values, best, candidates)
            value = best_values[0]
            at = best[0]
            point = candidates[at]
            going = value > bound_value or (value == bound_value and point < bound)
            if going:
                if thread == 0:
                    radii[cloud, count - 1] = math.sqrt(value)
                if count == wanted[cloud] or 0 <= value < least:
                    going = False
                    if thread == 0:
                        state[cloud, 2] = 2 if 0 <= value < least else 1
                else:
                    if thread == 0:
                        indices[cloud, count] = point - firsts[cloud]
                    for c in range(thread, places.shape[0], threads):
                        centers[cloud, count, c] = places[c, at]
                    count += 1
            cuda.syncthreads()
        if thread == 0:
            state[cloud, 0] = count
            state[cloud, 1] = seen


@cuda.jit(device=True, cache=True)
def _first_of_block(best_values, best, points):
    """Move the farthest of the block's entries, of lowest points[best] at ties, to entry 0."""
    thread = cuda.threadIdx.x
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            value = best_values[thread + half]
            if value > best_values[thread] or (
                value == best_values[thread] and points[best[thread + half]] < points[best[thread]]
            ):
                best_values[thread] = value
                best[thread] = best[thread + half]
        half //= 2
    cuda.syncthreads()


@cuda.jit(device=True, cache=True)
def _length(points, p, samples, m):
    """Return the distance of a point and a sample in float64; no square is lost, none overflows."""
    largest = 0.0
    for c in range(points.shape[1]):
        largest = max(largest, abs(np.float64(points[p, c]) - np.float64(samples[m, c])))
    if largest == 0 or largest == math.inf:
        return largest
    unit = math.ldexp(0.5, math.frexp(largest)[1])
    total = 0.0
    for c in range(points.shape[1]):
        gap = (np.float64(points[p, c]) - np.float64(samples[m, c])) / unit
        total += cuda.fma(gap, gap, 0.0)
    return math.sqrt(total) * unit


@cuda.jit(cache=True)
def _cover(
    channels, samples, clouds_of, begins, ends, nearest, least, points, rows, apart
):  # fmt: skip
    """Write each point's distance to the nearest of its cloud's samples (1, all, C).

    A distance below `least` is 0 there, and is written to `apart`, by the values as they were.
    """
    for p in range(cuda.grid(1), channels.shape[1], cuda.gridsize(1)):
        cloud = clouds_of[p]
        square = _nearest(channels, p, samples, 0, begins[cloud], ends[cloud], nearest[p])
        nearest[p] = math.sqrt(square)
        if nearest[p] < least:
            nearest[p] = 0
            length = math.inf
            for m in range(begins[cloud], ends[cloud]):
                if length > 0:
                    length = min(length, _length(points, p, rows, m))
            apart[p] = length
