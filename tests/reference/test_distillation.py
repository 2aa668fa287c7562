"""The topological loss of Algorithm 1, softened logits and the total of Eq. 8."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax

import reference
from tests.reference import strategies
from tests.reference.checks import STEP, assert_gradient, partner_margin, smallest_gap

NORMALISATIONS = ["l2", "none", "center_maxnorm", "diameter", "rms"]


def rectangle(width: float, height: float) -> np.ndarray:
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])


def test_two_rectangles_by_hand():
    """Teacher 3 x 4: deaths 3, 3, 4 and the loop (4, 5). Student 5 x 12: 5, 5, 12, loop (12, 13).

    Components: the teacher's 3 goes to the student's 5 at cost 4, under the diagonal's 4.5, and
    its 4 to the same at cost 1; a 5 of the student goes to 4 at cost 1, the 12 at cost 64, under
    the diagonal's 72. Loops: both are nearest to the diagonal, at cost 1/2.
    """
    loss, gradient = reference.topological_loss(
        rectangle(3, 4), rectangle(5, 12), normalisation="none", eps=1e-300
    )
    share_3, share_4 = np.log(4) / np.log(4 * 4 * 5), np.log(5) / np.log(4 * 4 * 5)
    components = 2 * share_3 * 4 + share_4 * 1 + (1 + 1 + 64) / 3
    np.testing.assert_allclose(loss, components + 0.5 + 0.5, rtol=1e-12)

    # The student's edges: (0, 1) kills the first component, (2, 3) the second, (0, 3) the third;
    # the loop is born at (1, 2) and dies at (0, 2).
    short = 2 / 3 * 1  # precision of either 5
    first = short + 2 * (2 * share_3 * 2 + share_4 * 1)  # and all of the recall
    tall = 2 / 3 * 8
    grad_distances = np.zeros((4, 4))
    for (i, j), slope in {
        (0, 1): first,
        (2, 3): short,
        (0, 3): tall,
        (1, 2): -1.0,
        (0, 2): 1.0,
    }.items():
        grad_distances[i, j] = grad_distances[j, i] = slope
    expected = reference.route_to_points(rectangle(5, 12), grad_distances)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_the_weights_of_dimensions_multiply_value_and_gradient():
    clouds = rectangle(3, 4), rectangle(5, 12)

    def loss(*weights):
        return reference.topological_loss(*clouds, normalisation="none", dim_weights=weights)

    components, loops, both = loss(1.0, 0.0), loss(0.0, 1.0), loss(2.0, 3.0)
    np.testing.assert_allclose(loops[0], 1.0)
    np.testing.assert_allclose(both[0], 2 * components[0] + 3 * loops[0])
    np.testing.assert_allclose(both[1], 2 * components[1] + 3 * loops[1])
    only_components = reference.topological_loss(
        *clouds, normalisation="none", max_dim=0, dim_weights=(1.0,)
    )
    assert only_components[0] == components[0]
    with_voids = reference.topological_loss(
        *clouds, normalisation="none", max_dim=2, dim_weights=(0.0, 1.0, 5.0)
    )
    assert with_voids[0] == loops[0]


def test_options_reach_the_parts_they_belong_to():
    teacher, student = rectangle(3, 4), rectangle(5, 12)

    def gradient(**options):
        return reference.topological_loss(teacher, student, normalisation="none", **options)

    value, exact = gradient()
    half, _ = gradient(cost_scale=0.5)
    pairs = [
        [each.pairs for each in reference.rips_persistence(reference.pairwise_distances(cloud))]
        for cloud in (teacher, student)
    ]
    np.testing.assert_allclose(
        half,
        sum(
            reference.persistence_weighted_chamfer(t, s, cost_scale=0.5)
            for t, s in zip(*pairs, strict=True)
        ),
    )
    weighty = sum(
        reference.persistence_weighted_chamfer(t, s, 3.0) for t, s in zip(*pairs, strict=True)
    )
    np.testing.assert_allclose(gradient(eps=3.0)[0], weighty)
    assert weighty < value
    assert not np.allclose(gradient(eps=3.0)[1], exact)
    assert not np.allclose(gradient(cost_scale=0.5)[1], exact)
    for options in ({"precision_weight": "persistence"}, {"min_persistence": 3.5}):
        chosen, _ = gradient(**options)
        want = sum(
            reference.persistence_weighted_chamfer(t, s, **options)
            for t, s in zip(*pairs, strict=True)
        )
        np.testing.assert_allclose(chosen, want)
        assert chosen != value
        assert not np.allclose(gradient(**options)[1], exact)
    # A tolerance above all differences shares the loop's death among its triangle's edges.
    assert not np.allclose(gradient(tie_tolerance=20.0)[1], exact)
    # One edge only: the stabilizer scales its gradient by D / (D + eps).
    two = np.array([[0.0], [4.0]])
    _, plain = reference.topological_loss(0.5 * two, 0.75 * two, normalisation="none")
    _, damped = reference.topological_loss(
        0.5 * two, 0.75 * two, normalisation="none", distance_eps=1.0
    )
    np.testing.assert_allclose(damped, 0.75 * plain)


def test_the_gradient_is_routed_through_the_normalization():
    teacher, student = rectangle(3, 4) + 1, rectangle(5, 12) + 2
    for normalisation in NORMALISATIONS:
        loss, gradient = reference.topological_loss(teacher, student, normalisation=normalisation)
        normalised = reference.normalise(student, normalisation)
        inner_loss, inner = reference.topological_loss(
            reference.normalise(teacher, normalisation), normalised, normalisation="none"
        )
        assert loss == inner_loss
        np.testing.assert_array_equal(
            gradient, reference.normalise_grad(student, inner, normalisation)
        )


def test_rows_of_length_1_and_two_dimensions_are_the_default():
    teacher, student = rectangle(3, 4) + 1, rectangle(5, 12) + 2
    assert (
        reference.topological_loss(teacher, student)[0]
        == reference.topological_loss(
            teacher, student, 1024, normalisation="l2", max_dim=1, dim_weights=(1.0, 1.0)
        )[0]
        > 0
    )


def test_sampling_keeps_the_samples_of_the_teacher_and_moves_only_them():
    rng = np.random.default_rng(2)
    teacher, student = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    for sample_on, cloud in (
        ("teacher", teacher),
        ("student", student),
        ("concat", np.hstack([teacher, student])),
    ):
        indices, _ = reference.topology_preserving_sampling(cloud, 4, start=5)
        loss, gradient = reference.topological_loss(
            teacher, student, 4, normalisation="none", sample_on=sample_on, start=5
        )
        expected_loss, expected = reference.topological_loss(
            teacher[indices], student[indices], normalisation="none"
        )
        np.testing.assert_allclose(loss, expected_loss)
        np.testing.assert_allclose(gradient[indices], expected)
        np.testing.assert_array_equal(np.delete(gradient, indices, axis=0), 0.0)
    default, _ = reference.topological_loss(teacher, student, 4, normalisation="none")
    on_teacher, _ = reference.topological_loss(
        teacher, student, 4, normalisation="none", sample_on="teacher", start=0
    )
    assert default == on_teacher


@pytest.mark.parametrize("sampling", ["farthest", "random", "mixed"])
def test_drawn_samples_are_those_of_the_generator(sampling):
    rng = np.random.default_rng(3)
    teacher, student = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    options = {"normalisation": "rms", "start": 2}
    got = reference.topological_loss(
        teacher, student, 6, sampling=sampling, generator=np.random.default_rng(7), **options
    )
    indices = reference.sample_points(
        reference.normalise(teacher, "rms"),
        6,
        2,
        sampling=sampling,
        generator=np.random.default_rng(7),
    )
    want = reference.topological_loss(teacher, student, indices=indices, **options)
    assert got[0] == want[0] > 0
    np.testing.assert_array_equal(got[1], want[1])


def test_transport_may_take_the_place_of_the_chamfer_distance():
    rng = np.random.default_rng(4)
    teacher, student = rng.normal(size=(7, 2)), rng.normal(size=(7, 3))
    options = {"normalisation": "none", "loss": "sinkhorn", "sinkhorn_eps": 0.3}
    value, gradient = reference.topological_loss(teacher, student, **options)
    diagrams = [
        reference.rips_persistence(reference.pairwise_distances(cloud))
        for cloud in (teacher, student)
    ]
    want = sum(
        reference.entropic_transport(t.pairs, s.pairs, 0.3).value
        for t, s in zip(*diagrams, strict=True)
    )
    np.testing.assert_allclose(value, want)
    assert_gradient(
        lambda moved: reference.topological_loss(teacher, moved, **options)[0], student, gradient
    )


def test_the_entropy_of_the_transport_may_be_relative():
    rng = np.random.default_rng(4)
    teacher, student = rng.normal(size=(2, 7, 2))
    options = {"normalisation": "none", "loss": "sinkhorn"}
    value, gradient = reference.topological_loss(
        teacher, student, **options, sinkhorn_eps=0.3, sinkhorn_relative=True
    )
    diagrams = [
        reference.rips_persistence(reference.pairwise_distances(cloud))
        for cloud in (teacher, student)
    ]
    want = sum(
        reference.entropic_transport(t.pairs, s.pairs, 0.3, relative=True).value
        for t, s in zip(*diagrams, strict=True)
    )
    np.testing.assert_allclose(value, want)
    absolute = reference.topological_loss(teacher, student, **options, sinkhorn_eps=0.3)
    assert value != pytest.approx(absolute[0])
    # The features of an s times larger cloud have an s times larger gradient.
    scaled = reference.topological_loss(
        3 * teacher, 3 * student, **options, sinkhorn_eps=0.3, sinkhorn_relative=True
    )
    np.testing.assert_allclose(scaled[0], 9 * value, rtol=1e-7)
    np.testing.assert_allclose(scaled[1], 3 * gradient, rtol=1e-6, atol=1e-9)


def test_at_most_1024_points_are_sampled_by_default(monkeypatch):
    asked = []

    def spy(points, num_samples, start):
        asked.append(num_samples)
        return np.array([0]), np.array([1.0])

    monkeypatch.setattr(reference.sampling, "topology_preserving_sampling", spy)
    for num_points in (1023, 1024, 1025):
        cloud = np.ones((num_points, 1))
        reference.topological_loss(cloud, cloud)
    assert asked == [1023, 1024, 1024]


def test_the_default_limit_allows_181_samples():
    cloud = np.arange(182.0)[:, None]
    with pytest.raises(ValueError, match="182 points make more than 1000000 simplices"):
        reference.topological_loss(cloud, cloud, normalisation="none")


def test_one_point_has_no_topology():
    loss, gradient = reference.topological_loss(np.ones((1, 3)), np.ones((1, 2)))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, np.zeros((1, 2)))


@given(features=strategies.clouds())
def test_a_student_like_its_teacher_has_no_loss_and_no_gradient(features):
    loss, gradient = reference.topological_loss(features, features)
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, np.zeros_like(features))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(
    num_points=st.integers(2, 6),
    sample_on=st.sampled_from(["teacher", "student", "concat"]),
    seed=strategies.seeds,
)
def test_the_gradient_is_the_derivative_of_the_whole_chain(
    normalisation, num_points, sample_on, seed
):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(num_points, 3)), rng.normal(size=(num_points, 4))
    num_samples = int(rng.integers(2, num_points + 1))
    options = {"num_samples": num_samples, "normalisation": normalisation, "sample_on": sample_on}
    assume(margin_to_a_kink(teacher, student, options) > 50 * STEP)
    _, gradient = reference.topological_loss(teacher, student, **options)
    assert_gradient(
        lambda moved: reference.topological_loss(teacher, moved, **options)[0], student, gradient
    )


@pytest.mark.parametrize(
    "options",
    [
        {"precision_weight": "persistence"},
        {"min_persistence": 0.8},
        {"cost_scale": 0.5},
        {"loss": "edges", "dim_weights": (0.5, 2.0)},
        {"eps": 0.3, "precision_weight": "persistence", "min_persistence": 0.8, "cost_scale": 2.0},
    ],
    ids=str,
)
@given(num_points=st.integers(3, 6), seed=strategies.seeds)
def test_the_gradient_is_the_derivative_with_the_options_of_the_distance(options, num_points, seed):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(num_points, 3)), rng.normal(size=(num_points, 4))
    where = {"num_samples": num_points, "normalisation": "l2", "sample_on": "teacher"}
    cost_scale = options.get("cost_scale", 1.0)
    assume(margin_to_a_kink(teacher, student, where, cost_scale) > 50 * STEP)
    _, gradient = reference.topological_loss(teacher, student, **options)
    assert_gradient(
        lambda moved: reference.topological_loss(teacher, moved, **options)[0], student, gradient
    )


def margin_to_a_kink(
    teacher: np.ndarray, student: np.ndarray, options: dict, cost_scale: float = 1.0
) -> float:
    """Return how near two lengths or two costs are between which the loss has to choose."""
    rows = np.linalg.norm(student, axis=1)
    centered = np.linalg.norm(student - student.mean(axis=0), axis=1)
    clouds = [reference.normalise(cloud, options["normalisation"]) for cloud in (teacher, student)]
    distances = [reference.pairwise_distances(cloud) for cloud in (*clouds, np.hstack(clouds))]
    above = np.triu_indices(len(student), k=1)
    gaps = [rows.min() - 0.1, smallest_gap(centered)]
    gaps += [smallest_gap(each[above]) for each in distances]

    sampled = {"teacher": clouds[0], "student": clouds[1], "concat": np.hstack(clouds)}
    indices, _ = reference.topology_preserving_sampling(
        sampled[options["sample_on"]], options["num_samples"]
    )
    diagrams = [
        reference.rips_persistence(each[np.ix_(indices, indices)]) for each in distances[:2]
    ]
    for of_teacher, of_student in zip(*diagrams, strict=True):
        gaps.append(partner_margin(of_teacher.pairs, of_student.pairs, cost_scale))
    return min(gaps)


@given(seed=strategies.seeds, num_points=st.integers(2, 8))
def test_the_default_gradient_is_orthogonal_to_every_feature_row(seed, num_points):
    """Rows are normalized, so stretching one of them changes nothing."""
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(num_points, 3)), rng.normal(size=(num_points, 4))
    _, gradient = reference.topological_loss(teacher, student)
    np.testing.assert_allclose(np.sum(student * gradient, axis=1), 0.0, atol=1e-10)


@pytest.mark.oracle
@given(seed=strategies.seeds, temperature=st.sampled_from([0.5, 1.0, 4.0]))
def test_the_divergence_equals_scipy(seed, temperature):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(scale=3.0, size=(2, 5, 4))
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    expected = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
    got = reference.kl_distillation(teacher, student, temperature)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_divergence_by_hand():
    teacher, student = np.log([[1.0, 3.0], [1.0, 1.0]]), np.log([[1.0, 1.0], [1.0, 3.0]])
    expected = (0.25 * np.log(0.5) + 0.75 * np.log(1.5) + 0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2
    np.testing.assert_allclose(reference.kl_distillation(teacher, student), expected)
    np.testing.assert_allclose(
        reference.kl_distillation(7 * teacher, 7 * student, 7.0), 49 * expected
    )


def test_huge_logits_do_not_overflow():
    teacher, student = np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]])
    assert reference.kl_distillation(teacher, student) == 1e4
    rows = np.array([[1e4, 1e4], [0.0, 0.0]])  # no row may underflow beside another
    np.testing.assert_allclose(
        reference.kl_distillation(rows, rows + np.array([[0.0], [1.0]])), 0.0
    )
    assert log_softmax([0.0, 1e4])[0] == -1e4


@given(logits=strategies.clouds(), seed=strategies.seeds)
def test_the_divergence_is_not_negative_and_ignores_a_constant(logits, seed):
    rng = np.random.default_rng(seed)
    shifted = logits + rng.normal(size=(len(logits), 1))
    np.testing.assert_allclose(reference.kl_distillation(logits, shifted), 0.0, atol=1e-14)
    other = rng.normal(size=logits.shape)
    assert reference.kl_distillation(logits, other) >= -1e-15


def test_the_total_is_equation_8():
    assert reference.total_loss(1.0, 10.0, 100.0, 1000.0) == 1 + 80 + 100 + 1000
    assert (
        reference.total_loss(
            1.0,
            10.0,
            100.0,
            1000.0,
            topology_weight=0.5,
            saliency_weight=2.0,
            distillation_weight=0.25,
        )
        == 1 + 5 + 200 + 250
    )
    weights = {"topology_weight": 0.0, "saliency_weight": 0.0, "distillation_weight": 0.0}
    assert reference.total_loss(2.0, 10.0, 100.0, 1000.0, **weights) == 2.0
