"""MkDocs hook: files outside docs/ become pages, links lead there, guides are notebooks as well."""

import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "license.md",
    "reference/README.md": "api/definition.md",
}
NOTEBOOKS = (
    *("rips_layer", "topological_autoencoder", "keep_a_loop", "topology_monitor"),
    *("unlabeled_drives", "which_loss_pays", "replace_other_libraries", "gradients_at_ties"),
)
"""Guides that can be downloaded as notebooks."""
_SOURCES = {page: source for source, page in PAGES.items()}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside docs/, and the notebooks."""
    from mkdocs.structure.files import File  # here, so that tests need no mkdocs

    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for name in NOTEBOOKS:
        guide = root / "docs" / "guides" / f"{name}.md"
        made = notebook(guide.read_text(encoding="utf-8"))
        files.append(File.generated(config, f"notebooks/{name}.ipynb", content=made))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of a file where it lies into links of the site; other links stay as they are."""
    here = page.file.src_uri
    name = here.removeprefix("guides/").removesuffix(".md")
    if name in NOTEBOOKS:
        title, rest = markdown.split("\n", 1)
        markdown = f"{title}\n\n[This page as a notebook](../notebooks/{name}.ipynb)\n{rest}"

    def moved(link: re.Match[str]) -> str:
        path = normpath(join(dirname(_SOURCES.get(here, f"docs/{here}")), link[1]))
        if path not in PAGES and here not in _SOURCES:
            return link[0]
        target = PAGES.get(path, path.removeprefix("docs/"))
        return f"]({relpath(target, dirname(here) or '.')}"

    return re.sub(r"\]\((?!\w+:)([^)#\s]+)", moved, markdown)


_BLOCK = re.compile(r"^```(python|bash|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)$\n?", re.MULTILINE)
_RELATIVE = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")


def notebook(text: str) -> str:
    """Return a guide as a Jupyter notebook (nbformat 4.5, JSON).

    Blocks of Python and of commands are cells, and what a block prints is its output. Pictures are
    left out, since the cells draw them, and links to other pages are their words.
    """
    cells: list[dict[str, Any]] = []

    def add(kind: str, source: str, **more: Any) -> None:
        if source.strip():
            cell = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}}
            cells.append(cell | {"source": source.strip("\n")} | more)

    # Between blocks of three groups, prose.
    for number, piece in enumerate(parts := _BLOCK.split(text)):
        if number % 3 == 0:
            add("markdown", _RELATIVE.sub(r"\1", _PICTURE.sub("", piece)))
        elif number % 3 == 2:
            kind = parts[number - 1]
            if kind == "text" and cells and cells[-1]["cell_type"] == "code":
                printed = {"output_type": "stream", "name": "stdout", "text": piece}
                cells[-1]["outputs"] = [printed]
            elif kind == "text":
                add("markdown", f"```text\n{piece}```")
            else:
                source = piece if kind == "python" else "%%bash\n" + piece.replace(".venv/bin/", "")
                add("code", source, execution_count=None, outputs=[])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    return json.dumps(content | {"nbformat_minor": 5}, indent=1, ensure_ascii=False) + "\n"
