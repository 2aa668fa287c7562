"""Figure 4's barcode, and the colors of all figures."""

import numpy as np
import pytest
import torch

from benchmarks.studies.figures.barcode import make, make_of_features, summary
from benchmarks.studies.figures.palette import class_colors, rgb
from train.data.dataset_spec import DATASETS, dataset_spec


def test_two_circles_have_two_loops_and_one_late_merge():
    numbers = make().numbers
    components, loops = (np.array(pairs) for pairs in numbers["pairs"])
    assert len(components) == numbers["points"] - 1
    assert not components[:, 0].any()
    assert ((loops[:, 1] - loops[:, 0]) > 0.3).sum() == 2
    assert "79 merges of components, 3 loops" in summary(numbers)


def test_features_are_compared_at_length_one():
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    one = make_of_features(features, {"frame": "a"}).numbers
    other = make_of_features(4 * features, {"frame": "a"}).numbers
    assert one == other
    assert one["frame"] == "a"
    assert max(death for _, death in one["pairs"][0]) < 2


def test_a_cloud_without_loops_has_a_summary():
    line = torch.eye(3)
    assert summary(make_of_features(line, {}).numbers) == (
        "3 points: 2 merges of components, 0 loops"
    )


@pytest.mark.parametrize("name", [name for name in DATASETS if dataset_spec(name).simulator])
def test_every_class_has_a_color_of_its_own(name):
    names = dataset_spec(name).class_names
    colors = class_colors(names)
    assert colors.shape == (len(names), 3)
    assert colors.min() >= 0
    assert colors.max() <= 1
    assert len(np.unique(colors.round(3), axis=0)) == len(names)
    assert not (colors == rgb("#303030")).all(axis=1).any()  # none is unknown to the palette


def test_a_class_of_no_group_is_dark_gray():
    assert (class_colors(["zebra"]) == rgb("#303030")).all()
    assert class_colors([]).shape == (0, 3)
