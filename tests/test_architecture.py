"""The page on what lies where: every path on it is there, and the drawing has every package."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
TOP = ("train", "fast", "reference", "benchmarks", "topodistill", "tests", "docs")


def missing(text):
    """The paths of a page that lead nowhere: in backticks from the root, as links from docs/."""
    named = re.findall(rf"`((?:{'|'.join(TOP)})/[\w./-]*)`", text)
    linked = [f"docs/{target}" for target in re.findall(r"\]\(([^)#:]+)", text)]
    assert len(named) + len(linked) > 1
    return [path for path in (*named, *linked) if not (ROOT / path).exists()]


def test_every_path_is_there():
    assert not missing(TEXT)


def test_a_path_that_is_not_there_is_seen():
    text = "`train/engine/gone.py` and [this](nowhere.md) and `train/config.py`"
    assert missing(text) == ["train/engine/gone.py", "docs/nowhere.md"]


def test_the_drawing_has_every_package_of_the_product():
    (drawing,) = re.findall(r"^```text\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "train").glob("*/__init__.py")}
    assert {f"{name}/" for name in packages} <= set(re.findall(r"[\w]+/", drawing))
