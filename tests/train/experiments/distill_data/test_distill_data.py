"""The experiment on simulated objects, small: records that add up, and the page made from them."""

import dataclasses
import json

import pytest

from train.core.errors import UserError
from train.dataset_distillation import evaluate, make
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.simulated.objects import SimulatedSet
from train.experiments.distill_data.command import PAGE_NAME, RECORDS_NAME, main, run
from train.experiments.distill_data.experiment import Plan, Run, Settings
from train.experiments.distill_data.page import comparisons, markdown
from train.experiments.records import read_folders

SETTINGS = Settings(
    data=SimulatedSet(train_per_class=3, test_per_class=2, num_points=24),
    distill_points=12,
    iterations=1,
    real_batch=2,
    epochs=2,
    full_epochs=1,
)
PLAN = Plan(
    settings=("aligned",),
    clouds_per_class=(1,),
    methods=("dd3d", "random", "k-center"),
    distillations=1,
    evaluations=3,
)


@pytest.fixture(scope="module")
def small_networks():
    patch = pytest.MonkeyPatch()
    patch.setattr(
        evaluate, "build_network", lambda name, classes: PointNet(classes, widths=(4, 8, 16))
    )
    patch.setattr(make, "_FEATURE_EPOCHS", 1)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def done(tmp_path_factory, small_networks):
    folder = tmp_path_factory.mktemp("page")
    run(folder, folder / "work", PLAN, settings=SETTINGS)
    return folder


def test_every_run_of_the_plan_has_a_record(done):
    found = read_folders([done / RECORDS_NAME]).runs
    assert len(found) == 3 * 3 + 3
    assert {run_.grid for run_ in found} == {"aligned-1-pointnet", "aligned-full-pointnet"}
    record = next(each for each in found if each.arm == "dd3d")
    assert set(record.scores) == {"accuracy", "best_accuracy"}
    assert record.scores["best_accuracy"] >= record.scores["accuracy"]
    right = sum(group["right"] for group in record.streets.values())
    assert right / 24 == record.scores["accuracy"]
    assert record.stats["numbers_stored"] > 0


def test_runs_that_are_there_are_not_done_again(done, small_networks, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in (done / RECORDS_NAME).iterdir()}
    run(done, done / "work", PLAN, settings=SETTINGS)
    assert before == {path: path.stat().st_mtime_ns for path in (done / RECORDS_NAME).iterdir()}


def test_a_record_that_is_lost_is_made_again_the_same(done, small_networks):
    lost = next((done / RECORDS_NAME).glob("*--dd3d--seed-1--*.json"))
    before = json.loads(lost.read_text())
    lost.unlink()
    run(done, done / "work", PLAN, settings=SETTINGS)
    after = json.loads(lost.read_text())
    assert after["scores"] == before["scores"]
    assert after["streets"] == before["streets"]


def test_the_page_says_what_was_found(done):
    page = (done / PAGE_NAME).read_text()
    records = read_folders([done / RECORDS_NAME])
    assert page == markdown(records)
    for word in ("`dd3d`", "`random`", "`full`", "53.82", "best test epoch", "95% interval"):
        assert word in page
    assert "aligned-1-pointnet, against `random`: **" in page
    names = {(grid, r.comparison.baseline) for grid, r in comparisons(records.runs)}
    assert names == {("aligned-1-pointnet", "random"), ("aligned-1-pointnet", "k-center")}


def test_a_difference_above_zero_is_said_to_be_one(done):
    """And one that is not, is not: the verdict follows the interval."""
    records = read_folders([done / RECORDS_NAME])

    def shown(ours):
        runs = tuple(
            dataclasses.replace(each, scores={"accuracy": score / 10, "best_accuracy": score / 10})
            for each in records.runs
            for score in [(ours if each.arm == "dd3d" else 3) + each.seed * 0.1]
        )
        return markdown(dataclasses.replace(records, runs=runs))

    # Three equal differences get no interval; a little noise in one arm gives one.
    assert "not enough runs to say" in shown(5)
    runs = tuple(
        dataclasses.replace(each, scores={"accuracy": value, "best_accuracy": value})
        for each in records.runs
        for value in [
            (0.6 if each.arm == "dd3d" else 0.3) + 0.01 * (each.seed**2) * (each.arm == "dd3d")
        ]
    )
    assert "**better, with an interval above 0**" in markdown(
        dataclasses.replace(records, runs=runs)
    )


def test_records_of_other_settings_are_refused(done):
    with pytest.raises(UserError, match="assay"):
        run(done, done / "work", PLAN, settings=dataclasses.replace(SETTINGS, epochs=3))


def test_runs_share_their_seeds_across_methods():
    runs = list(dataclasses.replace(PLAN, distillations=2).runs())
    seeds = {
        method: [each.seed for each in runs if each.method == method] for method in PLAN.methods
    }
    assert seeds["dd3d"] == seeds["random"] == [0, 1, 2, 100, 101, 102]
    assert Run("rotated", 10, "dd3d", 0, "pointnet++", 0).grid == "rotated-10-pointnet2"


def test_mistakes_are_one_line(tmp_path, capsys):
    for arguments, words in (
        (["--page-only"], "no records|no folder"),
        (["--cpc", "0"], "--cpc 0"),
        (["--evaluations", "0"], "--evaluations 0"),
    ):
        assert main(["--output", str(tmp_path), "--work", str(tmp_path / "w"), *arguments]) == 2
        shown = capsys.readouterr().err.strip().splitlines()[-1]
        assert shown.startswith("error: ")
        assert any(word in shown for word in words.split("|"))
