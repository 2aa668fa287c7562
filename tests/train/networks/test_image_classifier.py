"""Image classifiers as networks: one cloud a batch, and methods distill them."""

import pytest
import torch
from torch import nn

from train.data.frame import IGNORE_INDEX
from train.engine.train_step import BatchShare, TrainStep
from train.methods.rkd import RelationalKD, RelationalKDConfig
from train.methods.topkd.artifacts import load_maker
from train.methods.topkd.method import TopKD
from train.methods.topkd.options import TopKDConfig
from train.networks.image_classifier import ImageClassifier, image_batch


def classifier(width):
    backbone = nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return ImageClassifier(
        backbone, nn.Linear(width, 3), channels=width, num_classes=3, in_channels=1
    )


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(80, 1, 8, 8, generator=generator), torch.arange(80) % 3


def test_a_batch_is_one_cloud_of_embeddings(images):
    torch.manual_seed(0)
    network = classifier(12)
    batch = image_batch(*images)
    assert batch["offset"].tolist() == [80]
    output = network(batch)
    assert output.logits.shape == (80, 3)
    assert torch.equal(output.features["embedding"], network.backbone(images[0]))
    assert output.offsets["embedding"].tolist() == [80]
    assert network.stage_channels == {"embedding": 12}
    doubled = network(batch, stage_hook=lambda name, features: 2 * features)
    assert torch.equal(doubled.features["embedding"], 2 * output.features["embedding"])
    assert torch.equal(doubled.logits, network.head(2 * output.features["embedding"]))


def test_topkd_distills_image_classifiers(images, tmp_path):
    """The clouds are of all training images; a step's cloud is its batch."""
    torch.manual_seed(0)
    teacher, student = classifier(12).eval().requires_grad_(False), classifier(6)
    config = TopKDConfig(num_points=32, region=0, num_clouds=40, clouds_per_frame=40, fit_epochs=2)
    path = TopKD.prepare(config, teacher, [image_batch(*images)], tmp_path)
    assert load_maker(path).card.channels == 12
    method = TopKD(config, student, teacher, artifacts=path)
    pictures, labels = images
    step = TrainStep(student, method, teacher)
    output = step(image_batch(pictures[:32], labels[:32]), BatchShare())
    output.total.backward()
    assert output.numbers.keys() == {"segmentation", "distillation", "image", "total"}
    assert output.numbers["image"] > 0
    first = student.backbone[0].weight
    assert first.grad.abs().max() > 0
    (alone,) = torch.autograd.grad(
        method(student, teacher, image_batch(pictures[:32], labels[:32]))["image"].value, first
    )
    assert alone.abs().max() > 0


def test_a_control_distills_them_too(images):
    torch.manual_seed(0)
    teacher, student = classifier(12).eval().requires_grad_(False), classifier(6)
    method = RelationalKD(RelationalKDConfig(num_samples=20, angle_samples=5), student, teacher)
    terms = method(student, teacher, image_batch(*images))
    assert terms["relations"].value > 0


def test_unlabeled_images_do_not_count(images):
    torch.manual_seed(0)
    teacher, student = classifier(12).eval().requires_grad_(False), classifier(6)
    config = TopKDConfig(image=0.0)
    pictures, labels = images
    some = torch.where(torch.arange(80) < 50, labels, IGNORE_INDEX)
    found = TopKD(config, student, teacher)(student, teacher, image_batch(pictures, some))
    want = nn.functional.cross_entropy(
        student(image_batch(pictures, labels)).logits[:50], labels[:50]
    )
    torch.testing.assert_close(found["segmentation"].value, want)


def test_what_does_not_fit_is_refused(images):
    pictures, labels = images
    for given in ((pictures[:0], labels[:0]), (pictures, labels[:3]), (pictures[:, 0], labels)):
        with pytest.raises(ValueError, match="image_batch: images are"):
            image_batch(*given)
    network = ImageClassifier(
        nn.Conv2d(1, 12, 3), nn.Identity(), channels=12, num_classes=3, in_channels=1
    )
    with pytest.raises(ValueError, match=r"it must give \(80, 12\), pooled and flat"):
        network(image_batch(pictures, labels))
