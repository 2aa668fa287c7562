"""The page says what the records say: gains, nulls and gaps alike, and nothing without interval."""

import json
import re
from dataclasses import replace

import pytest

from train.ablation.grids import Grid, Variant
from train.ablation.page import GridPlan, comparison_entries, markdown, sections, write_page
from train.ablation.records import Records
from train.ablation.verdicts import Comparison

EFFECTS = {"ce": 0.0, "kd": 3.0, "same": 3.05, "bad": 1.0}
PLAN = GridPlan(
    "methods",
    Grid(
        "which of four",
        {
            "ce": Variant("none", description="cross-entropy alone"),
            "kd": Variant("kd"),
            "same": Variant("rkd"),
            "bad": Variant("rkd"),
        },
        (
            Comparison("kd", "ce", True),
            Comparison("same", "kd", True),
            Comparison("bad", "kd", True),
            Comparison("bad", "ce"),
        ),
    ),
    tuple(range(6)),
)


def records_of(runs, notes=()):
    return Records(tuple(sorted(runs, key=lambda run: run.key)), tuple(notes))


@pytest.fixture
def written(bootstrap):
    """A function that returns the page of some runs and its entries, without drawing."""

    def write(runs, plans=(PLAN,), notes=(), command=None):
        found = sections(records_of(runs), plans, bootstrap())
        picture = "ablation.png" if runs else None
        text = markdown(found, notes, picture, "ablation.json", command)
        return text, json.loads(json.dumps(comparison_entries(found), allow_nan=False))

    return write


def line_with(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


def test_gains_nulls_and_losses_are_said_alike(experiment, written):
    text, _ = written(experiment(EFFECTS, teacher=9.0, noise=0.05))
    assert "**better**, +" in line_with(text, "- `kd` against `ce`")
    null = line_with(text, "- `same` against `kd`")
    assert "**no effect seen (equivalent within 0.3 points of mIoU)**" in null
    assert "**worse**, -" in line_with(text, "- `bad` against `kd`")


def test_the_json_is_a_list_of_comparisons(experiment, written):
    _, entries = written(experiment(EFFECTS, teacher=9.0))
    assert isinstance(entries, list)
    first = entries[0]
    wanted = {"grid", "variant", "baseline", "metric", "difference", "low", "high", "seeds"}
    assert wanted < set(first)
    names = ("grid", "variant", "baseline", "metric", "seeds")
    assert [first[name] for name in names] == ["methods", "kd", "ce", "miou", 6]
    assert first["low"] < 3 < first["high"]
    assert first["low"] < first["difference"] < first["high"]
    assert (first["primary"], first["verdict"], first["gate"]) == (True, "better", True)
    assert (first["margin"], first["unit"]) == (0.3, "points")
    assert {entry["metric"] for entry in entries} == {"miou", "fragmentation"}
    assert not [e for e in entries if e["metric"] == "fragmentation" and e["primary"]]


def test_the_page_shows_the_numbers_of_the_json(experiment, written):
    text, entries = written(experiment(EFFECTS, teacher=9.0))
    for entry in entries:
        shown = f"{entry['difference']:+.2f} | [{entry['low']:+.2f}, {entry['high']:+.2f}]"
        assert f"| `{entry['variant']}` | `{entry['baseline']}` | 6 | {shown} |" in text


def test_no_difference_stands_without_an_interval(experiment, written):
    runs = [run for run in experiment(EFFECTS, teacher=9.0) if run.seed < 2 or run.variant != "bad"]
    text, entries = written(runs)
    few = [entry for entry in entries if entry["variant"] == "bad"]
    assert {(entry["difference"], entry["low"]) for entry in few} == {(None, None)}
    for line in text.splitlines():
        if re.search(r"[+-]\d+\.\d", line):
            assert re.search(r"[+-]\d+\.\d+[^\[]*\[[+-]\d+\.\d+, [+-]\d+\.\d+\]", line), line
    assert "not enough runs (2 of at least 5 seeds)" in line_with(text, "- `bad` against `kd`:")
    assert "needs 3 more paired seeds" in line_with(text, "- `bad` against `kd` needs")


def test_how_much_there_is_to_learn(experiment, written):
    text, _ = written(experiment(EFFECTS, teacher=9.0))
    line = line_with(text, "- **The teacher above `ce`**")
    assert re.search(r": \+\d+\.\d\d \[\+.*6 seeds of 1 teacher\.$", line)
    text, _ = written(experiment(EFFECTS))
    assert "not known" in line_with(text, "- **The teacher above `ce`**")


def test_the_positive_control_is_tested_first_and_the_others_wait_for_it(experiment, written):
    text, entries = written(experiment(EFFECTS, teacher=9.0))
    assert "passed, +" in line_with(text, "- **Positive control**")
    verdicts = {(e["variant"], e["baseline"]): e for e in entries if e["metric"] == "miou"}
    gate, family = verdicts["kd", "ce"], verdicts["bad", "kd"]
    assert (gate["gate"], gate["p_holm"], gate["verdict"]) == (True, None, "better")
    # Two are behind it, not three: the gate costs the family nothing.
    assert family["p_holm"] == pytest.approx(2 * family["p"])
    shown = text.split("### Comparisons")[1].split("###")[0]
    assert "| first, alone |" in line_with(shown, "| `kd` | `ce`")

    text, entries = written(experiment({**EFFECTS, "kd": 0.0}, teacher=9.0))
    assert "not passed, no effect seen" in line_with(text, "- **Positive control**")
    verdicts = {(e["variant"], e["baseline"]): e["verdict"] for e in entries if e["primary"]}
    assert verdicts["bad", "kd"] == "not judged (the positive control has not passed)"
    assert verdicts["same", "kd"] == verdicts["bad", "kd"]
    # What is secondary claims nothing and is not held back.
    shown = text.split("### Comparisons")[1].split("###")[0]
    assert "| secondary | " in line_with(shown, "| `bad` | `ce`")

    plan = replace(PLAN, grid=replace(PLAN.grid, comparisons=PLAN.grid.comparisons[1:]))
    text, _ = written(experiment(EFFECTS, teacher=9.0), [plan])
    assert "not among the grid's comparisons" in line_with(text, "- **Positive control**")


def test_what_a_verdict_hangs_on_is_named(experiment, make_record, written):
    """One seed, and one of the classes that the teacher knows, carry all of a gain."""
    runs = experiment({"ce": 0.0, "kd": 3.0}, teacher=9.0)
    _, entries = written(runs)
    (kd,) = [e for e in entries if (e["variant"], e["metric"]) == ("kd", "miou")]
    assert kd["hangs_on"] == []
    known = []
    for run in runs:
        score = run.scores["miou"]
        without = 0.3 + run.seed / 1000 if run.variant == "kd" else 0.3 + run.seed / 999
        more = {
            "known_miou": score,
            "known_miou without car": without,
            "known_miou without bus": score,
        }
        known.append(replace(run, scores={**run.scores, **more}))
    text, entries = written(known)
    (kd,) = [e for e in entries if (e["variant"], e["metric"]) == ("kd", "known_miou")]
    assert (kd["primary"], kd["hangs_on"]) == (True, ["car"])
    shown = text.split("### Comparisons")[1].split("###")[0]
    assert line_with(shown, "| `kd` | `ce` | 6 | +").endswith("| **better** | car |")
    assert "| over all classes |" in text


def test_a_comparison_has_one_verdict_whichever_grid_asks(experiment, written):
    """Alone in a grid it would be corrected by less."""
    runs = experiment(EFFECTS, teacher=9.0)
    again = [replace(run, grid="again") for run in runs]
    one = replace(PLAN.grid, comparisons=(Comparison("bad", "kd", True),))
    _, entries = written([*runs, *again], [PLAN, replace(PLAN, name="again", grid=one)])
    found = [e for e in entries if (e["variant"], e["metric"]) == ("bad", "miou") and e["primary"]]
    assert [e["grid"] for e in found] == ["methods", "again"]
    assert found[0]["p_holm"] == found[1]["p_holm"] == pytest.approx(2 * found[0]["p"])
    _, entries = written(again, [replace(PLAN, name="again", grid=one)])
    (alone,) = [e for e in entries if e["primary"]]
    assert alone["p_holm"] == pytest.approx(alone["p"])


def test_what_is_missing_is_listed(experiment, written):
    runs = [
        run for run in experiment(EFFECTS) if not (run.variant == "bad" and run.seed in (1, 3, 4))
    ]
    later = replace(PLAN.grid, variants={**PLAN.grid.variants, "later": Variant("rkd")})
    text, _ = written(runs, [replace(PLAN, grid=later)])
    assert "21 of 30 planned runs are there; missing:" in text
    assert "- `bad`: seeds 1, 3-4" in text
    assert "- `later`: seeds 0-5" in text
    assert "| `later` | 0 | – | – |" in text


def test_a_grid_without_runs_says_so(tmp_path, bootstrap):
    output = tmp_path / "new" / "ablation"
    write_page(output, records_of([]), [PLAN], bootstrap())
    text = output.with_suffix(".md").read_text()
    entries = json.loads(output.with_suffix(".json").read_text())
    assert not output.with_suffix(".png").exists()
    assert "No runs yet. 0 of 24 planned runs are there" in text
    assert "ablation.png" not in text
    assert [entry["difference"] for entry in entries] == [None] * 4
    assert {entry["verdict"] for entry in entries} == {"not enough runs (0 of at least 5 seeds)"}


def test_other_metrics_are_called_secondary_and_uncorrected(experiment, written):
    text, _ = written(experiment(EFFECTS))
    other = text.split("### Other metrics")[1]
    assert other.strip().startswith("Secondary: p values are uncorrected")
    assert "**Fragmentation** (less is better)" in other
    assert line_with(other, "| `bad` | `kd` ").endswith("| worse |")  # more fragments


def test_what_was_simulated_or_tiny_is_said_only_where_it_was(experiment, written):
    text, _ = written(experiment(EFFECTS))
    assert "Simulated scenes" in text
    assert "The tiny pair" in text
    recorded = {"dataset": "own", "simulated": False, "pair": "paper"}
    text, _ = written([replace(r, setup_settings=recorded) for r in experiment(EFFECTS)])
    assert "Simulated scenes" not in text
    assert "The tiny pair" not in text
    assert "The paper pair" in text


def test_the_number_of_teachers_limits_what_is_said(experiment, written):
    text, _ = written(experiment(EFFECTS))
    assert "- 1 teacher only: the results are about this teacher" in text
    names = ["a" * 12, "b" * 12, "c" * 12]
    text, _ = written([replace(r, teacher=names[r.seed % 3]) for r in experiment(EFFECTS)])
    assert "- Intervals are over seeds, teachers and scenes" in text
    assert "teachers at large" not in text


def test_cost_and_gradient_shares_are_shown_where_recorded(experiment, written):
    norms = {"start": {"segmentation": 3.0, "topology": 1.0}}
    runs = [
        replace(r, seconds=100.0, gradient_norms=norms) if r.variant == "kd" else r
        for r in experiment(EFFECTS)
    ]
    text, _ = written(runs)
    assert "| `kd` | 6 | 1000 | 2.00 |" in text
    assert "| `kd` | start | 6 | segmentation 3 (75.0%), topology 1 (25.0%) |" in text
    flat = [replace(r, gradient_norms={"topology": 1.0}) for r in runs if r.variant != "bad"]
    text, _ = written(flat)
    assert "| `ce` |  | 6 | topology 1 (100.0%) |" in text
    text, _ = written(experiment(EFFECTS))
    assert "Gradient shares" not in text


def test_runs_that_two_grids_share_are_no_new_evidence(experiment, written):
    runs = experiment(EFFECTS)
    shared = [replace(r, grid="again") for r in runs if r.variant in ("ce", "kd")]
    again = replace(PLAN, name="again")
    text, _ = written([*runs, *shared], [PLAN, again])
    assert f"- {len(shared)} of {len(runs)} runs are also those of grid again: the same" in text
    assert f"- {len(shared)} of {len(shared)} runs are also those of grid {PLAN.name}: the" in text
    assert "are also those of" not in written(runs)[0]


def test_gradient_entropy_is_shown_where_recorded(experiment, written):
    stats = {
        "first": {"total": 9.0, "gradient_entropy_h0": 0.5, "gradient_entropy_h1": 0.25},
        "last": {"total": 1.0, "gradient_entropy_h0": 0.75, "gradient_entropy_h1": 1.0},
    }
    runs = [replace(r, stats=stats) if r.variant == "kd" else r for r in experiment(EFFECTS)]
    text, _ = written(runs)
    assert "| variant | runs | H0, first steps | H1, first steps | H0, last steps | H1," in text
    assert "| `kd` | 6 | 0.50 ± 0.00 | 0.25 ± 0.00 | 0.75 ± 0.00 | 1.00 ± 0.00 |" in text
    text, _ = written(experiment(EFFECTS))
    assert "Gradient entropy" not in text


def test_times_of_two_devices_are_not_mixed(experiment, written):
    runs = [
        replace(r, device="gpu", seconds=1.0) if r.seed == 0 else r for r in experiment(EFFECTS)
    ]
    text, _ = written(runs)
    assert "Median over runs on cpu (20 of 24 runs; times of several devices are not mixed)" in text
    assert "| `kd` | 5 | 500 | 1.00 |" in text
    assert "| device | cpu (20 runs), gpu (4 runs) |" in text


def test_a_gain_within_the_margin_is_called_so(experiment, written):
    text, entries = written(experiment({**EFFECTS, "same": 3.15}, noise=0.02))
    assert "**better, by less than 0.3 points of mIoU**" in line_with(text, "- `same` against `kd`")
    (entry,) = [e for e in entries if (e["variant"], e["metric"]) == ("same", "miou")]
    assert (entry["verdict"], entry["equivalent"]) == ("better", True)


def test_notes_variants_beyond_the_plan_and_the_command_are_shown(experiment, written):
    command = "python -m train.ablate --grid methods"
    runs = experiment({**EFFECTS, "stray": 5.0})
    text, _ = written(runs, notes=["x.json: is there twice"], command=command)
    assert text.rstrip().endswith("- x.json: is there twice")
    assert "| `stray` | 6 |" in text.split("### Variants")[1].split("###")[0]
    assert f"by `{command}`" in text


def test_a_grid_of_ones_own_says_its_title_its_options_and_a_dirty_tree(experiment, written):
    commits = (f"{'a' * 40}+", "b" * 40)
    runs = [replace(run, commit=commits[run.seed == 0]) for run in experiment(EFFECTS)]
    text, _ = written(runs)
    assert "which of four" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| commit")]
    assert "`aaaaaaaaaaaa` with local changes (20 runs), `bbbbbbbbbbbb` (4 runs)" in line
    twice = Variant("/home/me/my_hint.py:Hint", {"hint": 2.0}, "twice", labels="0.1")
    variants = {**PLAN.grid.variants, "same": twice}
    own = replace(PLAN, grid=replace(PLAN.grid, variants=variants, own=True))
    text, _ = written(runs, [own])
    assert "## Grid methods\n\nwhich of four\n" in text
    assert "- `ce`: cross-entropy alone; `--method none`" in text
    assert "- `same`: twice; `--method my_hint`, hint 2.0, labels 0.1" in text


def test_the_same_records_give_the_same_files(tmp_path, experiment, bootstrap):
    runs = experiment(EFFECTS, teacher=9.0)
    for name in ("one", "two"):
        write_page(tmp_path / name / "ablation", records_of(runs), [PLAN], bootstrap())
    for end in (".md", ".json", ".png"):
        first, second = ((tmp_path / n / f"ablation{end}").read_bytes() for n in ("one", "two"))
        assert first == second
    assert first.startswith(b"\x89PNG")
    page = (tmp_path / "one" / "ablation.md").read_text()
    assert "![differences and intervals](ablation.png)" in page
