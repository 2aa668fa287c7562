"""Start the processes of a run as torchrun does, and collect what each returned or raised.

They are forked from a clean server that has torch loaded: to start one takes milliseconds, and it
holds none of the threads of the process that runs the tests. Also programs of a few lines, forked
from it, from a process that has nothing but torch loaded, or started as a user starts them.
"""

import functools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.compile_once import share_compilation
from train.core.distributed import error_line, process_group

ROOT = Path(__file__).resolve().parents[2]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.train.warm_server"])


@dataclass(frozen=True)
class Outcome:
    """What became of a process.

    `value` is what the function returned; `error` and `trace` say what it raised; `code` is the
    exit code, negative for a signal; `seconds` how long it ran.
    """

    value: Any
    error: str | None
    kind: str | None
    trace: str
    code: int | None
    seconds: float


def run_processes(
    size: int,
    function: Callable[..., Any],
    *arguments: Any,
    timeout_s: float = 60.0,
    limit_s: float = 60.0,
    join: bool = True,
) -> list[Outcome]:
    """Call `function(*arguments)` on `size` processes that have joined, and return the outcomes.

    `timeout_s` is the group's; after `limit_s` all are killed and the test fails. The function must
    be importable: at the top of a module. Without `join` it joins the processes itself.
    """
    # Pickled here: torch's own way to send tensors shares memory, which ends with its process.
    sent = pickle.dumps(arguments)
    # The store outlives any process, as the one of torchrun's agent does.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes, receivers = [], []
    for rank in range(size):
        receiver, sender = _context.Pipe(duplex=False)
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        process = _context.Process(
            target=_body,
            args=(sender, environment, function, sent, timeout_s if join else None),
        )
        process.start()
        sender.close()
        processes.append(process)
        receivers.append(receiver)
    outcomes = []
    deadline = time.monotonic() + limit_s
    try:
        for process, receiver in zip(processes, receivers, strict=True):
            assert receiver.poll(max(0.0, deadline - time.monotonic())), "a process hangs"
            try:
                content = pickle.loads(receiver.recv_bytes())
            except EOFError:  # killed
                content = (None, None, None, "", float("nan"))
            process.join(max(0.0, deadline - time.monotonic()))
            assert process.exitcode is not None, "a process hangs at its end"
            value, error, kind, trace, seconds = content
            outcomes.append(Outcome(value, error, kind, trace, process.exitcode, seconds))
    finally:
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
            process.join()
    return outcomes


def run_code(
    code: str, *arguments: object, own_session: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run Python code as a program of its own, in the folder of this project; return how it ended.

    With `own_session` it leads a group of processes, to which signals can be sent.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        words = ["-c", *map(str, arguments)]
        sent = (textwrap.dedent(code), words, said, own_session)
        process = _context.Process(target=_program, args=sent)
        process.start()
        process.join(300.0)
        ended = process.exitcode
        process.kill()
        assert ended is not None, "the program hangs"
        return subprocess.CompletedProcess(words, ended, *(path.read_text() for path in said))


_BARE = """
import json, os, sys, torch
for line in sys.stdin:
    code, sys.argv, said = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    break
"""


@functools.cache
def _bare() -> subprocess.Popen[str]:
    """Return the process that has torch alone; it ends when nobody can write to it any more."""
    words = [sys.executable, "-c", _BARE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(words, text=True, cwd=ROOT, **pipes)


def run_bare(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code as `run_code` does, where no module is loaded but torch and its own."""
    server = _bare()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        words = ["-c", *map(str, arguments)]
        sent = json.dumps((textwrap.dedent(code), words, [*map(str, said)]))
        print(sent, file=server.stdin, flush=True)
        ended = int(server.stdout.readline())
        return subprocess.CompletedProcess(words, ended, *(path.read_text() for path in said))


def start_code(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Begin to run such code; its standard output is read through a pipe."""
    words = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)


def values_of(outcomes: list[Outcome]) -> list[Any]:
    """Return what the processes returned; fail with the trace of the first that raised."""
    for rank, outcome in enumerate(outcomes):
        assert outcome.code == 0, f"process {rank} exited with {outcome.code}"
        assert outcome.error is None, f"process {rank}:\n{outcome.trace}"
    return [outcome.value for outcome in outcomes]


def _program(code: str, words: list[str], said: list[Path], own_session: bool) -> None:
    if own_session:
        os.setsid()
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(ROOT)
    sys.argv = words
    multiprocessing.set_start_method("fork", force=True)
    share_compilation()
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def _body(
    sender: Connection,
    environment: dict[str, str],
    function: Callable[..., Any],
    sent: bytes,
    timeout_s: float | None,
) -> None:
    os.environ.update(environment)
    # Workers that read data are forked, as from a process that torchrun started.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    share_compilation()
    arguments = pickle.loads(sent)
    started = time.monotonic()
    value, error, kind, trace = None, None, None, ""
    try:
        if timeout_s is None:
            value = function(*arguments)
        else:
            with process_group(torch.device("cpu"), timeout_s):
                value = function(*arguments)
    except BaseException as caught:
        error, kind, trace = error_line(caught), type(caught).__name__, traceback.format_exc()
    sender.send_bytes(pickle.dumps((value, error, kind, trace, time.monotonic() - started)))
    sender.close()
