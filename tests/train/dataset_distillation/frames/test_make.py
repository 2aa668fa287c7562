"""Small sets of frames by every method, their strengths and units, and turns about z alone."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.frames.toy_streets import TAKE, streets
from train.core.errors import UserError
from train.dataset_distillation.make import (
    QUANTILES,
    draw_strengths,
    make,
    sampled,
    score,
    strength_table,
)
from train.dataset_distillation.networks.segmenters import HEIGHT
from train.dataset_distillation.options import DistillOptions, RotatorOptions
from train.dataset_distillation.prepare import canonical, prepare
from train.dataset_distillation.start import StartOptions
from train.dataset_distillation.training import FrameTraining

CPU = torch.device("cpu")
OPTIONS = DistillOptions(
    task="parts",
    clouds_per_class=2,
    points=60,
    iterations=2,
    outer=2,
    inner=1,
    real_batch=3,
    width=16,
    widths=(8, 16, 32),
)


@pytest.fixture(scope="module")
def real():
    return prepare(streets(5), streets(2, first=70), OPTIONS)


@pytest.fixture(scope="module")
def made(real):
    return make(real, OPTIONS, CPU, points=90)


def test_generated_frames_have_every_class_in_its_share(made, real):
    assert made.clouds.points.shape == (2, 90, 3)
    assert made.clouds.meters == 10.0
    assert made.clouds.part_names == real.train.part_names
    assert len(made.losses) == 2
    many = sampled(made.generator, made.rotator, 4000, 0, made.strengths, made.clouds.meters)
    counts, wanted = many.part_counts(), real.train.part_counts()
    np.testing.assert_allclose(counts / counts.sum(), wanted / wanted.sum(), atol=0.02)
    assert (many.parts >= 0).all()
    assert counts[3] == 0


def test_generated_points_have_strengths_of_their_class(made, real):
    for number in range(3):
        own = made.clouds.strength[made.clouds.parts == number]
        seen = real.train.strength[real.train.parts == number]
        assert seen.min() <= own.min()
        assert own.max() <= seen.max()


def test_an_epoch_draws_other_points_and_chosen_frames_stay(made, real):
    draw = made.draw(50, seed=1)
    first, second, again = draw(0), draw(1), made.draw(50, seed=1)(0)
    assert first[0].shape == (2, 50, 3)
    assert not torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    fixed = made.draw(50, seed=1, resample=False)
    assert torch.equal(fixed(0)[0], fixed(1)[0])


def test_random_takes_real_frames_as_they_are(real):
    options = dataclasses.replace(OPTIONS, method="random", seed=4)
    chosen = make(real, options, CPU, points=90)
    rows = [real.train.names.index(name) for name in chosen.clouds.names]
    assert len(set(rows)) == 2
    wanted = real.train.take(rows)
    assert np.array_equal(chosen.clouds.points, wanted.points)
    assert np.array_equal(chosen.clouds.strength, wanted.strength)
    assert np.array_equal(chosen.clouds.parts, wanted.parts)
    assert chosen.numbers_stored == 2 * 120 * 5
    others = [
        make(real, dataclasses.replace(options, seed=seed), CPU, points=90).clouds.names
        for seed in range(6)
    ]
    assert len(set(others)) > 1


@pytest.mark.parametrize("method", ["herding", "k-center"])
def test_coresets_look_at_features_of_frames(real, method):
    options = dataclasses.replace(OPTIONS, method=method)
    chosen = make(real, options, CPU, points=90)
    assert set(chosen.clouds.names) <= set(real.train.names)
    # Frames whose features are known: k-center takes the two that lie apart.
    features = np.array([[0.0], [0.1], [0.0], [5.0], [0.2]])
    chosen = make(real, options, CPU, points=90, features=features)
    if method == "k-center":
        assert "toy/000003" in chosen.clouds.names


def test_free_coordinates_keep_classes_and_get_strengths(real):
    options = dataclasses.replace(OPTIONS, method="gradient-matching", points=120)
    learned = make(real, options, CPU, points=90)
    assert learned.clouds.points.shape == (2, 120, 3)
    assert (learned.clouds.parts == -1).any()
    assert not learned.clouds.strength[learned.clouds.parts == -1].any()
    assert learned.generator is None


def test_a_network_is_trained_and_scored(made, real):
    options = FrameTraining(network="pointnet", epochs=2, test_every=1)
    found = score(made, real, options, CPU, points=60)
    assert set(found.found) == set(real.test.names)
    assert 0 <= found.last <= found.best <= 1


ROTATED = dataclasses.replace(OPTIONS, rotator=RotatorOptions(mode="frozen", upright=True))


def turned(frames, degrees):
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return frames.with_points(frames.points @ turn)


@pytest.mark.parametrize("degrees", [10, 90, 200, 355])
def test_the_rotator_undoes_a_turn_about_z_and_keeps_origin_and_height(degrees):
    frames = streets(4)
    found = [
        canonical(prepare(each, None, ROTATED).train, ROTATED_ROTATOR)
        for each in (frames, turned(frames, degrees))
    ]
    np.testing.assert_allclose(found[0].points, found[1].points, atol=1e-5)
    points = found[0].points
    assert np.array_equal(points[..., 2], frames.points[..., 2])
    np.testing.assert_allclose(
        np.linalg.norm(points, axis=2), np.linalg.norm(frames.points, axis=2), atol=1e-6
    )


ROTATED_ROTATOR = prepare(streets(2), None, ROTATED).rotator


def test_mistakes_are_named(real):
    tilted = dataclasses.replace(OPTIONS, rotator=RotatorOptions(mode="frozen"))
    with pytest.raises(UserError, match="give --upright"):
        prepare(streets(2), None, tilted)
    other = streets(2, take=dataclasses.replace(TAKE, range_m=12.0))
    with pytest.raises(UserError, match="other classes or another range"):
        prepare(streets(2), other, OPTIONS)
    with pytest.raises(UserError, match="--cpc 6: there are 5 frames"):
        make(real, dataclasses.replace(OPTIONS, clouds_per_class=6), CPU, points=90)
    with pytest.raises(UserError, match="--distill-points 500"):
        make(real, dataclasses.replace(OPTIONS, points=500), CPU, points=90)
    with pytest.raises(UserError, match="no test clouds to score on"):
        score(
            make(real, dataclasses.replace(OPTIONS, method="random"), CPU, points=90),
            dataclasses.replace(real, test=None),
            FrameTraining(),
            CPU,
            points=60,
        )


def test_heights_come_back_in_meters(real):
    """The generator's are stretched: started from real points, its ground is where theirs is."""
    options = dataclasses.replace(OPTIONS, width=32, w0=60.0)
    start = StartOptions(steps=150, points=128, lr=5e-3)
    found = make(real, options, CPU, points=500, start=start, match=False)
    assert found.losses == ()
    height = found.clouds.coord_m[..., 2][found.clouds.parts == 0]
    assert np.abs(height.mean() + 1.7) < 0.3
    assert np.abs(found.clouds.coord_m[..., 2]).max() <= 10.0 / HEIGHT


def test_learned_coordinates_start_at_the_real_ones(real):
    options = dataclasses.replace(
        OPTIONS, method="gradient-matching", points=120, coordinate_lr=1e-9
    )
    learned = make(real, options, CPU, points=90).clouds
    for cloud in learned.points:
        apart = [np.abs(np.sort(cloud, 0) - np.sort(own, 0)).max() for own in real.train.points]
        assert min(apart) < 1e-5


def test_the_table_runs_from_the_least_to_the_greatest_of_each_class():
    frames = streets(3)
    table = strength_table(frames)
    assert table.shape == (4, QUANTILES)
    own = frames.strength[frames.parts == 1]
    assert table[1, 0] == own.min()
    assert table[1, -1] == own.max()
    np.testing.assert_allclose(table[1, QUANTILES // 2], np.median(own), rtol=1e-6)
    assert not table[3].any()


def test_draws_are_distributed_as_the_class_is():
    rng = np.random.default_rng(0)
    table = np.quantile(rng.beta(2, 5, 20_000), np.linspace(0, 1, QUANTILES))
    table = np.stack([table, np.full(QUANTILES, 0.7)]).astype(np.float32)
    drawn = draw_strengths(table, np.zeros((1, 20_000), np.int64), 3)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        wanted = np.interp(share, np.linspace(0, 1, QUANTILES), table[0])
        assert abs(np.quantile(drawn, share) - wanted) < 0.01
    segment = np.array([[1, 1, -1]])
    np.testing.assert_allclose(draw_strengths(table, segment, 0), [[0.7, 0.7, 0.0]], rtol=1e-6)


def test_draws_depend_on_the_words_alone():
    table = np.linspace(0, 1, QUANTILES, dtype=np.float32)[None]
    segment = np.zeros((2, 30), np.int64)
    first, again, other = (draw_strengths(table, segment, *w) for w in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
