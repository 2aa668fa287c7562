"""The guides' pictures are those that their code draws, and the check sees when they are not."""

import shutil
from pathlib import Path

import pytest

from benchmarks.guide_pictures import disagreements, main
from tests.pages import repaint

GUIDES = Path(__file__).resolve().parents[1] / "docs" / "guides"

PAGE = """
```python
from matplotlib.figure import Figure

figure = Figure(figsize=(1, 1))
figure.subplots().plot([0, 1])
print("not shown")
```

```python
figure.savefig("line.png")
figure.savefig("not_shown.png")
```

![A line](pictures/line.png)
"""


@pytest.fixture
def folder(tmp_path, capsys):
    """A guide with one picture, drawn."""
    (tmp_path / "guide.md").write_text(PAGE)
    (tmp_path / "other.md").write_text("No picture, `1 / 0`.\n\n```python\n1 / 0\n```\n")
    assert main(["--guides", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "guide.md: wrote line.png\n"
    return tmp_path


def test_the_committed_pictures_are_of_the_committed_code():
    assert disagreements(GUIDES) == []


def test_a_picture_is_drawn_once_and_then_as_it_was(folder, capsys):
    picture = folder / "pictures" / "line.png"
    before = picture.read_bytes()
    assert main(["--guides", str(folder)]) == 0
    assert capsys.readouterr().out == "guide.md: wrote nothing new\n"
    assert picture.read_bytes() == before
    assert [path.name for path in (folder / "pictures").iterdir()] == ["line.png"]
    assert main(["--guides", str(folder), "--check"]) == 0


def _change_code(folder):
    page = folder / "guide.md"
    page.write_text(page.read_text().replace("[0, 1]", "[1, 0]"))


def _change_pixels(folder):
    repaint(folder / "pictures" / "line.png")


def _remove(folder):
    (folder / "pictures" / "line.png").unlink()


def _leave_over(folder):
    shutil.copy(folder / "pictures" / "line.png", folder / "pictures" / "old.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_change_code, "line.png was drawn by other code than that of guide.md"),
        (_change_pixels, "line.png was changed after it was drawn"),
        (_remove, "line.png, which guide.md shows, is missing"),
        (_leave_over, "no guide shows old.png"),
    ],
)
def test_what_disagrees_is_seen(change, said, folder, capsys):
    change(folder)
    assert main(["--guides", str(folder), "--check"]) == 1
    assert capsys.readouterr().err == f"{said}; run: python -m benchmarks.guide_pictures\n"


def test_a_picture_that_no_block_draws_is_an_error(folder, capsys):
    page = folder / "guide.md"
    page.write_text(page.read_text() + "![Nothing](pictures/nothing.png)\n")
    assert main(["--guides", str(folder)]) == 2
    assert "guide.md shows nothing.png, but no block of it saves" in capsys.readouterr().err


def test_a_guide_that_is_not_there_is_named(folder, capsys):
    assert main(["--guides", str(folder), "--only", "nowhere.md"]) == 2
    assert "--only nowhere.md: no such guide" in capsys.readouterr().err
