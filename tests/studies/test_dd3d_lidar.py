"""The experiment on simulated frames, small: records that add up, and the page made from them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.dd3d_lidar.command import PAGE_NAME, Options, run
from benchmarks.studies.dd3d_lidar.experiment import FULL, Plan, Run, Settings
from benchmarks.studies.dd3d_lidar.page import PICTURE, RECORDS_NAME, comparisons, markdown
from tests.studies.conftest import assert_a_lost_run_comes_back
from train.ablation.records import hash_of, read_records
from train.core.errors import UserError
from train.dataset_distillation.networks import segmenters

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(
    train_frames=2,
    test_frames=8,
    azimuth_steps=40,
    points=64,
    range_m=30.0,
    distill_points=32,
    iterations=1,
    outer=2,
    real_batch=2,
    width=8,
    widths=(4, 8, 16),
    epochs=2,
    full_epochs=1,
)
PLAN = Plan(frames=(1,), networks=("pointnet",), methods=("dd3d", "random"), seeds=(0, 1, 2))


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    patch = pytest.MonkeyPatch()
    patch.setitem(
        segmenters.SEGMENTERS,
        "pointnet",
        lambda classes, grid, meters: segmenters.PointSegmenter(classes, 4.0, widths=(4, 8, 16)),
    )
    yield
    patch.undo()


def start(folder, work, settings=SETTINGS):
    run(Options(output=folder, work=work, plan=PLAN, device="cpu"), settings)


@pytest.fixture(scope="module")
def done(tmp_path_factory, small_networks):
    folder = tmp_path_factory.mktemp("page")
    start(folder, folder / "work")
    return folder


def test_every_run_of_the_plan_has_a_record(done):
    found = read_records([done / RECORDS_NAME]).runs
    assert {(each.grid, each.variant, each.seed) for each in found} == {
        *(("1-pointnet", variant, seed) for variant in ("dd3d", "random") for seed in (0, 1, 2)),
        ("full-pointnet", FULL, 0),
    }
    record = next(each for each in found if each.variant == "dd3d")
    assert list(record.scenes) == ["08-00", "08-01"]
    total = np.sum([scene["true"] for scene in record.scenes.values()], axis=0)
    right = np.sum([scene["right"] for scene in record.scenes.values()], axis=0)
    named = np.sum([scene["found"] for scene in record.scenes.values()], axis=0)
    there = total > 0
    iou = right[there] / (total + named - right)[there]
    assert record.scores["miou"] == pytest.approx(iou.mean())
    assert record.scores["best_miou"] >= record.scores["miou"]
    assert record.stats["numbers_stored"] > 0


def test_a_run_that_is_lost_is_made_again_the_same_and_no_other(done):
    file = done / RECORDS_NAME
    assert_a_lost_run_comes_back(file, "dd3d", lambda: start(done, done / "work"))


def test_the_page_says_what_was_found(done):
    page = (done / PAGE_NAME).read_text()
    records = read_records([done / RECORDS_NAME])
    assert page == markdown(records, picture=True)
    assert (done / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert f"]({PICTURE})" in page
    assert PICTURE not in markdown(records, picture=False)
    for word in ("`dd3d` - `random`", "95% interval", "best epoch", "numbers stored"):
        assert word in page
    assert [grid for grid, _ in comparisons(records.runs)] == ["1-pointnet", "1-pointnet"]


@pytest.mark.parametrize(
    ("ours", "said"),
    [(0.6, "**better**"), (0.2, "**worse**"), (0.41, "**not shown to be better**")],
)
def test_the_verdict_follows_the_interval(done, ours, said):
    records = read_records([done / RECORDS_NAME])

    def with_scores(each):
        value = 0.4 if each.variant != "dd3d" else ours + 0.02 * (each.seed - 1)
        return dataclasses.replace(
            each,
            scores={"miou": value, "best_miou": value, "accuracy": value},
            # One scene: nothing to draw, the interval is over seeds.
            scenes={"08-00": each.scenes["08-00"]},
        )

    runs = tuple(with_scores(each) for each in records.runs)
    page = markdown(dataclasses.replace(records, runs=runs), picture=False)
    (verdict,) = [line for line in page.splitlines() if line.startswith("- pointnet, 1 frame,")]
    assert said in verdict


def test_records_of_other_settings_are_refused(done):
    with pytest.raises(UserError, match=r"another configuration \(epochs 2, now 3\)"):
        start(done, done / "work", dataclasses.replace(SETTINGS, epochs=3))


def test_free_coordinates_have_as_many_points_as_real_frames():
    settings = Settings()
    assert settings.options("gradient-matching", 1, 0).points == settings.points
    assert settings.options("dd3d", 1, 0).points == settings.distill_points
    assert Run(4, "ptv3", "dd3d", 0).grid == "4-ptv3"
    assert Run(0, "ptv3", FULL, 0).grid == "full-ptv3"


def test_the_committed_records_are_of_these_settings():
    records = read_records([ROOT / "docs" / "results" / RECORDS_NAME])
    assert {each.setup for each in records.runs} == {hash_of(Settings().plain())}
