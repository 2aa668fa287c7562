"""What a network is trained on: points resampled, and signs that few or all points decide."""

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.toys import CLASSES, toy_clouds
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
