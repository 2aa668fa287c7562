"""Landscapes and Betti curves: GUDHI, ranks of definitions, values by hand, finite differences."""

import numpy as np
import pytest
from gudhi.representations import BettiCurve, Landscape
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import reference
from tests.reference import strategies
from tests.reference.checks import assert_gradient

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())
GRID = np.arange(-1.0, 9.5, 0.5)  # births, deaths and tops of tied diagrams are on it


@pytest.mark.oracle
@given(pairs=diagrams, num_landscapes=st.integers(1, 6))
def test_landscapes_equal_gudhis_over_the_root_of_2(pairs, num_landscapes):
    theirs = Landscape(
        num_landscapes=num_landscapes, resolution=len(GRID), sample_range=[GRID[0], GRID[-1]]
    ).fit([pairs])
    got = reference.persistence_landscape(pairs, grid=GRID, num_landscapes=num_landscapes)
    np.testing.assert_array_equal(theirs.grid_, GRID)
    want = theirs.transform([pairs])[0].reshape(num_landscapes, -1) / 2**0.5
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.oracle
@given(pairs=diagrams)
def test_betti_curves_equal_gudhis(pairs):
    got = reference.betti_curve(pairs, grid=GRID)
    theirs = BettiCurve(predefined_grid=GRID).fit_transform([pairs])[0]
    np.testing.assert_array_equal(got, theirs)
    assert got.dtype == np.float64


@pytest.mark.oracle
@given(pairs=diagrams, bandwidth=st.sampled_from([0.2, 1.0]))
def test_a_smooth_curve_is_the_mean_of_moved_ones(pairs, bandwidth):
    """Gaussian moves, by quadrature of scipy's quantiles; the curve has unit steps."""
    got = reference.betti_curve(pairs, grid=GRID, bandwidth=bandwidth)
    quantiles = norm.ppf((np.arange(4000) + 0.5) / 4000)
    moved = (GRID - bandwidth * quantiles[:, None])[..., None]
    want = ((pairs[:, 0] <= moved) & (moved < pairs[:, 1])).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(got, want, atol=1e-3 * max(len(pairs), 1))


def test_the_integral_of_a_curve_is_the_total_persistence():
    pairs = np.array([[0.0, 2.0], [1.0, 3.5]])
    grid = np.linspace(-5, 9, 2801)
    for bandwidth in (None, 0.5):
        curve = reference.betti_curve(pairs, grid=grid, bandwidth=bandwidth)
        integral = curve.sum() * (grid[1] - grid[0])
        assert integral == pytest.approx(reference.total_persistence(pairs), rel=1e-3)


def test_values_by_hand():
    pairs = np.array([[0.0, 4.0], [1.0, 3.0], [1.0, 3.0]])
    got = reference.persistence_landscape(
        pairs, grid=np.array([0.0, 1.5, 2.0, 4.0]), num_landscapes=4
    )
    np.testing.assert_array_equal(
        got, [[0, 1.5, 2, 0], [0, 0.5, 1, 0], [0, 0.5, 1, 0], [0, 0, 0, 0]]
    )
    curve = reference.betti_curve(pairs, grid=np.array([0.0, 1.0, 3.0, 4.0]))
    np.testing.assert_array_equal(curve, [1, 3, 1, 0])
    smooth = reference.betti_curve(pairs[:1], grid=np.array([0.0, 4.0]), bandwidth=1e-3)
    np.testing.assert_allclose(smooth, [0.5, 0.5])  # half of the Gaussian is past either end


def test_the_gradient_of_landscapes_by_hand():
    pairs = np.array([[0.0, 4.0], [0.0, 4.0], [9.0, 9.5]])
    grid, upstream = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[1.0, 10.0, 100.0, 1000.0]])
    got = reference.persistence_landscape_grad(pairs, upstream, grid=grid, num_landscapes=1)
    # The first of two equal ones takes all; at its top half, at its end nothing.
    np.testing.assert_array_equal(got, [[-1 - 5, 5 + 100], [0, 0], [0, 0]])


@given(pairs=strategies.generic_diagrams(), seed=strategies.seeds)
def test_the_gradients_are_the_derivatives(pairs, seed):
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.random(4)) * 2
    upstream = rng.normal(size=(3, 4))
    options = {"grid": grid, "num_landscapes": 3}
    tents = np.minimum(grid - pairs[:, :1], pairs[:, 1:] - grid)
    corners = np.abs(grid[None] - pairs.mean(axis=1)[:, None]), np.abs(tents)
    apart = np.abs(tents[:, None] - tents[None])[~np.eye(len(pairs), dtype=bool)]
    if min(np.min(each, initial=1.0) for each in (*corners, apart)) > 1e-3:
        assert_gradient(
            lambda moved: np.sum(upstream * reference.persistence_landscape(moved, **options)),
            pairs,
            reference.persistence_landscape_grad(pairs, upstream, **options),
        )
    assert_gradient(
        lambda moved: upstream[0] @ reference.betti_curve(moved, grid=grid, bandwidth=0.4),
        pairs,
        reference.betti_curve_grad(pairs, upstream[0], grid=grid, bandwidth=0.4),
    )


def test_the_default_grid_goes_from_the_first_birth_to_the_last_death():
    diagrams = [np.array([[0.5, 2.0], [0.25, 1.0]]), np.empty((0, 2)), np.array([[1.0, 3.25]])]
    grid = reference.default_grid(diagrams)
    assert (grid[0], grid[-1], len(grid)) == (0.25, 3.25, 100)
    np.testing.assert_array_equal(reference.default_grid(diagrams, 4), [0.25, 1.25, 2.25, 3.25])
    np.testing.assert_array_equal(reference.default_grid(diagrams[2:], 2), [1.0, 3.25])


@pytest.mark.parametrize(
    ("diagrams", "num_values", "said"),
    [
        ([np.array([[0.0, 1.0]])], 1, "num_values is 1; pass at least 2"),
        ([np.array([[0.0, 1.0]]), np.array([[2.0, 1.0]])], 2, "diagrams[1] has the pair (2.0, 1."),
        ([np.array([[1.0, 1.0]])], 2, "diagrams have no pair of positive persistence, hence no de"),
        ([], 2, "diagrams have no pair of positive persistence, hence no default grid; pass"),
    ],
)
def test_what_has_no_default_grid_is_refused(diagrams, num_values, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        reference.default_grid(diagrams, num_values)
    assert str(error.value).startswith(f"default_grid: {said}")
