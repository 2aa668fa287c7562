"""MkDocs hook: files outside docs/ become pages of the site, and links with them lead there."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "license.md",
    "reference/README.md": "api/definition.md",
}
_SOURCES = {page: source for source, page in PAGES.items()}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside docs/."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of a file where it lies into links of the site; other links stay as they are."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        path = normpath(join(dirname(_SOURCES.get(here, f"docs/{here}")), link[1]))
        if path not in PAGES and here not in _SOURCES:
            return link[0]
        target = PAGES.get(path, path.removeprefix("docs/"))
        return f"]({relpath(target, dirname(here) or '.')}"

    return re.sub(r"\]\((?!\w+:)([^)#\s]+)", moved, markdown)
