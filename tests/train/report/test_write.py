"""A run's report.html: when the run ends, later from its files, and when something is gone."""

import errno
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.train.report.test_page import Page
from tests.train.toy_runs import flags
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.networks.weights import load_model
from train.report.command import main
from train.report.gather import gather_report
from train.report.records import fit_to_publish, read_run
from train.report.write import report_from_files, write_run_report
from train.run import main as run_main


@pytest.fixture(scope="module")
def whole(toy_frames, tmp_path_factory):
    """A finished run of two steps for each network, its baseline too."""
    output = tmp_path_factory.mktemp("whole") / "run"
    more = ("--baseline", "--log-gradient-norms-every", "1", "--method.num-samples", "32")
    assert run_main(flags(toy_frames, output, *more)) == 0
    return output


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


def opened(frames, run):
    source = dataset_spec("semantickitti").open(frames, "validation", sequences=("08",))
    roles = ("teacher", "student", "baseline")
    return source, {role: load_model(run / f"{role}.pt")[0] for role in roles}


def test_at_the_end_and_later_the_page_is_the_same(toy_frames, whole, tmp_path, capsys):
    copy = shutil.copytree(whole, tmp_path / "run")
    at_the_end = (copy / "report.html").read_bytes()
    assert write_run_report(copy, *opened(toy_frames, copy)) == copy / "report.html"
    assert (copy / "report.html").read_bytes() == at_the_end
    assert main(["--run", str(copy)]) == 0
    assert (copy / "report.html").read_bytes() == at_the_end
    assert f"report: {copy / 'report.html'}" in capsys.readouterr().err
    page = page_of(copy / "report.html")
    # One validation frame: truth, and classes and errors of three networks, in two views.
    assert len(page.images) == 2 * (2 + 2 * 3)
    assert "Best: 08/000000" in page.text
    assert "one run with one seed" in page.text
    assert "No frames are drawn" not in page.text


def test_the_report_holds_what_the_run_recorded(toy_frames, whole):
    metrics = json.loads((whole / "metrics.json").read_text())
    evaluation = json.loads((whole / "evaluation.json").read_text())
    report = gather_report(read_run(whole), opened(toy_frames, whole))
    assert [each.role for each in report.networks] == ["teacher", "student", "baseline"]
    for each in report.networks:
        assert each.miou == metrics[each.role]["miou"]
        assert each.confusion == evaluation[each.role]["confusion"]
        assert sum(map(sum, each.confusion)) == metrics[each.role]["labeled_points"]
        # The same network on the same frame: drawn is what was scored.
        assert report.frames[0].miou[each.role] == evaluation[each.role]["by_frame"]["08/000000"]
    assert set(evaluation["agreement"]) == {"student", "baseline"}
    assert report.scores_of("student").agreement["frames"] == 1
    assert "confusion" not in metrics["student"]
    assert set(report.common_classes) == {"road", "building"}
    (gradients,) = [each for each in report.gradients if each.stage == "student"]
    assert gradients.steps == (1, 2)
    assert [sum(row) for row in gradients.shares()] == pytest.approx([1.0, 1.0])
    training = dict(report.settings)["Training"]
    assert training.startswith("1 epochs of the teacher, 1 epochs of the student, 2 frames a step")
    (student,) = [each for each in report.times if each.stage == "student"]
    assert student.steps == 2
    assert student.median_s > 0


@contextmanager
def changed(path):
    """Give the content of a JSON file, and write it again as it is at the end."""
    content = json.loads(path.read_text())
    yield content
    path.write_text(json.dumps(content))


def move_data(run, root):
    with changed(run / "config.json") as config:
        config["config"]["data_root"] = str(root)


def with_other_data(run, frames):
    other = shutil.copytree(frames, run.parent / "other")
    for folder in ("velodyne", "labels"):
        for path in (other / "sequences" / "08" / folder).iterdir():
            path.rename(path.with_stem("000009"))
    move_data(run, other)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (
            lambda run, _: move_data(run, run / "gone"),
            "holds no data any more; give its place with --data-root",
        ),
        (lambda run, _: (run / "student.pt").unlink(), "student.pt"),
        (lambda run, _: (run / "baseline.pt").write_bytes(b"no network"), "baseline.pt"),
        (with_other_data, "the data has no frame 08/000000 any more"),
    ],
)
def test_what_is_gone_leaves_a_page_without_frames_that_says_so(
    damage, why, toy_frames, whole, tmp_path
):
    run = shutil.copytree(whole, tmp_path / "run")
    damage(run, toy_frames)
    assert main(["--run", str(run)]) == 0
    page = page_of(run / "report.html")
    assert page.images == []
    assert "No frames are drawn:" in page.text
    assert why in page.text
    assert "IoU by class" in page.text


def test_data_that_moved_is_found_where_the_flag_says(toy_frames, whole, tmp_path):
    page = tmp_path / "pages" / "moved.html"
    run = shutil.copytree(whole, tmp_path / "run")
    move_data(run, tmp_path / "gone")
    (run / "report.html").unlink()
    assert main(["--run", str(run), "--output", str(page), "--data-root", str(toy_frames)]) == 0
    assert len(page_of(page).images) == 16
    assert not (run / "report.html").exists()


def test_a_run_of_an_earlier_version_has_a_page_that_says_what_it_lacks(run, capsys):
    assert main(["--run", str(run)]) == 0
    page = page_of(run / "report.html")
    assert "score it again with --resume --stage evaluate" in page.text
    assert page.images == []
    assert page.of_table_row("car") == ["25.0", "25.0"]


@pytest.mark.parametrize("name", ["metrics.json", "config.json", "log.jsonl"])
def test_an_unfinished_run_has_no_page(run, tmp_path, name, capsys):
    (run / name).unlink()
    page = tmp_path / "pages" / "page.html"
    assert main(["--run", str(run), "--output", str(page)]) == 2
    assert f"no {name}; give the --output of a finished run" in capsys.readouterr().err
    assert not page.parent.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("evaluation.json", "[]", "evaluation.json holds no object"),
        ("evaluation.json", "{", "a damaged file (evaluation.json"),
        ("metrics.json", "{", "a damaged file (metrics.json"),
        ("metrics.json", '{"dataset": "waymo"}', "report on it with the version that made it"),
    ],
)
def test_records_that_are_none_are_refused(run, name, content, message, capsys):
    (run / name).write_text(content)
    assert main(["--run", str(run)]) == 2
    assert message in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_a_page_that_cannot_be_written_is_a_mistake(run):
    with pytest.raises(UserError, match="cannot be written"):
        report_from_files(read_run(run), run / "config.json" / "page.html")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("{run}/page.md", "page.md: the page is HTML; give a name that ends in .html"),
        ("{run}/page", "page: the page is HTML"),
        ("{run}/config.json/page.html", "config.json: is a file; give a folder"),
        ("{run}/config.json/below/page.html", "cannot be made (Not a directory)"),
        ("/sys/page.html", "--output /sys: cannot be written to ("),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(output, message, run, capsys):
    if "/sys" in output and not sys.platform.startswith("linux"):
        pytest.skip("needs a folder that root cannot write to either: Linux's /sys")
    before = sorted(run.iterdir())
    assert main(["--run", str(run), "--output", output.format(run=run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(run.iterdir()) == before


def test_a_full_disk_is_one_line_and_leaves_nothing(run, tmp_path, capsys, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    page = tmp_path / "docs" / "page.html"
    assert main(["--run", str(run), "--output", str(page)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "page.html: cannot be written (No space left on device)" in line
    assert list(page.parent.iterdir()) == []


def test_a_run_that_cannot_be_read_is_one_line(run, tmp_path, capsys, monkeypatch):
    read = Path.read_text

    def refuse(path, **options):
        if path.name == "config.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert main(["--run", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.json cannot be read (Permission denied)" in line


def test_scores_of_the_benchmark_and_of_several_passes_are_said_and_shown(run, capsys):
    scores = {"miou": 0.4375, "benchmark_miou": 0.4, "augmentation": "rotations", "passes": 4}
    with changed(run / "metrics.json") as metrics:
        metrics["student"] |= {"benchmark_miou": 0.625, "tta": {**metrics["student"], **scores}}
    assert main(["--run", str(run)]) == 0
    page = page_of(run / "report.html")
    assert ["student", "50.00", "62.50", "75.00", "76,543"] in page.rows
    seen = page.of_table_row("student, rotations, mean of 4 passes")
    assert seen == ["43.75", "40.00", "75.00", ""]
    assert capsys.readouterr().err.splitlines() == [
        "mIoU on 1 validation frames: teacher 50.0, student 50.0",
        "mIoU as the benchmark takes it: teacher -, student 62.5",
        "mIoU, test-time augmentation rotations: student 43.8",
        f"report: {run / 'report.html'}",
    ]


def test_a_run_without_training_steps_has_a_page_without_charts(run):
    (run / "log.jsonl").write_text("")
    assert main(["--run", str(run)]) == 0
    page = page_of(run / "report.html")
    assert "Loss terms" not in page.text
    assert "svg" not in {tag for tag, _ in page.tags}


def test_lines_of_other_programs_and_damaged_ones_do_no_harm(run, capsys):
    foreign = [
        {"stage": "student", "step": 7, "note": "from elsewhere"},
        {"stage": "student", "step": 8, "segmentation": "low", "seconds": None},
        {"stage": "student", "step": 9, "segmentation": float("nan"), "gradient_norms": 3},
        {"stage": "student", "step": 10, "other": 1.5, "gradient_norms": {"other": None}},
        {"stage": "elsewhere", "step": 1, "validation_miou": "good", "loss": 2.0},
    ]
    log = run / "log.jsonl"
    lines = "".join(json.dumps(line) + "\n" for line in foreign)
    log.write_text("cut short\n" + log.read_text() + lines)
    report = gather_report(read_run(run), "no data")
    assert "1 damaged line left out (line 1)" in capsys.readouterr().err
    curves = {(curve.stage, curve.name): curve for curve in report.losses}
    assert curves["student", "other"].values == (1.5,)
    assert curves["teacher", "segmentation"].values == pytest.approx(
        [2.0 - 0.05 * step for step in range(30)]
    )
    assert curves["teacher", "segmentation"].values == curves["student", "segmentation"].values
    assert [(time.stage, time.seconds, time.steps) for time in report.times] == [
        ("teacher", 60.0, 30),
        ("student", 90.0, 30),
        ("evaluation", 5.0, 0),
    ]
    assert main(["--run", str(run)]) == 0


@pytest.mark.parametrize(
    ("given", "published"),
    [
        (
            "--submit --submit-account a.b@c.org --seed 3",
            "--submit --submit-account NAME@HOST --seed 3",
        ),
        ("--submit-account=a.b@c.org", "--submit-account=NAME@HOST"),
        ("--submit_account secret", "--submit_account NAME@HOST"),
        ("--note a.b@c.org", "--note NAME@HOST"),
        ("--data-root data/kitti", "--data-root DIR"),
        ("--data.cache-dir=x --resume", "--data.cache-dir=DIR --resume"),
        ("--initial-teacher /home/me/teacher.pt", "--initial-teacher DIR/teacher.pt"),
        ("--teacher ptv3:tiny-teacher", "--teacher ptv3:tiny-teacher"),
        ("--data.clip-range-m -50 -50 -5 50 50 3", "--data.clip-range-m -50 -50 -5 50 50 3"),
    ],
)
def test_a_published_command_has_no_folders_and_no_address(given, published):
    command = "python -m train.run --dataset waymo "
    assert fit_to_publish(command + given) == command + published


def test_the_page_does_not_hold_the_account(run):
    with changed(run / "config.json") as config:
        config["command"] += " --submit --submit-account me@example.org"
        config["config"]["submit_account"] = "me@example.org"
    assert main(["--run", str(run)]) == 0
    text = (run / "report.html").read_text()
    assert "example.org" not in text
    assert "--submit-account NAME@HOST" in text
    assert "--data-root DIR --output=DIR" in text
