"""A generator that starts from real points: curves by a plain loop, and a start that comes near."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.lidar.test_make import OPTIONS
from tests.train.dataset_distillation.lidar.toy_streets import CLASSES, streets
from train.core.errors import UserError
from train.dataset_distillation.generator import generate
from train.dataset_distillation.lidar.start import (
    FitOptions,
    FrameDistillation,
    class_curves,
    curve_points,
    fit_generator,
    tempered,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def real():
    return streets(6).clouds


def test_a_curve_has_each_point_of_its_class_once_and_neighbors_are_near(real):
    curves = class_curves(real, CLASSES)
    assert set(curves) == {0, 1, 2}
    for number, curve in curves.items():
        own = real.points[real.parts == number]
        assert sorted(map(tuple, curve.tolist())) == sorted(map(tuple, own.tolist()))
        step = (curve[1:] - curve[:-1]).norm(dim=1).mean()
        drawn = torch.from_numpy(own)
        apart = (drawn[1:] - drawn[:-1]).norm(dim=1).mean()
        assert step < 0.4 * apart


def test_a_noise_gives_the_point_at_its_share_of_the_interval():
    curves = {0: torch.arange(12.0).view(4, 3), 2: torch.full((1, 3), 7.0)}
    intervals = ((0, 0.0, 0.5), (1, 0.5, 0.75), (2, 0.75, 1.0))
    noise = torch.tensor([0.0, 0.13, 0.49, 0.6, 0.75, 0.99])
    points, there = curve_points(intervals, curves, noise)
    assert there.tolist() == [True, True, True, False, True, True]
    assert points[[0, 1, 2, 4, 5], 0].tolist() == [0.0, 3.0, 9.0, 7.0, 7.0]


OURS = dataclasses.replace(OPTIONS, width=32, w0=60.0, clouds_per_class=2)
START = FitOptions(steps=150, points=128, lr=5e-3)


def test_generated_points_start_near_real_ones_of_their_class(real):
    distillations = [FrameDistillation(real, OURS, CPU, s) for s in (FitOptions(), START)]
    for distillation in distillations:
        distillation.begin()

    def apart(distillation):
        points, _, parts = generate(distillation.synthetic.generator, 300, 0)
        found = []
        for number in (0, 1, 2):
            own = torch.from_numpy(real.points[real.parts == number])
            found.append(torch.cdist(points[parts == number], own).amin(dim=1).mean())
        return float(torch.stack(found).mean())

    before, after = map(apart, distillations)
    assert after < 0.5 * before


def test_each_frame_stands_for_its_own_share_of_the_real_ones(real, monkeypatch):
    from train.dataset_distillation.lidar import start

    taken = []
    plain = start.class_curves
    monkeypatch.setattr(
        start, "class_curves", lambda own, names: taken.append(own) or plain(own, names)
    )
    for start_options in ({"steps": 1}, {"steps": 1, "frames": 1}):
        FrameDistillation(real, OURS, CPU, dataclasses.replace(START, **start_options)).begin()
    assert [len(own) for own in taken] == [3, 3, 1, 1]
    first = {cloud.tobytes() for cloud in taken[0].points}
    assert not first & {cloud.tobytes() for cloud in taken[1].points}


def test_losses_fall_and_repeat_themselves(real):
    def fitted():
        made = FrameDistillation(real, OURS, CPU, FitOptions()).synthetic.generator
        return fit_generator(made, real, START, 3)

    losses = fitted()
    assert np.mean(losses[-10:]) < 0.3 * losses[0]
    assert losses == fitted()


def test_a_state_of_another_start_is_refused(real, tmp_path):
    FrameDistillation(real, OURS, CPU, FitOptions()).run(tmp_path / "state.pt")
    other = FrameDistillation(real, OURS, CPU, dataclasses.replace(START, steps=1))
    with pytest.raises(
        UserError, match=r"state\.pt: was made with steps 0 of its start, and here it is 1"
    ):
        other.run(tmp_path / "state.pt", resume=True)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="--start-steps -1"):
        FitOptions(steps=-1)
    with pytest.raises(UserError, match="--start-frames -1"):
        FitOptions(frames=-1)
    with pytest.raises(UserError, match="--share-power 2"):
        FitOptions(share_power=2.0)
    with pytest.raises(UserError, match="both above 0"):
        FitOptions(lr=0.0)


def test_tempered_intervals_by_hand():
    plain = ((0, 0.0, 0.64), (2, 0.64, 0.8), (5, 0.8, 1.0))
    halves = tempered(plain, 0.5)  # 0.8, 0.4, 0.447 over their sum
    total = 0.8 + 0.4 + 0.2**0.5
    assert [number for number, _, _ in halves] == [0, 2, 5]
    assert [end for _, _, end in halves] == pytest.approx([0.8 / total, 1.2 / total, 1.0])
    assert [begin for _, begin, _ in halves] == [0.0, *[end for _, _, end in halves[:-1]]]
    assert halves[-1][2] == 1.0
    assert [end for _, _, end in tempered(plain, 0.0)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_rare_classes_have_more_points_than_their_share(real):
    wanted = dataclasses.replace(START, steps=1, share_power=0.0)
    made = FrameDistillation(real, OURS, CPU, wanted).synthetic.generator
    _, _, parts = generate(made, 3000, 0)
    shares = torch.bincount(parts.flatten(), minlength=4) / parts.numel()
    torch.testing.assert_close(shares, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0]), atol=0.02, rtol=0)


def test_matching_after_a_start_leaves_the_first_layer(real, monkeypatch):
    def weights(made):
        return [layer.weight.detach().clone() for layer in (made.siren[0], made.decoder)]

    for start, kept in ((START, True), (FitOptions(), False)):
        distillation = FrameDistillation(real, OURS, CPU, start)
        distillation.begin()
        before = weights(distillation.synthetic.generator)
        monkeypatch.setattr(distillation, "begin", lambda: None)  # it has begun
        distillation.run()
        after = weights(distillation.synthetic.generator)
        assert torch.equal(before[0], after[0]) is kept
        assert not torch.equal(before[1], after[1])
