"""The fit of RipsNet: better than a constant, the same after a stop, refused where it cannot be."""

import dataclasses

import pytest
import torch

from fast import fit_persistence_image, persistence_image
from train.core.errors import UserError
from train.methods.topkd import fit
from train.methods.topkd.artifacts import ImageCard, Targets
from train.methods.topkd.clouds import CloudChoice
from train.methods.topkd.fit import (
    FitOptions,
    channel_scale,
    fit_ripsnet,
    learning_rate,
    mean_squared_error,
)
from train.methods.topkd.ripsnet import RipsNet
from train.methods.topkd.targets import diagram_pairs, distinct_pixels

CPU = torch.device("cpu")


def targets_of(clouds, dims=(0,), **options):
    pairs, mask = diagram_pairs(clouds, dims)
    scale = fit_persistence_image(pairs, mask=mask, **options)
    card = ImageCard(
        choice=CloudChoice(stage="top", num_points=clouds.shape[1]),
        channels=clouds.shape[2],
        dims=dims,
        birth_margin=options.get("birth_margin", 0.0),
        scale=scale,
        teacher="0123456789ab",
    )
    images = persistence_image(pairs, scale, mask=mask).flatten(-2)
    return Targets(card=card, clouds=clouds, images=images)


def blobs_and_circles(number, points=64, seed=0):
    """Clouds in R^16 of 1 to 3 clusters, each a blob or a circle, of several sizes."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    cluster = (points * uniform(number, points)).long() % (1 + (3 * uniform(number, 1)).long())
    angle = 2 * torch.pi * uniform(number, points)
    circle = torch.zeros(number, points, 16)
    circle[..., 3], circle[..., 4] = angle.cos(), angle.sin()
    noise = 0.3 * torch.randn(number, points, 16, generator=generator)
    is_circle = (uniform(number, 1, 1) < 0.5).float()
    return 3 * torch.eye(16)[cluster] + (0.2 + uniform(number, 1, 1)) * (
        noise + 2 * is_circle * circle
    )


@pytest.fixture(scope="module")
def small():
    return targets_of(blobs_and_circles(40, points=16))


def test_it_beats_the_mean_image_three_times():
    """2,000 clouds of 64 points; on clouds that it never saw."""
    targets = targets_of(blobs_and_circles(2000))
    options = FitOptions(epochs=28, lr=2e-3, batch_size=32, operators=("mean",))
    maker = fit_ripsnet(targets, options, device=CPU)
    assert maker.losses["mean"] < maker.losses["constant"] / 3
    other = targets_of(blobs_and_circles(300, seed=9)).clouds
    pairs, mask = diagram_pairs(other, (0,))
    exact = persistence_image(pairs, targets.card.scale, mask=mask).flatten(-2)
    constant = (exact - targets.images.mean(dim=0)).square().mean()
    assert mean_squared_error(maker.ripsnet, other, exact) < constant / 3


def test_dimension_0_has_20_numbers_and_a_margin_more(small):
    assert distinct_pixels(small.images) == 20
    mended = targets_of(small.clouds, birth_margin=3.0).images
    assert distinct_pixels(mended) > 100


def test_the_better_operator_is_kept(small):
    maker = fit_ripsnet(small, FitOptions(epochs=4), device=CPU)
    losses = dict(maker.losses)
    del losses["constant"]
    assert losses.keys() == {"mean", "sum"}
    assert losses[maker.ripsnet.operator] == min(losses.values())
    held = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:10]
    found = mean_squared_error(maker.ripsnet, small.clouds[held], small.images[held])
    assert found == pytest.approx(min(losses.values()))


def test_it_stops_when_nothing_gets_better(small, monkeypatch):
    epochs = []
    monkeypatch.setattr(fit.Progress, "advance", lambda self, numbers: epochs.append(numbers))
    losses = iter([3.0, 2.0, 2.5, 2.0 - 1e-12, 2.1, 1.0])
    monkeypatch.setattr(fit, "mean_squared_error", lambda *given: next(losses))
    options = FitOptions(epochs=100, patience=3, operators=("sum",))
    maker = fit_ripsnet(small, options, device=CPU)
    # 2 - 1e-12 is not better than 2: the third of three epochs without a gain is the last.
    assert len(epochs) == 5
    assert maker.losses["sum"] == 2.0


@pytest.mark.parametrize("stop_at", [2, 6])
def test_stopped_it_goes_on_to_the_same_weights(small, tmp_path, monkeypatch, stop_at):
    """Epoch 2 is within the first operator, 6 within the second."""
    options = FitOptions(epochs=4)
    want = fit_ripsnet(small, options, device=CPU)
    state = tmp_path / "state"
    monkeypatch.setattr(fit, "SAVE_EVERY_S", -1.0)
    advance, count = fit.Progress.advance, 0

    def stopping(self, numbers):
        nonlocal count
        count += 1
        if count == stop_at:
            raise KeyboardInterrupt
        advance(self, numbers)

    monkeypatch.setattr(fit.Progress, "advance", stopping)
    with pytest.raises(KeyboardInterrupt):
        fit_ripsnet(small, options, device=CPU, state=state)
    assert state.is_file()
    monkeypatch.setattr(fit.Progress, "advance", advance)
    steps = count_steps(monkeypatch)
    found = fit_ripsnet(small, options, device=CPU, state=state)
    assert found.losses == want.losses
    for name, weight in want.ripsnet.weights().items():
        assert torch.equal(found.ripsnet.weights()[name], weight)
    assert len(steps) == 8 - (stop_at - 1)  # one step an epoch; what was kept is not done again


def count_steps(monkeypatch):
    steps, step = [], torch.optim.Adamax.step

    def counted(self, *given):
        steps.append(1)
        return step(self, *given)

    monkeypatch.setattr(torch.optim.Adamax, "step", counted)
    return steps


def test_a_state_of_another_fit_is_refused(small, tmp_path, monkeypatch):
    state = tmp_path / "state"
    fit_ripsnet(small, FitOptions(epochs=1), device=CPU, state=state)
    other = Targets(card=small.card, clouds=small.clouds, images=small.images / 2)
    for targets, options in ((small, FitOptions(epochs=2)), (other, FitOptions(epochs=1))):
        with pytest.raises(UserError, match="of a fit to other images or with other options"):
            fit_ripsnet(targets, options, device=CPU, state=state)
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(UserError, match="not readable as a state of topkd-fit"):
        fit_ripsnet(small, FitOptions(epochs=1), device=CPU, state=state)


def test_too_few_clouds_and_a_loss_that_is_no_number_are_refused(small):
    few = Targets(card=small.card, clouds=small.clouds[:7], images=small.images[:7])
    with pytest.raises(UserError, match="7 clouds are too few"):
        fit_ripsnet(few, FitOptions(), device=CPU)
    broken = Targets(card=small.card, clouds=small.clouds * torch.nan, images=small.images)
    with pytest.raises(UserError, match="RipsNet's loss is nan in epoch 1"):
        fit_ripsnet(broken, FitOptions(), device=CPU)


def test_the_error_is_the_same_in_any_chunks(small, monkeypatch):
    torch.manual_seed(0)
    ripsnet = RipsNet(16)
    want = (ripsnet(small.clouds) - small.images).square().mean().item()
    monkeypatch.setattr(fit, "_CHUNK", 7)
    assert mean_squared_error(ripsnet, small.clouds, small.images) == pytest.approx(want, rel=1e-5)


def test_the_scale_of_the_features_does_not_matter(small):
    """Other channels at other scales and places: the same fit, of RipsNets that take them raw."""
    factor, move = 10.0 ** torch.linspace(-3, 3, 16), 3 * torch.linspace(-1, 1, 16)
    clouds = small.clouds * factor + factor * move
    moved = dataclasses.replace(small, clouds=clouds)
    options = FitOptions(epochs=40, lr=1e-2, batch_size=8, standardize=True, operators=("sum",))
    want, found = (fit_ripsnet(each, options, device=CPU) for each in (small, moved))
    assert found.losses["sum"] < found.losses["constant"]
    assert found.losses["sum"] == pytest.approx(want.losses["sum"], rel=0.02)
    held = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:10]
    error = mean_squared_error(found.ripsnet, clouds[held], small.images[held])
    assert error == pytest.approx(found.losses["sum"], rel=1e-3)


def test_a_channel_that_never_changes_is_only_moved():
    clouds = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    clouds[..., 1] = 1234.567
    shift, spread = channel_scale(clouds)
    points = clouds.reshape(35, 3)
    assert torch.allclose(shift, points.mean(dim=0))
    assert spread[1] == 1
    assert torch.allclose(spread[[0, 2]], points[:, [0, 2]].std(dim=0, correction=0))


def test_the_rate_falls_by_a_cosine_in_all_epochs(small, monkeypatch):
    options = FitOptions(epochs=4, lr=0.1, schedule="cosine", batch_size=10, operators=("sum",))
    assert learning_rate(FitOptions(lr=0.1), 0.9) == 0.1
    assert learning_rate(options, 0.5) == pytest.approx(0.05)
    rates, step = [], torch.optim.Adamax.step

    def counted(self, *given):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.Adamax, "step", counted)
    monkeypatch.setattr(fit, "mean_squared_error", lambda *given: 1.0)  # never better: no matter
    fit_ripsnet(small, dataclasses.replace(options, patience=1), device=CPU)
    assert rates == pytest.approx([learning_rate(options, number / 12) for number in range(12)])
    assert rates[0] == 0.1
    assert 0 < rates[-1] < 0.01
