"""What does not fit several processes: one line from the first, exit code 2 on all, no file."""

import shutil

import pytest

from tests.train.distributed.small_run import (
    PER_POINT,
    WITHOUT_TEACHER,
    below,
    commands,
    flags,
    scores_of,
)
from train.engine.run_folder import RunFolder


def refused(ended, output, *, written=()):
    """Return the one line that processes said before they ended with 2."""
    assert [each.code for each in ended] == [2] * len(ended)
    (line,) = ended[0].errors
    for each in ended:
        assert "Traceback" not in each.said
        assert below(output, each.written) == set(written)
    assert not any(each.said for each in ended[1:])
    return line


def assert_refused(words, ended, output):
    line = refused(ended, output)
    assert not output.exists()
    for word in words:
        assert word in line, (word, line)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ("--data.batch-size", "2"),
            ("batch_size 2: fewer samples", "the 3 processes", "raise --data.batch-size to"),
        ),
        (
            ("--data.batch-size", "8", "--data.train-sequences", "08"),
            ("num_samples 2: fewer training samples", "start at most 2 processes"),
        ),
    ],
)
def test_more_processes_than_frames_in_a_step(frames, tmp_path, more, words):
    output = tmp_path / "run"
    ended = commands(3, tmp_path / "ended", [*PER_POINT, *flags(frames, output, *more)])
    assert_refused(words, ended, output)


def test_evaluation_takes_any_number_of_processes(frames, tmp_path):
    output = tmp_path / "run"
    arguments = [*WITHOUT_TEACHER, *flags(frames, output)]
    (alone,) = commands(1, tmp_path / "alone", arguments)
    assert alone.code == 0, alone.said
    metrics = scores_of(output)
    assert metrics["student"]["frames"] == 2
    ended = commands(3, tmp_path / "ended", [*arguments, "--resume", "--stage", "evaluate"])
    assert {each.code for each in ended} == {0}, ended[0].said
    assert scores_of(output) == metrics


def test_processes_that_see_different_data(frames, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        shutil.copytree(frames, folder / "data")
    for kind, suffix in (("velodyne", "bin"), ("labels", "label")):
        (folders[1] / "data" / "sequences" / "00" / kind / f"000003.{suffix}").unlink()
    output = tmp_path / "run"
    arguments = [*PER_POINT, *flags("data", output)]
    ended = commands(2, tmp_path / "ended", arguments, folders=folders)
    words = ("the list of training frames", "(4, ", "on process 0 but (3, ", "on process 1")
    assert_refused(words, ended, output)

    shutil.rmtree(folders[1] / "data")
    ended = commands(2, tmp_path / "again", arguments, folders=folders)
    assert_refused(("process 1: ", "data"), ended, output)


def test_one_gpu_for_all_processes(frames, tmp_path):
    output = tmp_path / "run"
    arguments = [*PER_POINT, *flags(frames, output, "--device", "cuda:1")]
    ended = commands(2, tmp_path / "ended", arguments, gpus=2)
    assert_refused(("--device cuda:1: under torchrun each process takes the GPU",), ended, output)
    ended = commands(2, tmp_path / "again", arguments)
    assert_refused(("--device cuda:1 is not there",), ended, output)


def test_more_processes_than_gpus(frames, tmp_path):
    output = tmp_path / "run"
    arguments = [*PER_POINT, *flags(frames, output, "--device", "cuda")]
    ended = commands(2, tmp_path / "ended", arguments, gpus=1)
    assert_refused(("2 processes on this machine, but torch sees 1 GPUs",), ended, output)


def test_processes_started_with_different_flags(frames, tmp_path):
    output = tmp_path / "run"
    arguments = [*PER_POINT, *flags(frames, output)]
    each_own = [("--optim.lr", "0.001"), ("--optim.lr", "0.002")]
    ended = commands(2, tmp_path / "ended", arguments, each_own=each_own)
    words = ("--optim.lr is 0.001 on process 0 but 0.002 on process 1",)
    assert_refused(words, ended, output)


def test_a_second_run_on_the_same_folder(frames, tmp_path):
    output = tmp_path / "run"
    arguments = [*PER_POINT, *flags(frames, output)]
    with RunFolder(output).hold(resume=False):
        ended = commands(2, tmp_path / "ended", arguments)
        line = refused(ended, output)
    assert "a run is writing there now" in line
