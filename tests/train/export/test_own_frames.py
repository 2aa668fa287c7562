"""A network of one's own frames: predict, Python and the exported runner give the same classes."""

import json
import subprocess
import sys
from dataclasses import replace

import laspy
import numpy as np
import pytest

from train.core.errors import UserError
from train.evaluation.command import main as evaluate
from train.export.command import main as export
from train.export.onnx_runner import ExportedNetwork, read_points
from train.networks.weights import load_model, save_model
from train.predict import from_pretrained
from train.predict.command import main as predict

LAYOUT = {
    "class_map": {
        "source": "classes.yaml",
        "class_names": ["road", "wall"],
        "raw_names": {"0": "unlabeled", "40": "road", "50": "wall"},
        "raw_to_train": {"0": -1, "40": 0, "50": 1},
        "train_to_raw": [40, 50],
        "ignored_raw": 0,
        "split": {},
    },
    "point_columns": "x,y,z,intensity,ring:u2",
    "strength_scale": 255.0,
    "label_type": "uint16",
}
MAP = (500_000.0, 5_400_000.0, 120.0)


@pytest.fixture(scope="module")
def own(tmp_path_factory, telling_network, metadata_of):
    """Return a folder with a checkpoint, its export, and a drive of one frame with labels."""
    root = tmp_path_factory.mktemp("own")
    network = telling_network(
        num_classes=2, patch_size=32,
        enc_depths=(1, 2), enc_channels=(16, 32), enc_heads=(1, 2),
        dec_depths=(1,), dec_channels=(16,), dec_heads=(1,),
    )  # fmt: skip
    metadata = metadata_of(
        network, dataset="kitti-layout", class_names=("road", "wall"), layout=LAYOUT
    )
    save_model(network, metadata, root / "student.pt")
    words = ["--checkpoint", root / "student.pt", "--output", root / "onnx", "--format", "onnx"]
    assert export([str(word) for word in words]) == 0
    rng = np.random.default_rng(5)
    kind = [(name, "<f4") for name in ("x", "y", "z", "intensity")] + [("ring", "<u2")]
    points = np.zeros(4000, dtype=kind)
    for axis in "xyz":
        points[axis] = rng.normal(0, 2.5, len(points))
    points["intensity"], points["ring"] = rng.uniform(0, 255, len(points)), 7
    for folder, content, ending in (
        ("velodyne", points, "bin"),
        ("labels", np.repeat([40, 50], 2000).astype("<u2"), "label"),
    ):
        path = root / "drive/sequences/00" / folder / f"000000.{ending}"
        path.parent.mkdir(parents=True)
        content.tofile(path)
    return root


def run_py(root, *words):
    return subprocess.run(
        [sys.executable, "run.py", *map(str, words)],
        cwd=root / "onnx", capture_output=True, text=True, check=False,
    )  # fmt: skip


FRAME = "drive/sequences/00/velodyne/000000.bin"


@pytest.mark.parametrize("ending", ["npy", "label"])
def test_predict_and_the_runner_read_files_as_in_training(own, tmp_path, ending):
    mine, other = tmp_path / f"mine.{ending}", tmp_path / f"other.{ending}"
    words = ["--checkpoint", own / "student.pt", "--input", own / FRAME, "--output", mine]
    assert predict([str(word) for word in words]) == 0
    done = run_py(own, "--input", own / FRAME, "--output", other)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert mine.read_bytes() == other.read_bytes()
    if ending == "label":
        assert set(np.fromfile(mine, "<u2")) <= {40, 50}


def cloud_files(folder):
    """Write one cloud in every format, with rays without a return where the format has them."""
    rng = np.random.default_rng(6)
    rows = np.c_[rng.normal(0, 2.5, (600, 3)), rng.integers(0, 256, 600)].round(2)
    rows = rows.astype("<f4").astype(np.float64)
    lost = rows.copy()
    lost[::50, :3] = np.nan
    np.save(folder / "a.npy", lost)
    names = ("x", "y", "z", "intensity")
    head = "VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    head += "WIDTH 600\nHEIGHT 1\nPOINTS 600\nDATA binary\n"
    (folder / "a.pcd").write_bytes(head.encode() + lost.astype("<f4").tobytes())
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 600\n"
    head += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    (folder / "a.ply").write_bytes(head.encode() + lost.astype("<f4").tobytes())
    las = laspy.LasData(laspy.LasHeader(point_format=3, version="1.2"))
    las.header.offsets, las.header.scales = MAP, [0.001] * 3
    las.x, las.y, las.z = (rows[:, :3] + MAP).T
    las.intensity = rows[:, 3].astype(np.uint16)
    las.write(folder / "a.las")
    return lost


@pytest.mark.parametrize(
    "name", ["a.npy", "a.pcd", "a.ply", "a.las", FRAME], ids=["npy", "pcd", "ply", "las", "bin"]
)
def test_predict_the_runner_and_python_agree_on_every_kind_of_file(own, tmp_path, name):
    rows = cloud_files(tmp_path)
    file = own / name if name == FRAME else tmp_path / name
    origin = ["--origin", *MAP] if name == "a.las" else []
    for ending in ("npy", "label"):
        mine, other = tmp_path / f"mine.{ending}", tmp_path / f"other.{ending}"
        words = ["--checkpoint", own / "student.pt", "--input", file, "--output", mine, *origin]
        assert predict([str(word) for word in words]) == 0
        done = run_py(own, "--input", file, "--output", other, *origin)
        assert done.returncode == 0, done.stderr
        assert mine.read_bytes() == other.read_bytes()
    labels = np.load(tmp_path / "mine.npy")
    if name == "a.las":
        return  # the checkpoint has no origin: one is a flag's, or a layout's (see below)
    network = from_pretrained(own / "student.pt")
    np.testing.assert_array_equal(network.predict(file), labels)
    exported = ExportedNetwork(own / "onnx", num_threads=1)
    np.testing.assert_array_equal(exported.predict(file), labels)
    if name == FRAME:
        return
    assert (labels == -1).sum() == 12 == np.isnan(rows[:, 0]).sum()
    assert "12 rows are rays without a return" in done.stderr
    assert set(np.fromfile(mine, "<u2")) <= {0, 40, 50}
    for each in (network, exported):  # an array is read as its .npy file
        np.testing.assert_array_equal(each.predict(rows), np.load(tmp_path / "mine.npy"))


def test_an_origin_of_training_is_kept(own, tmp_path):
    """On coordinates of the map, all three take it from the checkpoint."""
    cloud_files(tmp_path)
    network, metadata = from_pretrained(own / "student.pt")
    with pytest.raises(UserError, match=r"lie more than 1000 m out.*--data\.origin X Y Z"):
        from_pretrained(own / "student.pt").predict(tmp_path / "a.las")
    done = run_py(own, "--input", tmp_path / "a.las", "--output", tmp_path / "b.npy")
    assert done.returncode == 2
    assert "(--origin X Y Z)" in done.stderr
    moved = replace(metadata, layout={**LAYOUT, "origin": list(MAP)})
    save_model(network, moved, tmp_path / "moved.pt")
    words = ["--checkpoint", own / "student.pt", "--input", tmp_path / "a.las"]
    words += ["--output", tmp_path / "want.npy", "--origin", *MAP]
    assert predict([str(word) for word in words]) == 0
    found = from_pretrained(tmp_path / "moved.pt").predict(tmp_path / "a.las")
    np.testing.assert_array_equal(found, np.load(tmp_path / "want.npy"))
    described = json.loads((own / "onnx/export.json").read_text())["metadata"]
    described["input"]["origin"] = list(MAP)
    points, _ = read_points(tmp_path / "a.las", described)
    assert np.abs(points[:, :3]).max() < 20


def test_strengths_that_are_not_divided_are_told(own, tmp_path, capsys):
    words = ["--checkpoint", own / "student.pt", "--input", own / FRAME]
    words += ["--output", tmp_path / "a.npy", "--data.strength-scale", "1"]
    assert predict([str(word) for word in words]) == 0
    told = capsys.readouterr().err
    assert "--data.strength-scale 1.0, in training 255" in told
    points = np.random.default_rng(0).uniform(0, 255**2, (500, 4)).astype("<f4") / 100
    np.save(tmp_path / "b.npy", points * [1, 1, 1, 1000])
    done = run_py(own, "--input", tmp_path / "b.npy", "--output", tmp_path / "c.npy")
    assert "warning" in done.stderr
    assert "trained on 0 to 1" in done.stderr


def test_a_checkpoint_is_scored_without_its_class_map(own, capsys):
    words = ["--checkpoint", own / "student.pt", "--data-root", own / "drive", "--sequences", "00"]
    assert evaluate([*map(str, words), "--data.num-workers", "0"]) == 0
    assert "wall" in capsys.readouterr().out


def test_a_file_of_other_columns_is_refused(own, tmp_path):
    np.zeros(4001, "<u1").tofile(tmp_path / "cut.bin")
    done = run_py(own, "--input", tmp_path / "cut.bin", "--output", tmp_path / "a.npy")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is damaged or of another format" in line


def test_flags_of_an_export_say_how_files_will_lie(own, tmp_path, metadata_of, two_stages):
    names = tuple(f"c{index}" for index in range(two_stages.num_classes))
    save_model(two_stages, metadata_of(two_stages, class_names=names), tmp_path / "a.pt")
    words = ["--checkpoint", tmp_path / "a.pt", "--output", tmp_path / "a"]
    words += ["--data.point-columns", "x,y,z,i,a,b", "--data.strength-scale", "100"]
    assert export([*map(str, words), "--data-license", "CC0"]) == 0
    _, metadata = load_model(tmp_path / "a")
    assert metadata.layout["point_columns"] == "x,y,z,i,a,b"
    assert metadata.layout["strength_scale"] == 100


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"strength_scale": 0}, "layout is"),
        ({"columns": "x"}, "layout is"),
        ({"class_map": {"class_names": ["road"]}}, "is damaged"),
    ],
)
def test_a_damaged_layout_is_one_line(own, tmp_path, capsys, layout, message):
    network, metadata = load_model(own / "student.pt")
    save_model(network, replace(metadata, layout=layout), tmp_path / "a.pt")
    words = [
        "--checkpoint",
        tmp_path / "a.pt",
        "--input",
        own / FRAME,
        "--output",
        tmp_path / "b.npy",
    ]
    assert predict([str(word) for word in words]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error:")]
    assert message in line
