"""Class names of others, and fitting a network's classes to the data's by name."""

import dataclasses

import pytest
import torch

from tests.train.networks.conftest import _make_batch as make_batch
from tests.train.networks.official.official_files import write_official
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.data.waymo import CLASS_NAMES as WAYMO
from train.evaluation.load_network import (
    OFFICIAL_BOXES,
    fit_classes,
    open_checkpoint,
    open_network,
    read_class_names,
    voxels_of_checkpoint,
)
from train.networks.litept import build_litept
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model

WAYMO_BOX = dataset_spec("waymo").clip_range_m


@pytest.fixture
def litept(tmp_path):
    """A LitePT of three classes, as its trainer writes it."""
    torch.manual_seed(3)
    network = build_litept("tiny", 3).eval()
    return write_official(tmp_path / "litept.pth", network), network


def test_classes_are_matched_by_name_whatever_their_order(tmp_path, litept):
    path, network = litept
    (tmp_path / "names").write_text("Traffic_Cone\nroad\nhovercraft\n")
    opened = open_checkpoint(path, classes=str(tmp_path / "names"))
    assert opened.metadata.class_names == ("Traffic_Cone", "road", "hovercraft")
    wanted = ("road", "sidewalk", "traffic cone", "pole")
    fitted, note = fit_classes(opened, wanted, path, "--teacher-classes")
    assert note == (
        "2 of 4 classes are known to it by name; not known, and taught by labels alone: sidewalk, "
        "pole; known to it alone, and dropped: hovercraft"
    )
    assert (fitted.metadata.class_names, fitted.metadata.num_classes) == (wanted, 4)
    batch = make_batch([40], dtype=torch.float32)
    with torch.no_grad():
        before, after = network(batch).logits, fitted.model(batch).logits
    torch.testing.assert_close(after[:, [2, 0]], before[:, [0, 1]])
    assert not (after.argmax(1) % 2).any(), "what it does not know it never says"
    # What is written is an ordinary file: its reader need not know of any of this.
    save_model(fitted.model, fitted.metadata, tmp_path / "teacher.pt")
    again = open_checkpoint(tmp_path / "teacher.pt")
    assert again.is_ours
    assert again.model.known_classes == (True, False, True, False)
    assert again.metadata == fitted.metadata


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, r"has 3 classes, the data has 4; say which they are with --teacher-classes"),
        ("a\nb\nc", r"none of its classes \(a, b, c\) is one of the data's \(road, "),
        ("a\nb", "has 3 classes, but .*names names 2"),
    ],
)
def test_classes_that_cannot_be_matched_are_refused(tmp_path, litept, names, message):
    path, _ = litept
    if names is not None:
        (tmp_path / "names").write_text(names)
    with pytest.raises(UserError, match=message):
        fit_classes(
            open_checkpoint(path, classes=names and str(tmp_path / "names")),
            ("road", "sidewalk", "car", "pole"),
            path,
            "--teacher-classes",
        )


def test_a_dataset_with_as_many_classes_lends_its_names_and_says_so(tmp_path):
    path = write_official(tmp_path / "m.pth", build_segmentor("tiny-student", len(WAYMO)))
    opened = open_checkpoint(path, form="main", dataset="waymo")
    assert opened.metadata.class_names == WAYMO
    assert "taken to be those of waymo, in its order" in opened.note
    assert "noted a best mIoU of 78.3" in opened.note
    assert fit_classes(opened, WAYMO, path, "--x") == (opened, "")
    assert open_checkpoint(path, form="main", dataset="nuscenes").metadata.class_names == ()


def test_the_recipe_s_grid_and_box_come_with_a_file_of_others(tmp_path):
    ptv3 = write_official(tmp_path / "p.pth", build_segmentor("tiny-student", len(WAYMO)))
    lite = write_official(tmp_path / "l.pth", build_litept("tiny", len(WAYMO)))
    assert OFFICIAL_BOXES["ptv3", "waymo"] == WAYMO_BOX
    assert voxels_of_checkpoint(ptv3, dataset="waymo") == (0.05, WAYMO_BOX)
    assert voxels_of_checkpoint(ptv3, dataset="nuscenes") == (0.05, None)
    assert voxels_of_checkpoint(ptv3, classes="waymo", dataset="nuscenes") == (0.05, WAYMO_BOX)
    assert voxels_of_checkpoint(lite, dataset="waymo") == (0.05, None)
    opened = open_checkpoint(ptv3, form="v1.5.1", dataset="waymo")
    assert (opened.metadata.grid_size_m, opened.metadata.clip_range_m) == (0.05, WAYMO_BOX)
    changed = dataclasses.replace(opened.metadata, grid_size_m=0.2)
    save_model(opened.model, changed, tmp_path / "t.pt")
    assert voxels_of_checkpoint(tmp_path / "t.pt") == (0.2, WAYMO_BOX)


def test_predicting_takes_both_kinds_without_saying_which(tmp_path, litept):
    path, _ = litept
    network = open_network(path)
    assert (network.class_names, network.grid_size_m) == (None, 0.05)
    assert "litept:tiny, 3 classes (names unknown)" in network.note
    with pytest.raises(UserError, match="has 3 classes, waymo has 22"):
        open_network(path, dataset="waymo")
    ptv3 = write_official(tmp_path / "m.pth", build_segmentor("tiny-student", 3))
    assert open_network(ptv3, form="main").model.config.depth_rule == "main"


@pytest.mark.parametrize(
    "text",
    [
        "car\ntraffic cone\nroad\n",
        "# Pointcept's\n\ncar  # 0\n  traffic cone\nroad",
        "- car\n- 'traffic cone'\n- \"road\"\n",
        "[car, traffic cone, road]\n",
        "0: car\n1: traffic cone\n2: road\n",
    ],
)
def test_a_file_lists_names_as_text_or_yaml(tmp_path, text):
    (tmp_path / "names").write_text(text)
    assert read_class_names(str(tmp_path / "names")) == ("car", "traffic cone", "road")


def test_a_dataset_s_name_stands_for_its_classes():
    assert read_class_names("waymo") == WAYMO


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no class"),
        ("car\nCar\n", "lists car twice"),
        ("traffic_cone\ntraffic-cone", "lists traffic_cone twice"),
        ("1: car\n2: road\n", "gives class 1 where class 0 is expected"),
        (b"\xff\xfe\x00", "no text file"),
        (None, "cannot be read .No such file"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "names"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        read_class_names(str(path))
