"""Kept maps are those that the network computes, and each image is computed once."""

import torch

from benchmarks.studies.cross_modal.kept_maps import KeptMaps
from train.networks.image import ImageCard


def test_each_image_is_computed_once_and_its_pixels_read_the_same():
    torch.manual_seed(0)
    card = ImageCard(class_names=("a", "b"), width=3)
    network = card.build().eval()
    images = torch.randint(0, 256, (3, 3, 32, 48), dtype=torch.uint8)
    view, row, column = torch.tensor([[0, 5, 7], [2, 31, 47], [1, 0, 0], [2, 9, 1]]).T
    with torch.no_grad():
        want = network.at_pixels(images, view, row, column)
    computed, compute = [], network.maps
    network.maps = lambda some: computed.append(len(some)) or compute(some)
    kept = KeptMaps()
    kept.serve(network)
    for order in ([0, 1, 2], [2, 0, 1]):
        place = torch.tensor(order).argsort()
        found = network.at_pixels(images[order], place[view], row, column)
        for one, other in zip(found, want, strict=True):
            torch.testing.assert_close(one, other)
    assert computed == [1, 1, 1]
    assert len(kept) == 3
