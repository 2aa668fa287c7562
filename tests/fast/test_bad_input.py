"""What no function of fast/ can compute with, refused in its own words with what to do instead."""

import math
import re

import numpy as np
import pytest
import torch

import fast

POINTS = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
TWO_CLOUDS = POINTS.expand(2, 6, 2)
DEATHS = POINTS[:, 0]
PAIRS = torch.tensor([[0.0, 1.0], [0.5, 2.0]])
GRID = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)
SCALE = fast.ImageScale(bandwidth=0.5, birth_range=(0.0, 1.0), persistence_range=(0.0, 2.0))
DISTANCES = fast.pairwise_distances(POINTS)[None]
COMPONENTS, LOOPS = fast.rips_persistence(DISTANCES)

TWO_DIAGRAMS = {"teacher": PAIRS, "student": PAIRS}
FIRST_AND_SECOND = {"first": PAIRS, "second": PAIRS}
EDGES = {
    "teacher": COMPONENTS,
    "student": COMPONENTS,
    "teacher_distances": DISTANCES,
    "student_distances": DISTANCES,
}

# Good input of each function; every case of this file changes arguments of it.
GOOD = {
    "pairwise_distances": {"points": POINTS},
    "rips_persistence": {"distances": DISTANCES},
    "rips_persistence_of_points": {"points": POINTS},
    "normalise": {"features": POINTS},
    "topology_preserving_sampling": {"points": POINTS, "num_samples": 3},
    "sample_points": {
        "points": POINTS,
        "num_samples": 3,
        "sampling": "mixed",
        "generator": torch.Generator(),
    },
    "covering_radius": {"points": POINTS, "indices": torch.tensor([0])},
    "persistence_weighted_chamfer": TWO_DIAGRAMS,
    "entropic_transport": TWO_DIAGRAMS,
    "sorted_wasserstein": {"teacher": DEATHS, "student": DEATHS},
    "gradient_entropy": {"grad_births": DEATHS, "grad_deaths": DEATHS},
    "kl_distillation": {"teacher_logits": POINTS, "student_logits": POINTS},
    "saliency_map": {"features": POINTS, "feature_gradients": POINTS},
    "saliency_loss": {"teacher_maps": [DEATHS], "student_maps": [DEATHS]},
    "topological_loss": {"teacher_features": POINTS, "student_features": POINTS},
    "TopologicalLoss": {},
    "SaliencyLoss": {},
    "DistillationLoss": {},
    "critical_edge_matching": EDGES,
    "signature_loss": {"teacher": POINTS, "student": POINTS},
    "persistence_image": {"pairs": PAIRS, "scale": SCALE},
    "fit_persistence_image": {"diagrams": PAIRS},
    "wasserstein_distance": FIRST_AND_SECOND,
    "wasserstein_matching": FIRST_AND_SECOND,
    "bottleneck_distance": FIRST_AND_SECOND,
    "sliced_wasserstein": FIRST_AND_SECOND,
    "total_persistence": {"pairs": PAIRS},
    "persistent_entropy": {"pairs": PAIRS},
    "persistence_landscape": {"pairs": PAIRS, "grid": GRID},
    "betti_curve": {"pairs": PAIRS, "grid": GRID},
}


def call(function, changes):
    return getattr(fast, function)(**(GOOD[function] | changes))


def refusal(function, changes, kind=ValueError) -> str:
    """Return what is said after the function's name."""
    with pytest.raises(kind) as error:
        call(function, changes)
    name, _, said = str(error.value).partition(": ")
    assert name == function
    return said


@pytest.mark.parametrize("function", GOOD)
def test_good_input_next_to_the_bad_is_accepted(function):
    call(function, {})
    if function == "TopologicalLoss":
        call(function, {"sampling": "random", "sampling_seed": 2**63 - 1})


# ---- what is asked of every tensor --------------------------------------------------------------

TENSORS = [
    (function, argument)
    for function, good in GOOD.items()
    for argument, value in good.items()
    if isinstance(value, torch.Tensor) and value.is_floating_point()
]
ROWS = [each for each in TENSORS if GOOD[each[0]][each[1]].shape in ((6, 2), (2, 2))]
DIAGRAMS = [each for each in ROWS if GOOD[each[0]][each[1]] is PAIRS]
TWO = ("teacher", "student"), ("first", "second")


def one_mask(argument, mask):
    """Return the keyword that masks an argument's rows, and how a refusal calls it."""
    place = next((each.index(argument) for each in TWO if argument in each), None)
    if place is None:
        return {"mask": mask}, "mask"
    return {"mask": (mask, None) if place == 0 else (None, mask)}, f"mask[{place}]"


# What calls no kernel takes the transforms of torch, and a grid has no gradient.
TRANSFORMED = [
    each
    for each in TENSORS
    if each[0] not in ("kl_distillation", "saliency_map")
    if each[1] != "grid"
]
# Distances may be infinite; test_rips.py has what they may not be.
FINITE = [each for each in TENSORS if each[0] != "rips_persistence"]
every_tensor = pytest.mark.parametrize(("function", "argument"), TENSORS)
every_diagram = pytest.mark.parametrize(("function", "argument"), DIAGRAMS)


@every_tensor
def test_another_kind_of_tensor_is_refused(function, argument):
    good = GOOD[function][argument]
    for bad, said in (
        (good.to_sparse(), f"has layout torch.sparse_coo; pass {argument}.to_dense()"),
        (good.long(), f"has dtype torch.int64; pass a floating point tensor, e.g. {argument}.flo"),
        (good.to(torch.complex64), "has dtype torch.complex64; pass a floating"),
    ):
        assert refusal(function, {argument: bad}).startswith(f"{argument} {said}")


@every_tensor
def test_what_is_no_tensor_is_a_type_error(function, argument):
    batched = fast.BatchedDiagram.from_list([[(0.0, 1.0)]], 1)
    if (function, argument) in DIAGRAMS or function == "sorted_wasserstein":
        of_lists = "pass BatchedDiagram.from_list(rows, dim)"
        cases = [([[0.0, 1.0]], of_lists), ([batched], f"pass one dimension, e.g. {argument}[0]")]
        cases.append((None, "pass a BatchedDiagram, or a tensor of (birth, death) rows, (..., K"))
    else:
        none = [] if argument == "grid" else [None]  # without a grid, the default one
        cases = [(bad, "pass a torch.Tensor or a numpy array") for bad in (*none, batched)]
    for bad, said in cases:
        told = refusal(function, {argument: bad}, TypeError)
        assert told.startswith(f"{argument} is a {type(bad).__name__}; {said}")
    said = f"{argument} is a ndarray of object; pass a torch.Tensor or a numpy array of floats"
    assert refusal(function, {argument: np.array([None])}, TypeError) == said
    said = f"{argument} has dtype torch.int64; pass a floating point tensor, e.g. {argument}.astype"
    whole = GOOD[function][argument].numpy().astype(np.int64)
    assert refusal(function, {argument: whole}).startswith(said)


def values(found):
    """Return every tensor and number of a result, in order."""
    if isinstance(found, fast.BatchedDiagram):
        return [found.pairs, found.birth_edges, found.death_edges]
    if isinstance(found, (list, tuple)):
        return [value for each in found for value in values(each)]
    return [found]


@every_tensor
def test_arrays_are_taken_as_tensors_are(function, argument):
    array = GOOD[function][argument].numpy()
    frozen = array.copy()
    frozen.flags.writeable = False
    want = values(call(function, {}))
    for given in (frozen, array[::-1].copy()[::-1], array.astype(array.dtype.newbyteorder())):
        if function == "sample_points":
            call(function, {argument: given})  # draws other points on every call
            continue
        for got, wanted in zip(values(call(function, {argument: given})), want, strict=True):
            assert (
                torch.equal(torch.as_tensor(got), torch.as_tensor(wanted))
                if isinstance(got, torch.Tensor)
                else got == wanted
            )


@pytest.mark.parametrize(("function", "argument"), TRANSFORMED)
@pytest.mark.parametrize("transform", [torch.func.grad, torch.vmap])
def test_a_transform_of_torch_is_refused_with_what_to_do_instead(function, argument, transform):
    good = GOOD[function][argument]
    transformed = transform(lambda tensor: call(function, {argument: tensor}))
    with pytest.raises(RuntimeError, match=rf"{function}: \w+ is inside torch.vmap .*autogr"):
        transformed(good[None] if transform is torch.vmap else good)


def test_what_calls_no_kernel_takes_the_transforms():
    teacher, student = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))

    def total(logits):
        return fast.kl_distillation(teacher, logits)

    leaf = student.clone().requires_grad_()
    (want,) = torch.autograd.grad(total(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(total)(student), want)
    each = torch.vmap(fast.kl_distillation)(teacher, student)
    torch.testing.assert_close(each.mean(), total(student))
    maps = torch.vmap(fast.saliency_map)(teacher, student)
    torch.testing.assert_close(maps[1], fast.saliency_map(teacher[1], student[1]))


@pytest.mark.parametrize(("function", "argument"), FINITE)
def test_entries_that_are_not_finite_are_refused(function, argument):
    entries = [math.nan, -math.inf] + [math.inf] * ((function, argument) not in DIAGRAMS)
    for entry in entries:
        bad = GOOD[function][argument].clone()
        bad[..., 0] = entry
        assert refusal(function, {argument: bad}).startswith(f"{argument} has the entry {entry}; ")


@pytest.mark.parametrize(
    ("function", "first", "argument"),
    [
        ("covering_radius", "points", "indices"),
        ("persistence_landscape", "pairs", "grid"),
        ("betti_curve", "pairs", "grid"),
        ("critical_edge_matching", "teacher_distances", "student_distances"),
        *((name, *good) for name, good in GOOD.items() if tuple(good) == ("teacher", "student")),
        *((name, *good) for name, good in GOOD.items() if good is FIRST_AND_SECOND),
        *(
            (name, *GOOD[name])
            for name in ("gradient_entropy", "kl_distillation", "saliency_map", "topological_loss")
        ),
    ],
)
def test_two_devices_are_refused(function, first, argument):
    said = refusal(function, {argument: GOOD[function][argument].to("meta")})
    assert said == (
        f"{argument} is on meta but {first} on cpu; move one, e.g. {argument}.to({first}.device)"
    )


@pytest.mark.parametrize(("function", "argument"), ROWS)
def test_what_are_no_rows_is_refused(function, argument):
    said = refusal(function, {argument: torch.zeros(3)})
    assert said.startswith(f"{argument} has shape (3,); pass ")
    assert "row" in said


@every_diagram
def test_what_are_no_pairs_is_refused(function, argument):
    said = f"{argument} has shape (1, 3); pass (birth, death) rows, (..., K, 2)"
    assert refusal(function, {argument: torch.zeros(1, 3)}) == said
    double = {name: PAIRS.double() for name in GOOD[function] if (function, name) in DIAGRAMS}
    said = refusal(function, double | {argument: 1e200 * PAIRS.double()})
    assert said.startswith(
        f"{argument} has an entry of size 2.0e+200, whose square is out of range"
    )


@every_diagram
def test_masks_that_do_not_fit_are_refused(function, argument):
    for bad, said in (
        (torch.ones(2), "torch.float32 of shape (2,)"),
        (torch.ones(3, dtype=torch.bool), "torch.bool of shape (3,)"),
    ):
        changes, name = one_mask(argument, bad)
        assert refusal(function, changes) == f"{name} is {said}; pass bool of shape (2,)"
    changes, name = one_mask(argument, torch.ones(2, dtype=torch.bool, device="meta"))
    assert refusal(function, changes).startswith(f"{name} is on meta but ")
    changes, name = one_mask(argument, 3)
    assert refusal(function, changes, TypeError).startswith(f"{name} is a int; pass a torch.Tensor")
    beside = {argument: fast.BatchedDiagram.from_list([PAIRS], 1)}
    changes, name = one_mask(argument, torch.ones(2) > 0)
    told = refusal(function, beside | changes)
    assert told == f"{name} is given beside a BatchedDiagram, which has its own; leave it out"


@pytest.mark.parametrize("function", [name for name, *_ in DIAGRAMS if len(GOOD[name]) == 2])
def test_two_masks_that_are_no_pair_are_refused(function):
    names = tuple(GOOD[function])
    if names not in TWO:
        return
    mask = torch.ones(2) > 0
    said = f"pass the mask of {names[0]} and of {names[1]}, (one, other), None for all rows"
    assert refusal(function, {"mask": mask}) == f"mask is a Tensor; {said}"
    both = {"mask": (mask, mask), f"{names[1]}_mask": mask}
    assert refusal(function, both) == f"mask is given beside {names[1]}_mask; {said}"
    told = refusal(function, {"masks": (mask, mask)}, TypeError)
    assert told == "there is no argument masks; masks are mask=(one, other)"


@every_diagram
def test_a_class_that_never_dies_is_refused(function, argument):
    said = refusal(function, {argument: torch.tensor([[0.0, math.inf]])})
    assert said == (
        f"{argument} has the death inf; leave out classes that never die, "
        f"e.g. {one_mask(argument, None)[1]}={argument}.isfinite().all(dim=-1)"
    )


# What every loss and summary of diagrams takes: rows with a mask, or the diagram.
OF_DIAGRAMS = sorted({name for name, _ in DIAGRAMS} | {"sorted_wasserstein"})


def diagram_arguments(function, diagram):
    """Return a function's arguments with this one for each of its diagrams."""
    of_deaths = function == "sorted_wasserstein" and not isinstance(diagram, fast.BatchedDiagram)
    value = diagram[..., 1] if of_deaths else diagram
    names = ("teacher", "student", "first", "second", "pairs", "diagrams")
    return {name: value for name in GOOD[function] if name in names}


@pytest.mark.parametrize("function", OF_DIAGRAMS)
def test_a_batched_diagram_is_its_pairs_under_its_mask(function):
    batch = fast.BatchedDiagram.from_list([PAIRS, PAIRS[:1] + 0.25, PAIRS[:0]], 0)
    want = values(call(function, diagram_arguments(function, batch)))
    rows = batch.pairs.clone()
    rows[~batch.mask] = math.nan  # what is outside a mask is never read
    rows.requires_grad_()
    given = diagram_arguments(function, rows)
    masks = [{"mask": (batch.mask, batch.mask) if len(given) == 2 else batch.mask}]
    if len(given) == 2:  # the names of earlier code
        masks.append({f"{name}_mask": batch.mask for name in given})
    for mask in masks:
        found = call(function, given | mask)
        for got, wanted in zip(values(found), want, strict=True):
            same = torch.equal(got, wanted) if isinstance(got, torch.Tensor) else got == wanted
            assert same
        for got in values(found):
            if isinstance(got, torch.Tensor) and got.requires_grad:
                (grad,) = torch.autograd.grad(got.sum(), rows, retain_graph=True)
                assert grad.isfinite().all()
                assert (grad[~batch.mask] == 0).all()


def test_an_entropy_reads_no_gradient_outside_its_mask():
    mask = torch.tensor([True, True, False])
    gradients = torch.tensor([1.0, 2.0, math.nan])
    got = fast.gradient_entropy(gradients, gradients, mask)
    assert torch.equal(got, fast.gradient_entropy(gradients[:2], gradients[:2]))


@pytest.mark.parametrize("function", [name for name in OF_DIAGRAMS if len(GOOD[name]) == 2])
def test_diagrams_of_two_dimensions_are_refused(function):
    names = tuple(GOOD[function])
    if names not in TWO:
        return
    said = refusal(function, dict(zip(names, (COMPONENTS, LOOPS), strict=True)))
    assert said == (
        f"{names[1]} is of dimension 1"
        + (
            "; pass dimension 0, whose classes are all born at 0, or take wasserstein_distance"
            if function == "sorted_wasserstein"
            else f" and {names[0]} of dimension 0; pass diagrams of one"
        )
    )


BIRTHS_FIRST = ("total", "persistent", "persistence_landscape", "betti")


@pytest.mark.parametrize("function", [n for n, _ in DIAGRAMS if n.startswith(BIRTHS_FIRST)])
def test_a_death_before_its_birth_is_refused_where_it_counts(function):
    pairs = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    assert refusal(function, {"pairs": pairs}).startswith("pairs has the pair (2.0, 1.0); pass")
    call(function, {"pairs": pairs, "mask": torch.tensor([True, False])})


@pytest.mark.parametrize("function", [name for name, argument in DIAGRAMS if argument == "first"])
@pytest.mark.parametrize(
    "second", [PAIRS[None], PAIRS.expand(3, 2, 2), PAIRS.double().expand(2, 2, 2)]
)
def test_diagrams_of_another_batch_are_refused(function, second):
    said = refusal(function, {"first": PAIRS.expand(2, 2, 2), "second": second})
    assert said.startswith(f"second is {second.dtype} of shape {tuple(second.shape)}; first is ")
    assert said.endswith("pass one dtype and one batch shape")


@pytest.mark.parametrize("function", ["persistence_weighted_chamfer", "entropic_transport"])
@pytest.mark.parametrize(
    ("dtype", "size", "limit"), [(torch.float32, 1e19, "1e+18"), (torch.float64, 1e151, "1e+150")]
)
def test_diagrams_whose_squares_overflow_are_refused(function, dtype, size, limit):
    pairs = torch.tensor([[0.0, size], [0.0, 1.0]], dtype=dtype)
    both = {"teacher": torch.zeros(1, 2, dtype=dtype), "student": pairs}
    said = f"student has an entry of size {size:.1e}, whose square is out of range; pass at most "
    assert refusal(function, both).startswith(said + limit)
    options = {"relative": True} if function == "entropic_transport" else {}
    call(function, both | {"student": pairs / 10} | options)


def test_a_loss_of_huge_points_without_normalization_is_no_longer_0():
    points = 1e30 * POINTS
    with pytest.raises(ValueError, match=r"has an entry of size .*e\+29, whose square"):
        fast.topological_loss(points, 2 * points, normalisation="none")
    assert fast.topological_loss(points, 2 * points, normalisation="diameter") < 1e-10


def test_distances_of_cdist_are_refused_with_the_function_to_use():
    points = 100 + torch.rand(60, 9, generator=torch.Generator().manual_seed(0))
    distances = torch.cdist(points, points)
    assert distances.diagonal().max() > 0
    with pytest.raises(ValueError, match=r"itself must be 0, .*pairwise_distances\(points\)"):
        fast.rips_persistence(distances)


# ---- options ------------------------------------------------------------------------------------

ABOVE_0 = "pass a finite number above 0"
AT_LEAST_0 = "pass a finite number of at least 0"
AT_LEAST_1 = "pass at least 1"
INTEGER = "pass an integer"
ORDER = "pass a finite number of at least 1"
ONE = "pass at least 1 point(s)"
ONLY_6 = "a cloud has only 6 points"
PRECISION = "pass one of 'uniform', 'persistence'"
INDEX = "pass an index from 0 to 5"
EITHER_NORM = "pass 2 or inf"

# By function (or several with | between them): an option, the remedy, bad values.
OUT_OF_RANGE = {
    "rips_persistence": [
        ("max_dim", "pass 0, 1 or 2", 3),
        ("max_dim", "pass at least 0", -1),
        ("max_dim", INTEGER, 1.5),
        ("threshold", "", -1.0, math.nan, None, "1.0"),
    ],
    "topology_preserving_sampling|sample_points": [
        ("num_samples", ONLY_6, 7),
        ("num_samples", AT_LEAST_1, 0),
        ("num_samples", INTEGER, 2.0),
        ("start", INDEX, 6),
        ("start", "pass at least 0", -1),
    ],
    "sample_points": [
        ("sampling", "pass one of 'farthest'", "uniform"),
        ("generator", "sampling 'mixed' draws points", None),
    ],
    "persistence_weighted_chamfer": [
        ("eps", ABOVE_0, 0.0),
        ("cost_scale", ABOVE_0, -1.0),
        ("min_persistence", AT_LEAST_0, -1.0),
        ("precision_weight", PRECISION, "none"),
    ],
    "entropic_transport": [
        ("eps", ABOVE_0, 0.0),
        ("tolerance", ABOVE_0, 0.0),
        ("max_iterations", AT_LEAST_1, 0),
    ],
    "kl_distillation|DistillationLoss": [("temperature", ABOVE_0, 0.0)],
    "saliency_map": [("eps", AT_LEAST_0, -1.0)],
    "saliency_loss": [("layers", "pass one of 'sum', 'mean', 'none'", "max")],
    "SaliencyLoss": [("reduction", "pass one of 'sum'", "mean")],
    "topological_loss": [("max_dim", "", 2), ("start", "", 9)],
    "TopologicalLoss|topological_loss": [
        ("num_samples", AT_LEAST_1, 0),
        ("normalisation", "pass one of 'l2'", "l1"),
        ("eps", ABOVE_0, 0.0),
        ("cost_scale", ABOVE_0, -1.0),
        ("precision_weight", PRECISION, "none"),
        ("min_persistence", AT_LEAST_0, -0.1),
        ("start", "", -1),
        ("sample_on", "pass one of", "both"),
        ("loss", "pass one of", "chamfer"),
        ("sinkhorn_eps", ABOVE_0, 0.0),
        ("sampling", "pass one of 'farthest'", "uniform"),
    ],
    "TopologicalLoss": [("sampling_seed", "", -1, 2**63, 0.5)],
    "signature_loss": [("metric", "pass one of", "cosine")],
    "fit_persistence_image": [("birth_margin", AT_LEAST_0, -1.0)],
    "wasserstein_distance|wasserstein_matching": [
        ("order", ORDER, 0.5, math.inf, math.nan),
        ("ground", EITHER_NORM, 1.0, 3),
    ],
    "sliced_wasserstein": [("order", ORDER, 0.0), ("num_directions", AT_LEAST_1, 0)],
    "total_persistence": [("order", ORDER, -1.0)],
    "persistence_landscape": [("num_landscapes", AT_LEAST_1, 0)],
    "betti_curve": [("bandwidth", ABOVE_0, 0.0, -1.0)],
}


@pytest.mark.parametrize("functions", OUT_OF_RANGE)
def test_options_out_of_range_are_refused(functions):
    for function in functions.split("|"):
        for option, remedy, *values in OUT_OF_RANGE[functions]:
            for value in values:
                said = refusal(function, {option: value})
                assert said.startswith(f"{option} is {value!r}; {remedy}")


# ---- what does not fit together, and the rest ---------------------------------------------------

MATRICES = "pass the matrices of the diagrams' 1 cloud(s)"
BIRTH_BELOW_0 = "pairs have the birth -0.5; the weight 'topkd'"
NINE = torch.rand(9, 2, generator=torch.Generator().manual_seed(1))
MATRIX_OF = fast.pairwise_distances(NINE)
OTHERS = fast.rips_persistence(MATRIX_OF)[0]
SMALL = fast.rips_persistence(MATRIX_OF[:6, :6])[0]
PAIRS_ONLY = fast.BatchedDiagram.from_list(COMPONENTS.to_list(), dim=0)
TWO_MATRICES = DISTANCES.expand(2, 6, 6)
ONE_DIMENSION = "'wasserstein' is defined for dimension 0"
BELOW_0 = PAIRS - 0.5
OF_ANOTHER_BATCH = [
    ({"student": PAIRS[None]}, "student is torch.float32 of shape (1, 2, 2)"),
    ({"student": PAIRS.double()}, "student is torch.float64 of shape (2, 2)"),
]
BAD_GRIDS = [
    ({"grid": GRID[:0]}, "grid has shape (0,); pass increasing"),
    ({"grid": GRID[None]}, "grid has shape (1, 7)"),
    ({"grid": GRID.flip(0)}, "grid has 2.5 after 3.0; pass increasing"),
    ({"grid": torch.tensor([0.0, 1.0, 1.0])}, "grid has 1.0 after 1.0"),
]


def both(function, value):
    """Return the same value for the first two arguments of a function."""
    return dict.fromkeys(list(GOOD[function])[:2], value)


# By function: what is changed, and how the refusal begins.
REFUSED = {
    "rips_persistence": [
        ({"distances": torch.zeros(2, 3)}, "distances has shape (2, 3); pass square matrices"),
        ({"distances": torch.zeros(4)}, "distances has shape (4,); pass square matrices"),
        ({"distances": torch.zeros(0, 3, 3)}, "distances is an empty batch"),
        ({"distances": torch.zeros(3, 3).half()}, "distances has dtype torch.float16"),
        ({"distances": [torch.zeros(3, 3).half()]}, "distances has dtype torch.float16"),
        ({"distances": []}, "distances is an empty batch; pass at least one cloud"),
        ({"distances": [DISTANCES]}, "distances[0] is torch.float32 of shape (1, 6, 6); "),
        (
            {"distances": [DISTANCES[0], DISTANCES[0, :3]]},
            "distances[1] is torch.float32 of shape (3, 6); distances[0] is torch.float32 of shape "
            "(6, 6), pass square matrices and of one dtype",
        ),
        ({"distances": [DISTANCES[0]], "sizes": [6]}, "sizes is given beside a list of distances"),
        ({"sizes": 6}, "sizes is 6; pass 1 numbers, at most 6"),
        *(
            ({"distances": torch.zeros(2, 4, 4), "sizes": sizes}, "sizes is")
            for sizes in ([3], [3, 4, 4], [3, 5], [3, -1], [3, 2.5])
        ),
    ],
    "rips_persistence_of_points": [
        ({"points": POINTS[None][:0]}, "points is an empty batch; pass at least one cloud"),
        ({"max_dim": 3}, "max_dim is 3; pass 0, 1 or 2"),
        ({"threshold": None}, "threshold is None; pass a number"),
        (
            {"points": [POINTS, POINTS[:, :1]]},
            "points[1] is torch.float32 of shape (6, 1); points[0] is torch.float32 of shape "
            "(6, 2), pass clouds (N, C) of as many coordinates and of one dtype",
        ),
        ({"points": [POINTS, POINTS.double()]}, "points[1] is torch.float64 of shape (6, 2)"),
    ],
    "topology_preserving_sampling": [({"points": POINTS[:0]}, f"points has shape (0, 2); {ONE}")],
    "sample_points": [({"points": POINTS[None]}, "points has shape (1, 6, 2); pass one cloud")],
    "covering_radius": [
        ({"indices": torch.arange(0)}, "indices has shape (0,); pass at least one, (M,)"),
        ({"indices": torch.tensor([[0]])}, "indices has shape (1, 1); pass at least one, (M,)"),
        ({"indices": torch.tensor([0, 6])}, "indices go from 0 to 6; the cloud has 6 points"),
        ({"indices": torch.tensor([-1, 2])}, "indices go from -1 to 2; the cloud has 6 points"),
    ],
    "persistence_weighted_chamfer": OF_ANOTHER_BATCH,
    "entropic_transport": OF_ANOTHER_BATCH,
    "sorted_wasserstein": [
        ({"teacher": DEATHS[0]}, "teacher has shape (); pass deaths"),
        ({"student": -DEATHS}, f"student has the entry {float(-DEATHS.max())}; classes born at 0"),
        ({"student": DEATHS.double()}, "student is torch.float64 of shape (6,); teacher is"),
        ({"student": DEATHS[None]}, "student is torch.float32 of shape (1, 6); teacher is"),
        ({"mask": (None, torch.ones(3) > 0)}, "mask[1] is torch.bool of shape (3,)"),
        ({"teacher_mask": DEATHS}, "teacher_mask is torch.float32"),
    ],
    "gradient_entropy": [
        ({"grad_deaths": torch.ones(3)}, "grad_deaths is torch.float32 of shape (3,)"),
        ({"grad_deaths": DEATHS.double()}, "grad_deaths is torch.float64"),
        (both("gradient_entropy", torch.ones(())), "grad_births has shape ()"),
        ({"mask": torch.ones(6)}, "mask is torch.float32"),
    ],
    "kl_distillation": [
        ({"student_logits": POINTS[:, :1]}, "student_logits has shape (6, 1); teacher_logits has"),
        (both("kl_distillation", POINTS[:, :0]), "student_logits has shape (6, 0)"),
    ],
    "saliency_map": [
        ({"feature_gradients": POINTS[:, :1]}, "feature_gradients has shape (6, 1); features has"),
        (both("saliency_map", POINTS[:0]), f"features has shape (0, 2); {ONE}"),
    ],
    "saliency_loss": [
        ({"student_maps": []}, "student_maps has 0 layers; teacher_maps has 1"),
        ({"student_maps": [DEATHS[:4]]}, "student_maps[0] has shape (4,)"),
        (
            both("saliency_loss", [DEATHS[:0]]),
            "student_maps[0] has shape (0,); teacher_maps[0] has (0,), pass the same points, at le",
        ),
        ({"student_maps": [DEATHS.to("meta")]}, "student_maps[0] is on meta"),
    ],
    "topological_loss": [
        ({"student_features": POINTS[:3]}, "student_features has shape (3, 2)"),
        (both("topological_loss", POINTS[:0]), f"teacher_features has shape (0, 2); {ONE}"),
        (both("topological_loss", POINTS[None][:0]), "the batch is empty"),
        ({"dim_weights": (1.0,)}, "dim_weights has 1 entries; pass 2"),
        ({"dim_weights": (1.0, -1.0)}, "dim_weights is -1.0"),
        ({"dim_weights": (-1.0, 1.0)}, "dim_weights is -1.0"),
        ({"dim_weights": ()}, "dim_weights has 0 entries"),
        ({"dim_weights": (1.0,) * 3}, "dim_weights has 3 entries"),
        ({"sampling": "mixed"}, "generator is None; sampling 'mixed'"),
        ({"loss": "wasserstein"}, f"dim_weights is (1.0, 1.0); {ONE_DIMENSION}"),
    ],
    "TopologicalLoss": [
        ({"dim_weights": (-1.0, 1.0)}, "dim_weights is -1.0"),
        ({"dim_weights": ()}, "dim_weights"),
        ({"dim_weights": (1.0,) * 3}, "dim_weights"),
        ({"dim_weights": None}, "dim_weights is None; pass one number per dimension"),
        ({"loss": "wasserstein"}, f"dim_weights is (1.0, 1.0); {ONE_DIMENSION}"),
    ],
    "critical_edge_matching": [
        (
            {"student": LOOPS},
            "student has 1 diagram(s) of dimension 1; teacher has 1 of dimension 0",
        ),
        (
            {"student": fast.rips_persistence(TWO_MATRICES)[0]},
            "student has 2 diagram(s) of dimension 0; teacher has 1",
        ),
        ({"student": PAIRS_ONLY}, "student has pairs without edges, as BatchedDiagram"),
        (
            {"teacher_distances": DISTANCES[0, 0]},
            f"teacher_distances has shape (6,); {MATRICES}",
        ),
        (
            {"student_distances": TWO_MATRICES},
            f"student_distances has shape (2, 6, 6); {MATRICES}",
        ),
        (
            {"student_distances": MATRIX_OF[None]},
            "student_distances has shape (1, 9, 9); teacher_distances has (1, 6, 6)",
        ),
        ({"teacher": OTHERS}, "teacher has the vertex 8; the distances are of 6 points"),
        ({"student": SMALL}, "student has the death "),
        ({"teacher_distances": DISTANCES + 1}, "teacher has the death "),
    ],
    "signature_loss": [
        ({"student": NINE}, "student has shape (1, 9, 2); teacher has (1, 6, 2)"),
        (
            {"teacher": TWO_CLOUDS, "student": POINTS.expand(3, 6, 2)},
            "student has shape (3, 6, 2); teacher has (2, 6, 2)",
        ),
        ({"dim_weights": (-1.0,)}, "dim_weights is -1.0"),
        ({"dim_weights": ()}, "dim_weights has 0 entries"),
        ({"dim_weights": [1] * 3}, "dim_weights has 3 entries"),
        ({"dim_weights": 1.0}, "dim_weights is 1.0; pass one number per dimension"),
        (both("signature_loss", TWO_CLOUDS[:0]), "teacher is an empty batch; pass at least one"),
        (
            {"teacher": [POINTS, POINTS], "student": [POINTS, POINTS[:3]]},
            "student has shape (2, 6, 2); teacher has (2, 6, 2), pass the same clouds and points",
        ),
        (both("signature_loss", TWO_CLOUDS[None]), "teacher has shape (1, 2, 6, 2); pass (N, C)"),
    ],
    "persistence_image": [({"pairs": BELOW_0}, BIRTH_BELOW_0)],
    "fit_persistence_image": [
        ({"diagrams": torch.zeros(3, 0, 2)}, "diagrams have no finite pair in 3 cloud(s)"),
        ({"mask": torch.zeros(2) > 0}, "diagrams have no finite pair in 1 cloud(s)"),
        (
            {"diagrams": PAIRS[:1]},
            "diagrams have no two pairs farther apart than 1e-05 among the first 200",
        ),
    ],
    "persistence_landscape": BAD_GRIDS,
    "betti_curve": BAD_GRIDS,
}


@pytest.mark.parametrize("function", REFUSED)
def test_bad_input_is_refused(function):
    for changes, said in REFUSED[function]:
        assert refusal(function, changes).startswith(said)


def test_what_is_no_diagram_and_no_scale_is_a_type_error():
    for function, changes, said in (
        ("critical_edge_matching", {"teacher": PAIRS}, "teacher is a Tensor; pass a BatchedDiagra"),
        ("critical_edge_matching", {"student": [LOOPS]}, "student is a list; pass a BatchedDiagra"),
        ("covering_radius", {"indices": None}, "indices is a NoneType; pass a torch.Tensor"),
        ("persistence_image", {"scale": (20, 20)}, "scale is (20, 20); pass an ImageScale, e.g. "),
    ):
        assert refusal(function, changes, TypeError).startswith(said)


def test_bad_input_is_refused_by_the_function_it_is_handed_to():
    for changes, said in (
        ({"weight": "tanh"}, "ImageScale: weight is 'tanh'"),
        ({"resolution": (0, 20)}, "ImageScale: resolution is (0, 20)"),
        ({"diagrams": BELOW_0}, f"persistence_image: {BIRTH_BELOW_0}"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            call("fit_persistence_image", changes)


def test_critical_edges_of_other_matrices_are_refused_with_what_to_pass():
    said = refusal("critical_edge_matching", {"student": SMALL})
    assert "of cloud 0, whose length in student_distances is" in said
    said = refusal("critical_edge_matching", {"teacher_distances": DISTANCES + 1})
    assert "pass the matrices that the diagrams were computed from" in said


def test_a_bandwidth_too_small_to_reach_any_pixel_is_refused():
    near = np.tile([[5.0, 10.0], [5.0, 10.0001]], (4, 1))
    far = [[0.0, 5.0], [10.0, 15.0], [3.3, 4.3], [3.3, 13.3]]
    with pytest.raises(ValueError, match=r"every image is 0 with the bandwidth .*\(now \(2, 2\)\)"):
        fast.fit_persistence_image(torch.tensor(np.concatenate([near, far])), resolution=(2, 2))


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        ("rips_persistence", {"backend": "triton"}, r"no backend 'triton' .*; pass .*'numba'"),
        ("topology_preserving_sampling", {"backend": "cuda"}, "no backend 'cuda' for cpu tensors"),
        ("topological_loss", {"backend": "fastest"}, "no backend 'fastest'"),
        (
            "rips_persistence",
            {"distances": DISTANCES.to("meta")},
            r"no kernel for meta tensors; .*tensor.to\('cpu'\)",
        ),
        ("topology_preserving_sampling", {"points": POINTS.to("meta")}, "no kernel for meta"),
    ],
)
def test_a_missing_kernel_is_an_error_that_names_the_cure(function, changes, message):
    with pytest.raises(RuntimeError, match=message):
        call(function, changes)


def test_a_module_refuses_an_unknown_backend_when_it_is_called():
    with pytest.raises(RuntimeError, match="no backend 'fastest'"):
        fast.TopologicalLoss(backend="fastest")(POINTS, POINTS, torch.tensor([6]))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fast.BatchedDiagram.from_list(None, 1), "BatchedDiagram: diagrams is a NoneType"),
        (lambda: fast.diagrams_from_gudhi(None), "diagrams_from_gudhi: diagrams is a NoneType"),
        (lambda: fast.diagrams_from_gudhi([3]), "diagrams_from_gudhi: diagrams[0] is a int"),
        (lambda: fast.diagrams_from_giotto(7.5), "diagrams_from_giotto: diagrams is a float"),
        (
            lambda: fast.diagrams_from_torch_topological("no"),
            "diagrams_from_torch_topological: informations is a str; pass a list",
        ),
        (lambda: fast.saliency_loss(None, []), "saliency_loss: teacher_maps is a NoneType"),
        (lambda: fast.saliency_loss([], 1), "saliency_loss: student_maps is a int; pass a list"),
    ],
)
def test_what_is_no_list_is_named(call, said):
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value).startswith(said)
