"""Entropic transport between diagrams and gradient entropy: Table 11."""

import gudhi.wasserstein
import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from reference.errors import NotConvergedError
from tests.reference import strategies
from tests.reference.checks import assert_gradient

NOTHING = np.empty((0, 2))


def completed_cost(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """Return the squared distances of both diagrams, each with the diagonal points it needs."""
    rows = [tuple(pair) for pair in teacher] + [None] * len(student)
    columns = [tuple(pair) for pair in student] + [None] * len(teacher)

    def cost(p, q):
        if p is None and q is None:
            return 0.0
        if p is None or q is None:
            birth, death = p or q
            return (death - birth) ** 2 / 2
        return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2

    return np.array([[cost(p, q) for q in columns] for p in rows])


@pytest.mark.oracle
@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1, 0.2, 1.0])
def test_plan_and_value_equal_pot(eps):
    rng = np.random.default_rng(1)
    teacher, student = rng.random((6, 2)), rng.random((9, 2))
    teacher[:, 1] += teacher[:, 0]
    student[:, 1] += student[:, 0]
    uniform = np.full(15, 1 / 15)
    cost = completed_cost(teacher, student)
    theirs = ot.sinkhorn(
        uniform, uniform, cost, eps, method="sinkhorn_log", stopThr=1e-13, numItermax=100_000
    )
    value, plan = reference.entropic_transport(teacher, student, eps)
    np.testing.assert_allclose(plan, theirs, rtol=1e-6, atol=1e-12)
    divergence = np.sum(theirs * np.log(theirs * 15**2))
    np.testing.assert_allclose(value, np.sum(theirs * cost) + eps * divergence, rtol=1e-9)


@pytest.mark.oracle
def test_a_relative_eps_is_pots_with_that_share_of_the_largest_cost():
    rng = np.random.default_rng(2)
    teacher, student = np.sort(rng.random((2, 8, 2)), axis=2) * 0.1
    cost = completed_cost(teacher, student)
    uniform = np.full(16, 1 / 16)
    theirs = ot.sinkhorn(
        uniform,
        uniform,
        cost / cost.max(),
        0.05,
        method="sinkhorn_log",
        stopThr=1e-13,
        numItermax=100_000,
    )
    value, plan = reference.entropic_transport(teacher, student, 0.05, relative=True)
    np.testing.assert_allclose(plan, theirs, rtol=1e-6, atol=1e-12)
    divergence = np.sum(theirs * np.log(theirs * 16**2))
    want = np.sum(theirs * cost) + 0.05 * cost.max() * divergence
    np.testing.assert_allclose(value, want, rtol=1e-9)


@pytest.mark.oracle
@given(teacher=strategies.generic_diagrams(1, 4), student=strategies.generic_diagrams(1, 4))
def test_the_cost_lies_between_gudhis_wasserstein_distance_and_the_entropy_above_it(
    teacher, student
):
    exact = gudhi.wasserstein.wasserstein_distance(teacher, student, order=2, internal_p=2) ** 2
    size, eps = len(teacher) + len(student), 0.5
    value, plan = reference.entropic_transport(teacher, student, eps)
    cost = np.sum(plan * completed_cost(teacher, student))
    assert exact / size - 1e-8 <= cost <= value + 1e-8
    assert value <= exact / size + eps * np.log(size) + 1e-8


@pytest.mark.oracle
def test_little_entropy_approaches_gudhis_wasserstein_distance():
    rng = np.random.default_rng(0)
    teacher, student = np.sort(rng.random((2, 10, 2)), axis=2)
    exact = gudhi.wasserstein.wasserstein_distance(teacher, student, order=2, internal_p=2) ** 2
    for eps, error in ((0.02, 0.4), (0.001, 0.02)):
        _, plan = reference.entropic_transport(teacher, student, eps, tolerance=1e-4)
        cost = np.sum(plan * completed_cost(teacher, student))
        np.testing.assert_allclose(cost, exact / 20, rtol=error)


@given(
    teacher=strategies.generic_diagrams(),
    student=strategies.generic_diagrams(),
    eps=st.sampled_from([0.1, 1.0]),
)
def test_the_plan_is_a_coupling_with_positive_mass(teacher, student, eps):
    _, plan = reference.entropic_transport(teacher, student, eps)
    size = len(teacher) + len(student)
    assert plan.shape == (size, size)
    if size:
        assert (plan > 0).all()
        np.testing.assert_allclose(plan.sum(axis=0), 1 / size, rtol=1e-8)
        np.testing.assert_allclose(plan.sum(axis=1), 1 / size, rtol=1e-12)


@given(
    teacher=strategies.generic_diagrams(max_pairs=3),
    student=strategies.generic_diagrams(max_pairs=3),
    eps=st.sampled_from([0.1, 1.0]),
)
def test_the_gradient_is_the_derivative(teacher, student, eps):
    gradient = reference.entropic_transport_grad(teacher, student, eps, tolerance=1e-12)
    assert_gradient(
        lambda moved: reference.entropic_transport(teacher, moved, eps, tolerance=1e-12).value,
        student,
        np.column_stack(gradient),
    )


def test_nothing_costs_nothing():
    value, plan = reference.entropic_transport(NOTHING, NOTHING)
    assert value == 0.0
    assert plan.shape == (0, 0)
    assert [each.shape for each in reference.entropic_transport_grad(NOTHING, NOTHING)] == [
        (0,)
    ] * 2


@pytest.mark.parametrize("sizes", [(3, 4), (0, 3), (3, 0), (1, 1)], ids=str)
def test_a_relative_eps_is_a_share_of_the_largest_cost(sizes):
    rng = np.random.default_rng(sum(sizes))
    teacher, student = (np.sort(rng.random((size, 2)), axis=1) for size in sizes)
    largest = completed_cost(teacher, student).max()
    for function in (reference.entropic_transport, reference.entropic_transport_grad):
        got = function(teacher, student, 0.1, relative=True)
        for one, other in zip(got, function(teacher, student, 0.1 * largest), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
    if all(sizes):
        assert got[1] != pytest.approx(reference.entropic_transport_grad(teacher, student, 0.1)[1])


def test_with_a_relative_eps_the_value_grows_with_the_square_of_the_scale():
    rng = np.random.default_rng(0)
    teacher, student = np.sort(rng.random((2, 5, 2)), axis=2)
    small, large = (
        reference.entropic_transport(s * teacher, s * student, 0.1, relative=True) for s in (1, 50)
    )
    np.testing.assert_allclose(large.value, 2500 * small.value, rtol=1e-8)
    np.testing.assert_allclose(large.plan, small.plan, rtol=1e-8)
    absolute = reference.entropic_transport(50 * teacher, 50 * student, 0.1).value
    assert absolute != pytest.approx(large.value, rel=0.01)


def test_a_relative_eps_of_costs_that_are_all_zero_costs_nothing():
    point = np.array([[1.0, 1.0]])
    value, plan = reference.entropic_transport(point, point, relative=True)
    assert value == 0.0
    np.testing.assert_array_equal(plan, np.full((2, 2), 0.25))
    assert reference.entropic_transport(NOTHING, NOTHING, relative=True).value == 0.0


def test_without_a_partner_all_goes_to_the_diagonal():
    alone = np.array([[0.0, 2.0], [1.0, 5.0]])
    for pair in ((alone, NOTHING), (NOTHING, alone)):
        np.testing.assert_allclose(reference.entropic_transport(*pair).value, (2 + 8) / 2)
    gradient = reference.entropic_transport_grad(NOTHING, alone)
    np.testing.assert_allclose(gradient, [[-1.0, -2.0], [1.0, 2.0]])
    assert [each.shape for each in reference.entropic_transport_grad(alone, NOTHING)] == [(0,)] * 2


def test_one_pair_each_by_hand():
    """Two by two: the mass on the diagonal of the plan is x, with (2x / (1 - 2x))^2 = gain."""
    teacher, student, eps = np.array([[0.0, 2.0]]), np.array([[0.0, 3.0]]), 1.0
    gain = np.exp((2.0 + 4.5 - 1.0 - 0.0) / eps)
    x = 0.5 * np.sqrt(gain) / (1 + np.sqrt(gain))
    _, plan = reference.entropic_transport(teacher, student, eps)
    np.testing.assert_allclose(plan, [[x, 0.5 - x], [0.5 - x, x]], rtol=1e-8)
    grad_births, grad_deaths = reference.entropic_transport_grad(teacher, student, eps)
    np.testing.assert_allclose(grad_births, [(0.5 - x) * -3.0], rtol=1e-7)
    np.testing.assert_allclose(grad_deaths, [x * 2.0 + (0.5 - x) * 3.0], rtol=1e-7)


def test_tiny_eps_does_not_underflow():
    teacher = np.array([[0.0, 9.0]])
    value, plan = reference.entropic_transport(teacher, teacher, 1e-3)
    assert np.isfinite(value)
    np.testing.assert_allclose(plan, np.eye(2) / 2, atol=1e-12)


def test_the_default_eps_is_a_tenth():
    teacher, student = np.array([[0.0, 1.0]]), np.array([[0.2, 1.0]])
    default = reference.entropic_transport(teacher, student).value
    assert default == reference.entropic_transport(teacher, student, 0.1).value
    assert default != reference.entropic_transport(teacher, student, 0.11).value
    np.testing.assert_array_equal(
        reference.entropic_transport_grad(teacher, student),
        reference.entropic_transport_grad(teacher, student, 0.1),
    )


@pytest.mark.parametrize("name", ["entropic_transport", "entropic_transport_grad"])
def test_too_few_steps_are_an_error_and_not_an_answer(name):
    function = getattr(reference, name)
    teacher, student = np.array([[0.0, 1.0]]), np.array([[0.2, 1.0]])
    with pytest.raises(NotConvergedError) as error:
        function(teacher, student, max_iterations=1)
    assert str(error.value) == (
        f"{name}: column sums are off by 6.0e-02 after 1 steps; "
        "raise eps (now 0.1), tolerance (now 1e-09) or max_iterations"
    )
    function(teacher, student, max_iterations=5, tolerance=0.1)


def test_a_singular_step_is_an_error_of_the_same_kind():
    rng = np.random.default_rng(2)
    scale = 10.0 ** rng.uniform(4, 8)
    births, sizes = rng.random((2, 2, 4)) * scale
    diagrams = [np.column_stack([b, b + size]) for b, size in zip(births, sizes, strict=True)]
    with pytest.raises(NotConvergedError, match="raise eps"):
        reference.entropic_transport(*diagrams, 1e-3, max_iterations=300)


def test_few_pairs_far_apart_converge():
    """Sinkhorn's sweeps would need exp(22) here."""
    teacher, student = np.array([[0.0, 1.0], [0.5, 2.0]]), np.array([[0.0, 1.1], [0.5, 1.8]])
    _, plan = reference.entropic_transport(teacher, student, 0.05, tolerance=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), 0.25, rtol=1e-11)
    _, plan = reference.entropic_transport(10 * teacher, 10 * student, 0.05)
    np.testing.assert_allclose(plan[:2], np.eye(4)[:2] / 4, atol=1e-12)


@pytest.mark.parametrize(
    ("grad_births", "grad_deaths", "entropy"),
    [
        ([0.0, 0.0], [2.0, 0.0], 0.0),
        ([5.0], [1.0], 0.0),
        ([3.0, 0.0, -3.0], [0.0, 3.0, 0.0], 1.0),
        ([3.0, 0.0], [4.0, 5.0], 1.0),
        ([1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], 0.5),
        ([1.0, 0.0, 2.0], [0.0, 1.0, 0.0], 1.5 * np.log(2) / np.log(3)),
    ],
)
def test_entropies_by_hand(grad_births, grad_deaths, entropy):
    got = reference.gradient_entropy(np.array(grad_births), np.array(grad_deaths))
    np.testing.assert_allclose(got, entropy, atol=1e-15)


def test_transport_spreads_its_gradient_wider_than_chamfer():
    """The order of Table 11: a noisy student, near the diagonal; no claim about the numbers."""
    rng = np.random.default_rng(0)
    births = rng.uniform(0.0, 1.0, 40)
    teacher = np.column_stack([births, births + rng.uniform(0.2, 1.0, 40)])
    noise_births = rng.uniform(0.0, 1.0, 80)
    noise = np.column_stack([noise_births, noise_births + rng.exponential(0.02, 80)])
    student = np.vstack([teacher + rng.normal(0.0, 0.03, teacher.shape), noise])
    chamfer = reference.gradient_entropy(
        *reference.persistence_weighted_chamfer_grad(teacher, student)
    )
    for eps in (0.02, 0.05, 0.1, 0.2):
        gradient = reference.entropic_transport_grad(teacher, student, eps, tolerance=1e-6)
        assert chamfer < reference.gradient_entropy(*gradient)
