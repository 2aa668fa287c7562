"""nuScenes' classes and splits: the facts, against the published ones."""

import json
from pathlib import Path

import pytest

from train.data.nuscenes import CLASS_NAMES
from train.data.nuscenes.classes import CATEGORY_NAMES, CATEGORY_TO_TRAIN
from train.data.nuscenes.layout import SCENES

# The challenge's own numbers of the 32 categories in their usual order, 0 = ignored, by hand.
CHALLENGE = [
    0, 0, 7, 7, 7, 0, 7, 0, 0, 1, 0, 0, 8, 0, 2, 3, 3, 4, 5, 0, 0, 6, 9, 10, 11, 12, 13, 14, 15, 0,
    16, 0,
]  # fmt: skip


def test_class_map_is_the_challenge_s_shifted_by_one():
    assert [CATEGORY_TO_TRAIN[name] + 1 for name in CATEGORY_NAMES] == CHALLENGE
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 16


def test_the_official_splits_have_their_sizes_and_do_not_overlap():
    train, val = (set(SCENES[split]["v1.0-trainval"]) for split in ("training", "validation"))
    test = set(SCENES["test"]["v1.0-test"])
    assert (len(train), len(val), len(test)) == (700, 150, 150)
    assert not train & val
    assert not test & (train | val)
    mini = SCENES["training"]["v1.0-mini"], SCENES["validation"]["v1.0-mini"]
    assert (len(mini[0]), mini[1]) == (8, ("scene-0103", "scene-0916"))


@pytest.mark.real_data
def test_the_official_splits_are_the_published_lists(real_data: Path):
    path = real_data / "nuscenes/splits/nuscenes_scene_splits.json"
    published = json.loads(path.read_text())
    for split, version, name in (
        ("training", "v1.0-trainval", "train"),
        ("validation", "v1.0-trainval", "val"),
        ("test", "v1.0-test", "test"),
        ("training", "v1.0-mini", "mini_train"),
        ("validation", "v1.0-mini", "mini_val"),
    ):
        assert SCENES[split][version] == tuple(sorted(published[name]))


@pytest.mark.real_data
def test_the_categories_are_those_of_a_published_table(real_data: Path):
    path = real_data / "nuscenes/dev_tiny40/v1.0-trainval/category.json"
    rows = json.loads(path.read_text())
    assert {row["index"]: row["name"] for row in rows} == dict(enumerate(CATEGORY_NAMES))
