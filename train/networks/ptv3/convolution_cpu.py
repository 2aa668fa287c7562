"""The sparse convolution's compiled loops for a CPU: no gathered copy, one pass over the threads.

What a call does depends on the number of rows alone, and each output row belongs to one call: the
number of threads changes no bit of a result.

Shape letters: N voxels, I input channels, O output channels, K taps.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fast import threads
from train.core.compiled import compiled

# Rows whose products one call adds up for a tap before it takes the next tap: the tap's matrix
# stays in the first cache, the rows in the second.
ROWS_AT_ONCE = 2048
CALLS_AT_LEAST = 8  # fewer rows a call where there are few, so that every thread has some


def products(feat: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """Return out[p] = sum over taps k of feat[rows[k, p]] @ weight[k]; float32 or float64.

    Parameters
    ----------
    feat
        [N, I].
    weight
        [K, I, O].
    rows
        [K, N] int32; N where there is no neighbor.
    """
    num_rows = feat.shape[0]
    out = torch.zeros(num_rows, weight.shape[2], dtype=feat.dtype)
    arrays = [_array(tensor) for tensor in (out, feat, weight, rows)]
    block = min(ROWS_AT_ONCE, -(-num_rows // CALLS_AT_LEAST))
    calls = [(*arrays, start, block) for start in range(0, num_rows, block)]
    threads.run(_add_products, calls, torch.get_num_threads())
    return out


def weight_gradient(feat: Tensor, grad_out: Tensor, rows: Tensor) -> Tensor:
    """Return [K, I, O]: for each tap the sum over p of feat[rows[k, p]] times grad_out[p].

    Parameters
    ----------
    feat, grad_out
        [N, I] and [N, O], of one type.
    rows
        [K, N] int32; N where there is no neighbor.
    """
    shape = (rows.shape[0], feat.shape[1], grad_out.shape[1])
    grad = torch.zeros(shape, dtype=feat.dtype)
    into, given, received, table = (_array(tensor) for tensor in (grad, feat, grad_out, rows))
    # The center tap, which has the most pairs, first: the others fill the threads beside it.
    taps = sorted(range(shape[0]), key=lambda tap: abs(tap - shape[0] // 2))
    calls = [(into[tap], given, received, table[tap], ROWS_AT_ONCE) for tap in taps]
    threads.run(_add_outer, calls, torch.get_num_threads())
    return grad


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


# "contract" lets a product and a sum become one instruction; nothing is reordered.
@compiled(nogil=True, error_model="numpy", fastmath={"contract"})  # pragma: no cover
def _add_products(out, feat, weight, rows, start, block):  # type: ignore[no-untyped-def]
    """Finish the output rows from `start` on; four rows by four channels at a time."""
    num_taps, num_rows = rows.shape
    num_in, num_out = weight.shape[1], weight.shape[2]
    stop = min(start + block, num_rows)
    here = np.empty(stop - start, np.int64)
    there = np.empty(stop - start, np.int64)
    for tap in range(num_taps):
        found = 0
        for p in range(start, stop):
            here[found] = p
            there[found] = rows[tap, p]
            found += rows[tap, p] < num_rows
        matrix = weight[tap]
        n = 0
        while n + 3 < found:
            f0, f1 = feat[there[n]], feat[there[n + 1]]
            f2, f3 = feat[there[n + 2]], feat[there[n + 3]]
            o0, o1, o2, o3 = out[here[n]], out[here[n + 1]], out[here[n + 2]], out[here[n + 3]]
            i = 0
            while i + 3 < num_in:
                w0, w1, w2, w3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
                a0, a1, a2, a3 = f0[i], f0[i + 1], f0[i + 2], f0[i + 3]
                b0, b1, b2, b3 = f1[i], f1[i + 1], f1[i + 2], f1[i + 3]
                c0, c1, c2, c3 = f2[i], f2[i + 1], f2[i + 2], f2[i + 3]
                d0, d1, d2, d3 = f3[i], f3[i + 1], f3[i + 2], f3[i + 3]
                for o in range(num_out):
                    x0, x1, x2, x3 = w0[o], w1[o], w2[o], w3[o]
                    o0[o] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    o1[o] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                    o2[o] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                    o3[o] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
                i += 4
            while i < num_in:
                w0 = matrix[i]
                a0, b0, c0, d0 = f0[i], f1[i], f2[i], f3[i]
                for o in range(num_out):
                    x0 = w0[o]
                    o0[o] += a0 * x0
                    o1[o] += b0 * x0
                    o2[o] += c0 * x0
                    o3[o] += d0 * x0
                i += 1
            n += 4
        while n < found:
            f0, o0 = feat[there[n]], out[here[n]]
            for i in range(num_in):
                a0 = f0[i]
                w0 = matrix[i]
                for o in range(num_out):
                    o0[o] += a0 * w0[o]
            n += 1


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})  # pragma: no cover
def _add_outer(grad, feat, grad_out, row, block):  # type: ignore[no-untyped-def]
    """Add up one tap's outer products; four pairs by two channels at a time.

    `block` rows are added up by themselves first: the sum of many products in one row of float32
    would lose more of them.
    """
    num_rows, num_in, num_out = feat.shape[0], grad.shape[0], grad.shape[1]
    part = np.empty_like(grad)
    here = np.empty(min(block, num_rows), np.int64)
    there = np.empty(min(block, num_rows), np.int64)
    for start in range(0, num_rows, block):
        found = 0
        for p in range(start, min(start + block, num_rows)):
            here[found] = p
            there[found] = row[p]
            found += row[p] < num_rows
        if found == 0:
            continue
        part[:] = 0
        n = 0
        while n + 3 < found:
            f0, f1 = feat[there[n]], feat[there[n + 1]]
            f2, f3 = feat[there[n + 2]], feat[there[n + 3]]
            g0, g1 = grad_out[here[n]], grad_out[here[n + 1]]
            g2, g3 = grad_out[here[n + 2]], grad_out[here[n + 3]]
            i = 0
            while i + 1 < num_in:
                a0, a1, a2, a3 = f0[i], f1[i], f2[i], f3[i]
                b0, b1, b2, b3 = f0[i + 1], f1[i + 1], f2[i + 1], f3[i + 1]
                p0, p1 = part[i], part[i + 1]
                for o in range(num_out):
                    x0, x1, x2, x3 = g0[o], g1[o], g2[o], g3[o]
                    p0[o] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    p1[o] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                i += 2
            while i < num_in:
                a0, a1, a2, a3 = f0[i], f1[i], f2[i], f3[i]
                p0 = part[i]
                for o in range(num_out):
                    p0[o] += a0 * g0[o] + a1 * g1[o] + a2 * g2[o] + a3 * g3[o]
                i += 1
            n += 4
        while n < found:
            f0, g0 = feat[there[n]], grad_out[here[n]]
            for i in range(num_in):
                a0 = f0[i]
                p0 = part[i]
                for o in range(num_out):
                    p0[o] += a0 * g0[o]
            n += 1
        for i in range(num_in):
            for o in range(num_out):
                grad[i, o] += part[i, o]
