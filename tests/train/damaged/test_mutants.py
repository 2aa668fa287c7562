"""Mutants of a sound file of each kind are read or refused: one line, 5 s and 1 GB at the most."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.train.damaged.readers import STDERR

MOST_WRONG = 25
"""So many answers are shown."""


@pytest.mark.timeout(3600)  # of the 50,000
def test_mutants_are_read_or_refused_in_one_line(tmp_path: Path):
    thorough = settings().max_examples >= settings.get_profile("thorough").max_examples
    end = 50_000 if thorough else 2_000
    wrong: list[str] = []
    at = 0
    for attempt in itertools.count():
        # In a process of its own, which a reader may abort, and which has a bound on its memory.
        words = ["-m", "tests.train.damaged.readers", tmp_path / str(attempt), at, end]
        found = subprocess.run(
            [sys.executable, *map(str, words)], capture_output=True, text=True, check=False
        )
        lines = found.stdout.splitlines()
        numbers = [index for index, line in enumerate(lines) if line.split(" ")[0].isdecimal()]
        for index, after in itertools.pairwise([*numbers, len(lines)]):
            if after > index + 1:
                wrong.append("\n".join(lines[index:after]))
        if found.returncode == 0:
            break
        assert numbers, found.stderr
        last = lines[numbers[-1]]
        written = (tmp_path / str(attempt) / STDERR).read_text(errors="replace")
        wrong.append(f"{last}: ended with {found.returncode}\n{written[-500:]}")
        at = int(last.split()[0]) + 1
        if len(wrong) >= MOST_WRONG or at >= end:
            break
    assert not wrong, f"{len(wrong)} of {at or end}\n" + "\n".join(wrong[:MOST_WRONG])
