"""Classes of one dataset have different colors, those of one kind the same hue."""

import numpy as np
import pytest

from benchmarks.studies.figures.palette import class_colors, rgb
from train.data.dataset_spec import DATASETS, dataset_spec


@pytest.mark.parametrize("name", DATASETS)
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
