"""A class map as a file: YAML with the keys of SemanticKITTI's own, or (read only) GOOSE's CSV."""

import csv
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from train.core.bounded import first_line, whole_number
from train.core.errors import UserError
from train.data.class_map import MAX_RAW_ID, ClassMap
from train.data.files import check_size, listed, read_bytes
from train.data.frame import IGNORE_INDEX

SPLIT_KEYS: Final = {"train": "training", "valid": "validation", "test": "test"}
"""The file's names of the parts, and ours."""

CLASS_MAP_FILE: Final = "class_map.yaml"
"""What written data roots call theirs."""

_MOST_BYTES: Final = 1 << 20
_MOST_LEVELS: Final = 20
_PLAIN_VALUES: Final = (
    ("bool", r"(?i:true|false|yes|no|on|off)", list("tTfFyYnNoO")),
    ("int", r"-?(0|[1-9][0-9]{0,17})", list("-0123456789")),
    (
        "float",
        r"[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?i:inf)|\.(?i:nan)",
        list("-+.0123456789"),
    ),
    ("null", r"~|(?i:null)|", ["~", "n", "N", ""]),
)
"""Tag, pattern and first letters of what is no text; dates and all other numbers are texts."""

_IGNORED_OF_CSV: Final = 0
_CSV_COLUMNS: Final = ("class_name", "label_key")


def read_class_map(path: Path) -> ClassMap:
    """Read a class map.

    Parameters
    ----------
    path
        `.yaml` or `.yml`: `labels` (id on disk -> name), and, as far as they are needed,
        `learning_map` (id on disk -> class; without it every label is a class of its own),
        `learning_map_inv` (class -> the id that it is written as, whose name it has),
        `learning_ignore` (class -> whether it counts in neither training nor scores), `split`
        (train, valid, test -> sequences) and `color_map` (id on disk -> blue, green, red).
        `.csv`: GOOSE's `goose_label_mapping.csv`, every class for itself, id 0 ignored.

    Returns
    -------
    ClassMap
        The classes that are not ignored are renumbered from 0 in the order of their ids.

    Raises
    ------
    UserError
        If the file cannot be read, an id is missing, doubled or contradicts another entry, or no
        two classes are left.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_entries(path, _read_yaml(path))
    if path.suffix.lower() == ".csv":
        return _from_entries(path, _read_csv(path))
    raise UserError(
        f"--data.class-map {path}: a class map is a file .yaml (SemanticKITTI's keys) or .csv "
        "(GOOSE's goose_label_mapping.csv)"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    """Return the entries of a YAML file; doubled keys, which YAML's reader drops, are refused."""
    if importlib.util.find_spec("yaml") is None:
        raise UserError(
            f"--data.class-map {path}: YAML is read by PyYAML, which is not installed: "
            "pip install 'topodistill[train]'"
        )
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML carries no types
        """The safe loader without aliases and tags; numbers are plain, and keys not doubled."""

        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            self.depth += 1
            for name, wrong in (
                ("an alias", isinstance(event, yaml.AliasEvent)),
                (f"a tag ({getattr(event, 'tag', None)})", getattr(event, "tag", None)),
                ("more than 20 levels", self.depth > _MOST_LEVELS),
            ):
                if wrong:
                    raise yaml.MarkedYAMLError(problem=f"has {name}", problem_mark=event.start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, (list, dict)):
                    key = str(key)
                if key in seen:
                    raise UserError(
                        f"--data.class-map {path}: line {key_node.start_mark.line + 1}: {key} is "
                        "there twice; leave one of the entries"
                    )
                seen.add(key)
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            return made

    for name, pattern, first in _PLAIN_VALUES:
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"), first
        )
    try:
        found = yaml.load(_read_small(path), Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or first_line(error)
        raise UserError(
            f"--data.class-map {path}: is no YAML{where} ({reason}); correct it, or write plain "
            "entries"
        ) from error
    if not isinstance(found, dict) or "labels" not in found:
        raise UserError(
            f"--data.class-map {path}: has no entry labels, a name for each id in the label files, "
            "such as labels: {0: unlabeled, 1: road, 2: car}"
        )
    return found


def _read_small(path: Path) -> bytes:
    where = f"--data.class-map {path}"
    return read_bytes(path, lambda size: check_size(where, size, _MOST_BYTES, "a class map"))


def _read_csv(path: Path) -> dict[str, Any]:
    """Return GOOSE's list of classes as the entries of a YAML file."""
    try:
        lines = list(csv.reader(_read_small(path).decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"--data.class-map {path}: is no table ({error}); write it again"
        ) from error
    names = [name.strip() for name in lines[0]] if lines else []
    missing = [name for name in _CSV_COLUMNS if name not in names]
    if missing:
        raise UserError(
            f"--data.class-map {path}: has no column {' and no '.join(missing)}; expected GOOSE's "
            f"goose_label_mapping.csv, found {listed(names)}"
        )
    if doubled := [name for name in _CSV_COLUMNS if names.count(name) > 1]:
        raise UserError(f"--data.class-map {path}: has two columns {doubled[0]}; leave one of them")
    labels: dict[int, str] = {}
    colors: dict[int, list[int]] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        row = dict(zip(names, map(str.strip, line), strict=False))
        word, color = row.get("label_key", ""), row.get("hex", "")
        key = whole_number(word)
        if key is None:
            raise UserError(
                f"--data.class-map {path}: line {number}: label_key {word} is no id; write a whole "
                "number"
            )
        if key in labels:
            raise UserError(
                f"--data.class-map {path}: line {number}: {key} is there twice; leave one of the "
                "entries"
            )
        labels[key] = row.get("class_name", "")
        if color:
            try:
                colors[key] = list(bytes.fromhex(color.removeprefix("#")))[::-1]
            except ValueError as error:
                raise UserError(
                    f"--data.class-map {path}: line {number}: hex {color} is no color"
                ) from error
    ignored = {_IGNORED_OF_CSV: True} if _IGNORED_OF_CSV in labels else {}
    return {"labels": labels, "learning_ignore": ignored, "color_map": colors}


def _from_entries(path: Path, entries: Mapping[str, Any]) -> ClassMap:
    where = f"--data.class-map {path}"
    labels = _mapping(where, entries, "labels")
    for raw, name in labels.items():
        if not -1 <= raw <= MAX_RAW_ID or not isinstance(name, str) or not name.strip():
            raise UserError(
                f"{where}: labels has {raw}: {name!r}; an id is -1 to {MAX_RAW_ID}, and its name a "
                "word"
            )
    learning = _mapping(where, entries, "learning_map", {raw: raw for raw in labels})
    _same_ids(where, "learning_map", learning, "labels", labels)
    classes = sorted(set(learning.values()), key=int)
    inverse = _inverse(where, entries, labels, learning)
    if "learning_ignore" not in entries:
        raise UserError(
            f"{where}: has no learning_ignore, which says what counts in neither training nor "
            f"scores; add learning_ignore: {{{classes[0]}: true}} to leave out "
            f"{labels[inverse[classes[0]]]}, or learning_ignore: {{}} to leave out nothing"
        )
    ignore = _mapping(where, entries, "learning_ignore")
    if unknown := sorted(ignore.keys() - set(classes)):
        raise UserError(f"{where}: learning_ignore has {unknown[0]}, which is no class")
    for each, ignored in ignore.items():
        if not isinstance(ignored, bool):
            raise UserError(f"{where}: learning_ignore has {each}: {ignored!r}; give true or false")
    kept = [each for each in classes if not ignore.get(each, False)]
    names = [labels[inverse[each]].strip() for each in kept]
    if len(kept) < 2:
        raise UserError(
            f"{where}: {len(kept)} classes are not ignored; at least 2 are needed to learn from"
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{where}: two classes are called {doubled[0]}; give each its own name")
    train = {each: number for number, each in enumerate(kept)}
    left_out = [each for each in classes if each not in train]
    return ClassMap(
        source=f"the class map {path}",
        class_names=tuple(names),
        raw_names={raw: name.strip() for raw, name in labels.items()},
        raw_to_train={raw: train.get(each, IGNORE_INDEX) for raw, each in learning.items()},
        train_to_raw=tuple(inverse[each] for each in kept),
        ignored_raw=inverse[left_out[0]] if left_out else None,
        unknown_hint="add them to its labels and its learning_map",
        split=_split(where, entries),
        colors=_colors(where, entries, [inverse[each] for each in kept]),
    )


def _mapping(
    where: str, entries: Mapping[str, Any], key: str, default: dict[int, Any] | None = None
) -> dict[int, Any]:
    """Return an entry whose keys are ids."""
    found = entries.get(key, default)
    if not isinstance(found, dict):
        raise UserError(f"{where}: {key} is no list of entries ID: VALUE")
    for each in found:
        if type(each) is not int:
            raise UserError(f"{where}: {key} has {each!r} for an id; ids are whole numbers")
    if key == "learning_map":
        for raw, value in found.items():
            if type(value) is not int or value < -1:
                raise UserError(f"{where}: learning_map has {raw}: {value!r}; give a class's id")
    return found


def _same_ids(
    where: str, name: str, found: Mapping[int, Any], of: str, wanted: Mapping[int, Any]
) -> None:
    """Refuse a list that lacks ids of another, or has more."""
    if missing := sorted(wanted.keys() - found.keys()):
        raise UserError(
            f"{where}: {name} lacks {listed([str(each) for each in missing])} of {of}; add an "
            "entry for each"
        )
    if more := sorted(found.keys() - wanted.keys()):
        raise UserError(
            f"{where}: {name} has {listed([str(each) for each in more])}, not in {of}; add "
            f"an entry there, or remove it here"
        )


def _inverse(
    where: str, entries: Mapping[str, Any], labels: Mapping[int, str], learning: Mapping[int, int]
) -> dict[int, int]:
    """Return the id on disk that each class is written as."""
    by_class: dict[int, list[int]] = {}
    for raw, each in learning.items():
        by_class.setdefault(each, []).append(raw)
    if "learning_map_inv" not in entries:
        for each, raws in sorted(by_class.items()):
            if len(raws) > 1:
                shown = listed([f"{raw} ({labels[raw]})" for raw in sorted(raws)])
                raise UserError(
                    f"{where}: class {each} is made of {shown}; add learning_map_inv, which says "
                    "the id and so the name that each class has"
                )
        return {each: raws[0] for each, raws in by_class.items()}
    inverse = _mapping(where, entries, "learning_map_inv")
    _same_ids(where, "learning_map_inv", inverse, "the classes of learning_map", by_class)
    for each, raw in inverse.items():
        if raw not in by_class[each]:
            raise UserError(
                f"{where}: learning_map_inv says {each}: {raw}, but learning_map has "
                f"{learning.get(raw, 'nothing')} for {raw}; correct one of them"
            )
    return inverse


def _split(where: str, entries: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the sequences of each part; numbers have two digits, as SemanticKITTI's folders."""
    found = entries.get("split", {})
    if not isinstance(found, dict):
        raise UserError(f"{where}: split is no list of entries train, valid and test")
    if unknown := [str(each) for each in found if each not in SPLIT_KEYS]:
        raise UserError(f"{where}: split has {unknown[0]}; its entries are {', '.join(SPLIT_KEYS)}")
    parts: dict[str, tuple[str, ...]] = {}
    part_of: dict[str, str] = {}
    for key, sequences in found.items():
        if not isinstance(sequences, list | tuple | type(None)):
            raise UserError(f"{where}: split, {key} is no list of sequences")
        names = []
        for each in sequences or ():
            if type(each) not in (int, str):
                raise UserError(f"{where}: split, {key} has {each!r}, which is no sequence")
            name = f"{each:02d}" if isinstance(each, int) else each
            if name in part_of:
                raise UserError(
                    f"{where}: split has sequence {name} twice, in {part_of[name]} and {key}; "
                    "leave one of them"
                )
            part_of[name] = key
            names.append(name)
        parts[SPLIT_KEYS[key]] = tuple(names)
    return parts


def _colors(
    where: str, entries: Mapping[str, Any], raws: list[int]
) -> tuple[tuple[float, float, float], ...] | None:
    """Return the color of each class, red first, 0 to 1; None if one has none."""
    found = _mapping(where, entries, "color_map", {})
    rows = []
    for raw in raws:
        if raw not in found:
            return None
        color = found[raw]
        if (
            not isinstance(color, list)
            or len(color) != 3
            or not all(type(part) is int and 0 <= part <= 255 for part in color)
        ):
            raise UserError(
                f"{where}: color_map has {raw}: {color!r}; a color is blue, green, red, 0 to 255"
            )
        blue, green, red = (part / 255 for part in color)
        rows.append((red, green, blue))
    return tuple(rows)


def class_map_yaml(class_map: ClassMap, split: Mapping[str, tuple[str, ...]]) -> str:
    """Return a class map as `read_class_map` reads it, in the form of SemanticKITTI's own.

    Parameters
    ----------
    class_map
        Must have an id that is ignored.
    split
        "training", "validation", "test" -> sequences.
    """

    def section(name: str, entries: Mapping[int, object], comments: Mapping[int, str]) -> list[str]:
        rows = [f"  {key}: {value}" for key, value in entries.items()]
        notes = (comments.get(key) for key in entries)
        noted = [f"{row}  # {note}" if note else row for row, note in zip(rows, notes, strict=True)]
        return [f"{name}:", *noted]

    assert class_map.ignored_raw is not None
    names = class_map.raw_names
    learning = {
        raw: 0 if train == IGNORE_INDEX else train + 1
        for raw, train in class_map.raw_to_train.items()
    }
    inverse = {0: class_map.ignored_raw} | {
        train + 1: raw for train, raw in enumerate(class_map.train_to_raw)
    }
    lines = [
        "# What the ids in labels/ mean: id on disk -> class -> the id that a prediction has.",
        *section("labels", {raw: f'"{name}"' for raw, name in names.items()}, {}),
        *section("learning_map", learning, names),
        *section("learning_map_inv", inverse, {key: names[raw] for key, raw in inverse.items()}),
        *section("learning_ignore", {key: str(key == 0).lower() for key in inverse}, {}),
        "split:",
    ]
    for key, ours in SPLIT_KEYS.items():
        quoted = ", ".join(f'"{name}"' for name in split.get(ours, ()))
        lines.append(f"  {key}: [{quoted}]")
    return "\n".join([*lines, ""])
