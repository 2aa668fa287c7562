"""The search for neighbors as a compiled loop for a CPU: a walk along the sorted voxels.

Shape letters: N voxels, K taps of a kernel.
"""

import torch
from torch import Tensor

from fast import threads
from train.core.compiled import compiled


def fill_table(rows: Tensor, key: Tensor, row: Tensor, steps: tuple[int, int], side: int) -> None:
    """Write the taps before the center, and their mirror images, into a table.

    Parameters
    ----------
    rows
        [K, N] int32, all N but for the center tap; changed in place.
    key, row
        [N] int64: the voxels' keys in increasing order, in which z runs fastest, and their rows.
    steps
        What a step along x and one along y add to a key.
    side
        Of the kernel.
    """
    radius = side // 2
    columns = [(x, y) for x in range(-radius, 1) for y in range(-radius, radius + 1)]
    columns = [column for column in columns if column <= (0, 0)]
    calls = [
        (
            rows.numpy(),
            key.numpy(),
            row.numpy(),
            x * steps[0] + y * steps[1] - radius,
            number * side,
            side if (x, y) < (0, 0) else radius,
        )
        for number, (x, y) in enumerate(columns)
    ]
    threads.run(_fill_column, calls, torch.get_num_threads())


@compiled(nogil=True)  # pragma: no cover
def _fill_column(rows, key, row, to_lowest, first_tap, num_cells):  # type: ignore[no-untyped-def]
    """Find the voxels in `num_cells` cells, one above the other, beside each voxel.

    Keys and the keys looked for rise together, so the place of the search only moves on.
    """
    num_taps, num_rows = rows.shape
    at = 0
    for p in range(num_rows):
        if p > 0 and key[p] == key[p - 1]:
            continue  # a further point of a voxel
        here = row[p]
        lowest = key[p] + to_lowest
        while key[at] < lowest:
            at += 1
        found = at
        while key[found] < lowest + num_cells:
            # Sorting was stable: the first of equal keys is the voxel's first point.
            if found == 0 or key[found] != key[found - 1]:
                tap = first_tap + key[found] - lowest
                rows[tap, here] = row[found]
                rows[num_taps - 1 - tap, row[found]] = here
            found += 1
