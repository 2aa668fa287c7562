"""Hints: the loss against a value worked out by hand, and the adapter between two widths."""

import pytest
import torch

from train.methods.feature import FeatureConfig, FeatureHint, hint_loss


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


def test_no_gradient_reaches_the_teacher():
    teacher, adapted = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    hint_loss(teacher, adapted).backward()
    assert teacher.grad is None
    assert adapted.grad.abs().max() > 0


def test_bfloat16_is_computed_in_float32():
    adapted = torch.randn(3, 4).bfloat16()
    assert hint_loss(torch.randn(3, 4), adapted).dtype == torch.float32


@pytest.mark.parametrize("stage", ["last", "dec2"])
def test_the_adapter_brings_a_stage_to_the_teachers_width(stage, teacher, student, batch):
    method = FeatureHint(FeatureConfig(stage=stage), student, teacher)
    name = "dec0" if stage == "last" else stage
    widths = student.stage_channels[name], teacher.stage_channels[name]
    assert (method.adapter.in_features, method.adapter.out_features) == widths
    term = method(student, teacher, batch)["feature"]
    with torch.no_grad():
        rows = len(teacher(batch).features[name])
    assert term.count.tolist() == [rows]
    assert term.value.shape == (1,)
    term.value.sum().backward()
    assert method.adapter.weight.grad.abs().max() > 0


def test_the_adapter_takes_nothing_from_the_runs_random_numbers(teacher, student):
    torch.manual_seed(3)
    want = torch.rand(4)
    torch.manual_seed(3)
    FeatureHint(FeatureConfig(), student, teacher)
    assert torch.equal(torch.rand(4), want)
