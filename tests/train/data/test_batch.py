"""Which samples a batch has, how they are joined, and which frames are left out."""

import dataclasses
import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.train.data.damage import refused, refused_at
from tests.train.processes import run_processes, values_of
from train.core.distributed import World, current_world
from train.core.errors import UserError
from train.data.batch import (
    BadFrame,
    SkippedFrames,
    VoxelBudgetBatchSampler,
    collate,
    crop_together,
    deal,
    shard_indices,
)
from train.data.frame import LidarFrame
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.semantickitti import SPEC, SemanticKitti
from train.data.transforms import VoxelFrame, voxelize


@pytest.fixture
def three(frame: LidarFrame) -> list[VoxelFrame]:
    """Return three voxelized frames of different sizes."""
    parts = []
    for number, count in enumerate((700, 1, 300)):
        part = dataclasses.replace(
            frame,
            coord=frame.coord[:count] + np.float32(number),
            strength=frame.strength[:count],
            segment=frame.segment[:count],
            name=f"00/{number:06d}",
        )
        parts.append(voxelize(part, 0.5))
    return parts


def test_every_frame_lies_between_its_offsets(three):
    batch = collate(three)
    sizes = [len(part.coord) for part in three]
    assert batch["offset"].tolist() == [sizes[0], sizes[0] + sizes[1], sum(sizes)]
    assert batch["raw_offset"].tolist() == [700, 701, 1001]
    assert list(batch.names) == ["00/000000", "00/000001", "00/000002"]
    ends, raw_ends = batch["offset"].tolist(), batch["raw_offset"].tolist()
    for number, part in enumerate(three):
        rows = slice(ends[number - 1] if number else 0, ends[number])
        raw = slice(raw_ends[number - 1] if number else 0, raw_ends[number])
        np.testing.assert_array_equal(batch["coord"][rows], part.coord)
        np.testing.assert_array_equal(batch["feat"][rows, :3], part.coord)
        np.testing.assert_array_equal(batch["feat"][rows, 3:], part.strength)
        np.testing.assert_array_equal(batch["grid_coord"][rows], part.grid_coord)
        np.testing.assert_array_equal(batch["segment"][rows], part.segment)
        np.testing.assert_array_equal(batch["raw_segment"][raw], part.raw_segment)
        # `inverse` points at rows of the whole batch.
        np.testing.assert_array_equal(
            batch["coord"][batch["inverse"][raw]], part.coord[part.inverse]
        )
        assert batch["inverse"][raw].min() >= rows.start
        assert batch["inverse"][raw].max() < rows.stop


def test_types_are_those_the_network_takes_and_values_a_copy(three):
    batch = collate(three)
    for key in ("feat", "coord"):
        assert batch[key].dtype == torch.float32
    for key in ("grid_coord", "offset", "segment", "inverse", "raw_segment", "raw_offset"):
        assert batch[key].dtype == torch.int64, key
    assert batch["feat"].shape[1] == 4
    batch = collate(three[:1])
    batch["coord"].zero_()
    batch["inverse"].zero_()
    assert np.abs(three[0].coord).max() > 0
    assert three[0].inverse.max() > 0


def test_without_labels_the_batch_has_none_and_a_mix_or_no_frame_is_refused(three):
    bare = [dataclasses.replace(part, segment=None, raw_segment=None) for part in three]
    assert not {"segment", "raw_segment"} & set(collate(bare))
    for frames, said in (([three[0], bare[1], three[2]], "not 00/000001"), ([], "no frames")):
        with pytest.raises(ValueError, match=said):
            collate(frames)


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


def test_the_order_of_samples_is_the_same_whatever_the_bound():
    bounded, unbounded = order_of([30] * 23, 5, 10_000), VoxelBudgetBatchSampler(23, 5)
    assert bounded.batches(2) == unbounded.batches(2)  # a bound that nothing reaches
    voxels = np.random.default_rng(0).integers(1, 100, 60).tolist()
    plain = list(itertools.chain(*VoxelBudgetBatchSampler(60, 4).batches(1)))
    assert list(itertools.chain(*order_of(voxels, 4, 120).batches(1))) == plain


def test_steps_are_known_before_the_first_epoch():
    voxels = np.random.default_rng(1).integers(1, 100, 40).tolist()
    order = order_of(voxels, 6, 150)
    counts = [len(order.batches(epoch)) for epoch in range(6)]
    assert len(set(counts)) > 1  # epochs differ in their number of batches
    assert order.ends(6) == np.cumsum(counts).tolist()


def test_an_epoch_can_go_on_from_where_it_stopped_and_from_nowhere_else():
    order = order_of(list(range(1, 21)), 4, 30)
    order.set_epoch(3)
    whole = list(order)
    assert len(order) == len(whole)
    order.set_epoch(3, start=5)
    assert (list(order), len(order)) == (whole[5:], len(whole) - 5)
    order.set_epoch(4)
    assert list(order) == order.batches(4)
    order = VoxelBudgetBatchSampler(20, 4)
    for start in (-1, 6):
        with pytest.raises(ValueError, match=r"start must be in 0\.\.5"):
            order.set_epoch(0, start=start)
    with pytest.raises(ValueError, match="epoch"):
        order.set_epoch(-1)


TOO_FEW_SAMPLES = r"batch_size 2: .* 3 processes; raise --data.batch-size to"
TOO_MANY_PROCESSES = r"num_samples 2: .* 3 processes; start at most 2"


@pytest.mark.parametrize(
    ("voxels", "batch_size", "options", "error", "said"),
    [
        ([], 1, {}, ValueError, "num_samples"),
        ([1, 2, 3], 0, {}, UserError, "batch_size"),
        ([1, 2, 3], 1, {"seed": -1}, UserError, "seed"),
        ([1, 2], 1, {"bound": 0}, UserError, "max_batch_voxels"),
        ([1, 0], 1, {"bound": 10}, ValueError, "without voxels"),
        ([1, 2, 3, 4], 2, {"world": World(0, 3, 0)}, UserError, TOO_FEW_SAMPLES),
        ([1, 2], 4, {"world": World(0, 3, 0)}, UserError, TOO_MANY_PROCESSES),
    ],
)
def test_impossible_settings_are_named(voxels, batch_size, options, error, said: str):
    with pytest.raises(error, match=said):
        order_of(voxels, batch_size, **{"bound": None} | options)


@pytest.mark.parametrize("planned", [None, np.array([1, 2])])
def test_a_bound_needs_a_plan_of_each_sample(planned):
    with pytest.raises(ValueError, match="planned_voxels of each of the 3"):
        VoxelBudgetBatchSampler(3, 1, max_batch_voxels=10, planned_voxels=planned)


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


@given(st.integers(0, 50), st.integers(1, 7))
def test_shards_hold_every_sample_once(count: int, size: int):
    shards = [shard_indices(count, World(rank, size, rank)) for rank in range(size)]
    assert sorted(itertools.chain(*shards)) == list(range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def parts(frame: LidarFrame, sizes: list[int]):
    return [
        voxelize(
            dataclasses.replace(
                frame,
                coord=np.arange(3 * size, dtype=np.float32).reshape(-1, 3) + 0.5,
                strength=frame.strength[:size],
                segment=frame.segment[:size],
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
def test_the_largest_frames_of_a_batch_are_cropped_alike(frame, sizes, bound, left):
    given_parts = parts(frame, sizes)
    kept = crop_together(given_parts, bound, np.random.default_rng(0))
    assert [len(part.coord) for part in kept] == left
    assert [len(part.coord) for part in given_parts] == sizes
    for before, after in zip(given_parts, kept, strict=True):
        rows = {tuple(row) for row in before.coord.tolist()}
        assert {tuple(row) for row in after.coord.tolist()} <= rows


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=9), bound=st.integers(9, 300))
def test_a_batch_is_cropped_to_its_bound_and_no_further(sizes: list[int], bound: int):
    count = sum(sizes)
    frame = LidarFrame(
        np.zeros((count, 3), np.float32), np.zeros((count, 1), np.float32),
        np.zeros(count, np.int64), "x", None,
    )  # fmt: skip
    left = [
        len(part.coord)
        for part in crop_together(parts(frame, sizes), bound, np.random.default_rng(0))
    ]
    assert sum(left) <= bound
    if sum(left) < sum(sizes):
        assert sum(left) > bound - len(sizes)
        cropped = {now for now, before in zip(left, sizes, strict=True) if now < before}
        assert len(cropped) == 1
        assert max(left) == cropped.pop()


def test_more_frames_than_voxels_cannot_be(frame):
    with pytest.raises(ValueError, match="3 frames cannot share 2 voxels"):
        crop_together(parts(frame, [4, 4, 4]), 2, np.random.default_rng(0))


BAD = (1, 2, 5)


@pytest.fixture
def root(write_tree) -> Path:
    """Return six frames, three of which have labels of no class."""
    root = write_tree({"00": {f"{n:06d}": (200 + 10 * n, True) for n in range(6)}})
    for number in BAD:
        path = root / f"sequences/00/labels/{number:06d}.label"
        path.write_bytes(np.full(200 + 10 * number, 77, "<u4").tobytes())
    return root


@pytest.fixture
def source(root: Path) -> SemanticKitti:
    return SPEC.open(root, sequences=["00"])


def loader(frames, order=None, workers: int = 0) -> DataLoader:
    order = VoxelBudgetBatchSampler(len(frames), 2) if order is None else order
    return DataLoader(
        frames,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def test_stop_raises_what_the_source_said(source):
    for frames in (TrainingFrames(source), EvaluationFrames(source)):
        refused(partial(frames.__getitems__, [0, 1]), "000001.label: ", "77")
        # One sample asked for by itself is never another one.
        refused(partial(frames.__getitem__, 1), "000001.label: ")


def test_training_takes_the_next_good_frame_in_place_of_a_bad_one(source):
    frames = TrainingFrames(source, on_bad_frame="skip", repeats=2)
    expected = [(0, []), (3, [1, 2]), (3, [2]), (3, []), (4, []), (0, [5])]
    for index, (taken, gone) in enumerate([*expected, *expected]):
        batch = collate(frames.__getitems__([index]))
        assert list(batch.names) == [f"00/{taken:06d}"]
        assert [bad.name for bad in batch.skipped] == [f"00/{n:06d}" for n in gone]


def test_a_replaced_sample_is_augmented_as_its_own_place_says(source):
    def sample(index: int, on_bad_frame: str) -> bytes:
        frames = TrainingFrames(source, on_bad_frame=on_bad_frame, seed=2)
        return frames.__getitems__([index])[0].coord.tobytes()

    assert sample(1, "skip") == sample(1, "skip")
    assert sample(3, "skip") == sample(3, "stop")
    assert len({sample(index, "skip") for index in (1, 2, 3)}) == 3


def test_evaluation_leaves_bad_frames_out(source):
    frames = EvaluationFrames(source, 0.5, on_bad_frame="skip")
    batch = collate(frames.__getitems__([0, 1, 2, 3]))
    assert list(batch.names) == ["00/000000", "00/000003"]
    assert [bad.name for bad in batch.skipped] == ["00/000001", "00/000002"]
    nothing = collate(frames.__getitems__([5]))
    assert list(nothing.names) == []
    assert "feat" not in nothing
    assert len(nothing.skipped) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_every_bad_frame_reaches_the_list_whoever_read_it(root, source, workers, capsys):
    skipped = SkippedFrames()
    training = TrainingFrames(source, on_bad_frame="skip")
    reading = loader(training, workers=workers)
    names = []
    for epoch in range(2):
        training.set_epoch(epoch)
        reading.batch_sampler.set_epoch(epoch)
        names += [name for batch in skipped.watch(reading) for name in batch.names]
    assert len(names) == 12
    assert set(names) <= {"00/000000", "00/000003", "00/000004"}
    evaluation = EvaluationFrames(source, on_bad_frame="skip")
    one_by_one = DataLoader(evaluation, batch_size=1, collate_fn=collate, num_workers=workers)
    seen = [list(batch.names) for batch in skipped.watch(one_by_one)]
    assert seen == [["00/000000"], [], [], ["00/000003"], ["00/000004"], []]
    assert len(skipped) == 3
    assert sorted(skipped.messages) == [f"00/{n:06d}" for n in BAD]
    for name, message in skipped.messages.items():
        assert message.startswith(str(root / "sequences/00/labels" / name[3:]))
    # Each is told when it is met, once, and listed in the end.
    assert capsys.readouterr().err.count("skipped: ") == 3
    lines = skipped.lines()
    assert lines[0] == "frames that could not be read: 3"
    assert sorted(lines[1:]) == sorted(skipped.messages.values())


def test_workers_and_skipping_give_the_same_batches(source):
    def batches(workers: int) -> list[bytes]:
        training = TrainingFrames(source, on_bad_frame="skip", seed=1)
        return [batch["feat"].numpy().tobytes() for batch in loader(training, workers=workers)]

    assert batches(2) == batches(0)


def reading(root: Path, folder: Path) -> tuple[list[list[str]], dict[str, str], str]:
    """Read an epoch on one of several processes, and share what was skipped."""
    world = current_world()
    frames = TrainingFrames(SPEC.open(root, sequences=["00"]), on_bad_frame="skip", grid_size_m=0.5)
    order = VoxelBudgetBatchSampler(6, 3, world=world)
    skipped = SkippedFrames(folder / "skipped.json")
    names = [list(batch.names) for batch in skipped.watch(loader(frames, order))]
    met = skipped.messages
    skipped.share()
    return names, met, skipped.messages


def test_processes_take_as_many_steps_whoever_meets_a_bad_frame(root: Path, tmp_path: Path):
    values = values_of(run_processes(3, reading, root, tmp_path))
    assert [[len(names) for names in value[0]] for value in values] == [[1, 1]] * 3
    # Every process met some of them, and all have the list of all in the end.
    met = [set(value[1]) for value in values]
    assert len(set(map(frozenset, met))) > 1
    for value in values:
        assert set(value[2]) == set.union(*met) == {f"00/{n:06d}" for n in BAD}
    assert SkippedFrames(tmp_path / "skipped.json").messages == values[0][2]


def test_where_no_frame_can_be_read_training_stops(root, source):
    for number in range(6):
        path = root / f"sequences/00/labels/{number:06d}.label"
        path.write_bytes(np.full(200 + 10 * number, 77, "<u4").tobytes())
    training = TrainingFrames(source, on_bad_frame="skip")
    refused(lambda: training.__getitems__([4]), "none of the 6 training frames", "000004.label")


def test_the_list_survives_the_process(tmp_path: Path, capsys):
    path = tmp_path / "skipped.json"
    first = SkippedFrames(path)
    assert (len(first), first.lines(), path.exists()) == (0, [], False)
    first.add([BadFrame("a", "a.bin: bad")])
    first.add([BadFrame("a", "a.bin: bad, said otherwise"), BadFrame("b", "b.bin: worse")])
    again = SkippedFrames(path)
    assert again.messages == first.messages == {"a": "a.bin: bad", "b": "b.bin: worse"}
    capsys.readouterr()
    again.add([BadFrame("b", "b.bin: worse")])
    assert capsys.readouterr().err == ""  # told in the first part of the run


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}'])
def test_a_file_that_is_no_such_list_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "skipped.json"
    path.write_text(content)
    refused_at(path, lambda: SkippedFrames(path))
    path.write_text(json.dumps({"a": "b"}))
    assert len(SkippedFrames(path)) == 1
