"""Reads pages for the tests: blocks of code, what they print, links, commands, pictures."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.studies.__main__ import STUDIES
from benchmarks.studies.__main__ import main as study
from topodistill.commands import COMMANDS, main
from train.config import RunConfig
from train.run import parse

# A block of Python, and the text that it prints, if any, right below it.
_EXAMPLE = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)
KNOWN = {*COMMANDS, *(f"studies {name}" for name in STUDIES)}
"""What `commands` may find; a study is told by its first word."""
_MODULES = {f"train.{name.replace('-', '_')}": name for name in COMMANDS}


def blocks(text, language):
    """The blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def write_files(text):
    """Write the blocks of Python that are files of the user's, named in their first line."""
    for block in blocks(text, "python"):
        if block.startswith('"""my_'):
            Path(block[3:].partition(":")[0]).write_text(block, encoding="utf-8")


def links(text):
    """Where links lead, other than to the web, without the places inside pages."""
    return sorted(set(re.findall(r"\]\(((?!https?:)[^)#\s]+)", text)))


def compare_examples(page):
    """Run a page's Python in one namespace; each block must print what stands below it."""
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    examples = _EXAMPLE.findall(text)
    assert examples, f"{page.name} has no example"
    assert len(examples) == len(blocks(text, "python"))
    # Text that is below no block would not be compared.
    assert sum(bool(shown) for _, shown in examples) == len(blocks(text, "text"))
    for code, shown in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), namespace)
        assert printed.getvalue() == shown, f"{page.name}, after:\n{code}"


def commands(text):
    """(command, arguments) of our commands in blocks of shell and in code within lines."""
    spans = [line for block in blocks(text, "bash") for line in block.splitlines()]
    spans += re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    )
    found = []
    for span in spans:
        for part in span.split("&&"):
            words = shlex.split(part)
            for place, word in enumerate(words):
                if word == "benchmarks.studies" and words[place + 1 :]:
                    found.append((f"studies {words[place + 1]}", words[place + 2 :]))
                    break
                if Path(word).name == "topodistill" and words[place + 1 :]:
                    found.append((words[place + 1], words[place + 2 :]))
                    break
                if (
                    word == "-m"
                    and words[place + 1 : place + 2]
                    and words[place + 1].startswith("train.")
                ):
                    found.append(
                        (_MODULES.get(words[place + 1], words[place + 1]), words[place + 2 :])
                    )
                    break
    return found


def check_flags(command, arguments, capsys):
    """Assert that a command knows every flag of a line; files that it names need not exist."""
    if not arguments:
        return
    if command == "run" and not {"-h", "--help"} & set(arguments):
        assert isinstance(parse(arguments), RunConfig)
        return
    start = main if command in COMMANDS else study
    with pytest.raises(SystemExit):
        start([command.removeprefix("studies "), *arguments, "--help"])
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9.-]*", capsys.readouterr().out))
    given = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert not given - known, f"{command} does not know {sorted(given - known)}"


def repaint(picture):
    """Change a pixel of a PNG, and nothing of what it says."""
    with Image.open(picture) as image:
        image.load()
        said, changed = image.text, image.convert("RGB")
    changed.putpixel((3, 3), (255, 0, 1))
    note = PngInfo()
    for key, value in said.items():
        note.add_text(key, value)
    changed.save(picture, pnginfo=note)
