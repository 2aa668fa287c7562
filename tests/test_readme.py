"""The README's example prints what the README says, and its commands name things that exist."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.pages import KNOWN, blocks, check_flags, commands, compare_examples, links

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_example_prints_what_the_readme_shows():
    compare_examples(README)


def test_the_example_is_eight_lines_of_the_front_door():
    (code,) = blocks(TEXT, "python")
    assert len(code.splitlines()) == 8
    assert "from topodistill import" in code


def test_each_job_is_one_line_that_sets_itself_up():
    lines = [block.strip() for block in blocks(TEXT, "bash")]
    setup = "python3.11 -m venv .venv && .venv/bin/pip install -c constraints.txt -e "
    jobs = [line for line in lines if line.startswith(setup)]
    assert len(jobs) == 2
    assert all("\n" not in job for job in jobs)
    assert "'.[train]'" in jobs[0]
    assert "--simulate" in jobs[0]
    assert jobs[1].endswith("'.[test]' && .venv/bin/pytest tests/ -n 3 --dist loadfile")


def test_the_table_comes_first_then_setting_up_then_the_guides():
    parts = ["# topodistill", "<!-- benchmark:begin -->", "## Train", "## Test", "## A guide"]
    places = [TEXT.index(f"\n{part}") if part != parts[0] else 0 for part in parts]
    assert places == sorted(places)
    for guide in ("distill.md", "rips_layer.md", "check_the_mathematics.md"):
        assert f"docs/guides/{guide}" in links(TEXT)


@pytest.mark.parametrize(("command", "arguments"), commands(TEXT))
def test_a_command_names_a_command_and_flags_that_exist(command, arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # help is not to break a flag
    assert command in KNOWN
    check_flags(command, arguments, capsys)


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", [*links(TEXT), *links(CONTRIBUTING)])
def test_a_link_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]


def test_images_install_what_there_is_and_copy_every_package():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for extras in re.findall(r"'/src\[([\w,]+)\]'", text):
        assert set(extras.split(",")) <= build["project"]["optional-dependencies"].keys()
    for package in build["tool"]["setuptools"]["packages"]["find"]["include"]:
        name = package.removesuffix("*")
        assert text.count(f"COPY {name} /src/{name}\n") == 2
