"""Batches are a function of seed, epoch and sizes, keep their bounds, and lose no sample."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.core.distributed import World
from train.core.errors import UserError
from train.data.batch import VoxelBudgetBatchSampler, crop_together, deal, shard_indices
from train.data.frame import LidarFrame
from train.data.transforms import voxelize


def order_of(
    voxels: list[int],
    batch_size: int,
    bound: int | None,
    seed: int = 0,
    world: World = World(),  # noqa: B008
) -> VoxelBudgetBatchSampler:
    return VoxelBudgetBatchSampler(
        len(voxels),
        batch_size,
        seed=seed,
        planned_voxels=np.array(voxels, dtype=np.int64),
        max_batch_voxels=bound,
        world=world,
    )


def test_without_a_bound_an_epoch_is_a_permutation_cut_every_batch_size():
    # The numbers of the one permutation that earlier versions served: runs go on as they began.
    order = VoxelBudgetBatchSampler(10, 4, seed=3)
    expected = np.random.default_rng([2, 3, 5]).permutation(10).tolist()
    assert order.batches(5) == [expected[:4], expected[4:8], expected[8:]]
    assert order.ends(3) == [3, 6, 9]


def test_seed_and_epoch_decide_the_order():
    orders = {}
    for seed in (0, 1):
        order = VoxelBudgetBatchSampler(50, 5, seed=seed)
        for epoch in (0, 1):
            order.set_epoch(epoch)
            orders[seed, epoch] = tuple(map(tuple, order))
            assert tuple(map(tuple, order)) == orders[seed, epoch]
            assert sorted(itertools.chain(*orders[seed, epoch])) == list(range(50))
    assert len(set(orders.values())) == 4


@given(
    voxels=st.lists(st.integers(1, 100), min_size=1, max_size=40),
    batch_size=st.integers(1, 8),
    bound=st.integers(1, 250),
    epoch=st.integers(0, 3),
)
def test_every_sample_is_in_one_batch_and_every_batch_within_its_bounds(
    voxels: list[int], batch_size: int, bound: int, epoch: int
):
    batches = order_of(voxels, batch_size, bound).batches(epoch)
    assert sorted(itertools.chain(*batches)) == list(range(len(voxels)))
    for number, batch in enumerate(batches):
        total = sum(voxels[index] for index in batch)
        assert 1 <= len(batch) <= batch_size
        assert total <= bound or len(batch) == 1
        if number + 1 < len(batches):  # no batch ends before it must
            following = voxels[batches[number + 1][0]]
            assert len(batch) == batch_size or total + following > bound


def test_a_bound_that_nothing_reaches_changes_nothing():
    voxels = [30] * 23
    bounded, unbounded = order_of(voxels, 5, 10_000), VoxelBudgetBatchSampler(23, 5)
    assert bounded.batches(2) == unbounded.batches(2)


def test_the_order_of_samples_is_the_same_whatever_the_bound():
    voxels = np.random.default_rng(0).integers(1, 100, 60).tolist()
    plain = list(itertools.chain(*VoxelBudgetBatchSampler(60, 4).batches(1)))
    assert list(itertools.chain(*order_of(voxels, 4, 120).batches(1))) == plain


def test_steps_are_known_before_the_first_epoch():
    voxels = np.random.default_rng(1).integers(1, 100, 40).tolist()
    order = order_of(voxels, 6, 150)
    counts = [len(order.batches(epoch)) for epoch in range(6)]
    assert len(set(counts)) > 1  # epochs differ in their number of batches
    assert order.ends(6) == np.cumsum(counts).tolist()


def test_an_epoch_can_go_on_from_where_it_stopped():
    order = order_of(list(range(1, 21)), 4, 30)
    order.set_epoch(3)
    whole = list(order)
    assert len(order) == len(whole)
    order.set_epoch(3, start=5)
    assert (list(order), len(order)) == (whole[5:], len(whole) - 5)
    order.set_epoch(4)
    assert list(order) == order.batches(4)


def test_a_place_outside_the_epoch_is_refused():
    order = VoxelBudgetBatchSampler(20, 4)
    for start in (-1, 6):
        with pytest.raises(ValueError, match=r"start must be in 0\.\.5"):
            order.set_epoch(0, start=start)
    with pytest.raises(ValueError, match="epoch"):
        order.set_epoch(-1)


def test_impossible_settings_are_named():
    with pytest.raises(ValueError, match="num_samples"):
        VoxelBudgetBatchSampler(0, 1)
    with pytest.raises(UserError, match="batch_size"):
        VoxelBudgetBatchSampler(3, 0)
    with pytest.raises(UserError, match="seed"):
        VoxelBudgetBatchSampler(3, 1, seed=-1)
    with pytest.raises(UserError, match="max_batch_voxels"):
        order_of([1, 2], 1, 0)
    with pytest.raises(ValueError, match="planned_voxels of each of the 3"):
        VoxelBudgetBatchSampler(3, 1, max_batch_voxels=10)
    with pytest.raises(ValueError, match="planned_voxels of each of the 3"):
        VoxelBudgetBatchSampler(3, 1, max_batch_voxels=10, planned_voxels=np.array([1, 2]))
    with pytest.raises(ValueError, match="without voxels"):
        order_of([1, 0], 1, 10)


def by_process(voxels: list[int], batch_size: int, bound: int | None, size: int, epoch: int):
    """Return each process's batches, as each of them plans them by itself."""
    return [
        order_of(voxels, batch_size, bound, world=World(rank, size, rank)).batches(epoch)
        for rank in range(size)
    ]


@given(
    voxels=st.lists(st.integers(1, 100), min_size=4, max_size=40),
    batch_size=st.integers(4, 9),
    size=st.integers(2, 4),
    epoch=st.integers(0, 3),
)
def test_processes_take_the_steps_of_one_with_the_joint_batch(
    voxels: list[int], batch_size: int, size: int, epoch: int
):
    single = order_of(voxels, batch_size, None).batches(epoch)
    planned = by_process(voxels, batch_size, None, size, epoch)
    unplanned = [
        VoxelBudgetBatchSampler(len(voxels), batch_size, world=World(rank, size, rank))
        for rank in range(size)
    ]
    for parts in (planned, [order.batches(epoch) for order in unplanned]):
        for step, joint in enumerate(zip(*parts, strict=True)):
            assert sorted(itertools.chain(*joint)) == sorted(single[step])
    for order in unplanned:
        for step, samples in enumerate(order.batches(epoch)):
            assert samples == single[step][order.world.rank :: size]
        assert order.ends(3) == order_of(voxels, batch_size, None).ends(3)


@given(
    voxels=st.lists(st.integers(1, 150), min_size=4, max_size=40),
    batch_size=st.integers(4, 12),
    size=st.integers(1, 4),
    bound=st.integers(1, 120),
)
def test_no_process_exceeds_its_bound_and_none_lacks_a_sample_before_the_last_step(
    voxels: list[int], batch_size: int, size: int, bound: int
):
    parts = by_process(voxels, batch_size, bound, size, 1)
    steps = list(zip(*parts, strict=True))
    assert sorted(itertools.chain(*itertools.chain(*steps))) == list(range(len(voxels)))
    for number, joint in enumerate(steps):
        assert sum(map(len, joint)) <= batch_size
        for samples in joint:
            # A sample over the bound is cropped to it.
            assert sum(min(voxels[index], bound) for index in samples) <= bound
            assert samples or number == len(steps) - 1


def test_a_joint_batch_that_fits_in_sum_alone_is_ended_too():
    # 7, 7 and 6 are no more than 20 together, but not dealt to two processes with 10 at most.
    for rank in range(2):
        order = order_of([7, 7, 6, 7, 6], 4, 10, world=World(rank, 2, rank))
        assert [sum(map(len, joint)) for joint in order.joint_batches(0)] == [2, 2, 1]
    voxels = np.random.default_rng(5).integers(20, 60, 200)
    for rank in range(3):
        order = order_of(voxels.tolist(), 12, 150, world=World(rank, 3, rank))
        loads = [voxels[samples].sum() for samples in order.batches(0) if samples]
        assert 130 < max(loads) <= 150


def test_a_joint_batch_ends_only_where_the_next_sample_cannot_be_dealt():
    voxels = np.random.default_rng(2).integers(1, 100, 60).tolist()
    order = order_of(voxels, 8, 150, world=World(0, 3, 0))
    batches = order.joint_batches(0)
    shuffled = np.random.default_rng([2, 0, 0]).permutation(60).tolist()
    begin = 0
    for joint in batches[:-1]:
        begin += sum(map(len, joint))
        longer = shuffled[begin - sum(map(len, joint)) : begin + 1]
        loads = [
            sum(voxels[longer[at]] for at in part) for part in deal([voxels[i] for i in longer], 3)
        ]
        assert len(longer) == 9 or max(loads) > 150
    assert any(sum(map(len, joint)) < 8 for joint in batches[:-1])


def test_dealing_is_balanced_and_equal_sizes_go_round():
    assert deal([5, 5, 5, 5, 5], 2) == [[0, 2, 4], [1, 3]]
    assert deal([10, 1, 1, 1, 9, 1], 2) == [[0, 2, 5], [1, 3, 4]]
    assert deal([1, 2, 30], 3) == [[2], [1], [0]]
    assert deal([7], 3) == [[0], [], []]
    assert deal([3, 1, 2], 1) == [[0, 1, 2]]


@given(voxels=st.lists(st.integers(1, 1000), max_size=20), size=st.integers(1, 5))
def test_dealt_loads_differ_by_one_sample_at_most(voxels: list[int], size: int):
    parts = deal(voxels, size)
    assert sorted(itertools.chain(*parts)) == list(range(len(voxels)))
    loads = [sum(voxels[at] for at in part) for part in parts]
    for part, load in zip(parts, loads, strict=True):
        if part:
            assert load - min(voxels[at] for at in part) <= min(loads)


def test_more_processes_than_samples_are_refused():
    with pytest.raises(
        UserError, match=r"batch_size 2: .* 3 processes; raise --data.batch-size to"
    ):
        order_of([1, 2, 3, 4], 2, None, world=World(0, 3, 0))
    with pytest.raises(UserError, match=r"num_samples 2: .* 3 processes; start at most 2"):
        order_of([1, 2], 4, None, world=World(0, 3, 0))


@given(st.integers(0, 50), st.integers(1, 7))
def test_shards_hold_every_sample_once(count: int, size: int):
    shards = [shard_indices(count, World(rank, size, rank)) for rank in range(size)]
    assert sorted(itertools.chain(*shards)) == list(range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def parts(sweep: LidarFrame, sizes: list[int]):
    return [
        voxelize(
            dataclasses.replace(
                sweep,
                coord=np.arange(3 * size, dtype=np.float32).reshape(-1, 3) + 0.5,
                strength=sweep.strength[:size],
                segment=sweep.segment[:size],
            ),
            1.0,
        )
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("sizes", "bound", "left"),
    [
        ([10, 20, 30], 60, [10, 20, 30]),
        ([10, 20, 30], 59, [10, 20, 29]),
        ([10, 20, 30], 45, [10, 17, 17]),
        ([10, 20, 30], 3, [1, 1, 1]),
        ([50], 7, [7]),
        ([5, 40, 5], 20, [5, 10, 5]),
    ],
)
def test_the_largest_sweeps_of_a_batch_are_cropped_alike(sweep, sizes, bound, left):
    given_parts = parts(sweep, sizes)
    kept = crop_together(given_parts, bound, np.random.default_rng(0))
    assert [len(part.coord) for part in kept] == left
    assert [len(part.coord) for part in given_parts] == sizes
    for before, after in zip(given_parts, kept, strict=True):
        rows = {tuple(row) for row in before.coord.tolist()}
        assert {tuple(row) for row in after.coord.tolist()} <= rows


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=9), bound=st.integers(9, 300))
def test_a_batch_is_cropped_to_its_bound_and_no_further(sizes: list[int], bound: int):
    count = sum(sizes)
    sweep = LidarFrame(
        np.zeros((count, 3), np.float32), np.zeros((count, 1), np.float32),
        np.zeros(count, np.int64), "x", None,
    )  # fmt: skip
    left = [
        len(part.coord)
        for part in crop_together(parts(sweep, sizes), bound, np.random.default_rng(0))
    ]
    assert sum(left) <= bound
    if sum(left) < sum(sizes):
        assert sum(left) > bound - len(sizes)
        cropped = {now for now, before in zip(left, sizes, strict=True) if now < before}
        assert len(cropped) == 1
        assert max(left) == cropped.pop()


def test_more_sweeps_than_voxels_cannot_be(sweep):
    with pytest.raises(ValueError, match="3 sweeps cannot share 2 voxels"):
        crop_together(parts(sweep, [4, 4, 4]), 2, np.random.default_rng(0))
