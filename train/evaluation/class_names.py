"""Names of a network's classes as a user lists them."""

import re
from pathlib import Path

from train.core.errors import UserError
from train.data.registry import DATASETS, dataset_spec


def read_class_names(classes: str) -> tuple[str, ...]:
    """Return names of classes: a dataset's, or those that a file lists.

    Parameters
    ----------
    classes
        A name that the dataset registry knows, or the path of a text file with one name per line,
        or of a YAML list (``- car`` per line, or ``[car, truck]``) or map (``0: car``), in the
        order of the network's outputs; ``#`` begins a comment.

    Raises
    ------
    UserError
        If there is no such dataset or file, it lists nothing, a number is out of order, or two
        names are equal.
    """
    if classes in DATASETS:
        return tuple(dataset_spec(classes).class_names)
    path = Path(classes)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text file"
        raise UserError(
            f"{classes}: cannot be read ({reason}); give a file that lists the names of the "
            f"classes, or one of {', '.join(sorted(DATASETS))}"
        ) from error
    names: list[str] = []
    content = re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE).strip()
    is_flow = content.startswith("[") and content.endswith("]")
    lines = content[1:-1].split(",") if is_flow else content.splitlines()
    for number, line in enumerate(lines, start=1):
        entry = line.strip().removeprefix("- ").strip()
        found = re.fullmatch(r"(\d+)\s*:\s*(.+)", entry)
        if found is not None:
            if int(found[1]) != len(names):
                raise UserError(
                    f"{classes}: line {number} gives class {found[1]} where class {len(names)} is "
                    "expected; number the network's outputs from 0, none left out"
                )
            entry = found[2]
        entry = entry.strip().strip("'\"")
        if entry:
            names.append(entry)
    if not names:
        raise UserError(f"{classes}: lists no class; give one name per line")
    plain = [plain_name(name) for name in names]
    twice = next((name for name in names if plain.count(plain_name(name)) > 1), None)
    if twice is not None:
        raise UserError(f"{classes}: lists {twice} twice; each output has a name of its own")
    return tuple(names)


def plain_name(name: str) -> str:
    """Return a class's name without what spelling alone decides: case, spaces, underscores."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())
