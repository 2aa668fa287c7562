"""LAS, LAZ and PLY files: written and read again, and against bytes made by hand here."""

import io
from pathlib import Path

import laspy
import numpy as np
import pytest

from tests.train.data.damage import refused, refused_at
from train.core.errors import UserError
from train.data.readers import open_cloud


def write(path: Path, *, point_format: int = 6, version: str = "1.4", num_points: int = 50) -> None:
    rng = np.random.default_rng(1)
    header = laspy.LasHeader(point_format=point_format, version=version)
    header.offsets, header.scales = [4e5, 5e6, 0], [0.001, 0.001, 0.01]
    header.add_extra_dim(laspy.ExtraBytesParams("beam", "uint16", "of the sensor"))
    header.vlrs.append(laspy.VLR("someone", 77, "a note", b"kept"))
    las = laspy.LasData(header)
    las.x, las.y = 4e5 + rng.uniform(-50, 50, num_points), 5e6 + rng.uniform(-50, 50, num_points)
    las.z = rng.uniform(-2, 9, num_points)
    las.intensity = rng.integers(0, 65536, num_points)
    las.gps_time = rng.uniform(0, 1e5, num_points)
    las.beam = rng.integers(0, 128, num_points)
    las.classification = rng.integers(0, 20, num_points)
    las.write(path)


@pytest.mark.parametrize("point_format", [1, 6, 10])
@pytest.mark.parametrize("ending", [".las", ".laz"])
def test_points_come_back_with_classifications(tmp_path: Path, ending: str, point_format: int):
    path = tmp_path / f"tile{ending}"
    write(path, point_format=point_format)
    before = laspy.read(path)
    cloud = open_cloud(path)
    values, there = cloud.values()
    assert there.all()
    np.testing.assert_array_equal(values[:, :3], before.xyz)
    np.testing.assert_array_equal(values[:, 3], before.intensity / 65535.0)
    assert cloud.strength_from() == "field intensity / 65535"
    np.testing.assert_array_equal(cloud.values(255.0)[0][:, 3], before.intensity / 255.0)
    labels = np.arange(50) % 32
    labeled = cloud.labeled(labels)
    after = laspy.read(io.BytesIO(labeled))
    assert np.asarray(after.classification).tolist() == labels.tolist()
    for name in before.point_format.dimension_names:
        if name != "classification":
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert after.header.are_points_compressed == (ending == ".laz")
    assert (after.header.version, after.header.point_format) == (
        before.header.version, before.header.point_format,
    )  # fmt: skip
    assert after.header.offsets.tolist() == before.header.offsets.tolist()
    assert [vlr.record_data_bytes() for vlr in after.vlrs.get_by_id("someone")] == [b"kept"]


@pytest.mark.parametrize(
    ("point_format", "label", "message"),
    [
        (1, 32, "point format 1 are 0 to 31, and a label is 32"),
        (6, 256, "point format 6 are 0 to 255, and a label is 256"),
        (6, -1, "a label is -1"),
    ],
)
def test_labels_that_a_classification_cannot_hold(tmp_path: Path, point_format, label, message):
    path = tmp_path / "tile.las"
    write(path, point_format=point_format)
    labels = np.zeros(50, dtype=np.int64)
    labels[7] = label
    refused_at(path, lambda: open_cloud(path).labeled(labels), message)


@pytest.mark.parametrize("ending", [".las", ".laz"])
@pytest.mark.parametrize("cut", [0, 100, 700])
def test_a_file_that_is_cut_short_is_refused_in_one_line(tmp_path: Path, ending: str, cut: int):
    path = tmp_path / f"tile{ending}"
    write(path)
    path.write_bytes(path.read_bytes()[:cut])
    refused_at(path, lambda: open_cloud(path), f"{path}: cannot be read as LAS (")


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lazrs" else name)
    said = "read by lazrs, ", "pip install 'topodistill[las]'"
    refused(lambda: open_cloud(tmp_path / "tile.laz"), *said)


# ---- PLY -----------------------------------------------------------------------------------------


VERTEX = [("float", "x", "f4"), ("double", "y", "f8"), ("uchar", "red", "u1"), ("float", "z", "f4")]
VALUES = {"x": [1.5, -2.0, 3.25], "y": [4, 5, 6], "red": [1, 2, 255], "z": [0.5, 0.25, 8]}


def ply(form, vertex, values, *, newline="\n"):
    """Return a file with an element before the vertices and faces behind them."""
    order = ">" if form.endswith("big_endian") else "<"
    lines = ["ply", f"format {form} 1.0", "comment kept", "element camera 1", "property int id"]
    lines += ["element vertex 3", *(f"property {kind} {name}" for kind, name, _ in vertex)]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    header = newline.join(lines).encode()
    if form == "ascii":
        rows = [" ".join(str(values[name][at]) for _, name, _ in vertex) for at in range(3)]
        return header + newline.join(["42", *rows, "3 0 1 2", ""]).encode()
    table = np.zeros(3, np.dtype([(name, order + kind) for _, name, kind in vertex]))
    for name, column in values.items():
        table[name] = column
    face = b"\x03" + np.array([0, 1, 2], order + "i4").tobytes()
    return header + np.array([42], order + "i4").tobytes() + table.tobytes() + face


FORMS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("labels", "kind"), [([3, 0, 259], "uint"), ([3, -1, 2], "int")])
@pytest.mark.parametrize("form", FORMS)
def test_a_label_is_put_behind_the_last_property(tmp_path: Path, form, labels, kind, newline):
    path = tmp_path / "cloud.ply"
    path.write_bytes(ply(form, VERTEX, VALUES, newline=newline))
    want = ply(
        form, [*VERTEX, (kind, "label", f"{kind[0]}4")], VALUES | {"label": labels}, newline=newline
    )
    assert open_cloud(path).labeled(np.array(labels)) == want


@pytest.mark.parametrize("form", FORMS)
def test_a_label_that_is_there_is_replaced(tmp_path: Path, form: str):
    path = tmp_path / "cloud.ply"
    old = [VERTEX[0], ("uchar", "label", "u1"), *VERTEX[1:]]
    new = [VERTEX[0], ("uint", "label", "u4"), *VERTEX[1:]]
    path.write_bytes(ply(form, old, VALUES | {"label": [7, 7, 7]}))
    want = ply(form, new, VALUES | {"label": [1, 2, 300]})
    assert open_cloud(path).labeled(np.array([1, 2, 300])) == want


def test_vertices_that_share_a_line_cannot_be_labeled(tmp_path: Path):
    path = tmp_path / "cloud.ply"
    text = ply("ascii", VERTEX, VALUES).replace(b"255 8\n", b"255\n8\n")
    path.write_bytes(text)
    cloud = open_cloud(path)
    assert cloud.columns["z"].tolist() == [0.5, 0.25, 8.0]
    with pytest.raises(UserError, match="do not stand one on a line"):
        cloud.labeled(np.array([1, 2, 3]))
