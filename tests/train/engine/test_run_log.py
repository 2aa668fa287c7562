"""What a run writes while it goes."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.processes import run_code
from train.core.errors import UserError
from train.engine.run_log import RunLog, drop_later_steps, read_log, seconds_by_stage


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(records):
    return [(record["stage"], record["step"]) for record in records]


def test_a_step_is_one_line_and_a_tensorboard_event(tmp_path):
    with RunLog(tmp_path) as run_log:
        run_log.step("teacher", 1, {"segmentation": 2.5, "frames": ["00/000000"]})
        run_log.step("student", 1, {"segmentation": 1.5, "diagrams": {"pairs": [3, 4]}})
    assert [(r["stage"], r["step"], r["segmentation"]) for r in lines(tmp_path / "log.jsonl")] == [
        ("teacher", 1, 2.5),
        ("student", 1, 1.5),
    ]
    assert list((tmp_path / "tensorboard" / "teacher").glob("events*"))


def test_a_continued_run_drops_the_steps_that_are_done_again(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog(tmp_path) as run_log:
        for step in (1, 2):
            run_log.step("teacher", step, {})
        for step in (1, 2, 3):
            run_log.step("student", step, {})
    with path.open("a") as cut_short:
        cut_short.write('{"stage": "student", "st')
    drop_later_steps(path, "student", 1)
    assert steps(lines(path)) == [("teacher", 1), ("teacher", 2), ("student", 1)]


def line(stage, step, seconds=1.0):
    return json.dumps({"stage": stage, "step": step, "seconds": seconds}) + "\n"


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize(
    "damage",
    ["{", '{"stage": "teacher", "step": nul', "[]", "3", '{"stage": "teacher"}', "\xff\x00"],
)
def test_a_damaged_line_anywhere_costs_that_line_alone(tmp_path, place, damage, capsys):
    good = [line("teacher", 1), line("teacher", 2), line("student", 1), line("student", 2)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join([*good[:place], damage + "\n", *good[place:]]), encoding="latin-1")
    assert steps(read_log(path)) == [(s, n) for s in ("teacher", "student") for n in (1, 2)]
    said = capsys.readouterr().err
    assert said == f"{path}: 1 damaged line left out (line {place + 1})\n"
    assert seconds_by_stage(read_log(path)) == {"teacher": 2.0, "student": 2.0}
    drop_later_steps(path, "teacher", 1)
    assert path.read_text() == good[0] + good[2] + good[3]
    assert "1 damaged line left out" in capsys.readouterr().err
    assert len(read_log(path)) == 3
    assert capsys.readouterr().err == ""


def test_a_log_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"log.jsonl: no such file"):
        read_log(tmp_path / "log.jsonl")


def test_a_step_after_a_cut_line_is_a_line_of_its_own(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(line("teacher", 1) + '{"stage": "te')
    with RunLog(tmp_path) as run_log:
        run_log.step("student", 1, {})
    assert steps(read_log(path)) == [("teacher", 1), ("student", 1)]


FULL_DISK = """
    import os, resource, signal, sys
    from pathlib import Path
    from train.core.command import run_command
    from train.engine.run_log import RunLog

    def body():
        with RunLog(Path(sys.argv[1])) as run_log:
            for step in range(1, 100_000):
                run_log.step("teacher", step, {"segmentation": 1.0, sys.argv[2]: ["00/000000"]})

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
    sys.exit(run_command(body))
"""


@pytest.mark.parametrize(("field", "file"), [("frames", "log.jsonl"), ("x", "tensorboard/teacher")])
def test_a_full_disk_is_one_line_and_leaves_whole_records(tmp_path, field, file):
    code = FULL_DISK
    if field == "x":  # short lines, so that the event file is full first
        code = code.replace('{"segmentation": 1.0, sys.argv[2]: ["00/000000"]}', '{"s" * 9: 1.0}')
    done = run_code(code, tmp_path, field)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / file}: cannot be written (File too large); the steps up to the last "
        "checkpoint stand; make room there, then give the command again (a training run: with "
        "--resume)\n"
    )
    done = [record["step"] for record in lines(tmp_path / "log.jsonl")]
    assert done == list(range(1, len(done) + 1))
    assert len(done) > 10
    events = scalars(tmp_path / "tensorboard" / "teacher")
    assert len(events) in (len(done), len(done) - 1)


def scalars(folder):
    """Read event files with TensorBoard's own reader: (step, tag, value) of every scalar."""
    found = EventAccumulator(str(folder)).Reload()
    return [
        (event.step, tag, event.value)
        for tag in found.Tags()["scalars"]
        for event in found.Scalars(tag)
    ]


def test_tensorboard_reads_what_was_written_and_forgets_what_is_done_again(tmp_path):
    with RunLog(tmp_path) as run_log:
        for step in (1, 2, 3):
            run_log.step("teacher", step, {"segmentation": 0.5 * step, "frames": ["a"]})
    with RunLog(tmp_path, ("teacher", 1)) as run_log:
        run_log.step("teacher", 2, {"segmentation": 8.0})
    assert scalars(tmp_path / "tensorboard" / "teacher") == [
        (1, "teacher/segmentation", 0.5),
        (2, "teacher/segmentation", 8.0),
    ]


def test_nothing_to_drop_is_no_error(tmp_path):
    drop_later_steps(tmp_path / "log.jsonl", "teacher", 0)
    assert not (tmp_path / "log.jsonl").exists()
