"""Names of classes in a file: text, YAML lists and maps, and what is none of these."""

import pytest

from train.core.errors import UserError
from train.data.waymo import CLASS_NAMES as WAYMO
from train.evaluation.load_network import read_class_names


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
