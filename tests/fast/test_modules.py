"""The modules that train/ uses: concatenated clouds, stats, reprs, torch.compile."""

import numpy as np
import pytest
import torch

import fast
import reference
from fast import distillation


def concatenated(make_cloud, sizes, family="features"):
    clouds = [torch.tensor(make_cloud(family, n, seed)).float() for seed, n in enumerate(sizes)]
    return torch.cat(clouds), torch.tensor(np.cumsum(sizes))


def test_the_topological_loss_is_the_mean_over_clouds(make_cloud):
    sizes = [50, 7, 1, 120]
    teacher, offset = concatenated(make_cloud, sizes)
    student, _ = concatenated(make_cloud, sizes, "gaussian")
    student.requires_grad_()
    module = fast.TopologicalLoss(num_samples=40, dim_weights=(1.0, 0.5))
    got = module(teacher, student, offset)
    want = torch.stack(
        [
            fast.topological_loss(t, s, 40, dim_weights=(1.0, 0.5))
            for t, s in zip(teacher.split(sizes), student.split(sizes), strict=True)
        ]
    ).mean()
    torch.testing.assert_close(got, want)
    for one, other in zip(
        torch.autograd.grad(got, student), torch.autograd.grad(want, student), strict=True
    ):
        torch.testing.assert_close(one, other)
        assert one.abs().max() > 0


@pytest.mark.parametrize("sample_on", ["teacher", "student", "concat"])
def test_the_stats_say_what_the_loss_saw(make_cloud, sample_on):
    sizes = [60, 90]
    teacher, offset = concatenated(make_cloud, sizes)
    student, _ = concatenated(make_cloud, sizes, "gaussian")
    module = fast.TopologicalLoss(num_samples=32, sample_on=sample_on)
    loss, stats = module(teacher, student.requires_grad_(), offset, return_stats=True)
    assert torch.equal(loss, module(teacher, student, offset))
    assert stats.losses.sum().item() == pytest.approx(loss.item(), rel=1e-6)
    assert stats.teacher_pairs[0] == stats.student_pairs[0] == 31
    for name, value in vars(stats).items():
        assert value.shape == (() if name.endswith("radius") else (2,)), name
        assert (value.dtype, value.device) == (loss.dtype, loss.device), name
        assert not value.requires_grad, name
    want = {"teacher": [], "student": []}
    loops = []
    for t, s in zip(teacher.split(sizes), student.detach().split(sizes), strict=True):
        t, s = fast.normalise(t), fast.normalise(s)
        sampled = {"teacher": t, "student": s, "concat": torch.cat([t, s], dim=1)}[sample_on]
        indices, _ = fast.topology_preserving_sampling(sampled, 32)
        want["teacher"].append(fast.covering_radius(t, indices).item())
        want["student"].append(fast.covering_radius(s, indices).item())
        loops.append(fast.rips_persistence_of_points(s[indices])[1].counts.item())
    assert stats.teacher_covering_radius.item() == pytest.approx(np.mean(want["teacher"]), rel=1e-5)
    assert stats.student_covering_radius.item() == pytest.approx(np.mean(want["student"]), rel=1e-5)
    assert stats.student_pairs[1] == np.mean(loops)


_ENTROPIES = [
    {"loss": "pwcd"},
    {"loss": "pwcd", "dim_weights": (1.0, 0.0)},
    {"loss": "sinkhorn", "sinkhorn_eps": 0.02, "sinkhorn_relative": True},
    {"loss": "wasserstein", "dim_weights": (1.0, 0.0)},
]


@pytest.mark.parametrize("options", _ENTROPIES, ids=str)
def test_the_entropies_are_those_of_the_definitions_gradients(make_cloud, options):
    sizes = [40, 1, 60, 2]  # one point has no pair, two have one
    teacher, offset = concatenated(make_cloud, sizes)
    student, _ = concatenated(make_cloud, sizes, "gaussian")
    teacher, student = teacher.double(), student.double().requires_grad_()
    module = fast.TopologicalLoss(20, **options)
    _, stats = module(teacher, student, offset, return_stats=True)
    spreads = [], []
    for t, s in zip(teacher.split(sizes), student.detach().split(sizes), strict=True):
        t, s = fast.normalise(t), fast.normalise(s)
        picked, _ = fast.topology_preserving_sampling(t, min(20, len(t)))
        diagrams = [
            [each.cloud(0) for each in fast.rips_persistence_of_points(cloud[picked])]
            for cloud in (t, s)
        ]
        for dim, (of_teacher, of_student) in enumerate(zip(*diagrams, strict=True)):
            pairs = of_teacher.pairs, of_student.pairs
            if options["loss"] == "sinkhorn":
                grads = reference.entropic_transport_grad(*pairs, 0.02, relative=True)
            elif options["loss"] == "pwcd":
                grads = reference.persistence_weighted_chamfer_grad(*pairs)
            else:
                grad = reference.sorted_wasserstein_grad(of_teacher.deaths, of_student.deaths)
                grads = np.zeros_like(grad), grad * (dim == 0)  # H1 has no such loss
            if dim == 0:
                grads = np.zeros_like(grads[0]), grads[1]  # births of H0 cannot move
            if np.any(grads):
                spreads[dim].append(reference.gradient_entropy(*grads))
    want = [np.mean(each) if each else 0.0 for each in spreads]
    np.testing.assert_allclose(stats.gradient_entropies, want, rtol=1e-6)
    assert want[0] > 0
    assert (want[1] > 0) == (options["loss"] != "wasserstein")


@pytest.mark.parametrize("loss", ["pwcd", "sinkhorn"])
def test_looking_at_the_gradient_changes_neither_loss_nor_gradient(make_cloud, loss):
    teacher, offset = concatenated(make_cloud, [40, 30])
    student, _ = concatenated(make_cloud, [40, 30], "gaussian")
    student.requires_grad_()
    module = fast.TopologicalLoss(20, loss=loss)
    plain = module(teacher, student, offset)
    (want,) = torch.autograd.grad(plain, student)
    value, stats = module(teacher, student, offset, return_stats=True)
    assert student.grad is None
    assert torch.equal(value, plain)
    value.backward()
    assert torch.equal(student.grad, want)
    assert not stats.gradient_entropies.requires_grad


def test_where_no_gradient_passes_the_pairs_there_is_no_entropy(make_cloud):
    teacher, offset = concatenated(make_cloud, [20])
    student, _ = concatenated(make_cloud, [20], "gaussian")

    def entropies(student, **options):
        module = fast.TopologicalLoss(10, normalisation="none", **options)
        return module(teacher, student, offset, return_stats=True)[1].gradient_entropies

    assert entropies(student) is None
    student.requires_grad_()
    assert entropies(student) is not None
    assert entropies(student, loss="edges") is None
    with torch.no_grad():
        assert entropies(student) is None
    # All in one place: a step of several processes still has a number from each.
    same = torch.ones_like(student).requires_grad_()
    assert torch.equal(entropies(same), torch.zeros(2))


def test_components_alone_can_be_asked_for(make_cloud):
    teacher, offset = concatenated(make_cloud, [30])
    module = fast.TopologicalLoss(dim_weights=(2.0,))
    loss, stats = module(teacher, teacher * 2 + 0.1, offset, return_stats=True)
    assert len(stats.losses) == len(stats.teacher_pairs) == 1
    assert loss.item() == pytest.approx(2 * stats.losses[0].item(), rel=1e-6)


def test_the_saliency_loss_is_per_cloud_maps_and_per_stage_means():
    rng = np.random.default_rng(0)
    sizes = [[5, 9], [3, 4]]
    tensors = [[torch.tensor(rng.normal(size=(sum(n), c))) for n in sizes] for c in (4, 4, 6, 6)]
    tensors[2][0].requires_grad_()
    tensors[3][0].requires_grad_()  # a gradient that carries a graph is a constant all the same
    offsets = [torch.tensor(np.cumsum(n)) for n in sizes]
    got = fast.SaliencyLoss()(*tensors, offsets)
    want = first = 0.0
    for stage, n in enumerate(sizes):
        t, tg, s, sg = (part[stage].detach().split(n) for part in tensors)
        gaps = [
            fast.saliency_map(*one) - fast.saliency_map(*other)
            for one, other in zip(zip(t, tg, strict=True), zip(s, sg, strict=True), strict=True)
        ]
        want += torch.cat(gaps).abs().mean().item()
        first = want if stage == 0 else first
    assert got.item() == pytest.approx(want, rel=1e-12)
    apart = fast.SaliencyLoss(reduction="none")(*tensors, offsets)
    assert apart.shape == (2,)
    assert torch.equal(apart.sum(), got)
    assert apart[0].item() == pytest.approx(first, rel=1e-12)
    got.backward()
    assert tensors[2][0].grad.abs().max() > 0
    assert tensors[3][0].grad is None


def test_the_distillation_loss_leaves_the_teacher_alone():
    teacher, student = (torch.rand(5, 3, requires_grad=True) for _ in range(2))
    loss = fast.DistillationLoss(temperature=2.0)(teacher, student)
    assert torch.equal(loss, fast.kl_distillation(teacher, student, 2.0))
    loss.backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_reprs_can_be_read():
    assert repr(fast.DistillationLoss(2.0)) == "DistillationLoss(temperature=2.0)"
    assert repr(fast.SaliencyLoss()) == "SaliencyLoss(reduction='sum')"
    assert repr(fast.TopologicalLoss(loss="sinkhorn")) == (
        "TopologicalLoss(num_samples=1024, normalisation='l2', sampling='farthest', "
        "sample_on='teacher', loss='sinkhorn', sinkhorn_eps=0.1, sinkhorn_relative=False, "
        "dim_weights=(1.0, 1.0), cost_scale=1.0, eps=1e-08, precision_weight='uniform', "
        "min_persistence=0.0, start=0, backend=None)"
    )
    mixed = repr(fast.TopologicalLoss(sampling="mixed", sampling_seed=7))
    assert "sampling='mixed'" in mixed
    assert mixed.endswith("sampling_seed=7)")
    diagram = fast.rips_persistence(torch.zeros(1, 1))[0]
    assert repr(diagram) == "BatchedDiagram(dim=0, pairs=[0], dtype=torch.float32, device=cpu)"
    assert len(diagram) == 1


# Dynamo itself reads .grad of every tensor that crosses a graph break.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_model_with_the_losses_inside_gives_the_same_gradients(make_cloud):
    # "aot_eager" traces forward and backward as torch.compile does and needs no C compiler.
    teacher, offset = concatenated(make_cloud, [40, 30])
    torch.manual_seed(0)
    network = torch.nn.Linear(64, 8)
    losses = fast.TopologicalLoss(num_samples=20), fast.DistillationLoss(), fast.SaliencyLoss()

    def step(points):
        features = network(points)
        gradient = features.detach().cos()
        return (
            losses[0](points, features, offset)
            + losses[1](points[:, :8], features)
            + losses[2]([points], [points], [features], [gradient], [offset])
        )

    step(teacher).backward()
    want = network.weight.grad.clone()
    network.zero_grad()
    torch.compile(step, backend="aot_eager")(teacher).backward()
    torch.testing.assert_close(network.weight.grad, want)
    assert want.abs().max() > 0


_FEATURES = torch.rand(6, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((_FEATURES, _FEATURES[:5], torch.tensor([6])), "student_features has 5 points"),
        ((_FEATURES, _FEATURES, torch.tensor([5])), r"offset is \[5\]; .* the last 6"),
        ((_FEATURES, _FEATURES, torch.tensor([3, 3, 6])), r"offset is \[3, 3, 6\]"),
        ((_FEATURES, _FEATURES, torch.tensor([0, 6])), r"offset is \[0, 6\]"),
        ((_FEATURES, _FEATURES, torch.tensor([])), "offset is torch.float32"),
        ((_FEATURES, _FEATURES, torch.tensor(6)), "offset is torch.int64 of shape"),
        ((_FEATURES * torch.nan, _FEATURES, torch.tensor([6])), "teacher_features has the entry"),
    ],
)
def test_clouds_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fast.TopologicalLoss()(*arguments)


def test_stages_that_do_not_fit_are_refused():
    stage, ends = [_FEATURES], [torch.tensor([6])]
    with pytest.raises(ValueError, match=r"student_gradients has 0 stages"):
        fast.SaliencyLoss()(stage, stage, stage, [], ends)
    with pytest.raises(ValueError, match=r"gradients of a stage have shape"):
        fast.SaliencyLoss()(stage, stage, stage, [_FEATURES[:, :1]], ends)
    with pytest.raises(ValueError, match=r"offset is \[4\]"):
        fast.SaliencyLoss()(stage, stage, stage, stage, [torch.tensor([4])])


@pytest.mark.parametrize(
    "options",
    [
        {"normalisation": "none"},
        {"dim_weights": (0.5, 2.0)},
        {"eps": 0.3},
        {"cost_scale": 0.5},
        {"precision_weight": "persistence"},
        {"min_persistence": 0.5},
        {"sample_on": "student"},
        {"start": 7},
        {"loss": "sinkhorn"},
        {"loss": "sinkhorn", "sinkhorn_eps": 0.5},
        {"loss": "sinkhorn", "sinkhorn_relative": True},
        {"loss": "edges"},
        {"loss": "wasserstein", "dim_weights": (1.0, 0.0)},
        {"normalisation": "rms"},
    ],
    ids=str,
)
def test_the_module_and_the_function_have_the_same_options(make_cloud, options):
    teacher, offset = concatenated(make_cloud, [60])
    student, _ = concatenated(make_cloud, [60], "gaussian")
    got = fast.TopologicalLoss(20, **options)(teacher, student, offset)
    assert torch.equal(got, fast.topological_loss(teacher, student, 20, **options))
    plain = {"loss": "sinkhorn"} if options.keys() > {"loss"} else {}
    if options.get("loss") == "wasserstein":
        plain = {}
    assert not torch.equal(got, fast.TopologicalLoss(20, **plain)(teacher, student, offset))


@pytest.fixture
def seen(monkeypatch):
    """Return a list to which every call of a loss adds the samples of its clouds."""
    samples = []
    honest = distillation.choose_points

    def choose(*arguments):
        indices, radii = honest(*arguments)
        samples.append([each.tolist() for each in indices])
        return indices, radii

    monkeypatch.setattr(distillation, "choose_points", choose)
    return samples


def test_draws_follow_from_seed_and_call_alone(make_cloud, seen):
    teacher, offset = concatenated(make_cloud, [60, 35])
    student, _ = concatenated(make_cloud, [60, 35], "gaussian")
    arms = [
        {},
        {"loss": "edges"},
        {"loss": "wasserstein", "dim_weights": (1.0,)},
        {"normalisation": "rms", "sample_on": "concat"},
    ]
    drawn = []
    for arm in arms:
        torch.rand(3)  # whatever else an arm draws
        module = fast.TopologicalLoss(20, sampling="random", sampling_seed=4, **arm)
        for _ in range(2):
            module(teacher, student if arm else teacher * 2, offset)
        drawn.append(seen[-2:])
    assert all(each == drawn[0] for each in drawn)
    assert drawn[0][0] != drawn[0][1]  # another call, other points
    assert [len(set(cloud)) for cloud in drawn[0][0]] == [20, 20]
    fast.TopologicalLoss(20, sampling="random", sampling_seed=5)(teacher, student, offset)
    assert seen[-1] != drawn[0][0]


def test_mixed_samples_do_not_depend_on_the_student_or_the_loss(make_cloud, seen):
    teacher, offset = concatenated(make_cloud, [60, 35])
    student, _ = concatenated(make_cloud, [60, 35], "gaussian")
    for loss in ("pwcd", "edges"):
        for each in (student, student + 1):
            fast.TopologicalLoss(20, loss=loss, sampling="mixed")(teacher, each, offset)
    assert all(each == seen[0] for each in seen)
    farthest = fast.TopologicalLoss(10)
    farthest(teacher, student, offset)
    assert [cloud[:10] for cloud in seen[0]] == seen[-1]


@pytest.mark.parametrize("sampling", ["random", "mixed"])
def test_a_loaded_state_goes_on_with_the_same_draws(make_cloud, seen, sampling):
    teacher, offset = concatenated(make_cloud, [60])
    module = fast.TopologicalLoss(20, sampling=sampling)
    for _ in range(3):
        module(teacher, teacher, offset)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    assert {name: (value.dtype, value.tolist()) for name, value in state.items()} == {
        "sampling_calls": (torch.int64, 3)
    }
    before = torch.random.get_rng_state()
    module(teacher, teacher, offset)
    want = seen[-1]
    assert torch.equal(torch.random.get_rng_state(), before)
    resumed = fast.TopologicalLoss(20, sampling=sampling)
    resumed.load_state_dict(state)
    resumed(teacher, teacher, offset)
    assert seen[-1] == want
    fast.TopologicalLoss(20, sampling=sampling)(teacher, teacher, offset)
    assert seen[-1] == seen[0] != want


def test_a_loss_that_draws_nothing_has_no_state():
    assert not fast.TopologicalLoss(sampling_seed=3).state_dict()


@pytest.mark.parametrize("sampling", ["random", "mixed"])
def test_the_stats_of_drawn_samples_have_their_covering_radius(make_cloud, seen, sampling):
    teacher, offset = concatenated(make_cloud, [60])
    student, _ = concatenated(make_cloud, [60], "gaussian")
    module = fast.TopologicalLoss(20, sampling=sampling, normalisation="rms")
    _, stats = module(teacher, student, offset, return_stats=True)
    for name, cloud in (("teacher", teacher), ("student", student)):
        want = fast.covering_radius(fast.normalise(cloud, "rms"), torch.tensor(seen[0][0]))
        assert getattr(stats, f"{name}_covering_radius").item() == pytest.approx(want.item())
    farthest = fast.TopologicalLoss(20, normalisation="rms")
    _, covering = farthest(teacher, student, offset, return_stats=True)
    assert stats.teacher_covering_radius > covering.teacher_covering_radius


def test_another_cloud_s_teacher_may_be_the_target(make_cloud):
    teacher, offset = concatenated(make_cloud, [40, 40])
    student = teacher + 0.05 * concatenated(make_cloud, [40, 40], "gaussian")[0]
    module = fast.TopologicalLoss(loss="edges", normalisation="rms")
    own = module(teacher, student, offset)
    other = module(teacher.roll(40, dims=0), student, offset)
    assert own < 0.5 * other


def test_a_start_beyond_the_smallest_cloud_is_refused():
    with pytest.raises(ValueError, match=r"TopologicalLoss: start is 2; .* smallest cloud's 2 po"):
        fast.TopologicalLoss(start=2)(_FEATURES, _FEATURES, torch.tensor([2, 6]))
