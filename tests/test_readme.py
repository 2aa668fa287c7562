"""The README's example prints what the README says, and its commands name things that exist."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from train.config import RunConfig
from train.run import parse

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_prints_what_the_readme_shows():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks("python")[0], {})
    assert printed.getvalue() == blocks("text")[0]


def test_each_job_is_one_line_that_sets_itself_up():
    lines = [block.strip() for block in blocks("bash")]
    setup = "python3.11 -m venv .venv && .venv/bin/pip install -c constraints.txt -e "
    jobs = [line for line in lines if line.startswith(setup)]
    assert len(jobs) == 2
    assert all("\n" not in job for job in jobs)
    assert jobs[1].endswith("&& .venv/bin/pytest tests/")


def test_the_main_commands_flags_are_accepted():
    commands = re.findall(r"python -m train\.run (.+)", "\n".join(blocks("bash")))
    assert len(commands) == 2
    for command in commands:
        assert isinstance(parse(command.split()), RunConfig)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!https?:)[^)#]+)\)", README))))
def test_a_link_leads_somewhere(target):
    assert (ROOT / target).exists()
