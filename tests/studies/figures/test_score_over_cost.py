"""Figure 1's scores are those of the records, its costs those of the networks."""

import json

import pytest

from benchmarks.studies.figures.score_over_cost import make, read_costs, summary
from tests.studies.figures.ablation_records import write_runs
from train.core.errors import UserError
from train.networks.ptv3 import build_segmentor

SCORES = {"teacher": [0.5], "ce": [0.30, 0.32], "kd": [0.35, 0.33], "paper": [0.34]}


def write_efficiency(path, **seconds):
    models = {
        size: {
            "sizes": [{"seconds": {"total": {"p50_s": 9.0}}}, {"seconds": {"total": {"p50_s": s}}}]
        }
        for size, s in seconds.items()
    }
    path.write_text(json.dumps({"models": models}))
    return path


def test_scores_and_parameters(tmp_path):
    numbers = make(
        [write_runs(tmp_path / "records.jsonl.gz", SCORES)], [tmp_path / "nowhere.json"]
    ).numbers
    assert numbers["miou"] == {
        "teacher": [50.0],
        "ce": [30.0, 32.0],
        "kd": [35.0, 33.0],
        "paper": [34.0],
    }
    for role in ("teacher", "student"):
        network = build_segmentor(f"tiny-{role}", 22)
        count = sum(parameter.numel() for parameter in network.parameters())
        assert numbers["networks"][role]["parameters"] == count
        assert numbers["networks"][role]["seconds_a_frame"] is None
    said = summary(numbers)
    assert "6 runs of 4 variants on simulated waymo" in said
    assert "--models tiny-student,tiny-teacher`" in said


def test_times_are_those_of_the_largest_size(tmp_path):
    records = write_runs(tmp_path / "records.jsonl.gz", SCORES)
    efficiency = write_efficiency(
        tmp_path / "e.json", **{"tiny-teacher": 0.4, "tiny-student": 0.1, "student": 2.0}
    )
    assert read_costs(efficiency)["student"] == 2.0
    drawn = make([records], [tmp_path / "nowhere.json", efficiency])
    assert drawn.numbers["networks"]["student"]["seconds_a_frame"] == 0.1
    assert len(drawn.picture.axes) == 2
    assert "400 ms per frame" in summary(drawn.numbers)


def test_runs_of_other_grids_do_not_count(tmp_path):
    records = write_runs(tmp_path / "records.jsonl.gz", {"kd": [0.3]}, grid="table5")
    with pytest.raises(UserError, match=r"no runs of grid main in .*records.jsonl.gz; make some"):
        make([records], [tmp_path / "nowhere.json"])


def test_a_file_that_is_no_record_of_costs_is_refused(tmp_path):
    path = tmp_path / "e.json"
    for content in ("{", "{}", '{"models": {"student": {"sizes": []}}}'):
        path.write_text(content)
        with pytest.raises(UserError, match=r"e.json: is no record of train.efficiency"):
            read_costs(path)
