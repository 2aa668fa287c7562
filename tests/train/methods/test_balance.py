"""The balance: which weight holds a term's gradient at its share, and how the weight goes on."""

import math

import pytest
import torch
from torch import nn

from tests.train.processes import run_processes
from train.core.distributed import current_world
from train.methods.balance import EVERY, MEMORY, GradientBalance
from train.methods.terms import LossTerm


class Student(nn.Module):
    """Two numbers; a term is a scalar product with them, whose gradient is the other factor."""

    def __init__(self):
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def term(self, *gradient, weight=1.0, stats=None):
        factor = torch.tensor(gradient, dtype=torch.float64)
        return LossTerm(self.numbers @ factor, weight, "clouds", stats=stats or {})


def step(balance, student, of_term, of_others):
    """Take a step whose gradients point along the two axes; return the weight."""
    terms = {"term": student.term(of_term, 0.0), "others": student.term(0.0, of_others)}
    weight = balance.weighted(terms, "term", student).weight
    balance.synchronize()
    return weight


def test_the_weighted_term_has_its_share_of_the_gradient_of_all_others_together():
    student = Student()
    seen = torch.tensor(3.0)
    terms = {
        "first": student.term(3.0, 0.0),
        "term": student.term(0.0, 10.0, weight=123.0, stats={"seen": seen}),
        "second": student.term(0.0, 2.0, weight=2.0),
    }
    weighted = GradientBalance(0.25).weighted(terms, "term", student)
    # The others' gradient is (3, 4), 5 long; the term's own weight is not looked at.
    assert weighted.weight == pytest.approx(0.25 * 5 / 10)
    (gradient,) = torch.autograd.grad(weighted.weight * weighted.value, [student.numbers])
    assert gradient.norm().item() == pytest.approx(0.25 * 5)
    assert weighted.value is terms["term"].value
    assert weighted.unit == "clouds"
    assert weighted.stats["seen"] is seen
    assert weighted.stats["weight"].item() == pytest.approx(0.125)


def test_a_term_of_several_means_is_their_sum():
    student = Student()
    several = torch.stack([student.term(3.0, 0.0).value, student.term(3.0, 8.0).value])
    count = torch.tensor([1.0, 2.0])
    terms = {"term": LossTerm(several, 1.0, count=count), "others": student.term(0.0, 5.0)}
    weighted = GradientBalance(1.0).weighted(terms, "term", student)
    assert weighted.weight == pytest.approx(5 / 10)
    assert weighted.count is count


def test_the_weight_stays_between_measurements_and_then_moves_a_little():
    student, balance = Student(), GradientBalance(0.5)
    assert step(balance, student, 4.0, 8.0) == pytest.approx(1.0)
    for _ in range(EVERY - 1):
        assert step(balance, student, 100.0, 1.0) == pytest.approx(1.0)
    step(balance, student, 1.0, 6.0)
    want = 0.5 * math.exp((MEMORY * math.log(8 / 4) + math.log(6 / 1)) / (MEMORY + 1))
    assert step(balance, student, 100.0, 1.0) == pytest.approx(want)


def test_a_balance_that_goes_on_has_the_same_weights():
    student, whole = Student(), GradientBalance(0.5)
    for number in range(1, EVERY + 1):
        step(whole, student, number, 7.0)
    continued = GradientBalance(0.5)
    continued.load_state_dict(whole.state_dict())
    fresh = GradientBalance(0.5)
    weights = [
        [step(balance, student, 30.0 + number, 2.0) for number in range(EVERY + 2)]
        for balance in (whole, continued, fresh)
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_its_state_is_tensors_alone():
    """A training state is read without pickled code."""
    (state,) = GradientBalance(0.5).state_dict().values()
    assert (state.dtype, state.tolist()) == (torch.float64, [0.0, 0.0, 0.0])


def test_a_term_without_a_gradient_has_no_weight():
    student, balance = Student(), GradientBalance(0.5)
    assert step(balance, student, 0.0, 3.0) == 0.0
    # It is weighted again from the next measurement on.
    for _ in range(EVERY - 1):
        assert step(balance, student, 5.0, 3.0) == 0.0
    step(balance, student, 5.0, 3.0)
    assert step(balance, student, 5.0, 3.0) == pytest.approx(0.5 * 3 / 5)


def test_a_share_is_held_while_the_gradients_fall():
    """A term's gradient falls hundredfold in a hundred steps, and thirteenfold over the next."""
    student, balance = Student(), GradientBalance(0.3)
    for number in range(400):
        of_term = 100.0 ** (1 - number / 100) if number < 100 else 13.0 ** (-(number - 100) / 300)
        weight = step(balance, student, of_term, 2.0)
        if number > 150:
            assert weight * of_term / 2.0 == pytest.approx(0.3, rel=0.25)


def test_a_term_that_reaches_no_parameter_has_no_weight():
    student = Student()
    elsewhere = torch.ones((), dtype=torch.float64, requires_grad=True)
    terms = {"term": LossTerm(2 * elsewhere, 1.0), "others": student.term(0.0, 1.0)}
    assert GradientBalance(0.5).weighted(terms, "term", student).weight == 0.0


def test_without_gradients_nothing_is_measured():
    student, balance = Student(), GradientBalance(0.5)
    step(balance, student, 4.0, 8.0)
    for _ in range(EVERY - 1):
        step(balance, student, 4.0, 8.0)
    before = balance.get_extra_state()
    with torch.no_grad():
        assert step(balance, student, 1.0, 100.0) == pytest.approx(1.0)
    assert torch.equal(balance.get_extra_state()[1:], before[1:])


@pytest.mark.parametrize("share", [0.0, -1.0, float("inf"), float("nan")])
def test_a_share_is_a_finite_number_above_0(share):
    with pytest.raises(ValueError, match="share is"):
        GradientBalance(share)


def weights_of_a_process():
    """Three steps; the last process has no cloud in the first one."""
    world = current_world()
    student, balance = Student(), GradientBalance(1.0)
    if world.rank == world.size - 1:
        balance.synchronize()
    else:
        step(balance, student, 1.0 + world.rank, 4.0)
    return [step(balance, student, 9.0, 9.0) for _ in range(2)]


def test_all_processes_have_one_weight_after_the_first_step():
    outcomes = run_processes(3, weights_of_a_process)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    # The mean over the two processes that measured: 4 over (1 + 2) / 2.
    for outcome in outcomes:
        assert outcome.value == pytest.approx([4 / 1.5] * 2)
