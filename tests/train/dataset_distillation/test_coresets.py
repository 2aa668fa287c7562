"""Coresets: by hand where the answer is plain, and by trying all choices where it is not."""

import itertools

import numpy as np
import pytest

from train.core.errors import UserError
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.coresets import CORESETS, coreset, draw, herd, k_center

RNG = np.random.default_rng(0)


def test_herding_takes_the_nearest_to_the_mean_then_balances():
    features = np.array([[0.0], [4.0], [5.0], [11.0]])  # the mean is 5
    assert herd(features, 1, RNG).tolist() == [2]
    # (5 + 4) / 2 = 4.5 is nearest to 5; then 0 and 11 would give 3 and 20 / 3.
    assert herd(features, 3, RNG).tolist() == [2, 1, 3]
    chosen = herd(features, 4, RNG)
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_each_step_of_herding_is_the_best_of_all(seed):
    features = np.random.default_rng(seed).normal(size=(8, 3))
    chosen = herd(features, 5, RNG).tolist()
    for count in range(1, 6):
        before = chosen[: count - 1]
        off = {
            new: np.linalg.norm(features[[*before, new]].mean(axis=0) - features.mean(axis=0))
            for new in set(range(8)) - set(before)
        }
        assert off[chosen[count - 1]] == min(off.values())


@pytest.mark.parametrize("seed", range(5))
def test_k_center_covers_within_twice_the_best(seed):
    """The greedy choice is a 2-approximation (Gonzalez 1985)."""
    features = np.random.default_rng(seed).normal(size=(9, 2))

    def radius(chosen):
        apart = np.linalg.norm(features[:, None] - features[list(chosen)], axis=2)
        return apart.min(axis=1).max()

    best = min(radius(chosen) for chosen in itertools.combinations(range(9), 3))
    found = k_center(features, 3, RNG)
    assert len(set(found.tolist())) == 3
    assert radius(found) <= 2 * best


@pytest.mark.parametrize("choose", [herd, k_center, draw])
def test_equal_features_are_still_chosen_once_each(choose):
    chosen = choose(np.zeros((6, 2)), 6, np.random.default_rng(0))
    assert sorted(chosen.tolist()) == list(range(6))


@pytest.mark.parametrize("name", CORESETS)
def test_a_coreset_has_as_many_of_each_class(name):
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.repeat([0, 1, 2], [5, 4, 6]))
    clouds = PointClouds(rng.normal(size=(15, 4, 3)).astype(np.float32), labels, ("a", "b", "c"))
    features = rng.normal(size=(15, 2))
    chosen = coreset(name, clouds, features, 3, seed=0)
    assert labels[chosen].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert len(set(chosen.tolist())) == 9
    with pytest.raises(UserError, match="class b has 4 clouds"):
        coreset(name, clouds, features, 5, seed=0)


def test_drawn_clouds_depend_on_the_seed():
    features = np.zeros((100, 1))
    a, b, c = (draw(features, 5, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert a == b != c
