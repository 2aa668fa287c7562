"""What a writer of predictions for a benchmark's server offers; one a dataset."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.data.sweep import Sweep


class Submission(Protocol):
    """Predictions for a whole split, collected sweep by sweep, written as the server wants them."""

    def add(self, sweep: Sweep, prediction: NDArray[np.int64]) -> None:
        """Take one sweep's train ids, (N,) int64, one for each of its points in their order.

        Raises
        ------
        UserError
            If the length or an id does not fit, or the sweep was added before.
        """

    def finish(self) -> Path:
        """Write everything, whole or not at all, and return what is to be uploaded.

        Raises
        ------
        UserError
            If a sweep of the split is missing, or the place cannot be written.
        """
