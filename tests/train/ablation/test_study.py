"""What every study promises: it goes on where it stopped, its file is the same for the same runs,
files add up, variants are paired by seed, and what does not belong together is refused.
"""

import gzip
import json
import multiprocessing
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from train.ablation.records import Outcome, add_records, hash_of, read_file, read_records
from train.ablation.statistics import METRICS, paired_sample
from train.ablation.study import Study, records_for_page
from train.core.errors import UserError

SETTINGS = {"dataset": "waymo", "simulated": True, "pair": "tiny", "lr": 0.002}
TEACHER = "0123456789ab"


class Run(NamedTuple):
    grid: str
    variant: str
    seed: int


RUNS = [Run("main", variant, seed) for seed in range(3) for variant in ("ce", "kd")]


@pytest.fixture
def study(tmp_path):
    """A function that returns a study, which runs it did, and the records its page had."""

    def make(*, settings=SETTINGS, stop_at=None, output=tmp_path, **changes):
        did, shown = [], []

        def run_one(run):
            if len(did) == stop_at:
                raise KeyboardInterrupt
            did.append(run)
            miou = 0.3 + run.seed / 100 + 0.05 * (run.variant == "kd")
            scores = {"miou": miou}
            return {
                run.variant: Outcome(
                    teacher=TEACHER,
                    options={"method": run.variant},
                    scores=scores,
                    scenes={"a": {}},
                )
            }

        values = {
            "settings": settings,
            "runs": RUNS,
            "run_one": run_one,
            "page": shown.append,
            "records": output / "records.jsonl.gz",
            "device": torch.device("cpu"),
        }
        return Study(**{**values, **changes}), did, shown

    return make


def test_a_study_that_is_stopped_goes_on_and_ends_the_same(study, tmp_path):
    whole, _, shown = study(output=tmp_path / "whole")
    assert whole.start() == len(RUNS)
    stopped, did, partly = study(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        stopped.start()
    assert did == RUNS[:3]
    assert len(partly[-1].runs) == 3  # the page is written of what there is
    again, rest, shown_again = study()
    assert again.start() == 3
    assert rest == RUNS[3:]

    def results(records):
        return [(str(run), run.scores, run.options) for run in records.runs]

    assert results(shown_again[-1]) == results(shown[-1])
    third, nothing, _ = study()
    before = again.records.read_bytes()
    assert (third.start(), nothing) == (0, [])
    assert again.records.read_bytes() == before


def test_the_record_says_what_the_run_was(study):
    made, _, _ = study(runs=RUNS[:1])
    made.start()
    (record,) = read_file(made.records)
    assert (str(record), record.setup) == ("main, ce, seed 0", hash_of(SETTINGS))
    assert record.setup_settings == SETTINGS
    assert {"python", "torch"} <= record.versions.keys()
    assert record.device.startswith("cpu")


def test_one_run_can_be_recorded_as_several_variants(study):
    def run_one(run):
        outcome = Outcome(teacher=TEACHER, options={}, scores={"miou": 0.5}, scenes={})
        return {f"{run.variant}-fused": outcome, run.variant: outcome}

    made, _, _ = study(runs=RUNS[:1], run_one=run_one)
    made.start()
    assert [run.variant for run in read_file(made.records)] == ["ce", "ce-fused"]
    assert study(runs=RUNS[:1])[0].start() == 0


def test_other_settings_are_refused_with_what_changed(study):
    study()[0].start()
    other, did, _ = study(settings={**SETTINGS, "lr": 0.01})
    with pytest.raises(UserError, match=r"another configuration \(lr 0.002, now 0.01\)"):
        other.start()
    assert not did
    runs = [Run("table5", "kd", 0)]  # a grid that has no runs yet may have others
    assert study(settings={**SETTINGS, "lr": 0.01}, runs=runs)[0].start() == 1


def test_files_of_an_earlier_version_are_refused(study, tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"main--ce--seed-0--{TEACHER}.json").write_text("{}")
    with pytest.raises(UserError, match="one file per run, as an earlier version wrote them"):
        study()[0].start()
    with pytest.raises(UserError, match="one file per run"):
        read_records([tmp_path / "records"])


def test_a_page_alone_needs_records(tmp_path):
    with pytest.raises(UserError, match="--page-only: no records in"):
        records_for_page(tmp_path / "records.jsonl.gz")


def test_variants_are_paired_by_seed_and_teacher(study):
    made, _, shown = study(runs=[run for run in RUNS if run != ("main", "kd", 1)])
    made.start()
    runs = shown[-1].runs
    sample = paired_sample(
        [run for run in runs if run.variant == "kd"],
        [run for run in runs if run.variant == "ce"],
        next(metric for metric in METRICS if metric.name == "miou"),
    )
    assert sample.seeds == (0, 2)
    assert sample.differences == pytest.approx([5, 5])


# The file.


@pytest.fixture
def file(tmp_path):
    return tmp_path / "records.jsonl.gz"


def test_a_record_comes_back_as_it_was(file, make_record):
    record = make_record(
        gradient_norms={"end": {"topology": 0.1 + 0.2}},
        stats={"steps_kept": [1, 2]},
        scores={"miou": 0.5, "own_other": None},
    )
    add_records(file, [record])
    assert read_file(file) == [record]
    plain = json.loads(gzip.decompress(file.read_bytes()))
    assert (plain["format"], plain["gradient_norms"]) == (1, {"end": {"topology": 0.1 + 0.2}})
    add_records(file, [make_record()])
    assert not {"gradient_norms", "stats"} & json.loads(gzip.decompress(file.read_bytes())).keys()


def test_the_same_runs_give_the_same_bytes_in_any_order(tmp_path, make_record):
    runs = [make_record(variant, seed) for variant in ("kd", "ce") for seed in (10, 9)]
    one, other = tmp_path / "one.jsonl.gz", tmp_path / "other.jsonl.gz"
    add_records(one, runs)
    for run in reversed(runs):
        add_records(other, [run])
    add_records(other, [runs[0]])
    assert one.read_bytes() == other.read_bytes()
    assert [(run.variant, run.seed) for run in read_file(one)] == [
        ("ce", 9), ("ce", 10), ("kd", 9), ("kd", 10),
    ]  # fmt: skip
    assert one.read_bytes()[4:8] == bytes(4)  # no time of writing


def _add(path, record):
    add_records(path, [record])


def test_processes_that_add_at_once_lose_nothing(file, make_record):
    runs = [make_record(seed=seed) for seed in range(6)]
    workers = [
        multiprocessing.get_context("fork").Process(target=_add, args=(file, run)) for run in runs
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [run.seed for run in read_file(file)] == list(range(6))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variant": "a--b"}, "variant is 'a--b'"),
        ({"grid": "../up"}, "grid is '../up'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
        ({"steps": 0}, "steps is 0"),
        ({"teacher": ""}, "teacher is ''"),
        ({"setup": "xyz"}, "setup is 'xyz'"),
        ({"role": "judge"}, "role is 'judge'"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"device": None}, "device is None"),
        ({"options": 3}, "options is 3"),
        ({"scores": {"miou": float("nan")}}, "scores has miou nan"),
        ({"scores": {"miou": "high"}}, "scores has miou 'high'"),
        ({"scenes": {"a": 3}}, "scenes has a 3"),
        ({"gradient_norms": {"end": {"topology": -1.0}}}, "gradient_norms has end"),
        ({"gradient_norms": [1.0]}, r"gradient_norms is \[1.0\]"),
    ],
)
def test_a_wrong_value_is_named(make_record, changes, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make_record(**changes)


@pytest.mark.parametrize("stats", [{"tensor": object()}, {"loss": float("inf")}])
def test_what_json_cannot_say_is_not_written(file, make_record, stats):
    add_records(file, [make_record()])
    before = file.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        add_records(file, [make_record(seed=1, stats=stats)])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "records.jsonl.gz: damaged"),
        (b"plain text", "records.jsonl.gz: damaged"),
        ("cut", "records.jsonl.gz: damaged"),
        (b"\xff\xfe\x00", "records.jsonl.gz: damaged"),
        ('{"format": 1', "line 1: damaged"),
        ("[1]", "line 1: damaged"),
        ('{"format": 1}', "line 1: damaged"),
        ({"format": 2}, "line 1: is of format 2, this version reads 1"),
        ({"format": None}, "line 1: is of format None"),
        ({"luck": 7}, "line 1: damaged .*luck"),
        ({"seed": "three"}, "line 1: damaged .seed is 'three'"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(file, make_record, content, words):
    add_records(file, [make_record()])
    whole = file.read_bytes()
    if isinstance(content, dict):
        content = json.dumps({**json.loads(gzip.decompress(whole)), **content})
    if content == "cut":
        content = whole[: len(whole) // 2]
    else:
        raw = content if isinstance(content, bytes) else content.encode()
        content = raw if raw == b"plain text" else gzip.compress(raw)
    file.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_records([file])
    with pytest.raises(UserError, match=words):
        add_records(file, [make_record(seed=1)])
    assert file.read_bytes() == content


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl\.gz: cannot be read"):
        read_records([tmp_path / "nowhere.jsonl.gz"])


# Files of several machines.


@pytest.fixture
def written(tmp_path):
    """A function that writes a file per machine and reads them all."""

    def write(*machines):
        paths = [tmp_path / f"{number}.jsonl.gz" for number in range(len(machines))]
        for path, runs in zip(paths, machines, strict=True):
            path.unlink(missing_ok=True)
            add_records(path, runs)
        return read_records(paths)

    return write


def test_files_of_several_machines_add_up(written, make_record, tmp_path):
    records = written([make_record(seed=0)], [make_record(seed=1)])
    assert ([run.seed for run in records.runs], records.notes) == ([0, 1], ())
    other = "b" * 12
    assert len(written([make_record()], [make_record(teacher=other)]).runs) == 2
    folder = tmp_path / "folder"
    folder.mkdir()
    add_records(folder / "records.jsonl.gz", [make_record(seed=5)])
    assert [run.seed for run in read_records([folder]).runs] == [5]


def test_the_same_run_of_two_machines_counts_once(written, make_record):
    runs = [
        make_record(device=f"machine {n}", seconds=50.0 + n, utc=f"2026-11-22T1{n}:00:00+00:00")
        for n in range(2)
    ]
    for order in (runs, runs[::-1]):
        records = written(*[[run] for run in order])
        assert [run.device for run in records.runs] == ["machine 0"]  # the first to end
        assert records.notes == ()
    odd = replace(runs[1], scores={**runs[0].scores, "miou": 0.75})
    records = written([odd], [runs[0]])
    assert records.runs == (runs[0],)
    (note,) = records.notes
    assert "methods, ce, seed 0: is there twice with different scores (miou 0.4" in note
    assert "again 0.75); the one that ended first counts" in note


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"setup": "f" * 12, "setup_settings": {"dataset": "waymo", "data": {"scenes": 40}}},
            r"1\.jsonl\.gz: methods, ce, seed 1 is of setup f{12}.*data.scenes 4, there 40",
        ),
        (
            {"options": {"method": "ce", "weight": 2.0}},
            r"1\.jsonl\.gz: methods, ce, seed 1 has other options than methods, ce, seed 0 in "
            r".*weight not there, there 2.0",
        ),
        (
            {"shares": (0.1, 0.2, 0.3, 0.4, 0.5)},
            r"1\.jsonl\.gz: methods, ce, seed 1 was scored on other scenes.*scene-4",
        ),
    ],
    ids=["setup", "options", "scenes"],
)
def test_what_cannot_be_compared_is_refused(written, make_record, changes, words):
    changes = {"seed": 1, "utc": "2026-11-23T10:00:00+00:00", **changes}
    with pytest.raises(UserError, match=words):
        written([make_record()], [make_record(**changes)])


def test_the_hash_does_not_depend_on_the_order_of_names():
    assert hash_of({"a": 1, "b": {"c": 2, "d": 3}}) == hash_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        hash_of({"a": object()})
