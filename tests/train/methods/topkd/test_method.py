"""The image term: zero for equal networks, gradients where they belong, kept targets, two steps."""

import dataclasses

import pytest
import torch

from tests.train.methods.topkd.conftest import SMALL, make_frame
from train.core.errors import UserError
from train.methods.topkd import clouds as clouds_module
from train.methods.topkd import method as method_module
from train.methods.topkd.artifacts import (
    RIPSNET_NAME,
    STATE_NAME,
    TARGETS_NAME,
    load_maker,
)
from train.methods.topkd.fit import FitOptions
from train.methods.topkd.method import TopKD
from train.methods.topkd.options import TopKDConfig


def build(made, student, teacher):
    config, path = made
    return TopKD(config, student, teacher, artifacts=path)


def test_the_papers_values_are_the_defaults():
    config = TopKDConfig()
    assert (config.distillation, config.image, config.temperature) == (2.0, 5.0, 4.0)
    assert (config.num_points, config.sampling, config.normalization) == (64, "random", "none")
    assert (config.dims, config.birth_margin, config.exact) == ((0,), 0.0, False)
    fit = config.fit_options()
    assert (fit.lr, fit.batch_size, fit.epochs) == (5e-4, 64, 25_000)
    assert (fit.patience, fit.min_delta, fit.validation_share) == (50, 1e-10, 0.25)
    assert fit.operators == ("mean", "sum")


@pytest.mark.parametrize("exact", [False, True])
def test_equal_networks_have_no_loss_and_no_gradient(prepared, twin, toy_teacher, frame, exact):
    method = build(prepared(exact=exact), twin, toy_teacher)
    assert method.adapter is None
    term = method(twin, toy_teacher, frame)["image"]
    assert (term.value, term.weight, term.unit) == (0, 5.0, "clouds")
    term.value.backward()
    assert all(p.grad is None or not p.grad.any() for p in twin.parameters())
    with torch.no_grad():
        twin.top.bias += 0.2 * torch.arange(10)
        twin.top.weight *= 1.5
    assert method(twin, toy_teacher, frame)["image"].value > 0


@pytest.mark.parametrize("exact", [False, True])
def test_the_gradient_reaches_student_and_adapter_and_nothing_else(
    prepared, toy_student, toy_teacher, frame, exact
):
    method = build(prepared(exact=exact), toy_student, toy_teacher)
    assert [name for name, _ in method.named_parameters()] == ["adapter.weight", "adapter.bias"]
    assert set(method.state_dict()) == {
        "adapter.weight",
        "adapter.bias",
        "sampled_points.sampling_calls",
    }
    images = method.ripsnet.weights() if not exact else {}
    before = {name: weight.clone() for name, weight in images.items()}
    optimizer = torch.optim.SGD([*toy_student.parameters(), *method.parameters()], lr=0.1)
    method(toy_student, toy_teacher, frame)["image"].value.backward()
    for name in ("enc1.weight", "top.weight", "top.bias"):
        assert toy_student.get_parameter(name).grad.abs().max() > 0, name
    assert method.adapter.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in toy_teacher.parameters())
    optimizer.step()
    for name, weight in before.items():
        assert torch.equal(method.ripsnet.weights()[name], weight)


@pytest.mark.parametrize("exact", [False, True])
def test_the_gradient_is_that_of_finite_differences(prepared, toy_student, toy_teacher, exact):
    """Along a direction at the student's features, in float64."""
    method = build(prepared(exact=exact), toy_student, toy_teacher).double()
    generator = torch.Generator().manual_seed(5)
    target = torch.randn(40, 10, generator=generator, dtype=torch.float64)
    features = torch.randn(40, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    offset = torch.tensor([18, 40])

    def value(at):
        method.sampled_points.sampling_calls.zero_()  # the same points
        return method.term(target, at, offset).value

    (gradient,) = torch.autograd.grad(value(features), features)
    with torch.no_grad():
        step = 1e-6
        slope = (value(features + step * direction) - value(features - step * direction)) / (
            2 * step
        )
    assert slope.abs() > 1e-9
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


def test_a_weight_of_zero_leaves_images_out_and_prepares_nothing(
    prepared, toy_student, toy_teacher, frame, tmp_path
):
    config, path = prepared(image=0.0)
    assert path is None
    assert not list((tmp_path / "run").iterdir())
    method = TopKD(config, toy_student, toy_teacher)
    assert method.choice.features == ()
    assert list(method(toy_student, toy_teacher, frame)) == ["segmentation", "distillation"]
    with pytest.raises(ValueError, match=r"pass what TopKD\.prepare returned"):
        TopKD(TopKDConfig(**SMALL), toy_student, toy_teacher)


def test_clouds_are_others_at_every_step_and_those_of_a_resumed_run(
    prepared, toy_student, toy_teacher, frame
):
    method = build(prepared(), toy_student, toy_teacher)
    values = [method(toy_student, toy_teacher, frame)["image"].value.detach() for _ in range(3)]
    assert len({float(value) for value in values}) == 3
    again = build(prepared(), toy_student, toy_teacher)
    state = method.state_dict()
    state["sampled_points.sampling_calls"] = torch.tensor(1)
    again.load_state_dict(state)
    assert torch.equal(again(toy_student, toy_teacher, frame)["image"].value, values[1])


def test_a_frame_with_fewer_points_than_a_cloud_is_refused(
    prepared, toy_student, toy_teacher, tmp_path
):
    method = build(prepared(), toy_student, toy_teacher)
    message = r"--method.num-points 16: a frame has only 15; give fewer points"
    with pytest.raises(UserError, match=message):
        method(toy_student, toy_teacher, make_frame(0, (30, 15)))
    with pytest.raises(UserError, match=message):
        TopKD.prepare(TopKDConfig(**SMALL), toy_teacher, iter([make_frame(0, (30, 15))]), tmp_path)


# ---- prepare ------------------------------------------------------------------------------------


def test_prepare_makes_one_file_and_does_not_make_it_again(prepared, toy_teacher, tmp_path):
    config, path = prepared()
    assert [each.name for each in path.parent.iterdir()] == [RIPSNET_NAME]
    before = path.read_bytes()
    assert TopKD.prepare(config, toy_teacher, iter(()), path.parent) == path
    assert path.read_bytes() == before
    given = dataclasses.replace(config, artifacts=path)
    assert TopKD.prepare(given, toy_teacher, iter(()), tmp_path) == path


def test_a_stopped_prepare_does_not_ask_the_teacher_again(
    prepared, toy_teacher, frames, tmp_path, monkeypatch
):
    _, want = prepared()
    folder = tmp_path / "stopped"
    folder.mkdir()

    def stop(*given, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(method_module, "fit_ripsnet", stop)
        with pytest.raises(KeyboardInterrupt):
            TopKD.prepare(TopKDConfig(**SMALL), toy_teacher, iter(frames), folder)
    assert [each.name for each in folder.iterdir()] == [TARGETS_NAME]
    path = TopKD.prepare(TopKDConfig(**SMALL), toy_teacher, iter(()), folder)
    found, expected = load_maker(path), load_maker(want)
    assert (found.card, found.losses) == (expected.card, expected.losses)
    for name, weight in expected.ripsnet.weights().items():
        assert torch.equal(found.ripsnet.weights()[name], weight)
    assert not (folder / STATE_NAME).exists()
    assert not (folder / TARGETS_NAME).exists()


def test_no_pairs_and_no_frames_are_refused(toy_teacher, frames, tmp_path):
    for given, message in (
        (frames, r"have no finite pair in H0: their points lie in one place"),
        ([], r"no training frame to draw clouds from"),
    ):
        toy_teacher.top.weight.zero_()  # all features are the bias
        config = TopKDConfig(**SMALL)
        with pytest.raises(UserError, match=message):
            TopKD.prepare(config, toy_teacher, iter(given), tmp_path)
    assert not list(tmp_path.iterdir())


def test_diagrams_without_a_bandwidth_are_refused_in_one_line(toy_teacher, tmp_path):
    two = make_frame(0, (2,))  # each of its clouds has the same single pair
    config = TopKDConfig(**SMALL | {"num_points": 2})
    with pytest.raises(UserError, match=r"diagrams of the teacher's clouds give no image .* 1e-05"):
        TopKD.prepare(config, toy_teacher, iter([two]), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_points": 1}, "--method.num-points is 1: at least 2 points"),
        ({"dims": (2,)}, "--method.dims is 2: 0, 1, or 0 1"),
        ({"dims": ()}, "--method.dims is empty"),
        ({"birth_margin": -1.0}, "--method.birth-margin is -1.0"),
        ({"num_clouds": 7}, "--method.num-clouds is 7: at least 8"),
        ({"fit_epochs": 0}, "--method.fit-epochs is 0: at least 1"),
        ({"fit_lr": 0.0}, "--method.fit-lr is 0.0: above 0"),
        ({"fit_lr": float("nan")}, "--method.fit-lr is nan: above 0"),
        ({"image": -1.0}, "--method.image is -1.0"),
        ({"image": 3.0, "balance": 0.2}, "--method.image is 3.0: --method.balance sets"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        TopKDConfig(**changes)


def test_few_points_are_warned_about(toy_student, toy_teacher, caplog):
    for number, told in ((15, True), (16, False)):
        caplog.clear()
        clouds_module.logger.addHandler(caplog.handler)
        try:
            TopKD.check(TopKDConfig(num_points=number), toy_student, toy_teacher)
        finally:
            clouds_module.logger.removeHandler(caplog.handler)
        assert ("below 16 the paper's" in caplog.text) == told


def test_the_options_of_the_fit_reach_it():
    changes = {"fit_lr": 0.01, "fit_schedule": "cosine", "fit_standardize": True}
    options = TopKDConfig(**changes).fit_options()
    assert (options.lr, options.schedule, options.standardize) == (0.01, "cosine", True)
    assert TopKDConfig().fit_options() == FitOptions()
