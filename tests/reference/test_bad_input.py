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


@pytest.mark.parametrize("function", DISTANCE_MATRIX_CONSUMERS)
@pytest.mark.parametrize(("distances", "message"), BAD_DISTANCES)
def test_what_is_no_distance_matrix_is_refused(function, distances, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        DISTANCE_MATRIX_CONSUMERS[function](np.array(distances))
    assert str(error.value) == f"{function}: distances {message}"


@pytest.mark.parametrize("function", EDGE_LENGTHS)
@pytest.mark.parametrize(("distances", "message"), BAD_DISTANCES)
def test_what_is_no_distance_matrix_is_refused_on_either_side(function, distances, message):
    call = EDGE_LENGTHS[function]
    distances = np.array(distances)
    for argument, both in (
        ("teacher_distances", (distances, DISTANCES)),
        ("student_distances", (DISTANCES, distances)),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call(COMPONENTS, COMPONENTS, *both)
        assert str(error.value) == f"{function}: {argument} {message}"


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
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call(*arguments)
        assert str(error.value) == f"{function}: {message}"


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
            with pytest.raises(ValueError) as error:  # noqa: PT011
                call(*both)
            assert str(error.value) == f"{function}: {argument} {message}"


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
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call(value)
        assert str(error.value) == f"{function}: {argument} {message}"


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


def total(**weights):
    return reference.total_loss(1.0, 1.0, 1.0, 1.0, **weights)


ABOVE_0 = "pass a finite number above 0"
AT_LEAST_0 = "pass a finite number of at least 0"
PRECISION = "pass one of 'uniform', 'persistence'"
METHODS = "pass one of 'l2', 'none', 'center_maxnorm', 'diameter', 'rms'"

REFUSED = [
    (
        lambda: reference.enclosing_radius(np.zeros((0, 0))),
        "enclosing_radius: distances has shape (0, 0); pass at least one point",
    ),
    (lambda: rips(max_dim=-1), "rips_persistence: max_dim is -1; pass at least 0"),
    (lambda: rips(max_dim=1.5), "rips_persistence: max_dim is 1.5; pass an integer"),
    (lambda: rips(max_simplices=0), "rips_persistence: max_simplices is 0; pass at least 1"),
    (
        lambda: rips(threshold=-0.5),
        "rips_persistence: threshold is -0.5; pass a length of at least 0",
    ),
    (
        lambda: rips(threshold=np.nan),
        "rips_persistence: threshold is nan; pass a length of at least 0",
    ),
    (
        lambda: rips(max_simplices=6),
        "rips_persistence: distances of 3 points make more than 6 simplices of up to 3 vertices; "
        "lower threshold or max_dim, take fewer points, or raise max_simplices",
    ),
    (
        lambda: route(grad_births=np.zeros(3)),
        "route_to_distances: grad_births has shape (3,); pass 2 numbers, (2,)",
    ),
    (
        lambda: route(grad_deaths=np.zeros((2, 1))),
        "route_to_distances: grad_deaths has shape (2, 1); pass 2 numbers, (2,)",
    ),
    (
        lambda: route(grad_births=np.array([0.0, np.nan])),
        "route_to_distances: grad_births has the entry nan; pass finite numbers",
    ),
    (
        lambda: route(grad_deaths=np.array([-np.inf, 0.0])),
        "route_to_distances: grad_deaths has the entry -inf; pass finite numbers",
    ),
    (
        lambda: route(tie_tolerance=-1.0),
        f"route_to_distances: tie_tolerance is -1.0; {AT_LEAST_0}",
    ),
    (
        lambda: route(tie_tolerance=np.inf),
        f"route_to_distances: tie_tolerance is inf; {AT_LEAST_0}",
    ),
    (
        lambda: route(distances=DISTANCES[:2, :2]),
        "route_to_distances: diagram.death_simplices has the index 2; the cloud has 2 points, "
        "so pass indices from 0 to 1",
    ),
    (
        lambda: reference.route_to_distances(
            Diagram(**(vars(LOOP) | {"birth_edges": np.array([[-1, 1]])})),
            np.zeros(1),
            np.zeros(1),
            DISTANCES,
        ),
        "route_to_distances: diagram.birth_edges has the index -1; the cloud has 3 points, "
        "so pass indices from 0 to 2",
    ),
    (
        lambda: reference.route_to_distances(
            Diagram(**(vars(LOOP) | {"death_simplices": np.array([[0.0, 1.0, 2.0]])})),
            np.zeros(1),
            np.zeros(1),
            DISTANCES,
        ),
        "route_to_distances: diagram.death_simplices has dtype float64; pass integers",
    ),
    (
        lambda: reference.route_to_points(CLOUD, np.zeros((2, 3))),
        "route_to_points: grad_distances has shape (2, 3); 3 points need (3, 3)",
    ),
    (
        lambda: reference.route_to_points(CLOUD[:2], np.array([[0.0, 1.0], [2.0, 0.0]])),
        "route_to_points: grad_distances is not symmetric: 1.0 at (0, 1), 2.0 at (1, 0); "
        "pass G + G.T of an upper triangle",
    ),
    (
        lambda: reference.route_to_points(CLOUD, np.zeros((3, 3)), -1e-9),
        f"route_to_points: eps is -1e-09; {AT_LEAST_0}",
    ),
    (lambda: chamfer(eps=0.0), f"persistence_weighted_chamfer: eps is 0.0; {ABOVE_0}"),
    (lambda: chamfer(eps=np.nan), f"persistence_weighted_chamfer: eps is nan; {ABOVE_0}"),
    (lambda: chamfer(eps=np.inf), f"persistence_weighted_chamfer: eps is inf; {ABOVE_0}"),
    (
        lambda: chamfer(cost_scale=-0.5),
        f"persistence_weighted_chamfer: cost_scale is -0.5; {ABOVE_0}",
    ),
    (
        lambda: chamfer(precision_weight="half"),
        f"persistence_weighted_chamfer: precision_weight is 'half'; {PRECISION}",
    ),
    (
        lambda: chamfer(min_persistence=-1.0),
        f"persistence_weighted_chamfer: min_persistence is -1.0; {AT_LEAST_0}",
    ),
    (
        lambda: chamfer_grad(eps=-1.0),
        f"persistence_weighted_chamfer_grad: eps is -1.0; {ABOVE_0}",
    ),
    (
        lambda: chamfer_grad(cost_scale=0.0),
        f"persistence_weighted_chamfer_grad: cost_scale is 0.0; {ABOVE_0}",
    ),
    (
        lambda: chamfer_grad(precision_weight="half"),
        f"persistence_weighted_chamfer_grad: precision_weight is 'half'; {PRECISION}",
    ),
    (
        lambda: chamfer_grad(min_persistence=np.nan),
        f"persistence_weighted_chamfer_grad: min_persistence is nan; {AT_LEAST_0}",
    ),
    (
        lambda: chamfer_grad(ties="highest"),
        "persistence_weighted_chamfer_grad: ties is 'highest'; pass one of 'lowest', 'average'",
    ),
    (lambda: transport(eps=0.0), f"entropic_transport: eps is 0.0; {ABOVE_0}"),
    (lambda: transport(tolerance=0.0), f"entropic_transport: tolerance is 0.0; {ABOVE_0}"),
    (
        lambda: transport(max_iterations=0),
        "entropic_transport: max_iterations is 0; pass at least 1",
    ),
    (lambda: transport_grad(eps=0.0), f"entropic_transport_grad: eps is 0.0; {ABOVE_0}"),
    (
        lambda: transport_grad(tolerance=-1.0),
        f"entropic_transport_grad: tolerance is -1.0; {ABOVE_0}",
    ),
    (
        lambda: transport_grad(max_iterations=2.0),
        "entropic_transport_grad: max_iterations is 2.0; pass an integer",
    ),
    (
        lambda: reference.gradient_entropy(np.zeros((2, 1)), np.zeros(2)),
        "gradient_entropy: grad_births has shape (2, 1); pass 2 numbers, (2,)",
    ),
    (
        lambda: reference.gradient_entropy(np.ones(2), np.ones(3)),
        "gradient_entropy: grad_deaths has shape (3,); pass 2 numbers, (2,)",
    ),
    (
        lambda: reference.gradient_entropy(np.zeros(2), np.zeros(2)),
        "gradient_entropy: the gradient of 2 pairs is zero; it has no spread",
    ),
    (
        lambda: reference.gradient_entropy(np.zeros(0), np.zeros(0)),
        "gradient_entropy: the gradient of 0 pairs is zero; it has no spread",
    ),
    (lambda: sample(0), "topology_preserving_sampling: num_samples is 0; pass at least 1"),
    (
        lambda: sample(4),
        "topology_preserving_sampling: num_samples is 4; the cloud has only 3 points",
    ),
    (
        lambda: reference.topology_preserving_sampling(np.zeros((0, 2)), 1),
        "topology_preserving_sampling: num_samples is 1; the cloud has only 0 points",
    ),
    (lambda: sample("two"), "topology_preserving_sampling: num_samples is 'two'; pass an integer"),
    (lambda: sample(start=-1), "topology_preserving_sampling: start is -1; pass at least 0"),
    (
        lambda: sample(start=3),
        "topology_preserving_sampling: start has the index 3; the cloud has 3 points, "
        "so pass indices from 0 to 2",
    ),
    (
        lambda: reference.covering_radius(CLOUD, np.array([0, 3])),
        "covering_radius: indices has the index 3; the cloud has 3 points, "
        "so pass indices from 0 to 2",
    ),
    (
        lambda: reference.covering_radius(CLOUD, np.array([])),
        "covering_radius: indices is empty; pass at least one",
    ),
    (
        lambda: reference.saliency_map(CLOUD, CLOUD[:, :1]),
        "saliency_map: feature_gradients has shape (3, 1); features has (3, 2), pass the same",
    ),
    (
        lambda: reference.saliency_map(CLOUD, CLOUD, eps=-1.0),
        f"saliency_map: eps is -1.0; {AT_LEAST_0}",
    ),
    (
        lambda: reference.saliency_loss([np.ones(2)], [np.ones(2), np.ones(2)]),
        "saliency_loss: student_maps has 2 layers; teacher_maps has 1, pass as many",
    ),
    (
        lambda: reference.saliency_loss([np.ones(2), np.ones(2)], [np.ones(2), np.ones(3)]),
        "saliency_loss: student_maps[1] has shape (3,); pass 2 numbers, (2,)",
    ),
    (
        lambda: reference.saliency_loss([np.ones((2, 2))], [np.ones(2)]),
        "saliency_loss: teacher_maps[0] has shape (2, 2); pass 2 numbers, (2,)",
    ),
    (
        lambda: reference.saliency_loss([np.ones(0)], [np.ones(0)]),
        "saliency_loss: teacher_maps[0] is empty; pass a point or more",
    ),
    (
        lambda: reference.saliency_loss([], [], layers="max"),
        "saliency_loss: layers is 'max'; pass one of 'sum', 'mean', 'none'",
    ),
    (
        lambda: reference.normalise(CLOUD, "L2"),
        f"normalise: normalisation is 'L2'; {METHODS}",
    ),
    (
        lambda: reference.normalise_grad(CLOUD, CLOUD, "L2"),
        f"normalise_grad: normalisation is 'L2'; {METHODS}",
    ),
    (
        lambda: reference.normalise_grad(CLOUD, CLOUD[:2]),
        "normalise_grad: grad_normalised has shape (2, 2); features has (3, 2), pass the same",
    ),
    (
        lambda: reference.kl_distillation(CLOUD, CLOUD[:, :1]),
        "kl_distillation: student_logits has shape (3, 1); teacher_logits has (3, 2), "
        "pass the same points and classes, at least one class",
    ),
    (
        lambda: reference.kl_distillation(np.zeros((3, 0)), np.zeros((3, 0))),
        "kl_distillation: student_logits has shape (3, 0); teacher_logits has (3, 0), "
        "pass the same points and classes, at least one class",
    ),
    (
        lambda: reference.kl_distillation(CLOUD, CLOUD, 0.0),
        f"kl_distillation: temperature is 0.0; {ABOVE_0}",
    ),
    (
        lambda: topology(student=CLOUD[:2]),
        "topological_loss: student_features has 2 points; teacher_features has 3, "
        "pass the same points",
    ),
    (
        lambda: topology(num_samples=0),
        "topological_loss: num_samples is 0; pass at least 1",
    ),
    (lambda: topology(max_dim=-1), "topological_loss: max_dim is -1; pass at least 0"),
    (
        lambda: topology(max_dim=2),
        "topological_loss: dim_weights has shape (2,); pass 3 numbers, (3,)",
    ),
    (
        lambda: topology(distance_eps=-1.0),
        f"topological_loss: distance_eps is -1.0; {AT_LEAST_0}",
    ),
    (
        lambda: topology(max_simplices=6),
        "rips_persistence: distances of 3 points make more than 6 simplices of up to 3 vertices; "
        "lower threshold or max_dim, take fewer points, or raise max_simplices",
    ),
    (
        lambda: topology(sample_on="both"),
        "topological_loss: sample_on is 'both'; pass one of 'teacher', 'student', 'concat'",
    ),
    (
        lambda: topology(loss="l2"),
        "topological_loss: loss is 'l2'; pass one of 'pwcd', 'sinkhorn', 'edges', 'wasserstein'",
    ),
    (lambda: topology(sinkhorn_eps=0.0), f"topological_loss: sinkhorn_eps is 0.0; {ABOVE_0}"),
    (
        lambda: topology(loss="wasserstein"),
        "topological_loss: dim_weights is (1.0, 1.0); loss 'wasserstein' is defined for "
        "dimension 0 alone, pass 0 for the others or max_dim=0",
    ),
    (
        lambda: topology(indices=np.array([0, 3])),
        "topological_loss: indices has the index 3; the cloud has 3 points, "
        "so pass indices from 0 to 2",
    ),
    (
        lambda: topology(indices=np.array([0, 2, 0])),
        "topological_loss: indices has shape (3,) and 2 different entries; "
        "pass one or more different rows, (M,)",
    ),
    (
        lambda: topology(indices=np.array([], dtype=np.int64)),
        "topological_loss: indices has shape (0,) and 0 different entries; "
        "pass one or more different rows, (M,)",
    ),
    (
        lambda: topology(indices=np.array([[0, 1]])),
        "topological_loss: indices has shape (1, 2) and 2 different entries; "
        "pass one or more different rows, (M,)",
    ),
    (
        lambda: topology(sampling="mixed"),
        "sample_points: generator is None; sampling 'mixed' draws points, "
        "pass numpy.random.default_rng(seed)",
    ),
    (
        lambda: choose(generator=None),
        "sample_points: generator is None; sampling 'random' draws points, "
        "pass numpy.random.default_rng(seed)",
    ),
    (
        lambda: choose(sampling="uniform"),
        "sample_points: sampling is 'uniform'; pass one of 'farthest', 'random', 'mixed'",
    ),
    (lambda: choose(0), "sample_points: num_samples is 0; pass at least 1"),
    (lambda: choose(4), "sample_points: num_samples is 4; the cloud has only 3 points"),
    (lambda: topology(normalisation="l1"), f"normalise: normalisation is 'l1'; {METHODS}"),
    (
        lambda: total(topology_weight=-8.0),
        f"total_loss: topology_weight is -8.0; {AT_LEAST_0}",
    ),
    (
        lambda: total(saliency_weight=np.nan),
        f"total_loss: saliency_weight is nan; {AT_LEAST_0}",
    ),
    (
        lambda: total(distillation_weight=np.inf),
        f"total_loss: distillation_weight is inf; {AT_LEAST_0}",
    ),
    (
        lambda: reference.total_loss(1.0, np.nan, 1.0, 1.0),
        "total_loss: parts has the entry nan; pass finite numbers",
    ),
    (
        lambda: Diagram(**(vars(LOOP) | {"births": np.ones((1, 1))})),
        "Diagram: births has shape (1, 1); 1 pairs of dimension 1 need (1,)",
    ),
    (
        lambda: Diagram(**(vars(LOOP) | {"deaths": np.ones(2)})),
        "Diagram: deaths has shape (2,); 1 pairs of dimension 1 need (1,)",
    ),
    (
        lambda: Diagram(**(vars(LOOP) | {"birth_edges": np.ones((1, 3), dtype=int)})),
        "Diagram: birth_edges has shape (1, 3); 1 pairs of dimension 1 need (1, 2)",
    ),
    (
        lambda: Diagram(**(vars(LOOP) | {"death_edges": np.ones((2, 2), dtype=int)})),
        "Diagram: death_edges has shape (2, 2); 1 pairs of dimension 1 need (1, 2)",
    ),
    (
        lambda: Diagram(**(vars(LOOP) | {"dim": 2})),
        "Diagram: death_simplices has shape (1, 3); 1 pairs of dimension 2 need (1, 4)",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert str(error.value) == message


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
    with pytest.raises(ValueError) as error:  # noqa: PT011
        reference.ImageScale(**(SCALE | changes))
    assert str(error.value) == f"ImageScale: {message}"


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
    with pytest.raises(ValueError) as error:  # noqa: PT011
        IMAGES[function](np.array(pairs), reference.ImageScale(**SCALE))
    assert str(error.value) == f"{function}: {message}"


@pytest.mark.parametrize("function", IMAGES)
@pytest.mark.parametrize("weight", ["linear", "one"])
def test_other_weights_take_any_birth(function, weight):
    IMAGES[function](np.array([[-3.0, 1.0]]), reference.ImageScale(**SCALE, weight=weight))


def test_a_gradient_of_another_image_is_refused():
    scale = reference.ImageScale(**SCALE, resolution=(3, 4))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        reference.persistence_image_grad(PAIRS, scale, np.ones((3, 4)))
    assert str(error.value) == (
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
    with pytest.raises(ValueError) as error:  # noqa: PT011
        reference.fit_persistence_image(diagrams, **options)
    assert str(error.value) == f"fit_persistence_image: {message}"


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
        with pytest.raises(ValueError) as error:  # noqa: PT011
            OF_TWO_DIAGRAMS[function](*map(np.array, both))
        assert str(error.value) == f"{function}: {argument} {message}"


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
    with pytest.raises(ValueError) as error:  # noqa: PT011
        OF_ONE_DIAGRAM[function](np.array(pairs))
    assert str(error.value) == f"{function}: pairs {message}"


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
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call(*arguments, **options)
        assert str(error.value) == f"{name}: {message}"


@pytest.mark.parametrize("matching", [[0], [0, 0], [0, 2], [[0, 1]]])
def test_a_matching_of_other_diagrams_is_refused(matching):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        reference.wasserstein_distance_grad(PAIRS, PAIRS, matching=np.array(matching))
    assert str(error.value) == (
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
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call()
        assert str(error.value) == message


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
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call(*arguments, **options)
        assert str(error.value) == f"{function}: {message}"
    with pytest.raises(ValueError, match="distances has shape"):
        call(CLOUD, CLOUD, metric="precomputed")
