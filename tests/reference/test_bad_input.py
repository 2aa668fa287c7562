"""Bad input is refused with function, argument, value and remedy; odd input is read.

Not run under shape checks (`tox -e shapes`), which refuse the same input sooner.
"""

import numpy as np
import pytest

import reference
from reference.diagram import Diagram
from tests.reference.checks import assert_same_diagram

CLOUD = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]])
DISTANCES = reference.pairwise_distances(CLOUD)
PAIRS = np.array([[0.0, 1.0], [0.5, 2.0]])
COMPONENTS = reference.rips_persistence(DISTANCES)[0]
LOOP = Diagram(
    dim=1,
    births=np.array([1.0]),
    deaths=np.array([2.0]),
    birth_edges=np.array([[0, 1]]),
    death_edges=np.array([[0, 2]]),
    death_simplices=np.array([[0, 1, 2]]),
)

EDGE_LENGTHS = {
    function: lambda *arguments, function=function: getattr(reference, function)(*arguments)
    for function in ("critical_edge_matching", "critical_edge_matching_grad")
}
DEATHS = np.array([1.0, 2.0])

DISTANCE_MATRIX_CONSUMERS = {
    "enclosing_radius": reference.enclosing_radius,
    "rips_persistence": reference.rips_persistence,
    "route_to_distances": lambda distances: reference.route_to_distances(
        COMPONENTS, np.zeros(2), np.zeros(2), distances
    ),
}

BAD_DISTANCES = [
    pytest.param(
        np.zeros(3), "has shape (3,); pass a square matrix, (N, N)", id="a vector"
    ),
    pytest.param(
        np.zeros((2, 3)), "has shape (2, 3); pass a square matrix, (N, N)", id="not square"
    ),
    pytest.param(
        [[0.0, np.nan], [np.nan, 0.0]],
        "has the entry nan; distances are at least 0 (inf for two points that are never joined)",
        id="NaN",
    ),
    pytest.param(
        [[0.0, -2.0], [-3.0, 0.0]],
        "has the entry -2.0; distances are at least 0 (inf for two points that are never joined)",
        id="negative",
    ),
    pytest.param(
        [[0.0, 1.0], [1.0, 0.5]],
        "has 0.5 on its diagonal; a point is at distance 0 from itself; compute distances with "
        "pairwise_distances",
        id="diagonal",
    ),
    pytest.param(
        [[0.0, 1.0], [2.0, 0.0]],
        "is not symmetric: 1.0 at (0, 1), 2.0 at (1, 0); pass the same distance both ways",
        id="asymmetric",
    ),
]  # fmt: skip


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call(*arguments, **options)
    return str(error.value)


@pytest.mark.parametrize("function", DISTANCE_MATRIX_CONSUMERS)
@pytest.mark.parametrize(("distances", "message"), BAD_DISTANCES)
def test_what_is_no_distance_matrix_is_refused(function, distances, message):
    call = DISTANCE_MATRIX_CONSUMERS[function]
    assert refusal(call, np.array(distances)) == f"{function}: distances {message}"


@pytest.mark.parametrize("function", EDGE_LENGTHS)
@pytest.mark.parametrize(("distances", "message"), BAD_DISTANCES)
def test_what_is_no_distance_matrix_is_refused_on_either_side(function, distances, message):
    call = EDGE_LENGTHS[function]
    distances = np.array(distances)
    for argument, both in (
        ("teacher_distances", (distances, DISTANCES)),
        ("student_distances", (DISTANCES, distances)),
    ):
        assert refusal(call, COMPONENTS, COMPONENTS, *both) == f"{function}: {argument} {message}"


@pytest.mark.parametrize("function", EDGE_LENGTHS)
def test_diagrams_and_distances_that_do_not_fit_are_refused(function):
    call = EDGE_LENGTHS[function]
    apart = DISTANCES + np.where(np.eye(3), 0.0, np.inf)
    beyond = Diagram(**(vars(LOOP) | {"birth_edges": np.array([[0, 3]])}))
    for arguments, message in (
        (
            (COMPONENTS, LOOP, DISTANCES, DISTANCES),
            "student is a diagram of dimension 1; teacher is one of dimension 0, pass the same",
        ),
        (
            (COMPONENTS, COMPONENTS, apart, DISTANCES),
            "teacher_distances has the entry inf; pass finite distances",
        ),
        (
            (COMPONENTS, COMPONENTS, DISTANCES, apart),
            "student_distances has the entry inf; pass finite distances",
        ),
        (
            (COMPONENTS, COMPONENTS, DISTANCES, np.zeros((2, 2))),
            "student_distances is of 2 points; teacher_distances of 3, pass the same points",
        ),
        (
            (LOOP, beyond, DISTANCES, DISTANCES),
            "student.birth_edges has the index 3; the cloud has 3 points, "
            "so pass indices from 0 to 2",
        ),
        (
            (COMPONENTS, COMPONENTS, DISTANCES[:2, :2], DISTANCES[:2, :2]),
            "teacher.death_edges has the index 2; the cloud has 2 points, "
            "so pass indices from 0 to 1",
        ),
    ):
        assert refusal(call, *arguments) == f"{function}: {message}"


@pytest.mark.parametrize("function", ["sorted_wasserstein", "sorted_wasserstein_grad"])
def test_what_is_no_list_of_deaths_is_refused(function):
    call = getattr(reference, function)
    for value, message in (
        (np.zeros((2, 1)), "has shape (2, 1); pass 2 numbers, (2,)"),
        (np.array([1.0, np.nan]), "has the entry nan; pass finite numbers"),
        (np.array([np.inf, 1.0]), "has the entry inf; pass finite numbers"),
        (np.array([1.0, -0.5]), "has the entry -0.5; classes born at 0 die at 0 or later"),
    ):
        for argument, both in (("teacher", (value, DEATHS)), ("student", (DEATHS, value))):
            assert refusal(call, *both) == f"{function}: {argument} {message}"


# Each takes rows of numbers: what is called, the argument's name, the least number of rows.
ROW_CONSUMERS = [
    ("pairwise_distances", "points", 0, reference.pairwise_distances),
    ("route_to_points", "points", 0, lambda x: reference.route_to_points(x, np.zeros((3, 3)))),
    ("route_to_points", "grad_distances", 0, lambda x: reference.route_to_points(CLOUD, x)),
    (
        "topology_preserving_sampling",
        "points",
        0,
        lambda x: reference.topology_preserving_sampling(x, 1),
    ),
    ("covering_radius", "points", 0, lambda x: reference.covering_radius(x, np.array([0]))),
    ("sample_points", "points", 1, lambda x: choose(1, points=x, sampling="mixed")),
    ("channel_weights", "feature_gradients", 1, reference.channel_weights),
    ("saliency_map", "features", 1, lambda x: reference.saliency_map(x, CLOUD)),
    ("saliency_map", "feature_gradients", 0, lambda x: reference.saliency_map(CLOUD, x)),
    ("normalise", "features", 1, reference.normalise),
    ("normalise_grad", "features", 1, lambda x: reference.normalise_grad(x, CLOUD)),
    ("normalise_grad", "grad_normalised", 0, lambda x: reference.normalise_grad(CLOUD, x)),
    ("kl_distillation", "teacher_logits", 1, lambda x: reference.kl_distillation(x, CLOUD)),
    ("kl_distillation", "student_logits", 1, lambda x: reference.kl_distillation(CLOUD, x)),
    ("topological_loss", "teacher_features", 1, lambda x: reference.topological_loss(x, CLOUD)),
    ("topological_loss", "student_features", 1, lambda x: reference.topological_loss(CLOUD, x)),
]
PAIR_CONSUMERS = [
    (function.__name__, argument, 0, call)
    for function in (
        reference.persistence_weighted_chamfer,
        reference.persistence_weighted_chamfer_grad,
        reference.entropic_transport,
        reference.entropic_transport_grad,
    )
    for argument, call in (
        ("teacher", lambda x, function=function: function(x, PAIRS)),
        ("student", lambda x, function=function: function(PAIRS, x)),
    )
]


def named(cases):
    return [pytest.param(*case, id=f"{case[0]}: {case[1]}") for case in cases]


@pytest.mark.parametrize(
    ("function", "argument", "least", "call"), named(ROW_CONSUMERS + PAIR_CONSUMERS)
)
def test_what_is_no_array_of_finite_rows_is_refused(function, argument, least, call):
    bad = [
        (np.zeros(3), "has shape (3,); pass one row per point, (N, C)"),
        (np.zeros((2, 2, 2)), "has shape (2, 2, 2); pass one row per point, (N, C)"),
    ]
    bad += [
        (
            np.array([[0.0, entry], [0.0, 1.0], [2.0, 3.0]]),
            f"has the entry {entry}; pass finite values of at most 1e+150 in size",
        )
        for entry in (np.nan, np.inf, -np.inf, 1.1e150)
    ]
    if least:
        bad.append((np.zeros((0, 2)), "has shape (0, 2); pass at least 1 points"))
    for value, message in bad:
        assert refusal(call, value) == f"{function}: {argument} {message}"


@pytest.mark.parametrize(("function", "argument", "least", "call"), named(PAIR_CONSUMERS))
def test_what_is_no_array_of_pairs_is_refused(function, argument, least, call):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call(np.zeros((4, 3)))
    message = "has shape (4, 3); pass (birth, death) rows, (K, 2)"
    assert str(error.value) == f"{function}: {argument} {message}"


def test_the_largest_coordinate_is_allowed():
    assert reference.pairwise_distances(np.array([[1e150], [-1e150]]))[0, 1] == 2e150


def route(**changes):
    arguments = {
        "diagram": COMPONENTS,
        "grad_births": np.zeros(2),
        "grad_deaths": np.zeros(2),
        "distances": DISTANCES,
    }
    return reference.route_to_distances(**(arguments | changes))


def chamfer(**options):
    return reference.persistence_weighted_chamfer(PAIRS, PAIRS, **options)


def chamfer_grad(**options):
    return reference.persistence_weighted_chamfer_grad(PAIRS, PAIRS, **options)


def transport(**options):
    return reference.entropic_transport(PAIRS, PAIRS, **options)


def transport_grad(**options):
    return reference.entropic_transport_grad(PAIRS, PAIRS, **options)


def sample(num_samples=1, **options):
    return reference.topology_preserving_sampling(CLOUD, num_samples, **options)


def choose(num_samples=1, points=CLOUD, sampling="random", **options):
    options = {"generator": np.random.default_rng(0)} | options
    return reference.sample_points(points, num_samples, sampling=sampling, **options)


def topology(teacher=CLOUD, student=CLOUD, **options):
    return reference.topological_loss(teacher, student, **options)


def rips(**options):
    return reference.rips_persistence(DISTANCES, **options)


def loop_with(**changes):
    return Diagram(**(vars(LOOP) | changes))


def route_loop(**changes):
    return route(diagram=loop_with(**changes), grad_births=np.zeros(1), grad_deaths=np.zeros(1))


def total(**weights):
    return reference.total_loss(1.0, 1.0, 1.0, 1.0, **weights)


ABOVE_0 = "pass a finite number above 0"
AT_LEAST_0 = "pass a finite number of at least 0"
PRECISION = "pass one of 'uniform', 'persistence'"
METHODS = "pass one of 'l2', 'none', 'center_maxnorm', 'diameter', 'rms'"

# By the function that refuses, and what calls it: an option, what is said of it, bad values.
OUT_OF_RANGE = {
    ("rips_persistence", rips): [
        ("max_dim", "pass at least 0", -1),
        ("max_dim", "pass an integer", 1.5),
        ("max_simplices", "pass at least 1", 0),
        ("threshold", "pass a length of at least 0", -0.5, np.nan),
    ],
    ("route_to_distances", route): [
        ("tie_tolerance", AT_LEAST_0, -1.0, np.inf),
    ],
    ("persistence_weighted_chamfer", chamfer): [
        ("eps", ABOVE_0, 0.0, np.nan, np.inf),
        ("cost_scale", ABOVE_0, -0.5),
        ("precision_weight", PRECISION, "half"),
        ("min_persistence", AT_LEAST_0, -1.0),
    ],
    ("persistence_weighted_chamfer_grad", chamfer_grad): [
        ("eps", ABOVE_0, -1.0),
        ("cost_scale", ABOVE_0, 0.0),
        ("precision_weight", PRECISION, "half"),
        ("min_persistence", AT_LEAST_0, np.nan),
        ("ties", "pass one of 'lowest', 'average'", "highest"),
    ],
    ("entropic_transport", transport): [
        ("eps", ABOVE_0, 0.0),
        ("tolerance", ABOVE_0, 0.0),
        ("max_iterations", "pass at least 1", 0),
    ],
    ("entropic_transport_grad", transport_grad): [
        ("eps", ABOVE_0, 0.0),
        ("tolerance", ABOVE_0, -1.0),
        ("max_iterations", "pass an integer", 2.0),
    ],
    ("topology_preserving_sampling", sample): [
        ("num_samples", "pass at least 1", 0),
        ("num_samples", "the cloud has only 3 points", 4),
        ("num_samples", "pass an integer", "two"),
        ("start", "pass at least 0", -1),
    ],
    ("normalise", topology): [
        ("normalisation", METHODS, "l1"),
    ],
    ("topological_loss", topology): [
        ("num_samples", "pass at least 1", 0),
        ("max_dim", "pass at least 0", -1),
        ("distance_eps", AT_LEAST_0, -1.0),
        ("sample_on", "pass one of 'teacher', 'student', 'concat'", "both"),
        ("loss", "pass one of 'pwcd', 'sinkhorn', 'edges', 'wasserstein'", "l2"),
        ("sinkhorn_eps", ABOVE_0, 0.0),
    ],
    ("sample_points", choose): [
        ("generator", "sampling 'random' draws points, pass numpy.random.default_rng(seed)", None),
        ("sampling", "pass one of 'farthest', 'random', 'mixed'", "uniform"),
        ("num_samples", "pass at least 1", 0),
        ("num_samples", "the cloud has only 3 points", 4),
    ],
    ("total_loss", total): [
        ("topology_weight", AT_LEAST_0, -8.0),
        ("saliency_weight", AT_LEAST_0, np.nan),
        ("distillation_weight", AT_LEAST_0, np.inf),
    ],
}

# Other input, by the function that refuses it: the call, and what is said after its name.
REFUSED = {
    "enclosing_radius": [
        (
            lambda: reference.enclosing_radius(np.zeros((0, 0))),
            "distances has shape (0, 0); pass at least one point",
        ),
    ],
    "rips_persistence": [
        (
            lambda: rips(max_simplices=6),
            "distances of 3 points make more than 6 simplices of up to 3 vertices; "
            "lower threshold or max_dim, take fewer points, or raise max_simplices",
        ),
        (
            lambda: topology(max_simplices=6),
            "distances of 3 points make more than 6 simplices of up to 3 vertices; "
            "lower threshold or max_dim, take fewer points, or raise max_simplices",
        ),
    ],
    "route_to_distances": [
        (
            lambda: route(grad_births=np.zeros(3)),
            "grad_births has shape (3,); pass 2 numbers, (2,)",
        ),
        (
            lambda: route(grad_deaths=np.zeros((2, 1))),
            "grad_deaths has shape (2, 1); pass 2 numbers, (2,)",
        ),
        (
            lambda: route(grad_births=np.array([0.0, np.nan])),
            "grad_births has the entry nan; pass finite numbers",
        ),
        (
            lambda: route(grad_deaths=np.array([-np.inf, 0.0])),
            "grad_deaths has the entry -inf; pass finite numbers",
        ),
        (
            lambda: route(distances=DISTANCES[:2, :2]),
            "diagram.death_simplices has the index 2; the cloud has 2 points, so pass "
            "indices from 0 to 1",
        ),
        (
            lambda: route_loop(birth_edges=np.array([[-1, 1]])),
            "diagram.birth_edges has the index -1; the cloud has 3 points, so pass "
            "indices from 0 to 2",
        ),
        (
            lambda: route_loop(death_simplices=np.array([[0.0, 1.0, 2.0]])),
            "diagram.death_simplices has dtype float64; pass integers",
        ),
    ],
    "route_to_points": [
        (
            lambda: reference.route_to_points(CLOUD, np.zeros((2, 3))),
            "grad_distances has shape (2, 3); 3 points need (3, 3)",
        ),
        (
            lambda: reference.route_to_points(CLOUD[:2], np.array([[0.0, 1.0], [2.0, 0.0]])),
            "grad_distances is not symmetric: 1.0 at (0, 1), 2.0 at (1, 0); pass G + "
            "G.T of an upper triangle",
        ),
        (
            lambda: reference.route_to_points(CLOUD, np.zeros((3, 3)), -1e-09),
            "eps is -1e-09; pass a finite number of at least 0",
        ),
    ],
    "gradient_entropy": [
        (
            lambda: reference.gradient_entropy(np.zeros((2, 1)), np.zeros(2)),
            "grad_births has shape (2, 1); pass 2 numbers, (2,)",
        ),
        (
            lambda: reference.gradient_entropy(np.ones(2), np.ones(3)),
            "grad_deaths has shape (3,); pass 2 numbers, (2,)",
        ),
        (
            lambda: reference.gradient_entropy(np.zeros(2), np.zeros(2)),
            "the gradient of 2 pairs is zero; it has no spread",
        ),
        (
            lambda: reference.gradient_entropy(np.zeros(0), np.zeros(0)),
            "the gradient of 0 pairs is zero; it has no spread",
        ),
    ],
    "topology_preserving_sampling": [
        (
            lambda: reference.topology_preserving_sampling(np.zeros((0, 2)), 1),
            "num_samples is 1; the cloud has only 0 points",
        ),
        (
            lambda: sample(start=3),
            "start has the index 3; the cloud has 3 points, so pass indices from 0 to 2",
        ),
    ],
    "covering_radius": [
        (
            lambda: reference.covering_radius(CLOUD, np.array([0, 3])),
            "indices has the index 3; the cloud has 3 points, so pass indices from 0 to 2",
        ),
        (
            lambda: reference.covering_radius(CLOUD, np.array([])),
            "indices is empty; pass at least one",
        ),
    ],
    "saliency_map": [
        (
            lambda: reference.saliency_map(CLOUD, CLOUD[:, :1]),
            "feature_gradients has shape (3, 1); features has (3, 2), pass the same",
        ),
        (
            lambda: reference.saliency_map(CLOUD, CLOUD, eps=-1.0),
            "eps is -1.0; pass a finite number of at least 0",
        ),
    ],
    "saliency_loss": [
        (
            lambda: reference.saliency_loss([np.ones(2)], [np.ones(2), np.ones(2)]),
            "student_maps has 2 layers; teacher_maps has 1, pass as many",
        ),
        (
            lambda: reference.saliency_loss([np.ones(2), np.ones(2)], [np.ones(2), np.ones(3)]),
            "student_maps[1] has shape (3,); pass 2 numbers, (2,)",
        ),
        (
            lambda: reference.saliency_loss([np.ones((2, 2))], [np.ones(2)]),
            "teacher_maps[0] has shape (2, 2); pass 2 numbers, (2,)",
        ),
        (
            lambda: reference.saliency_loss([np.ones(0)], [np.ones(0)]),
            "teacher_maps[0] is empty; pass a point or more",
        ),
        (
            lambda: reference.saliency_loss([], [], layers="max"),
            "layers is 'max'; pass one of 'sum', 'mean', 'none'",
        ),
    ],
    "normalise": [
        (
            lambda: reference.normalise(CLOUD, "L2"),
            "normalisation is 'L2'; pass one of 'l2', 'none', 'center_maxnorm', 'diameter', 'rms'",
        ),
    ],
    "normalise_grad": [
        (
            lambda: reference.normalise_grad(CLOUD, CLOUD, "L2"),
            "normalisation is 'L2'; pass one of 'l2', 'none', 'center_maxnorm', 'diameter', 'rms'",
        ),
        (
            lambda: reference.normalise_grad(CLOUD, CLOUD[:2]),
            "grad_normalised has shape (2, 2); features has (3, 2), pass the same",
        ),
    ],
    "kl_distillation": [
        (
            lambda: reference.kl_distillation(CLOUD, CLOUD[:, :1]),
            "student_logits has shape (3, 1); teacher_logits has (3, 2), pass the same "
            "points and classes, at least one class",
        ),
        (
            lambda: reference.kl_distillation(np.zeros((3, 0)), np.zeros((3, 0))),
            "student_logits has shape (3, 0); teacher_logits has (3, 0), pass the same "
            "points and classes, at least one class",
        ),
        (
            lambda: reference.kl_distillation(CLOUD, CLOUD, 0.0),
            "temperature is 0.0; pass a finite number above 0",
        ),
    ],
    "topological_loss": [
        (
            lambda: topology(student=CLOUD[:2]),
            "student_features has 2 points; teacher_features has 3, pass the same points",
        ),
        (lambda: topology(max_dim=2), "dim_weights has shape (2,); pass 3 numbers, (3,)"),
        (
            lambda: topology(loss="wasserstein"),
            "dim_weights is (1.0, 1.0); loss 'wasserstein' is defined for dimension 0 "
            "alone, pass 0 for the others or max_dim=0",
        ),
        (
            lambda: topology(indices=np.array([0, 3])),
            "indices has the index 3; the cloud has 3 points, so pass indices from 0 to 2",
        ),
        (
            lambda: topology(indices=np.array([0, 2, 0])),
            "indices has shape (3,) and 2 different entries; pass one or more different rows, (M,)",
        ),
        (
            lambda: topology(indices=np.array([], dtype=np.int64)),
            "indices has shape (0,) and 0 different entries; pass one or more different rows, (M,)",
        ),
        (
            lambda: topology(indices=np.array([[0, 1]])),
            "indices has shape (1, 2) and 2 different entries; pass one or more "
            "different rows, (M,)",
        ),
    ],
    "sample_points": [
        (
            lambda: topology(sampling="mixed"),
            "generator is None; sampling 'mixed' draws points, pass numpy.random.default_rng(seed)",
        ),
    ],
    "total_loss": [
        (
            lambda: reference.total_loss(1.0, np.nan, 1.0, 1.0),
            "parts has the entry nan; pass finite numbers",
        ),
    ],
    "Diagram": [
        (
            lambda: loop_with(births=np.ones((1, 1))),
            "births has shape (1, 1); 1 pairs of dimension 1 need (1,)",
        ),
        (
            lambda: loop_with(deaths=np.ones(2)),
            "deaths has shape (2,); 1 pairs of dimension 1 need (1,)",
        ),
        (
            lambda: loop_with(birth_edges=np.ones((1, 3), dtype=int)),
            "birth_edges has shape (1, 3); 1 pairs of dimension 1 need (1, 2)",
        ),
        (
            lambda: loop_with(death_edges=np.ones((2, 2), dtype=int)),
            "death_edges has shape (2, 2); 1 pairs of dimension 1 need (1, 2)",
        ),
        (
            lambda: loop_with(dim=2),
            "death_simplices has shape (1, 3); 1 pairs of dimension 2 need (1, 4)",
        ),
    ],
}


@pytest.mark.parametrize(("function", "call"), OUT_OF_RANGE, ids=[name for name, _ in OUT_OF_RANGE])
def test_options_out_of_range_are_refused(function, call):
    for option, remedy, *values in OUT_OF_RANGE[function, call]:
        for value in values:
            message = f"{function}: {option} is {value!r}; {remedy}"
            assert refusal(call, **{option: value}) == message


@pytest.mark.parametrize("function", REFUSED)
def test_bad_input_is_refused(function):
    for call, message in REFUSED[function]:
        assert refusal(call) == f"{function}: {message}"


def test_good_input_next_to_the_bad_is_accepted():
    """The helpers above are bad only in what their cases change."""
    route()
    chamfer()
    chamfer_grad()
    transport()
    transport_grad()
    sample(3, start=2)
    choose(3)
    topology(num_samples=1)
    topology(indices=np.array([2]))
    topology(loss="wasserstein", dim_weights=(1.0, 0.0))
    reference.sorted_wasserstein(np.zeros(1), np.zeros(1))
    topology(max_simplices=7)
    rips(max_dim=0, threshold=0.0, max_simplices=3)
    total()
    reference.route_to_distances(LOOP, np.zeros(1), np.zeros(1), DISTANCES)
    reference.persistence_weighted_chamfer(PAIRS, PAIRS, 1e-300)
    reference.covering_radius(CLOUD, np.array([2]))


def test_a_diagram_cannot_be_changed():
    with pytest.raises(AttributeError):
        LOOP.dim = 2


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_other_numbers_are_read_as_float64(dtype):
    cloud = np.array([[0, 0], [3, 4], [6, 0]], dtype=dtype)
    distances = reference.pairwise_distances(cloud)
    assert distances.dtype == np.float64
    np.testing.assert_array_equal(distances, DISTANCES)
    for found, expected in zip(
        reference.rips_persistence(DISTANCES.astype(dtype)),
        reference.rips_persistence(DISTANCES),
        strict=True,
    ):
        assert_same_diagram(found, expected)
        assert found.births.dtype == found.deaths.dtype == np.float64
    indices = np.array([0, 2], dtype=np.int8)
    assert reference.covering_radius(cloud, indices) == 5.0
    routed = reference.route_to_distances(
        COMPONENTS, np.ones(2, dtype=dtype), np.ones(2, dtype=dtype), DISTANCES.astype(dtype)
    )
    assert routed.dtype == np.float64
    assert reference.validation.as_vector("f", "x", cloud[0], 2).dtype == np.float64


def test_lists_are_read_as_arrays():
    assert reference.enclosing_radius([[0, 2], [2, 0]]) == 2.0
    assert reference.saliency_loss([[0, 1]], [[1, 1]]) == 0.5
    assert reference.covering_radius([[0], [3]], [1]) == 3.0


# ---- persistence images -------------------------------------------------------------------------

SCALE = {"bandwidth": 0.5, "birth_range": (0.0, 1.0), "persistence_range": (0.0, 2.0)}
IMAGES = {
    "persistence_image": reference.persistence_image,
    "persistence_image_grad": lambda pairs, scale: reference.persistence_image_grad(
        pairs, scale, np.ones((20, 20))
    ),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth is 0.0; pass a finite number above 0"),
        ({"bandwidth": np.inf}, "bandwidth is inf; pass a finite number above 0"),
        ({"maximum": -1.0}, "maximum is -1.0; pass a finite number above 0"),
        ({"maximum": np.nan}, "maximum is nan; pass a finite number above 0"),
        (
            {"birth_range": (1.0, 0.0)},
            "birth_range is (1.0, 0.0); pass two finite numbers, the lower one first",
        ),
        (
            {"persistence_range": (0.0, np.inf)},
            "persistence_range is (0.0, inf); pass two finite numbers, the lower one first",
        ),
        (
            {"persistence_range": (np.nan, 1.0)},
            "persistence_range is (nan, 1.0); pass two finite numbers, the lower one first",
        ),
        (
            {"birth_range": (0.0,)},
            "birth_range is (0.0,); pass two finite numbers, the lower one first",
        ),
        ({"weight": "tanh"}, "weight is 'tanh'; pass one of 'topkd', 'linear', 'one'"),
        (
            {"resolution": (20, 0)},
            "resolution is (20, 0); pass two numbers of at least 1, pixels along births and along "
            "persistence",
        ),
        (
            {"resolution": (20, 20, 20)},
            "resolution is (20, 20, 20); pass two numbers of at least 1, pixels along births and "
            "along persistence",
        ),
    ],
)
def test_a_scale_that_cannot_be_is_refused(changes, message):
    assert refusal(reference.ImageScale, **(SCALE | changes)) == f"ImageScale: {message}"


def test_a_scale_keeps_tuples_of_plain_numbers():
    scale = reference.ImageScale(
        bandwidth=np.float32(0.5), birth_range=[0, 1], persistence_range=[0, 2], resolution=[3, 4]
    )
    assert scale == reference.ImageScale(**SCALE, resolution=(3, 4))
    kept = (scale.bandwidth, *scale.birth_range, *scale.persistence_range, scale.maximum)
    assert [type(each) for each in kept] == [float] * 6
    assert [type(each) for each in scale.resolution] == [int, int]


@pytest.mark.parametrize("function", IMAGES)
@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.zeros(2), "pairs has shape (2,); pass one row per point, (N, C)"),
        (np.zeros((1, 3)), "pairs has shape (1, 3); pass (birth, death) rows, (K, 2)"),
        (
            [[0.0, np.inf]],
            "pairs has the entry inf; pass finite values of at most 1e+150 in size",
        ),
        (
            [[0.0, 1.0], [-0.01, 1.0]],
            "pairs have the birth -0.01; the weight 'topkd' has ln(100 b + 1), pass births above "
            "-0.01 or another weight",
        ),
    ],
)
def test_what_has_no_image_is_refused(function, pairs, message):
    assert (
        refusal(IMAGES[function], np.array(pairs), reference.ImageScale(**SCALE))
        == f"{function}: {message}"
    )


@pytest.mark.parametrize("function", IMAGES)
@pytest.mark.parametrize("weight", ["linear", "one"])
def test_other_weights_take_any_birth(function, weight):
    IMAGES[function](np.array([[-3.0, 1.0]]), reference.ImageScale(**SCALE, weight=weight))


def test_a_gradient_of_another_image_is_refused():
    scale = reference.ImageScale(**SCALE, resolution=(3, 4))
    assert refusal(reference.persistence_image_grad, PAIRS, scale, np.ones((3, 4))) == (
        "persistence_image_grad: grad_image has shape (3, 4); the image has (4, 3), pass the same"
    )


@pytest.mark.parametrize(
    ("diagrams", "options", "message"),
    [
        (
            [],
            {},
            "diagrams have no finite pair in 0 cloud(s); pass clouds of two or more different "
            "points (for dimension 1: clouds with loops)",
        ),
        (
            [np.empty((0, 2)), np.empty((0, 2))],
            {},
            "diagrams have no finite pair in 2 cloud(s); pass clouds of two or more different "
            "points (for dimension 1: clouds with loops)",
        ),
        (
            [PAIRS[:1], PAIRS[:1] + 1e-6],
            {},
            "diagrams have no two pairs farther apart than 1e-05 among the first 200, hence no "
            "bandwidth; pass more diagrams, in another order, or an ImageScale of your own",
        ),
        (
            [PAIRS, [[0.0, np.inf]]],
            {},
            "diagrams[1] has the entry inf; pass finite values of at most 1e+150 in size",
        ),
        (
            [PAIRS],
            {"birth_margin": -1.0},
            "birth_margin is -1.0; pass a finite number of at least 0",
        ),
    ],
)
def test_what_has_no_scale_is_refused(diagrams, options, message):
    assert (
        refusal(reference.fit_persistence_image, diagrams, **options)
        == f"fit_persistence_image: {message}"
    )


def test_a_bandwidth_too_small_to_reach_any_pixel_is_refused():
    near = np.array([[5.0, 10.0], [5.0, 10.0001]])
    far = np.array([[0.0, 5.0], [10.0, 15.0], [3.3, 4.3], [3.3, 13.3]])
    copies = [near] * 4 + [far]
    with pytest.raises(ValueError, match=r"every image is 0 with the bandwidth .*\(now \(2, 2\)\)"):
        reference.fit_persistence_image(copies, resolution=(2, 2))


# ---- distances, summaries and curves of diagrams ------------------------------------------------

GRID = np.array([0.0, 1.0])
OF_TWO_DIAGRAMS = {
    name: getattr(reference, name)
    for name in (
        "wasserstein_distance",
        "wasserstein_matching",
        "wasserstein_distance_grad",
        "sliced_wasserstein",
        "sliced_wasserstein_grad",
    )
}
OF_ONE_DIAGRAM = {
    "total_persistence": reference.total_persistence,
    "total_persistence_grad": reference.total_persistence_grad,
    "persistent_entropy": reference.persistent_entropy,
    "persistent_entropy_grad": reference.persistent_entropy_grad,
    "persistence_landscape": lambda pairs, grid=GRID, **options: reference.persistence_landscape(
        pairs, grid=grid, **options
    ),
    "persistence_landscape_grad": lambda pairs, grid=GRID, **options: (
        reference.persistence_landscape_grad(pairs, np.ones((5, 2)), grid=grid, **options)
    ),
    "betti_curve": lambda pairs, grid=GRID, **options: reference.betti_curve(
        pairs, grid=grid, **options
    ),
    "betti_curve_grad": lambda pairs, grid=GRID, bandwidth=1.0: reference.betti_curve_grad(
        pairs, np.ones(2), grid=grid, bandwidth=bandwidth
    ),
}
BAD_PAIRS = [
    (np.zeros((1, 3)), "has shape (1, 3); pass (birth, death) rows, (K, 2)"),
    ([[0.0, np.inf]], "has the entry inf; pass finite values of at most 1e+150 in size"),
    ([[np.nan, 1.0]], "has the entry nan; pass finite values of at most 1e+150 in size"),
]


@pytest.mark.parametrize("function", OF_TWO_DIAGRAMS)
@pytest.mark.parametrize(("pairs", "message"), BAD_PAIRS)
def test_what_are_no_two_diagrams_is_refused(function, pairs, message):
    for argument, both in (("first", (pairs, PAIRS)), ("second", (PAIRS, pairs))):
        assert (
            refusal(OF_TWO_DIAGRAMS[function], *map(np.array, both))
            == f"{function}: {argument} {message}"
        )


@pytest.mark.parametrize("function", OF_ONE_DIAGRAM)
@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        *BAD_PAIRS,
        (
            [[0.0, 1.0], [2.0, 1.0]],
            "has the pair (2.0, 1.0); pass (birth, death) rows, no death before its birth",
        ),
    ],
)
def test_what_is_no_diagram_is_refused(function, pairs, message):
    assert refusal(OF_ONE_DIAGRAM[function], np.array(pairs)) == f"{function}: pairs {message}"


BAD_ORDER = "pass a finite number of at least 1"


@pytest.mark.parametrize(
    ("functions", "options", "message"),
    [
        ("wasserstein", {"order": 0.5}, f"order is 0.5; {BAD_ORDER}"),
        ("wasserstein_distance", {"ground": 1.0}, "ground is 1.0; pass 2 or inf"),
        ("sliced", {"num_directions": 0}, "num_directions is 0; pass at least 1"),
        ("total", {"order": np.inf}, f"order is inf; {BAD_ORDER}"),
        ("total", {"order": np.nan}, f"order is nan; {BAD_ORDER}"),
        ("landscape", {"num_landscapes": 0}, "num_landscapes is 0; pass at least 1"),
        ("landscape", {"num_landscapes": 1.5}, "num_landscapes is 1.5; pass an integer"),
        ("betti", {"bandwidth": 0.0}, "bandwidth is 0.0; pass a finite number above 0"),
        ("betti", {"bandwidth": -2.0}, "bandwidth is -2.0; pass a finite number above 0"),
        *(
            (family, {"grid": np.array(grid)}, f"grid {message}")
            for family in ("landscape", "betti")
            for grid, message in (
                ([], "is empty; pass at least one filtration value"),
                ([1.0, 1.0], "has 1.0 after 1.0; pass increasing filtration values"),
                ([0.0, 2.0, 1.5], "has 1.5 after 2.0; pass increasing filtration values"),
                ([0.0, np.inf], "has the entry inf; pass finite numbers"),
                ([[0.0, 1.0]], "has shape (1, 2); pass 2 numbers, (2,)"),
            )
        ),
    ],
)
def test_options_of_diagram_functions_out_of_range_are_refused(functions, options, message):
    named = [name for name in (*OF_TWO_DIAGRAMS, *OF_ONE_DIAGRAM) if functions in name]
    assert named
    for name in named:
        call = OF_TWO_DIAGRAMS.get(name) or OF_ONE_DIAGRAM[name]
        arguments = (PAIRS, PAIRS) if name in OF_TWO_DIAGRAMS else (PAIRS,)
        assert refusal(call, *arguments, **options) == f"{name}: {message}"


@pytest.mark.parametrize("matching", [[0], [0, 0], [0, 2], [[0, 1]]])
def test_a_matching_of_other_diagrams_is_refused(matching):
    assert refusal(
        reference.wasserstein_distance_grad, PAIRS, PAIRS, matching=np.array(matching)
    ) == (
        f"wasserstein_distance_grad: matching is {matching}; pass 2 different rows below 2, -1 for "
        "the diagonal"
    )


def test_gradients_of_other_curves_are_refused():
    for call, message in (
        (
            lambda: reference.persistence_landscape_grad(PAIRS, np.ones((5, 3)), grid=GRID),
            "persistence_landscape_grad: grad_landscapes has shape (5, 3); the landscapes have "
            "(5, 2), pass the same",
        ),
        (
            lambda: reference.betti_curve_grad(PAIRS, np.ones(3), grid=GRID, bandwidth=1.0),
            "betti_curve_grad: grad_curve has shape (3,); pass 2 numbers, (2,)",
        ),
    ):
        assert refusal(call) == message


@pytest.mark.parametrize("function", ["signature_loss", "signature_loss_grad"])
def test_spaces_that_do_not_fit_are_refused(function):
    call = getattr(reference, function)
    for arguments, options, message in (
        ((CLOUD, CLOUD[:2]), {}, "student has 2 points; teacher has 3, pass the same points"),
        (
            (CLOUD, CLOUD),
            {"metric": "cosine"},
            "metric is 'cosine'; pass one of 'euclidean', 'precomputed'",
        ),
        (
            (CLOUD, CLOUD),
            {"dim_weights": (1.0, -1.0)},
            "dim_weights is -1.0; pass a finite number of at least 0",
        ),
        (
            (CLOUD, CLOUD),
            {"dim_weights": ()},
            "dim_weights is empty; pass one per dimension, e.g. (1,)",
        ),
    ):
        assert refusal(call, *arguments, **options) == f"{function}: {message}"
    with pytest.raises(ValueError, match="distances has shape"):
        call(CLOUD, CLOUD, metric="precomputed")
