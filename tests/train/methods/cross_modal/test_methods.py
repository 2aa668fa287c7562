"""The three methods on a hand-made scene: what teaches what, and what nothing reaches."""

import pytest
import torch

from tests.train.methods.cross_modal.conftest import (
    CAMERA_METHODS,
    CLASS_NAMES,
    NUM_CLASSES,
    WITHOUT_LABELS,
    build,
    make_batch,
    without_images,
    without_pixels,
)
from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX
from train.methods.cross_modal.options import UDAKDConfig, XModelKDConfig
from train.methods.registry import method_class
from train.networks.litept import build_litept
from train.networks.ptv3 import build_segmentor
from train.networks.weights import checksum

IMAGE_TERMS = {
    "xmodel-kd": {"contrast", "distillation", "feature"},
    "udakd": {"semantic", "shared", "domain"},
    "fskd": {"semantic", "feature"},
}


def total(terms):
    return sum(term.weight * term.value.sum() for term in terms.values())


class Watched(torch.nn.Module):
    """A network whose outputs keep their gradients."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch, geometry=None):
        self.output = self.network(batch, geometry)
        self.output.logits.retain_grad()
        for features in self.output.features.values():
            features.retain_grad()
        return self.output


def gradients(method, student, batch, names):
    """Return the gradients of some terms at the student's logits and last features."""
    watched = Watched(student)
    terms = method(watched, None, batch)
    total({name: terms[name] for name in names}).backward()
    output = watched.output
    found = (output.logits, output.features[student.decoder_stages[-1]])
    return terms, *(torch.zeros_like(x) if x.grad is None else x.grad for x in found)


# ---- what teaches -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAMERA_METHODS)
def test_terms_and_gradients(name, make, toy_student, batch):
    method = make(name)
    terms = method(toy_student, None, batch)
    extra = {"segmentation", "fused"} if name == "xmodel-kd" else set()
    assert set(terms) == IMAGE_TERMS[name] | extra
    total(terms).backward()
    without = [n for n, p in (*method.named_parameters(), *toy_student.named_parameters())
               if p.grad is None]  # fmt: skip
    assert without == []
    assert all(each.grad is None for each in method.image_network.parameters())
    seen = len(batch["point_pixel"][:, 3].unique())
    for term in IMAGE_TERMS[name]:
        assert terms[term].count.tolist() == [seen]
        assert float(terms[term].value.detach()) > 0


@pytest.mark.parametrize("name", CAMERA_METHODS)
def test_training_changes_nothing_of_the_image_network(name, make, toy_student, batch):
    method = make(name)
    before = checksum(method.image_network)
    parameters = [*toy_student.parameters(), *method.parameters()]
    own = {id(each) for each in method.image_network.parameters()}
    assert not own & {id(each) for each in parameters}
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        total(method(toy_student, None, batch)).backward()
        optimizer.step()
        method.synchronize()
    assert checksum(method.image_network) == before
    assert not any(key.startswith("_image") or "backbone" in key for key in method.state_dict())


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_without_labels_a_student_learns_classes_from_images(name, make, toy_student):
    batches = [make_batch(seed) for seed in range(6)]
    method = make(name)
    optimizer = torch.optim.Adam([*toy_student.parameters(), *method.parameters()], lr=0.02)

    def accuracy():
        other = make_batch(99)
        with torch.no_grad():
            found = toy_student(other).logits.argmax(dim=1)
        return float((found == other["segment"]).float().mean())

    before = accuracy()
    for step in range(60):
        batch = {k: v for k, v in batches[step % 6].items() if k != "segment"}
        optimizer.zero_grad()
        total(method(toy_student, None, batch)).backward()
        optimizer.step()
        method.synchronize()
    assert accuracy() > max(before, 1 / NUM_CLASSES) + 0.15


def test_fused_logits_see_the_images(make, toy_student):
    batch = make_batch()
    method = make("xmodel-kd")
    optimizer = torch.optim.Adam([*toy_student.parameters(), *method.parameters()], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        total(method(toy_student, None, batch)).backward()
        optimizer.step()
    points = batch["point_pixel"][:, 3].unique()
    with torch.no_grad():
        fused, alone = method.with_images(toy_student)(batch).logits, toy_student(batch).logits
    right = [
        float((logits.argmax(1) == batch["segment"])[points].float().mean())
        for logits in (fused, alone)
    ]
    assert right[0] > right[1]


# ---- what nothing reaches -----------------------------------------------------------------------


@pytest.mark.parametrize("name", CAMERA_METHODS)
def test_unseen_points_get_no_gradient_from_images(name, make, toy_student, batch):
    """Without the convolution over neighbors, by which a seen voxel's loss reaches its features."""
    method = make(name, self_calibrated=False)
    if name == "udakd":
        method.ramp.done += 50
    _, at_logits, at_features = gradients(method, toy_student, batch, IMAGE_TERMS[name])
    seen = torch.zeros(len(batch["feat"]), dtype=torch.bool)
    seen[batch["point_pixel"][:, 3]] = True
    assert 0 < int(seen.sum()) < len(seen)
    for gradient in (at_logits, at_features):
        assert torch.equal(gradient[~seen], torch.zeros_like(gradient[~seen]))
        assert (gradient[seen].abs().amax(dim=1) > 0).all()


@pytest.mark.parametrize("name", CAMERA_METHODS)
def test_what_unseen_points_are_changes_no_image_term(name, make, toy_student, batch):
    method = make(name, self_calibrated=False)
    unseen = torch.ones(len(batch["feat"]), dtype=torch.bool)
    unseen[batch["point_pixel"][:, 3]] = False
    changed = {**batch, "feat": batch["feat"].clone()}
    changed["feat"][unseen] += 1
    one, other = (method(toy_student, None, each) for each in (batch, changed))
    for term in IMAGE_TERMS[name]:
        assert torch.equal(one[term].value, other[term].value), term


@pytest.mark.parametrize("empty", [without_pixels, without_images])
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in CAMERA_METHODS]
    + [("udakd", {"adaptation": "mmd"}), ("udakd", {"images": "other"})],
)
def test_without_a_seen_point_image_terms_are_zero(name, options, empty, make, toy_student, batch):
    method = make(name, **options)
    terms, at_logits, at_features = gradients(method, toy_student, empty(batch), IMAGE_TERMS[name])
    for term in IMAGE_TERMS[name]:
        assert terms[term].value.tolist() == [0]
        assert terms[term].count.tolist() == [0]
    assert not at_logits.any()
    assert not at_features.any()
    # Everything still has a gradient: with several processes each waits for it.
    for each in method.parameters():
        each.grad = None
    total(method(toy_student, None, empty(batch))).backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_poisoned_labels_leave_a_step_bit_for_bit_the_same(name, make, batch, image_file):
    found = []
    poisoned = torch.randint(-5, 999, batch["segment"].shape)
    for segment in (batch["segment"], poisoned, torch.full_like(poisoned, IGNORE_INDEX), None):
        given = {key: value for key, value in batch.items() if key != "segment"}
        if segment is not None:
            given["segment"] = segment
        torch.manual_seed(3)
        student = build_segmentor("tiny-student", NUM_CLASSES).train()
        method = build(name, student, image_file)
        method.synchronize()
        terms = method(student, None, given)
        total(terms).backward()
        found.append({key: value.grad for key, value in student.named_parameters()})
    for other in found[1:]:
        for key, gradient in found[0].items():
            assert (gradient is None) == (other[key] is None)
            assert gradient is None or torch.equal(gradient, other[key]), key


# ---- networks, placebo, options -----------------------------------------------------------------


@pytest.mark.parametrize("name", CAMERA_METHODS)
@pytest.mark.parametrize("network", ["ptv3", "litept"])
def test_every_network_can_be_taught(name, network, image_file):
    torch.manual_seed(0)
    maker, size = {
        "ptv3": (build_segmentor, "tiny-student"),
        "litept": (build_litept, "tiny"),
    }[network]
    student = maker(size, NUM_CLASSES).train()
    method = build(name, student, image_file)
    batch = make_batch(sizes=(300, 200))
    terms = method(student, None, batch)
    total(terms).backward()
    first = next(student.parameters())
    assert torch.isfinite(first.grad).all()
    assert first.grad.abs().max() > 0


@pytest.mark.parametrize("name", CAMERA_METHODS)
def test_the_placebo_is_another_loss(name, toy_student, image_file):
    batch = make_batch()
    batch["images"][2] = 30
    own, other = (
        build(name, toy_student, image_file, images=each)(toy_student, None, batch)
        for each in ("own", "other")
    )
    term = "contrast" if name == "xmodel-kd" else "semantic"
    assert float(own[term].value.detach()) != float(other[term].value.detach())


def test_a_student_of_the_placebo_is_scored_with_its_own_images(toy_student, image_file):
    alone = make_batch(sizes=(60,), views=(2,))
    own, other = (
        build("xmodel-kd", toy_student, image_file, images=each).with_images(toy_student)
        for each in ("own", "other")
    )
    other.load_state_dict(own.state_dict())
    assert torch.equal(own(alone).logits, other(alone).logits)


def test_the_reversal_pushes_the_student_the_other_way(make, toy_student, batch):
    method = make("udakd", adaptation_weight=1.0, adaptation_steps=1)
    method.ramp.done += 10
    assert float(method.ramp.value()) == pytest.approx(1.0)
    _, _, reversed_gradient = gradients(method, toy_student, batch, {"domain"})
    method.ramp.limit = -1.0  # a reversal of strength -1 is none
    _, _, plain = gradients(method, toy_student, batch, {"domain"})
    assert torch.equal(reversed_gradient, -plain)
    assert plain.abs().max() > 0


def test_the_ramp_is_part_of_what_a_run_goes_on_from(make):
    method = make("udakd")
    for _ in range(3):
        method.synchronize()
    other = make("udakd")
    other.load_state_dict(method.state_dict())
    assert int(other.ramp.done) == 3
    other.eval().synchronize()
    assert int(other.ramp.done) == 3


def test_adaptations_are_three(make, toy_student, batch):
    names = {}
    for adaptation in ("none", "reversal", "mmd"):
        method = make("udakd", adaptation=adaptation)
        method.ramp.done += 100
        names[adaptation] = method(toy_student, None, batch)
    assert "domain" not in names["none"]
    assert float(names["mmd"]["domain"].value.detach()) > 0


def test_weights_of_zero_leave_terms_out(make, toy_student, batch):
    method = make("xmodel-kd", contrast=0.0, distillation=0.0, feature=0.0)
    assert set(method(toy_student, None, batch)) == {"segmentation", "fused"}
    method = make("fskd", feature=0.0)
    assert set(method(toy_student, None, batch)) == {"semantic"}
    assert list(method.parameters()) == []


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (XModelKDConfig, {"contrast": -1.0}, "--method.contrast is -1.0: a weight is 0 or above"),
        (XModelKDConfig, {"fused": 0.0}, "--method.fused is 0.0: above 0"),
        (XModelKDConfig, {"temperature": 0.0}, "--method.temperature is 0.0: above 0, 0.07"),
        (XModelKDConfig, {"max_pairs": 1}, "--method.max-pairs is 1: at least 2 pairs"),
        (XModelKDConfig, {"width": 30}, "--method.width is 30: a multiple of the 4"),
        (XModelKDConfig, {"fusion_layers": 0}, "--method.fusion-layers is 0: at least 1"),
        (UDAKDConfig, {"width": 15}, "--method.width is 15: even"),
        (UDAKDConfig, {"pooling": 1}, "--method.pooling is 1: at least 2"),
        (UDAKDConfig, {"semantic": 0.0}, "--method.semantic is 0.0: above 0"),
        (UDAKDConfig, {"shared": 0.0}, "--method.shared is 0.0: above 0"),
        (UDAKDConfig, {"adaptation_steps": 0}, "--method.adaptation-steps is 0: at least 1"),
    ],
)
def test_options_that_make_no_sense_are_one_line(config, options, message):
    with pytest.raises(UserError, match=message):
        config(**options)


def test_an_image_network_of_other_classes_is_one_line(image_file, toy_student):
    kind = method_class("udakd")
    config = kind.Config(image_network=image_file)
    kind.check_classes(config, CLASS_NAMES)
    kind.check_classes(kind.Config(), ("any",))
    with pytest.raises(UserError, match="calls class 3 'tree', the run 'bush'"):
        kind.check_classes(config, ("road", "wall", "car", "bush"))
    with pytest.raises(UserError, match="has 4 classes, the run has 1"):
        kind.check_classes(config, ("road",))
    with pytest.raises(ValueError, match="there is no image network"):
        kind(kind.Config(), toy_student, None)


def test_images_of_another_size_are_one_line(make, toy_student, batch):
    method = make("fskd")
    batch["images"] = batch["images"][:, :, ::2, ::2]
    with pytest.raises(UserError, match=r"images of 16 x 24 pixels .*, the batch has 8 x 12"):
        method(toy_student, None, batch)
