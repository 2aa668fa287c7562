"""The optimizer and how it goes on, batches that depend on seed and step alone, what is said."""

import copy
import itertools
import json

import numpy as np
import pytest
import torch

from tests.train.toys import Hint, HintConfig, build_toy
from train.config import DataConfig, MethodConfig, OptimConfig, RunConfig
from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.frame import LidarFrame
from train.data.loader import TrainingFrames
from train.data.voxel_counts import VoxelCounts, measure_voxels
from train.engine import loop as batches_module
from train.engine.loop import FrameBatches, fit
from train.engine.optimizer import go_on, make_optimizer
from train.engine.run_log import RunLog
from train.engine.train_step import TrainTask
from train.methods.none import CrossEntropy


class Rooms:
    """Seven frames of different sizes; those in `bad` cannot be read."""

    bad = ()
    names = tuple(f"room/{index}" for index in range(7))
    skipped_unlabeled = 0

    def __init__(self, folder):
        self.folder = folder

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        path = self.folder / f"{index}.bin"
        if index in self.bad:
            raise UserError(f"{path}: is bad")
        rng = np.random.default_rng(index)
        count = 200 + 60 * index
        coord = rng.uniform(-20, 20, (count, 3)).astype(np.float32)
        strength = rng.uniform(0, 1, (count, 1)).astype(np.float32)
        return LidarFrame(coord, strength, rng.integers(-1, 4, count), self.names[index], path)

    def files(self, index):
        return (self.folder / f"{index}.bin",)


BOUND = 900
NO_ADAPTER = CrossEntropy(MethodConfig(), None, None)


def served(folder, *, done=0, workers=0, bound=None, epochs=3, stop=None):
    """Return what identifies each batch of a run that begins after `done` steps, and the ends."""
    config = RunConfig(dataset="rooms", seed=5, data=DataConfig(batch_size=3, num_workers=workers))
    source = Rooms(folder)
    frames = TrainingFrames(
        source,
        grid_size_m=0.5,
        seed=9,
        max_batch_voxels=bound,
        counts=None if bound is None else measure_voxels(source, 0.5),
    )
    source = FrameBatches(frames, config)
    ends = source.ends(epochs)
    batches = source.batches(ends, done)
    return [
        (tuple(batch.names), len(batch["feat"]), batch["feat"].numpy().tobytes())
        for batch in itertools.islice(batches, stop)
    ], ends


def test_blocks_have_a_rate_of_their_own(student):
    optimizer, _ = make_optimizer(student, NO_ADAPTER, OptimConfig(lr=2e-3, block_lr=2e-4), 100)
    rest, blocks = optimizer.param_groups
    names = {id(p): name for name, p in student.named_parameters()}
    assert all(".block" in names[id(p)] for p in blocks["params"])
    assert not any(".block" in names[id(p)] for p in rest["params"])
    assert len(rest["params"]) + len(blocks["params"]) == len(names)
    assert rest["lr"] == pytest.approx(2e-4)  # a tenth of the peak at the first step
    assert blocks["lr"] == pytest.approx(2e-5)


def test_one_cycle_rises_to_the_peak_and_falls_to_a_thousandth(student):
    optimizer, scheduler = make_optimizer(
        student, NO_ADAPTER, OptimConfig(warmup_fraction=0.25), 101
    )
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(100):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(2e-3, rel=1e-3)
    assert rates.index(max(rates)) == pytest.approx(25, abs=1)
    assert rates[-1] == pytest.approx(2e-6)
    assert torch.optim.AdamW is type(optimizer)


@pytest.mark.parametrize("warmup_fraction", [0.04, 0.1, 0.25, 0.3])
def test_a_schedule_of_any_length_has_a_rate_for_each_step(warmup_fraction):
    toy = build_toy("small", 4, 4)
    optim = OptimConfig(warmup_fraction=warmup_fraction)
    for total in range(1, 31):
        rates = [
            lr for ((lr, _),) in steps(*make_optimizer(toy, NO_ADAPTER, optim, total), toy, total)
        ]
        assert len(rates) == total
        assert all(2e-6 * 0.99 <= rate <= 2e-3 * 1.01 for rate in rates), total


def test_an_adapter_has_the_rate_of_the_network_s_head(student):
    toy = build_toy("small", 4, 4)
    hint = Hint(HintConfig(), student, toy)
    groups = make_optimizer(student, hint, OptimConfig(), 100)[0].param_groups
    assert [id(p) for p in groups[2]["params"]] == [id(p) for p in hint.parameters()]
    assert groups[2]["lr"] == groups[0]["lr"]
    assert len(make_optimizer(toy, hint, OptimConfig(), 100)[0].param_groups) == 2


def steps(optimizer, scheduler, network, number):
    """Take steps with gradients that the step's number decides; return the rates."""
    rates = []
    for step in range(number):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.1 * (step + 1))
        rates.append([(group["lr"], group["betas"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("done", [1, 3, 10, 11])
def test_an_optimizer_goes_on_as_if_it_had_not_been_stopped(done):
    toy = build_toy("small", 4, 4)
    whole = make_optimizer(toy, NO_ADAPTER, OptimConfig(), 12)
    steps(*whole, toy, done)
    state, weights = whole[0].state_dict(), copy.deepcopy(toy.state_dict())
    state = copy.deepcopy(state)
    want = steps(*whole, toy, 12 - done)
    other = build_toy("small", 4, 4)
    other.load_state_dict(weights)
    again = make_optimizer(other, NO_ADAPTER, OptimConfig(), 12)
    go_on(*again, state, done)
    assert again[1].get_last_lr() == [want[0][0][0]]
    assert steps(*again, other, 12 - done) == want
    for name, tensor in toy.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_an_optimizer_goes_on_with_other_rates_and_its_old_moments():
    toy = build_toy("small", 4, 4)
    whole = make_optimizer(toy, NO_ADAPTER, OptimConfig(), 12)
    steps(*whole, toy, 3)
    changed = make_optimizer(toy, NO_ADAPTER, OptimConfig(lr=1e-3, weight_decay=0.0), 24)
    usual = make_optimizer(toy, NO_ADAPTER, OptimConfig(lr=1e-3), 24)
    go_on(*changed, whole[0].state_dict(), 3)
    rates = [lr for ((lr, _),) in steps(*usual, toy, 4)]
    assert changed[1].get_last_lr() == [rates[3]]
    (group,) = changed[0].param_groups
    assert (group["lr"], group["weight_decay"]) == (rates[3], 0.0)
    moments = changed[0].state[toy.head.weight]
    assert moments["step"] == 3
    assert torch.equal(moments["exp_avg"], whole[0].state[toy.head.weight]["exp_avg"])


@pytest.mark.parametrize("bound", [None, BOUND])
def test_a_run_that_goes_on_is_served_what_was_left(tmp_path, bound):
    whole, ends = served(tmp_path, bound=bound)
    assert len(whole) == ends[-1]
    assert len({content for _, _, content in whole}) == len(whole)
    for done in (1, ends[0], ends[0] + 1, ends[1], ends[-1] - 1, ends[-1]):
        assert served(tmp_path, bound=bound, done=done)[0] == whole[done:]


@pytest.mark.parametrize("bound", [None, BOUND])
def test_workers_that_live_on_serve_the_same_batches(tmp_path, bound):
    whole, _ = served(tmp_path, bound=bound)
    assert served(tmp_path, bound=bound, workers=2)[0] == whole
    assert served(tmp_path, bound=bound, workers=2, done=2)[0] == whole[2:]


def test_every_epoch_serves_every_frame_once_within_the_bounds(tmp_path):
    for bound in (None, BOUND):
        whole, ends = served(tmp_path, bound=bound)
        for begin, end in itertools.pairwise([0, *ends]):
            names = [name for batch in whole[begin:end] for name in batch[0]]
            assert sorted(names) == list(Rooms.names)
        assert max(len(names) for names, _, _ in whole) <= 3
        largest = max(voxels for _, voxels, _ in whole)
        assert largest > BOUND if bound is None else largest <= BOUND


def test_without_a_bound_an_epoch_has_as_many_steps_as_ever(tmp_path):
    whole, ends = served(tmp_path)
    assert ends == [3, 6, 9]
    assert [len(names) for names, _, _ in whole] == [3, 3, 1] * 3
    order = np.random.default_rng([2, 5, 0]).permutation(7)
    assert whole[0][0] == tuple(Rooms.names[index] for index in order[:3])


def test_a_run_that_stops_early_leaves_no_worker_behind(tmp_path):
    before = {child.pid for child in torch.multiprocessing.active_children()}
    assert len(served(tmp_path, workers=2, stop=2)[0]) == 2
    assert {child.pid for child in torch.multiprocessing.active_children()} == before


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_stay_and_memory_is_pinned_where_there_is_cuda(tmp_path, monkeypatch, workers):
    asked = []

    class Loader(torch.utils.data.DataLoader):
        def __init__(self, *args, **options):
            asked.append((options["persistent_workers"], options.pop("pin_memory")))
            super().__init__(*args, **options)

    monkeypatch.setattr(batches_module, "DataLoader", Loader)
    for uses_cuda in (False, True):
        monkeypatch.setattr(batches_module, "uses_cuda", lambda answer=uses_cuda: answer)
        assert len(served(tmp_path, workers=workers)[0]) == 9
    # One loader for all epochs of a run.
    assert asked == [(workers > 0, False), (workers > 0, True)]


@pytest.mark.gpu
def test_batches_reach_a_gpu_by_pinned_memory(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    torch.zeros(1, device="cuda")
    source = Rooms(tmp_path)
    source.bad = (1,)
    frames = TrainingFrames(source, grid_size_m=0.5, on_bad_frame="skip")
    config = RunConfig(dataset="rooms", data=DataConfig(batch_size=7, num_workers=2))
    source = FrameBatches(frames, config)
    (batch,) = source.batches(source.ends(1), 0)
    assert batch["feat"].is_pinned()
    assert [bad.name for bad in batch.skipped] == ["room/1"]
    moved = batch.to(torch.device("cuda"))
    torch.cuda.synchronize()
    assert moved["feat"].cpu().equal(batch["feat"])


def test_what_was_skipped_and_cropped_is_said_and_recorded(tmp_path, capsys):
    source = Rooms(tmp_path)
    source.bad = (2, 3)
    few = np.full(7, 100, dtype=np.int64)
    frames = TrainingFrames(
        source,
        grid_size_m=0.5,
        max_batch_voxels=400,
        counts=VoxelCounts(points=few, voxels=few),
        on_bad_frame="skip",
    )
    toy = build_toy("small", 4, 4)
    task = TrainTask("student", toy, CrossEntropy(MethodConfig(), toy, None), None, epochs=2)
    config = RunConfig(dataset="rooms", data=DataConfig(batch_size=3, num_workers=0))
    skipped = SkippedFrames(tmp_path / "skipped.json")
    with RunLog(tmp_path) as log:
        fit(
            task,
            FrameBatches(frames, config),
            config,
            torch.device("cpu"),
            log,
            tmp_path / "state.pt",
            skipped=skipped,
        )
    assert skipped.messages == {f"room/{n}": f"{tmp_path / f'{n}.bin'}: is bad" for n in (2, 3)}
    assert SkippedFrames(tmp_path / "skipped.json").messages == skipped.messages
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [len(line["frames"]) for line in lines] == [3, 3, 1] * 2
    cut = [line for line in lines if "cropped_voxels" in line]
    assert cut
    assert all(line["cropped_voxels"] > 0 for line in cut)
    told = capsys.readouterr().err
    assert f"{len(cut)} batches were cropped to 400 voxels" in told
    assert told.count("skipped: ") == 2
