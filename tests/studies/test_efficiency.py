"""The page of what the networks cost says what its record says, and compares like with like."""

import copy
import json
from pathlib import Path

import pytest

from benchmarks.studies.efficiency.command import main
from benchmarks.studies.efficiency.page import markdown, official_lines
from benchmarks.studies.efficiency.plot import costs

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAIR = ("teacher", "student")


@pytest.fixture
def record():
    return json.loads((RESULTS / "efficiency.json").read_text(encoding="utf-8"))


def test_the_committed_page_is_that_of_the_record(record, tmp_path, capsys):
    (tmp_path / "efficiency.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["--output", str(tmp_path)]) == 0
    page = (tmp_path / "efficiency.md").read_bytes()
    assert page == (RESULTS / "efficiency.md").read_bytes()
    assert (tmp_path / "efficiency.png").read_bytes().startswith(b"\x89PNG")
    assert "efficiency.png" in capsys.readouterr().err


def test_the_page_shows_the_records_numbers(record):
    page = markdown(record, "efficiency.png")
    for name in PAIR:
        assert f"{record['models'][name]['parameters']:,}" in page
    for what in ("network", "hierarchy"):
        clocks = [record["models"][name]["sizes"][-1]["seconds"][what] for name in PAIR]
        assert f"| {what}, s | " + " | ".join(f"{clock['p50_s']:.4g}" for clock in clocks) in page


def test_the_papers_ratios_stand_beside_the_papers_networks_alone(record):
    assert "the paper's |" in markdown(record, "x.png")
    names = ("tiny-teacher", "tiny-student")
    renamed = dict(zip(names, record["models"].values(), strict=True))
    assert "the paper's |" not in markdown(record | {"models": renamed}, "x.png")


def test_one_network_without_memory_has_a_page(record):
    model = copy.deepcopy(record["models"]["student"])
    for size in model["sizes"]:
        size["memory"]["peak_bytes"] = None
    page = markdown(record | {"models": {"litept:tiny": model}}, "x.png")
    assert "| peak memory, GB | - |" in page
    assert f"| litept:tiny | {model['sizes'][0]['geometry']['voxels'][0]:,} |" in page
    assert "\n| teacher |" not in page


def like_the_stated(record, **changes):
    """A record of both networks as if it were of the frame that figures are stated for."""
    models = copy.deepcopy(record["models"])
    for name, seconds in (("teacher", 13.0), ("student", 3.5)):
        whole = models[name]["sizes"][-1]
        whole["seconds"]["total"]["p50_s"] = seconds
        whole["memory"]["peak_bytes"] = 3_000_000_000
        models[name]["spconv_plain"] = {"missing": "no spconv here"}
    source = record["input"] | {"voxels": 91_767}
    like = {"models": models, "input": source, "threads": 2, "on_gpu": False}
    return record | like | {"precision": "float32"} | changes


def test_the_stated_figures_stand_beside_ours_with_a_verdict(record):
    told = like_the_stated(record)
    stated = "stated for the official modules"
    assert official_lines(told) == [
        ["teacher", stated, "27.4", "13", "2.11", "yes", "4.30", "3.00", "yes"],
        ["student", stated, "6.2", "3.5", "1.77", "no", "2.50", "3.00", "no"],
    ]
    page = markdown(told, "x.png")
    assert "91,767 voxels" in page
    assert "teacher: no spconv here" in page


def test_what_was_measured_beside_us_stands_beside_ours(record):
    told = like_the_stated(record)
    measured = {"seconds": {"p50_s": 7.0}, "memory": {"peak_bytes": 6_000_000_000}}
    told["models"]["student"]["spconv_plain"] = measured
    (line,) = (line for line in official_lines(told) if "this run" in line[1])
    assert line[2:] == ["7", "3.5", "2.00", "yes", "6.00", "3.00", "yes"]
    assert f"| {' | '.join(line)} |" in markdown(told, "x.png")


@pytest.mark.parametrize(
    "changes",
    [{"threads": 8}, {"on_gpu": True}, {"precision": "bfloat16"}, {"input": {"voxels": 33_000}}],
)
def test_the_stated_figures_stand_beside_nothing_else(record, changes):
    told = like_the_stated(record)
    told |= {**changes, "input": told["input"] | changes.get("input", {})}
    assert official_lines(told) == []
    assert "stated" not in markdown(told, "x.png")


def test_the_chart_of_all_costs_has_those_that_were_measured(record):
    found = costs(record)
    assert set(found) == set(PAIR)
    for name, of in found.items():
        assert of["parameters"] == record["models"][name]["parameters"]
        assert set(of) == {"time", "memory", "operations", "parameters", "time per batch"}
    blind = copy.deepcopy(record)
    for model in blind["models"].values():
        model["sizes"][-1]["memory"]["peak_bytes"] = None
    assert all("memory" not in of for of in costs(blind).values())


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 1}'])
def test_what_is_no_record_is_refused(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "efficiency.json").write_text(content, encoding="utf-8")
    assert main(["--output", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "make it: python -m train.efficiency" in line
