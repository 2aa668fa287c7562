"""nuScenes' submission: the server's own names and ids."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.nuscenes.rows import token
from tests.train.data.submissions import entries
from train.data.nuscenes import SPEC, NuScenesSubmission


def write(path: Path, source) -> dict[str, bytes]:
    submission = NuScenesSubmission(path, source)
    for at in range(len(source)):
        submission.add(source[at], np.arange(len(source[at].coord)) % 16)
    return entries(submission.finish())


def test_files_hold_the_server_s_names_and_ids(write_root, tmp_path: Path):
    root = write_root({"scene-0077": 30, "scene-0078": 2}, "v1.0-test", labeled=False)
    found = write(tmp_path / "s.zip", SPEC.open(root, "test", require_labels=False))
    content = found[f"lidarseg/test/{token('scene-0077', 29)}_lidarseg.bin"]
    assert list(content) == [*range(1, 17), *range(1, 17)]
    assert json.loads(found["test/submission.json"]) == {
        "meta": {
            "use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False,
            "use_external": False,
        }
    }  # fmt: skip
    assert len(found) == 33
    assert {name.rpartition("/")[0] for name in found} == {"test", "lidarseg/test"}


def test_the_folder_is_named_by_the_split(write_root, tmp_path: Path):
    root = write_root({"scene-0001": 1, "scene-0003": 1})
    write_root({"scene-0061": 1, "scene-0103": 1}, "v1.0-mini")
    for name, split, scene in (
        ("train", "training", "scene-0001"),
        ("val", "validation", "scene-0003"),
        ("mini_train", "training", "scene-0061"),
        ("mini_val", "validation", "scene-0103"),
    ):
        found = write(tmp_path / f"{name}.zip", SPEC.open(root, split, sequences=[scene]))
        assert list(found) == [
            f"{name}/submission.json", f"lidarseg/{name}/{token(scene, 0)}_lidarseg.bin",
        ]  # fmt: skip


def test_another_dataset_s_source_is_a_mistake_of_the_caller(tmp_path: Path):
    with pytest.raises(TypeError, match="must be a NuScenes, not a list"):
        NuScenesSubmission(tmp_path / "s.zip", [])
