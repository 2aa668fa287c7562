"""The README says what the main comparison gave, with its intervals, and nothing else."""

import dataclasses
from pathlib import Path

from benchmarks.studies.figures.command import main
from benchmarks.studies.figures.paper_page import Compared, read_ablation
from benchmarks.studies.figures.readme_block import NAME, ablation_block
from train.ablation.grids import built_in
from train.core.blocks import with_block

EDGES = Compared("main", "edges", "kd", 0.81, 0.4, 1.21, 5, "better", "441866318b47")


def test_primary_comparisons_have_a_row_with_their_interval():
    block = ablation_block([EDGES, dataclasses.replace(EDGES, variant="placebo")])
    rows = [line for line in block.splitlines() if "softened" in line]
    assert rows == [
        "| softened logits and distances at critical edges | softened logits "
        "| +0.81 [+0.40, +1.21] | 5 | better |"
    ]


def test_every_primary_comparison_has_words():
    primary = [c for c in built_in()["main"].comparisons if c.primary]
    rows = [Compared("main", c.variant, c.baseline, 1.0, 0.0, 2.0, 5, "", "") for c in primary]
    assert len(ablation_block(rows).splitlines()) == len(primary) + 4


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
    root = Path(__file__).parents[3]
    text = (root / "README.md").read_text()
    block = ablation_block(read_ablation(root / "docs" / "results" / "ablation.json"))
    assert with_block(text, block, NAME) == text
