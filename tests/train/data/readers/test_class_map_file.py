"""Class maps from files: what they mean, and one line for everything that is wrong with one."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.damage import refused, refused_at
from train.data.class_map import ClassMap
from train.data.kitti_layout import read_class_map
from train.data.readers.class_map_file import class_map_yaml
from train.data.semantickitti.classes import CLASS_MAP

# Two raw classes fold into one; learning ids have gaps and the ignored one is in the middle.
MAP = """
labels: {0: "nothing", 3: "car", 4: "van", 7: "road", 9: "mud"}
learning_map: {0: 5, 3: 2, 4: 2, 7: 8, 9: 5}
learning_map_inv: {2: 4, 5: 9, 8: 7}
learning_ignore: {2: False, 5: True, 8: False}
split:
  train: [0, 1, "hill"]
  valid: [12]
  test:
color_map: {4: [255, 0, 0], 7: [0, 51, 102]}
"""


def write(folder: Path, text: str, name: str = "classes.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_ids_names_splits_and_colors(tmp_path: Path):
    made = read_class_map(write(tmp_path, MAP))
    assert made.class_names == ("van", "road")  # by learning_map_inv: 4 and 7
    assert made.raw_to_train == {0: -1, 3: 0, 4: 0, 7: 1, 9: -1}
    assert made.train_to_raw == (4, 7)
    assert made.ignored_raw == 9
    assert made.split == {"training": ("00", "01", "hill"), "validation": ("12",), "test": ()}
    assert made.colors == ((0.0, 0.0, 1.0), (0.4, 0.2, 0.0))  # the file has blue first
    raw = np.array([7, 3, 0, 4], dtype=np.uint16)
    assert made.train_ids(raw, tmp_path).tolist() == [1, 0, -1, 0]
    assert made.raw_ids(np.array([1, 0, -1])).tolist() == [7, 4, 9]


def test_a_map_of_labels_alone_makes_each_a_class(tmp_path: Path):
    text = "labels: {-1: none, 1: ground, 2: tree}\nlearning_ignore: {-1: true}\n"
    made = read_class_map(write(tmp_path, text, "classes.yml"))
    assert made.class_names == ("ground", "tree")
    assert made.train_to_raw == (1, 2)
    assert made.train_ids(np.array([2, -1, 1]), tmp_path).tolist() == [1, -1, 0]
    assert made.split == {}
    assert made.colors is None


def check_is_semantickitti(made: ClassMap) -> None:
    for name in (
        "class_names", "raw_names", "raw_to_train", "train_to_raw", "ignored_raw", "split",
    ):  # fmt: skip
        assert getattr(made, name) == getattr(CLASS_MAP, name), name


@pytest.mark.real_data
def test_the_official_file_is_semantickitti(real_data: Path):
    made = read_class_map(real_data / "semantickitti/config/semantic-kitti.yaml")
    check_is_semantickitti(made)
    assert made.colors is not None
    assert made.colors[0] == (100 / 255, 150 / 255, 245 / 255)  # car, which pictures show blue


@pytest.mark.real_data
def test_the_official_file_of_moving_classes_has_more_of_them(real_data: Path):
    made = read_class_map(real_data / "semantickitti/config/semantic-kitti-all.yaml")
    assert len(made.class_names) == 25
    assert {"car", "moving-car"} <= set(made.class_names)


def test_what_the_simulator_writes_is_semantickitti(tmp_path: Path):
    path = write(tmp_path, class_map_yaml(CLASS_MAP, CLASS_MAP.split))
    check_is_semantickitti(read_class_map(path))


GOOSE = """class_name,label_key,has_instance,hex
undefined,0,0,#000000
traffic_cone,1,1,#ff8000
asphalt,23,0,#010203
"""


def test_the_list_of_goose(tmp_path: Path):
    made = read_class_map(write(tmp_path, "\ufeff" + GOOSE, "goose_label_mapping.csv"))
    assert made.class_names == ("traffic_cone", "asphalt")
    assert made.raw_to_train == {0: -1, 1: 0, 23: 1}
    assert made.ignored_raw == 0
    assert made.colors is not None
    assert made.colors[0] == (1.0, 128 / 255, 0.0)


BAD = [
    (MAP.replace("7: 8,", ""), "learning_map lacks 7 of labels"),
    (MAP.replace("7: 8,", "7: 8, 11: 8,"), "learning_map has 11, not in labels"),
    (MAP.replace("7: 8,", "7: 8, 3: 8,"), "line 3: 3 is there twice"),
    (MAP.replace("4: \"van\"", "3: \"van\""), "line 2: 3 is there twice"),
    (MAP + "labels: {}\n", "labels is there twice"),
    (MAP.replace("8: 7}", "2: 7}"), "line 4: 2 is there twice"),
    (MAP.replace(", 8: 7}", "}"), "learning_map_inv lacks 8 of the classes of learning_map"),
    (MAP.replace("8: 7}", "8: 7, 9: 0}"), "learning_map_inv has 9, not in the classes"),
    (MAP.replace("{2: 4,", "{2: 7,"), "learning_map_inv says 2: 7, but learning_map has 8"),
    (MAP.replace("{2: 4,", "{2: 1,"), "learning_map has nothing for 1"),
    (re.sub("learning_map_inv.*", "", MAP), "class 2 is made of 3 (car), 4 (van); add"),
    (re.sub("learning_ignore.*", "", MAP), "add learning_ignore: {2: true} to leave out van"),
    (MAP.replace("5: True", "6: True"), "learning_ignore has 6, which is no class"),
    (MAP.replace("5: True", "5: 1"), "learning_ignore has 5: 1; give true or false"),
    (MAP.replace("8: False", "8: True"), "1 classes are not ignored; at least 2"),
    (MAP.replace('"van"', '"road"'), "two classes are called road"),
    (MAP.replace('"van"', '""'), "labels has 4: ''"),
    (MAP.replace('"van"', "5"), "labels has 4: 5"),
    (MAP.replace('{0: "nothing"', '{70000: "nothing"'), "labels has 70000"),
    (MAP.replace('{0: "nothing"', '{zero: "nothing"'), "labels has 'zero' for an id"),
    (MAP.replace("7: 8,", "7: road,"), "learning_map has 7: 'road'"),
    (MAP.replace("7: 8,", "7: true,"), "learning_map has 7: True"),
    ("labels: [a, b]", "labels is no list of entries"),
    ("- a\n- b\n", "has no entry labels"),
    ("", "has no entry labels"),
    ("labels: {0: a", "is no YAML in line 1"),
    ("labels: !!python/object/apply:os.system ['true']", "is no YAML in line 1"),
    (MAP.replace("valid: [12]", "val: [12]"), "split has val; its entries are train, valid, test"),
    (MAP.replace("valid: [12]", "valid: [0]"), "sequence 00 twice, in train and valid"),
    (MAP.replace("valid: [12]", "valid: 12"), "split, valid is no list"),
    (MAP.replace("valid: [12]", "valid: [1.5]"), "split, valid has 1.5"),
    (MAP.replace("[255, 0, 0]", "[256, 0, 0]"), "color_map has 4: [256, 0, 0]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, message: str):
    path = write(tmp_path, text)
    refused_at(f"--data.class-map {path}", lambda: read_class_map(path), message)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.json", "{}", "is a file .yaml"),
        ("g.csv", GOOSE.replace("label_key", "id"), "has no column label_key"),
        ("g.csv", GOOSE.replace("cone,1,", "cone,one,"), "line 3: label_key one is no id"),
        ("g.csv", GOOSE.replace("asphalt,23", "asphalt,1"), "line 4: 1 is there twice"),
        ("g.csv", GOOSE.replace("#010203", "#red"), "line 4: hex #red is no color"),
    ],
)
def test_other_files(tmp_path: Path, name: str, text: str, message: str):
    refused(lambda: read_class_map(write(tmp_path, text, name)), message)


def test_a_missing_file_and_a_missing_package_are_named(tmp_path: Path, monkeypatch):
    gone = tmp_path / "gone.yaml"
    refused_at(gone, lambda: read_class_map(gone), "cannot be read", "No such file")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = "PyYAML, which is not installed: pip install"
    refused(lambda: read_class_map(write(tmp_path, MAP)), said)
