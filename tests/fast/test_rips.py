"""fast.rips_persistence against the definition: every field equal, ties included."""

import multiprocessing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import threads
from fast.kernels.edges import edges_cpu
from fast.kernels.lunes import lunes_cpu
from fast.kernels.pairing import pairing_cpu
from fast.kernels.rips import cloud_cpu, rips_cpu
from tests.reference.checks import assert_same_diagram


@st.composite
def tied_matrices(draw, max_points=9):
    """Small integers, exact in float32 and full of ties; not even a metric; some never joined."""
    n = draw(st.integers(0, max_points))
    lengths = st.integers(0, draw(st.integers(1, 8))).map(float)
    if draw(st.booleans()):
        lengths |= st.just(np.inf)
    matrix = np.zeros((n, n))
    upper = np.triu_indices(n, k=1)
    matrix[upper] = draw(st.lists(lengths, min_size=len(upper[0]), max_size=len(upper[0])))
    return matrix + matrix.T


def tied_matrix(n, largest, seed):
    rng = np.random.default_rng(seed)
    matrix = np.triu(rng.integers(1, largest + 1, size=(n, n)), k=1).astype(float)
    return matrix + matrix.T


@pytest.fixture(scope="module", autouse=True)
def work_is_split_as_in_large_clouds():
    """Run small clouds as large ones, in many chunks and threads (test_small_rips.py: as small)."""
    least = {
        (cloud_cpu, "_FEW_EDGES"): 1,
        (rips_cpu, "_MIN_POINTS_TO_SPLIT"): 1,
        (rips_cpu, "_MIN_POINTS_FOR_THREADS"): 1,
        (rips_cpu, "_MOST_POINTS_SMALL"): -1,
    }
    before = {place: getattr(*place) for place in least}
    for place, value in least.items():
        setattr(*place, value)
    yield before
    for place, value in before.items():
        setattr(*place, value)


@pytest.fixture(params=["dense", "sparse", "turning"])
def elimination(request, monkeypatch):
    """Run bitsets over births, sparse columns, or one and then the other."""
    if request.param == "sparse":
        monkeypatch.setattr(cloud_cpu, "_DENSE_SHARE", 0.0)
        monkeypatch.setattr(cloud_cpu, "_LEAST_DENSE", 0)
    if request.param == "turning":
        monkeypatch.setattr(cloud_cpu, "_DENSE_SHARE", 0.0)
        monkeypatch.setattr(cloud_cpu, "_LEAST_DENSE", 1024)  # 64 births and 128 sums
        monkeypatch.setattr(cloud_cpu, "_LEAST_RELATIONS", 5)
        monkeypatch.setattr(cloud_cpu, "_RELATIONS_PER_LENGTH", 0.0)
    return request.param


# The definition, on everything that ties or is degenerate.


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("max_dim", [0, 1])
@given(matrix=tied_matrices(), threshold=st.sampled_from([np.inf, 0.0, 2.0, 3.5, 7.0]))
def test_it_equals_the_definition_in_every_field(dtype, max_dim, matrix, threshold):
    want = reference.rips_persistence(matrix, max_dim, threshold)
    got = fast.rips_persistence(torch.tensor(matrix, dtype=dtype), max_dim, threshold)
    assert len(got) == max_dim + 1
    for of_fast, of_reference in zip(got, want, strict=True):
        assert_same_diagram(of_fast.cloud(0), of_reference)


@pytest.mark.parametrize("seed", range(40))
def test_it_equals_the_definition_where_loops_abound(seed, elimination):
    # A few lengths on 16 points: loops, most of which tie in birth or death.
    matrix = tied_matrix(16, 2 + seed % 6, seed)
    got = fast.rips_persistence(torch.tensor(matrix))
    for of_fast, of_reference in zip(got, reference.rips_persistence(matrix), strict=True):
        assert_same_diagram(of_fast.cloud(0), of_reference)


@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "grid"])
def test_it_equals_the_definition_on_clouds(make_cloud, family):
    distances = reference.pairwise_distances(make_cloud(family, 32))
    got = fast.rips_persistence(torch.tensor(distances))
    for of_fast, of_reference in zip(got, reference.rips_persistence(distances), strict=True):
        assert_same_diagram(of_fast.cloud(0), of_reference)


def test_the_tied_matrices_hold_enough_to_prove_something():
    pairs = [
        len(reference.rips_persistence(tied_matrix(16, 2 + seed % 6, seed))[1])
        for seed in range(40)
    ]
    assert sum(pairs) > 200


# The comparison, and what it must catch.


def _ties_by_larger_vertex(original):
    def sort_edges(keys, edges, *rest):
        order = np.lexsort((-edges, keys))
        keys[:], edges[:] = keys[order], edges[order]
        return False

    return sort_edges


def _apex_in_the_first_component(original):
    def examine_lunes(*arguments):
        empties, relations, reached = original(*arguments)
        relations[:, 2] = relations[:, 1]
        return empties, relations, reached

    return examine_lunes


def _last_component_forgotten(original):
    def examine_lunes(*arguments):
        empties, relations, reached = original(*arguments)
        return empties, relations[:-1], reached

    return examine_lunes


def _lunes_all_connected(original):
    def examine_lunes(*arguments):
        empties, relations, reached = original(*arguments)
        return empties, relations[:0], reached

    return examine_lunes


def _merge_taken_for_a_loop(original):
    def classify_empties(*arguments):
        merges, births = original(*arguments)
        return merges[:-1], births

    return classify_empties


def _oldest_birth_dies(original):
    def eliminate(*arguments):
        kills, *rest = original(*arguments)
        kills[:, 0] = np.sort(kills[:, 0])
        return kills, *rest

    return eliminate


@pytest.mark.parametrize(
    ("module", "kernel", "mutant"),
    [
        (edges_cpu, "sort_edges", _ties_by_larger_vertex),
        (lunes_cpu, "examine_lunes", _apex_in_the_first_component),
        (lunes_cpu, "examine_lunes", _last_component_forgotten),
        (lunes_cpu, "examine_lunes", _lunes_all_connected),
        (pairing_cpu, "classify_empties", _merge_taken_for_a_loop),
        (pairing_cpu, "eliminate", _oldest_birth_dies),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_broken_kernel_is_caught(monkeypatch, module, kernel, mutant):
    monkeypatch.setattr(module, kernel, mutant(getattr(module, kernel)))
    with pytest.raises((AssertionError, ValueError)):
        _compare_many()


def _compare_many():
    for seed in range(10):
        test_it_equals_the_definition_where_loops_abound(seed, "dense")


@pytest.mark.parametrize("first", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("few", [1, 2000])
def test_where_the_chunks_end_does_not_matter(monkeypatch, make_cloud, first, few):
    distances = torch.tensor(reference.pairwise_distances(make_cloud("grid", 80)))
    want = fast.rips_persistence(distances)
    monkeypatch.setattr(cloud_cpu, "_FIRST_CHUNK", first)
    monkeypatch.setattr(cloud_cpu, "_FEW_EDGES", few)
    for got, expected in zip(fast.rips_persistence(distances), want, strict=True):
        assert_same_diagram(got.cloud(0), expected.cloud(0))


# Ripser: an oracle that shares no code, at sizes the definition cannot reach.


def assert_ripser_agrees(points):
    from ripser import ripser

    distances = fast.pairwise_distances(torch.tensor(points, dtype=torch.float32))
    want = [
        rows.astype(np.float32) for rows in ripser(distances.numpy(), distance_matrix=True)["dgms"]
    ]
    got = [diagram.cloud(0).pairs for diagram in fast.rips_persistence(distances)]
    assert_same_rows(got[0], want[0][np.isfinite(want[0][:, 1]) & (want[0][:, 1] > 0)])
    assert_same_rows(got[1], want[1])


def assert_same_rows(got, want):
    """Assert equal multisets of (birth, death), bit for bit."""
    np.testing.assert_array_equal(got[np.lexsort(got.T)], want[np.lexsort(want.T)])


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "grid"])
@pytest.mark.parametrize("n", [3, 50, 250])
def test_ripser_finds_the_same_pairs(make_cloud, family, n):
    assert_ripser_agrees(make_cloud(family, n, seed=n))


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["gaussian", "features"])
def test_ripser_finds_the_same_pairs_at_the_paper_s_size(make_cloud, family):
    assert_ripser_agrees(make_cloud(family, 1024))


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(np.array([[0.0, 5.0], [1.0, 2.0]]), id="deaths-swapped"),
        pytest.param(np.array([[0.0, 2.0]]), id="pair-missing"),
        pytest.param(np.array([[0.0, 2.0], [1.0, 5.000001]]), id="two-ulp"),
    ],
)
def test_rows_that_differ_are_caught(broken):
    good = np.array([[1.0, 5.0], [0.0, 2.0]])
    assert_same_rows(good, good[::-1])
    with pytest.raises(AssertionError):
        assert_same_rows(good, broken)


# Values worked out by hand.


def test_two_points_at_distance_3_merge_at_3():
    (components,) = fast.rips_persistence(torch.tensor([[0.0, 3.0], [3.0, 0.0]]), max_dim=0)
    assert components.pairs.tolist() == [[[0.0, 3.0]]]
    assert components.death_edges.tolist() == [[[0, 1]]]
    assert components.birth_edges.tolist() == [[[-1, -1]]]
    assert components.num_essential.tolist() == [1]


@pytest.mark.parametrize("n", [4, 5, 6, 12])
def test_a_regular_polygon_has_one_loop_from_its_side_to_its_first_filling_diagonal(n):
    angle = 2 * np.pi * np.arange(n) / n
    points = torch.tensor(np.column_stack([np.cos(angle), np.sin(angle)]))
    (loop,) = fast.rips_persistence_of_points(points)[1].pairs[0].tolist()
    side, steps = 2 * np.sin(np.pi / n), -(-n // 3)  # the first triangle that holds the center
    assert loop == pytest.approx([side, 2 * np.sin(np.pi * steps / n)])


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("max_dim", [0, 1])
def test_a_cloud_without_edges_has_empty_diagrams(n, max_dim):
    for diagram in fast.rips_persistence(torch.zeros(n, n), max_dim):
        assert diagram.births.shape == diagram.deaths.shape == diagram.mask.shape == (1, 0)
        assert diagram.death_simplices.shape == (1, 0, diagram.dim + 2)
        assert diagram.num_essential.tolist() == [n if diagram.dim == 0 else 0]


def test_duplicates_make_no_pair():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    components, loops = fast.rips_persistence(fast.pairwise_distances(points))
    assert components.pairs.tolist() == [[[0.0, 1.0]]]
    assert loops.counts.tolist() == [0]


def test_a_negative_zero_is_a_zero():
    matrix = torch.tensor(tied_matrix(8, 3, seed=0))
    matrix[0, 1] = matrix[1, 0] = 0.0
    signed = torch.where(matrix == 0, -0.0, matrix)
    for got, want in zip(fast.rips_persistence(signed), fast.rips_persistence(matrix), strict=True):
        assert_same_diagram(got.cloud(0), want.cloud(0))


# Batches.


def test_a_batch_is_its_clouds_one_by_one_padded():
    matrices = np.stack([tied_matrix(9, 3 + seed, seed) for seed in range(5)])
    batch = fast.rips_persistence(torch.tensor(matrices))
    for diagram in batch:
        assert diagram.counts.tolist() == diagram.mask.sum(dim=1).tolist()
        assert (diagram.births[~diagram.mask] == 0).all()
        assert (diagram.deaths[~diagram.mask] == 0).all()
        assert (diagram.death_edges[~diagram.mask] == -1).all()
    for index, matrix in enumerate(matrices):
        alone = fast.rips_persistence(torch.tensor(matrix))
        for diagram, expected in zip(batch, alone, strict=True):
            assert_same_diagram(diagram.cloud(index), expected.cloud(0))


def test_sizes_cut_the_padding_off_unread():
    sizes = [0, 1, 5, 9]
    matrices = np.full((4, 9, 9), np.nan)
    for index, size in enumerate(sizes):
        matrices[index, :size, :size] = tied_matrix(size, 4, index)
    batch = fast.rips_persistence(torch.tensor(matrices), sizes=sizes)
    for index, size in enumerate(sizes):
        want = reference.rips_persistence(matrices[index, :size, :size])
        for diagram, expected in zip(batch, want, strict=True):
            assert_same_diagram(diagram.cloud(index), expected)
    for diagram in fast.rips_persistence(torch.tensor(matrices), sizes=torch.tensor(sizes)):
        assert diagram.deaths.isfinite().all()


def test_the_same_input_gives_the_same_bits(make_cloud):
    distances = fast.pairwise_distances(torch.tensor(make_cloud("features", 300)).float())
    first, second = fast.rips_persistence(distances), fast.rips_persistence(distances.clone())
    for one, other in zip(first, second, strict=True):
        for field in ("births", "deaths", "birth_edges", "death_edges", "death_simplices"):
            assert torch.equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("num_clouds", [1, 2, 7])
def test_every_number_of_threads_gives_the_same_bits(
    set_threads, monkeypatch, make_cloud, num_clouds
):
    monkeypatch.setattr(cloud_cpu, "_MIN_EDGES_PER_THREAD", 50)
    families = ["gaussian", "features", "circle", "grid"]
    clouds = [make_cloud(families[seed % 4], 120, seed) for seed in range(num_clouds)]
    distances = torch.stack([fast.pairwise_distances(torch.tensor(cloud)) for cloud in clouds])
    found = []
    for count in (1, 2, 3, 5):
        set_threads(count)
        found.append(fast.rips_persistence(distances))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            for cloud in range(num_clouds):
                assert_same_diagram(another.cloud(cloud), one.cloud(cloud))


@pytest.mark.parametrize(
    ("num_clouds", "n", "expected"),
    [(1, 30, 1), (5, 30, 1), (1, 330, 2), (2, 260, 2), (3, 70, 1), (40, 70, 2)],
)
def test_threads_are_used_where_they_are_worth_it(
    set_threads, monkeypatch, make_cloud, work_is_split_as_in_large_clouds, num_clouds, n, expected
):
    for (module, name), value in work_is_split_as_in_large_clouds.items():
        monkeypatch.setattr(module, name, value)
    used = []
    run = threads.run

    def spy(function, calls, num_threads):
        used.append(num_threads)
        return run(function, calls, num_threads)

    monkeypatch.setattr(threads, "run", spy)
    clouds = [make_cloud("circle", n, seed) for seed in range(num_clouds)]
    distances = fast.pairwise_distances(torch.tensor(np.stack(clouds)))
    set_threads(2)
    used.clear()
    fast.rips_persistence(distances)
    assert max(used) == expected


def test_an_error_in_one_cloud_of_many_is_raised(set_threads):
    set_threads(2)
    matrices = torch.tensor(np.stack([tied_matrix(6, 3, seed) for seed in range(4)]))
    matrices[2, 1, 3] = -1.0
    with pytest.raises(ValueError, match="cannot be negative"):
        fast.rips_persistence(matrices)


def _in_a_child(distances, queue):
    torch.set_num_threads(2)
    queue.put([diagram.deaths.tolist() for diagram in fast.rips_persistence(distances)])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(set_threads):
    set_threads(2)
    distances = torch.tensor(np.stack([tied_matrix(8, 3, seed) for seed in range(3)]))
    want = [diagram.deaths.tolist() for diagram in fast.rips_persistence(distances)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(distances, queue))
    child.start()
    assert queue.get(timeout=60) == want
    child.join(timeout=60)
    assert child.exitcode == 0


def test_relabeling_points_keeps_the_pairs(make_cloud):
    distances = torch.tensor(reference.pairwise_distances(make_cloud("gaussian", 60)))
    order = torch.tensor(np.random.default_rng(1).permutation(60))
    want = fast.rips_persistence(distances)
    got = fast.rips_persistence(distances[order][:, order])
    for one, other in zip(got, want, strict=True):
        assert_same_rows(one.cloud(0).pairs, other.cloud(0).pairs)
        edges = order[one.death_edges[0]].sort(dim=1).values  # without ties: the same edges
        assert torch.equal(edges, other.death_edges[0])


# Gradients.


@given(matrix=tied_matrices(), seed=st.integers(0, 99))
def test_autograd_routes_as_the_definition_does(matrix, seed):
    rng = np.random.default_rng(seed)
    distances = torch.tensor(matrix, requires_grad=True)
    loss, want = 0.0, np.zeros_like(matrix)
    for got, diagram in zip(
        fast.rips_persistence(distances), reference.rips_persistence(matrix), strict=True
    ):
        grads = rng.normal(size=(2, len(diagram)))
        loss = loss + (torch.tensor(grads[0]) * got.births[0]).sum()
        loss = loss + (torch.tensor(grads[1]) * got.deaths[0]).sum()
        want += reference.route_to_distances(diagram, *grads, matrix)
    if loss.requires_grad:
        loss.backward()
    got = np.zeros_like(matrix) if distances.grad is None else distances.grad.numpy()
    np.testing.assert_array_equal(got, got.T)
    np.testing.assert_allclose(2 * got, want, rtol=1e-13, atol=1e-13)  # D_ij and D_ji: half each


def test_a_death_that_three_edges_share_is_still_a_copy():
    # Thirds of x do not add up to x in float32, so a mean over the edges would not be a copy.
    x = np.float32(1.00005)
    third = np.float32(1) / np.float32(3)
    assert x * third + x * third + x * third != x
    lengths = tied_matrix(10, 3, seed=4)  # a loop dies in a triangle with three sides of 2
    matrix = torch.tensor(np.where(lengths == 2, x, lengths), dtype=torch.float32)
    matrix.requires_grad_()
    loops = fast.rips_persistence(matrix)[1]
    sides = loops.death_simplices[0][:, [[0, 1], [0, 2], [1, 2]]]
    equilateral = (matrix[sides[..., 0], sides[..., 1]] == x).all(dim=1)
    assert equilateral.any()
    deaths = loops.deaths[0][equilateral]
    assert (deaths == x).all()
    (gradient,) = torch.autograd.grad(deaths[0], matrix)
    assert gradient.unique().tolist() == pytest.approx([0, 1 / 6])  # thirds, half to D_ij and D_ji


def test_infinite_sides_do_not_poison_the_gradient():
    # A square whose loop never dies at a finite length, beside one that does.
    matrix = torch.full((8, 8), torch.inf)
    for base, diagonal in ((0, 2.0), (4, torch.inf)):
        for i in range(4):
            matrix[base + i, base + (i + 1) % 4] = matrix[base + (i + 1) % 4, base + i] = 1.0
        for i in range(2):
            matrix[base + i, base + i + 2] = matrix[base + i + 2, base + i] = diagonal
    matrix.fill_diagonal_(0).requires_grad_()
    components, loops = fast.rips_persistence(matrix)
    assert loops.pairs.tolist() == [[[1.0, 2.0]]]
    assert loops.num_essential.tolist() == [1]
    assert components.num_essential.tolist() == [2]
    (loops.deaths.sum() + components.deaths.sum()).backward()
    assert matrix.grad.isfinite().all()


@pytest.mark.parametrize("of_points", [False, True])
def test_gradients_are_right_to_second_order(make_cloud, of_points):
    points = torch.tensor(make_cloud("circle", 14), requires_grad=True)

    def values(points):
        if of_points:
            diagrams = fast.rips_persistence_of_points(points)
        else:
            diagrams = fast.rips_persistence(fast.pairwise_distances(points))
        return torch.cat([diagram.pairs.flatten() ** 2 for diagram in diagrams])

    assert torch.autograd.gradcheck(values, points)
    assert torch.autograd.gradgradcheck(values, points)


@pytest.mark.parametrize("family", ["features", "grid"])
def test_the_short_way_to_the_points_gives_the_same_gradient(make_cloud, family):
    base = torch.tensor(np.stack([make_cloud(family, 40, seed) for seed in range(2)]))
    gradients, diagrams = [], []
    for short in (False, True):
        points = base.clone().requires_grad_()
        if short:
            found = fast.rips_persistence_of_points(points, sizes=[40, 33])
        else:
            found = fast.rips_persistence(fast.pairwise_distances(points), sizes=[40, 33])
        sum((d.deaths.square() - d.births).sum() for d in found).backward()
        gradients.append(points.grad)
        diagrams.append(found)
    for one, other in zip(*diagrams, strict=True):
        assert torch.equal(one.pairs, other.pairs)
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


@given(matrix=tied_matrices(max_points=7))
def test_gradient_times_distance_sums_to_the_values(matrix):
    # Euler: births and deaths scale with the distances, and all edges that share are equally long.
    matrix = np.where(np.isfinite(matrix), matrix, 9.0)
    distances = torch.tensor(matrix, requires_grad=True)
    total = sum(diagram.pairs.sum() for diagram in fast.rips_persistence(distances))
    if total.requires_grad:
        total.backward()
        assert (distances.grad * distances).sum().item() == pytest.approx(total.item())


# What is refused.


def _square():
    return torch.tensor(tied_matrix(5, 3, 0))


def _with_entry(i, j, value):
    matrix = _square()
    matrix[i, j] = value
    return matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (_with_entry(1, 2, np.nan), r"distances\[..., 1, 2\] is nan"),
        (_with_entry(1, 2, -np.nan), r"distances\[..., 1, 2\] is nan"),
        (_with_entry(3, 0, -1.0), r"distances\[..., 3, 0\] is -1.0; distances cannot be negative"),
        (_with_entry(3, 0, -np.inf), r"distances\[..., 3, 0\] is -inf; .*negative"),
        (_with_entry(2, 2, 1.0), r"distances\[..., 2, 2\] is 1.0; a point's distance to itself"),
        (_with_entry(0, 4, 9.0), r"distances\[..., 0, 4\] is 9.0 but .* symmetrize"),
    ],
    ids=["nan", "minus-nan", "negative", "minus-inf", "diagonal", "asymmetric"],
)
def test_what_is_no_distance_matrix_is_refused(matrix, message, dtype):
    with pytest.raises(ValueError, match=message):
        fast.rips_persistence(matrix.to(dtype))
