"""fast.topological_loss, normalise and kl_distillation against the definition."""

import numpy as np
import pytest
import torch

import fast
import reference
from fast import distillation
from reference import normalisation as reference_normalisation

NORMALISATIONS = ["l2", "none", "center_maxnorm", "diameter", "rms"]


def make_features(seed, n=14):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 5))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("sample_on", ["teacher", "student", "concat"])
@pytest.mark.parametrize("num_samples", [1, 2, 9, 50])
def test_loss_and_gradient_equal_the_definition(normalisation, sample_on, num_samples):
    options = {
        "normalisation": normalisation,
        "sample_on": sample_on,
        "start": 3,
        "dim_weights": (0.5, 2.0),
    }
    teacher, student = make_features(num_samples)
    want, grad = reference.topological_loss(teacher, student, num_samples, **options)
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.topological_loss(torch.tensor(teacher), leaf, num_samples, **options)
    assert got.item() == pytest.approx(want, rel=1e-12, abs=1e-15)
    got.backward()
    np.testing.assert_allclose(leaf.grad, grad, rtol=1e-10, atol=1e-13)
    if num_samples > 2:
        assert np.abs(grad).max() > 1e-3  # there was something to compare


OPTIONS = [
    {"max_dim": 0, "dim_weights": (1.0,)},
    {"dim_weights": (0.5, 2.0)},
    {"cost_scale": 0.5},
    {"eps": 0.3},
    {"precision_weight": "persistence"},
    {"min_persistence": 0.5},
    {"num_samples": 7, "start": 3},
    {"num_samples": 7, "sample_on": "concat"},
    {"normalisation": "diameter"},
    {"normalisation": "rms"},
    {"loss": "edges"},
    {"loss": "edges", "num_samples": 7, "dim_weights": (0.5, 2.0), "normalisation": "rms"},
    {"loss": "wasserstein", "dim_weights": (2.0, 0.0)},
    {"loss": "wasserstein", "max_dim": 0, "dim_weights": (1.0,), "num_samples": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_equals_the_definition_and_changes_something(options):
    teacher, student = make_features(0)
    want, grad = reference.topological_loss(teacher, student, **options)
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.topological_loss(torch.tensor(teacher), leaf, **options)
    got.backward()
    assert got.item() == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(leaf.grad, grad, rtol=1e-10, atol=1e-13)
    plain = {"num_samples": options["num_samples"]} if "num_samples" in options else {}
    assert got.item() != pytest.approx(reference.topological_loss(teacher, student, **plain)[0])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_gradient_of_every_option_is_a_derivative(options):
    teacher, student = (torch.tensor(part) for part in make_features(0))
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda student: fast.topological_loss(teacher, student, **options), student
    )


@pytest.mark.parametrize("loss", ["pwcd", "edges", "wasserstein"])
def test_ties_and_duplicates_equal_the_definition(loss):
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(20):
        teacher, student = rng.integers(0, 3, size=(2, 16, 2)).astype(float)
        options = {"normalisation": "none", "num_samples": int(rng.integers(4, 17)), "loss": loss}
        if loss == "wasserstein":
            options["dim_weights"] = (1.0, 0.0)
        want, grad = reference.topological_loss(teacher, student, **options)
        leaf = torch.tensor(student, requires_grad=True)
        got = fast.topological_loss(torch.tensor(teacher), leaf, **options)
        got.backward()
        assert got.item() == pytest.approx(want, rel=1e-12, abs=1e-15)
        np.testing.assert_allclose(leaf.grad, grad, rtol=1e-10, atol=1e-13)
        losses.append(want)
    assert max(losses) > 0


@pytest.mark.parametrize("loss", ["pwcd", "sinkhorn", "edges", "wasserstein"])
@pytest.mark.parametrize("num_points", [1, 2, 5])
@pytest.mark.parametrize("whose", ["teacher", "student", "both"])
def test_points_all_in_one_place_have_a_defined_loss(loss, num_points, whose):
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(num_points, 3)), rng.normal(size=(num_points, 4))
    if whose != "student":
        teacher[:] = 0.3
    if whose != "teacher":
        student[:] = 0.7
    options = {"loss": loss, "normalisation": "rms", "dim_weights": (1.0, 0.0)}
    indices = np.arange(num_points)
    want, grad = reference.topological_loss(teacher, student, indices=indices, **options)
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.topological_loss(
        torch.tensor(teacher), leaf, sampling="random", generator=torch.Generator(), **options
    )
    got.backward()
    assert got.item() == pytest.approx(want, rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(leaf.grad, grad, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("loss", ["pwcd", "sinkhorn", "edges", "wasserstein"])
@pytest.mark.parametrize("sampling", ["farthest", "random", "mixed"])
def test_sampled_losses_equal_the_definition_on_the_same_points(loss, sampling):
    teacher, student = make_features(5)
    options = {"loss": loss, "normalisation": "rms", "dim_weights": (2.0, 0.0)}

    def generator():
        return torch.Generator().manual_seed(11)

    indices = fast.sample_points(
        fast.normalise(torch.tensor(teacher), "rms"), 9, 3, sampling=sampling, generator=generator()
    )
    want, grad = reference.topological_loss(teacher, student, indices=indices.numpy(), **options)
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.topological_loss(
        torch.tensor(teacher), leaf, 9, start=3, sampling=sampling, generator=generator(), **options
    )
    got.backward()
    # The transport is iterated to a tolerance of 1e-9.
    tolerance = 1e-8 if loss == "sinkhorn" else 1e-12
    assert got.item() == pytest.approx(want, rel=tolerance)
    np.testing.assert_allclose(leaf.grad, grad, rtol=100 * tolerance, atol=tolerance)
    assert np.abs(grad).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("persistence_weighted_chamfer", lambda teacher, student, *_, **__: student.deaths.sum(1)),
        ("normalise", lambda features, normalisation: features),
        (
            "choose_points",
            lambda clouds, counts, *_: ([torch.arange(count) for count in counts], None),
        ),
    ],
)
def test_a_broken_step_is_caught(monkeypatch, name, mutant):
    monkeypatch.setattr(distillation, name, mutant)
    with pytest.raises(AssertionError):
        test_loss_and_gradient_equal_the_definition("l2", "teacher", 9)


def test_a_batch_is_the_mean_over_its_clouds():
    clouds = [make_features(seed) for seed in range(4)]
    teacher, student = (torch.tensor(np.stack(part)) for part in zip(*clouds, strict=True))
    got = fast.topological_loss(teacher.view(2, 2, 14, 3), student.view(2, 2, 14, 5), 9)
    want = np.mean([reference.topological_loss(*cloud, 9)[0] for cloud in clouds])
    assert got.item() == pytest.approx(want, rel=1e-12)


def test_no_gradient_reaches_the_teacher():
    teacher, student = (torch.tensor(part, requires_grad=True) for part in make_features(0))
    fast.topological_loss(teacher, student).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_the_gradient_is_right_to_second_order():
    teacher, student = (torch.tensor(part) for part in make_features(1, n=8))
    student.requires_grad_()

    def loss(student):
        return fast.topological_loss(teacher, student)

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_features_are_accepted_under_autocast(make_cloud, low):
    teacher, student = (torch.tensor(make_cloud("features", 80, s)).to(low) for s in range(2))
    want = fast.topological_loss(teacher.float(), student.float(), 40)
    student.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = fast.topological_loss(teacher, student, 40)
        got.backward()
    assert got.dtype == torch.float32
    assert torch.equal(got, want)
    assert student.grad.dtype == low
    assert student.grad.isfinite().all()


def test_steps_along_the_gradient_lower_the_loss(make_cloud):
    teacher = torch.tensor(make_cloud("circle", 60))
    flattened = (
        teacher * torch.tensor([1.0, 0.7]) + 0.02 * torch.tensor(make_cloud("cube", 60))[:, 1:]
    )
    student = flattened.requires_grad_()
    optimizer = torch.optim.Adam([student], lr=5e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = fast.topological_loss(teacher, student, normalisation="none")
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("case", ["generic", "far", "zero-row", "one-point", "all-equal"])
def test_normalise_equals_the_definition(normalisation, case):
    rng = np.random.default_rng(0)
    features = {
        "generic": rng.normal(size=(9, 4)),
        "far": rng.normal(size=(9, 4)) + 7.0,
        "zero-row": np.vstack([np.zeros(3), rng.normal(size=(4, 3))]),
        "one-point": rng.normal(size=(1, 3)),
        "all-equal": np.full((3, 2), 0.5 if normalisation == "center_maxnorm" else 0.1),
    }[case]
    grad = rng.normal(size=features.shape)
    leaf = torch.tensor(features, requires_grad=True)
    got = fast.normalise(leaf, normalisation)
    want = reference_normalisation.normalise(features, normalisation)
    np.testing.assert_allclose(got.detach(), want, rtol=1e-13, atol=1e-15)
    got.backward(torch.tensor(grad))
    want = reference_normalisation.normalise_grad(features, grad, normalisation)
    np.testing.assert_allclose(leaf.grad, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_divergence_equals_the_definition(temperature):
    rng = np.random.default_rng(0)
    teacher, student = 3 * rng.normal(size=(2, 11, 7))
    want = reference.kl_distillation(teacher, student, temperature)
    leaf = torch.tensor(student, requires_grad=True)
    got = fast.kl_distillation(torch.tensor(teacher), leaf, temperature)
    assert got.item() == pytest.approx(want, rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda logits: fast.kl_distillation(torch.tensor(teacher), logits, temperature), leaf
    )
    shifted = torch.tensor(teacher) + torch.arange(11.0)[:, None]
    assert fast.kl_distillation(torch.tensor(teacher), shifted).item() == pytest.approx(
        0, abs=1e-14
    )


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, 0.0, -1e4]])
    assert fast.kl_distillation(logits, logits.flip(1)).item() == pytest.approx(2e4)
    assert fast.kl_distillation(logits.half(), logits.half()).dtype == torch.float32
