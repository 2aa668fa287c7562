"""The page lists every table and figure, and it and the README's block say what the records say."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from benchmarks.studies.figures.command import main
from benchmarks.studies.figures.paper_page import GRIDS, Compared, pages, read_ablation
from benchmarks.studies.figures.readme_block import _QUESTIONS, NAME, ablation_block
from tests.pages import KNOWN, check_flags, commands, links
from train.ablation.grids import built_in
from train.core.blocks import with_block
from train.core.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
RESULTS, README = ROOT / "docs" / "results", ROOT / "README.md"
PAGE = (RESULTS / "paper.md").read_text(encoding="utf-8")


def entry(**changed):
    found = {"grid": "table5", "variant": "topology", "baseline": "kd", "metric": "miou"}
    found |= {"difference": 0.25, "low": -0.5, "high": 1.0, "seeds": 5, "verdict": "no effect seen"}
    return found | changed


def page(folder, entries):
    ablation = folder / "ablation.json"
    ablation.write_text(json.dumps(entries))
    return pages(folder, ablation)["paper.md"]


def rows(text, heading):
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line.split(" | ")[0].removeprefix("| ") for line in part.splitlines() if "|" in line][
        2:
    ]


def test_every_table_and_figure_is_listed(tmp_path):
    text = page(tmp_path, [])
    assert rows(text, "Tables") == [str(number) for number in range(1, 12)]
    assert rows(text, "Figures") == [str(number) for number in range(1, 11)]
    assert text.count("Not run: no records of this grid.") == len(GRIDS) == 4
    assert "efficiency.md, which is not there yet" in text


def test_a_comparison_has_its_interval_and_the_papers_number(tmp_path):
    text = page(tmp_path, [entry()])
    row = "| `topology` | `kd` | +0.25 [-0.50, +1.00] | 5 | no effect seen | +0.7 |"
    assert row in text
    assert "1 of 3 comparisons have runs: [Table 5](#table-5)" in text
    assert "Not run: `saliency` against `kd`, `topology-saliency` against `kd`." in text


def test_a_weights_number_is_held_against_the_papers_choice(tmp_path):
    given = entry(grid="table7", variant="t0.5-g0.5-k0.5", baseline="t8-g1-k1", verdict="")
    assert "| `t0.5-g0.5-k0.5` | `t8-g1-k1` | +0.25 [-0.50, +1.00] | 5 |  | -1.2 |" in (
        page(tmp_path, [given])
    )


def test_too_few_runs_are_called_so(tmp_path):
    text = page(tmp_path, [entry(low=None, high=None, seeds=2)])
    assert "| +0.25, too few seeds for an interval | 2 |" in text
    none = page(tmp_path, [entry(difference=None, low=None, high=None, seeds=0)])
    assert none == page(tmp_path, [])


def test_other_metrics_and_grids_are_left_to_the_ablations_page(tmp_path):
    others = [entry(metric="thin_iou"), entry(grid="main")]
    assert page(tmp_path, others) == page(tmp_path, [])


def test_setups_are_kept_apart(tmp_path):
    text = page(tmp_path, [entry(setup="aaa"), entry(setup="bbb", difference=0.75)])
    first, second = text.partition("Setup `aaa`:")[2].split("Setup `bbb`:")
    assert "+0.25" in first
    assert "+0.75" not in first
    assert "+0.75" in second


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("{}", "holds no list of comparisons"),
        ('[{"grid": "table5"}]', "comparison 1 has no variant, baseline, metric"),
        ("[3]", "comparison 1 has no grid"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, said):
    path = tmp_path / "ablation.json"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        read_ablation(path)


def test_a_figures_damaged_numbers_are_refused(tmp_path):
    (tmp_path / "figure9.json").write_text('{"format": 1, "figure": "figure9", "pairs": 3}')
    with pytest.raises(UserError, match=r"figure9.json: is damaged .* --only figure9"):
        page(tmp_path, [])


def test_the_committed_page_is_what_the_records_give():
    assert main(["--check", "--output", str(RESULTS)]) == 0


def test_the_committed_pages_links_lead_somewhere():
    assert [link for link in links(PAGE) if not (RESULTS / link).is_file()] == []
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    places = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= places


@pytest.mark.parametrize(("command", "arguments"), commands(PAGE))
def test_the_committed_pages_commands_exist(command, arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert command in KNOWN
    if command != "ablate":  # its further flags are those of run
        check_flags(command, arguments, capsys)


# The README's block has the main comparison's intervals, and nothing else.

EDGES = Compared("main", "edges", "kd", 0.81, 0.4, 1.21, 5, "better", "441866318b47")


def test_a_question_with_an_interval_has_a_row():
    short = dataclasses.replace(EDGES, variant="pwcd", low=None, high=None)
    block = ablation_block([EDGES, dataclasses.replace(EDGES, variant="placebo"), short])
    rows = [line for line in block.splitlines() if "softened" in line]
    assert rows == [
        "| softened logits and distances at critical edges | softened logits "
        "| +0.81 [+0.40, +1.21] | 5 | better |"
    ]


def test_every_question_is_one_that_its_grids_ask():
    for question in _QUESTIONS:
        for grid in question.grids:
            asked = {c.pair for c in built_in()[grid].comparisons if c.primary}
            assert (question.variant, question.baseline) in asked


def test_the_positive_control_is_a_sentence_and_its_rows_come_first():
    exploratory = dataclasses.replace(EDGES, grid="exploratory")
    kd = Compared("control", "kd", "ce", 2.0, 1.0, 3.0, 5, "better", "")
    few = dataclasses.replace(kd, grid="labels", variant="kd-5", baseline="ce-5")
    least = dataclasses.replace(few, variant="kd-1", baseline="ce-1", difference=2.5)
    assert not ablation_block([exploratory, kd]).startswith("Against")
    none = dataclasses.replace(kd, variant="kd-none", difference=1.5, verdict="suggestive")
    again = dataclasses.replace(kd, grid="labels", difference=9.0)
    lines = ablation_block([exploratory, none, again, few, least, kd]).splitlines()
    assert "logits **+2.00 [+1.00, +3.00] mIoU** (5 seeds: better) and **+9.00 [" in lines[0]
    assert "label **+1.50 [+1.00, +3.00] mIoU** (5 seeds: suggestive), over" in lines[0]
    assert "in a hundred: **+2.50 [+1.00, +3.00] mIoU** (5 seeds: better) over" in lines[0]
    rows = [line for line in lines if " | 5 | " in line]
    assert [row.split(" |")[0] for row in rows] == [
        "| all labels and softened logits",
        "| all labels and softened logits",
        "| labels on 5 % of the frames, softened logits on all",
        "| labels on 1 % of the frames, softened logits on all",
        "| softened logits, no label",
        "| softened logits and distances at critical edges",
    ]
    assert [row.endswith("\u2020 |") for row in rows] == [False] * 5 + [True]


def test_other_grids_and_no_runs():
    assert ablation_block([dataclasses.replace(EDGES, grid="table5")]).startswith("No comparison")


def test_the_command_writes_and_checks_it(tmp_path, capsys):
    readme = tmp_path / "README.md"
    options = ["--output", str(tmp_path / "results"), "--readme", str(readme)]
    assert main(["--only", "paper", *options]) == 2
    assert "no such file" in capsys.readouterr().err
    readme.write_text("# title\n")
    assert main(["--only", "paper", *options]) == 2
    assert "needs one <!-- ablation:begin -->" in capsys.readouterr().err
    readme.write_text("# title\n<!-- ablation:begin -->\n<!-- ablation:end -->\n")
    assert main(["--only", "paper", *options]) == 0
    written = readme.read_text()
    assert "No comparison has runs yet" in written
    assert main(["--check", *options]) == 0
    readme.write_text(with_block(written, "better", "ablation"))
    assert main(["--check", *options]) == 1
    assert "disagrees with the records between its markers" in capsys.readouterr().err


def test_the_committed_readme_has_what_the_records_give():
    text = README.read_text()
    block = ablation_block(read_ablation(RESULTS / "ablation.json"))
    assert with_block(text, block, NAME) == text
