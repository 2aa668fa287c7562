"""The committed page about exports is the one that its record gives."""

import json
from pathlib import Path

from benchmarks.studies.exports import page

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def test_the_page_is_that_of_its_record():
    records = json.loads((RESULTS / "export.json").read_text(encoding="utf-8"))
    text = (RESULTS / "export.md").read_text(encoding="utf-8")
    assert page(records) == text
    for record in records:
        assert f"| {record['precision']} |" in text
