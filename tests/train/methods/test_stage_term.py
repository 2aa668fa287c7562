"""What the controls have in common: `kd` plus one term, from a stage's features to the student."""

import pytest
import torch

from train.core.errors import UserError
from train.engine.train_step import BatchShare, TrainStep
from train.methods.affinity import Affinity
from train.methods.feature import FeatureHint
from train.methods.kd import KDConfig, SoftenedLogits
from train.methods.rkd import RelationalKD

CONTROLS = {
    "relations": (RelationalKD, {"num_samples": 100}),
    "affinity": (Affinity, {"num_samples": 100}),
    "feature": (FeatureHint, {}),
}
OFF = {"relations": {"distance": 0.0, "angle": 0.0}, "affinity": {"affinity": 0.0}} | {
    "feature": {"feature": 0.0}
}


def build(name, student, teacher, **changes):
    kind, options = CONTROLS[name]
    torch.manual_seed(0)
    return kind(kind.Config(**options, **changes), student, teacher)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_kd_and_one_term(name, teacher, student, batch):
    student.eval()
    terms = build(name, student, teacher)(student, teacher, batch)
    torch.manual_seed(0)
    want = SoftenedLogits(KDConfig(), student, teacher)(student, teacher, batch)
    assert list(terms) == ["segmentation", "distillation", name]
    for each, term in want.items():
        torch.testing.assert_close(terms[each].value, term.value)
        assert (terms[each].weight, terms[each].unit) == (term.weight, term.unit)


@pytest.mark.parametrize("name", CONTROLS)
def test_the_term_reaches_the_students_backbone_and_not_the_teacher(name, teacher, student, batch):
    term = build(name, student, teacher)(student, teacher, batch)[name]
    term.value.sum().backward()
    reached = [p.grad for p in student.backbone.parameters() if p.grad is not None]
    assert len(reached) > 100
    assert sum(bool(gradient.any()) for gradient in reached) > 0.9 * len(reached)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("name", CONTROLS)
def test_a_weight_of_zero_leaves_the_term_out(name, teacher, student, batch, monkeypatch):
    method = build(name, student, teacher, **OFF[name])
    monkeypatch.setattr(method, "term", None)  # a call would fail
    assert method.choice.features == ()
    assert list(method(student, teacher, batch)) == ["segmentation", "distillation"]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_balanced_term_has_its_share_of_the_gradient(name, teacher, student, batch):
    method = build(name, student, teacher, balance=0.25)
    terms = method(student, teacher, batch)
    parameters = list(student.parameters())

    def norm(*which):
        value = sum(terms[each].weight * terms[each].value.sum() for each in which)
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()

    share = norm(name) / norm("segmentation", "distillation")
    assert share == pytest.approx(0.25, rel=1e-4)
    assert terms[name].stats["weight"].item() == pytest.approx(terms[name].weight)
    # The weights of the parts of a sum are not the balance's.
    assert terms[name].weight not in (0.0, 1.0)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_step_synchronizes_the_balance(name, teacher, student, batch):
    method = build(name, student, teacher, balance=0.25)
    step = TrainStep(student, method, teacher)
    before = method.gradient_balance.get_extra_state()
    assert not before.any()
    output = step(batch, BatchShare())
    calls, _, measured = method.gradient_balance.get_extra_state().tolist()
    assert (calls, measured) == (1, 1)
    assert output.numbers[f"{name}_stats/weight"] > 0


@pytest.mark.parametrize("name", CONTROLS)
def test_stages_that_do_not_fit_are_refused(name, teacher, student):
    for stage, found in (("enc9", "Segmentor has no such stage"), ("decoder", "names 4 st")):
        message = f"--method.stage {stage}: {found}"
        with pytest.raises(UserError, match=message):
            build(name, student, teacher, stage=stage)
        kind = CONTROLS[name][0]
        with pytest.raises(UserError, match=message):
            kind.check(kind.Config(stage=stage), student, teacher)


@pytest.mark.parametrize("name", CONTROLS)
def test_rows_that_are_not_the_same_voxels_are_refused(name, teacher, student, batch):
    method = build(name, student, teacher)
    method.stages = ("dec1", "dec0")
    with pytest.raises(UserError, match=r"--method.stage: stage dec1 has \d+ rows in the student"):
        method(student, teacher, batch)
