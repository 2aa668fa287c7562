"""Recordings of drives, read back by Rerun's own reader."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.toys import toy_metadata
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model
from train.predict.cloud import predict
from train.predict.command import main
from train.predict.recording import (
    AGREE,
    BOTH_WRONG,
    DIFFER,
    STUDENT_ALONE_RIGHT,
    TEACHER_ALONE_RIGHT,
    Shown,
    disagreement,
)

NAMES = ("ground", "tree", "rock")
MAP = """
labels: {0: nothing, 10: ground, 20: tree, 30: rock}
learning_ignore: {0: true}
color_map: {10: [0, 0, 255], 20: [0, 255, 0], 30: [255, 128, 0]}
"""
RAW = np.array([10, 20, 30, 0])  # -1 finds the last


def points_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.c_[rng.uniform(-3, 3, (200, 3)), rng.uniform(0, 1, 200)].astype("<f4")


def truth_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 50).integers(-1, 3, 200)


@pytest.fixture(scope="module")
def networks():
    made = {}
    for seed, size in ((4, "tiny-student"), (5, "tiny-teacher")):
        torch.manual_seed(seed)
        made[size.removeprefix("tiny-")] = build_segmentor(size, len(NAMES)).eval()
    return made


GRIDS = {"student": 0.4, "teacher": 0.6}


@pytest.fixture
def folder(tmp_path: Path, networks) -> Path:
    """Two checkpoints, a class map, and a drive of two frames, the second without labels."""
    for role, network in networks.items():
        values = {"class_names": NAMES, "grid_size_m": GRIDS[role]}
        card = toy_metadata(network, dataset="kitti-layout", **values)
        save_model(network, card, tmp_path / f"{role}.pt")
    (tmp_path / "classes.yaml").write_text(MAP)
    for name in ("velodyne", "labels"):
        (tmp_path / "drive" / name).mkdir(parents=True)
    for seed in range(2):
        points_of(seed).tofile(tmp_path / f"drive/velodyne/{seed}.bin")
    RAW[truth_of(0)].astype("<u4").tofile(tmp_path / "drive/labels/0.label")
    return tmp_path


def run(folder: Path, *more: str) -> int:
    return main(
        [
            *("--checkpoint", f"{folder}/student.pt", "--data.class-map", f"{folder}/classes.yaml"),
            *("--input", f"{folder}/drive", "--output", f"{folder}/out", "--device", "cpu"),
            *more,
        ]
    )


def shown_in(path: Path) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    """Return what a recording has of each entity, by frame; annotations at frame -1."""
    chunk = pytest.importorskip("rerun.chunk", reason="the extra `rerun` is not installed")
    found: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    for part in chunk.RrdReader(path).stream():
        table = part.to_record_batch()
        for row in table.to_pylist():
            values = {name: value for name, value in row.items() if value is not None}
            found.setdefault(part.entity_path, {}).setdefault(row.get("frame", -1), {}).update(
                values
            )
    return found


def test_a_drive_with_teacher_truth_and_disagreement(folder: Path, networks):
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    asked = ("--teacher-checkpoint", f"{folder}/teacher.pt", "--rerun", f"{folder}/new/drive.rrd")
    assert run(folder, *asked) == 0
    found = shown_in(folder / "new/drive.rrd")
    student, teacher = (
        [predict(networks[role], points_of(seed), GRIDS[role])[0] for seed in range(2)]
        for role in ("student", "teacher")
    )
    for seed in range(2):
        for view, labels in (("student", student), ("teacher", teacher)):
            row = found[f"/{view}/points"][seed]
            np.testing.assert_array_equal(row["Points3D:positions"], points_of(seed)[:, :3])
            np.testing.assert_array_equal(row["Points3D:class_ids"], labels[seed])
    truth = truth_of(0)
    first, second = found["/truth/points"][0], found["/truth/points"][1]
    np.testing.assert_array_equal(first["Points3D:class_ids"], np.where(truth < 0, 3, truth))
    # Of the second there is no truth: what the first had is not shown for longer.
    assert "Points3D:class_ids" not in second
    assert second["Clear:is_recursive"] == [False]
    verdicts = [found["/disagreement/points"][seed]["Points3D:class_ids"] for seed in range(2)]
    for at, verdict in enumerate(verdicts[0]):
        s, t, y = student[0][at], teacher[0][at], truth[at]
        if y < 0:
            want = AGREE if s == t else DIFFER
        else:
            right = {
                (True, True): AGREE,
                (True, False): STUDENT_ALONE_RIGHT,
                (False, True): TEACHER_ALONE_RIGHT,
                (False, False): BOTH_WRONG,
            }
            want = right[s == y, t == y]
        assert verdict == want
    np.testing.assert_array_equal(verdicts[1], np.where(student[1] == teacher[1], AGREE, DIFFER))
    (context,) = found["/student"].values()
    infos = [each["class_description"]["info"] for each in context["AnnotationContext:context"][0]]
    assert [info["label"] for info in infos] == [*NAMES, "no label"]
    assert infos[0]["color"] >> 8 == 0xFF0000  # the class map's colors, red first
    assert infos[2]["color"] >> 8 == 0x0080FF


def test_a_drive_of_the_student_alone(folder: Path):
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    (folder / "drive/labels/0.label").unlink()
    assert run(folder, "--rerun", f"{folder}/drive.rrd") == 0
    found = shown_in(folder / "drive.rrd")
    assert set(found["/student/points"]) == {0, 1}
    for view in ("teacher", "truth", "disagreement"):
        assert all("Points3D:positions" not in row for row in found[f"/{view}/points"].values())


def test_a_recording_is_whole_or_not_there(folder: Path, capsys):
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    (folder / "drive/velodyne/1.bin").write_bytes(b"short")
    assert run(folder, "--rerun", f"{folder}/shown/drive.rrd") == 2
    assert "1.bin: 5 bytes" in capsys.readouterr().err
    assert list((folder / "shown").iterdir()) == []


def test_labels_that_do_not_fit_their_frame_are_said(folder: Path, capsys):
    (folder / "drive/labels/0.label").write_bytes(b"1234")
    assert run(folder) == 0  # nothing looks at them
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    assert run(folder, "--overwrite", "--rerun", f"{folder}/drive.rrd") == 2
    assert "0.label: 4 bytes, but the frame has 200 points" in capsys.readouterr().err


def test_a_missing_package_is_one_line_that_names_the_extra(folder: Path, capsys, monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "rerun" else find(name)
    )
    assert run(folder, "--rerun", f"{folder}/drive.rrd") == 2
    assert "pip install 'topodistill[rerun]'" in capsys.readouterr().err.splitlines()[-1]
    assert not list((folder / "out").iterdir())


def test_a_teacher_of_other_classes_is_refused(folder: Path, networks, capsys):
    card = toy_metadata(networks["teacher"], class_names=("ground", "tree", "water"))
    save_model(networks["teacher"], card, folder / "teacher.pt")
    asked = ("--teacher-checkpoint", f"{folder}/teacher.pt", "--rerun", f"{folder}/drive.rrd")
    assert run(folder, *asked) == 2
    assert "its classes are not those of" in capsys.readouterr().err


def test_disagreement_by_hand():
    coord = np.zeros((4, 3), np.float32)
    student, teacher = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    truth = np.array([0, 0, 0, 0])
    assert disagreement(Shown("", coord, student)) is None
    assert disagreement(Shown("", coord, student, teacher)).tolist() == [
        AGREE, DIFFER, DIFFER, AGREE,
    ]  # fmt: skip
    assert disagreement(Shown("", coord, student, None, truth)).tolist() == [
        AGREE, AGREE, BOTH_WRONG, BOTH_WRONG,
    ]  # fmt: skip
    assert disagreement(Shown("", coord, student, teacher, truth)).tolist() == [
        AGREE, STUDENT_ALONE_RIGHT, TEACHER_ALONE_RIGHT, BOTH_WRONG,
    ]  # fmt: skip
