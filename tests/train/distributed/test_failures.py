"""A mistake, a NaN or a signal on one process: one message, the same exit code, no hang."""

import shutil

import numpy as np
import pytest

from tests.train.distributed.small_run import (
    PER_POINT,
    Accident,
    commands,
    flags,
    log_of,
)
from train.engine.training_state import load_state


def run(tmp_path, data, accident=None, *more, size=2):
    """Return the output folder of a run, and how its processes ended."""
    output = tmp_path / "run"
    arguments = [*PER_POINT, *flags(data, output, *more)]
    if size > 2:
        arguments += ["--data.batch-size", "3"]
    return output, commands(size, tmp_path / "ended", arguments, accident=accident)


def assert_one_message(ended, code):
    """Return the one error that all processes wrote, which the first did."""
    assert [each.code for each in ended] == [code] * len(ended)
    said = "\n".join(each.said for each in ended)
    assert "Traceback" not in said
    (line,) = [line for each in ended for line in each.errors]
    assert ended[0].errors == [line]
    return line


@pytest.mark.parametrize("rank", [0, 1])
def test_a_nan_on_one_process(tmp_path, frames, rank):
    output, ended = run(tmp_path, frames, Accident("nan", (rank,)), size=3 if rank else 2)
    line = assert_one_message(ended, 2)
    assert "student training stopped at step 3" in line
    assert "the segmentation part of the loss is nan" in line
    names = {name for record in log_of(output)[:2] for name in record["frames"]}
    assert len(names) == 4
    assert sum(name in line for name in names) == (3 if rank else 2), "of all processes"
    assert "--resume --optim.lr 0.0005" in line
    assert load_state(output / "checkpoint.pt").step == 2
    assert [record["step"] for record in log_of(output)] == [1, 2, 1, 2]


def test_a_bad_frame_that_one_process_meets_during_training(tmp_path, frames):
    output, ended = run(tmp_path, frames, Accident("bad frame", (1,)))
    line = assert_one_message(ended, 2)
    assert "is damaged" in line
    assert "process 1: " in line
    assert load_state(output / "checkpoint.pt").step == 2
    assert log_of(output)[-1]["step"] == 3


def test_a_bad_frame_that_the_first_process_finds_before_the_start(tmp_path, frames):
    data = tmp_path / "data"
    shutil.copytree(frames, data)
    path = data / "sequences" / "00" / "velodyne" / "000002.bin"
    content = np.fromfile(path, dtype="<f4")
    content[5] = np.inf
    content.tofile(path)
    output, ended = run(tmp_path, data)
    assert "000002.bin" in assert_one_message(ended, 2)
    assert not output.exists()


@pytest.mark.parametrize(
    ("signal", "ranks", "code"),
    [("SIGTERM", (1,), 143), ("SIGINT", (0, 1), 130), ("SIGTERM", (0,), 143)],
)
def test_a_signal_ends_all_after_the_same_step(tmp_path, frames, signal, ranks, code):
    output, ended = run(tmp_path, frames, Accident(signal, ranks))
    assert [each.code for each in ended] == [code, code]
    stopped = f"stopped by {signal} after student training, step 3; saved in"
    assert [each.said.count(stopped) for each in ended] == [1, 0]
    assert not any(each.errors or "Traceback" in each.said for each in ended)
    assert load_state(output / "checkpoint.pt").step == 3
    assert [record["step"] for record in log_of(output)] == [1, 2, 1, 2, 3]
    assert not (output / "student.pt").exists()


def test_a_signal_to_one_process_during_evaluation_ends_all(tmp_path, frames):
    output, ended = run(tmp_path, frames, Accident("SIGTERM", (1,), stage="evaluation"))
    assert [each.code for each in ended] == [2, 143]
    (line,) = ended[0].errors
    assert "process 1: " in line
    assert "SIGTERM" in line
    assert not ended[1].errors
    assert (output / "student.pt").exists()
    assert not (output / "metrics.json").exists()
