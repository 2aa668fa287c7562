"""A run is one file; files of several machines add up, and what does not belong is refused."""

import json
from dataclasses import replace

import pytest

from train.ablation.records import hash_of, read_folders, read_record, write_record
from train.core.errors import UserError


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "records"
    made.mkdir()
    return made


def other_assay(make_record, **changes):
    settings = {"dataset": "waymo", "simulated": True, "pair": "tiny", "data": {"streets": 40}}
    return make_record(assay_settings=settings, **changes)


def test_a_record_comes_back_as_it_was(folder, make_record):
    record = make_record(gradient_norms={"end": {"topology": 0.5}}, stats={"steps_kept": [1, 2]})
    path = write_record(folder, record)
    assert path.name == f"methods--ce--seed-0--{record.assay}.json"
    assert read_record(path) == record
    assert json.loads(path.read_text())["format"] == 1


def test_optional_parts_are_left_out_of_the_file(folder, make_record):
    content = json.loads(write_record(folder, make_record()).read_text())
    assert not {"gradient_norms", "stats"} & set(content)


def test_a_score_may_be_unknown(folder, make_record):
    record = make_record(scores={"miou": 0.5, "own_other": None})
    assert read_record(write_record(folder, record)).scores["own_other"] is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arm": "a--b"}, "arm is 'a--b'"),
        ({"grid": "../up"}, "grid is '../up'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
        ({"steps": 0}, "steps is 0"),
        ({"teacher": ""}, "teacher is ''"),
        ({"assay": "xyz"}, "assay is 'xyz'"),
        ({"role": "judge"}, "role is 'judge'"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"scores": {"miou": float("nan")}}, "scores has miou nan"),
        ({"scores": {"miou": "high"}}, "scores has miou 'high'"),
        ({"streets": {"a": 3}}, "streets has a 3"),
        ({"gradient_norms": {"end": {"topology": -1.0}}}, "gradient_norms has end"),
    ],
)
def test_a_wrong_value_is_named(make_record, changes, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make_record(**changes)


def test_what_json_cannot_say_is_not_written(folder, make_record):
    with pytest.raises(ValueError, match="JSON"):
        write_record(folder, make_record(stats={"tensor": object()}))
    with pytest.raises(ValueError, match="JSON"):
        write_record(folder, make_record(stats={"loss": float("inf")}))
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", '{"format": 1', "[1]", '{"format": 1}', b"\xff\xfe\x00"],
    ids=["empty", "cut", "no-record", "no-fields", "no-text"],
)
def test_a_damaged_file_is_named(folder, text):
    path = folder / "methods--ce--seed-0--0123456789ab.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"seed-0--0123456789ab\.json: a damaged record .*remove"):
        read_folders([folder])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("format", 2, "is of format 2, this version reads 1; move it"),
        ("format", None, "is of format None"),
        ("luck", 7, "a damaged record .unknown luck"),
        ("seed", "three", "a damaged record .seed is 'three'"),
        ("seed", 9, "holds the run .*seed-9--.*give the file that name"),
    ],
)
def test_a_changed_file_is_refused(folder, make_record, name, value, words):
    path = write_record(folder, make_record())
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(UserError, match=words):
        read_record(path)


def test_records_of_several_folders_add_up(tmp_path, make_record):
    folders = [tmp_path / name for name in ("laptop", "server")]
    for seed, each in enumerate(folders):
        each.mkdir()
        write_record(each, make_record(seed=seed))
    (folders[0] / "half.json.12-ab.unfinished").write_text("{")
    records = read_folders(folders)
    assert [run.seed for run in records.runs] == [0, 1]
    assert records.notes == ()


def test_the_same_run_of_two_machines_counts_once(tmp_path, make_record):
    folders = [tmp_path / name for name in ("laptop", "server")]
    for number, each in enumerate(folders):
        each.mkdir()
        changes = {"device": f"machine {number}", "seconds": 50.0 + number, "commit": str(number)}
        write_record(each, make_record(utc=f"2026-11-22T1{number}:00:00+00:00", **changes))
    records = read_folders(folders[::-1])
    assert [run.device for run in records.runs] == ["machine 0"]  # the first to end, in any order
    assert records.notes == ()
    assert len(read_folders([folders[0], folders[0]]).runs) == 1


def test_two_machines_that_disagree_are_noted(tmp_path, make_record):
    folders = [tmp_path / name for name in ("laptop", "server")]
    for number, each in enumerate(folders):
        each.mkdir()
        shares = (0.5 + number / 100, 0.5)
        utc = f"2026-11-22T1{number}:00:00+00:00"
        write_record(each, make_record(shares=shares, utc=utc))
    records = read_folders(folders)
    assert [run.scores["miou"] for run in records.runs] == [0.5]
    (note,) = records.notes
    assert "is there twice with different scores, streets (miou: 0.5 counted, 0.505 again" in note


def test_students_of_two_teachers_are_two_runs(tmp_path, make_record):
    folders = [tmp_path / name for name in ("laptop", "server")]
    for each, teacher in zip(folders, ("aaaaaaaaaaaa", "bbbbbbbbbbbb"), strict=True):
        each.mkdir()
        write_record(each, make_record(teacher=teacher))
    assert len(read_folders(folders).runs) == 2


def test_another_assay_is_refused_with_what_differs(folder, make_record):
    write_record(folder, make_record())
    odd = write_record(folder, other_assay(make_record, seed=1, utc="2026-11-23T10:00:00+00:00"))
    with pytest.raises(UserError) as caught:
        read_folders([folder])
    message = str(caught.value)
    assert message.startswith(str(odd))
    assert "data.streets: 4 here, 40 in the file" in message
    assert "move it to a folder of its own, or ask for the assays apart" in message


def test_assays_can_be_kept_apart(folder, make_record):
    write_record(folder, make_record())
    write_record(folder, other_assay(make_record))
    assert len(read_folders([folder], apart=True).sections()) == 2


def test_the_command_says_which_assay_it_expects(folder, make_record):
    path = write_record(folder, other_assay(make_record))
    settings = make_record().assay_settings
    with pytest.raises(UserError, match=r"data.streets: 4 here, 40 in the file") as caught:
        read_folders([folder], expected={"methods": (hash_of(settings), settings)})
    assert str(path) in str(caught.value)
    assert len(read_folders([folder], expected={"table5": ("ffffffffffff", {})}).runs) == 1


def test_an_arm_cannot_mean_two_things(folder, make_record):
    write_record(folder, make_record(options={"method": "kd", "weight": 1.0}))
    write_record(folder, make_record(seed=1, options={"method": "kd", "weight": 2.0}))
    with pytest.raises(UserError, match=r"seed-1.*arm ce has other options.*weight: 1.0 .*2.0"):
        read_folders([folder])


def test_scores_of_other_streets_are_refused(folder, make_record):
    write_record(folder, make_record())
    write_record(folder, make_record(seed=1, shares=(0.1, 0.2, 0.3, 0.4, 0.5)))
    with pytest.raises(UserError, match=r"seed-1.*other streets than .*seed-0.*street-4"):
        read_folders([folder])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no folder of records"):
        read_folders([tmp_path / "nowhere"])
    assert read_folders([tmp_path]).runs == ()


def test_the_hash_does_not_depend_on_the_order_of_names():
    assert hash_of({"a": 1, "b": {"c": 2, "d": 3}}) == hash_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        hash_of({"a": object()})


def test_a_run_is_written_over_its_earlier_record(folder, make_record):
    write_record(folder, make_record())
    again = replace(make_record(), seconds=1.0)
    write_record(folder, again)
    assert read_folders([folder]).runs == (again,)
