"""Clouds of a network's embeddings: regions of frames, and a fair draw of many frames."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from tests.train.methods.topkd.conftest import SMALL, make_frame
from train.core.errors import UserError
from train.methods.topkd import clouds as clouds_module
from train.methods.topkd.clouds import CloudChoice, collect_clouds, draw_clouds
from train.methods.topkd.method import TopKD
from train.methods.topkd.options import TopKDConfig
from train.methods.topkd.regions import Regions, nearest_rows, positions

REGION = {"region": 20}


def coordinates(rows, seed=0):
    return 50 * torch.rand(rows, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 7, 40, 99])
def test_the_nearest_rows_are_scipys(size):
    coord = coordinates(40)
    found = nearest_rows(coord, 11, size)
    _, want = cKDTree(coord.double().numpy()).query(coord[11].double().numpy(), k=min(size, 40))
    assert found.tolist() == np.atleast_1d(want).tolist()
    assert found[0] == 11


def test_of_every_frame_there_is_one_region_and_others_in_the_next_call():
    coord, sizes = coordinates(90), (40, 8, 42)
    offset = torch.tensor(sizes).cumsum(0)
    regions = Regions(10)
    seen = []
    for _ in range(5):
        rows, ends = regions(coord, offset)
        assert ends.tolist() == [10, 18, 28]  # the second frame has 8 rows alone
        begin = 0
        for part, size in zip(torch.tensor_split(rows, ends[:-1]), sizes, strict=True):
            frame = coord[begin : begin + size]
            want = nearest_rows(frame, int(part[0]) - begin, 10) + begin
            assert torch.equal(part, want)
            begin += size
        seen.append(tuple(rows.tolist()))
    assert len(set(seen)) == 5
    again = Regions(10)
    again.load_state_dict({"calls": torch.tensor(3)})
    assert tuple(again(coord, offset)[0].tolist()) == seen[3]


def test_every_row_can_be_a_center():
    coord, offset = coordinates(6), torch.tensor([6])
    regions = Regions(1)
    counts = torch.zeros(6)
    for _ in range(600):
        rows, _ = regions(coord, offset)
        counts[rows] += 1
    # 100 expected of each; a standard deviation is 9.1.
    assert 60 < counts.min() <= counts.max() < 140


def test_a_cloud_is_of_one_region():
    frame, coord = torch.randn(200, 4, generator=torch.Generator().manual_seed(1)), coordinates(200)
    choice = CloudChoice(stage="top", num_points=10, region=12, sampling="random")
    clouds = draw_clouds(frame, choice, 6, torch.Generator().manual_seed(0), coord)
    assert clouds.shape == (6, 10, 4)
    for cloud in clouds:
        rows = (cloud[:, None] == frame).all(dim=-1).nonzero()[:, 1]
        assert len(set(rows.tolist())) == 10
        hull = [set(nearest_rows(coord, center, 12).tolist()) for center in range(200)]
        assert any(set(rows.tolist()) <= region for region in hull)
    with pytest.raises(ValueError, match="coord is None"):
        draw_clouds(frame, choice, 1, torch.Generator().manual_seed(0))


def test_a_region_is_normalized_by_itself():
    frame, coord = (
        7 * torch.randn(90, 4, generator=torch.Generator().manual_seed(1)),
        coordinates(90),
    )
    choice = CloudChoice(stage="top", num_points=15, region=15, normalization="rms")
    for cloud in draw_clouds(frame, choice, 3, torch.Generator().manual_seed(0), coord):
        centered = cloud - cloud.mean(dim=0)
        assert centered.square().sum(dim=1).mean().sqrt() == pytest.approx(1.0, rel=1e-4)


def test_without_regions_clouds_are_those_that_they_were():
    """The numbers that were drawn before there were regions."""
    frame = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    choice = CloudChoice(stage="top", num_points=4)
    generator = torch.Generator().manual_seed(0)
    found = draw_clouds(frame, choice, 2, generator, coordinates(30))
    generator.manual_seed(0)
    for cloud in found:
        torch.randint(30, (), generator=generator)
        want = clouds_module.sample_points(frame, 4, sampling="random", generator=generator)
        assert torch.equal(cloud, frame[want])


def test_each_frame_is_drawn_from_with_its_own_positions(toy_teacher):
    frame = make_frame(0)
    choice = CloudChoice(stage="top", num_points=10, region=10)
    clouds = collect_clouds(toy_teacher, [frame], choice, per_frame=2, at_most=9)
    features = toy_teacher(frame).features["top"]
    for number, cloud in enumerate(clouds):
        rows = (cloud[:, None] == features).all(dim=-1).nonzero()[:, 1]
        first, end = (0, 40) if number < 2 else (40, 90)
        assert first <= rows.min() <= rows.max() < end
        near = [
            nearest_rows(frame["coord"][first:end], center, 10) for center in range(end - first)
        ]
        assert any(set((rows - first).tolist()) == set(each.tolist()) for each in near)


@pytest.mark.parametrize("broken", ["missing", "coarse"])
def test_rows_without_a_position_are_refused(
    prepared, toy_teacher, toy_student, frame, tmp_path, broken
):
    config, path = prepared(**REGION)
    other = {name: value for name, value in frame.items() if name != "coord"}
    message = "stage top has rows without a position"
    if broken == "coarse":
        other["coord"] = frame["coord"][:30]
        message = "stage top is coarser than the voxels"
    for refuse in (
        lambda: TopKD.prepare(config, toy_teacher, iter([other]), tmp_path),
        lambda: TopKD(config, toy_student, toy_teacher, artifacts=path)(
            toy_student, toy_teacher, other
        ),
    ):
        with pytest.raises(UserError, match=f"--method.region: {message}.*--method.region 0"):
            refuse()


def test_the_term_is_of_regions(prepared, toy_student, toy_teacher, frame, monkeypatch):
    """Of 16 points among 16: the rows of a region, the same in both networks, others each step."""
    config, path = prepared(region=16, exact=True)
    method = TopKD(config, toy_student, toy_teacher, artifacts=path)
    given = []
    term = method.term

    def seen(target, features, offset):
        given.append((target, features, offset))
        return term(target, features, offset)

    monkeypatch.setattr(method, "term", seen)
    for _ in range(2):
        assert method(toy_student, toy_teacher, frame)["image"].value > 0
    whole = toy_teacher(frame).features["top"]
    own = toy_student(frame).features["top"]
    chosen = []
    for target, features, offset in given:
        assert offset.tolist() == [16, 32]
        rows = (target[:, None] == whole).all(dim=-1).nonzero()[:, 1]
        torch.testing.assert_close(features, own[rows])
        assert set(rows[:16].tolist()) == set(
            nearest_rows(frame["coord"][:40], int(rows[0]), 16).tolist()
        )
        assert rows[16:].min() >= 40
        chosen.append(tuple(rows.tolist()))
    assert chosen[0] != chosen[1]
    assert int(method.state_dict()["regions.calls"]) == 2


def test_artifacts_of_other_clouds_are_refused(prepared, toy_student, toy_teacher):
    config, path = prepared(**REGION)
    whole = dataclasses.replace(config, region=0)
    with pytest.raises(UserError, match=r"made with --method.region 20, and here it is 0"):
        TopKD(whole, toy_student, toy_teacher, artifacts=path)


def test_a_region_smaller_than_a_cloud_is_refused():
    with pytest.raises(UserError, match=r"--method.region is 15: 0 for whole frames, or at least"):
        TopKDConfig(**SMALL | {"region": 15})
    with pytest.raises(UserError, match=r"--method.region is -1"):
        TopKDConfig(region=-1)


def test_positions_are_the_batchs():
    frame = make_frame(0)
    assert positions(frame, 90, "top") is frame["coord"]


# ---- clouds --------------------------------------------------------------------------------------


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
