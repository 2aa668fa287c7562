"""The command makes what can be made, and says in one line what it lacks."""

import json

import pytest

from benchmarks.studies.figures.command import main
from tests.studies.figures.ablation_records import write_runs
from tests.studies.figures.test_networks import write_network, write_run


@pytest.fixture
def run(tmp_path, toy_frames, toys_registered):
    return write_run(tmp_path / "run", toy_frames)


def refused(arguments, capsys):
    assert main([str(word) for word in arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_one_figure_and_the_page(tmp_path, capsys):
    output = tmp_path / "results"
    assert main(["--only", "figure9", "--output", str(output)]) == 0
    assert names(output) == {"figure9.json", "figure9.png", "paper.md"}
    assert main(["--check", "--output", str(output)]) == 0
    before = {path: path.read_bytes() for path in output.iterdir()}
    assert main(["--only", "figure9", "--output", str(output)]) == 0
    assert {path: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.slow
def test_all_figures_of_a_run(run, tmp_path, capsys):
    output = tmp_path / "results"
    # Records beside the results are found without a word.
    write_runs(output / "ablation_records.jsonl.gz", {"teacher": [0.5], "kd": [0.3, 0.4]})
    given = ["--run", run, "--output", output]
    assert main([str(word) for word in given]) == 0
    numbers = {path.stem: json.loads(path.read_text()) for path in output.glob("*.json")}
    assert numbers.keys() == {
        "figure1", "figure3", "figure4", "figure4-teacher", "figure5", "figure6", "figure9",
        "figure10",
    }  # fmt: skip
    assert {f"{name}.png" for name in numbers} <= names(output)
    assert numbers["figure3"]["frame"] == numbers["figure4-teacher"]["frame"] == "08/000000"
    assert numbers["figure4-teacher"]["points"] == 256
    page = (output / "paper.md").read_text()
    assert "not made yet" not in page
    assert main(["--check", "--output", str(output)]) == 0


def test_files_in_place_of_a_run(run, tmp_path, toy_frames):
    output = tmp_path / "results"
    student = write_network(tmp_path / "other.pt", seed=7)
    given = ["--teacher-checkpoint", run / "teacher.pt", "--student", student]
    given += ["--dataset", "semantickitti", "--data-root", toy_frames, "--frames", "1"]
    assert main([*map(str, given), "--only", "figure3", "--output", str(output)]) == 0
    alone = json.loads((output / "figure3.json").read_text())
    assert list(alone["right"]) == ["teacher", "student"]
    # A file that is named comes before the run's.
    both = ["--run", run, "--student", student, "--only", "figure3", "--output", output]
    assert main([*map(str, both)]) == 0
    named = json.loads((output / "figure3.json").read_text())
    assert named["networks"]["student"] == alone["networks"]["student"]
    assert list(named["right"]) == ["teacher", "student", "student alone"]


def test_without_networks_their_figures_stay_as_they_are(tmp_path, capsys):
    output = tmp_path / "results"
    assert main(["--output", str(output)]) == 0
    said = capsys.readouterr().err
    assert "figure3 is left as it is: needs the teacher and the student; give --run DIR" in said
    assert "figure1 is left as it is: needs the records of an ablation" in said
    assert {path.stem for path in output.glob("*.json")} == {"figure4", "figure9", "figure10"}
    assert (output / "figure10.md").is_file()


def test_what_is_missing_is_refused_before_anything_is_made(run, tmp_path, capsys):
    output = tmp_path / "results"
    (run / "baseline.pt").unlink()
    for given, said in (
        (["--only", "figure2"], "--only figure2: no such figure; known: figure1, figure3,"),
        (["--only", "figure9", "figure3"], "figure3: needs the teacher and the student"),
        (["--only", "figure5", "--run", run], "figure5: needs the student alone; give --run"),
        (["--only", "figure1"], "figure1: needs the records of an ablation; give --records"),
        (["--run", tmp_path / "no"], "no: no such folder; give the --output of a finished run"),
        (["--student", tmp_path / "no.pt"], "no.pt: no such file; give a checkpoint"),
        (["--student", run / "student.pt"], "--student: say whose frames to show"),
        (["--efficiency", tmp_path / "e.json"], "e.json: no such file; train.efficiency writes it"),
        (["--frames", "0"], "--frames 0: at least 1"),
    ):
        assert said in refused([*given, "--output", output], capsys)
    assert not output.exists()


def test_records_of_an_ablation_have_to_be_there(tmp_path, capsys):
    given = ["--only", "paper", "--output", tmp_path]
    assert "--ablation no.json: no such file" in refused([*given, "--ablation", "no.json"], capsys)
    assert names(tmp_path) == set()
    assert "cannot be read" in refused(
        ["--only", "figure1", "--records", tmp_path / "no", "--output", tmp_path], capsys
    )


def test_a_check_finds_records_that_came_since(tmp_path, capsys):
    output = tmp_path / "results"
    write_runs(output / "ablation_records.jsonl.gz", {"teacher": [0.5], "kd": [0.3]})
    assert main(["--only", "figure1", "--output", str(output)]) == 0
    assert main(["--check", "--output", str(output)]) == 0
    write_runs(output / "ablation_records.jsonl.gz", {"kd": [0.3, 0.4]})
    assert main(["--check", "--output", str(output)]) == 1
    assert "figure1.json disagrees with the records of the ablation" in capsys.readouterr().err


def test_a_check_finds_what_was_changed(tmp_path, capsys):
    output = tmp_path / "results"
    assert main(["--only", "figure9", "--output", str(output)]) == 0
    page = output / "paper.md"
    page.write_text(page.read_text().replace("77.67", "78.20"))
    assert main(["--check", "--output", str(output)]) == 1
    assert "paper.md disagrees with the records; run: python -m benchmarks.studies figures" in (
        capsys.readouterr().err
    )
    page.unlink()
    (output / "figure9.png").unlink()
    assert main(["--check", "--output", str(output)]) == 1
    said = capsys.readouterr().err
    assert "paper.md is missing" in said
    assert "figure9.png is missing" in said
    assert main(["--check", "--output", str(tmp_path / "no")]) == 2
