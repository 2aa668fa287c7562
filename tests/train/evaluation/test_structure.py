"""Counts of structure: by hand, and against a slow reading of their definitions."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch

from train.data.dataset_spec import (
    NUSCENES_RULE,
    SEMANTICKITTI_RULE,
    WAYMO_RULE,
    dataset_spec,
)
from train.evaluation.metrics import ConfusionMatrix
from train.evaluation.structure import (
    PER_CLASS,
    THIN_CLASSES,
    StructureCounts,
    count_structure,
    frame_structure,
    thin_classes,
)

NAMES = ("a", "b", "c")
RULES = (NUSCENES_RULE, SEMANTICKITTI_RULE, WAYMO_RULE)


def centers(cells):
    """Return one point in the middle of each cell of 0.2 m."""
    return (np.array(cells, dtype=np.float64).reshape(-1, 3) + 0.5) * 0.2


def line(length, start=0, y=0):
    return [(x, y, 0) for x in range(start, start + length)]


def counts_of(coord, truth, prediction, num_classes=5):
    return count_structure(frame_structure(coord, truth, num_classes), prediction)


def counted(cells, truth, prediction):
    labels = (np.array(ids, dtype=np.int64) for ids in (truth, prediction))
    return counts_of(centers(cells), *labels, 3)


def test_fragments_of_a_line_by_hand():
    prediction = [0] * 10 + [1] + [0] * 3 + [1] + [0] * 2 + [1] * 43
    counts = counted(line(60), [0] * 60, prediction)
    # Pieces of 10, 3 and 2 cells: the last is too small. Of class 1, which the truth does not
    # have, 43 cells hang together; single cells are too few.
    assert counts.components.tolist() == [1, 0, 0]
    assert counts.splits.tolist() == [1, 0, 0]
    assert counts.missed.tolist() == [0, 0, 0]
    assert counts.spurious.tolist() == [0, 1, 0]
    assert counts.truth.tolist() == [60, 0, 0]
    assert counts.predicted.tolist() == [15, 45, 0]
    assert counts.hits.tolist() == [15, 0, 0]
    assert counts.frames == 1
    assert counts.frames_with.tolist() == [1, 0, 0]


def test_a_component_found_only_in_crumbs_is_missed_and_not_split():
    counts = counted(line(51), [2] * 51, [2, 2, 0] * 17)
    assert (counts.components[2], counts.missed[2], counts.splits[2]) == (1, 1, 0)


@pytest.mark.parametrize(("length", "components"), [(49, 0), (50, 1)])
def test_components_count_from_fifty_cells(length, components):
    counts = counted(line(length), [1] * length, [0] * length)
    assert counts.components.tolist() == [0, components, 0]
    assert counts.missed.tolist() == [0, components, 0]


def test_corners_connect_and_a_free_cell_does_not():
    diagonal = [(at, at, at) for at in range(60)]
    assert counted(diagonal, [0] * 60, [0] * 60).components[0] == 1
    apart = line(30) + line(30, start=31)
    assert counted(apart, [0] * 60, [0] * 60).components[0] == 0


def test_a_point_without_a_label_is_no_bridge_and_no_false_alarm():
    cells = line(61)
    truth = [0] * 30 + [-1] + [0] * 30
    assert counted(cells, truth, [0] * 61).components[0] == 0
    counts = counted(cells, [0] * 55 + [-1] * 6, [0] * 55 + [1] * 6)
    assert counts.spurious.tolist() == [0, 0, 0]
    assert counts.predicted.tolist() == [55, 0, 0]
    assert counts.truth.tolist() == [55, 0, 0]


def test_components_of_two_classes_side_by_side_are_two():
    cells = line(50) + line(50, y=1)
    truth = [0] * 50 + [1] * 50
    counts = counted(cells, truth, [0] * 50 + [1] * 20 + [0] * 10 + [1] * 20)
    assert counts.components.tolist() == [1, 1, 0]
    assert counts.splits.tolist() == [0, 1, 0]
    # The ten cells of class 0 hang together with the true ones beside them.
    assert counts.spurious.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("gap", "spurious"), [(0, 0), (1, 1)])
def test_a_prediction_beside_its_class_is_not_spurious(gap, spurious):
    # The only true cell of class 1 is predicted as 0; three cells near it as 1.
    cells = [(0, 0, 0), *line(3 + gap, start=1, y=1)]
    truth = [1] + [0] * (3 + gap)
    counts = counted(cells, truth, [0] * (1 + gap) + [1] * 3)
    assert counts.spurious.tolist() == [0, spurious, 0]


@pytest.mark.parametrize(("length", "spurious"), [(2, 0), (3, 1)])
def test_spurious_components_count_from_three_cells(length, spurious):
    counts = counted(line(10), [0] * 10, [0] * (10 - length) + [2] * length)
    assert counts.spurious.tolist() == [0, 0, spurious]


def test_a_cell_is_what_most_of_its_labeled_points_are():
    # Three points in each of fifty cells. Truth: b, b, a; prediction: a, a, none.
    coord = np.repeat(centers(line(50)), 3, axis=0)
    structure = frame_structure(coord, np.tile([1, 1, 0], 50), 3)
    assert structure.cell_truth.tolist() == [1] * 50
    counts = count_structure(structure, np.tile([0, 0, -1], 50))
    assert counts.components.tolist() == [0, 1, 0]
    assert counts.missed.tolist() == [0, 1, 0]
    assert counts.spurious.tolist() == [1, 0, 0]
    # A tie is the lower class's, in the truth and in the prediction.
    structure = frame_structure(coord, np.tile([2, 1, -1], 50), 3)
    assert structure.cell_truth.tolist() == [1] * 50
    assert count_structure(structure, np.tile([2, 1, 2], 50)).missed.tolist() == [0, 0, 0]


def test_no_prediction_makes_no_component():
    counts = counted(line(50), [0] * 50, [-1] * 50)
    assert counts.missed.tolist() == [1, 0, 0]
    assert counts.spurious.tolist() == [0, 0, 0]
    assert counts.abstained.tolist() == [50, 0, 0]
    assert counts.predicted.tolist() == [0, 0, 0]


def test_boundary_counts_by_hand():
    # Cells are 0.2 m apart: of ten in a row, five of each class, the inner two see each other.
    prediction = [0] * 4 + [1, 1] + [1, -1, 1, 1]
    counts = counted(line(10), [0] * 5 + [1] * 5, prediction)
    assert counts.boundary_truth.tolist() == [1, 1, 0]
    assert counts.boundary_predicted.tolist() == [0, 2, 0]
    assert counts.boundary_hits.tolist() == [0, 1, 0]
    assert counts.boundary_abstained.tolist() == [0, 0, 0]
    counts = counted(line(10), [0] * 5 + [1] * 5, [0] * 5 + [-1] + [1] * 4)
    assert counts.boundary_abstained.tolist() == [0, 1, 0]
    assert counts.abstained.tolist() == [0, 1, 0]


# The slow reading: dictionaries and sets, from the definitions.


def grown(cells):
    """Return the connected components of a set of cells."""
    left, components = set(cells), []
    while left:
        component, edge = set(), {left.pop()}
        while edge:
            cell = edge.pop()
            component.add(cell)
            edge |= around(cell) & left
            left -= edge
        components.append(component)
    return components


def around(cell):
    x, y, z = cell
    steps = itertools.product((-1, 0, 1), repeat=3)
    return {(x + dx, y + dy, z + dz) for dx, dy, dz in steps} - {cell}


def votes_of(cell_names, labels):
    ballots = {}
    for cell, label in zip(cell_names, labels, strict=True):
        ballots.setdefault(cell, Counter())
        if label >= 0:
            ballots[cell][label] += 1
    return {
        cell: min(ballot, key=lambda label: (-ballot[label], label))
        for cell, ballot in ballots.items()
        if ballot
    }


def slow_counts(coord, truth, prediction, num_classes):
    labeled = truth >= 0
    points = coord.astype(np.float64)
    truth_of, guess_of = truth[labeled].tolist(), prediction[labeled].tolist()
    names = [tuple(row) for row in np.floor(points[labeled] / 0.2).astype(int).tolist()]
    cell_truth, cell_guess = votes_of(names, truth_of), votes_of(names, guess_of)
    near = []
    for i in np.flatnonzero(labeled):
        others = labeled & (truth != truth[i])
        near.append(bool((((points[others] - points[i]) ** 2).sum(1) <= 0.3 * 0.3).any()))
    result = {name: [0] * num_classes for name in PER_CLASS}
    for prefix, used in (("", [True] * len(near)), ("boundary_", near)):
        for t, g, use in zip(truth_of, guess_of, used, strict=True):
            if use:
                result[prefix + "truth"][t] += 1
                result[prefix + "hits"][t] += t == g
                if g < 0:
                    result[prefix + "abstained"][t] += 1
                else:
                    result[prefix + "predicted"][g] += 1
    for label in range(num_classes):
        result["frames_with"][label] = int(label in truth_of)
        true_cells = {cell for cell, own in cell_truth.items() if own == label}
        said_cells = {cell for cell, own in cell_guess.items() if own == label}
        for component in grown(true_cells):
            if len(component) < 50:
                continue
            pieces = [piece for piece in grown(component & said_cells) if len(piece) >= 3]
            result["components"][label] += 1
            result["missed"][label] += not pieces
            result["splits"][label] += max(0, len(pieces) - 1)
        for component in grown(said_cells):
            reach = component.union(*(around(cell) for cell in component))
            result["spurious"][label] += len(component) >= 3 and not reach & true_cells
    return {"frames": 1, **result}


def random_frame(seed, *, count=1400, extent=(3.0, 2.0, 0.8), num_classes=5):
    """Return a cloud whose classes fill regions, and a prediction that is wrong in regions."""
    rng = np.random.default_rng(seed)
    coord = rng.uniform(0, extent, (count, 3)).astype(np.float32) - 1.0

    def regions(share):
        seeds = rng.uniform(0, extent, (12, 3)) - 1.0
        nearest = ((coord[:, None] - seeds[None]) ** 2).sum(-1).argmin(1)
        label = rng.integers(0, num_classes, 12)[nearest]
        noisy = rng.random(count) < share
        label[noisy] = rng.integers(-1, num_classes, noisy.sum())
        return label

    truth, wrong = regions(0.1), regions(0.3)
    kept = rng.random(count) < rng.choice([0.3, 0.8])
    prediction = np.where(kept, truth, wrong)
    if seed % 3 == 0:  # a class that is never found
        prediction[prediction == 1] = 0
    return coord, truth, prediction


def test_counts_are_those_of_the_definitions():
    seen = Counter()
    for seed in range(20, 30):
        coord, truth, prediction = random_frame(seed, count=300 + 80 * (seed - 20))
        expected = slow_counts(coord, truth, prediction, 5)
        assert counts_of(coord, truth, prediction).to_json() == expected
        for name in PER_CLASS:
            seen[name] += sum(expected[name])
    # Or the comparison would have compared nothing.
    assert min(seen.values()) >= 3, seen


def test_the_definitions_by_hand():
    # The slow reading is itself held against the hand-made line.
    prediction = np.array([0] * 10 + [1] + [0] * 3 + [1] + [0] * 2 + [1] * 43)
    slow = slow_counts(centers(line(60)), np.zeros(60, dtype=np.int64), prediction, 3)
    assert (slow["components"], slow["splits"], slow["spurious"]) == (
        [1, 0, 0],
        [1, 0, 0],
        [0, 1, 0],
    )


def test_the_order_of_points_changes_nothing():
    coord, truth, prediction = random_frame(3)
    order = np.random.default_rng(0).permutation(len(coord))
    whole = counts_of(coord, truth, prediction)
    assert whole == counts_of(coord[order], truth[order], prediction[order])


@pytest.mark.parametrize("rule", RULES, ids=["nuscenes", "semantickitti", "waymo"])
def test_iou_scores_are_those_of_the_confusion_matrix(rule):
    names = ("a", "b", "c", "d", "e", "absent")
    matrix = ConfusionMatrix(names, rule)
    counts = StructureCounts.zero(6)
    for seed in range(3):
        coord, truth, prediction = random_frame(seed, count=300)
        prediction[truth == 4] = -1
        matrix.add(torch.from_numpy(truth), torch.from_numpy(prediction))
        counts += counts_of(coord, truth, prediction, 6)
    found, expected = counts.scores(names, rule), matrix.scores()
    for score in ("miou", "benchmark_miou", "accuracy"):
        assert found[score] == expected[score]
    assert dict(zip(names, counts.iou(rule), strict=True)) == expected["iou"]


def record(**changed):
    empty = {name: [0, 0, 0] for name in PER_CLASS}
    return {"frames": 4} | empty | changed


def test_scores_by_hand():
    counts = StructureCounts.from_json(
        record(
            truth=[6000, 4000, 0],
            predicted=[5000, 4900, 100],
            hits=[5000, 4000, 0],
            boundary_truth=[10, 0, 10],
            boundary_predicted=[5, 3, 8],
            boundary_hits=[5, 0, 6],
            components=[3, 1, 0],
            missed=[0, 1, 0],
            splits=[5, 0, 0],
            spurious=[0, 2, 5],
        )
    )
    scores = counts.scores(NAMES, SEMANTICKITTI_RULE, {"ab": ("a", "b"), "c_iou": ("c",)})
    assert scores["miou"] == pytest.approx((5 / 6 + 40 / 49 + 0) / 3)
    assert scores["accuracy"] == pytest.approx(0.9)
    # b is predicted near borders, but the truth has it nowhere there.
    assert scores["boundary_iou"] == pytest.approx((5 / 10 + 6 / 12) / 2)
    assert scores["fragmentation"] == pytest.approx(5 / 4)
    assert scores["missed"] == pytest.approx(1 / 4)
    assert scores["spurious_per_10k"] == pytest.approx(7)
    assert scores["ab"] == pytest.approx((5 / 6 + 40 / 49) / 2)
    # A false alarm of a class that the truth does not have is no part of a group's mean.
    assert scores["c_iou"] is None


def test_abstentions_near_borders_follow_the_rule():
    counts = StructureCounts.from_json(
        record(
            boundary_truth=[4, 0, 0],
            boundary_predicted=[2, 0, 0],
            boundary_hits=[2, 0, 0],
            boundary_abstained=[1, 0, 0],
        )
    )
    assert counts.scores(NAMES, SEMANTICKITTI_RULE)["boundary_iou"] == pytest.approx(2 / 4)
    assert counts.scores(NAMES, NUSCENES_RULE)["boundary_iou"] == pytest.approx(2 / 3)


def test_counts_add_up():
    parts = [counts_of(*random_frame(seed, count=300)) for seed in range(3)]
    total = StructureCounts.total(parts, 5)
    assert total.frames == 3
    for name in PER_CLASS:
        assert np.array_equal(getattr(total, name), sum(getattr(part, name) for part in parts))
    assert parts[0] != parts[1]
    with pytest.raises(ValueError, match="3 and 5 classes"):
        StructureCounts.zero(3) + parts[0]


def test_two_frames_together_are_the_sum_of_both():
    # Far apart in one cloud nothing touches: what is counted is the sum.
    both = [random_frame(seed, count=900) for seed in (1, 2)]
    parts = [counts_of(*frame) for frame in both]
    coord = np.concatenate([both[0][0], both[1][0] + np.float32([64.0, 0, 0])])
    truth, prediction = (np.concatenate([cloud[at] for cloud in both]) for at in (1, 2))
    whole = counts_of(coord, truth, prediction)
    total = StructureCounts.total(parts, 5)
    for name in ("components", "missed", "splits", "spurious", "truth", "hits"):
        assert np.array_equal(getattr(whole, name), getattr(total, name)), name


def test_records_are_plain_and_come_back():
    counts = counts_of(*random_frame(0, count=300))
    written = json.loads(json.dumps(counts.to_json()))
    assert StructureCounts.from_json(written) == counts
    assert StructureCounts.from_json(written) + counts == StructureCounts.total([counts] * 2, 5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hits": [0, 0]}, "different lengths"),
        ({"hits": [0, 0, 0.5]}, "0.5 is no whole number"),
        ({"hits": [0, 0, True]}, "True is no whole number"),
        ({"missed": [0, 0, -1]}, "-1 is no whole number"),
        ({"frames": -1}, "-1 is no whole number"),
        ({"other": [0, 0, 0]}, "other"),
    ],
)
def test_damaged_records_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        StructureCounts.from_json(record(**changed))
    incomplete = record()
    del incomplete["splits"]
    with pytest.raises(ValueError, match="splits"):
        StructureCounts.from_json(incomplete)


@pytest.mark.parametrize(
    ("cells", "truth", "prediction"),
    [
        pytest.param([], [], [], id="no points"),
        pytest.param(line(5), [-1] * 5, [0] * 5, id="no labels"),
    ],
)
def test_nothing_to_score_has_no_scores(cells, truth, prediction):
    counts = counted(cells, truth, prediction)
    assert counts == StructureCounts.zero(3) + StructureCounts.from_json(record(frames=1))
    assert set(counts.scores(NAMES, WAYMO_RULE, {"thin": ("a",)}).values()) == {None}


def test_one_point():
    counts = counted([(0, 0, 0)], [1], [1])
    scores = counts.scores(NAMES, SEMANTICKITTI_RULE)
    assert (scores["miou"], scores["accuracy"], scores["spurious_per_10k"]) == (1.0, 1.0, 0.0)
    assert (scores["boundary_iou"], scores["fragmentation"], scores["missed"]) == (None,) * 3


def test_all_of_one_class():
    counts = counted(line(60), [2] * 60, [2] * 60)
    scores = counts.scores(NAMES, SEMANTICKITTI_RULE, {"thin": ("c",)})
    assert (scores["fragmentation"], scores["missed"], scores["thin"]) == (0.0, 0.0, 1.0)
    assert scores["boundary_iou"] is None


def test_what_does_not_fit_is_refused():
    structure = frame_structure(centers(line(3)), np.array([0, 1, -1]), 3)
    with pytest.raises(ValueError, match="predictions for 3 points"):
        count_structure(structure, np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="id 3, outside 0 to 2"):
        count_structure(structure, np.array([0, 0, 3]))
    with pytest.raises(ValueError, match="id 3, outside 0 to 2"):
        frame_structure(centers(line(2)), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="labels for 3 points"):
        frame_structure(centers(line(3)), np.array([0, 1]), 3)
    for names, groups, words in (
        (("a", "b"), None, "2 names for 3 classes"),
        (NAMES, {"thin": ("a", "pole")}, r"thin has unknown classes \['pole'\]"),
        (NAMES, {"miou": ("a",)}, "'miou' is the name of another"),
    ):
        with pytest.raises(ValueError, match=words):
            StructureCounts.zero(3).scores(names, WAYMO_RULE, groups)


def test_every_dataset_says_which_of_its_classes_are_thin():
    own = ("pole", "rock", "sign", "bicycle")  # without a row: by the names of classes
    assert thin_classes("kitti-layout", own) == ("pole", "sign", "bicycle")
    for dataset in THIN_CLASSES:
        names = thin_classes(dataset)
        assert len(set(names)) == len(names) > 0
        assert set(names) <= set(dataset_spec(dataset).class_names)
    assert {"pole", "sign", "tree-trunk", "pedestrian", "bicycle"} <= set(thin_classes("waymo"))
