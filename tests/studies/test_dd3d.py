"""The experiment on simulated objects, small: records that add up, and the page made from them."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.machine import with_peak
from benchmarks.studies.dd3d import page
from benchmarks.studies.dd3d.command import (
    COMMAND_NAME,
    PAGE_NAME,
    PICTURE_NAME,
    TUNING_NAME,
    Options,
    beside,
    keep_timed,
    run,
)
from benchmarks.studies.dd3d.experiment import Plan, Run, Settings
from benchmarks.studies.dd3d.page import RECORDS_NAME, comparisons, markdown
from tests.studies.conftest import assert_a_lost_run_comes_back
from train.ablation.records import read_records
from train.core.errors import UserError
from train.dataset_distillation import training
from train.dataset_distillation.generator import load_generator
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.objects.simulated import SimulatedSet

SETTINGS = Settings(
    data=SimulatedSet(train_per_class=3, test_per_class=2, num_points=24),
    points=20,
    distill_points=12,
    iterations=1,
    outer=2,
    real_batch=2,
    widths=(4, 8, 16),
    start_steps=3,
    epochs=2,
    test_every=1,
    full_epochs=1,
)
PLAN = Plan(
    settings=("aligned",),
    cpc=(1,),
    methods=("dd3d", "random", "k-center"),
    distillations=1,
    evaluations=3,
)


@pytest.fixture(scope="module")
def small_networks():
    patch = pytest.MonkeyPatch()
    patch.setattr(
        training, "build_network", lambda name, classes: PointNet(classes, widths=(4, 8, 16))
    )
    yield
    patch.undo()


def start(folder, work, plan=PLAN, settings=SETTINGS):
    run(Options(output=folder, work=work, plan=plan, device="cpu"), settings)


@pytest.fixture(scope="module")
def done(tmp_path_factory, small_networks):
    folder = tmp_path_factory.mktemp("page")
    start(folder, folder / "work")
    return folder


def test_every_run_of_the_plan_has_a_record(done):
    found = read_records([done / RECORDS_NAME]).runs
    assert len(found) == 3 * 3 + 3
    grids = {"aligned-1-pointnet-small", "aligned-full-pointnet-small"}
    assert {run_.grid for run_ in found} == grids
    record = next(each for each in found if each.variant == "dd3d")
    assert set(record.scores) == {"accuracy", "best_accuracy"}
    assert record.scores["best_accuracy"] >= record.scores["accuracy"]
    right = sum(group["right"] for group in record.scenes.values())
    assert right / 24 == record.scores["accuracy"]
    assert record.stats["numbers_stored"] == sum(
        p.numel()
        for p in load_generator(done / "work" / "aligned-1-dd3d-0" / "generator.safetensors")[
            0
        ].parameters()
    )
    other = next(each for each in found if each.variant == "random")
    assert other.stats["numbers_stored"] == 12 * 20 * 3  # what networks see of it


def test_a_run_that_is_lost_is_made_again_the_same_and_no_other(done, small_networks):
    file = done / RECORDS_NAME
    assert_a_lost_run_comes_back(file, "dd3d", lambda: start(done, done / "work"))


def test_the_page_says_what_was_found(done):
    page = (done / PAGE_NAME).read_text()
    records = read_records([done / RECORDS_NAME])
    assert page == markdown(records, beside(done))
    words = ("`dd3d`", "`random`", "`full`", "53.82", "best test epoch", "95% interval")
    for word in (*words, "dd3d.png"):
        assert word in page
    assert "aligned, 1 per class, against `random`: **" in page
    names = {(grid, r.comparison.baseline) for grid, r in comparisons(records.runs)}
    grid = "aligned, 1 per class"
    assert names == {(grid, "random"), (grid, "k-center")}


def test_a_difference_above_zero_is_said_to_be_one(done):
    """And one that is not, is not: the verdict follows the interval."""
    records = read_records([done / RECORDS_NAME])

    def shown(ours):
        runs = tuple(
            dataclasses.replace(each, scores={"accuracy": score / 10, "best_accuracy": score / 10})
            for each in records.runs
            for score in [(ours if each.variant == "dd3d" else 3) + each.seed * 0.1]
        )
        return markdown(dataclasses.replace(records, runs=runs))

    # Three equal differences get no interval; a little noise in one variant gives one.
    assert "not enough runs to say" in shown(5)
    runs = tuple(
        dataclasses.replace(each, scores={"accuracy": value, "best_accuracy": value})
        for each in records.runs
        for value in [
            (0.6 if each.variant == "dd3d" else 0.3)
            + 0.01 * (each.seed**2) * (each.variant == "dd3d")
        ]
    )
    assert "**better, with an interval above 0: +" in markdown(
        dataclasses.replace(records, runs=runs)
    )


def test_records_of_other_settings_are_refused(done):
    with pytest.raises(UserError, match=r"another configuration \(epochs 2, now 3\)"):
        start(done, done / "work", settings=dataclasses.replace(SETTINGS, epochs=3))


def test_runs_share_their_seeds_across_methods():
    runs = list(dataclasses.replace(PLAN, distillations=2).runs())
    seeds = {
        method: [each.seed for each in runs if each.variant == method] for method in PLAN.methods
    }
    assert seeds["dd3d"] == seeds["random"] == [0, 1, 2, 100, 101, 102]
    assert Run("rotated", 10, "dd3d", 0, "pointnet++", 0).grid == "rotated-10-pointnet2"


def test_other_resolutions_are_runs_of_their_own(done, small_networks, tmp_path):
    """The small sets are those that are there; clouds of more points are sampled from them."""
    plan = dataclasses.replace(PLAN, evaluations=1, methods=("dd3d", "random"), full=False)
    shutil.copy(done / RECORDS_NAME, tmp_path)
    start(tmp_path, done / "work", dataclasses.replace(plan, points=23))
    found = [run_ for run_ in read_records([tmp_path / RECORDS_NAME]).runs if "-at-" in run_.grid]
    assert {run_.grid for run_ in found} == {"aligned-1-pointnet-small-at-23"}
    stored = {run_.variant: run_.stats["numbers_stored"] for run_ in found}
    assert stored["random"] == 12 * 23 * 3
    page = (tmp_path / PAGE_NAME).read_text()
    assert "pointnet-small, aligned clouds of 23 points." in page
    assert "aligned, 1 per class, 23 points, against `random`" in page


@pytest.fixture
def one_run(done, small_networks, tmp_path):
    """A function: the record of one run that is made elsewhere, of the same objects."""

    def make(method, **changed):
        plan = dataclasses.replace(PLAN, evaluations=1, methods=(method,), full=False, **changed)
        shutil.copytree(done / "work" / "objects", tmp_path / "work" / "objects")
        start(tmp_path, tmp_path / "work", plan)
        (found,) = read_records([tmp_path / RECORDS_NAME]).runs
        return found

    return make


def test_clouds_that_were_learned_at_other_points_are_runs_of_their_own(one_run, tmp_path):
    found = one_run("dd3d", points=23, distill_points=19)
    assert found.grid == "aligned-1-pointnet-small-at-23-from-19"
    (made,) = (tmp_path / "work").glob("aligned-1-dd3d-0-from-19/distill.json")
    assert json.loads(made.read_text())["made_from"]["options"]["points"] == 19
    page = (tmp_path / PAGE_NAME).read_text()
    assert "pointnet-small, aligned clouds of 23 points, learned at 19." in page


def test_redrawn_clouds_keep_all_their_points(one_run, tmp_path):
    """They are those that the generator starts from, and no generator."""
    found = one_run("redrawn")
    assert (found.variant, found.stats["numbers_stored"]) == ("redrawn", 12 * 3 * 24)
    assert not list((tmp_path / "work").glob("aligned-1-redrawn-0/*.safetensors"))


def difference(grid, baseline, low, high):
    estimate = SimpleNamespace(low=low, high=high, difference=0.0)
    comparison = SimpleNamespace(baseline=baseline)
    return grid, SimpleNamespace(comparison=comparison, metric=page.LAST, estimate=estimate)


def test_the_page_tells_where_matching_adds_to_the_start(monkeypatch):
    aligned, rotated, many = (
        f"{name} per class" for name in ("aligned, 1", "rotated, 1", "aligned, 10")
    )
    found = [
        difference(aligned, "start-alone", 0.1, 2.0),
        difference(rotated, "start-alone", -2.0, -0.1),
        difference(many, "start-alone", -1.0, 1.0),
        difference(many, "redrawn", 5.0, 6.0),
    ]
    monkeypatch.setattr(page, "comparisons", lambda runs: found)
    said = page._added([])
    assert "improves on its initialization: aligned, 1 per class; makes it worse: rotated" in said
    assert said.endswith("is not shown to change it: aligned, 10 per class.**")
    monkeypatch.setattr(page, "comparisons", lambda runs: found[1:])
    assert "nowhere shown" in page._added([])
    assert "redrawn" not in page._added([])
    equal = difference(aligned, "redrawn", -1.0, 1.0)
    monkeypatch.setattr(page, "comparisons", lambda runs: [*found[1:3], equal])
    assert "teach as well or better when they are redrawn" in page._added([])
    monkeypatch.setattr(page, "comparisons", lambda runs: found[3:])
    assert page._added([]) == ""


def test_settings_say_what_is_run():
    one, many = (SETTINGS.options("aligned", "dd3d", clouds, 0) for clouds in (1, 10))
    assert (one.iterations, many.iterations) == (1, SETTINGS.many_iterations)
    assert SETTINGS.options("aligned", "distribution-matching", 1, 0).iterations == 2
    assert (SETTINGS.epochs_for(1), SETTINGS.epochs_for(10)) == (2, SETTINGS.many_epochs)
    assert SETTINGS.options("rotated", "random", 1, 0).rotator.mode == "frozen"


def test_the_picture_shows_what_was_made(done):
    assert (done / PICTURE_NAME).read_bytes().startswith(b"\x89PNG")


def test_what_one_command_took_stands_on_the_page(done, tmp_path):
    report = {
        "command": "topodistill distill-data --output runs/dd3d",
        "threads": 1,
        "processor": "a processor",
        "commit": None,
        "wall_seconds": 120.0,
        "cpu_seconds": 60.0,
        "seconds": 90.0,
        "scores": {"pointnet": {"last": 0.5, "best": 0.625}},
        "made_from": {"options": {"iterations": 3, "points": 12, "widths": [4, 8, 16]}},
        "losses": [1.0],
    }
    file = tmp_path / "distill.json"
    file.write_text(json.dumps(report))
    keep_timed(file, tmp_path)
    assert "losses" not in json.loads((tmp_path / COMMAND_NAME).read_text())
    page = markdown(read_records([done / RECORDS_NAME]), beside(tmp_path))
    assert "**2.0 minutes** in all" in page
    assert "; 1.0 minutes of a core's time. Of the first, 1.5 are distilling" in page
    assert "pointnet 50.0 % right after the last epoch, 62.5 % at the best" in page
    file.write_text(json.dumps(report | {"scores": {}}))
    with pytest.raises(UserError, match="--evaluate"):
        keep_timed(file, tmp_path)
    (tmp_path / COMMAND_NAME).write_text("[]")
    with pytest.raises(UserError, match="no names and values"):
        beside(tmp_path)


def test_what_was_tried_stands_on_the_page(done, tmp_path):
    tried = {
        "about": "On other clouds.",
        "columns": ["changed", "accuracy"],
        "rows": [{"changed": "nothing", "accuracy": 12.5}],
    }
    (tmp_path / TUNING_NAME).write_text(json.dumps(tried))
    page = markdown(read_records([done / RECORDS_NAME]), beside(tmp_path))
    assert "On other clouds." in page
    assert "| nothing | 12.5 |" in page


def test_memory_that_was_held_for_a_moment_is_seen():
    _, peak = with_peak(lambda: np.ones(8 << 20).sum())  # 64 MiB
    if peak is None:
        pytest.skip("the system does not say")
    assert 48 << 20 < peak < 512 << 20
    _, idle = with_peak(lambda: None)
    assert idle < 16 << 20
