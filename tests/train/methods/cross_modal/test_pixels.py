"""What points see, and the contrast of points with their pixels."""

import math

import pytest
import torch

from tests.train.methods.cross_modal.conftest import NUM_CLASSES, make_batch, without_images
from train.core.errors import UserError
from train.methods.cross_modal.pixels import SeenPixels, seen_pixels, views_of_other_clouds
from train.methods.cross_modal.terms import drawn_pairs, info_nce
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


# ---- InfoNCE -------------------------------------------------------------------------------------


def test_aligned_pairs_have_a_loss_of_nearly_zero():
    features = torch.eye(64)
    assert info_nce(features, features, torch.arange(64), 0.07).max() < 1e-4


def test_features_that_know_nothing_have_the_logarithm_of_the_number_of_pairs():
    both = torch.eye(128)
    loss = info_nce(both[:64], both[64:], torch.arange(64), 0.07)  # orthogonal to every pixel
    torch.testing.assert_close(loss, torch.full((64,), math.log(64)))


def test_shuffled_features_tend_to_the_same():
    generator = torch.Generator().manual_seed(0)
    points, pixels = torch.randn(2, 48, 20_000, generator=generator)
    loss = info_nce(points, pixels, torch.arange(48), 0.07).mean()
    assert float(loss) == pytest.approx(math.log(48), abs=0.05)


def test_two_views_of_a_point_by_hand():
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pixels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    point = torch.tensor([5, 5, 2])
    e = math.exp

    def lost(own, *others):
        return -math.log(e(own) / (e(own) + sum(e(each) for each in others)))

    # The other view of point 5 is in neither sum.
    first = (lost(1, 0) + lost(1, 0)) / 2
    second = (lost(0.6, 0) + lost(0.6, 0.8)) / 2
    third = (lost(1, 0, 0.8) + lost(1, 0, 0)) / 2
    found = info_nce(points, pixels, point, 1.0)
    assert found.tolist() == pytest.approx([third, (first + second) / 2])


def test_scale_does_not_count_and_one_pair_has_nothing_to_tell_it_from():
    torch.manual_seed(0)
    points, pixels = torch.randn(2, 6, 4)
    same = info_nce(7 * points, pixels / 3, torch.arange(6), 0.1)
    torch.testing.assert_close(same, info_nce(points, pixels, torch.arange(6), 0.1))
    assert info_nce(points[:1], pixels[:1], torch.zeros(1, dtype=torch.int64), 0.1).tolist() == [0]


def test_without_pairs_nothing_is_lost_and_all_stays_in_the_graph():
    points, pixels = (torch.zeros(0, 4, requires_grad=True) for _ in range(2))
    loss = info_nce(points, pixels, torch.zeros(0, dtype=torch.int64), 0.1)
    assert loss.shape == (0,)
    loss.sum().backward()
    assert points.grad is not None
    assert pixels.grad is not None


def test_pairs_are_drawn_once_each():
    cpu = torch.device("cpu")
    assert drawn_pairs(5, 5, cpu).tolist() == [0, 1, 2, 3, 4]
    torch.manual_seed(0)
    rows = drawn_pairs(50, 20, cpu)
    assert len(set(rows.tolist())) == 20
    assert max(rows) < 50
    assert rows.tolist() != sorted(rows.tolist())
