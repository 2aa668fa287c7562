"""A start from real clouds: walks, places on curves, and a generator that comes near them."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.toys import toy_clouds
from train.core.errors import UserError
from train.dataset_distillation.distill import Distillation
from train.dataset_distillation.generator import GeneratorSpec, build_generator, generate
from train.dataset_distillation.make import make
from train.dataset_distillation.options import STARTS, DistillOptions, RotatorOptions
from train.dataset_distillation.real_clouds import canonical, prepare
from train.dataset_distillation.real_start import at, fit_to, walk

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


def test_a_fitted_generator_makes_the_clouds():
    """Every point it makes lies near its cloud, and nearer than to the others."""
    clouds = torch.from_numpy(toy_clouds(1, 3).points)
    spec = GeneratorSpec(classes=("a", "b", "c", "d"), clouds_per_class=1, width=64, w0=60.0)
    generator = build_generator(spec, 0)
    before = fit_to(generator, clouds, 0, steps=1)
    after = fit_to(generator, clouds, 0, steps=150)
    assert after < 0.2 * before
    made = generate(generator, 100, 0)[0]
    apart = torch.cdist(made[:, None].expand(-1, 4, -1, -1), clouds[None].expand(4, -1, -1, -1))
    mean = apart.amin(dim=3).mean(dim=2)
    assert mean.argmin(dim=1).tolist() == [0, 1, 2, 3]


def test_other_numbers_of_clouds_are_refused():
    generator = build_generator(GeneratorSpec(classes=("a",), clouds_per_class=2, width=4), 0)
    with pytest.raises(ValueError, match="give 2"):
        fit_to(generator, torch.zeros(3, 5, 3), 0, steps=1)


@pytest.mark.parametrize("start", STARTS[1:])
def test_both_kinds_of_learned_clouds_start_from_the_same_real_ones(start, monkeypatch):
    """And these are the ones that the coreset of that name consists of."""
    real = prepare(toy_clouds(6, 0, points=24), None, OPTIONS, rotate=False)
    features = np.random.default_rng(1).normal(size=(24, 5))
    seen = []
    monkeypatch.setattr(
        "train.dataset_distillation.distill.fit_to",
        lambda generator, clouds, seed, steps: seen.append(clouds),
    )
    options = dataclasses.replace(OPTIONS, start=start, clouds_per_class=2, coordinate_lr=1e-12)
    made = [
        make(
            real,
            dataclasses.replace(options, method=method),
            CPU,
            points=24,
            features=features,
        ).clouds.points
        for method in ("gradient-matching", "dd3d")
    ]
    chosen = make(
        real,
        dataclasses.replace(options, method=start, start=None),
        CPU,
        points=24,
        features=features,
    ).clouds.points
    assert np.array_equal(seen[0], chosen)
    np.testing.assert_allclose(made[0], chosen, atol=1e-6)


def test_a_run_that_is_resumed_does_not_start_again(tmp_path, monkeypatch):
    real, state = toy_clouds(4, 0), tmp_path / "state.pt"
    options = dataclasses.replace(OPTIONS, start="random", start_steps=20)
    whole = Distillation(real, options, CPU).run(state)
    monkeypatch.setattr(
        "train.dataset_distillation.distill.fit_to", lambda generator, clouds, seed, steps: 0.0
    )
    again = Distillation(real, options, CPU).run(state, resume=True)
    for a, b in zip(whole.synthetic.parameters(), again.synthetic.parameters(), strict=True):
        assert torch.equal(a, b)
    other = Distillation(real, options, CPU).run()
    assert not torch.equal(
        other.synthetic.generator.decoder.weight, whole.synthetic.generator.decoder.weight
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"start": "magic"}, "choose one of noise"),
        ({"method": "gradient-matching", "start": "noise"}, "stay the noise"),
        ({"task": "parts", "start": "random"}, "starts from noise"),
    ],
)
def test_starts_that_lead_nowhere_are_refused(changed, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(OPTIONS, **changed)


def test_the_authors_start_is_taken_where_none_is_named():
    assert OPTIONS.begins_as == "noise"
    assert dataclasses.replace(OPTIONS, method="gradient-matching").begins_as == "random"


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
