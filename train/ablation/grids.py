"""Which variants an ablation has, and what is compared: the paper's tables, ours, one's own."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from train.ablation.records import NAME
from train.ablation.verdicts import Comparison
from train.config import MethodConfig, from_json
from train.core.errors import UserError
from train.core.user_file import whole_name
from train.data.labels import check_labels
from train.methods.registry import METHODS, method_class
from train.presets import RECIPES, TINY_METHOD_OPTIONS, Recipe

TEACHER: Final = "teacher"
"""The name of the teacher's own record; no variant can have it."""


@dataclass(frozen=True)
class Variant(Recipe):
    """One way to train the student: a method with options, and which frames have labels."""

    labels: str = "all"
    """Which training frames have labels for it, as `--data.labels`; in a file ``labels``."""

    def config(self, model: str) -> MethodConfig:
        """Return the method's options for a pair, "paper" or "tiny".

        Raises
        ------
        UserError
            If an option is unknown or a value is refused.
        """
        default = method_class(self.method).Config(
            **(TINY_METHOD_OPTIONS.get(self.method, {}) if model == "tiny" else {})
        )
        return from_json(dict(self.options), default)


@dataclass(frozen=True)
class Grid:
    """Variants and the comparisons that are made between them.

    Attributes
    ----------
    title
        What the grid asks, for the page.
    variants
        By name, in the order in which they run.
    comparisons
        Of variants of this grid.
    own
        Whether it is of a file of the user's: its page also says its title and its options.
    """

    title: str
    variants: Mapping[str, Variant]
    comparisons: tuple[Comparison, ...]
    own: bool = False

    @property
    def control(self) -> str | None:
        """The variant that learns from labels alone: the gate holds the teacher against it."""
        return self._first("none")

    @property
    def positive(self) -> str | None:
        """The variant that is known to help: an experiment that does not see it sees nothing."""
        return self._first("kd")

    def _first(self, method: str) -> str | None:
        return next(
            (name for name, variant in self.variants.items() if variant.method == method), None
        )


def _against(baseline: str, *variants: str, primary: bool = True) -> tuple[Comparison, ...]:
    return tuple(Comparison(variant, baseline, primary) for variant in variants)


def _topology(description: str = "", **options: Any) -> Variant:
    """Return the paper's method; weights that are not given are 0, the divergence's is 1."""
    weights = {"topology": 0.0, "saliency": 0.0, "distillation": 1.0}
    if "topology_balance" in options:
        weights.pop("topology")
    return Variant("topology-gradient", weights | options, description)


# The points, the scale and the share are those of all terms that compare distances between points,
# so that variants differ in what is compared alone. They were fixed before anything was run.
_EDGES: Final = RECIPES["edges"].options
_RELATIONS: Final[dict[str, Any]] = {
    "normalization": "rms",
    "sampling": "random",
    "balance": 0.3,
}

_CE: Final = Variant("none", description="cross-entropy against the labels alone")
_KD: Final = Variant("kd", {"temperature": 1.0}, "cross-entropy and softened logits")

_TUNED: Final = {"temperature": 4.0, "distillation": 1.0}
"""Softened logits as chosen on tuning scenes (docs/results/tuning_records.jsonl.gz)."""

_MAIN: Final = Grid(
    "Which loss pays: each term beside softened logits, against them alone",
    {
        "ce": _CE,
        "kd": _KD,
        "pwcd": _topology("kd and the paper's topological term", topology=8.0),
        "saliency": _topology("kd and the paper's saliency term", saliency=1.0),
        "paper": _topology("kd and both of the paper's terms", topology=8.0, saliency=1.0),
        "edges": _topology("kd and distances at critical edges, share 0.3", **_EDGES),
        "placebo": _topology(
            "as edges, against the teacher's features of another cloud",
            **_EDGES,
            topology_target="other",
        ),
        "rkd": Variant("rkd", _RELATIONS, "kd and relational KD on the same points, share 0.3"),
    },
    (
        *_against("ce", "kd"),
        *_against("kd", "pwcd", "saliency", "paper", "edges", "rkd"),
        *_against("placebo", "edges"),
        *_against("rkd", "edges"),
        *_against("kd", "placebo", primary=False),
        *_against("ce", "paper", primary=False),
    ),
)

_LABELS: Final = Grid(
    "What a student is worth whose frames nobody labeled, or few",
    {
        "ce": Variant("none", description="cross-entropy against all labels, without a teacher"),
        "kd": Variant("kd", _TUNED, "all labels and softened logits, tuned"),
        "kd-none": Variant("kd", _TUNED, "softened logits alone, without a label", "none"),
        "kd-5": Variant("kd", _TUNED, "labels on 5 % of the frames, logits on all", "0.05"),
        "ce-5": Variant("none", {}, "cross-entropy on the 5 % of the frames with labels", "0.05"),
        "kd-1": Variant("kd", _TUNED, "labels on 1 % of the frames, logits on all", "0.01"),
        "ce-1": Variant("none", {}, "cross-entropy on the 1 % of the frames with labels", "0.01"),
    },
    (
        *_against("ce", "kd", "kd-none"),
        *_against("ce-5", "kd-5"),
        *_against("ce-1", "kd-1"),
        *_against("kd", "kd-none", primary=False),
        *_against("ce", "kd-5", "kd-1", primary=False),
    ),
)

_CONTROL: Final = Grid(
    "Whether distillation shows here at all: the positive control, with labels and without",
    {name: _LABELS.variants[name] for name in ("ce", "kd", "kd-none")},
    _against("ce", "kd", "kd-none"),
)

_TABLE5: Final = Grid(
    "Table 5: topology and saliency beside softened logits",
    {
        "kd": _KD,
        "topology": _topology(topology=8.0),
        "saliency": _topology(saliency=1.0),
        "topology-saliency": _topology(topology=8.0, saliency=1.0),
    },
    _against("kd", "topology", "saliency", "topology-saliency"),
)


def _table7() -> Grid:
    """Return the 27 weights of Table 7, each against the ones that the paper chose."""
    variants = {
        f"t{topology:g}-g{saliency:g}-k{distillation:g}": _topology(
            topology=topology, saliency=saliency, distillation=distillation
        )
        for topology in (0.5, 4.0, 8.0)
        for saliency in (0.5, 1.0, 2.0)
        for distillation in (0.5, 1.0, 2.0)
    }
    chosen = "t8-g1-k1"
    others = [name for name in variants if name != chosen]
    return Grid("Table 7: weights of the terms", variants, _against(chosen, *others))


def _table10() -> Grid:
    """Return Table 10's layers, and each with rows in another order, as two networks made alone."""
    layers = {
        "encoder-early": ("enc0", "enc1"),
        "encoder-late": ("enc4",),
        "decoder-early": ("dec3",),
        "decoder-late": ("dec0",),
        "decoder": ("decoder",),
    }
    variants = {"none": _topology(topology=8.0)}
    for name, stages in layers.items():
        own: dict[str, Any] = {"topology": 8.0, "saliency": 1.0, "saliency_stages": stages}
        variants[name] = _topology(**own)
        variants[f"{name}-unshared"] = _topology(**own, shared_order=False)
    return Grid(
        "Table 10: layers whose saliency is aligned, with rows in one order and in two",
        variants,
        (
            *_against("none", *layers),
            *(Comparison(f"{name}-unshared", name) for name in layers),
        ),
    )


def _table11() -> Grid:
    """Return PWCD and entropic transport over eps: absolute, and relative to the largest cost."""
    variants = {"kd": _KD, "pwcd": _topology(topology=8.0)}
    for eps in (0.02, 0.05, 0.1, 0.2):
        sinkhorn: dict[str, Any] = {
            "topology": 8.0,
            "diagram_distance": "sinkhorn",
            "sinkhorn_eps": eps,
        }
        variants[f"sinkhorn-{eps:g}"] = _topology(**sinkhorn)
        variants[f"sinkhorn-{eps:g}-relative"] = _topology(**sinkhorn, sinkhorn_relative=True)
    others = [name for name in variants if name != "kd"]
    return Grid(
        "Table 11: the persistence-weighted Chamfer distance against entropic transport",
        variants,
        (
            *_against("kd", *others),
            *_against("pwcd", *(name for name in others if name != "pwcd"), primary=False),
        ),
    )


# What these variants were when they were recorded; clouds of regions, the default, came later.
_WHOLE_FRAMES: Final[dict[str, Any]] = {
    "region": 0,
    "num_clouds": 2000,
    "clouds_per_frame": 64,
    "fit_epochs": 300,
    "fit_lr": 5e-4,
    "fit_schedule": "constant",
    "fit_standardize": False,
}

# Beside softened logits of TopKD's own weight and temperature, so that the images alone differ.
_TOPKD: Final = Grid(
    "TopKD: what the images add to its softened logits, from RipsNet and exact",
    {
        "ce": _CE,
        "kd": Variant("kd", {"distillation": 2.0, "temperature": 4.0}, "TopKD without images"),
        "topkd": Variant("topkd", _WHOLE_FRAMES, "and RipsNet's images, weight 5"),
        "exact": Variant("topkd", {**_WHOLE_FRAMES, "exact": True}, "and exact images, weight 5"),
    },
    (
        *_against("ce", "kd"),
        *_against("kd", "topkd", "exact"),
        *_against("topkd", "exact", primary=False),
    ),
)


def _methods() -> Grid:
    """Return every method that needs points alone; those of teachers against softened logits."""
    variants = {name: Variant(name) for name in METHODS if not method_class(name).batch_fields}
    first = [name for name in ("none", "kd") if name in variants]
    order = [*first, *(name for name in variants if name not in first)]
    return Grid(
        "All of --method that need points alone, with their defaults",
        {name: variants[name] for name in order},
        (*_against("none", "kd"), *_against("kd", *order[2:])),
    )


def built_in() -> dict[str, Grid]:
    """Return the grids that are there by name."""
    return {
        "control": _CONTROL,
        "main": _MAIN,
        "labels": _LABELS,
        # What was run before the rules were set: questions, not findings.
        "exploratory": _MAIN,
        "methods": _methods(),
        "topkd": _TOPKD,
        "table5": _TABLE5,
        "table7": _table7(),
        "table10": _table10(),
        "table11": _table11(),
    }


def find_grid(name: str) -> tuple[str, Grid]:
    """Return a grid and its name: one that is there, or that of a TOML file.

    Raises
    ------
    UserError
        If there is no such grid or file, or the file is no grid.
    """
    grids = built_in()
    if name in grids:
        return name, grids[name]
    path = Path(name)
    if path.suffix == ".toml" and not NAME.fullmatch(path.stem):
        raise UserError(
            f"--grid {name}: the file's name names the records; give it letters, digits and single "
            "'-', '_', '.' in between"
        )
    if path.suffix != ".toml":
        raise UserError(
            f"--grid {name}: no such grid; choose {', '.join(grids)}, or a file NAME.toml"
        )
    return path.stem, read_grid(path)


def read_grid(path: Path) -> Grid:
    """Return the grid of a TOML file.

    The file has ``title``, a table ``[variants.NAME]`` for each variant with ``method``, options of
    this method and a ``description``, and ``[[comparisons]]`` with ``variant``, ``baseline`` and,
    if it is one of the questions that the grid was made for, ``primary = true``.

    Raises
    ------
    UserError
        If the file is missing or damaged, or a variant, method or option is unknown.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"--grid {path}: no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--grid {path}: no TOML ({error})") from error
    unknown = content.keys() - {"title", "variants", "comparisons"}
    if unknown:
        raise UserError(
            f"--grid {path}: unknown entry {min(unknown)}; a grid has title, variants, comparisons"
        )
    tables = content.get("variants")
    if not isinstance(tables, dict) or not tables:
        raise UserError(f"--grid {path}: no variants; write a table [variants.NAME] for each")
    variants = {name: _variant(path, name, table) for name, table in tables.items()}
    comparisons = [
        _comparison(path, variants, number, entry)
        for number, entry in enumerate(content.get("comparisons", []), start=1)
    ]
    return Grid(str(content.get("title", path.stem)), variants, tuple(comparisons), own=True)


def _variant(path: Path, name: str, table: object) -> Variant:
    where = f"--grid {path}: variant {name}"
    if name == TEACHER:
        raise UserError(f"{where}: this name is the teacher's own; choose another")
    if not NAME.fullmatch(name):  # before hours are spent on a run that cannot be recorded
        raise UserError(f"{where}: a name has letters, digits and single '-', '_', '.' in between")
    if not isinstance(table, dict) or not isinstance(table.get("method"), str):
        raise UserError(f"{where} has no method; known: {', '.join(METHODS)}")
    try:
        method = whole_name("method", table["method"], "CLASS")
        method_class(method)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    options = {
        key.replace("-", "_"): value
        for key, value in table.items()
        if key not in ("method", "description", "labels")
    }
    known = {field.name for field in dataclasses.fields(method_class(method).Config)}
    if unknown := sorted(options.keys() - known):
        raise UserError(
            f"{where}: {method} has no option {unknown[0]}; it has {', '.join(sorted(known))}"
        )
    labels = str(table.get("labels", "all"))
    variant = Variant(method, options, str(table.get("description", "")), labels)
    try:
        check_labels(labels)
        method_class(method).check_labels(variant.config("tiny"), labels)
    except (UserError, TypeError) as error:
        raise UserError(f"{where}: {error}") from error
    return variant


def _comparison(
    path: Path, variants: Mapping[str, Variant], number: int, entry: object
) -> Comparison:
    where = f"--grid {path}: comparison {number}"
    if not isinstance(entry, dict) or not {"variant", "baseline"} <= entry.keys() <= {
        "variant",
        "baseline",
        "primary",
    }:
        raise UserError(f"{where} needs variant and baseline, and may say primary = true")
    for role in ("variant", "baseline"):
        if entry[role] not in variants:
            raise UserError(
                f"{where}: {role} {entry[role]} is no variant of this grid; it has "
                f"{', '.join(variants)}"
            )
    return Comparison(entry["variant"], entry["baseline"], bool(entry.get("primary", False)))
