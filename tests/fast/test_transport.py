"""Entropic transport and gradient entropy: the definition, POT, by hand, finite differences."""

import inspect

import numpy as np
import ot
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import transport
from fast.transport import NotConvergedError
from tests.reference import strategies

SIZES = [(0, 0), (0, 4), (5, 0), (1, 1), (7, 5), (20, 31)]


def make_pairs(rng, size):
    births = rng.random(size)
    return np.column_stack([births, births + 0.1 + rng.random(size)])


def assert_equals_the_definition(teacher, student, eps, relative=False):
    """Compare value, plan and the student's gradient, both iterated to the end."""
    options = {"relative": relative, "tolerance": 1e-12}
    want = reference.entropic_transport(teacher, student, eps, **options)
    grads = reference.entropic_transport_grad(teacher, student, eps, **options)
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.entropic_transport(torch.tensor(teacher), leaf, eps, **options)
    assert got.value.item() == pytest.approx(want.value, rel=1e-10, abs=1e-13)
    np.testing.assert_allclose(got.plan, together(want.plan, len(teacher)), rtol=1e-6, atol=1e-12)
    got.value.backward()
    np.testing.assert_allclose(leaf.grad, np.column_stack(grads), rtol=1e-9, atol=1e-11)


def together(plan, num_teacher):
    """Add up the rows and columns of the definition's diagonal points."""
    num_student = len(plan) - num_teacher
    rows = np.vstack([plan[:num_teacher], plan[num_teacher:].sum(axis=0)])
    return np.column_stack([rows[:, :num_student], rows[:, num_student:].sum(axis=1)])


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("eps", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_equals_the_definition(sizes, eps, relative):
    rng = np.random.default_rng(sum(sizes))
    assert_equals_the_definition(*(make_pairs(rng, size) for size in sizes), eps, relative)


@given(
    teacher=strategies.tied_diagrams(max_pairs=4),
    student=strategies.tied_diagrams(max_pairs=4),
    eps=st.sampled_from([0.5, 2.0]),
    relative=st.booleans(),
)
def test_it_equals_the_definition_at_duplicates(teacher, student, eps, relative):
    assert_equals_the_definition(teacher, student, eps, relative)


def _balanced(rows, columns):
    return torch.ones_like(rows) / rows.shape[1], torch.ones_like(columns) / columns.shape[1]


def _free_diagonal(p, q):
    cost = torch.zeros(len(p), p.shape[1] + 1, q.shape[1] + 1, dtype=p.dtype)
    cost[:, :-1, :-1] = (p[:, :, None] - q[:, None]).square().sum(dim=-1)
    return cost


@pytest.mark.parametrize(
    ("name", "mutant", "relative"),
    [
        ("_masses", lambda rows, columns: _balanced(*_MASSES(rows, columns)), False),
        ("_completed_cost", _free_diagonal, False),
        (
            "_gradient",
            lambda pairs, others, plan: 2 * pairs * plan[:, :-1].sum(2, keepdim=True),
            False,
        ),
        ("_largest_cost", lambda cost, rows, columns: cost.mean(dim=(1, 2)), True),
        ("_largest_cost", lambda cost, rows, columns: cost[:, :-1, :-1].amax(dim=(1, 2)), True),
    ],
    ids=[
        "one-diagonal-point",
        "diagonal-is-free",
        "gradient-forgets-the-match",
        "mean-cost",
        "largest-without-the-diagonal",
    ],
)
def test_a_broken_variant_is_caught(monkeypatch, name, mutant, relative):
    monkeypatch.setattr(transport, name, mutant)
    rng = np.random.default_rng(12)
    pairs = [make_pairs(rng, size) for size in (7, 5)]
    if relative:  # far longer than they are apart: the diagonal has the largest cost
        pairs = [np.array([[0.0, 2.0]]), np.array([[0.0, 2.1]])]
    with pytest.raises((AssertionError, RuntimeError)):
        assert_equals_the_definition(*pairs, 0.1, relative)


_MASSES = transport._masses


def test_names_and_order_of_the_arguments_are_the_definitions():
    theirs = inspect.signature(reference.entropic_transport).parameters
    ours = inspect.signature(fast.entropic_transport).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [ours[name].default for name in theirs] == [each.default for each in theirs.values()]
    assert fast.Transport._fields == reference.Transport._fields


@pytest.mark.oracle
@pytest.mark.parametrize("eps", [0.05, 0.5])
def test_the_plan_equals_pot(eps):
    rng = np.random.default_rng(1)
    teacher, student = make_pairs(rng, 6), make_pairs(rng, 9)
    cost = np.zeros((7, 10))
    cost[:6, :9] = ot.dist(teacher, student, "sqeuclidean")
    cost[:6, 9] = (teacher[:, 1] - teacher[:, 0]) ** 2 / 2
    cost[6, :9] = (student[:, 1] - student[:, 0]) ** 2 / 2
    masses = np.append(np.ones(6), 9) / 15, np.append(np.ones(9), 6) / 15
    theirs = ot.sinkhorn(
        *masses, cost, eps, method="sinkhorn_log", stopThr=1e-13, numItermax=100_000
    )
    value, plan = fast.entropic_transport(torch.tensor(teacher), torch.tensor(student), eps)
    np.testing.assert_allclose(plan, theirs, rtol=1e-6, atol=1e-12)
    divergence = np.sum(theirs * np.log(theirs / np.outer(*masses)))
    assert value.item() == pytest.approx(np.sum(theirs * cost) + eps * divergence, rel=1e-9)


def test_without_a_partner_all_goes_to_the_diagonal():
    alone = torch.tensor([[0.0, 2.0], [1.0, 5.0]], requires_grad=True)
    nothing = torch.empty(0, 2)
    for pair in ((alone, nothing), (nothing, alone)):
        value = fast.entropic_transport(*pair).value
        assert value.item() == pytest.approx((2 + 8) / 2, rel=1e-6)
        (gradient,) = torch.autograd.grad(value, alone)
        torch.testing.assert_close(gradient, torch.tensor([[-1.0, 1.0], [-2.0, 2.0]]))


def test_one_pair_each_by_hand():
    """Two by two: the mass between the pairs is x, with (2x / (1 - 2x))^2 = gain."""
    teacher = torch.tensor([[0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    student = torch.tensor([[0.0, 3.0]], dtype=torch.float64, requires_grad=True)
    gain = np.exp((2.0 + 4.5 - 1.0 - 0.0) / 1.0)
    x = 0.5 * np.sqrt(gain) / (1 + np.sqrt(gain))
    value, plan = fast.entropic_transport(teacher, student, 1.0)
    np.testing.assert_allclose(plan, [[x, 0.5 - x], [0.5 - x, x]], rtol=1e-8)
    grads = torch.autograd.grad(value, (teacher, student))
    y = 0.5 - x
    np.testing.assert_allclose(grads[0], [[y * -2.0, -x * 2.0 + y * 2.0]], rtol=1e-7)
    np.testing.assert_allclose(grads[1], [[y * -3.0, x * 2.0 + y * 3.0]], rtol=1e-7)


@pytest.mark.parametrize("sizes", [(4, 5), (0, 3), (3, 0), (2, 2)], ids=str)
@pytest.mark.parametrize("eps", [0.05, 1.0])
def test_the_gradient_is_the_derivative_in_both_diagrams(sizes, eps):
    rng = np.random.default_rng(0)
    pairs = [torch.tensor(make_pairs(rng, n), requires_grad=n > 0) for n in sizes]

    def value(*pairs):
        return fast.entropic_transport(*pairs, eps, tolerance=1e-12).value

    assert torch.autograd.gradcheck(value, pairs)


def test_a_second_derivative_is_refused_and_not_wrong():
    student = torch.tensor([[0.0, 1.0], [0.5, 2.0]], requires_grad=True)
    value = fast.entropic_transport(student.detach(), student).value
    (gradient,) = torch.autograd.grad(value, student, create_graph=True)
    with pytest.raises(RuntimeError, match="entropic_transport: it has no second derivative"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("eps", "relative"),
    [(0.003, False), (0.1, False), (0.05, True)],  # the first needs Newton's steps
)
def test_a_ragged_batch_is_its_diagrams_one_by_one(eps, relative):
    rng = np.random.default_rng(0)
    sizes = [(0, 3), (4, 0), (6, 7), (0, 0), (7, 2), (1, 1)]
    teachers, students = (
        torch.full((2, 3, 7, 2), 9.0).double(),
        torch.full((2, 3, 8, 2), 9.0).double(),
    )
    masks = torch.zeros(2, 3, 7, dtype=torch.bool), torch.zeros(2, 3, 8, dtype=torch.bool)
    values, gradients = [], torch.zeros_like(students)
    for cloud, (m, k) in enumerate(sizes):
        at = divmod(cloud, 3)
        teacher, student = (torch.tensor(make_pairs(rng, size)) for size in (m, k))
        # Rows that count need not come first.
        teachers[at][7 - m :], masks[0][at][7 - m :] = teacher, True
        students[at][:k], masks[1][at][:k] = student, True
        student.requires_grad_()
        alone = fast.entropic_transport(teacher, student, eps, relative=relative)
        values.append(alone.value.item())
        gradients[at][:k] = torch.autograd.grad(alone.value, student)[0]
    students.requires_grad_()
    got = fast.entropic_transport(
        teachers,
        students,
        eps,
        relative=relative,
        teacher_mask=masks[0],
        student_mask=masks[1],
    )
    assert got.value.shape == (2, 3)
    assert got.plan.shape == (2, 3, 8, 9)
    np.testing.assert_allclose(got.value.detach().flatten(), values, rtol=1e-8, atol=1e-14)
    (gradient,) = torch.autograd.grad(got.value.sum(), students)
    torch.testing.assert_close(gradient, gradients, rtol=1e-7, atol=1e-9)
    assert (gradient[~masks[1]] == 0).all()
    np.testing.assert_allclose(got.plan.sum((2, 3)).flatten(), [1, 1, 1, 0, 1, 1], rtol=1e-8)


def test_single_precision_rounds_the_result_only():
    rng = np.random.default_rng(0)
    teacher, student = (torch.tensor(make_pairs(rng, n)).float() for n in (6, 8))
    student.requires_grad_()
    single = fast.entropic_transport(teacher, student, 0.02)
    double = fast.entropic_transport(teacher.double(), student.double(), 0.02)
    assert single.value.dtype == single.plan.dtype == torch.float32
    assert single.value.item() == double.value.float().item()
    torch.testing.assert_close(
        *(torch.autograd.grad(each.value, student)[0] for each in (single, double))
    )


@pytest.mark.parametrize("sizes", [(4, 6), (0, 3), (3, 0)], ids=str)
def test_with_a_relative_eps_scale_squares_into_the_value(sizes):
    rng = np.random.default_rng(3)
    teacher, student = (torch.tensor(make_pairs(rng, size)) for size in sizes)
    results = []
    for scale in (1.0, 1e-3, 64.0):
        leaf = (scale * student).requires_grad_()
        value, plan = fast.entropic_transport(scale * teacher, leaf, 0.1, relative=True)
        (gradient,) = torch.autograd.grad(value, leaf)
        results.append((value.detach() / scale**2, plan, gradient / scale))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-9, atol=1e-12)


def test_a_relative_eps_of_costs_that_are_all_zero_costs_nothing():
    point = torch.tensor([[1.0, 1.0]], requires_grad=True)
    value, plan = fast.entropic_transport(point.detach(), point, relative=True)
    assert value == 0
    torch.testing.assert_close(plan, torch.full((2, 2), 0.25))
    assert (torch.autograd.grad(value, point)[0] == 0).all()


def test_too_few_steps_are_an_error_and_not_an_answer():
    teacher, student = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 1.0]])
    with pytest.raises(RuntimeError) as error:
        fast.entropic_transport(teacher, student, max_iterations=1)
    assert str(error.value) == (
        "entropic_transport: column sums are off by 2.9e-02 after 1 steps; "
        "raise eps (now 0.1), tolerance (now 1e-09) or max_iterations"
    )
    fast.entropic_transport(teacher, student, max_iterations=1, tolerance=0.1)


@pytest.mark.parametrize("seed", [2, 4, 9, 15, 24])  # the definition's matrices are singular
def test_where_rounding_leaves_no_step_both_say_so_or_answer_alike(seed):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(4, 8)
    teacher, student = (scale * make_pairs(rng, rng.integers(1, 8)) for _ in range(2))
    values = []
    for function, convert in ((fast, torch.tensor), (reference, np.array)):
        try:
            value = function.entropic_transport(
                convert(teacher), convert(student), 1e-2, max_iterations=300
            ).value
        except NotConvergedError:
            continue
        values.append(float(value))
    assert values == pytest.approx(values[:1] * len(values), rel=1e-9)


def test_a_singular_step_is_no_answer():
    share = torch.full((1, 2, 2), 0.5).double()
    masses = torch.tensor([[0.5, 0.5]]).double()  # no error is left, so nothing is damped
    assert not transport._newton(share, masses, masses).isfinite().all()


def test_few_pairs_far_apart_converge(monkeypatch):
    teacher = torch.tensor([[0.0, 1.0], [0.5, 2.0]], dtype=torch.float64)
    student = torch.tensor([[0.0, 1.1], [0.5, 1.8]], dtype=torch.float64)
    plan = fast.entropic_transport(10 * teacher, 10 * student, 0.05, max_iterations=200).plan
    want = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]).double() / 4
    torch.testing.assert_close(plan, want, rtol=0, atol=1e-12)
    monkeypatch.setattr(transport, "_SWEEPS", 200)  # Sinkhorn alone would need exp(22) sweeps
    with pytest.raises(RuntimeError, match=r"column sums are off by .* after 200 steps"):
        fast.entropic_transport(teacher, student, 0.05, max_iterations=200)


@pytest.mark.parametrize("family", ["features", "circle"])
def test_it_is_the_topological_loss_when_asked_for(make_cloud, family):
    teacher, student = (torch.tensor(make_cloud(family, 40, seed)) for seed in range(2))
    want = 0.0
    of_teacher, of_student = (
        fast.rips_persistence_of_points(fast.normalise(cloud)) for cloud in (teacher, student)
    )
    for one, other in zip(of_teacher, of_student, strict=True):
        want += reference.entropic_transport(
            one.pairs[0].numpy(), other.pairs[0].numpy(), 0.05
        ).value
    leaf = student.clone().requires_grad_()
    got = fast.topological_loss(teacher, leaf, 40, loss="sinkhorn", sinkhorn_eps=0.05)
    assert got.item() == pytest.approx(want, rel=1e-8)
    module = fast.TopologicalLoss(40, loss="sinkhorn", sinkhorn_eps=0.05)
    assert torch.equal(module(teacher, leaf, torch.tensor([40])), got)
    (gradient,) = torch.autograd.grad(got, leaf)
    along = gradient / gradient.norm()
    ahead, behind = (
        fast.topological_loss(
            teacher, student + step * along, 40, loss="sinkhorn", sinkhorn_eps=0.05
        )
        for step in (1e-6, -1e-6)
    )
    assert (ahead - behind).item() / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-4)


# ---- gradient entropy ---------------------------------------------------------------------------


def test_the_arguments_of_the_entropy_are_the_definitions_and_a_mask():
    theirs = inspect.signature(reference.gradient_entropy).parameters
    assert list(inspect.signature(fast.gradient_entropy).parameters) == [*theirs, "mask"]


@pytest.mark.parametrize("num_pairs", [1, 2, 5, 300])
def test_the_entropy_equals_the_definition(num_pairs):
    rng = np.random.default_rng(num_pairs)
    births, deaths = rng.normal(size=(2, num_pairs)) ** 5
    births[::3] = deaths[::3] = 0.0  # pairs that nothing pulls at count in K
    if num_pairs == 1:
        deaths[0] = 2.0
    got = fast.gradient_entropy(torch.tensor(births), torch.tensor(deaths))
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(reference.gradient_entropy(births, deaths), abs=1e-14)


def test_each_diagram_of_a_batch_has_its_own_entropy_and_nan_where_there_is_no_gradient():
    births = torch.tensor([[3.0, 0.0, 7.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 9.0, 9.0]])
    deaths = torch.tensor([[4.0, 5.0, 7.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 0]]).bool()
    want = torch.tensor([1.0, float(np.log(2) / np.log(3)), torch.nan, 0.0])
    got = fast.gradient_entropy(births.requires_grad_(), deaths, mask)
    torch.testing.assert_close(got, want, equal_nan=True)
    assert not got.requires_grad
    got = fast.gradient_entropy(*(each.view(2, 2, 3) for each in (births, deaths, mask)))
    torch.testing.assert_close(got, want.view(2, 2), equal_nan=True)
    # Under no mask the last diagram has three pairs; without pairs there is no entropy.
    assert fast.gradient_entropy(births, deaths)[3] > 0.5
    assert fast.gradient_entropy(births[:, :0], deaths[:, :0]).isnan().all()


def test_tiny_gradients_in_single_precision_have_a_spread():
    tiny = torch.full((4,), 1e-30)
    assert fast.gradient_entropy(tiny, tiny).item() == pytest.approx(1.0)
    half = tiny.half() + 1
    assert fast.gradient_entropy(half, half).dtype == torch.float32


@pytest.mark.oracle
@pytest.mark.parametrize("eps", [1e-4, 1e-6])
@pytest.mark.parametrize("seed", range(3))
def test_a_small_eps_takes_few_steps_and_comes_close_to_the_best_matching(eps, seed):
    """Newton's steps at 1e-4 alone were over a thousand, and at 1e-5 they did not end."""
    rng = np.random.default_rng(seed)
    teacher, student = make_pairs(rng, 20), make_pairs(rng, 15)
    squares = ((teacher[:, None] - student) ** 2).sum(axis=-1)
    costs = np.block([
        [squares, np.tile(np.diff(teacher) ** 2 / 2, (1, 20))],
        [np.tile(np.diff(student)[:, 0] ** 2 / 2, (15, 1)), np.zeros((15, 20))],
    ])  # fmt: skip
    best = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    for function, convert in ((fast, torch.tensor), (reference, np.array)):
        value = function.entropic_transport(
            convert(teacher), convert(student), eps, max_iterations=400
        ).value
        # The entropy of a plan between 35 points is at most ln 35 above that of the uniform one.
        assert best - 1e-12 <= float(value) <= best + eps * np.log(35)


def test_diagrams_of_a_batch_are_annealed_each_by_itself():
    rng = np.random.default_rng(0)
    teachers, students = (
        torch.tensor(np.stack([make_pairs(rng, 6) * scale for scale in (1.0, 1e-3, 30.0)]))
        for _ in range(2)
    )
    together = fast.entropic_transport(teachers, students, 1e-4)
    for index in range(3):
        alone = fast.entropic_transport(teachers[index], students[index], 1e-4)
        torch.testing.assert_close(together.value[index], alone.value, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(together.plan[index], alone.plan, rtol=1e-6, atol=1e-9)
