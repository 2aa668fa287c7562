"""fast.sorted_wasserstein and both of its kernels against the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import dispatch, wasserstein
from fast.kernels.transport import wasserstein_cpu, wasserstein_rows
from tests.reference import strategies

KERNELS = {"numba": wasserstein_cpu, "torch": wasserstein_rows}


@pytest.fixture(params=list(KERNELS))
def either_kernel(request, monkeypatch):
    """Let CPU tensors be served by the CPU's kernel, or by the one of other devices."""
    module = KERNELS[request.param]
    monkeypatch.setattr(wasserstein, "kernel", lambda *_: module.optimal_partners)


@st.composite
def lists_of_deaths(draw):
    """Return two lists of deaths: small integers, full of ties, or of many sizes."""
    both = []
    for _ in range(2):
        rng = np.random.default_rng(draw(strategies.seeds))
        size = draw(st.integers(0, 7))
        tied = rng.integers(0, 6, size).astype(float)
        both.append(tied if draw(st.booleans()) else np.exp(1.2 * rng.normal(size=size)))
    return both


def assert_equals_the_definition(teachers, students):
    """Compare values and gradients of padded lists with one after another."""

    def padded(lists):
        values = np.full((len(lists), max(map(len, lists))), 7.0)  # padding is not to be read
        mask = np.zeros(values.shape, dtype=bool)
        rng = np.random.default_rng(0)
        for row, kept, deaths in zip(values, mask, lists, strict=True):
            kept[np.sort(rng.permutation(len(row))[: len(deaths)])] = True
            row[kept] = deaths
        return torch.tensor(values), torch.tensor(mask)

    (teacher, teacher_mask), (student, student_mask) = padded(teachers), padded(students)
    student.requires_grad_()
    got = fast.sorted_wasserstein(
        teacher, student, teacher_mask=teacher_mask, student_mask=student_mask
    )
    got.sum().backward()
    for cloud, pair in enumerate(zip(teachers, students, strict=True)):
        want = reference.sorted_wasserstein(*pair)
        assert got[cloud].item() == pytest.approx(want, rel=1e-12, abs=1e-15)
        gradient = reference.sorted_wasserstein_grad(*pair)
        mine = student.grad[cloud][student_mask[cloud]]
        np.testing.assert_allclose(mine, gradient, rtol=1e-12, atol=1e-15)
    assert not student.grad[~student_mask].any()


@pytest.mark.usefixtures("either_kernel")
@given(lists=st.lists(lists_of_deaths(), min_size=1, max_size=3))
def test_it_equals_the_definition(lists):
    assert_equals_the_definition(*zip(*lists, strict=True))


@pytest.mark.usefixtures("either_kernel")
@pytest.mark.parametrize("sizes", [(60, 60), (61, 53), (1, 40)], ids=str)
def test_it_equals_the_definition_at_size(sizes):
    rng = np.random.default_rng(sum(sizes))
    assert_equals_the_definition(*([rng.random(size) for _ in range(2)] for size in sizes))


@pytest.mark.usefixtures("either_kernel")
@pytest.mark.parametrize(
    ("teacher", "student", "value", "gradient"),
    [
        ([1.0], [4.0], (0.5 + 8) / 2, [2.0]),  # 4 > 2 + sqrt(3): apart is cheaper
        ([3.0, 1.0], [2.0, 4.0], (1 + 1) / 4, [0.5, 0.5]),
        ([10.0, 1.0], [1.0], 50 / 3, [0.0]),  # the larger one is left over
        ([5.0], [1.0, 4.0, 20.0], (1 + 0.5 + 200) / 4, [0.25, -0.5, 5.0]),
    ],
)
def test_values_and_gradients_by_hand(teacher, student, value, gradient):
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.sorted_wasserstein(torch.tensor(teacher), leaf)
    got.backward()
    torch.testing.assert_close(got.detach(), torch.tensor(value))
    torch.testing.assert_close(leaf.grad, torch.tensor(gradient))


@pytest.mark.parametrize("spread", [0.1, 1.5])
def test_both_kernels_find_the_same_matching(spread):
    rng = np.random.default_rng(0)
    deaths = [torch.tensor(np.exp(spread * rng.normal(size=(3, n)))) for n in (150, 140)]
    both = [each.sort(dim=1).values for each in deaths]
    counts = torch.tensor([150, 0, 31]), torch.tensor([140, 17, 80])
    found = [module.optimal_partners(*both, *counts) for module in KERNELS.values()]
    assert torch.equal(*found)
    matched = (found[0] >= 0).sum(dim=1)
    assert matched[0] > 100
    assert matched[1] == 0
    assert (found[0][2, 31:] == -1).all()
    assert spread < 1 or matched[0] < 140  # some are left to the diagonal


def _all_matched(teacher, student, teacher_counts, student_counts):
    places = torch.arange(teacher.shape[1]).expand(teacher.shape)
    least = torch.minimum(teacher_counts, student_counts)[:, None]
    return places.where(places < least, -1)


def test_a_matching_without_the_diagonal_is_caught(monkeypatch):
    monkeypatch.setattr(wasserstein, "kernel", lambda *_: _all_matched)
    assert_equals_the_definition([np.array([1.0, 2.0])], [np.array([1.5, 2.5])])
    with pytest.raises(AssertionError):
        assert_equals_the_definition([np.array([1.0, 2.0])], [np.array([1.5, 9.0])])


def test_leading_dimensions_are_kept_and_may_be_none():
    rng = np.random.default_rng(0)
    teacher, student = torch.tensor(rng.random((2, 3, 5))), torch.tensor(rng.random((2, 3, 4)))
    got = fast.sorted_wasserstein(teacher, student)
    assert got.shape == (2, 3)
    assert torch.equal(got[1, 2], fast.sorted_wasserstein(teacher[1, 2], student[1, 2]))
    assert fast.sorted_wasserstein(teacher[:0], student[:0]).shape == (0, 3)
    assert fast.sorted_wasserstein(teacher[0, 0, :0], student[0, 0, :0]).item() == 0


def test_deaths_of_equal_diagrams_are_matched_exactly():
    deaths = torch.rand(2, 300, requires_grad=True)
    got = fast.sorted_wasserstein(deaths.detach().flip(1), deaths)
    assert got.tolist() == [0.0, 0.0]
    got.sum().backward()
    assert not deaths.grad.any()


def test_the_gradient_is_right_to_second_order():
    rng = np.random.default_rng(3)
    teacher, student = torch.tensor(rng.random(6)), torch.tensor(rng.random(5), requires_grad=True)

    def loss(student):
        return fast.sorted_wasserstein(teacher, student)

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


def test_low_precision_is_computed_in_float32():
    teacher, student = torch.rand(9).bfloat16(), torch.rand(7).bfloat16()
    got = fast.sorted_wasserstein(teacher, student)
    assert got.dtype == torch.float32
    assert torch.equal(got, fast.sorted_wasserstein(teacher.float(), student.float()))


def test_each_device_has_its_kernel():
    for device, backend in (("cpu", "numba"), ("cuda", "torch")):
        found = dispatch.kernel("sorted_wasserstein", torch.device(device))
        assert found is KERNELS[backend].optimal_partners


def test_the_module_takes_one_dimension_or_a_weight_of_0(make_cloud):
    teacher, student = (
        torch.tensor(make_cloud(family, 60)).float() for family in ("features", "gaussian")
    )
    offset = torch.tensor([20, 60])
    alone = fast.TopologicalLoss(30, loss="wasserstein", dim_weights=(2.0,))
    both = fast.TopologicalLoss(30, loss="wasserstein", dim_weights=(2.0, 0.0))
    value = alone(teacher, student, offset)
    loss, stats = both(teacher, student, offset, return_stats=True)
    assert torch.equal(value, loss)
    assert value > 0
    assert stats.losses[1] == 0
    assert 2 * stats.losses[0].item() == pytest.approx(loss.item())
