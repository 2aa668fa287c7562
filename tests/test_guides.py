"""The guides' Python prints and draws what they show; commands and links name things that exist."""

import configparser
import json
import re
from pathlib import Path

import pytest
from matplotlib import pyplot

from benchmarks.guide_pictures import pictures
from benchmarks.site_pages import notebook
from tests.pages import KNOWN, blocks, check_flags, commands, compare_examples, links, write_files
from train.core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in GUIDES}
GIVEN = [
    pytest.param(command, arguments, id=f"{name}: {command} {' '.join(arguments)}")
    for name, text in TEXTS.items()
    for command, arguments in commands(text)
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in GUIDES if blocks(TEXTS[page.name], "python")],
    ids=lambda page: page.name,
)
def test_a_guides_examples_print_and_draw_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    try:
        compare_examples(page)
    finally:
        pyplot.close("all")
    assert {path.name for path in tmp_path.glob("*.png")} == set(pictures(TEXTS[page.name]))


def test_each_kind_of_reader_has_a_guide():
    assert {"distill.md", "rips_layer.md", "check_the_mathematics.md"} <= TEXTS.keys()
    assert len(GIVEN) > 10


@pytest.mark.parametrize(("command", "arguments"), GIVEN)
def test_a_command_names_a_command_and_flags_that_exist(
    command, arguments, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("COLUMNS", "200")  # help is not to break a flag
    monkeypatch.chdir(tmp_path)
    for page in ("own_network.md", "extend.md"):
        write_files(TEXTS[page])
    assert command in {*KNOWN, "--help"}
    if command != "--help":
        check_flags(command, arguments, capsys)


def test_a_flag_that_no_door_knows_is_seen(capsys):
    with pytest.raises(AssertionError, match=r"report does not know .'--colour'."):
        check_flags("report", ["--run", "x", "--colour"], capsys)
    with pytest.raises(UserError, match=r"Unrecognized options: --colour"):
        check_flags("run", ["--dataset", "waymo", "--colour", "red"], capsys)


def test_commands_are_found_wherever_a_page_has_them():
    page = """
Say `topodistill report --run DIR`, or `--resume` alone, or `import topodistill`.

```bash
python3 -m venv .venv && .venv/bin/topodistill run --dataset waymo
torchrun --nproc-per-node 4 -m train.run --dataset waymo
python -m train.inspect --dataset waymo
pytest tests/
```
"""
    assert commands(page) == [
        ("run", ["--dataset", "waymo"]),
        ("run", ["--dataset", "waymo"]),
        ("inspect", ["--dataset", "waymo"]),
        ("report", ["--run", "DIR"]),
    ]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("```python\nprint(1)\n```\n\n```text\n2\n```\n", id="another-number"),
        pytest.param("```python\nprint(1)\n```\n", id="nothing-shown"),
        pytest.param("```python\nx = 1\n```\n\n```text\n1\n```\n", id="nothing-printed"),
        pytest.param("```python\nx = 1\n```\n\nSo\n\n```text\n1\n```\n", id="text-apart"),
    ],
)
def test_an_example_that_prints_something_else_is_seen(page, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(AssertionError):
        compare_examples(path)


@pytest.mark.parametrize(
    ("name", "target"), [(name, target) for name, text in TEXTS.items() for target in links(text)]
)
def test_a_link_leads_somewhere(name, target):
    assert (ROOT / "docs" / "guides" / target).exists()


@pytest.mark.parametrize("name", TEXTS)
def test_environments_files_and_folders_that_a_guide_names_exist(name):
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    listed = re.findall(r"\w+", tox["tox"]["env_list"])  # by `tox -l`
    for environment in re.findall(r"tox -e (\w+)", TEXTS[name]):
        assert tox.has_section(f"testenv:{environment}")
        assert environment in listed
    for label in re.findall(r"tox -m (\w+)", TEXTS[name]):
        assert f"{label} =" in tox["tox"]["labels"]
    for path in re.findall(r"\b(?:tests|benchmarks)/[\w./-]*", TEXTS[name]):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", TEXTS)
def test_a_guide_as_a_notebook_has_its_blocks_and_what_they_print(name):
    made = json.loads(notebook(TEXTS[name]))
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    sources = [cell["source"] for cell in code if not cell["source"].startswith("%%bash")]
    assert sources == [block.strip("\n") for block in blocks(TEXTS[name], "python")]
    printed = [cell["outputs"][0]["text"] for cell in code if cell["outputs"]]
    assert set(printed) <= set(blocks(TEXTS[name], "text"))
    words = "".join(cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown")
    assert not re.search(r"\]\((?!https?:)", words)


def test_a_notebooks_outputs_stand_below_their_cells():
    code = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n```bash\n.venv/bin/a b\n```\n"
    text = f"# T\n\nsee [x](x.md)\n\n{code}"
    title, first, second = json.loads(notebook(text))["cells"]
    assert title["source"] == "# T\n\nsee x"
    assert first["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "1\n"}]
    assert second["source"] == "%%bash\na b"
