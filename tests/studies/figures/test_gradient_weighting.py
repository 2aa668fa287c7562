"""Figure 9's formulas, autograd and finite differences say the same."""

import numpy as np
import pytest
import torch

from benchmarks.studies.figures.gradient_weighting import (
    OFFSET,
    by_autograd,
    by_formula,
    make,
    pairs,
    summary,
)
from fast import persistence_weighted_chamfer


@pytest.mark.parametrize("name", ["weighted", "unweighted", "loss"])
def test_formulas_and_autograd_agree(name):
    teacher, student = pairs(20)
    np.testing.assert_allclose(
        by_autograd(teacher, student)[name],
        by_formula(teacher, student)[name],
        rtol=1e-12,
        atol=1e-15,
    )


def test_the_loss_has_this_slope():
    teacher, student = pairs(12)
    slope = by_formula(teacher, student)["loss"]
    step = 1e-6
    for place in range(len(student)):
        moved = []
        for sign in (1, -1):
            other = student.copy()
            other[place, 1] += sign * step
            moved.append(
                float(persistence_weighted_chamfer(*map(torch.from_numpy, (teacher, other))))
            )
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(slope[place], rel=1e-6)


def test_the_weight_is_proportional_to_log_one_plus_persistence():
    teacher, student = pairs()
    persistence = teacher[:, 1] - teacher[:, 0]
    found = by_autograd(teacher, student)
    matched = persistence >= np.sqrt(2) * OFFSET
    assert not found["weighted"][~matched].any()
    assert (~matched).any()
    ratio = (found["weighted"] / np.log1p(persistence))[matched]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    np.testing.assert_allclose(found["unweighted"][matched], 2 * OFFSET / len(teacher), rtol=1e-9)


def test_the_record_says_what_is_drawn():
    numbers = make().numbers
    assert numbers["largest_difference"] < 1e-15
    assert len(numbers["persistence"]) == len(numbers["gradient"]["loss"]) == numbers["pairs"]
    assert "9% of the gradient of one of 2 with the weight, 100% without" in summary(numbers)
