"""Processes exchange, agree, wait for each other, and end together, however one of them ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from tests.train.processes import run_code, run_processes, values_of
from train.core import distributed
from train.core.distributed import (
    World,
    agree,
    broadcast_object,
    current_world,
    first_process_first,
    gather_objects,
    is_first_process,
    peer_failed,
    process_device,
    process_group,
    require_same,
    seed_for_process,
    sum_over_processes,
)
from train.core.errors import UserError

SIZES = pytest.mark.parametrize("size", [2, 3])
CPU = torch.device("cpu")


def rank() -> int:
    return current_world().rank


@pytest.fixture
def environment(monkeypatch):
    """Return a setter of torchrun's variables, all unset to begin with."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def setter(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return setter


# One process


def test_one_process_needs_no_group_and_changes_nothing(environment):
    tensor = torch.ones(3)
    with process_group(CPU) as world:
        assert world == World(0, 1, 0) == current_world()
        assert is_first_process()
        assert sum_over_processes(tensor) is tensor
        assert gather_objects("a") == ["a"]
        assert broadcast_object("a") == "a"
        assert agree(stop=15) == 15
        assert not peer_failed()
        require_same("the answer", 42)
        with first_process_first():
            pass
        assert not torch.distributed.is_initialized()
    assert seed_for_process(123) == 123


def test_one_process_raises_its_own_error(environment):
    with pytest.raises(KeyError, match="mine"):
        agree(KeyError("mine"))
    with pytest.raises(KeyError, match="mine"), first_process_first():
        raise KeyError("mine")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"WORLD_SIZE": "two", "RANK": 0, "LOCAL_RANK": 0}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": 2, "LOCAL_RANK": 0}, "RANK is not set"),
        ({"WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": ""}, "LOCAL_RANK is ''"),
        ({"WORLD_SIZE": 2, "RANK": 2, "LOCAL_RANK": 0}, "RANK=2, WORLD_SIZE=2"),
        ({"WORLD_SIZE": 0, "RANK": 0, "LOCAL_RANK": 0}, "WORLD_SIZE=0"),
        ({"WORLD_SIZE": 2, "RANK": 0, "LOCAL_RANK": -1}, "LOCAL_RANK=-1"),
    ],
)
def test_variables_that_make_no_sense_are_refused(environment, values, message):
    environment(**values)
    with pytest.raises(UserError, match=message):
        current_world()
    with pytest.raises(UserError, match=message), process_group(CPU):
        pass
    assert is_first_process(), "so that the error is shown"


def test_a_world_of_several_needs_an_address(environment):
    environment(WORLD_SIZE=2, RANK=1, LOCAL_RANK=1)
    assert current_world() == World(1, 2, 1)
    assert not is_first_process()
    with pytest.raises(UserError, match=r"MASTER_ADDR is not set, but WORLD_SIZE is 2"):
        process_group(CPU).__enter__()
    with pytest.raises(RuntimeError, match="call inside process_group"):
        sum_over_processes(torch.ones(1))


def test_processes_that_do_not_come_are_waited_for_no_longer_than_asked(environment):
    environment(WORLD_SIZE=2, RANK=0, LOCAL_RANK=0, MASTER_ADDR="127.0.0.1", MASTER_PORT=0)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"process 0 of 2 could not meet the others at 127\.0\.0\."):
        process_group(CPU, 1.0).__enter__()
    assert time.monotonic() - started < 20


def test_seeds_of_processes_differ_and_are_reproducible(environment):
    seeds = set()
    for place in range(4):
        environment(WORLD_SIZE=4, RANK=place, LOCAL_RANK=place)
        assert seed_for_process(7) == seed_for_process(7)
        assert seed_for_process(7) != seed_for_process(8)
        torch.manual_seed(seed_for_process(7))
        seeds.add(seed_for_process(7))
    assert len(seeds) == 4


def test_each_process_takes_its_gpu(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    assert process_device("cuda:1") == torch.device("cuda:1")
    assert process_device("auto") == torch.device("cuda")
    environment(WORLD_SIZE=4, RANK=3, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2)
    for name in ("auto", "cuda"):
        assert process_device(name) == torch.device("cuda:1")
    assert process_device("cpu") == CPU
    with pytest.raises(UserError, match=r"--device cuda:1: under torchrun .* local rank; leave"):
        process_device("cuda:1")
    environment(LOCAL_WORLD_SIZE=3)
    with pytest.raises(UserError, match=r"3 processes on this machine, .* 2 GPUs; start at most 2"):
        process_device("auto")
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    environment(LOCAL_RANK=2)
    with pytest.raises(UserError, match="3 processes on this machine"):
        process_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert process_device("auto") == CPU


# Exchange


def exchange() -> dict[str, object]:
    mine = torch.tensor([rank() + 1, 10], dtype=torch.int64)
    total = sum_over_processes(mine)
    weights = torch.ones(2, requires_grad=True)
    return {
        "world": current_world(),
        "total": total.tolist(),
        "mine": mine.tolist(),
        "gradient": sum_over_processes(weights).requires_grad,
        "gathered": gather_objects({"rank": rank()}),
        "broadcast": broadcast_object(f"from {rank()}"),
        "last": broadcast_object(f"from {rank()}", source=current_world().size - 1),
        "stop": agree(stop=15 if rank() == 1 else 0),
        "no stop": agree(),
        "seed": seed_for_process(5),
    }


@SIZES
def test_what_processes_exchange(size: int):
    values = values_of(run_processes(size, exchange))
    for place, value in enumerate(values):
        assert value["world"] == World(place, size, place)
        assert value["total"] == [size * (size + 1) // 2, 10 * size]
        assert value["mine"] == [place + 1, 10]
        assert value["gradient"] is False
        assert value["gathered"] == [{"rank": other} for other in range(size)]
        assert value["broadcast"] == "from 0"
        assert value["last"] == f"from {size - 1}"
        assert (value["stop"], value["no stop"]) == (15, 0)
    assert len({value["seed"] for value in values}) == size


def float_sum() -> bytes:
    torch.manual_seed(rank())
    return sum_over_processes(torch.randn(1001)).numpy().tobytes()


def test_sums_of_floats_are_the_same_bits_on_all():
    values = values_of(run_processes(3, float_sum))
    assert len(set(values)) == 1


def differing() -> None:
    require_same("the seed", 5)
    require_same("the number of training frames", 100 + (rank() == 1))


def test_values_that_must_be_the_same_are_compared():
    for outcome in run_processes(3, differing):
        assert outcome.kind == "UserError"
        assert "training frames is 100 on process 0 but 101 on process 1" in outcome.error


# Errors


def agreeing(failing: tuple[int, ...], kind: type[BaseException]) -> tuple[str, str, bool]:
    assert agree() == 0
    error = None
    if rank() in failing:
        try:
            raise kind(f"damaged file {rank()}")
        except BaseException as caught:
            error = caught
    try:
        agree(error, stop=15)
    except BaseException as caught:
        # A run that catches it goes on: nothing is left over from the failure.
        assert agree() == 0
        assert not peer_failed()
        return type(caught).__name__, str(caught), caught is error
    raise AssertionError("no error")


@SIZES
@pytest.mark.parametrize("kind", [UserError, ValueError, KeyboardInterrupt])
def test_an_error_of_one_process_ends_all_with_its_message(size: int, kind):
    values = values_of(run_processes(size, agreeing, (1,), kind))
    prefix = "" if kind is UserError else f"{kind.__name__}: "
    for place, value in enumerate(values):
        if place == 1:
            assert value == (kind.__name__, "damaged file 1", True)
        else:
            expected = f"process 1: {prefix}damaged file 1"
            assert value == ("PeerFailed", expected, False)


def test_of_several_errors_the_others_see_that_of_the_lowest_rank():
    values = values_of(run_processes(3, agreeing, (1, 2), UserError))
    assert [value[1] for value in values] == [
        "process 1: damaged file 1", "damaged file 1", "damaged file 2",
    ]  # fmt: skip


def looping() -> float:
    started = time.monotonic()
    error = None
    try:
        if rank() == 1:
            raise UserError("bad frame")
        while not peer_failed():
            assert time.monotonic() - started < 20
            time.sleep(0.01)
    except UserError as caught:
        error = caught
    try:
        agree(error, patient=True)
    except UserError:
        return time.monotonic() - started
    raise AssertionError("no error")


def test_a_long_loop_without_collectives_learns_of_an_error():
    assert max(values_of(run_processes(3, looping))) < 10


# One after the other


def making(folder: Path, seconds: float) -> list[str]:
    path = folder / "made"
    with first_process_first():
        if not path.exists():
            assert is_first_process()
            time.sleep(seconds)
            path.write_text("whole")
    return [path.read_text(), agree() == 0]


@SIZES
def test_the_first_process_makes_what_the_others_find(tmp_path: Path, size: int):
    # The group's own timeout is shorter than the wait.
    values = values_of(run_processes(size, making, tmp_path, 2.5, timeout_s=1.0))
    assert values == [["whole", True]] * size


def making_fails(folder: Path, failing: int) -> None:
    with first_process_first():
        (folder / f"{rank()}").write_text("began")
        if rank() == failing:
            raise UserError("no space left")
    raise AssertionError("went on")


@pytest.mark.parametrize(("failing", "began"), [(0, ["0"]), (2, ["0", "1", "2"])])
def test_an_error_ends_all_that_of_the_first_before_the_others_begin(
    tmp_path: Path, failing: int, began: list[str]
):
    for place, outcome in enumerate(run_processes(3, making_fails, tmp_path, failing)):
        theirs = ("PeerFailed", f"process {failing}: no space left")
        expected = ("UserError", "no space left") if place == failing else theirs
        assert (outcome.kind, outcome.error) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == began


def dying_while_making(folder: Path) -> None:
    with first_process_first():
        if is_first_process():
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)


def test_who_waits_for_hours_still_notices_a_death(tmp_path: Path):
    outcomes = run_processes(3, dying_while_making, tmp_path)
    assert outcomes[0].code == -signal.SIGKILL
    for outcome in outcomes[1:]:
        assert outcome.kind == "PeerLost"
        assert "process 0 of 3 is gone" in outcome.error
        assert outcome.seconds < 15


def nesting(folder: Path) -> list[str]:
    refused = None
    with first_process_first():
        with first_process_first():
            (folder / f"{rank()}").write_text("")
        try:
            sum_over_processes(torch.ones(1))
        except RuntimeError as error:
            refused = str(error)
        found = sorted(path.name for path in folder.iterdir())
    agree()
    return [refused, *found]


def test_a_block_within_a_block_is_a_part_of_it(tmp_path: Path):
    first, second = values_of(run_processes(2, nesting, tmp_path))
    assert first[1:] == ["0"]
    assert second[1:] == ["0", "1"]
    assert "can exchange nothing" in first[0] == second[0]


# Lost peers


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        return index


def summing(victim: int, what: str, workers: int = 0) -> None:
    loader = DataLoader(Numbers(), batch_size=2, num_workers=workers)
    for step, _ in enumerate(loader):
        sum_over_processes(torch.ones(10))
        if step == 100 and rank() == victim:
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "error":
                raise ValueError("not agreed on")
            if what == "leave":
                return
            time.sleep(4.7)  # past the timeout and the roll call


@SIZES
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_with_one_line(size: int, victim: int):
    outcomes = run_processes(size, summing, victim, "kill", timeout_s=30)
    for place, outcome in enumerate(outcomes):
        if place == victim:
            assert outcome.code == -signal.SIGKILL
        else:
            assert outcome.kind == "PeerLost"
            assert outcome.error.startswith(f"process {victim} of {size} is gone (killed")
            assert outcome.error.endswith("--resume")
            assert outcome.seconds < 20


def test_workers_of_a_killed_process_do_not_hide_its_death():
    # They hold copies of its connections, and notice the death of their parent themselves.
    outcomes = run_processes(2, summing, 1, "kill", 2, timeout_s=40)
    assert outcomes[0].kind == "PeerLost"
    assert outcomes[0].seconds < 30


def test_the_error_of_a_process_that_left_alone_is_passed_on():
    outcomes = run_processes(3, summing, 1, "error", timeout_s=30)
    assert outcomes[1].kind == "ValueError"
    for outcome in (outcomes[0], outcomes[2]):
        assert outcome.kind == "PeerLost"
        assert outcome.error == "process 1 of 3 ended: ValueError: not agreed on"


def test_a_process_that_hangs_is_waited_for_no_longer_than_the_timeout():
    outcomes = run_processes(3, summing, 1, "hang", timeout_s=2.0)
    for outcome in (outcomes[0], outcomes[2]):
        assert outcome.kind == "PeerLost"
        assert "process 1 of 3 did not answer within 2 s" in outcome.error
        assert outcome.seconds < 15
    assert outcomes[1].kind == "PeerLost"
    assert "gave up waiting for this process" in outcomes[1].error


def backward() -> None:
    model = torch.nn.Linear(100, 100)
    model = torch.nn.parallel.DistributedDataParallel(model)
    for step in range(200):
        if step == 20 and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        model(torch.ones(5, 100)).sum().backward()


def test_a_loss_of_a_peer_in_the_backward_pass_is_one_too():
    outcomes = run_processes(2, backward, timeout_s=30)
    assert outcomes[0].kind == "PeerLost"
    assert "process 1 of 2 is gone" in outcomes[0].error


def own_mistake() -> None:
    raise RuntimeError("shapes do not match")


def test_other_errors_of_torch_stay_what_they_are():
    assert {outcome.kind for outcome in run_processes(2, own_mistake)} == {"RuntimeError"}


def joining(slow: int) -> tuple[float, float]:
    open_group = torch.distributed.new_group

    def opened(*args, **kwargs):
        group = open_group(*args, **kwargs)
        if rank() == slow:
            time.sleep(0.5)
        return group

    torch.distributed.new_group = opened
    begin = time.monotonic()
    with process_group(CPU):
        return begin, time.monotonic()


def test_nobody_goes_on_before_all_have_joined():
    begun, entered = zip(*values_of(run_processes(2, joining, 1, join=False)), strict=True)
    assert min(entered) >= begun[1] + 0.5


def rejoining() -> list[list[int]]:
    found = []
    for round_ in range(2):
        with process_group(CPU, 20.0):
            found.append(gather_objects(round_))
    with process_group(CPU, 20.0), pytest.raises(RuntimeError, match="joined the others already"):
        process_group(CPU).__enter__()
    return found


def test_processes_can_part_and_meet_again():
    assert values_of(run_processes(2, rejoining, join=False)) == [[[0, 0], [1, 1]]] * 2


def leaving_at_once() -> str:
    for _ in range(8):
        with process_group(CPU, 20.0):
            try:
                agree(UserError("first step") if rank() == 1 else None)
            except UserError as error:
                line = str(error)
    return line


def test_who_agreed_may_leave_at_once():
    values = values_of(run_processes(3, leaving_at_once, join=False))
    assert values == ["process 1: first step", "first step", "process 1: first step"]


# As a command


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads of another process")
def test_what_is_forked_begins_with_all_loaded_by_a_single_thread():
    """Else each process of a test loads it: half a second, some hundred times."""
    code = """
import os, sys
print({"torch._dynamo", "train.methods.topkd.method"} <= set(sys.modules))
print(len(os.listdir(f"/proc/{os.getppid()}/task")))
"""
    assert run_code(code).stdout == "True\n1\n"


def test_under_torchrun_a_killed_process_ends_the_command(tmp_path: Path):
    script = tmp_path / "command.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys
        import torch
        from train.core.console import logger, show_error
        from train.core.distributed import process_device, process_group, sum_over_processes
        from train.core.errors import UserError
        # As a run does, which finishes its step: torchrun ends the others with this signal.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            with process_group(process_device("cpu"), 30.0) as world:
                logger.info(f"{world.size} processes")
                for step in range(100_000):
                    sum_over_processes(torch.ones(3))
                    if step == 50 and world.rank == 1:
                        os.kill(os.getpid(), signal.SIGKILL)
        except UserError as error:
            show_error(error)
            sys.exit(2)
        """)
    )
    root = Path(distributed.__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            str(script),
        ],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("2 processes\n") == 1
    assert done.stderr.count("error: process 1 of 2 is gone") == 1
