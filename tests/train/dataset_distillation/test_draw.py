"""What a network is trained on: points resampled, signs decided, and coresets."""

import itertools

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.conftest import CLASSES, toy_clouds
from train.core.errors import UserError
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.coresets import CORESETS, coreset, draw, herd, k_center
from train.dataset_distillation.generator import GeneratorSpec, build_generator, generate
from train.dataset_distillation.make import SIGNS_ONCE_FROM, SmallSet
from train.dataset_distillation.rotator import Rotator

NONE, FROZEN = Rotator("none"), Rotator("frozen")


def generated(clouds_per_class, rotator, points=64):
    spec = GeneratorSpec(classes=CLASSES, clouds_per_class=clouds_per_class, width=16)
    generator = build_generator(spec, 0)
    made, labels, _ = generate(generator, points, 0)
    clouds = toy_clouds(clouds_per_class, 0, points).with_points(made.numpy())
    assert labels.tolist() == clouds.labels.tolist()
    return SmallSet(clouds, generator, rotator)


def real(clouds_per_class, rotator, *, redrawn=True):
    return SmallSet(toy_clouds(clouds_per_class, 0), None, rotator, redrawn=redrawn)


def drawn_signs(made, points, epochs):
    """Return the signs that each epoch's clouds have against the generator's bare points."""
    draw = made.draw(points, 5)
    found = []
    for epoch in range(epochs):
        bare = generate(made.generator, max(points, 64), 5 * 100_003 + epoch)[0]
        few = generate(made.generator, points, 5 * 100_003 + epoch)[0]
        got = draw(epoch + 1)[0]
        base = bare[:, :points] if len(made.clouds) < SIGNS_ONCE_FROM * 4 else few
        ratio = got / base
        signs = ratio[:, 0].round()
        torch.testing.assert_close(got, base * signs[:, None])
        found.append(signs)
    return torch.stack(found)


def test_noise_without_a_seed_is_spread_evenly():
    generator = build_generator(GeneratorSpec(classes=("a",), clouds_per_class=2, width=8), 0)
    made = generate(generator, 4, None)[0]
    noise = torch.tensor([[0.125, 0.375, 0.625, 0.875]]).expand(2, -1)
    torch.testing.assert_close(made, generator(noise, torch.arange(2)).detach())


@pytest.mark.parametrize("make_set", [generated, real])
def test_every_epoch_sees_other_points_and_the_seed_repeats_them(make_set):
    made = make_set(2, NONE)
    draw, again, other = (made.draw(10, seed) for seed in (3, 3, 4))
    assert draw(0)[0].shape == (8, 10, 3)
    assert draw(0)[1].tolist() == made.clouds.labels.tolist()
    assert torch.equal(draw(1)[0], again(1)[0])
    assert not torch.equal(draw(0)[0], draw(1)[0])
    assert not torch.equal(draw(0)[0], other(0)[0])


def test_what_is_redrawn_are_points_of_the_same_cloud():
    made = real(2, NONE)
    got = made.draw(30, 0)(1)[0].numpy()
    for cloud, all_points in zip(got, made.clouds.points, strict=True):
        there = {tuple(point) for point in all_points.tolist()}
        seen = {tuple(point) for point in cloud.tolist()}
        assert seen <= there
        assert len(seen) > 10


def test_clouds_stay_where_nothing_is_redrawn():
    made = real(2, FROZEN, redrawn=False)
    draw = made.draw(7, 0)
    assert np.array_equal(draw(0)[0].numpy(), made.clouds.points[:, :7])


def test_few_clouds_have_signs_of_every_draw_and_many_those_of_the_whole():
    few = drawn_signs(generated(1, FROZEN), 12, 40)
    assert len(torch.unique(few, dim=0)) > 1
    made = generated(SIGNS_ONCE_FROM, FROZEN)
    many = drawn_signs(made, 12, 40)
    assert len(torch.unique(many, dim=0)) == 1
    whole = FROZEN.canonical(generate(made.generator, 64, None)[0], align=False).signs
    assert torch.equal(many[0], whole)


def test_the_signs_of_a_draw_are_decided_by_as_many_points_as_the_clouds_have():
    """Not by the few that the network sees."""
    made = generated(1, FROZEN)
    draw = made.draw(6, 0)
    for epoch in range(20):
        bare = generate(made.generator, 64, epoch)[0]
        want = FROZEN(bare, align=False)[:, :6]
        torch.testing.assert_close(draw(epoch + 1)[0], want)


# ---- coresets ------------------------------------------------------------------------------------


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
