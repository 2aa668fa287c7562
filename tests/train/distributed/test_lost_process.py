"""A process is killed: the others end, and the run goes on, on as many processes or on others."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.distributed.small_run import (
    DISTILLED,
    Accident,
    below,
    commands,
    flags,
    log_of,
    scores_of,
    weights_of,
)

STEPS = [("teacher", 1), ("teacher", 2), *(("student", step) for step in (1, 2, 3, 4))]


@pytest.fixture(scope="module")
def undisturbed(frames, tmp_path_factory):
    """Return the folder of a run on two processes, and how they ended."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = commands(2, folder / "ended", [*DISTILLED, *flags(frames, folder / "run")])
    assert [each.code for each in ended] == [0, 0], ended[0].said
    return folder / "run", ended


def assert_same_run(output, other):
    """Compare all weights and logged numbers to the last bit."""
    for role in ("teacher", "student"):
        found, want = weights_of(output, role), weights_of(other, role)
        assert list(found) == list(want)
        for name, weight in want.items():
            assert found[name].equal(weight), (role, name)
    assert log_of(output) == log_of(other)


def test_only_the_first_process_writes(undisturbed):
    output, (first, second) = undisturbed
    wanted = {"config.json", "log.jsonl", "metrics.json", "teacher.pt", "student.pt"}
    assert wanted <= below(output, first.written)
    assert below(output.parent, second.written) == set()
    assert second.said == ""
    assert json.loads((output / "config.json").read_text())["processes"] == 2
    assert [(record["stage"], record["step"]) for record in log_of(output)] == STEPS
    assert all(len(record["frames"]) == 2 for record in log_of(output)), "of both processes"


@pytest.mark.parametrize(
    "accident",
    [
        pytest.param(Accident("kill", (1,), 3), id="the second, before a step"),
        pytest.param(Accident("kill in backward", (0,), 4), id="the first, in the backward pass"),
    ],
)
def test_a_killed_process_ends_the_other_and_the_run_goes_on(
    frames, tmp_path, undisturbed, accident
):
    output = tmp_path / "run"
    arguments = [*DISTILLED, *flags(frames, output)]
    ended = commands(2, tmp_path / "ended", arguments, accident=accident)
    (killed,) = accident.ranks
    survivor = ended[1 - killed]
    assert (ended[killed].code, survivor.code) == (-signal.SIGKILL, 2)
    assert survivor.seconds_since_accident < 30
    (line,) = survivor.errors
    assert f"process {killed} of 2 is gone (killed, or out of memory)" in line
    assert "--resume" in line
    assert "Traceback" not in survivor.said
    assert not (output / "student.pt").exists()

    ended = commands(2, tmp_path / "again", [*arguments, "--resume"])
    assert [each.code for each in ended] == [0, 0], ended[0].said
    assert_same_run(output, undisturbed[0])
    assert scores_of(output) == scores_of(undisturbed[0])


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(
    frames, tmp_path, undisturbed, before, after
):
    output = tmp_path / "run"
    arguments = [*DISTILLED, *flags(frames, output)]
    accident = Accident("SIGTERM", (before - 1,), 2)
    ended = commands(before, tmp_path / "ended", arguments, accident=accident)
    assert {each.code for each in ended} == {143}
    ended = commands(after, tmp_path / "again", [*arguments, "--resume"])
    assert {each.code for each in ended} == {0}, ended[0].said
    said = ended[0].said
    assert f"changed from step 3 on: processes {before} -> {after}" in said
    began = {1: "1 process began", 2: "2 processes began"}[before]
    assert f"{began} this stage, {'1 goes' if after == 1 else '2 go'} on: drop path" in said
    content = json.loads((output / "config.json").read_text())
    assert content["processes"] == after
    (change,) = content["changes"]
    assert (change["field"], change["before"], change["after"]) == ("processes", before, after)
    records, others = log_of(output), log_of(undisturbed[0])
    assert [(record["stage"], record["step"]) for record in records] == STEPS
    # The same joint batches, which the processes have dealt among them.
    for record, other in zip(records, others, strict=True):
        assert sorted(record["frames"]) == sorted(other["frames"])
    if before == 2:
        assert records[:4] == others[:4], "those before the change"
    assert records[4] != others[4]


def test_more_epochs_of_a_finished_student(frames, tmp_path, undisturbed):
    output = tmp_path / "run"
    shutil.copytree(undisturbed[0], output)
    arguments = [*DISTILLED, *flags(frames, output), "--resume", "--optim.student-epochs", "3"]
    ended = commands(2, tmp_path / "ended", arguments)
    assert {each.code for each in ended} == {0}, ended[0].said
    assert [(record["stage"], record["step"]) for record in log_of(output)] == [
        *STEPS,
        ("student", 5),
        ("student", 6),
    ]


@pytest.mark.thorough
def test_torchrun(frames, tmp_path):
    """The command of the README; a worker is killed from outside, then the run goes on."""
    output = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("-m", "train.run", "--dataset", "semantickitti", "--model", "tiny"),
        *flags(frames, output, "--data.grid-size-m", "0.3", "--data.max-voxels", "1000"),
        *("--data.train-sequences", "00", "--data.validation-sequences", "08"),
        *("--data.batch-size", "2", "--data.num-workers", "1", "--data.repeats", "4"),
        *("--method", "none", "--optim.student-epochs", "1"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[3]

    def start(*more):
        return subprocess.Popen(
            [*command, *more], stderr=subprocess.PIPE, text=True, cwd=root, env=environment
        )

    process = start("--checkpoint-minutes", "0.001")
    log = output / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and log.read_text().count("\n") >= 2:
            break
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1]
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    second = next(w for w in workers if b"RANK=1\0" in Path(f"/proc/{w}/environ").read_bytes())
    os.kill(int(second), signal.SIGKILL)
    killed = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - killed < 45
    assert process.returncode == 1, "torchrun's own, after its own report"
    ours, _, _ = said.partition("torch.distributed.elastic.multiprocessing.errors")
    assert "error: process 1 of 2 is gone" in ours
    done = len(log_of(output))

    process = start("--resume")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert [record["step"] for record in log_of(output)] == list(range(1, 9))
    assert done < 8
    assert json.loads((output / "config.json").read_text())["processes"] == 2
