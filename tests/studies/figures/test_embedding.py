"""Figure 6's plane is that of the largest variance, of the same voxels for all networks."""

import importlib.util
import sys

import numpy as np
import pytest

from benchmarks.studies.figures.embedding import (
    A_CLASS,
    make,
    neighbors,
    principal_components,
    sample,
    summary,
)
from tests.studies.figures.scenes import shown, trained
from train.core.errors import UserError


def test_components_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 5)) @ np.diag([3, 2, 1, 0.5, 0.1]) + 7
    plane, explained = principal_components(features)
    values, vectors = np.linalg.eigh(np.cov(features.T))
    np.testing.assert_allclose(explained, values[::-1][:2] / values.sum(), rtol=1e-9)
    np.testing.assert_allclose(plane.var(axis=0, ddof=1), values[::-1][:2], rtol=1e-9)
    along = np.abs((features - features.mean(axis=0)) @ vectors[:, ::-1][:, :2])
    np.testing.assert_allclose(np.abs(plane), along, rtol=1e-6, atol=1e-9)


def test_the_sign_of_a_component_is_fixed():
    features = np.random.default_rng(1).normal(size=(50, 3)) @ np.diag([3, 2, 1])
    plane, _ = principal_components(features)
    for column, direction in zip(
        plane.T, np.linalg.svd(features - features.mean(0))[2], strict=False
    ):
        largest = np.abs(direction).argmax()
        assert np.corrcoef(column, features[:, largest])[0, 1] > 0
    turned, _ = principal_components(-features)
    np.testing.assert_allclose(turned, -plane, atol=1e-9)


def test_equal_features_have_no_variance_to_explain():
    plane, explained = principal_components(np.ones((10, 4)))
    assert not plane.any()
    assert not explained.any()


def test_no_class_has_more_than_its_share_and_all_networks_the_same_voxels():
    scenes = [shown("a", points=3000), shown("b", points=3000)]
    features, truth = sample(scenes)
    assert set(np.unique(truth)) == {8, 12}  # none without a label
    assert (np.bincount(truth)[[8, 12]] == A_CLASS).all()
    for rows in features.values():
        assert (rows.argmax(axis=1) == truth).all()  # a class's mean is its unit vector
    again, _ = sample(scenes)
    assert all((again[role] == features[role]).all() for role in features)


def test_the_record_says_how_much_the_plane_holds():
    numbers = make(trained(), [shown()]).numbers
    assert list(numbers["explained"]) == ["teacher", "student", "student alone"]
    assert 0.5 < sum(numbers["explained"]["teacher"]) <= 1  # two classes: one direction
    assert "voxels of 2 classes" in summary(numbers)


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is optional")
def test_tsne_gives_a_plane_and_no_shares():
    numbers = make(trained(), [shown(points=120)], "tsne").numbers
    assert numbers["explained"] == {}
    assert "distances between groups mean nothing" in summary(numbers)
    with pytest.raises(UserError, match="5 points are too few"):
        neighbors(np.zeros((5, 3)))


def test_tsne_without_scikit_learn_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(
        UserError, match="needs sklearn, which is not installed: pip install scikit"
    ):
        neighbors(np.zeros((50, 3)))
