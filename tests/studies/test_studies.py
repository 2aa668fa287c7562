"""The table of studies: every name starts its command; what is none is refused in a line."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.studies import exports
from benchmarks.studies.__main__ import STUDIES, main

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
PAGES = {
    "dd3d": "dd3d",
    "dd3d-lidar": "dd3d_lidar",
    "cross-modal": "cross_modal",
    "topkd-digits": "topkd",
}
"""Studies with runs, and the first part of the names of what stands in their folder."""


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_its_options(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks.studies {name}" in capsys.readouterr().out


def test_help_lists_the_studies(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in STUDIES)


@pytest.mark.parametrize(("words", "said"), [([], "no study given"), (["x"], "'x' is no study")])
def test_what_is_no_study_is_refused(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}; choose one of figures, ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(("name", "stem"), PAGES.items())
def test_the_committed_page_is_that_of_the_committed_records(name, stem, tmp_path):
    for path in RESULTS.glob(f"{stem}*"):
        shutil.copy(path, tmp_path)
    page = tmp_path / f"{stem}.md"
    page.unlink()
    assert main([name, "--page-only", "--output", str(tmp_path)]) == 0
    assert page.read_text(encoding="utf-8") == (RESULTS / page.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_records(name, tmp_path, capsys):
    assert main([name, "--page-only", "--output", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no records in" in line


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("dd3d", "--methods dd4d", "--methods dd4d: unknown"),
        ("dd3d", "--networks x", "--networks x: unknown"),
        ("dd3d", "--cpc 0", "--cpc 0: at least 1"),
        ("dd3d", "--evaluations 0", "--evaluations 0: at least 1"),
        ("dd3d", "--points 1", "--points 1: at least 2"),
        ("dd3d", "--timed nowhere.json", "nowhere.json: cannot be read"),
        ("dd3d-lidar", "--frames 0", "--frames 0: at least 1"),
        ("dd3d-lidar", "--frames", "--frames: give one at least"),
        ("dd3d-lidar", "--networks x", "--networks x: unknown"),
        ("dd3d-lidar", "--seeds -1", "--seeds -1: at least 0"),
        ("dd3d-lidar", "--seeds", "--seeds: give one at least"),
        ("cross-modal", "--seeds 0", "--seeds 0: at least 1"),
        ("cross-modal", "--grids labels-1", "--grids labels-1: unknown"),
        ("topkd-digits", "--seeds 0", "--seeds 0: at least 1"),
        ("color-leak", "--scenes 0", "--scenes 0: at least 1"),
        ("color-leak", "--seed -1", "--seed -1: at least 0"),
        ("color-leak", "--dataset kitti-layout", "without camera images"),
        ("color-leak", "--dataset none", "unknown dataset"),
    ],
)
def test_mistakes_are_one_line(name, flags, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([name, *flags.split(), "--output", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not any(tmp_path.iterdir())


def test_the_page_of_exports_is_that_of_its_record():
    records = json.loads((RESULTS / "export.json").read_text(encoding="utf-8"))
    text = (RESULTS / "export.md").read_text(encoding="utf-8")
    assert exports.page(records) == text
    for record in records:
        assert f"| {record['precision']} |" in text
