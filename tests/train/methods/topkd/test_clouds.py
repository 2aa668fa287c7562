"""Clouds of a network's embeddings: different rows of one frame, a fair draw of many frames."""

import pytest
import torch

from tests.train.methods.topkd.conftest import make_frame
from train.core.errors import UserError
from train.methods.topkd.clouds import CloudChoice, collect_clouds, draw_clouds

CHOICE = CloudChoice(stage="top", num_points=10)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampling", ["random", "farthest", "mixed"])
def test_a_cloud_is_different_rows_of_the_frame(sampling):
    frame = torch.randn(30, 3, generator=seeded(1))
    choice = CloudChoice(stage="top", num_points=10, sampling=sampling)
    clouds = draw_clouds(frame, choice, 5, seeded())
    assert clouds.shape == (5, 10, 3)
    rows = {tuple(row) for row in frame.tolist()}
    for cloud in clouds:
        assert len({tuple(row) for row in cloud.tolist()} & rows) == 10
    assert not torch.equal(clouds[0], clouds[1])
    assert torch.equal(draw_clouds(frame, choice, 5, seeded()), clouds)
    assert not torch.equal(draw_clouds(frame, choice, 5, seeded(1)), clouds)


def test_rows_are_normalized_before_they_are_drawn():
    frame = 7 * torch.randn(30, 3, generator=seeded(1))
    choice = CloudChoice(stage="top", num_points=10, normalization="l2")
    clouds = draw_clouds(frame, choice, 2, seeded())
    torch.testing.assert_close(clouds.norm(dim=-1), torch.ones(2, 10))
    assert draw_clouds(frame.bfloat16(), CHOICE, 1, seeded()).dtype == torch.float32


def test_too_small_a_frame_is_refused():
    with pytest.raises(UserError, match=r"--method.num-points 10: a frame has only 9"):
        draw_clouds(torch.randn(9, 3), CHOICE, 1, seeded())
    twins = torch.randn(5, 3).repeat(4, 1)
    farthest = CloudChoice(stage="top", num_points=10, sampling="farthest")
    with pytest.raises(UserError, match=r"a frame has only 5"):
        draw_clouds(twins, farthest, 1, seeded())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    frame = torch.randn(30, 3, generator=seeded(1))
    frame[29, 2] = bad  # perhaps in no cloud, and the teacher is broken all the same
    with pytest.raises(UserError, match=r"--method.stage top: the teacher's features .* are NaN"):
        draw_clouds(frame, CHOICE, 1, seeded())


def test_each_frame_gives_its_clouds_in_order(toy_teacher, frames):
    clouds = collect_clouds(toy_teacher, iter(frames), CHOICE, per_frame=3, at_most=100)
    assert clouds.shape == (18, 10, 10)  # three batches of two frames
    for number, batch in enumerate(frames):
        features = toy_teacher(batch).features["top"]
        for place, frame in enumerate((features[:40], features[40:])):
            begin = 6 * number + 3 * place
            assert (clouds[begin : begin + 3, :, None] == frame).all(dim=-1).any(dim=-1).all()


def test_of_more_clouds_than_are_kept_each_is_as_likely(toy_teacher):
    """Which of six frames the four kept clouds are of, over many seeds."""
    frames = [make_frame(seed, (12,)) for seed in range(6)]
    firsts = [toy_teacher(batch).features["top"] for batch in frames]
    counts = torch.zeros(6)
    for seed in range(150):
        clouds = collect_clouds(toy_teacher, frames, CHOICE, per_frame=2, at_most=4, seed=seed)
        assert len(clouds) == 4
        for cloud in clouds:
            counts += torch.tensor([float((each == cloud[0]).all(dim=1).any()) for each in firsts])
    assert counts.sum() == 600
    # 100 expected of each; a standard deviation is below 9.2.
    assert 60 < counts.min() <= counts.max() < 140
