"""The guide's example of a network of one's own: its code, as it stands, through every door."""

from pathlib import Path

import pytest

from tests.pages import blocks
from tests.train.toy_runs import flags, log_of, refused, resumed
from train.evaluation.command import main as evaluate
from train.networks.weights import load_model
from train.predict.command import main as predict
from train.run import main

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "own_network.md"


@pytest.fixture
def source(tmp_path):
    """Write the guide's file."""
    code = blocks(GUIDE.read_text(encoding="utf-8"), "python")[0]
    assert code.startswith('"""my_network.py')
    path = tmp_path / "my_network.py"
    path.write_text(code, encoding="utf-8")
    return path


def test_it_is_a_student_then_scored_and_asked_and_goes_on(
    toy_frames, source, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(source.parent)
    output = tmp_path / "run"
    own = ("--student", "my_network.py:build", "--method.num-samples", "32")
    assert main(flags(toy_frames, output, *own, "--data-license", "Toys, CC0.")) == 0
    assert "Toys, CC0." in (output / "student" / "README.md").read_text()
    said = capsys.readouterr().err
    assert "student: CloudNet, " in said
    assert "topology compares top with dec0 (32 of 32 channels)" in said
    model, card = load_model(output / "student.pt")
    assert (card.network, card.size) == (str(source), "build")
    assert type(model).__name__ == "CloudNet"
    checkpoint = str(output / "student.pt")
    scored = ["--checkpoint", checkpoint, "--data-root", str(toy_frames), "--sequences", "08"]
    assert evaluate([*scored, "--num-workers", "0", "--device", "cpu"]) == 0
    frame = next(toy_frames.rglob("*.bin"))
    asked = ["--checkpoint", checkpoint, "--input", str(frame), "--device", "cpu"]
    assert predict([*asked, "--output", str(tmp_path / "labels.npy")]) == 0
    monkeypatch.chdir(tmp_path.parent)
    assert main(resumed(output, "--optim.student-epochs", "2")) == 0
    assert len(log_of(output)) == 4
    source.rename(tmp_path / "elsewhere.py")
    capsys.readouterr()
    assert predict([*asked, "--output", str(tmp_path / "more.npy")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: {source}: the file that has the function build is not there; put it back to that "
        "place"
    )


def test_it_is_a_teacher_as_well(toy_frames, source, tmp_path):
    output = tmp_path / "run"
    name = f"{source}:build"
    own = ("--teacher", name, "--student", "litept:tiny", "--method", "feature")
    assert main(flags(toy_frames, output, *own)) == 0
    again = ("--stage", "student", "--teacher-checkpoint", str(output / "teacher.pt"))
    again += ("--student", name, "--method", "kd", "--teacher-check", "warn")
    assert main(flags(toy_frames, tmp_path / "again", *again)) == 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--student gone.py:build", "--student gone.py:build: there is no file gone.py"),
        ("--student my_network.py:make", "my_network.py: has no function make"),
        ("--student my_network.py", "say which function, FILE.py:FUNCTION"),
        ("--student my_network.py:build --attention plain", "build failed: TypeError"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    toy_frames, source, tmp_path, capsys, monkeypatch, flag, message
):
    monkeypatch.chdir(source.parent)
    output = tmp_path / "run"
    assert message in refused(flags(toy_frames, output, *flag.split()), capsys, output)
