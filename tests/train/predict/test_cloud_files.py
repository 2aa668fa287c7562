"""Reading single clouds: every kind of file, every way in which one can be damaged."""

from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.semantickitti import FILES
from train.data.semantickitti.classes import CLASS_MAP
from train.evaluation.network_pass import TEST_TIME_AUGMENTATIONS, TTATransform
from train.predict.cloud_files import (
    KITTI_FILES,
    Cloud,
    LabelWriter,
    read_cloud,
    write_prediction,
)

POINTS = np.array(
    [[1.5, -2.25, 0.125, 0.5], [40.0, 3.0, -1.75, 0.25], [-7.0, 0.0, 2.5, 1.0]], dtype=np.float32
)


def ply(form, properties, rows, *, before=b"", after=b""):
    """Return a PLY file's bytes: `properties` as (type, name), `rows` as the body."""
    lines = [b"ply", b"format " + form.encode() + b" 1.0", b"comment end_header is below"]
    if before:
        lines += [b"element camera 2", b"property uchar id", b"property float focus"]
    lines.append(b"element vertex %d" % len(POINTS))
    lines += [f"property {kind} {name}".encode() for kind, name in properties]
    if after:
        lines += [b"element face 1", b"property list uchar int vertex_indices"]
    return b"\n".join([*lines, b"end_header", b""]) + before + rows + after


def text(points):
    return "\n".join(" ".join(repr(float(value)) for value in row) for row in points).encode()


FLOATS = [("float", name) for name in "xyz"]
WITH_STRENGTH = [*FLOATS, ("float", "intensity")]


def check_points(path, *, strength=POINTS[:, 3:]):
    frame = read_cloud(path).frame
    assert frame.coord.dtype == frame.strength.dtype == np.float32
    np.testing.assert_array_equal(frame.coord, POINTS[:, :3])
    np.testing.assert_array_equal(frame.strength, strength)
    assert frame.segment is None
    assert frame.path == path


def test_a_semantickitti_frame(tmp_path):
    path = tmp_path / "000000.bin"
    path.write_bytes(POINTS.astype("<f4").tobytes())
    check_points(path)


def test_a_nuscenes_frame_has_intensity_over_255_and_drops_the_ring(tmp_path):
    path = tmp_path / "n015__LIDAR_TOP__1.pcd.bin"
    intensity = np.array([0.0, 51.0, 255.0])
    raw = np.c_[POINTS[:, :3], intensity, [3.0, 30.0, 7.0]]
    path.write_bytes(raw.astype("<f4").tobytes())
    check_points(path, strength=np.array([[0.0], [0.2], [1.0]], dtype=np.float32))


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8"])
def test_a_numpy_array(tmp_path, dtype):
    path = tmp_path / "cloud.npy"
    np.save(path, POINTS.astype(dtype))
    check_points(path)
    assert read_cloud(path).strength_from == "fourth column"
    np.save(path, POINTS[:, :3].astype(dtype))
    check_points(path, strength=np.zeros((3, 1), dtype=np.float32))
    assert "0 for every point" in read_cloud(path).strength_from


def test_a_numpy_array_of_whole_numbers(tmp_path):
    np.save(tmp_path / "cloud.npy", np.array([[1, -2, 3]]))
    np.testing.assert_array_equal(read_cloud(tmp_path / "cloud.npy").frame.coord, [[1, -2, 3]])


@pytest.mark.parametrize("name", ["strength", "intensity", "remission", "scalar_Intensity"])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_vertices(tmp_path, form, name):
    path = tmp_path / "cloud.ply"
    order = ">" if form.endswith("big_endian") else "<"
    body = text(POINTS) if form == "ascii" else POINTS.astype(order + "f4").tobytes()
    path.write_bytes(ply(form, [*FLOATS, ("float32", name)], body))
    check_points(path)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_ply_properties_in_any_order_and_type_between_other_elements(tmp_path, form):
    path = tmp_path / "cloud.ply"
    properties = [("uchar", "red"), ("double", "z"), ("float", "y"), ("short", "ring")]
    properties += [("double", "x"), ("float", "remission")]
    columns = [[9, 8, 7], POINTS[:, 2], POINTS[:, 1], [-1, 0, 1], POINTS[:, 0], POINTS[:, 3]]
    if form == "ascii":
        before, rows, after = b"1 0.5\n2 0.25\n", text(np.array(columns).T), b"\n3 0 1 2\n"
    else:
        before = np.array([(1, 0.5), (2, 0.25)], dtype="u1,<f4").tobytes()
        table = np.empty(3, dtype="u1,<f8,<f4,<i2,<f8,<f4")
        for field, column in zip(table.dtype.names, columns, strict=True):
            table[field] = column
        rows, after = table.tobytes(), bytes([3, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])
    path.write_bytes(ply(form, properties, rows, before=before, after=after))
    check_points(path)


def test_ply_without_a_strength_and_with_line_ends_of_windows(tmp_path):
    path = tmp_path / "cloud.ply"
    path.write_bytes(ply("ascii", FLOATS, text(POINTS[:, :3])).replace(b"\n", b"\r\n"))
    check_points(path, strength=np.zeros((3, 1), dtype=np.float32))
    path.write_bytes(
        ply("binary_little_endian", FLOATS, b"").replace(b"\n", b"\r\n")
        + POINTS[:, :3].astype("<f4").tobytes()
    )
    check_points(path, strength=np.zeros((3, 1), dtype=np.float32))


def changed(row, column, value, points=POINTS):
    out = points.astype(np.float64)
    out[row, column] = value
    return out


def npy(array):
    def write(path):
        with path.open("wb") as stream:
            np.save(stream, array, allow_pickle=True)

    return write


def raw(data):
    return lambda path: path.write_bytes(data)


GOOD_PLY = ply("ascii", WITH_STRENGTH, text(POINTS))
LITTLE = ply("binary_little_endian", WITH_STRENGTH, POINTS.tobytes())
BAD = [
    ("c.txt", raw(b"1 2 3"), "end in .pcd.bin, .bin, .las, .laz, .npy, .pcd, .ply"),
    ("c.bin", raw(b""), "empty"),
    ("c.bin", raw(bytes(17)), "17 bytes is no multiple of 16"),
    ("c.bin", raw(changed(1, 0, np.nan).astype("<f4").tobytes()), "NaN or infinite"),
    ("c.bin", raw(changed(1, 0, 1e6).astype("<f4").tobytes()), "more than 1000 m"),
    ("c.pcd.bin", raw(b""), "empty"),
    ("c.pcd.bin", raw(bytes(16)), "16 bytes is no multiple of 20"),
    ("c.pcd.bin", raw(np.full(5, np.inf, "<f4").tobytes()), "1 of 1 points have NaN"),
    ("c.npy", raw(b""), "cannot be read as a numpy array"),
    ("c.npy", raw(b"\x93NUMPY junk"), "cannot be read as a numpy array"),
    ("c.npy", npy(np.array([{}, {}])), "cannot be read as a numpy array"),
    ("c.npy", npy(np.array([["a"] * 3])), "no array of numbers"),
    ("c.npy", npy(np.zeros((4, 3), dtype=complex)), "no array of numbers"),
    ("c.npy", npy(np.zeros((3, 5))), "shape (3, 5)"),
    ("c.npy", npy(np.zeros(4)), "shape (4,)"),
    ("c.npy", npy(np.zeros((0, 4))), "0 points"),
    ("c.npy", npy(changed(2, 3, np.nan)), "1 of 3 points have NaN or infinite values (first: p"),
    ("c.npy", npy(np.full((2, 4), np.nan)), "0 points"),
    ("c.npy", npy(changed(2, 3, 1e300)), "first: point 2"),
    ("c.npy", npy(changed(1, 0, -4e5)), "first: point 1, x y z strength = -400000 3 -1.75"),
    ("c.ply", raw(b"plain text"), "no PLY file"),
    ("c.ply", raw(GOOD_PLY[:80]), "no PLY file"),
    ("c.ply", raw(GOOD_PLY.replace(b"ascii", b"utf8")), "line 2 of the PLY header"),
    ("c.ply", raw(GOOD_PLY.replace(b"format ascii 1.0\n", b"")), "has no format"),
    ("c.ply", raw(GOOD_PLY.replace(b"float x", b"quad x")), "'property quad x'"),
    ("c.ply", raw(GOOD_PLY.replace(b"vertex 3", b"vertex -3")), "'element vertex -3'"),
    ("c.ply", raw(GOOD_PLY.replace(b"vertex", b"point")), "no element vertex, only point"),
    ("c.ply", raw(GOOD_PLY.replace(b"float y", b"float x")), "two properties of one name"),
    ("c.ply", raw(GOOD_PLY.replace(b"float y", b"float u")), "no property y"),
    ("c.ply", raw(GOOD_PLY.replace(b"float y", b"list uchar int y")), "has a list property"),
    ("c.ply", raw(GOOD_PLY.replace(b"-2.25", b"south")), "is no number"),
    ("c.ply", raw(GOOD_PLY.replace(b"0.5", b"nan")), "NaN or infinite"),
    ("c.ply", raw(GOOD_PLY.rsplit(maxsplit=1)[0]), "need 12 numbers and 11 are there"),
    ("c.ply", raw(GOOD_PLY.replace(b"vertex 3", b"vertex 0")), "0 points"),
    ("c.ply", raw(GOOD_PLY.replace(b"vertex 3", b"vertex " + b"9" * 40)), "of the PLY header"),
    ("c.ply", raw(LITTLE[:-1]), "need 48 bytes and 47 are there"),
    ("c.ply", raw(LITTLE.replace(b"vertex 3", b"vertex " + b"9" * 40)), "of the PLY header"),
]


@pytest.mark.parametrize(("name", "write", "message"), BAD)
def test_what_is_no_cloud_is_refused_in_one_line(tmp_path, name, write, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(UserError) as refused:
        read_cloud(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ending", [".bin", ".pcd.bin", ".npy", ".ply"])
def test_a_missing_file_and_a_folder_are_named(tmp_path, ending):
    with pytest.raises(UserError, match=r"gone\S+: cannot be read .*No such file"):
        read_cloud(tmp_path / f"gone{ending}")
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(UserError, match=r"folder\S+: cannot be read .*Is a directory"):
        read_cloud(tmp_path / f"folder{ending}")


def some_cloud():
    """A cloud of which only what writes labels is looked at."""
    path = Path("cloud.bin")
    frame = LidarFrame(np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32), None, "", path)
    return Cloud(frame, "", "")


def test_labels_of_semantickitti_are_read_back_by_the_dataset(tmp_path):
    labels = np.random.default_rng(0).permutation(np.arange(19).repeat(2))
    path = tmp_path / "000000.label"
    writer = LabelWriter(KITTI_FILES, CLASS_MAP)
    write_prediction(path, writer.contents(path, some_cloud(), labels))
    raw_ids = np.fromfile(path, dtype="<u4")
    # The benchmark's own numbers for some classes, from its semantic-kitti.yaml.
    for train_id, raw_id in ((0, 10), (4, 20), (8, 40), (18, 81)):
        assert set(raw_ids[labels == train_id]) == {raw_id}
    np.testing.assert_array_equal(FILES.read_segment(path, 38), labels)


def test_both_files_are_written_or_none(tmp_path, monkeypatch):
    labels, probabilities = np.array([1, 0]), np.eye(2, dtype=np.float32)[::-1]
    first, second = tmp_path / "labels.npy", tmp_path / "probabilities.npy"
    writer = LabelWriter(KITTI_FILES, None)

    def write(labels, probabilities):
        contents = writer.contents(first, some_cloud(), labels)
        write_prediction(first, contents, second, probabilities)

    write(labels, probabilities)
    np.testing.assert_array_equal(np.load(first), labels)
    np.testing.assert_array_equal(np.load(second), probabilities)
    assert np.load(first).dtype == np.int64
    assert np.load(second).dtype == np.float32

    save = np.save

    def full_disk(stream, array):
        save(stream, array[:1])
        if array.ndim == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(UserError, match=r"probabilities\.npy: cannot be written \(No space"):
        write(1 - labels, 1 - probabilities)
    monkeypatch.undo()
    np.testing.assert_array_equal(np.load(first), labels)
    np.testing.assert_array_equal(np.load(second), probabilities)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.npy", "probabilities.npy"]


def test_views_by_hand():
    point = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    turned = [view.apply(point)[0].tolist() for view in TEST_TIME_AUGMENTATIONS["rotations"]]
    assert turned == [[1, 2, 3], [-2, 1, 3], [-1, -2, 3], [2, -1, 3]]
    seen = [view.apply(point)[0] for view in TEST_TIME_AUGMENTATIONS["scales-flips"]]
    scales = [0.9, 0.95, 1.0, 1.05, 1.1]
    want = [[s, 2 * s, 3 * s] for s in scales] + [[-s, -2 * s, 3 * s] for s in scales]
    np.testing.assert_allclose(seen, want, rtol=1e-6)
    mirrored = [view.apply(point)[0].tolist() for view in TEST_TIME_AUGMENTATIONS["mirrors"]]
    assert mirrored == [[1, 2, 3], [1, -2, 3], [-1, -2, 3], [-1, 2, 3]]
    scaled = [view.apply(point)[0] for view in TEST_TIME_AUGMENTATIONS["scales"]]
    np.testing.assert_allclose(scaled, [[s, 2 * s, 3 * s] for s in (0.9, 1.0, 1.1)], rtol=1e-6)
    assert TTATransform(quarter_turns=1, scale=2.0, flip=True).apply(point)[0].tolist() == [
        4,
        -2,
        6,
    ]


@pytest.mark.parametrize("wrong", [{"quarter_turns": 4}, {"scale": 0.0}, {"scale": np.nan}])
def test_a_view_that_is_none(wrong):
    with pytest.raises(ValueError, match=f"TTATransform: {next(iter(wrong))} is"):
        TTATransform(**wrong)
