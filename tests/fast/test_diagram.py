"""fast.BatchedDiagram: lists, clouds, devices and dtypes."""

import numpy as np
import pytest
import torch

import fast
from fast import BatchedDiagram
from tests.reference.checks import assert_same_diagram

FIELDS = (
    "births", "deaths", "mask", "counts", "birth_edges", "death_edges", "death_simplices",
    "num_essential",
)  # fmt: skip


def loops(num_clouds=5, dtype=torch.float64):
    rng = np.random.default_rng(0)
    points = torch.tensor(rng.normal(size=(num_clouds, 16, 2)), dtype=dtype, requires_grad=True)
    return fast.rips_persistence_of_points(points)[1]


@pytest.mark.parametrize(
    ("clouds", "numbers"),
    [
        (3, [3]),
        (-1, [4]),
        (np.int64(2), [2]),
        (torch.tensor(2), [2]),
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, 2), [0, 2, 4]),
        (slice(5, None), []),
        ([4, 0, 0], [4, 0, 0]),
        ([], []),
        (range(2), [0, 1]),
        (np.array([1, -2]), [1, 3]),
        (torch.tensor([2]), [2]),
        (torch.tensor([False, True, False, False, True]), [1, 4]),
        ([True, False, False, False, False], [0]),
    ],
    ids=str,
)
def test_clouds_are_taken_with_every_field(clouds, numbers):
    batch = loops()
    taken = batch[clouds]
    assert len(taken) == len(numbers)
    assert (taken.dim, taken.deaths.shape[1]) == (1, batch.deaths.shape[1])
    for place, number in enumerate(numbers):
        assert_same_diagram(taken.cloud(place), batch.cloud(number))
    assert taken.deaths.requires_grad


@pytest.mark.parametrize(
    ("clouds", "message"),
    [
        (5, r"the index is 5; there are 5 cloud\(s\), pass -5 to 4"),
        (-6, "the index is -6; there are 5"),
        ((0, 1), r"the index is \(0, 1\); pass a cloud's number, a slice"),
        (0.5, "the index is 0.5; pass a cloud's number"),
        (None, "the index is None"),
        ("1", "the index is '1'"),
        ([7], "index 7 is out of bounds"),
        (torch.tensor([True]), "mask"),
    ],
)
def test_what_is_no_cloud_is_refused(clouds, message):
    with pytest.raises(IndexError, match=message):
        loops()[clouds]


def test_a_loop_over_a_batch_gives_every_cloud():
    batch = loops()
    each = list(batch)
    assert [len(one) for one in each] == [1] * 5
    assert torch.cat([one.deaths for one in each]).equal(batch.deaths)


def test_one_clouds_gradient_stays_with_it():
    points = torch.rand(3, 12, 2, requires_grad=True)
    fast.rips_persistence_of_points(points)[0][1].deaths.sum().backward()
    assert points.grad[1].any()
    assert not points.grad[[0, 2]].any()


def test_moved_and_detached():
    batch = loops()
    moved = batch.to(torch.float32)
    assert (moved.births.dtype, moved.deaths.dtype) == (torch.float32, torch.float32)
    assert moved.deaths.requires_grad
    for name in FIELDS[2:]:
        assert torch.equal(getattr(moved, name), getattr(batch, name))
    elsewhere = batch.to("meta", torch.float32)
    assert {getattr(elsewhere, name).device.type for name in FIELDS} == {"meta"}
    assert elsewhere.deaths.dtype == torch.float32
    assert batch.to(device="meta").deaths.dtype == torch.float64
    detached = batch.detach()
    assert not detached.deaths.requires_grad
    assert torch.equal(detached.pairs, batch.pairs)
    for dtype in (torch.bfloat16, torch.int64):
        with pytest.raises(ValueError, match=f"BatchedDiagram.to: dtype is {dtype}"):
            batch.to(dtype)


def test_a_repr_is_short_whatever_the_batch():
    pairs = [[(0.0, 1.0)] * (1 + i % 7) for i in range(300)]
    batch = BatchedDiagram.from_list(pairs, dim=1)
    assert repr(batch) == (
        "BatchedDiagram(dim=1, clouds=300, pairs=1 to 7, dtype=torch.float64, device=cpu)"
    )
    assert repr(batch[:8]).count("pairs=[1, 2, 3, 4, 5, 6, 7, 1],") == 1
    assert "clouds=300, dtype=torch.float64, device=meta" in repr(batch.to("meta"))


def test_lists_come_back_as_they_were():
    given = [[(0.5, 2.0), (0.25, 1.0)], [], [(0.0, 3.0)]]
    batch = BatchedDiagram.from_list(given, dim=1)
    assert [each.tolist() for each in batch.to_list()] == [
        [list(pair) for pair in cloud] for cloud in given
    ]
    assert batch.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert batch.pairs[~batch.mask].eq(0).all()
    for name, width in (("birth_edges", 2), ("death_edges", 2), ("death_simplices", 3)):
        assert getattr(batch, name).eq(-1).all()
        assert getattr(batch, name).shape == (3, 2, width)
    assert batch.num_essential.tolist() == [0, 0, 0]
    assert batch.births.dtype == torch.float64


def test_classes_that_never_die_are_counted_and_those_that_never_live_left_out():
    rows = torch.tensor([[0.0, torch.inf], [0.0, 1.0], [2.0, 2.0], [1.0, torch.inf]])
    batch = BatchedDiagram.from_list([rows, rows[1:2]], dim=0)
    assert batch.counts.tolist() == [1, 1]
    assert batch.num_essential.tolist() == [2, 0]
    assert batch.to_list()[0].tolist() == [[0.0, 1.0]]


def test_tensors_keep_their_gradient_and_dtype():
    first = torch.tensor([[0.0, 1.0], [0.0, torch.inf]], requires_grad=True)
    second = torch.tensor([[0.0, 2.0], [1.0, 3.0]], requires_grad=True)
    batch = BatchedDiagram.from_list([first, second], dim=0)
    assert batch.births.dtype == torch.float32
    value = fast.total_persistence(batch.pairs, mask=batch.mask, order=2)
    value.sum().backward()
    assert first.grad.tolist() == [[-2.0, 2.0], [0.0, 0.0]]
    assert second.grad.tolist() == [[-4.0, 4.0], [-4.0, 4.0]]
    mixed = BatchedDiagram.from_list([first, second.double()], dim=0)
    assert mixed.deaths.dtype == torch.float64


def test_a_batch_made_of_its_own_lists_has_the_same_pairs():
    batch = loops()
    again = BatchedDiagram.from_list(batch.to_list(), dim=1)
    for name in ("births", "deaths", "mask", "counts"):
        assert torch.equal(getattr(again, name), getattr(batch, name))


@pytest.mark.parametrize(
    ("diagrams", "message"),
    [
        ([], "diagrams is empty; pass at least one cloud"),
        ([[(0.0, 1.0)], [(2.0, 1.0)]], r"diagrams\[1\] has the pair \(2.0, 1.0\); pass finite"),
        ([[(float("nan"), 1.0)]], r"diagrams\[0\] has the pair \(nan, 1.0\)"),
        ([[(0.0, float("nan"))]], r"diagrams\[0\] has the pair \(0.0, nan\)"),
        ([[(float("-inf"), 1.0)]], r"diagrams\[0\] has the pair \(-inf, 1.0\)"),
        ([torch.zeros(2, 3)], r"diagrams\[0\] has shape \(2, 3\); pass \(birth, death\) rows"),
        ([torch.zeros(1, 2, 2)], r"diagrams\[0\] has shape \(1, 2, 2\)"),
        ([np.array([[0, 1]])], r"diagrams\[0\] has dtype torch.int64"),
        ([torch.zeros(1, 2), torch.zeros(1, 2, device="meta")], "diagrams are on cpu and meta"),
    ],
)
def test_what_are_no_diagrams_is_refused(diagrams, message):
    with pytest.raises(ValueError, match=f"BatchedDiagram: {message}"):
        BatchedDiagram.from_list(diagrams, dim=1)
