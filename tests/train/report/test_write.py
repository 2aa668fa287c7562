"""A run's report.html: when the run ends, later from its files, and when something is gone."""

import json
import shutil

import pytest

from tests.train.report.test_page import Page
from tests.train.toy_runs import flags
from train.core.errors import UserError
from train.data.registry import dataset_spec
from train.networks.weights import load_model
from train.report.command import main
from train.report.gather import gather_report
from train.report.write import report_from_files, write_run_report
from train.run import main as run_main


@pytest.fixture(scope="module")
def whole(toy_sweeps, tmp_path_factory):
    """A finished run of two steps for each network, its baseline too."""
    output = tmp_path_factory.mktemp("whole") / "run"
    more = ("--baseline", "--log-gradient-norms-every", "1", "--method.num-samples", "32")
    assert run_main(flags(toy_sweeps, output, *more)) == 0
    return output


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


def opened(sweeps, run):
    source = dataset_spec("semantickitti").open(sweeps, "validation", sequences=("08",))
    roles = ("teacher", "student", "baseline")
    return source, {role: load_model(run / f"{role}.pt")[0] for role in roles}


def test_at_the_end_and_later_the_page_is_the_same(toy_sweeps, whole, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    at_the_end = (copy / "report.html").read_bytes()
    assert write_run_report(copy, *opened(toy_sweeps, copy)) == copy / "report.html"
    assert (copy / "report.html").read_bytes() == at_the_end
    assert main(["--run", str(copy)]) == 0
    assert (copy / "report.html").read_bytes() == at_the_end
    assert f"report: {copy / 'report.html'}" in capsys.readouterr().err
    page = page_of(copy / "report.html")
    # One validation sweep: truth, and classes and errors of three networks, in two views.
    assert len(page.images) == 2 * (2 + 2 * 3)
    assert "Best: 08/000000" in page.text
    assert "one run with one seed" in page.text
    assert "No sweeps are drawn" not in page.text


def test_the_report_holds_what_the_run_recorded(toy_sweeps, whole):
    metrics = json.loads((whole / "metrics.json").read_text())
    evaluation = json.loads((whole / "evaluation.json").read_text())
    report = gather_report(whole, opened(toy_sweeps, whole))
    assert [each.role for each in report.networks] == ["teacher", "student", "baseline"]
    for each in report.networks:
        assert each.miou == metrics[each.role]["miou"]
        assert each.confusion == evaluation[each.role]["confusion"]
        assert sum(map(sum, each.confusion)) == metrics[each.role]["labeled_points"]
        # The same network on the same sweep: drawn is what was scored.
        assert report.sweeps[0].miou[each.role] == evaluation[each.role]["by_sweep"]["08/000000"]
    assert set(evaluation["agreement"]) == {"student", "baseline"}
    assert report.scores_of("student").agreement["sweeps"] == 1
    assert "confusion" not in metrics["student"]
    assert set(report.common_classes) == {"road", "building"}
    (gradients,) = [each for each in report.gradients if each.stage == "student"]
    assert gradients.steps == (1, 2)
    assert [sum(row) for row in gradients.shares()] == pytest.approx([1.0, 1.0])
    training = dict(report.settings)["Training"]
    assert training.startswith("1 epochs of the teacher, 1 epochs of the student, 2 sweeps a step")
    (student,) = [each for each in report.times if each.stage == "student"]
    assert student.steps == 2
    assert student.median_s > 0


def without_data(run, tmp_path, sweeps):
    config = json.loads((run / "config.json").read_text())
    config["config"]["data_root"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))


def without_a_network(run, tmp_path, sweeps):
    (run / "student.pt").unlink()


def with_a_damaged_network(run, tmp_path, sweeps):
    (run / "baseline.pt").write_bytes(b"no network")


def with_other_data(run, tmp_path, sweeps):
    shutil.copytree(sweeps, tmp_path / "other")
    for folder in ("velodyne", "labels"):
        for path in (tmp_path / "other" / "sequences" / "08" / folder).iterdir():
            path.rename(path.with_stem("000009"))
    config = json.loads((run / "config.json").read_text())
    config["config"]["data_root"] = str(tmp_path / "other")
    (run / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without_data, "holds no data any more; give its place with --data-root"),
        (without_a_network, "student.pt"),
        (with_a_damaged_network, "baseline.pt"),
        (with_other_data, "the data has no sweep 08/000000 any more"),
    ],
)
def test_what_is_gone_leaves_a_page_without_sweeps_that_says_so(
    damage, why, toy_sweeps, whole, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    damage(run, tmp_path, toy_sweeps)
    assert main(["--run", str(run)]) == 0
    page = page_of(run / "report.html")
    assert page.images == []
    assert "No sweeps are drawn:" in page.text
    assert why in page.text
    assert "IoU by class" in page.text


def test_data_that_moved_is_found_where_the_flag_says(toy_sweeps, whole, tmp_path):
    run, page = tmp_path / "run", tmp_path / "pages" / "moved.html"
    shutil.copytree(whole, run)
    without_data(run, tmp_path, toy_sweeps)
    (run / "report.html").unlink()
    assert main(["--run", str(run), "--output", str(page), "--data-root", str(toy_sweeps)]) == 0
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
        ("metrics.json", '{"dataset": "waymo"}', "report on it with the version that made it"),
    ],
)
def test_records_that_are_none_are_refused(run, name, content, message, capsys):
    (run / name).write_text(content)
    assert main(["--run", str(run)]) == 2
    assert message in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_the_markdown_page_takes_no_data_root(run, tmp_path, capsys):
    flags_of = ["--run", str(run), "--output", str(tmp_path / "page"), "--data-root", "x"]
    assert main(flags_of) == 2
    assert "--data-root: the Markdown page has no pictures of sweeps" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_mistake(run):
    with pytest.raises(UserError, match="cannot be written"):
        report_from_files(run, run / "config.json" / "page.html")
