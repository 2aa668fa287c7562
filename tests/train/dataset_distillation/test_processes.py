"""Several processes share the classes and end with the numbers of one."""

import dataclasses

import numpy as np
import torch

from tests.train.dataset_distillation.toys import toy_clouds
from tests.train.processes import run_processes
from train.dataset_distillation.distill import Distillation
from train.dataset_distillation.options import DistillOptions

OPTIONS = DistillOptions(
    points=16, iterations=2, outer=2, inner=1, real_batch=3, width=8, widths=(4, 8, 16)
)


def distilled():
    """Distill on one thread; return the distances and all learned numbers."""
    torch.set_num_threads(1)
    distillation = Distillation(toy_clouds(3, 0, points=16), OPTIONS, torch.device("cpu"))
    found = distillation.run()
    return found.losses, torch.cat([p.detach().flatten() for p in distillation.learned]).numpy()


def test_two_processes_learn_what_one_does():
    threads = torch.get_num_threads()
    try:
        losses, numbers = distilled()
    finally:
        torch.set_num_threads(threads)
    outcomes = run_processes(2, distilled)
    assert [each.error for each in outcomes] == [None, None], outcomes[0].trace
    first, second = (each.value for each in outcomes)
    assert np.array_equal(first[1], second[1])
    # The sum over classes is taken in another order.
    np.testing.assert_allclose(first[0], losses, rtol=1e-4)
    np.testing.assert_allclose(first[1], numbers, rtol=1e-2, atol=2e-4)
    start = Distillation(
        toy_clouds(3, 0, points=16), dataclasses.replace(OPTIONS), torch.device("cpu")
    )
    before = torch.cat([p.detach().flatten() for p in start.learned]).numpy()
    assert np.abs(numbers - before).max() > 1e-3
