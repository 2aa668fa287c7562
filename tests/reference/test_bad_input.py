"""Bad input is refused with function, argument, value and remedy; odd input is read.

Not run under shape checks (`tox -e shapes`), which refuse the same input sooner.
"""

from itertools import product

import numpy as np
import pytest

import reference
from reference.diagram import Diagram
from tests.reference.checks import assert_same_diagram

CLOUD = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]])
DISTANCES = reference.pairwise_distances(CLOUD)
APART = DISTANCES + np.where(np.eye(3), 0.0, np.inf)
ASYMMETRIC = np.array([[0.0, 1.0], [2.0, 0.0]])
PAIRS = np.array([[0.0, 1.0], [0.5, 2.0]])
DEATHS = np.array([1.0, 2.0])
GRID = np.array([0.0, 1.0])
SCALE = {"bandwidth": 0.5, "birth_range": (0.0, 1.0), "persistence_range": (0.0, 2.0)}
COMPONENTS = reference.rips_persistence(DISTANCES)[0]
LOOP = Diagram(
    dim=1,
    births=np.array([1.0]),
    deaths=np.array([2.0]),
    birth_edges=np.array([[0, 1]]),
    death_edges=np.array([[0, 2]]),
    death_simplices=np.array([[0, 1, 2]]),
)
ONE_LOOP = {"diagram": LOOP, "grad_births": np.zeros(1), "grad_deaths": np.zeros(1)}


def loop_with(**changes) -> Diagram:
    return Diagram(**(vars(LOOP) | changes))


FEATURES = {"teacher_features": CLOUD, "student_features": CLOUD}
TWO_CLOUDS = {"teacher": CLOUD, "student": CLOUD}
TWO_DIAGRAMS = {"teacher": PAIRS, "student": PAIRS}
FIRST_AND_SECOND = {"first": PAIRS, "second": PAIRS}
GRADIENTS = {"grad_births": np.ones(2), "grad_deaths": np.ones(2)}
EDGES = {
    "teacher": COMPONENTS,
    "student": COMPONENTS,
    "teacher_distances": DISTANCES,
    "student_distances": DISTANCES,
}
IMAGE = {"pairs": PAIRS, "scale": reference.ImageScale(**SCALE)}
ON_GRID = {"pairs": PAIRS, "grid": GRID}

# Good input of each function; every case of this file changes arguments of it.
GOOD = {
    "Diagram": vars(LOOP),
    "ImageScale": SCALE,
    "betti_curve": ON_GRID,
    "betti_curve_grad": ON_GRID | {"grad_curve": np.ones(2), "bandwidth": 1.0},
    "bottleneck_distance": FIRST_AND_SECOND,
    "bottleneck_distance_grad": FIRST_AND_SECOND,
    "channel_weights": {"feature_gradients": CLOUD},
    "covering_radius": {"points": CLOUD, "indices": np.array([2])},
    "critical_edge_matching": EDGES,
    "critical_edge_matching_grad": EDGES,
    "enclosing_radius": {"distances": DISTANCES},
    "entropic_transport": TWO_DIAGRAMS,
    "entropic_transport_grad": TWO_DIAGRAMS,
    "fit_persistence_image": {"diagrams": [PAIRS]},
    "gradient_entropy": GRADIENTS,
    "kl_distillation": {"teacher_logits": CLOUD, "student_logits": CLOUD},
    "normalise": {"features": CLOUD},
    "normalise_grad": {"features": CLOUD, "grad_normalised": CLOUD},
    "pairwise_distances": {"points": CLOUD},
    "persistence_image": IMAGE,
    "persistence_image_grad": IMAGE | {"grad_image": np.ones((20, 20))},
    "persistence_landscape": ON_GRID,
    "persistence_landscape_grad": ON_GRID | {"grad_landscapes": np.ones((5, 2))},
    "persistence_weighted_chamfer": TWO_DIAGRAMS,
    "persistence_weighted_chamfer_grad": TWO_DIAGRAMS,
    "persistent_entropy": {"pairs": PAIRS},
    "persistent_entropy_grad": {"pairs": PAIRS},
    "representative_cycles": {"loops": LOOP, "distances": DISTANCES},
    "rips_persistence": {"distances": DISTANCES},
    "route_to_distances": GRADIENTS | {"diagram": COMPONENTS, "distances": DISTANCES},
    "route_to_points": {"points": CLOUD, "grad_distances": np.zeros((3, 3))},
    "saliency_loss": {"teacher_maps": [np.ones(2)], "student_maps": [np.ones(2)]},
    "saliency_map": {"features": CLOUD, "feature_gradients": CLOUD},
    "sample_points": {
        "points": CLOUD,
        "num_samples": 1,
        "sampling": "random",
        "generator": np.random.default_rng(0),
    },
    "signature_loss": TWO_CLOUDS,
    "signature_loss_grad": TWO_CLOUDS,
    "sliced_wasserstein": FIRST_AND_SECOND,
    "sliced_wasserstein_grad": FIRST_AND_SECOND,
    "sorted_wasserstein": {"teacher": DEATHS, "student": DEATHS},
    "sorted_wasserstein_grad": {"teacher": DEATHS, "student": DEATHS},
    "topological_loss": FEATURES,
    "topology_preserving_sampling": {"points": CLOUD, "num_samples": 1},
    "total_loss": dict.fromkeys(("segmentation", "topology", "saliency", "distillation"), 1.0),
    "total_persistence": {"pairs": PAIRS},
    "total_persistence_grad": {"pairs": PAIRS},
    "wasserstein_distance": FIRST_AND_SECOND,
    "wasserstein_distance_grad": FIRST_AND_SECOND,
    "wasserstein_matching": FIRST_AND_SECOND,
}
GOOD_TOO = [
    ("topology_preserving_sampling", {"num_samples": 3, "start": 2}),
    ("sample_points", {"num_samples": 3}),
    ("topological_loss", {"num_samples": 1}),
    ("topological_loss", {"indices": np.array([2])}),
    ("topological_loss", {"loss": "wasserstein", "dim_weights": (1.0, 0.0)}),
    ("topological_loss", {"max_simplices": 7}),
    ("sorted_wasserstein", {"teacher": np.zeros(1), "student": np.zeros(1)}),
    ("rips_persistence", {"max_dim": 0, "threshold": 0.0, "max_simplices": 3}),
    ("route_to_distances", ONE_LOOP),
    ("persistence_weighted_chamfer", {"eps": 1e-300}),
]
GOOD_TOO += [
    (function, {"scale": reference.ImageScale(**SCALE, weight=weight), "pairs": [[-3.0, 1.0]]})
    for function, weight in product(
        ("persistence_image", "persistence_image_grad"), ("linear", "one")
    )
]


def call(function, changes):
    return getattr(reference, function)(**(GOOD[function] | changes))


def refusal(function, changes) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call(function, changes)
    return str(error.value)


FINITE = "pass finite numbers"
SMALL = "pass finite values of at most 1e+150 in size"
ROW_PER_POINT = "pass one row per point, (N, C)"
BIRTH_AND_DEATH = "pass (birth, death) rows, (K, 2)"
NEVER_JOINED = "distances are at least 0 (inf for two points that are never joined)"

# What no array of a kind is, and what is said of it.
BAD_ROWS = [
    (np.zeros(3), f"has shape (3,); {ROW_PER_POINT}"),
    (np.zeros((2, 2, 2)), f"has shape (2, 2, 2); {ROW_PER_POINT}"),
    *(
        (np.array([[0.0, entry], [0.0, 1.0], [2.0, 3.0]]), f"has the entry {entry}; {SMALL}")
        for entry in (np.nan, np.inf, -np.inf, 1.1e150)
    ),
]
NO_ROWS = [(np.zeros((0, 2)), "has shape (0, 2); pass at least 1 points")]
BAD_PAIRS = [*BAD_ROWS, (np.zeros((4, 3)), f"has shape (4, 3); {BIRTH_AND_DEATH}")]
DEATH_BEFORE_BIRTH = (
    np.array([[0.0, 1.0], [2.0, 1.0]]),
    "has the pair (2.0, 1.0); pass (birth, death) rows, no death before its birth",
)
BAD_DEATHS = [
    (np.zeros((2, 1)), "has shape (2, 1); pass 2 numbers, (2,)"),
    (np.array([1.0, np.nan]), f"has the entry nan; {FINITE}"),
    (np.array([np.inf, 1.0]), f"has the entry inf; {FINITE}"),
    (np.array([1.0, -0.5]), "has the entry -0.5; classes born at 0 die at 0 or later"),
]
BAD_DISTANCES = [
    (np.zeros(3), "has shape (3,); pass a square matrix, (N, N)"),
    (np.zeros((2, 3)), "has shape (2, 3); pass a square matrix, (N, N)"),
    (np.array([[0.0, np.nan], [np.nan, 0.0]]), f"has the entry nan; {NEVER_JOINED}"),
    (np.array([[0.0, -2.0], [-3.0, 0.0]]), f"has the entry -2.0; {NEVER_JOINED}"),
    (
        np.array([[0.0, 1.0], [1.0, 0.5]]),
        "has 0.5 on its diagonal; a point is at distance 0 from itself; compute distances with "
        "pairwise_distances",
    ),
    (
        ASYMMETRIC,
        "is not symmetric: 1.0 at (0, 1), 2.0 at (1, 0); pass the same distance both ways",
    ),
]
BAD_GRIDS = [
    (np.array([]), "is empty; pass at least one filtration value"),
    (np.array([1.0, 1.0]), "has 1.0 after 1.0; pass increasing filtration values"),
    (np.array([0.0, 2.0, 1.5]), "has 1.5 after 2.0; pass increasing filtration values"),
    (np.array([0.0, np.inf]), f"has the entry inf; {FINITE}"),
    (np.array([[0.0, 1.0]]), "has shape (1, 2); pass 2 numbers, (2,)"),
]

DISTANCE_ARGUMENTS = [
    ("enclosing_radius", "distances"),
    ("representative_cycles", "distances"),
    ("rips_persistence", "distances"),
    ("route_to_distances", "distances"),
    *product(
        ("critical_edge_matching", "critical_edge_matching_grad"),
        ("teacher_distances", "student_distances"),
    ),
]
DEATH_ARGUMENTS = product(("sorted_wasserstein", "sorted_wasserstein_grad"), ("teacher", "student"))
ROW_ARGUMENTS = [
    ("pairwise_distances", "points"),
    ("route_to_points", "points"),
    ("route_to_points", "grad_distances"),
    ("topology_preserving_sampling", "points"),
    ("covering_radius", "points"),
    ("saliency_map", "feature_gradients"),
    ("normalise_grad", "grad_normalised"),
    ("persistence_image_grad", "grad_image"),
    ("persistence_landscape_grad", "grad_landscapes"),
]
FILLED_ROW_ARGUMENTS = [
    ("sample_points", "points"),
    ("channel_weights", "feature_gradients"),
    ("saliency_map", "features"),
    ("normalise", "features"),
    ("normalise_grad", "features"),
    *product(("kl_distillation",), ("teacher_logits", "student_logits")),
    *product(("topological_loss",), FEATURES),
]
PAIR_ARGUMENTS = [
    *product(
        (
            "persistence_weighted_chamfer",
            "persistence_weighted_chamfer_grad",
            "entropic_transport",
            "entropic_transport_grad",
        ),
        TWO_DIAGRAMS,
    ),
    *product((name for name, good in GOOD.items() if good is FIRST_AND_SECOND), FIRST_AND_SECOND),
    *product(("persistence_image", "persistence_image_grad"), ("pairs",)),
]
ORDERED_PAIR_ARGUMENTS = [
    (function, "pairs")
    for function in GOOD
    if function.startswith(("betti", "persistence_landscape", "persistent", "total_persistence"))
]
GRID_ARGUMENTS = [(function, "grid") for function, good in GOOD.items() if "grid" in good]


@pytest.mark.parametrize(
    ("function", "argument", "bad"),
    [
        pytest.param(*argument, bad, id=" ".join(argument))
        for arguments, bad in (
            (DISTANCE_ARGUMENTS, BAD_DISTANCES),
            (DEATH_ARGUMENTS, BAD_DEATHS),
            (ROW_ARGUMENTS, BAD_ROWS),
            (FILLED_ROW_ARGUMENTS, BAD_ROWS + NO_ROWS),
            (PAIR_ARGUMENTS, BAD_PAIRS),
            (ORDERED_PAIR_ARGUMENTS, [*BAD_PAIRS, DEATH_BEFORE_BIRTH]),
            (GRID_ARGUMENTS, BAD_GRIDS),
        )
        for argument in arguments
    ],
)
def test_an_array_of_another_kind_is_refused(function, argument, bad):
    for value, remark in bad:
        assert refusal(function, {argument: value}) == f"{function}: {argument} {remark}"


ABOVE_0 = "pass a finite number above 0"
AT_LEAST_0 = "pass a finite number of at least 0"
AT_LEAST_1 = "pass at least 1"
INTEGER = "pass an integer"
ORDER = "pass a finite number of at least 1"
ONLY_3 = "the cloud has only 3 points"
PRECISION = "pass one of 'uniform', 'persistence'"
METHODS = "pass one of 'l2', 'none', 'center_maxnorm', 'diameter', 'rms'"
GENERATOR = "draws points, pass numpy.random.default_rng(seed)"
RANGE = "pass two finite numbers, the lower one first"
PIXELS = "pass two numbers of at least 1, pixels along births and along persistence"
DIAGONAL = "pass 2 different rows below 2, -1 for the diagonal"

# By function (or by what several names have in common): an option, the remedy, bad values.
OUT_OF_RANGE = {
    "rips_persistence": [
        ("max_dim", "pass at least 0", -1),
        ("max_dim", INTEGER, 1.5),
        ("max_simplices", AT_LEAST_1, 0),
        ("threshold", "pass a length of at least 0", -0.5, np.nan),
    ],
    "route_to_distances": [("tie_tolerance", AT_LEAST_0, -1.0, np.inf)],
    "route_to_points": [("eps", AT_LEAST_0, -1e-09)],
    "persistence_weighted_chamfer": [
        ("eps", ABOVE_0, 0.0, np.nan, np.inf),
        ("cost_scale", ABOVE_0, -0.5),
        ("precision_weight", PRECISION, "half"),
        ("min_persistence", AT_LEAST_0, -1.0),
    ],
    "persistence_weighted_chamfer_grad": [
        ("eps", ABOVE_0, -1.0),
        ("cost_scale", ABOVE_0, 0.0),
        ("precision_weight", PRECISION, "half"),
        ("min_persistence", AT_LEAST_0, np.nan),
        ("ties", "pass one of 'lowest', 'average'", "highest"),
    ],
    "entropic_transport": [
        ("eps", ABOVE_0, 0.0),
        ("tolerance", ABOVE_0, 0.0),
        ("max_iterations", AT_LEAST_1, 0),
    ],
    "entropic_transport_grad": [
        ("eps", ABOVE_0, 0.0),
        ("tolerance", ABOVE_0, -1.0),
        ("max_iterations", INTEGER, 2.0),
    ],
    "topology_preserving_sampling": [
        ("num_samples", AT_LEAST_1, 0),
        ("num_samples", ONLY_3, 4),
        ("num_samples", INTEGER, "two"),
        ("start", "pass at least 0", -1),
    ],
    "sample_points": [
        ("generator", f"sampling 'random' {GENERATOR}", None),
        ("sampling", "pass one of 'farthest', 'random', 'mixed'", "uniform"),
        ("num_samples", AT_LEAST_1, 0),
        ("num_samples", ONLY_3, 4),
    ],
    "saliency_map": [("eps", AT_LEAST_0, -1.0)],
    "saliency_loss": [("layers", "pass one of 'sum', 'mean', 'none'", "max")],
    "normalise": [("normalisation", METHODS, "L2")],
    "normalise_grad": [("normalisation", METHODS, "L2")],
    "kl_distillation": [("temperature", ABOVE_0, 0.0)],
    "topological_loss": [
        ("num_samples", AT_LEAST_1, 0),
        ("max_dim", "pass at least 0", -1),
        ("distance_eps", AT_LEAST_0, -1.0),
        ("sample_on", "pass one of 'teacher', 'student', 'concat'", "both"),
        ("loss", "pass one of 'pwcd', 'sinkhorn', 'edges', 'wasserstein'", "l2"),
        ("sinkhorn_eps", ABOVE_0, 0.0),
    ],
    "total_loss": [
        ("topology_weight", AT_LEAST_0, -8.0),
        ("saliency_weight", AT_LEAST_0, np.nan),
        ("distillation_weight", AT_LEAST_0, np.inf),
    ],
    "ImageScale": [
        ("bandwidth", ABOVE_0, 0.0, np.inf),
        ("maximum", ABOVE_0, -1.0, np.nan),
        ("birth_range", RANGE, (1.0, 0.0), (0.0,), (-np.inf, 0.0)),
        ("persistence_range", RANGE, (0.0, np.inf), (np.nan, 1.0)),
        ("weight", "pass one of 'topkd', 'linear', 'one'", "tanh"),
        ("resolution", PIXELS, (20, 0), (20, 20, 20), 5, (1.5, 2)),
    ],
    "fit_persistence_image": [("birth_margin", AT_LEAST_0, -1.0)],
    "wasserstein_distance|wasserstein_matching|wasserstein_distance_grad": [
        ("order", ORDER, 0.5),
        ("ground", "pass 2 or inf", 1.0),
    ],
    "wasserstein_distance_grad": [("matching", DIAGONAL, [0], [0, 0], [0, 2], [[0, 1]])],
    "sliced_wasserstein|sliced_wasserstein_grad": [
        ("order", ORDER, 0.5),
        ("num_directions", AT_LEAST_1, 0),
    ],
    "total_persistence|total_persistence_grad": [("order", ORDER, np.inf, np.nan)],
    "persistence_landscape|persistence_landscape_grad": [
        ("num_landscapes", AT_LEAST_1, 0),
        ("num_landscapes", INTEGER, 1.5),
    ],
    "betti_curve|betti_curve_grad": [("bandwidth", ABOVE_0, 0.0, -2.0)],
    "signature_loss|signature_loss_grad": [
        ("metric", "pass one of 'euclidean', 'precomputed'", "cosine"),
    ],
}


@pytest.mark.parametrize("functions", OUT_OF_RANGE)
def test_options_out_of_range_are_refused(functions):
    for function in functions.split("|"):
        for option, remedy, *values in OUT_OF_RANGE[functions]:
            for value in values:
                message = f"{function}: {option} is {value!r}; {remedy}"
                assert refusal(function, {option: value}) == message


TWO_NUMBERS = "pass 2 numbers, (2,)"
UP_TO_1 = "the cloud has 2 points, so pass indices from 0 to 1"
UP_TO_2 = "the cloud has 3 points, so pass indices from 0 to 2"
DIFFERENT_ROWS = "different entries; pass one or more different rows, (M,)"
CLASSES = "pass the same points and classes, at least one class"
TOO_MANY = (
    "distances of 3 points make more than 6 simplices of up to 3 vertices; "
    "lower threshold or max_dim, take fewer points, or raise max_simplices"
)
MORE_POINTS = "pass clouds of two or more different points (for dimension 1: clouds with loops)"
NO_SPREAD = "it has no spread"
EDGES_THAT_DO_NOT_FIT = [
    (
        {"student": LOOP},
        "student is a diagram of dimension 1; teacher is one of dimension 0, pass the same",
    ),
    ({"teacher_distances": APART}, "teacher_distances has the entry inf; pass finite distances"),
    ({"student_distances": APART}, "student_distances has the entry inf; pass finite distances"),
    (
        {"student_distances": np.zeros((2, 2))},
        "student_distances is of 2 points; teacher_distances of 3, pass the same points",
    ),
    (
        {"teacher": LOOP, "student": loop_with(birth_edges=np.array([[0, 3]]))},
        f"student.birth_edges has the index 3; {UP_TO_2}",
    ),
    (
        dict.fromkeys(("teacher_distances", "student_distances"), DISTANCES[:2, :2]),
        f"teacher.death_edges has the index 2; {UP_TO_1}",
    ),
]
SPACES_THAT_DO_NOT_FIT = [
    ({"student": CLOUD[:2]}, "student has 2 points; teacher has 3, pass the same points"),
    ({"dim_weights": (1.0, -1.0)}, f"dim_weights is -1.0; {AT_LEAST_0}"),
    ({"dim_weights": ()}, "dim_weights is empty; pass one per dimension, e.g. (1,)"),
]
NO_IMAGE = [
    (
        {"pairs": [[0.0, 1.0], [-0.01, 1.0]]},
        "pairs have the birth -0.01; the weight 'topkd' has ln(100 b + 1), pass births above "
        "-0.01 or another weight",
    ),
]

# Other input, by the function that refuses it: what is changed, and what is said of it.
REFUSED = {
    "enclosing_radius": [
        ({"distances": np.zeros((0, 0))}, "distances has shape (0, 0); pass at least one point"),
    ],
    "rips_persistence": [({"max_simplices": 6}, TOO_MANY)],
    "route_to_distances": [
        ({"grad_births": np.zeros(3)}, f"grad_births has shape (3,); {TWO_NUMBERS}"),
        ({"grad_deaths": np.zeros((2, 1))}, f"grad_deaths has shape (2, 1); {TWO_NUMBERS}"),
        ({"grad_births": np.array([0.0, np.nan])}, f"grad_births has the entry nan; {FINITE}"),
        ({"grad_deaths": np.array([-np.inf, 0.0])}, f"grad_deaths has the entry -inf; {FINITE}"),
        (
            {"distances": DISTANCES[:2, :2]},
            f"diagram.death_simplices has the index 2; {UP_TO_1}",
        ),
        (
            ONE_LOOP | {"diagram": loop_with(birth_edges=np.array([[-1, 1]]))},
            f"diagram.birth_edges has the index -1; {UP_TO_2}",
        ),
        (
            ONE_LOOP | {"diagram": loop_with(death_simplices=np.array([[0.0, 1.0, 2.0]]))},
            "diagram.death_simplices has dtype float64; pass integers",
        ),
    ],
    "route_to_points": [
        (
            {"grad_distances": np.zeros((2, 3))},
            "grad_distances has shape (2, 3); 3 points need (3, 3)",
        ),
        (
            {"points": CLOUD[:2], "grad_distances": ASYMMETRIC},
            "grad_distances is not symmetric: 1.0 at (0, 1), 2.0 at (1, 0); pass G + "
            "G.T of an upper triangle",
        ),
    ],
    "gradient_entropy": [
        ({"grad_births": np.zeros((2, 1))}, f"grad_births has shape (2, 1); {TWO_NUMBERS}"),
        ({"grad_deaths": np.ones(3)}, f"grad_deaths has shape (3,); {TWO_NUMBERS}"),
        (dict.fromkeys(GRADIENTS, np.zeros(2)), f"the gradient of 2 pairs is zero; {NO_SPREAD}"),
        (dict.fromkeys(GRADIENTS, np.zeros(0)), f"the gradient of 0 pairs is zero; {NO_SPREAD}"),
    ],
    "topology_preserving_sampling": [
        ({"points": np.zeros((0, 2))}, "num_samples is 1; the cloud has only 0 points"),
        ({"start": 3}, f"start has the index 3; {UP_TO_2}"),
    ],
    "covering_radius": [
        ({"indices": np.array([0, 3])}, f"indices has the index 3; {UP_TO_2}"),
        ({"indices": np.array([])}, "indices is empty; pass at least one"),
    ],
    "saliency_map": [
        (
            {"feature_gradients": CLOUD[:, :1]},
            "feature_gradients has shape (3, 1); features has (3, 2), pass the same",
        ),
    ],
    "saliency_loss": [
        (
            {"student_maps": [np.ones(2), np.ones(2)]},
            "student_maps has 2 layers; teacher_maps has 1, pass as many",
        ),
        (
            {"teacher_maps": [np.ones(2)] * 2, "student_maps": [np.ones(2), np.ones(3)]},
            f"student_maps[1] has shape (3,); {TWO_NUMBERS}",
        ),
        ({"teacher_maps": [np.ones((2, 2))]}, f"teacher_maps[0] has shape (2, 2); {TWO_NUMBERS}"),
        (
            {"teacher_maps": [np.ones(0)], "student_maps": [np.ones(0)]},
            "teacher_maps[0] is empty; pass a point or more",
        ),
    ],
    "normalise_grad": [
        (
            {"grad_normalised": CLOUD[:2]},
            "grad_normalised has shape (2, 2); features has (3, 2), pass the same",
        ),
    ],
    "kl_distillation": [
        (
            {"student_logits": CLOUD[:, :1]},
            f"student_logits has shape (3, 1); teacher_logits has (3, 2), {CLASSES}",
        ),
        (
            dict.fromkeys(("teacher_logits", "student_logits"), np.zeros((3, 0))),
            f"student_logits has shape (3, 0); teacher_logits has (3, 0), {CLASSES}",
        ),
    ],
    "topological_loss": [
        (
            {"student_features": CLOUD[:2]},
            "student_features has 2 points; teacher_features has 3, pass the same points",
        ),
        ({"max_dim": 2}, "dim_weights has shape (2,); pass 3 numbers, (3,)"),
        (
            {"loss": "wasserstein"},
            "dim_weights is (1.0, 1.0); loss 'wasserstein' is defined for dimension 0 "
            "alone, pass 0 for the others or max_dim=0",
        ),
        ({"indices": np.array([0, 3])}, f"indices has the index 3; {UP_TO_2}"),
        ({"indices": np.array([0, 2, 0])}, f"indices has shape (3,) and 2 {DIFFERENT_ROWS}"),
        ({"indices": np.arange(0)}, f"indices has shape (0,) and 0 {DIFFERENT_ROWS}"),
        ({"indices": np.array([[0, 1]])}, f"indices has shape (1, 2) and 2 {DIFFERENT_ROWS}"),
    ],
    "total_loss": [({"topology": np.nan}, f"parts has the entry nan; {FINITE}")],
    "Diagram": [
        ({name: value}, f"{name} has shape {value.shape}; 1 pairs of dimension 1 need {shape}")
        for name, value, shape in (
            ("births", np.ones((1, 1)), "(1,)"),
            ("deaths", np.ones(2), "(1,)"),
            ("birth_edges", np.ones((1, 3), dtype=int), "(1, 2)"),
            ("death_edges", np.ones((2, 2), dtype=int), "(1, 2)"),
        )
    ]
    + [({"dim": 2}, "death_simplices has shape (1, 3); 1 pairs of dimension 2 need (1, 4)")],
    "critical_edge_matching": EDGES_THAT_DO_NOT_FIT,
    "critical_edge_matching_grad": EDGES_THAT_DO_NOT_FIT,
    "persistence_image": NO_IMAGE,
    "persistence_image_grad": [
        *NO_IMAGE,
        (
            {
                "scale": reference.ImageScale(**SCALE, resolution=(3, 4)),
                "grad_image": np.ones((3, 4)),
            },
            "grad_image has shape (3, 4); the image has (4, 3), pass the same",
        ),
    ],
    "fit_persistence_image": [
        ({"diagrams": []}, f"diagrams have no finite pair in 0 cloud(s); {MORE_POINTS}"),
        (
            {"diagrams": [np.empty((0, 2))] * 2},
            f"diagrams have no finite pair in 2 cloud(s); {MORE_POINTS}",
        ),
        (
            {"diagrams": [PAIRS[:1], PAIRS[:1] + 1e-6]},
            "diagrams have no two pairs farther apart than 1e-05 among the first 200, hence no "
            "bandwidth; pass more diagrams, in another order, or an ImageScale of your own",
        ),
        ({"diagrams": [PAIRS, [[0.0, np.inf]]]}, f"diagrams[1] has the entry inf; {SMALL}"),
    ],
    "persistence_landscape_grad": [
        (
            {"grad_landscapes": np.ones((5, 3))},
            "grad_landscapes has shape (5, 3); the landscapes have (5, 2), pass the same",
        ),
    ],
    "betti_curve_grad": [
        ({"grad_curve": np.ones(3)}, f"grad_curve has shape (3,); {TWO_NUMBERS}"),
    ],
    "signature_loss": SPACES_THAT_DO_NOT_FIT,
    "signature_loss_grad": SPACES_THAT_DO_NOT_FIT,
}


@pytest.mark.parametrize("function", REFUSED)
def test_bad_input_is_refused(function):
    for changes, message in REFUSED[function]:
        assert refusal(function, changes) == f"{function}: {message}"


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        ("topological_loss", {"max_simplices": 6}, f"rips_persistence: {TOO_MANY}"),
        (
            "topological_loss",
            {"normalisation": "l1"},
            f"normalise: normalisation is 'l1'; {METHODS}",
        ),
        (
            "topological_loss",
            {"sampling": "mixed"},
            f"sample_points: generator is None; sampling 'mixed' {GENERATOR}",
        ),
        ("signature_loss", {"metric": "precomputed"}, "rips_persistence: distances has shape"),
        ("signature_loss_grad", {"metric": "precomputed"}, "rips_persistence: distances has shape"),
    ],
)
def test_bad_input_is_refused_by_the_function_it_is_handed_to(function, changes, message):
    assert refusal(function, changes).startswith(message)


def test_a_bandwidth_too_small_to_reach_any_pixel_is_refused():
    near = np.array([[5.0, 10.0], [5.0, 10.0001]])
    far = np.array([[0.0, 5.0], [10.0, 15.0], [3.3, 4.3], [3.3, 13.3]])
    copies = [near] * 4 + [far]
    with pytest.raises(ValueError, match=r"every image is 0 with the bandwidth .*\(now \(2, 2\)\)"):
        reference.fit_persistence_image(copies, resolution=(2, 2))


@pytest.mark.parametrize(
    ("function", "changes"), [*((function, {}) for function in GOOD), *GOOD_TOO]
)
def test_good_input_next_to_the_bad_is_accepted(function, changes):
    """The cases above are bad only in what they change."""
    call(function, changes)


def test_the_largest_coordinate_is_allowed():
    assert reference.pairwise_distances(np.array([[1e150], [-1e150]]))[0, 1] == 2e150


def test_a_scale_keeps_tuples_of_plain_numbers():
    scale = reference.ImageScale(
        bandwidth=np.float32(0.5), birth_range=[0, 1], persistence_range=[0, 2], resolution=[3, 4]
    )
    assert scale == reference.ImageScale(**SCALE, resolution=(3, 4))
    kept = (scale.bandwidth, *scale.birth_range, *scale.persistence_range, scale.maximum)
    assert [type(each) for each in kept] == [float] * 6
    assert [type(each) for each in scale.resolution] == [int, int]


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
