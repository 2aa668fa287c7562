"""Which stages of two networks are compared, and the teacher's targets at them."""

from dataclasses import replace

import pytest
import torch

from tests.train.toys import build_toy
from train.config import MethodConfig
from train.core.errors import UserError
from train.data.batch import Batch
from train.methods.none import CrossEntropy
from train.methods.stages import describe_pairs, one_pair, stage_pairs
from train.methods.targets import KeptTargets, TeacherTargets, compute_targets, geometry_and_targets
from train.methods.terms import TargetChoice
from train.networks.litept import build_litept
from train.networks.protocol import lists_same_voxels, prepare_pair
from train.networks.ptv3 import build_segmentor

DECODER = ("dec3", "dec2", "dec1", "dec0")


def networks():
    return {
        "ptv3": build_segmentor("tiny-teacher", 4),
        "v1.5.1": build_segmentor("tiny-student", 4, cpe_input="v1.5.1", depth_rule="v1.5.1"),
        "litept": build_litept("tiny", 4),
        "toy": build_toy("small", 4, 4),
        "toy2": build_toy("wide", 4, 4),
    }


@pytest.fixture(scope="module")
def built():
    return networks()


@pytest.mark.parametrize(
    ("student", "teacher", "names", "want"),
    [
        ("litept", "ptv3", ("decoder",), [(s, s) for s in DECODER]),
        ("ptv3", "litept", ("dec0", "encoder"), [*((f"enc{s}",) * 2 for s in range(5)),
                                                 ("dec0", "dec0")]),
        ("v1.5.1", "ptv3", ("decoder",), [(s, s) for s in DECODER]),
        ("toy", "ptv3", ("decoder",), [("top", "dec0")]),
        ("ptv3", "toy", ("last", "decoder"), [("dec0", "top")]),
        ("toy", "toy2", ("encoder", "decoder"), [("enc1", "enc1"), ("top", "top")]),
        ("toy", "ptv3", ("enc1", "last"), [("enc1", "enc1"), ("top", "dec0")]),
    ],
)  # fmt: skip
def test_stages_of_the_same_voxels_are_paired(built, student, teacher, names, want):
    assert list(stage_pairs("x", names, built[student], built[teacher])) == want


@pytest.mark.parametrize(
    ("student", "teacher", "names", "message"),
    [
        (
            "toy",
            "ptv3",
            ("encoder",),
            r"Toy has enc1, top, its teacher, a Segmentor, .*choose last",
        ),
        ("litept", "ptv3", ("dec9",), "LitePT has no such stage"),
        ("ptv3", "toy", ("dec0",), "Toy has no such stage; choose among enc1, top"),
    ],
)
def test_what_cannot_be_compared_is_refused(built, student, teacher, names, message):
    with pytest.raises(UserError, match=message):
        stage_pairs("saliency-stages", names, built[student], built[teacher])


def test_a_single_stage_is_one_of_both(built):
    assert one_pair("stage", "last", built["toy"], built["litept"]) == ("top", "dec0")
    assert one_pair("stage", "enc4", built["ptv3"], built["litept"]) == ("enc4", "enc4")
    with pytest.raises(UserError, match="names 4 stages of LitePT"):
        one_pair("stage", "decoder", built["litept"], built["ptv3"])


def test_widths_are_told(built):
    pairs = [("top", "dec0")]
    assert describe_pairs(pairs, built["toy"], built["ptv3"]) == "top with dec0 (6 of 32 channels)"


@pytest.mark.parametrize("student", ["ptv3", "v1.5.1", "litept"])
@pytest.mark.parametrize("teacher", ["ptv3", "v1.5.1", "litept"])
def test_rows_of_every_stage_are_the_same_voxels_in_both(batch, student, teacher):
    pair = networks()
    torch.manual_seed(4)
    first, second = pair[student].train(), pair[teacher].eval()
    assert lists_same_voxels(first, second)
    own, theirs = prepare_pair(first, second, batch)
    for mine, other in zip(own.levels, theirs.levels, strict=True):
        assert torch.equal(mine.grid_coord, other.grid_coord)
        assert torch.equal(mine.batch, other.batch)
    with torch.no_grad():  # each takes its own: it would refuse the other's curves
        first(batch, own)
        alone, shared = second(batch), second(batch, theirs)
    if student == teacher:  # curves are the student's, shuffled
        return
    torch.testing.assert_close(shared.logits, alone.logits, rtol=1e-4, atol=1e-5)


# ---- the teacher's targets -----------------------------------------------------------------------


def test_what_is_not_wanted_is_not_there_and_what_is_has_no_gradient(teacher, batch):
    geometry = teacher.prepare(batch)
    lean = compute_targets(teacher, batch, geometry, TargetChoice())
    assert (lean.features, lean.saliency) == ({}, {})
    choice = TargetChoice(features=("enc1", "dec0"), saliency=("dec2", "dec0"))
    full = compute_targets(teacher, batch, geometry, choice)
    assert list(full.features) == ["enc1", "dec0"]
    assert list(full.saliency) == ["dec2", "dec0"]
    assert torch.equal(full.logits, lean.logits)
    with torch.no_grad():
        output = teacher(batch, geometry)
    for stage, features in full.features.items():
        assert torch.equal(features, output.features[stage])
    for stage, maps in full.saliency.items():
        assert maps.shape == output.features[stage].shape[:1]
        assert 0 <= maps.min() <= maps.max() <= 1
        assert maps.std() > 0
    for tensor in (full.logits, *full.features.values(), *full.saliency.values()):
        assert not tensor.requires_grad


def test_maps_are_of_the_loss_that_is_chosen(teacher, batch):
    geometry = teacher.prepare(batch)
    each = [
        compute_targets(
            teacher, batch, geometry, TargetChoice(saliency=("dec0",), segmentation=kind)
        ).saliency["dec0"]
        for kind in ("ce", "ce+lovasz")
    ]
    assert not torch.allclose(*each)


def test_neither_targets_nor_a_teacher_is_an_error():
    student = build_toy("small", 4, 4)
    batch = {"feat": torch.randn(5, 4), "offset": torch.tensor([5])}
    for given in (batch, Batch(batch, kept=KeptTargets(None, None))):
        with pytest.raises(ValueError, match="no kept targets, and no teacher"):
            geometry_and_targets(student, None, given, TargetChoice())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (TargetChoice(features=("dec0", "dec1")), "no features of dec1"),
        (TargetChoice(saliency=("dec2",)), "no saliency of dec2"),
    ],
)
def test_kept_targets_that_lack_a_stage_are_refused(choice, message):
    targets = TeacherTargets(torch.zeros(5, 4), {"dec0": torch.zeros(5, 2)})
    with pytest.raises(ValueError, match=message):
        geometry_and_targets(
            build_toy("small", 4, 4), None, Batch(kept=KeptTargets(None, targets)), choice
        )


def test_a_student_alone_takes_a_kept_geometry(student, batch, monkeypatch):
    student.eval()
    method = CrossEntropy(MethodConfig(), student, None)
    torch.manual_seed(1)
    want = method(student, None, batch)["segmentation"].value
    torch.manual_seed(1)
    geometry = student.prepare(batch)
    monkeypatch.setattr(student, "prepare", None)  # a call would fail
    kept = replace(batch, kept=KeptTargets(geometry, None))
    assert torch.equal(method(student, None, kept)["segmentation"].value, want)
