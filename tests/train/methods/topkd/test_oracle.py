"""The regression on distances: its statistics by hand, what it can predict, and what it cannot."""

import numpy as np
import pytest
import torch

from tests.train.methods.topkd.test_fit import blobs_and_circles, targets_of
from train.methods.topkd.oracle import distance_statistics, fit_distance_regression


def test_the_statistics_are_numpys_quantiles_of_the_distances():
    clouds = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0))
    for cloud, found in zip(clouds.double().numpy(), distance_statistics(clouds), strict=True):
        table = np.linalg.norm(cloud[:, None] - cloud[None], axis=-1)
        ordered = np.sort(table, axis=1)
        groups = [table[np.triu_indices(9, 1)], *(ordered[:, place] for place in (1, 2, 3))]
        levels = np.linspace(0, 1, 21)
        want = np.concatenate([np.quantile(group, levels) for group in groups])
        assert np.allclose(found.numpy(), want, atol=1e-6)


def test_of_two_points_there_is_one_neighbor():
    assert distance_statistics(torch.tensor([[[0.0], [3.0]]])).tolist() == [[3.0] * 42]


def test_it_predicts_the_components_of_clouds_that_it_never_saw():
    targets = targets_of(blobs_and_circles(400, points=24))
    seen, other = slice(0, 300), slice(300, 400)
    regression = fit_distance_regression(targets.clouds[seen], targets.images[seen])
    wanted = targets.images[other].double()
    constant = (wanted - regression.mean_image).square().mean()
    assert (wanted - regression(targets.clouds[other])).square().mean() < constant / 1.5


def test_of_images_without_a_relation_to_clouds_it_predicts_the_mean():
    generator = torch.Generator().manual_seed(0)
    clouds = torch.randn(200, 8, 2, generator=generator)
    images = torch.rand(200, 5, generator=generator, dtype=torch.float64)
    regression = fit_distance_regression(clouds, images)
    assert regression.penalty == 1.0
    other = torch.rand(200, 5, generator=generator, dtype=torch.float64)
    constant = (other - regression.mean_image).square().mean()
    assert (other - regression(clouds.flip(0))).square().mean() > constant


@pytest.mark.parametrize(("clouds", "images"), [(7, 7), (9, 8)])
def test_too_few_clouds_or_other_images_are_refused(clouds, images):
    with pytest.raises(ValueError, match=f"{clouds} clouds and {images} images"):
        fit_distance_regression(torch.rand(clouds, 4, 2), torch.rand(images, 5))
