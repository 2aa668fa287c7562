"""`topodistill.compat` and `topodistill.transformers` beside what they stand for.

GUDHI is always there; torch-topological and giotto-ph where the extra `peers` is installed.
"""

import inspect
import math
import warnings
from importlib.util import find_spec

import gudhi.sklearn.rips_persistence
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import fast
from tests.reference.checks import assert_same_points
from tests.train.processes import run_bare
from topodistill import compat, transformers

GENERATOR = np.random.default_rng(0)
CLOUDS = [GENERATOR.normal(size=(size, 3)) for size in (24, 17, 1, 9)]
MATRICES = [fast.pairwise_distances(torch.tensor(cloud)) for cloud in CLOUDS]
TIED = torch.cdist(*[torch.tensor(GENERATOR.integers(0, 3, (20, 2)).astype(float))] * 2, p=1)
peer = pytest.mark.skipif(find_spec("torch_topological") is None, reason="the extra peers")


@pytest.fixture(scope="module")
def original():
    """torch-topological's modules; its import warns of what it does not find."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_topological.nn as theirs
    return theirs


def rows(each):
    """Return the rows (birth, death) of a diagram as an array."""
    return torch.as_tensor(each).detach().double().numpy()


# ---- torch-topological -------------------------------------------------------------------------


@peer
@pytest.mark.parametrize("keep", [False, True], ids=["finite", "infinite"])
@pytest.mark.parametrize("threshold", [math.inf, 1.5])
@pytest.mark.parametrize("matrix", [*MATRICES[:2], TIED], ids=["large", "small", "tied"])
def test_the_complex_has_the_original_s_pairs(original, matrix, threshold, keep):
    options = {"dim": 1, "threshold": threshold, "keep_infinite_features": keep, "n_threads": 1}
    got = compat.VietorisRipsComplex(**options)(matrix, treat_as_distances=True)
    want = original.VietorisRipsComplex(**options)(matrix, treat_as_distances=True)
    assert [each.dimension for each in got] == [0, 1]
    for mine, theirs in zip(got, want, strict=True):
        lives = rows(theirs.diagram)
        # Equal births and deaths are no classes; what is tied may be left in by the original.
        assert_same_points(rows(mine.diagram), lives[lives[:, 0] < lives[:, 1]])
        assert mine.pairing.shape == (len(mine.diagram), theirs.pairing.shape[1])
        for (birth, death), ends in zip(rows(mine.diagram), mine.pairing, strict=True):
            assert death == (matrix[ends[-2], ends[-1]] if ends[-1] >= 0 else math.inf)
            assert mine.dimension == 0 or birth == matrix[ends[0], ends[1]]


@peer
@pytest.mark.parametrize("p", [2, 1, math.inf])
def test_the_complex_takes_points_batches_and_lists(original, p):
    clouds = [torch.tensor(cloud, requires_grad=True) for cloud in CLOUDS[:2]]
    layer, theirs = compat.VietorisRipsComplex(p=p), original.VietorisRipsComplex(p=p, n_threads=1)
    for given in (clouds, torch.stack([clouds[0], clouds[0] + 1]), clouds[1]):
        got, want = layer(given), theirs(given)
        if isinstance(given, torch.Tensor) and given.ndim == 2:
            got, want = [got], [want]
        for mine, others in zip(got, want, strict=True):
            for one, other in zip(mine, others, strict=True):
                assert_same_points(rows(one.diagram), rows(other.diagram), atol=1e-12)
    loss, wanted = (sum(each[1].diagram.sum() for each in of(clouds)) for of in (layer, theirs))
    for mine, other in zip(*(torch.autograd.grad(x, clouds) for x in (loss, wanted)), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)  # torch.cdist's


@peer
@pytest.mark.parametrize(
    "options", [{}, {"normalise": False}, {"dimensions": (0, 1)}, {"dimensions": 1, "p": 1}]
)
def test_the_signature_loss_is_the_original_s(original, options):
    first = torch.tensor(CLOUDS[0])
    second = first[:, :2].clone().requires_grad_()
    layer = compat.VietorisRipsComplex(p=options.get("p", 2))
    spaces = [(points, layer(points)) for points in (first, second)]
    got = compat.SignatureLoss(**options)(*spaces)
    want = original.SignatureLoss(**options)(*spaces)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)
    grads = [torch.autograd.grad(loss, second, retain_graph=True)[0] for loss in (got, want)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


@peer
@pytest.mark.parametrize("q", [1, 2, 3])
def test_the_wasserstein_distance_is_the_original_s(original, q):
    clouds = compat.VietorisRipsComplex()([torch.tensor(cloud) for cloud in CLOUDS[:2]])
    got = compat.WassersteinDistance(q=q)(*clouds)
    floats = [  # theirs has float32 masses
        [compat.PersistenceInformation(d.pairing, d.diagram.float(), d.dimension) for d in each]
        for each in clouds
    ]
    want = original.WassersteinDistance(q=q)(*floats)
    torch.testing.assert_close(got.float(), want, rtol=1e-4, atol=1e-5)
    one = compat.WassersteinDistance(q=q)(clouds[0][1], clouds[1][1])
    torch.testing.assert_close(
        one.float(), original.WassersteinDistance(q=q)([floats[0][1]], [floats[1][1]]), rtol=1e-4,
        atol=1e-5,
    )  # fmt: skip


@peer
@pytest.mark.parametrize(
    ("statistic", "options"),
    [
        ("total_persistence", {}),
        ("total_persistence", {"p": 3}),
        ("persistent_entropy", {}),
        ("persistent_entropy", {"p": 2}),
        ("p_norm", {}),
        ("p_norm", {"p": 2}),
        ("polynomial_function", {"p": 2, "q": 1}),
    ],
)
def test_the_summary_loss_is_the_original_s(original, statistic, options):
    clouds = compat.VietorisRipsComplex(keep_infinite_features=True)(
        [torch.tensor(cloud) for cloud in CLOUDS[:2]]
    )
    mine = compat.SummaryStatisticLoss(statistic, **options)
    theirs = original.SummaryStatisticLoss(statistic, **options)
    torch.testing.assert_close(mine(*clouds), theirs(*clouds))
    torch.testing.assert_close(mine(clouds[0]), theirs(clouds[0]))


# ---- GUDHI and giotto ---------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [math.inf, 2.5, 1.5, 0.3])
@pytest.mark.parametrize("dims", [0, 1, [0, 1], [1]])
def test_the_transformer_has_gudhi_s_arrays(dims, threshold):
    for kind, given in (
        ("full distance matrix", [each.numpy() for each in (*MATRICES, TIED)]),
        ("lower distance matrix", [each.tolist() for each in MATRICES[:2]]),
        ("point cloud", CLOUDS),
    ):
        options = {"threshold": threshold, "input_type": kind}
        got = compat.RipsPersistence(dims, **options).fit_transform(given)
        theirs = gudhi.sklearn.rips_persistence.RipsPersistence(dims, **options)
        for mine, others in zip(got, theirs.fit_transform(given), strict=True):
            if np.ndim(dims) == 0:
                mine, others = [mine], [others]
            for one, other in zip(mine, others, strict=True):
                other = other[other[:, 0] < other[:, 1]]
                assert_same_points(one, other, atol=1e-12 if kind == "point cloud" else 0.0)


def test_the_options_are_the_other_libraries():
    names = {
        compat.RipsPersistence: gudhi.sklearn.rips_persistence.RipsPersistence,
        # giotto-tda has no wheel for current Pythons; its documentation has these.
        compat.VietorisRipsPersistence: [
            *("metric", "metric_params", "homology_dimensions", "collapse_edges", "coeff"),
            *("max_edge_length", "infinity_values", "reduced_homology", "n_jobs"),
        ],
    }
    for mine, theirs in names.items():
        theirs = theirs if isinstance(theirs, list) else list(inspect.signature(theirs).parameters)
        assert list(inspect.signature(mine).parameters) == theirs


def test_giotto_s_array_is_padded_and_has_every_dimension():
    found = compat.VietorisRipsPersistence().fit_transform(CLOUDS)
    assert found.dtype == np.float64
    assert sorted(set(found[..., 2].ravel())) == [0.0, 1.0]
    for cloud, points in zip(found, CLOUDS, strict=True):
        diagrams = fast.rips_persistence_of_points(points)
        for dim, batch in enumerate(diagrams):
            rows_ = cloud[(cloud[:, 2] == dim) & (cloud[:, 0] < cloud[:, 1]), :2]
            assert_same_points(rows_, batch.cloud(0).pairs)
    alone = compat.VietorisRipsPersistence(reduced_homology=False, infinity_values=9.0)
    found = alone.fit_transform(CLOUDS[2:3])
    np.testing.assert_array_equal(found, [[[0.0, 9.0, 0.0], [0.0, 0.0, 1.0]]])
    reduced = compat.VietorisRipsPersistence(infinity_values=99.0).fit_transform(CLOUDS)
    assert reduced[..., 1].max() < 99
    cut = compat.VietorisRipsPersistence("precomputed", max_edge_length=1.0)
    found = cut.fit_transform([MATRICES[0].numpy()])
    assert found[..., 1].max() == 1.0  # the death of what is alive there


@peer
def test_giotto_s_array_is_what_its_backend_finds():
    from gph import ripser_parallel

    matrix = MATRICES[0].numpy()
    found = compat.VietorisRipsPersistence("precomputed").fit_transform([matrix])[0]
    theirs = ripser_parallel(matrix, metric="precomputed", n_threads=1)["dgms"]
    for dim, wanted in enumerate(theirs):
        mine = found[found[:, 2] == dim, :2]
        wanted = wanted[np.isfinite(wanted[:, 1])]
        assert_same_points(mine.astype(np.float32), wanted.astype(np.float32))


# ---- rows for scikit-learn ----------------------------------------------------------------------


def circles_and_noise(seed, count=16):
    generator = np.random.default_rng(seed)
    angles = generator.uniform(0, 2 * np.pi, (count, 30))
    circles = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    noise = generator.uniform(-1, 1, (count, 30, 2))
    return np.concatenate([circles, noise]), np.repeat([1, 0], count)


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, 20 + 400),
        ({"kind": "landscape", "num_landscapes": 2, "resolution": 9}, 2 * 2 * 9),
        ({"kind": "betti", "bandwidth": 0.1}, 40),
        ({"kind": "betti", "max_dim": 0}, 20),
    ],
)
def test_a_pipeline_tells_circles_from_noise(options, width):
    model = make_pipeline(transformers.RipsVectorizer(**options), LogisticRegression())
    model = clone(model).fit(*circles_and_noise(0))
    clouds, labels = circles_and_noise(1)
    if options.get("max_dim") != 0:
        assert model.score(clouds, labels) > 0.9
    vectorizer = model[0]
    found = vectorizer.transform([clouds[0], clouds[1, :12]])
    assert found.shape == (2, width)
    assert len(vectorizer.get_feature_names_out()) == width
    distances = fast.pairwise_distances(torch.tensor(clouds[:1])).numpy()
    matrices = clone(vectorizer).set_params(input_type="distances")
    matrices.scales_ = vectorizer.scales_
    np.testing.assert_array_equal(matrices.transform(distances), found[:1])
    again = clone(vectorizer)
    train = circles_and_noise(0)[0]
    np.testing.assert_array_equal(again.fit_transform(train), vectorizer.transform(train))


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: compat.SummaryStatisticLoss("mean"), "summary_statistic is 'mean'; pass one of"),
        (
            lambda: compat.SummaryStatisticLoss("polynomial_function", p=1),
            "p is 1 and q is None; 'polynomial_function' needs both",
        ),
        (lambda: compat.VietorisRipsComplex(3)(MATRICES[0]), "max_dim is 3; pass 0, 1 or 2"),
        (
            lambda: compat.VietorisRipsComplex(keep_infinite_features=True, threshold=None)(TIED),
            "threshold is None; pass a number",
        ),
        (lambda: compat.RipsPersistence(0, input_type="edges").fit([]), "input_type is 'edges'"),
        (
            lambda: compat.RipsPersistence(0, homology_coeff_field=11).fit([]),
            "homology_coeff_field is 11; diagrams are over Z/2 here, pass 2",
        ),
        (
            lambda: compat.RipsPersistence(0).fit_transform([[[math.nan, 0.0]]]),
            "points has the entry nan",
        ),
        (lambda: compat.VietorisRipsPersistence(coeff=3).fit([]), "coeff is 3"),
        (lambda: compat.VietorisRipsPersistence("cosine").fit([]), "metric is 'cosine'"),
        (
            lambda: transformers.RipsVectorizer("picture").fit(CLOUDS),
            "kind is 'picture'; pass one of 'image', 'landscape', 'betti'",
        ),
        (
            lambda: transformers.RipsVectorizer().fit(CLOUDS[2:3]),
            "X has no pair of dimension 0 in 1 cloud",
        ),
        (lambda: transformers.RipsVectorizer().transform(CLOUDS), "is not fitted yet"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(call, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        call()


def test_without_scikit_learn_the_rest_is_there_and_a_line_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from topodistill.compat import VietorisRipsComplex\n"
        "try:\n    from topodistill.compat import RipsPersistence\n"
        "except ImportError as error:\n    print(error)\n"
    )
    said = "topodistill.transformers needs scikit-learn; pip install 'topodistill[sklearn]'\n"
    assert run_bare(code).stdout == said
