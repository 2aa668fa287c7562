"""Frames of one's own: every layout, width and column, and what is said about what does not fit."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.damage import refused
from train.data.dataset_spec import dataset_spec
from train.data.frame import LidarFrame
from train.data.kitti_layout import list_sequences
from train.data.semantickitti import SPEC

MAP = """
labels: {0: nothing, 1: ground, 2: tree, 300: rock}
learning_ignore: {0: true}
split: {train: [0, 1], valid: [8]}
"""
RAW = np.array([1, 0, 300, 2, 2])
TRAIN = [0, -1, 2, 1, 1]
COORD = np.array([[1, 2, 3], [4, 5, 6], [-7, 8, 0.5], [0, 0, 0], [9.5, -2, 1]], dtype=np.float32)
STRENGTH = np.array([0.0, 0.25, 0.5, 0.75, 1.0], dtype=np.float32)


@pytest.fixture
def class_map(tmp_path: Path) -> Path:
    path = tmp_path / "classes.yaml"
    path.write_text(MAP)
    return path


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def points(scale: float = 1.0) -> bytes:
    return np.c_[COORD, STRENGTH * scale].astype("<f4").tobytes()


def labels(kind: str = "<u4", instance: int = 77) -> bytes:
    raw = RAW if kind != "<u4" else RAW | instance << 16
    return raw.astype(kind).tobytes()


def drive(folder: Path, *names: str, raw: bytes | None = None) -> Path:
    """Write frames of a drive, and return the folder that holds it."""
    for name in names:
        put(folder / f"velodyne/{name}.bin", points())
        put(folder / f"labels/{name}.label", labels() if raw is None else raw)
    return folder.parent


def check(frame: LidarFrame, strength: np.ndarray = STRENGTH) -> None:
    np.testing.assert_array_equal(frame.coord, COORD)
    np.testing.assert_array_equal(frame.strength, strength[:, None])
    assert frame.segment is not None
    assert frame.segment.tolist() == TRAIN
    assert (frame.coord.dtype, frame.strength.dtype) == (np.float32, np.float32)
    assert frame.segment.dtype == np.int64


def spec(class_map: Path | None, **options: object):
    return dataset_spec("kitti-layout", {"class_map": class_map, **options})


@pytest.mark.parametrize("below", ["sequences", "dataset/sequences", "."])
def test_drives_with_and_without_sequences(tmp_path: Path, class_map: Path, below: str):
    root = tmp_path / "data"
    for name in ("00", "01", "08", "forest"):
        drive(root / below / name, "000001", "000000")
    own = spec(class_map)
    assert own.class_names == ("ground", "tree", "rock")
    assert list_sequences(root) == ("00", "01", "08", "forest")
    source = own.open(root)
    assert source.names == ("00/000000", "00/000001", "01/000000", "01/000001")
    check(source[0])
    assert own.open(root, "validation").names == ("08/000000", "08/000001")
    assert own.open(root, sequences=["forest"])[1].name == "forest/000001"
    # Readers in other processes get the source by pickle.
    check(pickle.loads(pickle.dumps(source))[3])


def test_numbers_in_the_split_find_folders_of_any_width(tmp_path: Path, class_map: Path):
    for name in ("0", "0001", "8"):
        drive(tmp_path / "data" / name, "a")
    assert spec(class_map).open(tmp_path / "data").names == ("0/a", "0001/a")


def test_one_drive_alone_and_the_right_level(tmp_path: Path, class_map: Path):
    tmp_path /= "three/levels/down"  # what lies so far above is looked at too
    root = tmp_path / "data"
    drive(root / "sequences/hill", "000000")
    own = spec(class_map)
    source = own.open(root / "sequences/hill", sequences=["hill"])
    assert source.names == ("hill/000000",)
    refused(
        lambda: own.open(root / "sequences/hill/velodyne", sequences=["hill"]),
        "give", root / "sequences/hill", "instead",
    )  # fmt: skip
    refused(lambda: own.open(tmp_path, sequences=["hill"]), f"give {root} instead")
    (tmp_path / "other/pictures").mkdir(parents=True)
    refused(lambda: own.open(tmp_path / "other"), "not laid out as KITTI layout; found pictures")
    refused(lambda: own.open(tmp_path / "gone"), "no such folder")


@pytest.mark.parametrize("archives", [True, False])
def test_goose_as_it_is_unpacked(tmp_path: Path, class_map: Path, archives: bool):
    root = tmp_path / "goose"
    for split, scenario, sensor in (("train", "flight", "vls128"), ("val", "flight", "pcl")):
        top = root / f"goose_3d_{split}" if archives else root
        for frame in ("flight__0001_165", "flight__0000_164"):
            put(top / f"lidar/{split}/{scenario}/{frame}_{sensor}.bin", points(255))
            put(top / f"labels/{split}/{scenario}/{frame}_goose.label", labels())
    text = MAP.partition("split")[0]
    class_map.write_text(text)
    own = spec(class_map, strength_scale=255.0)
    assert list_sequences(root) == ("train/flight", "val/flight")
    source = own.open(root)
    assert source.names == (
        "train/flight/flight__0000_164_vls128",
        "train/flight/flight__0001_165_vls128",
    )
    check(source[0])
    assert own.open(root, "validation")[1].name == "val/flight/flight__0001_165_pcl"
    refused(lambda: own.open(root, "test"), "does not say which sequences are for test")


def test_a_map_without_a_split_wants_sequences(tmp_path: Path, class_map: Path):
    drive(tmp_path / "data/a", "0")
    class_map.write_text(MAP.partition("split")[0])
    own = spec(class_map)
    refused(
        lambda: own.open(tmp_path / "data"),
        f"the class map {class_map} does not say which sequences are for training",
        "--data.train-sequences", "present: a",
    )  # fmt: skip
    assert len(own.open(tmp_path / "data", sequences=["a"])) == 1
    refused(lambda: own.open(tmp_path / "data", sequences=["b"]), "missing b; present: a")


def test_a_sequence_of_the_split_that_is_not_there(tmp_path: Path, class_map: Path):
    root = drive(tmp_path / "data/00", "0")
    refused(lambda: spec(class_map).open(root), "missing 01; present: 00")


def test_without_a_class_map_only_simulated_frames_are_read(tmp_path: Path):
    drive(tmp_path / "data/00", "0")
    own = spec(None)
    refused(lambda: own.open(tmp_path / "data", sequences=["00"]), "Give --data.class-map FILE")
    refused(
        lambda: dataset_spec("semantickitti", {"class_map": "x.yaml"}),
        "--data.class-map x.yaml: is for --dataset kitti-layout", "semantickitti has its own",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["uint16", "uint32"])
def test_labels_of_another_width(tmp_path: Path, class_map: Path, kind: str):
    raw = labels("<u2" if kind == "uint16" else "<u4")
    root = drive(tmp_path / "data/00", "0", raw=raw)
    check(spec(class_map, label_type=kind).open(root, sequences=["00"])[0])


def test_labels_of_one_byte(tmp_path: Path, class_map: Path):
    root = drive(tmp_path / "data/00", "0", raw=bytes([1, 0, 2, 2, 1]))
    frame = spec(class_map, label_type="uint8").open(root, sequences=["00"])[0]
    assert frame.segment.tolist() == [0, -1, 1, 1, 0]
    # Found when opening, with the hint.
    needs = "bytes, but the frame has 5 points and needs 20 (one uint32 each);"
    for count, hint in (
        (5, "give --data.label-type uint8"),
        (10, "--data.label-type uint16"),
        (19, "copy the label file that belongs to it"),
    ):
        put(root / "00/labels/0.label", bytes(count))
        said = f"{count} {needs}", hint
        refused(lambda: spec(class_map).open(root, sequences=["00"]), *said)


@pytest.mark.parametrize("kind", ["u1", "<i8", ">u2"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_labels_in_numpy_arrays(tmp_path: Path, class_map: Path, kind: str, shape):
    root = tmp_path / "data"
    put(root / "00/velodyne/0.bin", points())
    (root / "00/labels").mkdir()
    raw = RAW % 256 if kind == "u1" else RAW
    text = MAP.replace("300", "44") if kind == "u1" else MAP
    class_map.write_text(text)
    np.save(root / "00/labels/0.npy", raw.astype(kind).reshape(shape))
    check(spec(class_map).open(root, sequences=["00"])[0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(4), "shape (4,), but the frame has 5 points"),
        (np.ones((5, 2), int), "shape (5, 2)"),
        (np.ones(5), "no array of whole numbers"),
        (np.array([1, -2, 2, 2, 2]), "1 labels have ids that the class map"),
        (np.array([1, 2, 2, 2, 1 << 40]), "(1099511627776; first at point 4)"),
        (np.array([1, 2, 2, 3, 3], np.uint8), "2 labels have ids that the class map"),
    ],
)
def test_arrays_of_labels_that_do_not_fit(tmp_path: Path, class_map: Path, array, message):
    root = tmp_path / "data"
    put(root / "00/velodyne/0.bin", points())
    (root / "00/labels").mkdir()
    np.save(root / "00/labels/0.npy", array)
    source = spec(class_map).open(root, sequences=["00"])
    refused(lambda: source[0], root / "00/labels/0.npy", message)


def test_an_id_that_the_class_map_lacks(tmp_path: Path, class_map: Path):
    root = drive(tmp_path / "data/00", "0", raw=np.full(5, 9 | 3 << 16, "<u4").tobytes())
    source = spec(class_map).open(root, sequences=["00"])
    refused(
        lambda: source[0],
        root / "00/labels/0.label", f"5 labels have ids that the class map {class_map} does not",
        "(9; first at point 0)", "add them to its labels and its learning_map",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "dtype", "order"),
    [
        ("x,y,z,intensity,ring", "<f4,<f4,<f4,<f4,<f4", "xyzir"),
        ("intensity, x, y, z", "<f4,<f4,<f4,<f4", "ixyz"),
        ("ring:u2,x:f8,y:f8,z:f8,i:u1,t:u8", "<u2,<f8,<f8,<f8,u1,<u8", "rxyzit"),
        ("X,Y,Z,_,_,reflectivity", "<f4,<f4,<f4,<f4,<f4,<f4", "xyz..i"),
        ("x,y,z", "<f4,<f4,<f4", "xyz"),
    ],
)
def test_points_of_other_columns(tmp_path: Path, class_map: Path, columns, dtype, order):
    table = np.zeros(5, dtype=dtype)
    values = dict(zip("xyz", COORD.T, strict=True)) | {"i": STRENGTH * 4, "r": 7, "t": 9, ".": 8}
    for field, letter in zip(table.dtype.names, order, strict=True):
        table[field] = values[letter]
    root = drive(tmp_path / "data/00", "0")
    put(root / "00/velodyne/0.bin", table.tobytes())
    own = spec(class_map, point_columns=columns, strength_scale=4.0)
    check(own.open(root, sequences=["00"])[0], STRENGTH if "i" in order else 0 * STRENGTH)
    put(root / "00/velodyne/0.bin", table.tobytes() + b"1")
    refused(
        lambda: own.open(root, sequences=["00"]),
        f"no multiple of {table.itemsize}", "--data.point-columns",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("x,y,intensity", "has z 0 times"),
        ("x,y,z,x", "has x 2 times"),
        ("x,y,z,ring:u3", "'ring:u3' is no column"),
        ("x,,y,z", "'' is no column"),
    ],
)
def test_columns_that_make_no_sense(columns, message):
    line = refused(lambda: spec(None, point_columns=columns), message)
    assert line.startswith(f"--data.point-columns {columns}: ")


def test_files_that_belong_to_nothing_or_to_one_frame_twice(tmp_path: Path, class_map: Path):
    root = drive(tmp_path / "data/00", "0", "1")
    lonely = put(root / "00/labels/2.label", labels())
    own = spec(class_map)
    refused(
        lambda: own.open(root, sequences=["00"]),
        lonely, "is a label file without its frame", "no 2.bin in",
    )  # fmt: skip
    source = own.open(root, sequences=["00"], strict=False)
    assert len(source) == 2
    assert list(source.unreadable) == ["00/2"]
    lonely.unlink()
    np.save(root / "00/velodyne/1.npy", COORD)
    refused(lambda: own.open(root, sequences=["00"]), "1.bin and 1.npy are two files for one frame")


def test_frames_in_files_that_name_their_columns(tmp_path: Path, class_map: Path):
    root = tmp_path / "data"
    header = "\n".join(
        [
            "VERSION 0.7", "FIELDS x y z intensity", "SIZE 4 4 4 4", "TYPE F F F F",
            "COUNT 1 1 1 1", "WIDTH 7", "HEIGHT 1", "POINTS 7", "DATA binary", "",
        ]
    )  # fmt: skip
    rows = np.full((7, 4), np.nan, "<f4")
    there = [0, 2, 3, 5, 6]
    rows[there] = np.c_[COORD, STRENGTH]
    raw = np.zeros(7, "<u4")
    raw[there] = RAW
    put(root / "00/velodyne/0.pcd", header.encode() + rows.tobytes())
    put(root / "00/labels/0.label", raw.tobytes())
    source = spec(class_map).open(root, sequences=["00"])
    check(source[0])  # rows without a return, and their labels, are left out
    assert source[0].rays_without_return == 2
    put(root / "00/labels/0.label", raw[:5].tobytes())
    refused(lambda: source[0], "20 bytes, but the frame has 7 points and needs 28")


ORIGIN = (500_000.0, 5_400_000.0, 120.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("0.npy", {}), ("0.bin", {"point_columns": "x:f8,y:f8,z:f8,intensity:f8"})],
)
def test_coordinates_of_a_map_become_those_of_the_sensor(tmp_path, class_map, name, options):
    root, rows = tmp_path / "data", np.c_[COORD + np.array(ORIGIN), STRENGTH]
    folder = root / "00/velodyne"
    folder.mkdir(parents=True)
    np.save(folder / name, rows) if name.endswith("npy") else rows.tofile(folder / name)
    put(root / "00/labels/0.label", RAW.astype("<u4").tobytes())
    source = spec(class_map, **options).open(root, sequences=["00"])
    refused(lambda: source[0], "lie more than 1000 m out", "(--data.origin X Y Z)")
    moved = spec(class_map, **options, origin=ORIGIN)
    found = moved.open(root, sequences=["00"])[0]
    np.testing.assert_allclose(found.coord, COORD, atol=1e-6)
    assert moved.layout["origin"] == list(ORIGIN), "checkpoints keep it"


@pytest.mark.real_data
def test_the_real_frame_is_what_semantickitti_s_reader_gives(real_data: Path):
    config = real_data / "semantickitti/config/semantic-kitti.yaml"
    root = real_data / "semantickitti/dev"
    theirs = SPEC.open(root, sequences=["00"])[0]
    ours = spec(config).open(root, sequences=["00"])[0]
    np.testing.assert_array_equal(ours.coord, theirs.coord)
    np.testing.assert_array_equal(ours.strength, theirs.strength)
    np.testing.assert_array_equal(ours.segment, theirs.segment)
