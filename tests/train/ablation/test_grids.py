"""Grids: the built-in ones fit the methods, and a file of one's own is refused by name and hint."""

import pytest

from train.ablation.grids import built_in, find_grid, read_grid
from train.ablation.records import NAME
from train.core.errors import UserError
from train.methods.registry import METHODS, method_class

GOOD = """
title = "mine"
[variants.ce]
method = "none"
[variants.mine]
method = "topology-gradient"
diagram-distance = "edges"
saliency-stages = ["dec0"]
description = "edges"
[[comparisons]]
variant = "mine"
baseline = "ce"
primary = true
"""


@pytest.mark.parametrize("name", built_in())
def test_every_variant_of_a_built_in_grid_has_valid_options(name):
    grid = built_in()[name]
    for model in ("tiny", "paper"):
        for variant_name, variant in grid.variants.items():
            variant.config(model)
            assert NAME.fullmatch(variant_name), "a run of it could not be recorded"
    for comparison in grid.comparisons:
        assert {comparison.variant, comparison.baseline} <= grid.variants.keys()
        assert comparison.variant != comparison.baseline


def test_the_main_grid_has_the_variants_and_questions_that_were_set_beforehand():
    grid = built_in()["main"]
    assert list(grid.variants) == [
        "ce",
        "kd",
        "pwcd",
        "saliency",
        "paper",
        "edges",
        "placebo",
        "rkd",
    ]
    primary = [(c.variant, c.baseline) for c in grid.comparisons if c.primary]
    assert ("kd", "ce") in primary
    assert ("edges", "placebo") in primary
    assert ("edges", "rkd") in primary
    # The placebo differs from what it is a placebo of in its target alone.
    edges, placebo = (grid.variants[name].config("tiny") for name in ("edges", "placebo"))
    changed = {k for k, v in vars(edges).items() if vars(placebo)[k] != v}
    assert changed == {"topology_target"}


def test_the_methods_grid_has_every_method_that_needs_points_alone():
    variants = {variant.method for variant in built_in()["methods"].variants.values()}
    assert variants == {name for name in METHODS if not method_class(name).batch_fields}


def test_the_topkd_grid_differs_in_the_images_alone():
    variants = {
        name: variant.config("tiny") for name, variant in built_in()["topkd"].variants.items()
    }
    for name in vars(variants["kd"]):
        assert getattr(variants["kd"], name) == getattr(variants["topkd"], name)
    changed = {k for k, v in vars(variants["topkd"]).items() if vars(variants["exact"])[k] != v}
    assert changed == {"exact"}


def test_table_7_has_the_papers_27_weights():
    weights = {
        (c.topology, c.saliency, c.distillation)
        for c in (variant.config("paper") for variant in built_in()["table7"].variants.values())
    }
    assert len(weights) == 27
    assert (8.0, 1.0, 1.0) in weights


def test_a_file_is_read_and_named_after_itself(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    name, grid = find_grid(str(path))
    assert (name, grid.title, list(grid.variants)) == ("mine", "mine", ["ce", "mine"])
    config = grid.variants["mine"].config("tiny")
    assert (config.diagram_distance, config.saliency_stages) == ("edges", ("dec0",))
    (comparison,) = grid.comparisons
    assert (comparison.variant, comparison.baseline, comparison.primary) == ("mine", "ce", True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[variants.ce]", "[variants.teacher]"), "the teacher's own"),
        (("[variants.ce]", '[variants."c+e"]'), "variant c+e: a name has letters, digits"),
        (('method = "none"', ""), "variant ce has no method; known: "),
        (('method = "none"', 'method = "kdd"'), "variant ce: --method kdd: unknown method"),
        (('method = "none"', 'method = "gone.py:Hint"'), "there is no file gone.py"),
        (("diagram-distance", "diagram-distanse"), "has no option diagram_distanse"),
        (('"edges"\nsal', '"sorted"\nsal'), "variant mine"),
        (('["dec0"]', '"dec0"'), "is 'dec0'; give a value of the kind of [\"decoder\"]"),
        (('["dec0"]', "[0]"), "option saliency_stages is [0]"),
        (('"edges"\nsal', '"edges"\ntopology = "8"\nsal'), "topology is '8'; give a value of the"),
        (('"edges"\nsal', '"edges"\nnum-samples = 8.5\nsal'), "option num_samples is 8.5"),
        (('"edges"\nsal', '"edges"\nkd-ignore = 1\nsal'), "option kd_ignore is 1"),
        (('baseline = "ce"', 'baseline = "cee"'), "baseline cee is no variant of this grid"),
        (('baseline = "ce"', ""), "comparison 1 needs variant and baseline"),
        (('title = "mine"', 'name = "mine"'), "unknown entry name"),
        (("[variants.ce]", "[variants.ce"), "no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(UserError) as raised:
        read_grid(path)
    assert message in str(raised.value)
    assert "mine.toml" in str(raised.value)


def test_a_file_name_that_cannot_name_records(tmp_path):
    path = tmp_path / "my grid.toml"
    path.write_text(GOOD)
    with pytest.raises(UserError, match="the file's name names the records"):
        find_grid(str(path))


@pytest.mark.parametrize("name", ["nothing", "nothing.toml"])
def test_a_grid_that_is_not_there(name):
    with pytest.raises(UserError, match="--grid nothing"):
        find_grid(name)
