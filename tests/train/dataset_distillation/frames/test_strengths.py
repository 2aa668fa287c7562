"""Strengths of generated points are those of their class, and tell no more than real ones."""

import numpy as np

from tests.train.dataset_distillation.frames.toy_streets import streets
from train.dataset_distillation.make import QUANTILES, draw_strengths, strength_table


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
