"""Persistence images: GUDHI, values by hand, finite differences, and the rules of their scale."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from gudhi.representations import PersistenceImage
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances as sklearn_distances

import reference
from reference import ImageScale
from tests.reference import strategies
from tests.reference.checks import assert_gradient

WEIGHTS = {
    "topkd": lambda point: 10 * (np.tanh(point[1]) + np.log(100 * point[0] + 1)),
    "linear": lambda point: point[1],
    "one": lambda point: 1,
}
"""What GUDHI is given: functions of (birth, persistence)."""

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())
components = diagrams.map(lambda pairs: pairs - pairs[:, :1])  # all born at 0
tied_components = strategies.tied_diagrams().map(lambda pairs: pairs - pairs[:, :1])


@st.composite
def scales(draw) -> ImageScale:
    """Return a scale of few pixels, that of dimension 0 included."""
    low = draw(st.sampled_from([0.0, 0.5]))
    return ImageScale(
        bandwidth=draw(st.sampled_from([0.3, 1.0])),
        birth_range=(low, draw(st.sampled_from([low, 2.0]))),
        persistence_range=(0.25, draw(st.sampled_from([0.25, 3.0]))),
        maximum=draw(st.sampled_from([1.0, 7.0])),
        weight=draw(st.sampled_from(list(WEIGHTS))),
        resolution=draw(st.sampled_from([(20, 20), (1, 4), (3, 2), (2, 1)])),
    )


def gudhis_image(pairs: np.ndarray, scale: ImageScale) -> np.ndarray:
    """Return GUDHI's vector."""
    image = PersistenceImage(
        bandwidth=scale.bandwidth,
        weight=WEIGHTS[scale.weight],
        resolution=list(scale.resolution),
        im_range=[*scale.birth_range, *scale.persistence_range],
    )
    return image.fit_transform([pairs])[0] / scale.maximum


@pytest.mark.oracle
@given(pairs=st.one_of(diagrams, components), scale=scales())
def test_it_equals_gudhi(pairs, scale):
    image = reference.persistence_image(pairs, scale)
    assert image.shape == scale.resolution[::-1]
    np.testing.assert_allclose(image.ravel(), gudhis_image(pairs, scale), rtol=1e-9, atol=1e-12)


def test_one_pair_by_hand():
    """Born at 1, dead at 3; the pixel at birth 1, persistence 2 is the pair itself."""
    scale = ImageScale(
        bandwidth=0.5,
        birth_range=(0.0, 1.0),
        persistence_range=(2.0, 3.0),
        resolution=(2, 3),
        weight="linear",
    )
    peak = 2 / (2 * np.pi * 0.25)
    down, aside = np.exp(-0.25 / 0.5), np.exp(-1 / 0.5)  # half a unit, a unit away
    want = peak * np.array([[aside, 1], [aside * down, down], [aside * aside, aside]])
    got = reference.persistence_image(np.array([[1.0, 3.0]]), scale)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    halved = reference.persistence_image(np.array([[1.0, 3.0]]), replace(scale, maximum=2.0))
    np.testing.assert_array_equal(halved, got / 2)
    weights = {"one": 1.0, "topkd": 10 * (np.tanh(2.0) + np.log(101.0))}
    for weight, value in weights.items():
        other = reference.persistence_image(np.array([[1.0, 3.0]]), replace(scale, weight=weight))
        np.testing.assert_allclose(other, got / 2 * value, rtol=1e-14)


TOPKD = ImageScale(
    bandwidth=0.3,
    birth_range=(0.0, 2.0),
    persistence_range=(0.25, 3.0),
    weight="topkd",
    resolution=(3, 2),
)


@given(pairs=diagrams, scale=scales(), seed=strategies.seeds)
@example(pairs=np.array([[0.2, 1.0], [0.7, 2.5]]), scale=TOPKD, seed=0)
@example(pairs=np.array([[0.2, 1.0], [0.7, 2.5]]), scale=replace(TOPKD, weight="linear"), seed=0)
def test_the_gradient_is_the_derivative(pairs, scale, seed):
    upstream = np.random.default_rng(seed).normal(size=scale.resolution[::-1])
    pairs = pairs + 0.1  # steps below the births stay where the weight is defined
    gradient = reference.persistence_image_grad(pairs, scale, upstream)
    assert_gradient(
        lambda moved: float(np.sum(upstream * reference.persistence_image(moved, scale))),
        pairs,
        np.column_stack(gradient),
    )


@given(pairs=diagrams, scale=scales(), seed=strategies.seeds)
def test_the_order_of_the_pairs_changes_no_bit(pairs, scale, seed):
    shuffled = np.random.default_rng(seed).permutation(pairs)
    images = [reference.persistence_image(each, scale) for each in (pairs, shuffled)]
    np.testing.assert_array_equal(*images)


def test_many_pairs_in_another_order_are_the_same_image_to_the_last_bit():
    rng = np.random.default_rng(0)
    pairs = np.column_stack([rng.random(300), 1 + rng.random(300)])
    scale = reference.fit_persistence_image([pairs])
    images = [reference.persistence_image(each, scale) for each in (pairs, pairs[::-1])]
    np.testing.assert_array_equal(*images)


def test_no_pairs_are_an_image_of_zeros_and_no_gradient():
    scale = ImageScale(bandwidth=1.0, birth_range=(0.0, 1.0), persistence_range=(0.0, 1.0))
    none = np.empty((0, 2))
    np.testing.assert_array_equal(reference.persistence_image(none, scale), np.zeros((20, 20)))
    gradient = reference.persistence_image_grad(none, scale, np.ones((20, 20)))
    assert [each.shape for each in gradient] == [(0,), (0,)]


# ---- the scale of many --------------------------------------------------------------------------


@cache
def rips_pairs(dim: int) -> list[np.ndarray]:
    """Return the pairs of five clouds of 24 normal points, of different spread."""
    rng = np.random.default_rng(0)
    clouds = [(1 + i) * rng.normal(size=(24, 3)) for i in range(5)]
    return [
        reference.rips_persistence(reference.pairwise_distances(cloud), dim)[dim].pairs
        for cloud in clouds
    ]


def rules(diagrams: list[np.ndarray], weight: str) -> ImageScale:
    """Return the scale by TopKD's rules, in scikit-learn's, GUDHI's and numpy's words."""
    pairs = np.concatenate(diagrams)
    points = np.column_stack([pairs[:, 0], np.diff(pairs).ravel()])
    distances = sklearn_distances(points[:200]).ravel()
    gudhi = PersistenceImage(weight=WEIGHTS[weight]).fit(diagrams)
    scale = ImageScale(
        bandwidth=np.quantile(distances[distances > 1e-5], 0.2),
        birth_range=tuple(gudhi.im_range_fixed_[:2]),
        persistence_range=tuple(gudhi.im_range_fixed_[2:]),
        weight=weight,
    )
    return replace(scale, maximum=max(gudhis_image(each, scale).max() for each in diagrams))


def assert_same_scale(got: ImageScale, want: ImageScale) -> None:
    assert (got.weight, got.resolution) == (want.weight, want.resolution)
    for name in ("bandwidth", "birth_range", "persistence_range", "maximum"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-6, err_msg=name)


@pytest.mark.oracle
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("dim", [0, 1])
def test_the_scale_of_clouds_follows_the_rules_and_images_reach_1(dim, weight):
    pairs = [*rips_pairs(dim), np.empty((0, 2))]
    while sum(map(len, pairs)) < 220:  # more than make the bandwidth; the rest is farther apart
        pairs += [1.5 * each for each in pairs]
    scale = reference.fit_persistence_image(pairs, weight=weight)
    assert_same_scale(scale, rules([each for each in pairs if len(each)], weight))
    images = [reference.persistence_image(each, scale) for each in pairs]
    assert max(image.max() for image in images) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.oracle
@given(
    some=st.lists(st.one_of(strategies.tied_diagrams(), tied_components), min_size=1, max_size=4),
    weight=st.sampled_from(list(WEIGHTS)),
)
def test_the_scale_of_tied_diagrams_follows_the_rules(some, weight):
    if len(np.unique(np.concatenate(some), axis=0)) < 2:
        with pytest.raises(ValueError, match=r"no finite pair|no two pairs farther apart"):
            reference.fit_persistence_image(some, weight=weight)
    else:
        scale = reference.fit_persistence_image(some, weight=weight)
        assert_same_scale(scale, rules([each for each in some if len(each)], weight))


def test_pairs_that_nearly_coincide_do_not_make_the_bandwidth():
    points = np.array([0.0, 1e-6, 0.9e-5, 1.0])
    pairs = np.column_stack([np.zeros(4), 1 + points])
    scale = reference.fit_persistence_image([pairs])
    assert scale.bandwidth == pytest.approx(1.0, rel=1e-4)  # of 6 distances 3 count, all near 1


def test_dimension_0_has_twenty_numbers_and_the_mended_images_have_no_more():
    pairs = rips_pairs(0)
    scale = reference.fit_persistence_image(pairs)
    assert scale.birth_range == (0.0, 0.0)
    image = reference.persistence_image(pairs[0], scale)
    assert len(np.unique(image)) == 20
    np.testing.assert_array_equal(image, np.repeat(image[:, :1], 20, axis=1))

    column = reference.persistence_image(
        pairs[0], reference.fit_persistence_image(pairs, resolution=(1, 20))
    )
    np.testing.assert_allclose(column, image[:, :1], rtol=1e-12)

    mended = reference.fit_persistence_image(pairs, birth_margin=3.0)
    reach = 3 * scale.bandwidth
    np.testing.assert_allclose(mended.birth_range, (-reach, reach), rtol=1e-12)
    assert mended.persistence_range == scale.persistence_range
    bell = np.exp(-(np.linspace(-3, 3, 20) ** 2) / 2)
    image = reference.persistence_image(pairs[0], mended)
    np.testing.assert_allclose(image, column * bell / bell.max(), rtol=1e-9)


def test_other_pixels_are_kept_in_the_scale():
    scale = reference.fit_persistence_image(rips_pairs(1), resolution=(3, 5), weight="one")
    assert (scale.resolution, scale.weight) == ((3, 5), "one")
    assert reference.persistence_image(rips_pairs(1)[0], scale).shape == (5, 3)
