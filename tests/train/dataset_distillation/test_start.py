"""A start from real clouds: walks, curves by a plain loop, and generators that come near them."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.conftest import toy_clouds
from tests.train.dataset_distillation.frames.test_make import OPTIONS as FRAME_OPTIONS
from tests.train.dataset_distillation.frames.toy_scenes import scenes
from train.core.errors import UserError
from train.dataset_distillation import distill, start
from train.dataset_distillation.distill import Distillation
from train.dataset_distillation.generator import GeneratorSpec, build_generator, generate, tempered
from train.dataset_distillation.make import make
from train.dataset_distillation.options import STARTS, DistillOptions, RotatorOptions
from train.dataset_distillation.prepare import canonical, prepare
from train.dataset_distillation.start import (
    HilbertCurves,
    NearestCurves,
    StartOptions,
    at,
    curve_points,
    fit_generator,
    part_curves,
    walk,
)

CPU = torch.device("cpu")
OPTIONS = DistillOptions(
    points=24, iterations=1, outer=1, inner=1, real_batch=3, width=32, w0=30.0, widths=(4, 8, 16)
)


def test_a_walk_goes_to_the_nearest_point_that_is_left():
    cloud = torch.from_numpy(np.random.default_rng(0).normal(size=(30, 3)))
    order = walk(cloud).tolist()
    assert sorted(order) == list(range(30))
    assert order[0] == int(cloud[:, 2].argmin())
    for place in range(1, 30):
        left = [p for p in range(30) if p not in order[:place]]
        apart = {p: float((cloud[p] - cloud[order[place - 1]]).norm()) for p in left}
        assert order[place] == min(apart, key=apart.__getitem__)


def test_places_on_a_curve_by_hand():
    curve = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 2, 0]]])
    places = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0]])
    want = [[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 1, 0], [1, 2, 0]]
    assert at(curve, places)[0].tolist() == want


def fitted(generator, clouds, steps):
    """Fit a generator to nearest curves; return the distance of the last step."""
    start = StartOptions(curve="nearest", steps=steps, points=None)
    return fit_generator(generator, NearestCurves(clouds, CPU), start, 0)[-1]


def test_a_fitted_generator_makes_the_clouds():
    """Every point it makes lies near its cloud, and nearer than to the others."""
    clouds = torch.from_numpy(toy_clouds(1, 3).points)
    spec = GeneratorSpec(classes=("a", "b", "c", "d"), clouds_per_class=1, width=64, w0=60.0)
    generator = build_generator(spec, 0)
    before = fitted(generator, clouds, 1)
    after = fitted(generator, clouds, 150)
    assert after < 0.2 * before
    made = generate(generator, 100, 0)[0]
    apart = torch.cdist(made[:, None].expand(-1, 4, -1, -1), clouds[None].expand(4, -1, -1, -1))
    mean = apart.amin(dim=3).mean(dim=2)
    assert mean.argmin(dim=1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("start", STARTS[1:])
def test_both_kinds_of_learned_clouds_start_from_the_same_real_ones(start, monkeypatch):
    """And these are the ones that the coreset of that name consists of."""
    real = prepare(toy_clouds(6, 0, points=24), None, OPTIONS, rotate=False)
    features = np.random.default_rng(1).normal(size=(24, 5))
    seen = []
    monkeypatch.setattr(distill, "NearestCurves", lambda clouds, device: seen.append(clouds))
    monkeypatch.setattr(distill, "fit_generator", lambda *_: [])
    options = dataclasses.replace(OPTIONS, start=start, clouds_per_class=2, coordinate_lr=1e-12)

    def made(method, start):
        wanted = dataclasses.replace(options, method=method, start=start)
        return make(real, wanted, CPU, points=24, features=features).clouds.points

    free, _, chosen = made("gradient-matching", start), made("dd3d", start), made(start, None)
    assert np.array_equal(seen[0], chosen)
    np.testing.assert_allclose(free, chosen, atol=1e-6)


def test_a_run_that_is_resumed_does_not_start_again(tmp_path, monkeypatch):
    real, state = toy_clouds(4, 0), tmp_path / "state.pt"
    options = dataclasses.replace(OPTIONS, start="random", start_steps=20)
    whole = Distillation(real, options, CPU).run(state)
    monkeypatch.setattr(distill, "fit_generator", lambda *_: [])
    again = Distillation(real, options, CPU).run(state, resume=True)
    for a, b in zip(whole.synthetic.parameters(), again.synthetic.parameters(), strict=True):
        assert torch.equal(a, b)
    other = Distillation(real, options, CPU).run()
    assert not torch.equal(
        other.synthetic.generator.decoder.weight, whole.synthetic.generator.decoder.weight
    )


@pytest.mark.parametrize("method", ["gradient-matching", "distribution-matching"])
def test_free_coordinates_keep_the_signs_of_the_whole_clouds(method):
    """Not those that the few points that are learned would have."""
    options = dataclasses.replace(
        OPTIONS,
        method=method,
        start="random",
        points=6,
        clouds_per_class=3,
        coordinate_lr=1e-12,
        rotator=RotatorOptions(mode="frozen"),
    )
    real = prepare(toy_clouds(3, 0), None, options, rotate=True)
    made = make(real, options, CPU, points=48).clouds
    whole = canonical(real.train, real.rotator)
    few = real.rotator.canonical(torch.from_numpy(made.points), align=False).signs
    assert (few < 0).any(), "six points decide as all do: nothing is seen"
    for cloud, label in zip(made.points, made.labels, strict=True):
        own = whole.points[whole.rows_of(int(label))].reshape(-1, 3)
        apart = np.abs(cloud[:, None] - own[None]).max(axis=2).min(axis=1)
        assert apart.max() < 1e-6


@pytest.fixture(scope="module")
def frames():
    return scenes(6)


def test_a_curve_has_each_point_of_its_class_once_and_neighbors_are_near(frames):
    curves = part_curves(frames)
    assert set(curves) == {0, 1, 2}
    for number, curve in curves.items():
        own = frames.points[frames.parts == number]
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


OURS = dataclasses.replace(FRAME_OPTIONS, width=32, w0=60.0, clouds_per_class=2)
START = StartOptions(steps=150, points=128, lr=5e-3)


def started(frames, start):
    return Distillation(frames, OURS, CPU, start=start)


def test_generated_points_start_near_real_ones_of_their_class(frames):
    distillations = [started(frames, s) for s in (StartOptions(), START)]
    for distillation in distillations:
        distillation.begin()

    def apart(distillation):
        points, _, parts = generate(distillation.synthetic.generator, 300, 0)
        found = []
        for number in (0, 1, 2):
            own = torch.from_numpy(frames.points[frames.parts == number])
            found.append(torch.cdist(points[parts == number], own).amin(dim=1).mean())
        return float(torch.stack(found).mean())

    before, after = map(apart, distillations)
    assert after < 0.5 * before


def test_each_frame_stands_for_its_own_share_of_the_real_ones(frames, monkeypatch):
    taken = []
    monkeypatch.setattr(start, "part_curves", lambda own: taken.append(own) or part_curves(own))
    for start_options in ({"steps": 1}, {"steps": 1, "frames": 1}):
        started(frames, dataclasses.replace(START, **start_options)).begin()
    assert [len(own) for own in taken] == [3, 3, 1, 1]
    first = {cloud.tobytes() for cloud in taken[0].points}
    assert not first & {cloud.tobytes() for cloud in taken[1].points}


def test_losses_fall_and_repeat_themselves(frames):
    def fitted():
        made = started(frames, StartOptions()).synthetic.generator
        curves = HilbertCurves(frames, made.spec.intervals[0], 2, 0, 3)
        return fit_generator(made, curves, START, 3)

    losses = fitted()
    assert np.mean(losses[-10:]) < 0.3 * losses[0]
    assert losses == fitted()


def test_a_state_of_another_start_is_refused(frames, tmp_path):
    started(frames, StartOptions()).run(tmp_path / "state.pt")
    other = started(frames, dataclasses.replace(START, steps=1))
    with pytest.raises(
        UserError, match=r"state\.pt: was made with steps 0 of its start, and here it is 1"
    ):
        other.run(tmp_path / "state.pt", resume=True)


def test_tempered_intervals_by_hand():
    plain = ((0, 0.0, 0.64), (2, 0.64, 0.8), (5, 0.8, 1.0))
    halves = tempered(plain, 0.5)  # 0.8, 0.4, 0.447 over their sum
    total = 0.8 + 0.4 + 0.2**0.5
    assert [number for number, _, _ in halves] == [0, 2, 5]
    assert [end for _, _, end in halves] == pytest.approx([0.8 / total, 1.2 / total, 1.0])
    assert [begin for _, begin, _ in halves] == [0.0, *[end for _, _, end in halves[:-1]]]
    assert halves[-1][2] == 1.0
    assert [end for _, _, end in tempered(plain, 0.0)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_rare_classes_have_more_points_than_their_share(frames):
    wanted = dataclasses.replace(START, steps=1, share_power=0.0)
    made = started(frames, wanted).synthetic.generator
    _, _, parts = generate(made, 3000, 0)
    shares = torch.bincount(parts.flatten(), minlength=4) / parts.numel()
    torch.testing.assert_close(shares, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0]), atol=0.02, rtol=0)


def test_matching_after_a_start_leaves_the_first_layer(frames, monkeypatch):
    def weights(made):
        return [layer.weight.detach().clone() for layer in (made.siren[0], made.decoder)]

    for wanted, kept in ((START, True), (StartOptions(), False)):
        distillation = started(frames, wanted)
        distillation.begin()
        before = weights(distillation.synthetic.generator)
        monkeypatch.setattr(distillation, "begin", lambda: None)  # it has begun
        distillation.run()
        after = weights(distillation.synthetic.generator)
        assert torch.equal(before[0], after[0]) is kept
        assert not torch.equal(before[1], after[1])
