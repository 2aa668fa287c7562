"""Matching of lengths at the critical edges of two diagrams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree

import reference
from reference.diagram import Diagram
from tests.reference import strategies
from tests.reference.checks import assert_gradient


def rectangle(width: float, height: float) -> np.ndarray:
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])


def measured(cloud: np.ndarray) -> tuple[np.ndarray, list[Diagram]]:
    distances = reference.pairwise_distances(cloud)
    return distances, reference.rips_persistence(distances)


def test_two_rectangles_by_hand():
    """Teacher 3 x 4, student 5 x 12.

    Components: both take the sides 01 and 23 (3 and 5 long) and one of 4 and 12, the teacher 03 as
    the student: 2 * (4 + 4 + 64) / 3. The loop is born at 12 (4 and 12) and dies at the diagonal 02
    (5 and 13): 2 * (64 + 64) / 2.
    """
    (of_teacher, teacher), (of_student, student) = (
        measured(rectangle(*sides)) for sides in ((3, 4), (5, 12))
    )
    both = of_teacher, of_student
    found = [
        reference.critical_edge_matching(*diagrams, *both)
        for diagrams in zip(teacher, student, strict=True)
    ]
    np.testing.assert_allclose(found, [48.0, 128.0])
    gradients = [
        reference.critical_edge_matching_grad(*diagrams, *both)
        for diagrams in zip(teacher, student, strict=True)
    ]
    want = np.zeros((2, 4, 4))
    want[0, 0, 1] = want[0, 2, 3] = 2 * 2 * 2 / 3
    want[0, 0, 3] = 2 * 2 * 8 / 3
    want[1, 1, 2] = want[1, 0, 2] = 2 * 2 * 8 / 2
    np.testing.assert_allclose(gradients, want + want.transpose(0, 2, 1))


def test_each_side_is_a_mean_of_its_own_edges():
    """The teacher's one merge at 01 is 1 long here and 4 there; the student's at 01, 12: 3, 1."""
    teacher = np.array([[0.0, 1.0, 7.0], [1.0, 0.0, 7.0], [7.0, 7.0, 0.0]])
    student = np.array([[0.0, 4.0, 8.0], [4.0, 0.0, 6.0], [8.0, 6.0, 0.0]])
    of_teacher = reference.rips_persistence(teacher, 0, 1.0)[0]  # 2 is never joined
    of_student = reference.rips_persistence(student, 0)[0]
    got = reference.critical_edge_matching(of_teacher, of_student, teacher, student)
    np.testing.assert_allclose(got, 9 / 1 + (9 + 1) / 2)
    swapped = reference.critical_edge_matching(of_student, of_teacher, student, teacher)
    assert got == swapped  # the two directions are alike


def test_an_edge_that_ends_two_loops_counts_twice():
    edges = np.array([[0, 1], [0, 1], [0, 2]])
    loops = Diagram(
        dim=1,
        births=np.ones(3),
        deaths=np.full(3, 2.0),
        birth_edges=np.array([[1, 2], [1, 3], [2, 3]]),
        death_edges=edges,
        death_simplices=np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3]]),
    )
    nothing = reference.rips_persistence(np.zeros((1, 1)))[1]
    teacher = 2.0 * (1 - np.eye(4))
    student = teacher.copy()
    student[0, 1] = student[1, 0] = 5.0
    got = reference.critical_edge_matching(loops, nothing, teacher, student)
    np.testing.assert_allclose(got, 2 * 9 / 6)
    gradient = reference.critical_edge_matching_grad(nothing, loops, teacher, student)
    want = np.zeros((4, 4))
    want[0, 1] = want[1, 0] = 2 * 2 * 3 / 6
    np.testing.assert_allclose(gradient, want)


def test_nothing_to_match_costs_nothing():
    distances, diagrams = measured(np.zeros((3, 2)))
    for each in diagrams:
        assert reference.critical_edge_matching(each, each, distances, distances) == 0.0
        np.testing.assert_array_equal(
            reference.critical_edge_matching_grad(each, each, distances, distances),
            np.zeros((3, 3)),
        )


@pytest.mark.oracle
@given(num_points=st.integers(2, 9), seed=strategies.seeds)
def test_components_are_matched_along_scipys_spanning_trees(num_points, seed):
    rng = np.random.default_rng(seed)
    both = [reference.pairwise_distances(rng.normal(size=(num_points, 3))) for _ in range(2)]
    want = 0.0
    for each in both:
        edges = minimum_spanning_tree(each).nonzero()
        want += np.mean((both[1][edges] - both[0][edges]) ** 2)
    diagrams = [reference.rips_persistence(each, 0)[0] for each in both]
    np.testing.assert_allclose(reference.critical_edge_matching(*diagrams, *both), want)


@given(teacher=strategies.tied_distances(4, 6), data=st.data())
def test_only_critical_edges_have_a_gradient_and_it_is_the_derivative(teacher, data):
    student = data.draw(strategies.symmetric_integers(len(teacher), 0, 5))
    for diagrams in zip(
        reference.rips_persistence(teacher), reference.rips_persistence(student), strict=True
    ):
        gradient = reference.critical_edge_matching_grad(*diagrams, teacher, student)
        np.testing.assert_array_equal(gradient, gradient.T)
        critical = {
            tuple(edge)
            for each in diagrams
            for edge in np.concatenate([each.birth_edges, each.death_edges]).tolist()
        }
        assert {tuple(edge) for edge in np.argwhere(np.triu(gradient)).tolist()} <= critical
        above = np.triu_indices(len(student), k=1)

        def value(lengths, diagrams=diagrams, above=above):
            moved = np.zeros_like(student)
            moved[above] = lengths
            return reference.critical_edge_matching(*diagrams, teacher, moved + moved.T)

        assert_gradient(
            value, student[above] + 1, gradient_at(diagrams, teacher, student + 1)[above]
        )


def gradient_at(diagrams, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    return reference.critical_edge_matching_grad(
        *diagrams, teacher, student * (1 - np.eye(len(student)))
    )


@given(cloud=strategies.clouds(), power=st.integers(-3, 3))
def test_it_is_in_squared_units(cloud, power):
    distances, diagrams = measured(cloud)
    other = reference.pairwise_distances(cloud[::-1] ** 2)
    for each in diagrams:
        once = reference.critical_edge_matching(each, each, distances, other)
        scale = 2.0**power
        scaled = reference.critical_edge_matching(each, each, scale * distances, scale * other)
        np.testing.assert_allclose(scaled, scale**2 * once)


@given(seed=strategies.seeds, num_points=st.integers(3, 7), loss=st.sampled_from(["edges", "pwcd"]))
def test_the_loss_of_algorithm_1_compares_the_samples_diagrams(seed, num_points, loss):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(num_points, 2)), rng.normal(size=(num_points, 3))
    indices = rng.permutation(num_points)[: max(2, num_points - 1)]
    got, gradient = reference.topological_loss(
        teacher,
        student,
        normalisation="none",
        loss=loss,
        indices=indices,
        dim_weights=(0.5, 2.0),
    )
    (of_teacher, diagrams), (of_student, others) = (
        measured(cloud[indices]) for cloud in (teacher, student)
    )
    want = 0.0
    for weight, *each in zip((0.5, 2.0), diagrams, others, strict=True):
        if loss == "edges":
            want += weight * reference.critical_edge_matching(*each, of_teacher, of_student)
        else:
            pairs = (diagram.pairs for diagram in each)
            want += weight * reference.persistence_weighted_chamfer(*pairs)
    np.testing.assert_allclose(got, want)
    left_out = np.delete(gradient, indices, axis=0)
    np.testing.assert_array_equal(left_out, np.zeros_like(left_out))
