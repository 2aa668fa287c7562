"""Which stages of two networks are compared: those that list the same voxels, and the last."""

import pytest
import torch

from tests.train.toys import build_toy
from train.core.errors import UserError
from train.methods.stages import describe_pairs, one_pair, stage_pairs
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
