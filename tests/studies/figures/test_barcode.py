"""Figure 4's numbers are those of the cloud that is drawn."""

import numpy as np
import torch

from benchmarks.studies.figures.barcode import make, make_of_features, summary


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
