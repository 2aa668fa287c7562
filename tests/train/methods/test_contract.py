"""What every registered method promises alike: nobody's random numbers, who learns, kept targets.

A method that is added to the registry is tested here without a word.
"""

import copy
import dataclasses
from functools import partial

import pytest
import torch

from tests.train.methods.cross_modal.conftest import make_batch, write_image_network
from train.core.errors import UserError
from train.data.batch import Batch
from train.engine.train_step import BatchShare, TrainStep
from train.methods.affinity import affinity_loss
from train.methods.cwd import channel_wise_divergence
from train.methods.dist import dist_loss
from train.methods.dkd import decoupled_divergence
from train.methods.feature import hint_loss
from train.methods.kd import KDConfig, SoftenedLogits
from train.methods.registry import METHODS, method_class
from train.methods.rkd import angle_loss, distance_loss
from train.methods.stage_term import StageTerm
from train.methods.targets import KeptTargets, compute_targets
from train.networks.protocol import prepare_pair

TAUGHT = [name for name in METHODS if method_class(name).needs_teacher]
ON_A_STAGE = [name for name in METHODS if issubclass(method_class(name), StageTerm)]
EARLIER_STAGES = {"topology_stage": "enc2", "saliency_stages": ("enc3", "dec1"), "stage": "dec1"}
OFF = {"distance": 0.0, "angle": 0.0, "affinity": 0.0, "feature": 0.0, "image": 0.0}
"""The weights of terms on a stage, by the options of those that have them."""
SMALL = {
    "num_samples": 40,
    "num_points": 16,
    "region": 0,
    "num_clouds": 16,
    "clouds_per_frame": 8,
    "fit_epochs": 1,
    "adaptation_steps": 1,
}
"""Options that cost much at their defaults, or many steps, for each method that has them."""


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    return write_image_network(tmp_path_factory.mktemp("contract") / "image.safetensors")


@pytest.fixture
def batch():
    """Two clouds with images, so that it serves methods of every kind."""
    return make_batch()


@pytest.fixture
def make(teacher, student, batch, image_file, tmp_path):
    """A function that returns a method as a run makes it, with those options that it has."""

    def made(name, **options):
        kind = method_class(name)
        fields = {field.name for field in dataclasses.fields(kind.Config)}
        given = SMALL | {"image_network": image_file} | options
        config = kind.Config(**{key: value for key, value in given.items() if key in fields})
        torch.manual_seed(0)
        path = kind.prepare(config, teacher, iter([batch]), tmp_path)
        return kind(config, student, teacher if kind.needs_teacher else None, artifacts=path)

    return made


def total(terms):
    return sum(term.weight * term.value.sum() for term in terms.values())


def norm(terms, parameters):
    """Return the length of the gradient of some terms together."""
    gradients = torch.autograd.grad(total(terms), parameters, retain_graph=True, allow_unused=True)
    return torch.cat([each.flatten() for each in gradients if each is not None]).norm().item()


# ---- every method -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_nothing_from_the_runs_random_numbers(name, make):
    make(name)  # with a generator that is seeded the same
    want = torch.rand(4)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(4), want)


@pytest.mark.parametrize("name", METHODS)
def test_each_term_teaches_the_whole_student_and_nothing_that_teaches_it(
    name, make, teacher, student, batch
):
    before, own = copy.deepcopy(teacher.state_dict()), list(student.state_dict())
    method = make(name)
    method.synchronize()  # after a step: what grows from 0 is above it
    terms = method(student, teacher, batch)
    for key, term in terms.items():
        term.value.sum().backward(retain_graph=True)
        reached = [each.grad for each in student.parameters() if each.grad is not None]
        assert sum(bool(gradient.any()) for gradient in reached) > 0.9 * len(reached) > 90, key
        student.zero_grad()
        assert term.value.dtype == torch.float32
        assert (term.value > 0).all(), key
    assert all(each.grad is not None and each.grad.any() for each in method.parameters())
    assert all(each.grad is None for each in teacher.parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    # What a method trains beside the student is no part of the student's file.
    assert list(student.state_dict()) == own


@pytest.mark.parametrize("name", METHODS)
def test_terms_of_half_precision_features_are_computed_in_float32(
    name, make, teacher, student, batch
):
    method = make(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = method(student, teacher, batch)
    assert {term.value.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.parametrize("options", [{}, EARLIER_STAGES], ids=["usual", "earlier stages"])
@pytest.mark.parametrize("name", TAUGHT)
def test_kept_targets_give_the_same_terms_without_a_teacher(
    name, options, make, teacher, student, batch
):
    student.eval()  # no drop path
    live, again = (make(name, **options) for _ in range(2))
    again.load_state_dict(live.state_dict())
    # The order of curves is drawn where a batch is prepared.
    torch.manual_seed(1)
    want = live(student, teacher, batch)
    torch.manual_seed(1)
    geometry, teacher_geometry = prepare_pair(student, teacher, batch)
    targets = compute_targets(teacher, batch, teacher_geometry, again.choice)
    found = again(student, None, Batch(batch, kept=KeptTargets(geometry, targets)))
    assert list(found) == list(want)
    for term in want:
        assert torch.equal(found[term].value, want[term].value), term
    gradients = [
        torch.autograd.grad(total(terms), student.seg_head.weight)[0] for terms in (found, want)
    ]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("name", "others"),
    [("dist", ["dist"]), ("cwd", ["cwd"]), ("dkd", ["target", "others"])],
)
def test_terms_on_logits_stand_beside_the_cross_entropy(
    name, others, make, teacher, student, batch
):
    student.eval()
    terms = make(name)(student, teacher, batch)
    beside = SoftenedLogits(KDConfig(), student, teacher)(student, teacher, batch)
    torch.testing.assert_close(terms["segmentation"].value, beside["segmentation"].value)
    assert list(terms) == ["segmentation", *others]


# ---- kd and one term more, from a stage's features ----------------------------------------------


@pytest.mark.parametrize("name", ON_A_STAGE)
def test_a_control_is_kd_and_one_term(name, make, teacher, student, batch):
    student.eval()
    method = make(name)
    terms = method(student, teacher, batch)
    torch.manual_seed(0)
    config = KDConfig(
        distillation=method.config.distillation, temperature=method.config.temperature
    )
    want = SoftenedLogits(config, student, teacher)(student, teacher, batch)
    assert list(terms) == ["segmentation", "distillation", method.name]
    for each, term in want.items():
        torch.testing.assert_close(terms[each].value, term.value)
        assert (terms[each].weight, terms[each].unit) == (term.weight, term.unit)


@pytest.mark.parametrize("name", ON_A_STAGE)
def test_a_weight_of_zero_leaves_the_term_out(
    name, make, teacher, student, batch, tmp_path, monkeypatch
):
    method = make(name, **OFF)
    monkeypatch.setattr(method, "term", None)  # a call would fail
    assert method.choice.features == ()
    assert list(method(student, teacher, batch)) == ["segmentation", "distillation"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ON_A_STAGE)
def test_a_balanced_term_has_its_share_of_the_gradient(name, make, teacher, student, batch):
    method = make(name, balance=0.25)
    terms = method(student, teacher, batch)
    parameters = list(student.parameters())
    own = {method.name: terms[method.name]}
    others = {key: terms[key] for key in terms.keys() - own}
    assert norm(own, parameters) / norm(others, parameters) == pytest.approx(0.25, rel=1e-4)
    weight = own[method.name].weight
    assert own[method.name].stats["weight"].item() == pytest.approx(weight)
    # The weights of the parts of a sum are not the balance's.
    assert weight not in (0.0, 1.0)


@pytest.mark.parametrize("name", ON_A_STAGE)
def test_a_step_synchronizes_the_balance(name, make, teacher, student, batch):
    method = make(name, balance=0.25)
    step = TrainStep(student, method, teacher)
    before = method.gradient_balance.get_extra_state()
    assert not before.any()
    output = step(batch, BatchShare())
    calls, _, measured = method.gradient_balance.get_extra_state().tolist()
    assert (calls, measured) == (1, 1)
    assert output.numbers[f"{method.name}_stats/weight"] > 0


@pytest.mark.parametrize("name", ON_A_STAGE)
def test_stages_that_do_not_fit_are_refused(name, make, teacher, student):
    kind = method_class(name)
    for stage, found in (("enc9", "Segmentor has no such stage"), ("decoder", "names 4 st")):
        message = f"--method.stage {stage}: {found}"
        for refused in (kind, kind.check):
            with pytest.raises(UserError, match=message):
                refused(kind.Config(stage=stage), student, teacher)


@pytest.mark.parametrize("name", ON_A_STAGE)
def test_rows_that_are_not_the_same_voxels_are_refused(name, make, teacher, student, batch):
    method = make(name)
    method.stages = ("dec1", "dec0")
    with pytest.raises(UserError, match=r"--method.stage: stage dec1 has \d+ rows in the student"):
        method(student, teacher, batch)


# ---- the adapter of hints -----------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["last", "dec2"])
def test_the_adapter_brings_a_stage_to_the_teachers_width(stage, make, teacher, student, batch):
    method = make("feature", stage=stage)
    name = "dec0" if stage == "last" else stage
    widths = student.stage_channels[name], teacher.stage_channels[name]
    assert (method.adapter.in_features, method.adapter.out_features) == widths
    term = method(student, teacher, batch)["feature"]
    with torch.no_grad():
        rows = len(teacher(batch).features[name])
    assert term.count.tolist() == [rows]
    assert term.value.shape == (1,)


# ---- functions of two networks' features or logits ----------------------------------------------


def decoupled(teacher, student):
    return sum(decoupled_divergence(teacher, student, torch.arange(9) % 5, 2.0))


@pytest.mark.parametrize(
    "loss",
    [
        hint_loss,
        distance_loss,
        angle_loss,
        affinity_loss,
        partial(dist_loss, temperature=2.0),
        partial(channel_wise_divergence, temperature=2.0),
        decoupled,
    ],
)
def test_gradients_are_the_students_and_equal_rows_cost_nothing(loss):
    generator = torch.Generator().manual_seed(2)
    teacher, student = (
        torch.randn(9, 5, generator=generator, dtype=torch.float64).mul(2).requires_grad_()
        for _ in range(2)
    )
    torch.autograd.gradcheck(lambda rows: loss(teacher, rows), (student,))
    loss(teacher, student).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-3
    assert loss(teacher, teacher.detach()).item() == pytest.approx(0, abs=1e-8)


def test_normalized_features_of_one_voxel():
    # (1, 3) and (5, 3) have mean 0 and variance 1 as (-1, 1) and (1, -1): both differ by 2.
    assert hint_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[5.0, 3.0]])).item() == (
        pytest.approx(4, rel=1e-4)
    )


def test_a_voxels_shift_and_scale_do_not_count():
    teacher = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = torch.arange(1.0, 7, dtype=torch.float64)[:, None]
    assert hint_loss(teacher, own * teacher - own).item() == pytest.approx(0, abs=1e-8)
    assert hint_loss(teacher, teacher.flip(0)) > 0.1
