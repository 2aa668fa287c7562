"""A picture of a matching has a line for each match, from the pair to what it is matched with."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from fast import (
    persistence_weighted_chamfer,
    rips_persistence_of_points,
    wasserstein_distance,
    wasserstein_matching,
)
from fast.matching_plot import FIRST_COLOR, SECOND_COLOR
from fast.plot import plot_matching

FIRST = np.array([[0.2, 1.0], [0.4, 0.5]])
SECOND = np.array([[0.25, 0.9], [0.6, 0.8], [0.1, 0.2]])


@pytest.fixture
def axes():
    return Figure().add_subplot()


def segments(collection):
    return np.array(collection.get_segments()).reshape(-1, 2, 2)


def test_given_matches_are_drawn_and_the_diagonal_is_reached_at_a_right_angle(axes):
    matches = np.array([[0, 0], [1, -1], [-1, 1], [-1, -1]])
    assert plot_matching(FIRST, SECOND, matches, axes) is axes
    (drawn,) = axes.collections
    np.testing.assert_allclose(
        segments(drawn),
        [[[0.2, 1.0], [0.25, 0.9]], [[0.4, 0.5], [0.45, 0.45]], [[0.7, 0.7], [0.6, 0.8]]],
    )
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["first", "second"]
    assert axes.get_aspect() == 1


def test_a_list_of_partners_leaves_the_others_to_the_diagonal(axes):
    plot_matching(FIRST, SECOND, torch.tensor([2, -1]), axes)
    np.testing.assert_allclose(
        segments(axes.collections[0]),
        [
            [[0.2, 1.0], [0.1, 0.2]],
            [[0.4, 0.5], [0.45, 0.45]],
            [[0.575, 0.575], [0.25, 0.9]],
            [[0.7, 0.7], [0.6, 0.8]],
        ],
    )


def test_the_lines_of_an_optimal_matching_are_as_long_as_the_distance(axes):
    clouds = torch.rand(2, 2, 30, 2, generator=torch.Generator().manual_seed(0))
    first, second = (rips_persistence_of_points(cloud)[1] for cloud in clouds)
    both = (first.pairs, second.pairs)
    masks = {"first_mask": first.mask, "second_mask": second.mask}
    matching = wasserstein_matching(*both, **masks, ground=2)
    cloud = int(first.counts.argmin())  # its list of partners is padded
    plot_matching(first, second, matching[cloud], axes, cloud=cloud)
    found = np.square(np.diff(segments(axes.collections[0]), axis=1)).sum()
    want = wasserstein_distance(*both, **masks, ground=2)[cloud].item()
    assert first.counts[0] != first.counts[1]
    assert found**0.5 == pytest.approx(want, rel=1e-5)


def test_the_pairs_of_both_are_drawn_under_their_names(axes):
    plot_matching(FIRST, SECOND, ax=axes, names=("teacher", "student"))
    drawn = {line.get_label(): line for line in axes.get_lines()}
    for name, pairs, color in (("teacher", FIRST, FIRST_COLOR), ("student", SECOND, SECOND_COLOR)):
        np.testing.assert_array_equal(drawn[name].get_xydata(), pairs)
        assert drawn[name].get_color() == color


@pytest.mark.parametrize("seed", range(5))
def test_nearest_matches_are_those_of_the_chamfer_distance(seed, axes):
    rng = np.random.default_rng(seed)
    first, second = (np.sort(rng.integers(0, 12, (count, 2)) / 8, axis=1) for count in (9, 6))
    first, second = (pairs[pairs[:, 0] < pairs[:, 1]] for pairs in (first, second))
    plot_matching(first, second, ax=axes)
    recalled, precise = (
        np.square(np.diff(segments(each), axis=1)).sum(axis=(1, 2)) for each in axes.collections
    )
    weights = np.log1p(first[:, 1] - first[:, 0])
    want = persistence_weighted_chamfer(*map(torch.from_numpy, (first, second)), 1e-12)
    got = (weights * recalled).sum() / weights.sum() + precise.mean()
    assert len(recalled) == len(first)
    assert len(precise) == len(second)
    assert got == pytest.approx(want.item(), rel=1e-6)


def test_an_empty_diagram_leaves_the_other_to_the_diagonal(axes):
    plot_matching(FIRST, np.zeros((0, 2)), ax=axes)
    recalled, precise = (segments(each) for each in axes.collections)
    np.testing.assert_allclose(recalled[:, 1], [[0.6, 0.6], [0.45, 0.45]])
    assert not len(precise)


def test_components_are_drawn_in_two_columns(axes):
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]])
    first, second = (rips_persistence_of_points(scale * points)[0] for scale in (1.0, 1.1))
    plot_matching(first, second, torch.tensor([[1, 1], [0, -1]]), axes, names=("a", "b"))
    (drawn,) = axes.collections
    np.testing.assert_allclose(
        segments(drawn), [[[0, 3], [1, 3.3]], [[0, 1], [-0.15, 1]]], rtol=1e-6
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert axes.get_legend() is None
    assert axes.get_ylim()[0] == 0


def test_a_cloud_of_both_batches_is_chosen(axes):
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    clouds = torch.stack([square, 2 * square])
    loops = rips_persistence_of_points(clouds)[1]
    plot_matching(loops, loops, ax=axes, cloud=1)
    for each in axes.collections:
        np.testing.assert_allclose(segments(each), [[[2, 2 * math.sqrt(2)]] * 2])


@pytest.mark.parametrize(
    ("first", "second", "matches", "said"),
    [
        pytest.param(FIRST, np.array([[0, np.inf]]), None, "second has an infinite", id="infinite"),
        pytest.param(
            FIRST, SECOND, np.array([[0, 3]]), "names pair 3 of second, which has 3", id="no-pair"
        ),
        pytest.param(
            FIRST, SECOND, np.array([[-2, 0]]), "names pair -2 of first, which has 2", id="below"
        ),
        pytest.param(FIRST, SECOND, np.array([[0.0, 1.0]]), r"float64 of shape", id="floats"),
        pytest.param(FIRST, SECOND, np.array([0]), r"of shape \(1,\); pass a par", id="short"),
        pytest.param(FIRST, SECOND, np.array([0, 1, 2]), r"of shape \(3,\); pass", id="long"),
        pytest.param([FIRST], SECOND, None, "first is a list; pass a BatchedDiagram", id="list"),
    ],
)
def test_what_cannot_be_matched_is_refused(first, second, matches, said, axes):
    with pytest.raises(ValueError, match=f"^plot_matching: .*{said}"):
        plot_matching(first, second, matches, axes)
    assert not axes.get_lines()


def test_two_dimensions_are_refused(axes):
    components, loops = rips_persistence_of_points(torch.eye(3))
    with pytest.raises(ValueError, match="first has dimension 0 and second 1"):
        plot_matching(components, loops, ax=axes)
