"""One exact persistence image of a cloud, from points to pixels: ours, GUDHI's, RipsNet's guess."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

import reference
from benchmarks.clouds import FloatArray, cloud
from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure, Optional
from reference import ImageScale
from train.methods.topkd.ripsnet import RipsNet
from train.methods.topkd.targets import exact_images

BANDWIDTH_SHARE = 0.1
"""Of the range of deaths: any scale costs the same."""
LINES = 20
TOGETHER = 16
"""Clouds of one call, for the row that has more than one."""


@dataclass(frozen=True)
class Maker(Optional):
    """A way to an image of dimension 0: what it is called with, and what that returns."""

    distribution: str | None
    prepare: Callable[[FloatArray, ImageScale], Callable[[], Any]]
    yields: str = "image"
    batch: int = 1


def _ours(points: FloatArray, scale: ImageScale) -> Callable[[], Any]:
    one = torch.from_numpy(points)[None]
    return lambda: exact_images(one, scale, (0,))[0].numpy()


def _ours_together(points: FloatArray, scale: ImageScale) -> Callable[[], Any]:
    """The cloud among others: all of one size, as a step of training has them."""
    others = [cloud("features", len(points), seed) for seed in range(1, TOGETHER)]
    clouds = torch.from_numpy(np.stack([points, *others]))
    return lambda: exact_images(clouds, scale, (0,))[0].numpy()


def _gudhi(points: FloatArray, scale: ImageScale) -> Callable[[], Any]:
    """As TopKD's authors call it: the Rips complex of the points, its pairs, the image."""
    import gudhi
    from gudhi.representations import DiagramSelector, PersistenceImage

    image = PersistenceImage(
        bandwidth=scale.bandwidth,
        weight=lambda point: 10 * (np.tanh(point[1]) + np.log(100 * point[0] + 1)),
        resolution=list(scale.resolution),
        im_range=[*scale.birth_range, *scale.persistence_range],
    ).fit([np.zeros((1, 2))])
    selector = DiagramSelector(use=True, point_type="finite")

    def make() -> Any:
        tree = gudhi.RipsComplex(points=points).create_simplex_tree(max_dimension=1)
        tree.persistence()
        finite = selector.transform([tree.persistence_intervals_in_dimension(0)])
        return image.transform(finite)[0] / scale.maximum

    return make


def _ripsnet(points: FloatArray, scale: ImageScale) -> Callable[[], Any]:
    """The weights do not matter to the time."""
    network = RipsNet(points.shape[1]).frozen()
    one = torch.from_numpy(points)[None]

    def guess() -> Any:
        with torch.no_grad():
            return network(one)[0].numpy()

    return guess


MAKERS = {
    "fast": Maker(None, _ours),
    "fast, together": Maker(None, _ours_together, batch=TOGETHER),
    "GUDHI": Maker("gudhi", _gudhi),
    "RipsNet": Maker(None, _ripsnet, "predicted image"),
}


def image_case(name: str, num_points: int) -> Case:
    def build() -> Job:
        points = cloud("features", num_points)
        # The deaths of dimension 0 are the edges of a minimum spanning tree: scipy's.
        distances = squareform(pdist(points.astype(np.float64)))
        deaths = np.sort(minimum_spanning_tree(distances).data)
        assert len(deaths) == num_points - 1
        low, high = float(deaths[0]), float(deaths[-1])
        scale = ImageScale(
            bandwidth=BANDWIDTH_SHARE * (high - low),
            birth_range=(0.0, 0.0),
            persistence_range=(low, high),
        )
        want = reference.persistence_image(np.column_stack([0 * deaths, deaths]), scale).ravel()

        def check(image: Any) -> None:
            assert image.shape == want.shape == (LINES * LINES,)
            if name == "RipsNet":
                assert 0 < image.min() <= image.max() < 1
            else:
                np.testing.assert_allclose(image, want, rtol=0, atol=1e-5 * want.max())

        return Job(MAKERS[name].prepare(points, scale), check)

    return Case(
        suite="image", op="persistence_image", implementation=name, yields=MAKERS[name].yields,
        build=build, num_points=num_points, threads=1, max_dim=0, batch=MAKERS[name].batch,
    )  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.sizes(64, 256)
def test_one_image(name: str, num_points: int, measure: Measure) -> None:
    """64 and 256 points of 64 channels, the sizes of TopKD's Table 13."""
    measure(lambda n: image_case(name, n), num_points, MAKERS[name])


def test_the_check_refuses_the_image_of_another_cloud() -> None:
    job = image_case("fast", SMOKE_POINTS).build()
    image = job.run()
    job.check(image)
    with pytest.raises(AssertionError):
        job.check(np.roll(image.reshape(LINES, LINES), 1, axis=0).ravel())
