"""One run on several processes: who this process is, what they exchange, how they end together.

`torchrun` (or whatever sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT) starts the
processes; without it there is one process and every function here is the identity, without any
process group. Ranks count from 0.

What torchrun lacks is here: it kills all when one process fails. Inside `with process_group():` a
peer that dies or hangs raises `PeerLost` from whatever was waiting for it: a function here, DDP, a
batch norm; and processes that `agree` end with the one error of the one that failed. They do so
before each collective that would block if another had failed: once per step after the forward pass,
and after any part that may raise (`with agreed():`).

Flags and objects travel over gloo on the CPU, also where tensors travel over nccl: agreeing does
not wait for a GPU.
"""

import datetime
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from train.core.device import resolve_device
from train.core.errors import UserError

TIMEOUT_S: Final = 600.0
"""How long a collective waits for a process that lives but does not come."""

PATIENCE_S: Final = 7 * 24 * 3600.0
"""How long processes wait where one may index or simulate for hours; a death still ends it."""

_ROLL_CALL_S: Final = 3.0
_HINT: Final = "the run cannot go on without it: start it again with --resume"
_START: Final = "start with torchrun, or unset WORLD_SIZE for one process"
_FAILED: Final = "failed"
_POLL_EVERY_S: Final = 0.5


@dataclass(frozen=True)
class World:
    """A process's place among those of a run.

    Attributes
    ----------
    rank
        From 0; the first process prints and writes.
    size
        Number of processes on all machines.
    local_rank
        From 0 on each machine; which of its GPUs is this process's.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0


class PeerLost(UserError):
    """Another process of the run is gone or does not answer; this one cannot go on."""


class PeerFailed(UserError):
    """Another process of the run failed, and all agreed to end; the message is that process's."""


@dataclass
class _Groups:
    """What `process_group` set up."""

    world: World
    store: Any
    flags: Any
    patient: Any
    timeout_s: float
    polled: float = 0.0


_joined: _Groups | None = None
_taking_turns = False
_times_joined = 0


def current_world() -> World:
    """Return this process's place; rank 0 of 1 where WORLD_SIZE is not set.

    Raises
    ------
    UserError
        If the variables are incomplete or contradict each other.
    """
    if "WORLD_SIZE" not in os.environ:
        return World()
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        text = os.environ.get(name)
        try:
            numbers[name] = int(text or "")
        except ValueError:
            found = "not set" if text is None else f"{text!r}"
            raise UserError(
                f"environment variable {name} is {found}, must be a whole number where WORLD_SIZE "
                f"is set: {_START}"
            ) from None
    rank, size, local_rank = numbers["RANK"], numbers["WORLD_SIZE"], numbers["LOCAL_RANK"]
    if not (0 <= rank < size and 0 <= local_rank <= rank):
        raise UserError(
            f"environment variables RANK={rank}, WORLD_SIZE={size}, LOCAL_RANK={local_rank} "
            f"contradict each other (0 <= LOCAL_RANK <= RANK < WORLD_SIZE): {_START}"
        )
    return World(rank, size, local_rank)


def is_first_process() -> bool:
    """Return whether this process prints and writes; True in doubt, so that errors are shown."""
    try:
        return current_world().rank == 0
    except UserError:
        return True


def process_device(name: str) -> torch.device:
    """Return the device of this process: of several on a machine, each takes one GPU.

    Parameters
    ----------
    name
        What `--device` says: "auto", "cpu", "cuda", or "cuda:N" for a single process.

    Raises
    ------
    UserError
        If the device is not there, names one GPU for several processes, or there are more
        processes than GPUs on this machine.
    """
    world = current_world()
    device = resolve_device(name)
    if world.size == 1 or device.type == "cpu":
        return device
    if device.index is not None:
        raise UserError(
            f"--device {name}: under torchrun each process takes the GPU of its local rank; leave "
            "--device out or give cuda"
        )
    gpus = torch.cuda.device_count()
    processes = max(int(os.environ.get("LOCAL_WORLD_SIZE", "0")), world.local_rank + 1)
    if processes > gpus:
        raise UserError(
            f"--device {name}: {processes} processes on this machine, but torch sees {gpus} GPUs; "
            f"start at most {gpus} processes on it (torchrun --nproc-per-node {gpus}), or give "
            "--device cpu"
        )
    return torch.device("cuda", world.local_rank)


def seed_for_process(seed: int) -> int:
    """Return the seed of what processes must draw differently; of one process the seed itself.

    Network weights need the same seed everywhere; drop path and the shuffling of curves this one.
    """
    world = current_world()
    if world.size == 1:
        return seed
    words = np.random.SeedSequence(seed, spawn_key=(world.rank,)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


@contextmanager
def process_group(device: torch.device, timeout_s: float = TIMEOUT_S) -> Iterator[World]:
    """Join the processes of the run for the length of a `with` block; nothing to do for one.

    Parameters
    ----------
    device
        What `process_device` gave: nccl carries tensors of GPUs, gloo those of CPUs.
    timeout_s
        How long a collective waits for a process that lives but does not come. One that died is
        noticed at once on CPUs; on GPUs at the next flags that are exchanged, or after this time.

    Yields
    ------
    World
        This process's place.

    Raises
    ------
    UserError
        If the processes do not find each other within `timeout_s`.
    PeerLost
        From within the block, if another process leaves it early or does not answer.
    """
    global _joined
    world = current_world()
    if world.size == 1:
        yield world
        return
    if _joined is not None:
        raise RuntimeError("process_group: this process has joined the others already")
    _joined = groups = _join(world, device, timeout_s)
    try:
        with _translated():
            yield world
    except BaseException as error:
        if not isinstance(error, PeerLost):
            _tell(f"ended/{world.rank}", error_line(error))
        if device.type == "cuda":
            # What is still on its way would never arrive, and leaving would wait for it.
            dist.distributed_c10d._abort_process_group()
        raise
    finally:
        _joined = None
        # Connections close when nothing holds the groups any more, and the others notice then.
        groups.flags = groups.patient = None
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(world: World, device: torch.device, timeout_s: float) -> _Groups:
    """Meet the other processes and open the groups."""
    global _times_joined
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise UserError(
                f"environment variable {name} is not set, but WORLD_SIZE is {world.size}: {_START}"
            )
    timeout = datetime.timedelta(seconds=timeout_s)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    try:
        store, rank, size = next(rendezvous("env://", timeout=timeout))
        # Processes that part and meet again must not find the addresses of the first time.
        store = PrefixStore(f"topodistill/{_times_joined}", store)
        _times_joined += 1
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=timeout,
        )
        flags = dist.new_group(backend="gloo", timeout=timeout) if on_gpu else dist.group.WORLD
        patient = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=PATIENCE_S))
        # Who has nothing to do would leave at once, and close what another is still opening.
        dist.barrier(group=flags)
    except RuntimeError as error:  # torch's DistError is one
        if dist.is_initialized():
            dist.destroy_process_group()
        raise UserError(
            f"process {world.rank} of {world.size} could not meet the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} within {timeout_s:g} s "
            f"({error_line(error)}); check that all were started and can reach this address"
        ) from error
    store.set(f"where/{world.rank}", f"{os.getpid()} {socket.gethostname()}")
    return _Groups(world, store, flags, patient, timeout_s)


def _groups() -> _Groups:
    if _joined is None:
        raise RuntimeError(
            f"this is process {current_world().rank} of {current_world().size}, but it has not "
            "joined the others: call inside process_group()"
        )
    if _taking_turns:
        raise RuntimeError(
            "inside first_process_first() the processes are not at the same place: they can "
            "exchange nothing"
        )
    return _joined


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Return the sum of the processes' tensors, the same bits on all of them; no gradient flows.

    Parameters
    ----------
    tensor
        The same shape and dtype on every process; left as it is. One process gets it back itself.

    Raises
    ------
    PeerLost
        If another process is gone or does not answer.
    """
    if current_world().size == 1:
        return tensor
    groups = _groups()
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    with _translated():
        dist.all_reduce(total, group=None if tensor.is_cuda else groups.flags)
    return total


def gather_objects(value: Any) -> list[Any]:
    """Return the processes' values by rank, on all of them; values must be picklable."""
    world = current_world()
    if world.size == 1:
        return [value]
    groups = _groups()
    values: list[Any] = [None] * world.size
    with _translated():
        dist.all_gather_object(values, value, group=groups.flags)
    return values


def broadcast_object(value: Any, source: int = 0) -> Any:
    """Return the value of process `source` on all of them; what the others give is ignored."""
    world = current_world()
    if world.size == 1:
        return value
    groups = _groups()
    box = [value if world.rank == source else None]
    with _translated():
        dist.broadcast_object_list(box, src=source, group=groups.flags)
    return box[0]


def require_same(what: str, value: object) -> None:
    """Refuse, on all processes, to go on with values that differ between them.

    Parameters
    ----------
    what
        What the value is, for the message: "the number of training frames".
    value
        Picklable, with `==` and a short `repr`.

    Raises
    ------
    UserError
        If the processes have different values.
    """
    values = gather_objects(value)
    for rank, other in enumerate(values):
        if other != values[0]:
            raise UserError(
                f"{what} is {values[0]!r} on process 0 but {other!r} on process {rank}; the "
                "processes must see the same data and be given the same flags"
            )


def agree(error: BaseException | None = None, *, stop: int = 0, patient: bool = False) -> int:
    """End all processes if one failed; else return the largest stop request of any.

    Every process calls this at the same points of the run. It costs one sum of two numbers over
    the CPUs; the message is exchanged only after a failure.

    Parameters
    ----------
    error
        What this process failed with, or None.
    stop
        Number of the signal that asks this process to stop, or 0.
    patient
        Wait for hours instead of the group's timeout: for parts whose length differs between the
        processes.

    Returns
    -------
    int
        The largest `stop` of all processes.

    Raises
    ------
    BaseException
        This process's own `error`.
    PeerFailed
        The error of the first process that failed, where it is another.
    PeerLost
        If another process is gone or does not answer.
    """
    world = current_world()
    if world.size == 1:
        if error is not None:
            raise error
        return stop
    groups = _groups()
    group = groups.patient if patient else groups.flags
    if error is not None:
        _tell(_FAILED, str(world.rank))
    flags = torch.tensor([0 if error is None else world.size - world.rank, stop])
    with _translated():
        dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=group)
    worst, signal = flags.tolist()
    if worst == 0:
        return int(signal)
    first = world.size - worst
    line = broadcast_object(None if error is None else error_line(error), source=first)
    if world.rank == first:
        groups.store.delete_key(_FAILED)
    ours = PeerFailed(f"process {first}: {line}") if error is None else error
    raise ours


@contextmanager
def agreed(*, patient: bool = False) -> Iterator[None]:
    """Run a block on all processes, and leave it together: a `UserError` of one ends all.

    Parameters
    ----------
    patient
        As `agree` has it.
    """
    error: UserError | None = None
    try:
        yield
    except UserError as raised:
        error = raised
    agree(error, patient=patient)


def peer_failed() -> bool:
    """Return whether a process waits in `agree` with an error; looks twice a second at most."""
    if current_world().size == 1:
        return False
    groups = _groups()
    now = time.monotonic()
    if now - groups.polled < _POLL_EVERY_S:
        return False
    groups.polled = now
    with _translated():
        return bool(groups.store.check([_FAILED]))


def error_line(error: BaseException) -> str:
    """Return an error as the one line that people read."""
    text = str(error).strip()
    if isinstance(error, UserError):
        return text
    kind = type(error).__name__
    return f"{kind}: {text.splitlines()[0]}" if text else kind


@contextmanager
def first_process_first() -> Iterator[None]:
    """Run a block on the first process, then on all others at once, and leave it together.

    For what is made once and then found: the others wait, hours if need be. An error of any
    process, the first one's before the others begin, ends all of them as `agree` does. The block
    can exchange nothing; another one within it is a part of it.
    """
    global _taking_turns
    if current_world().size == 1 or _taking_turns:
        yield
        return
    first = is_first_process()
    error: BaseException | None = None
    if not first:
        agree(patient=True)
    _taking_turns = True
    try:
        yield
    except BaseException as caught:
        error = caught
    finally:
        _taking_turns = False
    if first:
        agree(error, patient=True)
    agree(error, patient=True)


def on_first_process(work: Callable[[], object]) -> None:
    """Let the first process alone do some work while the others wait, hours if need be."""
    with first_process_first():
        if is_first_process():
            work()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what torch raises when a peer is gone into `PeerLost`."""
    try:
        yield
    except RuntimeError as error:
        # gloo raises plain RuntimeErrors, which name their source file below gloo/.
        lost = isinstance(error, dist.DistError) or "gloo/" in str(error)
        if _joined is None or not lost:
            raise
        raise PeerLost(_who_is_lost(_joined, error)) from error


def _who_is_lost(groups: _Groups, error: RuntimeError) -> str:
    """Call the roll: who answers is not lost, who ended has said why.

    A process that lives may not answer, because it waits for this one: where that can be seen, only
    processes that are gone are named.
    """
    world = groups.world
    silent = others = [rank for rank in range(world.size) if rank != world.rank]
    timed_out = "imed out" in str(error)
    started = time.monotonic()
    gone: list[int] = []
    late: list[int] = []
    try:
        groups.store.set(f"lost/{world.rank}", "1")
        while silent and not gone and time.monotonic() < started + _ROLL_CALL_S:
            for rank in others:
                if groups.store.check([f"ended/{rank}"]):
                    line = groups.store.get(f"ended/{rank}").decode()
                    return f"process {rank} of {world.size} ended: {line}"
            silent = [rank for rank in others if not groups.store.check([f"lost/{rank}"])]
            gone = [rank for rank in silent if not _may_live(groups.store, rank)]
            if timed_out and time.monotonic() > started + _ROLL_CALL_S / 3:
                late = late or silent
            time.sleep(0.05)
    except RuntimeError:
        # The first process keeps the store where torchrun does not.
        gone = silent = [0]
    if not silent and not late:
        return (
            f"process {world.rank} of {world.size}: the connection to the others broke, or they "
            f"gave up waiting for this process after {groups.timeout_s:g} s; {_HINT}"
        )
    named = gone or late or silent
    several, verb = ("es", "are") if len(named) > 1 else ("", "is")
    which = f"process{several} {' and '.join(map(str, named))} of {world.size}"
    if gone:
        return f"{which} {verb} gone (killed, or out of memory); {_HINT}"
    wait = f" within {groups.timeout_s:g} s" if timed_out else ""
    return f"{which} did not answer{wait} (gone, or stuck); {_HINT}"


def _may_live(store: Any, rank: int) -> bool:
    """Return False if a process of this machine is no more; of another machine one cannot tell."""
    pid, host = store.get(f"where/{rank}").decode().split(maxsplit=1)
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


def _tell(key: str, value: str) -> None:
    """Leave word for the other processes."""
    # Where the process that kept the store is gone, the others learn it from their connections.
    with suppress(RuntimeError):
        if _joined is not None:
            _joined.store.set(key, value)
