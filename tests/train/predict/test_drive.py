"""Prediction of folders and sequences, and clouds that come back in their own format."""

from pathlib import Path

import laspy
import numpy as np
import pytest
import torch

from tests.train.predict.line import refused, run
from tests.train.toys import toy_metadata
from train.data.readers import open_cloud
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model
from train.predict.cloud import predict

GRID_SIZE_M = 0.4
NAMES = ("ground", "tree", "rock")
MAP = """
labels: {0: nothing, 10: ground, 20: tree, 30: rock}
learning_ignore: {0: true}
"""
RAW = np.array([10, 20, 30])


def cloud_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    floor = np.c_[rng.uniform(-3, 3, (300, 2)), rng.normal(0, 0.02, 300)]
    wall = np.c_[rng.uniform(-3, 3, 150), np.full(150, 2.9), rng.uniform(0, 2, 150)]
    coord = np.concatenate([floor, wall])
    return np.c_[coord, rng.uniform(0, 1, len(coord))].astype(np.float32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    return build_segmentor("tiny-student", len(NAMES)).eval()


@pytest.fixture
def folder(tmp_path: Path, network) -> Path:
    """A checkpoint, its class map, and a sequence of three frames with labels."""
    card = toy_metadata(dataset="kitti-layout", class_names=NAMES, grid_size_m=GRID_SIZE_M)
    save_model(network, card, tmp_path / "student.pt")
    (tmp_path / "classes.yaml").write_text(MAP)
    for name in ("velodyne", "labels"):
        (tmp_path / "drive" / name).mkdir(parents=True)
    for seed in range(3):
        points = cloud_of(seed)
        points.astype("<f4").tofile(tmp_path / f"drive/velodyne/{seed:06d}.bin")
        RAW[np.arange(len(points)) % 3].astype("<u4").tofile(
            tmp_path / f"drive/labels/{seed:06d}.label"
        )
    return tmp_path


def expected(network, points: np.ndarray) -> np.ndarray:
    return predict(network, points, GRID_SIZE_M)[0]


STUDENT = "--checkpoint @student.pt --data.class-map @classes.yaml"


def listing(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())


def test_a_sequence_to_label_files_with_frames_a_second(folder, network, capsys):
    assert run(folder, f"{STUDENT} --input @drive --output @new/predictions") == 0
    assert listing(folder / "new") == [f"predictions/{seed:06d}.label" for seed in range(3)]
    for seed in range(3):
        found = np.fromfile(folder / f"new/predictions/{seed:06d}.label", "<u4")
        np.testing.assert_array_equal(found, RAW[expected(network, cloud_of(seed))])
    said = capsys.readouterr().err
    assert "predicting: 3/3" in said
    assert "3 frames in " in said
    assert " frames a second with reading and writing" in said
    assert said.count("SemanticKITTI frame, 450 points") == 1


def test_a_folder_of_other_columns_and_narrow_labels(folder, network):
    (folder / "flat").mkdir()
    points = cloud_of(7)
    wide = np.c_[points[:, :3], points[:, 3] * 255, np.full(len(points), 9)]
    wide.astype("<f4").tofile(folder / "flat/a.bin")
    np.save(folder / "flat/b.npy", cloud_of(8))
    (folder / "flat/notes.txt").write_text("not a cloud")
    flags = "--data.point-columns x,y,z,intensity,ring --data.label-type uint8"
    line = f"{STUDENT} {flags} --data.strength-scale 255 --input @flat --output @out"
    assert run(folder, line) == 0
    assert listing(folder / "out") == ["a.label", "b.npy"]
    scaled = (wide.astype("<f4")[:, 3] / np.float32(255)).astype(np.float32)
    want = expected(network, np.c_[points[:, :3], scaled])
    np.testing.assert_array_equal(np.fromfile(folder / "out/a.label", "u1"), RAW[want])


def test_without_a_class_map_a_folder_gets_arrays_of_train_ids(folder, network):
    assert run(folder, "--checkpoint @student.pt --input @drive --output @out") == 0
    assert listing(folder / "out") == [f"{seed:06d}.npy" for seed in range(3)]
    np.testing.assert_array_equal(
        np.load(folder / "out/000001.npy"), expected(network, cloud_of(1))
    )


def pcd(points: np.ndarray, there: np.ndarray) -> bytes:
    """Return an organized binary PCD file with a row for each entry of `there`."""
    rows = np.full((len(there), 4), np.nan, "<f4")
    rows[:, 3] = 0.5
    rows[there] = points
    header = (
        "VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        f"WIDTH {len(there) // 2}\nHEIGHT 2\nPOINTS {len(there)}\nDATA binary\n"
    )
    return header.encode() + rows.tobytes()


@pytest.fixture
def organized(folder) -> np.ndarray:
    there = np.arange(600) % 4 != 3
    (folder / "organized.pcd").write_bytes(pcd(cloud_of(5), there))
    return there


def test_an_organized_pcd_keeps_its_rows_and_gets_labels(folder, network, organized, capsys):
    assert run(folder, f"{STUDENT} --input @organized.pcd --output @out/organized.pcd") == 0
    after = open_cloud(folder / "out/organized.pcd")
    labels = after.columns["label"]
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels[organized], RAW[expected(network, cloud_of(5))])
    assert set(labels[~organized]) == {0}  # the ignored class
    np.testing.assert_array_equal(after.columns["x"][organized], cloud_of(5)[:, 0])
    assert np.isnan(after.columns["x"][~organized]).all()
    assert "150 of 600 rows are rays without a return" in capsys.readouterr().err


def test_train_ids_have_minus_one_for_rays_without_a_return(folder, network, organized):
    asked = "--label-ids train --input @organized.pcd --output"
    for output in ("@out/o.pcd", "@out/o.npy"):
        assert run(folder, f"{STUDENT} {asked} {output}") == 0
    want = np.full(600, -1)
    want[organized] = expected(network, cloud_of(5))
    np.testing.assert_array_equal(open_cloud(folder / "out/o.pcd").columns["label"], want)
    np.testing.assert_array_equal(np.load(folder / "out/o.npy"), want)
    assert run(folder, f"{STUDENT} --label-ids raw --input @organized.pcd --output @out/r.npy") == 0
    assert set(np.load(folder / "out/r.npy")) <= {0, 10, 20, 30}


def test_las_and_ply_come_back_in_their_format(folder, network):
    points = cloud_of(6)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.offsets, header.scales = [500_000, 5_400_000, 100], [0.001] * 3
    las = laspy.LasData(header)
    sensor = np.array([500_000.0, 5_400_000.0, 100.0])
    las.x, las.y, las.z = (points[:, :3] + sensor).T
    las.intensity = (points[:, 3] * 65535).astype(np.uint16)
    las.red = np.arange(len(points))
    (folder / "mixed").mkdir()
    las.write(folder / "mixed/tile.laz")
    vertex = b"".join(row.tobytes() for row in points.astype("<f4"))
    properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity"))
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}"
    (folder / "cloud.ply").write_bytes(head.encode() + b"end_header\n" + vertex)

    origin = "--origin 500000 5400000 100"
    assert run(folder, f"{STUDENT} --input @mixed --output @out {origin}") == 0
    before, after = laspy.read(folder / "mixed/tile.laz"), laspy.read(folder / "out/tile.laz")
    coord = before.xyz - sensor
    want = expected(network, np.c_[coord, before.intensity / 65535.0].astype(np.float32))
    np.testing.assert_array_equal(np.asarray(after.classification), RAW[want])
    np.testing.assert_array_equal(after.red, before.red)
    np.testing.assert_array_equal(after.X, before.X)

    assert run(folder, f"{STUDENT} --input @cloud.ply --output @out/cloud.ply") == 0
    again = open_cloud(folder / "out/cloud.ply").columns
    np.testing.assert_array_equal(again["label"], RAW[expected(network, points)])
    np.testing.assert_array_equal(again["intensity"], points[:, 3])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{STUDENT} --input @drive/labels --output @out", "holds no clouds"),
        (f"{STUDENT} --input @drive --output @drive/velodyne", "is the folder of the clouds"),
        (f"{STUDENT} --input @drive --output @student.pt", "is a file; give a folder"),
        (f"{STUDENT} --input @drive --output @out --probabilities @p.npy", "for a single cloud"),
        (f"{STUDENT} --input @drive --output @out --frame 1", "--input is a folder"),
        (
            f"{STUDENT} --input @organized.pcd --output @o.ply",
            "end the name in .label or .npy or .p",
        ),
        (f"{STUDENT} --input @organized.pcd --output @organized.pcd", "is --input too"),
        (
            "--checkpoint @student.pt --input @drive/velodyne/000000.bin --output @o.label",
            ".label files hold SemanticKITTI ids, or those of a --data.class-map",
        ),
        ("--checkpoint @student.pt --input @drive --output @out --label-ids raw", "not known"),
        (
            f"{STUDENT} --input @drive --output @out --data.strength-scale 0",
            "--data.strength-scale",
        ),
        (f"{STUDENT} --input @drive --output @out --dataset kitti-layout", "needs that map"),
        (f"{STUDENT} --input @drive --output @out --teacher-checkpoint @student.pt", "--rerun"),
        (f"{STUDENT} --input @drive --output @out --rerun @drive.mp4", "end the name in .rrd"),
    ],
)
def test_a_wrong_command(folder, organized, capsys, line, message):
    assert message in refused(folder, capsys, line)


def test_a_class_map_of_other_classes(folder, capsys):
    (folder / "classes.yaml").write_text(MAP.replace("rock", "stone"))
    line = refused(folder, capsys, f"{STUDENT} --input @drive --output @out")
    assert "its classes (ground, tree, rock) are not those of the class map" in line
    assert "(ground, tree, stone)" in line


def test_labels_that_are_there_are_replaced_only_when_asked(folder, network, capsys):
    (folder / "out").mkdir()
    (folder / "out/000001.label").write_text("precious")
    line = f"{STUDENT} --input @drive --output @out"
    assert "000001.label: exists; choose" in refused(folder, capsys, line)
    assert run(folder, f"{line} --overwrite") == 0
    found = np.fromfile(folder / "out/000001.label", "<u4")
    np.testing.assert_array_equal(found, RAW[expected(network, cloud_of(1))])


def test_a_folder_that_cannot_be_written_is_found_before_the_first_prediction(
    folder, capsys, monkeypatch
):
    asked = []
    monkeypatch.setattr("train.predict.drive.predict_frame", lambda *a, **k: asked.append(a))

    def deny(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("train.core.atomic_write.tempfile.TemporaryFile", deny)
    for given in (
        "--input @drive --output @out",
        "--input @drive/velodyne/000000.bin --output @n/o.npy",
    ):
        assert run(folder, f"{STUDENT} {given}") == 2
        assert "cannot be written to (Permission denied)" in capsys.readouterr().err
    assert asked == []


def test_a_damaged_frame_stops_or_is_left_out(folder, capsys):
    (folder / "drive/velodyne/000001.bin").write_bytes(b"short")
    assert run(folder, f"{STUDENT} --input @drive --output @out") == 2
    assert "000001.bin: 5 bytes is no multiple of 16" in capsys.readouterr().err
    assert listing(folder / "out") == ["000000.label"]
    again = f"{STUDENT} --input @drive --output @again --on-bad-frame skip"
    assert run(folder, again) == 0
    said = capsys.readouterr().err
    assert "left out: " in said
    assert "2 frames in " in said
    assert listing(folder / "again") == ["000000.label", "000002.label"]
    for path in (folder / "drive/velodyne").iterdir():
        path.write_bytes(b"short")
    assert run(folder, f"{again} --overwrite") == 2
    assert "none of 3 clouds can be read" in capsys.readouterr().err


@pytest.mark.real_data
def test_a_real_frame_gets_equal_labels_in_every_format(folder, network, real_data: Path):
    points = np.fromfile(
        real_data / "semantickitti/dev/sequences/00/velodyne/000000.bin", "<f4"
    ).reshape(-1, 4)[::40]
    (folder / "real").mkdir()
    there = np.ones(len(points) - len(points) % 2, bool)
    points = points[: len(there)]
    points.tofile(folder / "real/a.bin")
    (folder / "real/b.pcd").write_bytes(pcd(points, there))
    assert run(folder, f"{STUDENT} --input @real --output @out") == 0
    alone = np.fromfile(folder / "out/a.label", "<u4")
    assert len(alone) == len(points)
    np.testing.assert_array_equal(alone, RAW[expected(network, points)])
    np.testing.assert_array_equal(open_cloud(folder / "out/b.pcd").columns["label"], alone)
