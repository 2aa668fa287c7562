"""A bad sweep stops a run, or is replaced in training, left out in evaluation, and told of."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from tests.train.processes import run_processes, values_of
from train.core.distributed import current_world
from train.core.errors import UserError
from train.data.batch import BadFrame, SkippedFrames, VoxelBudgetBatchSampler, collate
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.semantickitti import SPEC, SemanticKitti

BAD = (1, 2, 5)


@pytest.fixture
def root(write_tree) -> Path:
    """Return six sweeps, three of which have labels of no class."""
    root = write_tree({"00": {f"{n:06d}": (200 + 10 * n, True) for n in range(6)}})
    for number in BAD:
        path = root / f"sequences/00/labels/{number:06d}.label"
        path.write_bytes(np.full(200 + 10 * number, 77, "<u4").tobytes())
    return root


@pytest.fixture
def source(root: Path) -> SemanticKitti:
    return SPEC.open(root, sequences=["00"])


def loader(sweeps, order=None, workers: int = 0) -> DataLoader:
    order = VoxelBudgetBatchSampler(len(sweeps), 2) if order is None else order
    return DataLoader(
        sweeps,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def test_stop_raises_what_the_source_said(source):
    for sweeps in (TrainingFrames(source), EvaluationFrames(source)):
        with pytest.raises(UserError, match=r"000001\.label: .*77"):
            sweeps.__getitems__([0, 1])
        # One sample asked for by itself is never another one.
        with pytest.raises(UserError, match=r"000001\.label"):
            dataclasses.replace(sweeps[1])


def test_training_takes_the_next_good_sweep_in_place_of_a_bad_one(source):
    sweeps = TrainingFrames(source, on_bad_sweep="skip", repeats=2)
    expected = [(0, []), (3, [1, 2]), (3, [2]), (3, []), (4, []), (0, [5])]
    for index, (taken, gone) in enumerate([*expected, *expected]):
        batch = collate(sweeps.__getitems__([index]))
        assert list(batch.names) == [f"00/{taken:06d}"]
        assert [bad.name for bad in batch.skipped] == [f"00/{n:06d}" for n in gone]


def test_a_replaced_sample_is_augmented_as_its_own_place_says(source):
    def sample(index: int, on_bad_sweep: str) -> bytes:
        sweeps = TrainingFrames(source, on_bad_sweep=on_bad_sweep, seed=2)
        return sweeps.__getitems__([index])[0].coord.tobytes()

    assert sample(1, "skip") == sample(1, "skip")
    assert sample(3, "skip") == sample(3, "stop")
    assert len({sample(index, "skip") for index in (1, 2, 3)}) == 3


def test_evaluation_leaves_bad_sweeps_out(source):
    sweeps = EvaluationFrames(source, 0.5, on_bad_sweep="skip")
    batch = collate(sweeps.__getitems__([0, 1, 2, 3]))
    assert list(batch.names) == ["00/000000", "00/000003"]
    assert [bad.name for bad in batch.skipped] == ["00/000001", "00/000002"]
    nothing = collate(sweeps.__getitems__([5]))
    assert list(nothing.names) == []
    assert "feat" not in nothing
    assert len(nothing.skipped) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_every_bad_sweep_reaches_the_list_whoever_read_it(root, source, workers, capsys):
    skipped = SkippedFrames()
    training = TrainingFrames(source, on_bad_sweep="skip")
    reading = loader(training, workers=workers)
    names = []
    for epoch in range(2):
        training.set_epoch(epoch)
        reading.batch_sampler.set_epoch(epoch)
        names += [name for batch in skipped.watch(reading) for name in batch.names]
    assert len(names) == 12
    assert set(names) <= {"00/000000", "00/000003", "00/000004"}
    evaluation = EvaluationFrames(source, on_bad_sweep="skip")
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
    assert lines[0] == "sweeps that could not be read: 3"
    assert sorted(lines[1:]) == sorted(skipped.messages.values())


def test_workers_and_skipping_give_the_same_batches(source):
    def batches(workers: int) -> list[bytes]:
        training = TrainingFrames(source, on_bad_sweep="skip", seed=1)
        return [batch["feat"].numpy().tobytes() for batch in loader(training, workers=workers)]

    assert batches(2) == batches(0)


def reading(root: Path, folder: Path) -> tuple[list[list[str]], dict[str, str], str]:
    """Read an epoch on one of several processes, and share what was skipped."""
    world = current_world()
    sweeps = TrainingFrames(SPEC.open(root, sequences=["00"]), on_bad_sweep="skip", grid_size_m=0.5)
    order = VoxelBudgetBatchSampler(6, 3, world=world)
    skipped = SkippedFrames(folder / "skipped.json")
    names = [list(batch.names) for batch in skipped.watch(loader(sweeps, order))]
    met = skipped.messages
    skipped.share()
    return names, met, skipped.messages


def test_processes_take_as_many_steps_whoever_meets_a_bad_sweep(root: Path, tmp_path: Path):
    values = values_of(run_processes(3, reading, root, tmp_path))
    assert [[len(names) for names in value[0]] for value in values] == [[1, 1]] * 3
    # Every process met some of them, and all have the list of all in the end.
    met = [set(value[1]) for value in values]
    assert len(set(map(frozenset, met))) > 1
    for value in values:
        assert set(value[2]) == set.union(*met) == {f"00/{n:06d}" for n in BAD}
    assert SkippedFrames(tmp_path / "skipped.json").messages == values[0][2]


def test_where_no_sweep_can_be_read_training_stops(root, source):
    for number in range(6):
        path = root / f"sequences/00/labels/{number:06d}.label"
        path.write_bytes(np.full(200 + 10 * number, 77, "<u4").tobytes())
    training = TrainingFrames(source, on_bad_sweep="skip")
    with pytest.raises(UserError, match=r"none of the 6 training sweeps .*000004\.label"):
        training.__getitems__([4])


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
    with pytest.raises(UserError, match=r"skipped\.json: "):
        SkippedFrames(path)
    path.write_text(json.dumps({"a": "b"}))
    assert len(SkippedFrames(path)) == 1
