"""What points see: the pixels that the batch names, means over views, and the placebo."""

import pytest
import torch

from tests.train.methods.cross_modal.conftest import NUM_CLASSES, make_batch, without_images
from train.core.errors import UserError
from train.methods.cross_modal.pixels import SeenPixels, seen_pixels, views_of_other_clouds
from train.networks.image import load_image_network


@pytest.fixture(scope="module")
def network(image_file):
    return load_image_network(image_file)[0]


def test_points_see_the_classes_of_their_own_pixels(network, batch):
    seen = seen_pixels(network, batch)
    found = seen.logits.argmax(dim=1)
    assert (found == batch["segment"][seen.point]).float().mean() > 0.8
    assert not seen.features.requires_grad


def test_pairs_are_those_of_the_batch(network, batch):
    seen = seen_pixels(network, batch)
    with torch.no_grad():
        whole = network(batch["images"])
    for pair in (0, 30, 74):
        view, row, column, point = batch["point_pixel"][pair].tolist()
        assert int(seen.point[pair]) == point
        torch.testing.assert_close(
            seen.logits[pair], whole[view, :, row, column], rtol=1e-4, atol=1e-4
        )


def test_the_mean_over_the_views_of_a_point():
    logits = torch.tensor([[0.0, 9.0], [3.0, 0.0], [9.0, 0.0]])
    seen = SeenPixels(torch.tensor([4, 1, 4]), torch.tensor([[2.0], [5.0], [4.0]]), logits)
    found = seen.mean_per_point()
    assert found.point.tolist() == [1, 4]
    assert found.features.tolist() == [[5.0], [3.0]]
    torch.testing.assert_close(found.probabilities[1], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(found.probabilities.sum(dim=1), torch.ones(2))


def test_the_placebo_takes_the_same_camera_of_the_next_cloud():
    assert views_of_other_clouds(torch.tensor([0, 0, 1, 1])).tolist() == [2, 3, 0, 1]
    # A cloud without an image, and one with fewer.
    assert views_of_other_clouds(torch.tensor([0, 0, 0, 2])).tolist() == [3, 3, 3, 0]
    with pytest.raises(UserError, match=r"--method.images other takes the images of another cloud"):
        views_of_other_clouds(torch.tensor([1, 1]))


def test_the_placebo_sees_other_pixels_and_nothing_else_changes(network):
    batch = make_batch()
    batch["images"][2] = 128  # the second cloud's
    own, other = (seen_pixels(network, batch, of_other_clouds=each) for each in (False, True))
    assert torch.equal(own.point, other.point)
    first = batch["point_pixel"][:, 0] < 2
    assert (own.logits[first] - other.logits[first]).abs().max() > 0.1


def test_without_an_image_nothing_is_seen_also_by_the_placebo(network, batch):
    for of_other_clouds in (False, True):
        seen = seen_pixels(network, without_images(batch), of_other_clouds=of_other_clouds)
        assert seen.logits.shape == (0, NUM_CLASSES)
        assert len(seen.mean_per_point().point) == 0


def test_a_batch_that_was_read_without_cameras_is_refused(network, batch):
    del batch["images"], batch["view_cloud"]
    with pytest.raises(ValueError, match="the batch has no images, view_cloud; open it with"):
        seen_pixels(network, batch)
