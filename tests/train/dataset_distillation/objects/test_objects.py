"""Object clouds: our folder and the public layouts are read back, and bad ones are refused."""

import json
import sys

import h5py
import numpy as np
import pytest

from train.core.errors import UserError
from train.dataset_distillation.clouds import PointClouds, resample, unit_sphere
from train.dataset_distillation.objects.meshes import read_off, sample_triangles
from train.dataset_distillation.objects.read import read_folder, read_objects, write_folder
from train.dataset_distillation.prepare import random_rotations, rotated

RNG = np.random.default_rng(0)


def _clouds(each=3, points=20, *, parts=True):
    points_ = RNG.normal(size=(2 * each, points, 3)).astype(np.float32)
    labels = np.repeat([0, 1], each)
    numbers = RNG.integers(-1, 3, size=(2 * each, points)) if parts else None
    return PointClouds(points_, labels, ("cup", "pot"), numbers, ("a", "b", "c") if parts else ())


@pytest.mark.parametrize("parts", [True, False])
def test_a_folder_is_read_back(tmp_path, parts):
    train, test = _clouds(parts=parts), _clouds(2, parts=parts)
    write_folder(tmp_path, {"train": train, "test": test}, {"what": "toy"})
    for split, want in (("train", train), ("test", test)):
        got = read_folder(tmp_path, split)
        assert np.array_equal(got.points, want.points)
        assert np.array_equal(got.labels, want.labels)
        assert (got.classes, got.part_names) == (want.classes, want.part_names)
        assert parts == (got.parts is not None)
        if parts:
            assert np.array_equal(got.parts, want.parts)


def test_a_folder_written_again_keeps_nothing_of_the_first(tmp_path):
    write_folder(tmp_path, {"train": _clouds(), "test": _clouds()}, {})
    write_folder(tmp_path, {"train": _clouds()}, {})
    with pytest.raises(UserError, match="no split 'test'"):
        read_folder(tmp_path, "test")
    assert not (tmp_path / "test.npz").exists()


def test_fewer_points_are_drawn_with_their_parts(tmp_path):
    points = RNG.normal(size=(4, 30, 3)).astype(np.float32)
    parts = np.tile(np.arange(30) % 3, (4, 1))
    points[..., 2] = parts  # z says which part a point is
    made = PointClouds(points, np.array([0, 0, 1, 1]), ("cup", "pot"), parts, ("a", "b", "c"))
    write_folder(tmp_path, {"train": made}, {})
    got = read_objects(tmp_path, "train", 12)
    assert got.points.shape == (4, 12, 3)
    assert np.array_equal(got.points[..., 2], got.parts)
    assert len(np.unique(got.points[0], axis=0)) == 12
    assert read_objects(tmp_path, "train", 50).num_points == 50


def _off(path, text="OFF\n4 4 6\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")


def test_modelnet40_as_downloaded(tmp_path):
    for name in ("airplane", "xbox"):
        for split, count in (("train", 2), ("test", 1)):
            for number in range(count):
                _off(tmp_path / name / split / f"{name}_{number:04d}.off")
    _off(tmp_path / "xbox" / "test" / "xbox_0009.off", "OFF4 4 6\n")  # as some files begin
    train, test = (read_objects(tmp_path, split, 64) for split in ("train", "test"))
    assert train.classes == ("airplane", "xbox")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert test.labels.tolist() == [0, 1, 1]
    assert np.allclose(np.linalg.norm(train.points, axis=2).max(axis=1), 1, atol=1e-6)
    assert not np.array_equal(train.points[0], train.points[1])
    assert np.array_equal(read_objects(tmp_path, "train", 64).points, train.points)


def test_a_face_of_four_corners_is_two_triangles(tmp_path):
    path = tmp_path / "a.off"
    path.write_text("OFF\n4 1 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0\n4 0 1 2 3\n")
    vertices, triangles = read_off(path)
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    points = sample_triangles(vertices, triangles, 4000, np.random.default_rng(0))
    assert np.allclose(points.mean(axis=0), [1, 0.5, 0], atol=0.04)
    # Even over the area: a quarter of it holds a quarter of the points, three deviations wide.
    assert abs((points[:, 0] < 0.5).mean() - 0.25) < 0.021


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PLY\n", "does not begin with OFF"),
        ("", "does not begin with OFF"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n", "damaged"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "faces do not fit"),
        ("OFF\n3 1 0\n0 0 x\n1 0 0\n0 1 0\n3 0 1 2\n", "damaged"),
        ("OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n", "no surface"),
        ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "damaged"),
    ],
)
def test_a_damaged_model_is_named(tmp_path, text, words):
    path = tmp_path / "cup" / "train" / "cup_1.off"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_objects(tmp_path, "train", 16)
    assert "cup_1.off" in str(caught.value)


@pytest.fixture
def shapenetpart(tmp_path):
    """Two categories with two models for training, one of them validation, and one for testing."""
    (tmp_path / "synsetoffset2category.txt").write_text("Airplane\t02691156\nBag\t02773838\n")
    lists = {"train": [], "val": [], "test": []}
    for synset, first_part in (("02691156", 0), ("02773838", 4)):
        (tmp_path / synset).mkdir()
        for number, split in enumerate(lists):
            parts = first_part + np.arange(40) % 2
            xyz = RNG.normal(size=(40, 3)) + 10 * (parts - first_part)[:, None]
            table = np.column_stack([xyz, RNG.normal(size=(40, 3)), parts])
            np.savetxt(tmp_path / synset / f"m{number}.txt", table, fmt="%.6f")
            lists[split].append(f"shape_data/{synset}/m{number}")
    (tmp_path / "train_test_split").mkdir()
    for split, models in lists.items():
        path = tmp_path / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps(models))
    return tmp_path


def test_shapenetpart_as_downloaded(shapenetpart):
    train, test = (read_objects(shapenetpart, split, 30) for split in ("train", "test"))
    assert train.classes == ("Airplane", "Bag")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert test.labels.tolist() == [0, 1]
    assert set(np.unique(train.parts[0])) == {0, 1}
    assert set(np.unique(train.parts[2])) == {4, 5}
    # Parts stay with their points: those of the second part lie apart.
    assert train.points[0][train.parts[0] == 1].min() > train.points[0][train.parts[0] == 0].mean()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("02691156/m0.txt", "1 2 3\n", "3 numbers"),
        ("02691156/m0.txt", "a b c d\n", "damaged"),
        ("02691156/m0.txt", None, "No such file"),
        ("02691156/m0.txt", "1 2 3 0\n", "one point"),
        ("02691156/m0.txt", "1 2 3 0\n" * 9, "equal"),
        ("02691156/m0.txt", "1 nan 3 0\n" * 9, "not finite"),
        ("synsetoffset2category.txt", "x\n", "line 1"),
        ("train_test_split/shuffled_train_file_list.json", "{", "damaged list"),
        ("train_test_split/shuffled_train_file_list.json", None, "no such file"),
    ],
)
def test_a_damaged_shapenetpart_is_named(shapenetpart, file, text, words):
    (shapenetpart / file).unlink()
    if text is not None:
        (shapenetpart / file).write_text(text)
    with pytest.raises(UserError, match=words):
        read_objects(shapenetpart, "train", 30)


def _scanobjectnn(path):
    data = RNG.normal(size=(3, 32, 3)).astype(np.float32)
    data[..., 2] = np.arange(32) % 2  # z says which points are the object
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = data, np.array([2, 14, 0])
        file["mask"] = np.tile(np.where(np.arange(32) % 2, 4, -1), (3, 1))


def test_scanobjectnn_as_downloaded(tmp_path):
    _scanobjectnn(tmp_path / "training_objectdataset.h5")
    got = read_objects(tmp_path, "train", 16)
    assert got.labels.tolist() == [2, 14, 0]
    assert got.classes[14] == "toilet"
    assert got.part_names == ("background", "object")
    assert got.points.shape == (3, 16, 3)
    assert np.array_equal(got.points[..., 2] > got.points[..., 2].mean(axis=1)[:, None], got.parts)
    with pytest.raises(UserError, match="has no test_objectdataset"):
        read_objects(tmp_path, "test", 16)


def test_a_variant_of_scanobjectnn_is_found_and_two_are_refused(tmp_path):
    _scanobjectnn(tmp_path / "training_objectdataset_augmented25_norot.h5")
    assert len(read_objects(tmp_path, "train", 16)) == 3
    _scanobjectnn(tmp_path / "training_objectdataset_augmentedrot.h5")
    with pytest.raises(UserError, match="2 variants"):
        read_objects(tmp_path, "train", 16)


def test_a_damaged_scanobjectnn_is_named(tmp_path):
    path = tmp_path / "training_objectdataset.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="no HDF5 file"):
        read_objects(tmp_path, "train", 16)
    path.unlink()
    for name, values, words in (
        ("data", np.zeros((2, 4, 3)), "lacks the array 'label'"),
        ("label", np.zeros(3), "for 3 labels"),
    ):
        with h5py.File(path, "a") as file:
            file[name] = values
        with pytest.raises(UserError, match=words):
            read_objects(tmp_path, "train", 16)


def test_without_h5py_one_line_says_what_to_install(tmp_path, monkeypatch):
    _scanobjectnn(tmp_path / "training_objectdataset.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"topodistill\[objects\]"):
        read_objects(tmp_path, "train", 16)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"points": np.zeros((2, 0, 3))}, "0 points"),
        ({"points": np.zeros((2, 1, 3))}, "1 points"),
        ({"points": np.ones((2, 5, 3))}, "all 5 points are equal"),
        ({"points": np.full((2, 5, 3), np.nan)}, "not finite"),
        ({"points": np.zeros((2, 5, 2))}, "shape"),
        ({"labels": np.array([0, 2])}, "label 2 is outside 0 to 1"),
        ({"parts": np.ones((2, 5), dtype=int), "part_names": ("p",)}, "part 1 is outside -1 to 0"),
        ({"strength": np.zeros((2, 4))}, "strength has shape"),
        ({"names": ("a",)}, "1 names of 2 clouds"),
    ],
)
def test_clouds_that_nothing_can_be_learned_from_are_refused(changed, words):
    whole = {"points": RNG.normal(size=(2, 5, 3)), "labels": np.array([0, 1])}
    with pytest.raises(UserError, match=words):
        PointClouds(classes=("a", "b"), **(whole | changed))


def test_an_unknown_layout_names_the_known_ones(tmp_path):
    (tmp_path / "cloud.xyz").write_text("1 2 3\n")
    with pytest.raises(UserError, match=r"not known; .*ModelNet40 .*ScanObjectNN .*ShapeNetPart"):
        read_objects(tmp_path, "train", 16)
    with pytest.raises(UserError, match="no such folder"):
        read_objects(tmp_path / "nowhere", "train", 16)
    with pytest.raises(UserError, match="1 points"):
        read_objects(tmp_path, "train", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "damaged"), ('{"format": "other"}', "'other'"), ("[]", "None")],
)
def test_a_damaged_index_is_refused(tmp_path, text, words):
    (tmp_path / "objects.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_objects(tmp_path, "train", 16)


def test_a_damaged_array_file_is_refused(tmp_path):
    write_folder(tmp_path, {"train": _clouds()}, {})
    path = tmp_path / "train.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="damaged file"):
        read_folder(tmp_path, "train")
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        read_folder(tmp_path, "train")


def test_unit_sphere_and_resample():
    made = unit_sphere(RNG.normal(size=(50, 3)) * 7 + 3)
    assert np.allclose(made.mean(axis=0), 0, atol=1e-6)
    assert np.linalg.norm(made, axis=1).max() == pytest.approx(1)
    with pytest.raises(ValueError, match="equal"):
        unit_sphere(np.ones((4, 3)))
    rng = np.random.default_rng(0)
    assert len(set(resample(10, 7, rng).tolist())) == 7
    assert set(resample(3, 9, rng).tolist()) == {0, 1, 2}
    assert len(resample(3, 9, rng)) == 9


@pytest.mark.parametrize("upright", [False, True])
def test_random_rotations_are_rotations(upright):
    turns = random_rotations(500, np.random.default_rng(0), upright=upright)
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1)
    if upright:
        assert np.allclose(turns[:, 2], [0, 0, 1])
    # Even over the sphere: the images of x have mean 0, four deviations wide.
    assert np.abs(turns[:, :2, 0].mean(axis=0)).max() < 4 / np.sqrt(2 * 500)


def test_rotated_clouds_keep_their_shape():
    clouds = _clouds()
    turned = rotated(clouds, 3)
    assert not np.allclose(turned.points, clouds.points)
    lengths = [np.linalg.norm(c.points, axis=2) for c in (turned, clouds)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)
