"""nuScenes' submission: what is read back is what was predicted, and nothing half done."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.nuscenes.rows import token
from train.core.errors import UserError
from train.data.nuscenes import SPEC, NuScenes, NuScenesSubmission, read_submission


@pytest.fixture
def source(write_root) -> NuScenes:
    root = write_root({"scene-0077": 30, "scene-0078": 2}, "v1.0-test", labeled=False)
    return SPEC.open(root, "test", require_labels=False)


def predictions(source: NuScenes) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 16, len(source[at].coord)) for at in range(len(source))]


def write(path: Path, source: NuScenes) -> Path:
    submission = NuScenesSubmission(path, source)
    for at, prediction in enumerate(predictions(source)):
        submission.add(source[at], prediction)
    return submission.finish()


def test_a_submission_reads_back_as_what_was_predicted(source, tmp_path: Path):
    path = write(tmp_path / "out/s.zip", source)
    assert path == tmp_path / "out/s.zip"
    back = read_submission(path)
    assert tuple(back) == source.names
    for name, prediction in zip(source.names, predictions(source), strict=True):
        np.testing.assert_array_equal(back[name], prediction)
        assert back[name].dtype == np.int64


def test_files_hold_the_server_s_names_and_ids(source, tmp_path: Path):
    submission = NuScenesSubmission(tmp_path / "s.zip", source)
    for at in range(len(source)):
        submission.add(source[at], np.arange(len(source[at].coord)) % 16)
    with zipfile.ZipFile(submission.finish()) as archive:
        names = archive.namelist()
        content = archive.read(f"lidarseg/test/{token('scene-0077', 29)}_lidarseg.bin")
        meta = json.loads(archive.read("test/submission.json"))
    assert list(content) == [*range(1, 17), *range(1, 17)]
    assert meta == {
        "meta": {
            "use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False,
            "use_external": False,
        }
    }  # fmt: skip
    assert len(names) == 33
    assert {name.rpartition("/")[0] for name in names} == {"test", "lidarseg/test"}


def test_the_folder_is_named_by_the_split(write_root, tmp_path: Path):
    root = write_root({"scene-0001": 1, "scene-0003": 1})
    write_root({"scene-0061": 1, "scene-0103": 1}, "v1.0-mini")
    for name, split, scene in (
        ("train", "training", "scene-0001"),
        ("val", "validation", "scene-0003"),
        ("mini_train", "training", "scene-0061"),
        ("mini_val", "validation", "scene-0103"),
    ):
        path = write(tmp_path / f"{name}.zip", SPEC.open(root, split, sequences=[scene]))
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == [
                f"{name}/submission.json", f"lidarseg/{name}/{token(scene, 0)}_lidarseg.bin",
            ]  # fmt: skip
        assert len(read_submission(path)) == 1


def test_wrong_predictions_are_refused(source, tmp_path: Path):
    submission = NuScenesSubmission(tmp_path / "s.zip", source)
    sweep = source[0]
    for wrong in (np.zeros(2, np.int64), np.full(3, 16), np.full(3, -1), np.zeros((3, 1), int)):
        with pytest.raises(UserError) as error:
            submission.add(sweep, wrong)
        assert str(error.value).startswith(f"{sweep.path}: the prediction ")
    submission.add(sweep, np.zeros(3, np.int64))
    with pytest.raises(UserError, match="added before"):
        submission.add(sweep, np.zeros(3, np.int64))
    with pytest.raises(UserError, match="31 sweeps have no prediction"):
        submission.finish()
    assert not list(tmp_path.glob("s.zip*"))


def test_another_dataset_s_source_is_a_mistake_of_the_caller(tmp_path: Path):
    with pytest.raises(TypeError, match="must be a NuScenes, not a list"):
        NuScenesSubmission(tmp_path / "s.zip", [])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "no SET/submission.json"),
        ({"test/submission.json": None, "val/submission.json": None}, "more than one set"),
        ({"test/results.json": None}, "no SET/submission.json"),
        ({"test/submission.json": b"{"}, "is no zip that can be read"),
        ({"test/submission.json": b'{"meta": {"use_lidar": true}}'}, "submission.json is not"),
        ({"test/submission.json": None, "lidarseg/val/a_lidarseg.bin": b"\1"}, "expected lidarseg"),
        ({"test/submission.json": None, "lidarseg/test/a.bin": b"\1"}, "TOKEN_lidarseg.bin"),
        ({"test/submission.json": None, "lidarseg/test/x/a_lidarseg.bin": b"\1"}, "expected"),
        ({"test/submission.json": None, "lidarseg/test/a_lidarseg.bin": b"\1\0"}, "from 0 to 1"),
        ({"test/submission.json": None, "lidarseg/test/a_lidarseg.bin": b"\21"}, "from 17 to 17"),
    ],
)
def test_what_is_no_submission_is_refused(source, tmp_path: Path, entries, message: str):
    with zipfile.ZipFile(write(tmp_path / "good.zip", source)) as archive:
        meta = archive.read("test/submission.json")
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, meta if content is None else content)
    with pytest.raises(UserError) as error:
        read_submission(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    for gone in (tmp_path / "gone.zip", tmp_path):
        with pytest.raises(UserError, match="no zip"):
            read_submission(gone)


@pytest.fixture
def small(write_root, tmp_path: Path) -> Path:
    """Return a whole submission of one sweep."""
    source = SPEC.open(write_root({"scene-0001": 1}), "training")
    return write(tmp_path / "small.zip", source)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(where=st.integers(0, 1000), new=st.binary(min_size=1, max_size=6), cut=st.booleans())
def test_damaged_submissions_are_read_or_refused(small: Path, where: int, new: bytes, cut: bool):
    whole = small.read_bytes()
    at = where % len(whole)
    damaged = small.with_name("damaged.zip")
    damaged.write_bytes(whole[:at] if cut else whole[:at] + new + whole[at + len(new) :])
    try:
        back = read_submission(damaged)
    except UserError as error:
        message = str(error)
        assert message.startswith(f"{damaged}: ")
    else:
        assert all(0 <= labels.min() <= labels.max() < 16 for labels in back.values())
