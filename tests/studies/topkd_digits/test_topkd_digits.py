"""TopKD on digits: paired variants, records that come out again, and a page that says what they
say."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.studies.topkd_digits import command, experiment
from benchmarks.studies.topkd_digits.data import load_digits
from benchmarks.studies.topkd_digits.experiment import Settings, variants
from benchmarks.studies.topkd_digits.lidar import read_record, section
from benchmarks.studies.topkd_digits.page import (
    ACCURACY,
    RECORDS_NAME,
    markdown,
    results,
    ripsnet_flops,
)
from benchmarks.studies.topkd_digits.pair import Schedule, build
from train.ablation.grids import Variant
from train.ablation.records import RunRecord, add_records, read_records
from train.core.errors import UserError
from train.methods.topkd.ripsnet import RipsNet

SMALL = Settings(
    num_training=200, schedule=Schedule(epochs=2), num_teachers=1, num_clouds=16, fit_epochs=2
)
SEEDS = 3


def start(folder, seeds=SEEDS, settings=SMALL, **more):
    command.run(command.Options(output=folder, seeds=seeds, **more), settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of an experiment that is much smaller than the command's."""
    folder = tmp_path_factory.mktemp("digits")
    start(folder)
    return folder


@pytest.fixture(scope="module")
def runs(finished):
    return read_records([finished / RECORDS_NAME]).runs


def test_every_variant_has_every_seed_and_one_teacher(runs):
    students = [(run.variant, run.seed) for run in runs if run.role == "student"]
    assert sorted(students) == sorted(
        (variant, s) for variant in variants(SMALL) for s in range(SEEDS)
    )
    assert len({run.teacher for run in runs}) == 1
    (teacher,) = (run for run in runs if run.role == "teacher")
    assert teacher.scores["distinct_pixels"] == 20
    assert {"ripsnet_mean", "ripsnet_sum", "ripsnet_constant"} < teacher.scores.keys()
    for run in runs:
        right = sum(group["right"] for group in run.scenes.values())
        assert sum(group["images"] for group in run.scenes.values()) == 1597
        assert run.scores["accuracy"] == pytest.approx(right / 1597)


def test_each_variant_has_the_terms_that_it_says(runs):
    terms = {run.variant: sorted(run.stats["last"]) for run in runs if run.role == "student"}
    assert terms == {
        "ce": ["segmentation"],
        "kd": ["distillation", "segmentation"],
        "topkd": ["distillation", "image", "segmentation"],
        "exact": ["distillation", "image", "segmentation"],
        "images": ["image", "segmentation"],
        "topkd-h1": ["distillation", "image", "segmentation"],
        "topkd-h01": ["distillation", "image", "segmentation"],
    }
    by_variant = {(run.variant, run.seed): run.scores for run in runs}
    for name in ("bottleneck", "image_distance", "ripsnet_error"):
        assert by_variant["topkd", 0][name] != by_variant["kd", 0][name]
    assert all(
        scores["own_other_exact"] > 0
        for (variant, _), scores in by_variant.items()
        if variant in terms
    )


def test_variants_of_a_seed_differ_in_their_loss_alone(runs, tmp_path, monkeypatch):
    """With the same loss they are the same student: first weights, order, everything."""
    same = {name: Variant("none") for name in ("ce", "kd")} | {"topkd": variants(SMALL)["topkd"]}
    monkeypatch.setattr(experiment, "variants", lambda settings: same)
    file = tmp_path / RECORDS_NAME
    experiment.Experiment(SMALL, tmp_path).study(1, file, lambda records: None).start()
    found = {run.variant: run for run in read_records([file]).runs}
    assert found["kd"].scores == found["ce"].scores
    assert found["kd"].scenes == found["ce"].scenes
    seeds = [run for run in runs if run.variant == "ce"]
    assert len({run.scores["bottleneck"] for run in seeds}) == SEEDS


def test_the_same_command_does_nothing_again_and_elsewhere_the_same(finished, runs, tmp_path):
    before = (finished / RECORDS_NAME).stat().st_mtime_ns
    start(finished)
    assert (finished / RECORDS_NAME).stat().st_mtime_ns == before
    torch.manual_seed(99)  # of which nothing may depend
    start(tmp_path, 1)
    again = {run.variant: run.scores for run in read_records([tmp_path / RECORDS_NAME]).runs}
    assert again == {run.variant: run.scores for run in runs if run.seed == 0}


def test_the_page_sets_numbers_beside_the_papers(finished, runs):
    page = (finished / "topkd.md").read_text()
    assert "| parameters of RipsNet, 64 channels | 113,896 (its log) | 113,896 |" in page
    assert "| its FLOPs, 64 points of 64 channels | 1.131 M | 1.131 M |" in page
    assert "| its FLOPs, 256 points of 512 channels | 235.1 M | 235.1 M |" in page
    assert "| different pixels of 400 in dimension 0 | straight lines | 20 |" in page
    accuracies = [100 * run.scores["accuracy"] for run in runs if run.variant == "topkd"]
    assert f"| 71.58 | {np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f} |" in page
    assert "not enough runs (3 of at least 5 seeds)" in page
    assert "| `topkd` against `kd` | 3 | " in page
    (finished / "topkd.md").unlink()
    assert command.main(["--output", str(finished), "--page-only"]) == 0
    assert (finished / "topkd.md").read_text() == page


@pytest.mark.parametrize(("channels", "points"), [(64, 64), (512, 256), (16, 5)])
def test_operations_are_those_of_the_counter(channels, points):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        RipsNet(channels)(torch.zeros(1, points, channels))
    counted = counter.get_total_flops()
    assert ripsnet_flops(channels, points) == counted


def made_up(runs, gains):
    """Records of 5 seeds in which TopKD has so many more right answers in each group than KD."""
    template = next(run for run in runs if run.variant == "kd")
    found: list[RunRecord] = []
    for seed, gain in enumerate(gains):
        for variant, extra in (("ce", -5), ("kd", 0), ("topkd", gain), ("exact", 0)):
            groups = {
                name: group | {"right": 40 + seed + extra, "images": 80}
                for name, group in template.scenes.items()
            }
            scores = dict(template.scores) | {"accuracy": (40 + seed + extra) / 80}
            found.append(
                dataclasses.replace(
                    template, variant=variant, seed=seed, scores=scores, scenes=groups
                )
            )
    return found


def test_verdicts_follow_the_differences_of_a_seed(runs):
    """Seeds differ far more than variants do, and the pairing takes that out."""
    for gains, verdict in (((2, 2, 3, 2, 2), "better"), ((-2, -2, -3, -2, -2), "worse")):
        asked = results(made_up(runs, gains))[0]
        assert (asked.comparison.variant, asked.comparison.baseline) == ("topkd", "kd")
        assert asked.metric is ACCURACY
        assert asked.verdict == verdict
        assert asked.estimate.difference == pytest.approx(np.mean(gains) / 80 * 100)
        assert "scenes" in asked.estimate.over
    nothing = results(made_up(runs, (2, -2, 1, -1, 0)))[0]
    assert nothing.verdict.startswith("no effect seen")


def test_a_gain_on_few_images_is_not_one_on_others(runs):
    """In every seed alike, but on one group of twenty: other images might not have shown it."""
    found = []
    for run in made_up(runs, (0, 0, 0, 0, 0)):
        if run.variant == "topkd":
            gain = 38 + run.seed % 2
            groups = {name: dict(group) for name, group in run.scenes.items()}
            groups["images-03"]["right"] += gain
            accuracy = run.scores["accuracy"] + gain / (20 * 80)
            run = dataclasses.replace(
                run, scenes=groups, scores=dict(run.scores) | {"accuracy": accuracy}
            )
        found.append(run)
    asked = results(found)[0]
    assert asked.estimate.difference == pytest.approx(38.4 / 1600 * 100)
    assert asked.estimate.low < 0 < asked.estimate.high


def test_a_page_says_what_the_question_came_to(runs, finished):
    teacher = [run for run in runs if run.role == "teacher"]
    records = read_records([finished / RECORDS_NAME])
    better = dataclasses.replace(records, runs=(*teacher, *made_up(runs, (2, 2, 3, 2, 2))))
    assert "softened logits: better.**" in markdown(better, variants(SMALL))


def test_pairs_are_a_function_of_the_seed_and_of_nothing_else():
    torch.manual_seed(1)
    one = build("student", 3).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    again, other = build("student", 3).state_dict(), build("student", 4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    sizes = {role: sum(p.numel() for p in build(role, 0).parameters()) for role in ("teacher",)}
    assert sizes == {"teacher": 24_058}
    assert sum(p.numel() for p in build("student", 0).parameters()) == 1_136


def test_the_split_is_disjoint_and_has_every_image():
    digits = load_digits(1000)
    assert (len(digits.training.labels), len(digits.held_out.labels)) == (1000, 797)
    assert digits.training.images.shape[1:] == (1, 8, 8)
    assert float(digits.held_out.images.max()) == 1
    both = torch.cat([digits.training.images, digits.held_out.images]).flatten(1)
    assert len(torch.unique(both, dim=0)) == 1797
    assert sorted(torch.unique(digits.groups).tolist()) == list(range(20))


def test_what_cannot_be_shown_or_run_is_refused(finished, runs, tmp_path, monkeypatch):
    teachers = [run for run in runs if run.role == "teacher"]
    add_records(tmp_path / RECORDS_NAME, teachers)
    with pytest.raises(UserError, match="no student in"):
        start(tmp_path, page_only=True)
    other = dataclasses.replace(SMALL, num_clouds=17)
    with pytest.raises(UserError, match="num_clouds"):
        start(finished, settings=other)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="needs sklearn, which is not installed: pip install sciki"):
        start(tmp_path, 1)


def test_the_committed_records_are_of_these_settings():
    folder = Path(__file__).resolve().parents[3] / "docs" / "results"
    for run in read_records([folder / RECORDS_NAME]).runs:
        assert run.setup_settings == json.loads(json.dumps(Settings().plain()))


# The section on LiDAR frames says what its record says, and whether it was enough.


def fit(region, dims, gain, intervals=True):
    def part(constant):
        errors = {"constant": constant, "ripsnet": constant / gain, "distances": constant / 6.0}
        return {"errors": errors, "gains": {"ripsnet": gain, "distances": 6.0}}

    found = {
        "choice": {"num_points": 64, "region": region},
        "dims": dims,
        "fitted_to": 2000,
        "validation": part(0.012),
        "teacher": part(0.01),
        "students": {
            "student": {
                "teacher_error": 0.0031,
                "student_error": 0.0072,
                "image_distance": 0.0123,
                "bottleneck": 2.5,
                "own_other": {"ripsnet": 0.25, "exact": None},
            }
        },
    }
    if intervals:
        found["teacher"]["intervals"] = {"ripsnet": [2.5, 4.5], "distances": [5.0, 7.0]}
    return found


def fidelity_record(*fits):
    return {"frames": 16, "scenes": 4, "fits": list(fits)}


def test_numbers_on_lidar_frames_are_those_of_the_record():
    page = section(fidelity_record(fit(0, [0], 2.0), fit(512, [0, 1], 3.25, intervals=False)))
    assert "16 frames of 4 simulated scenes" in page
    whole = "| 64 of a whole frame | H0 | 2,000 | 2.00 | 6.00 | 10 | 5 | 2.00 [2.50, 4.50] | 6.00 "
    assert whole in page
    near = "| 64 of 512 voxels around one | H0 and H1 | 2,000 | 3.25 | 6.00 | 10 | 3.08 | 3.25 | "
    assert near in page
    assert "| H0 | student | 3.1 | 7.2 | 12.3 | 2.5 | 0.25 | – |" in page


@pytest.mark.parametrize(("gain", "told"), [(2.999, "is **not** 3 times"), (3.0, "is 3 times")])
def test_the_section_says_whether_three_times_is_reached(gain, told):
    assert f"of a whole frame, H0: RipsNet {told} better" in section(
        fidelity_record(fit(0, [0], gain))
    )


def test_a_record_of_lidar_frames_is_read_or_refused(tmp_path):
    path = tmp_path / "topkd_fidelity.json"
    assert read_record(path) is None
    want = fidelity_record(fit(0, [0], 2.0))
    path.write_text(json.dumps(want))
    assert read_record(path) == want
    assert "times less" in section(want)
    del want["fits"][0]["teacher"], want["fits"][0]["validation"]  # as without --targets
    path.write_text(json.dumps(want))
    assert "times less" not in section(read_record(path))
    assert "| H0 | student | 3.1 | 7.2 |" in section(want)
    del want["fits"][0]["students"]
    for content in (json.dumps(want), "{", "[]"):
        path.write_text(content)
        with pytest.raises(UserError, match="is not what topkd-fidelity writes"):
            read_record(path)
