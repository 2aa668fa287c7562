"""Frames of one's own through every command: other columns, narrow labels, classes from a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from train.evaluation.command import main as evaluate
from train.inspection.inspect import REPORT
from train.inspection.inspect import main as inspect
from train.networks.weights import load_model
from train.predict.command import main as predict
from train.report import main as report
from train.run import main as run

MAP = """
labels: {0: nothing, 5: ground, 6: grass, 300: wall}
learning_map: {0: 0, 5: 1, 6: 1, 300: 2}
learning_map_inv: {0: 0, 1: 5, 2: 300}
learning_ignore: {0: true, 1: false, 2: false}
split: {train: [hill], valid: [lake]}
"""
LAYOUT = [
    *("--data.point-columns", "x,y,z,intensity,ring:u2"),
    *("--data.strength-scale", "255", "--data.label-type", "uint16"),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A folder with frames, the class map, and a finished run `run`."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "classes.yaml").write_text(MAP)
    rng = np.random.default_rng(0)
    for name, count in (("hill", 2), ("lake", 1)):
        for number in range(count):
            floor = np.c_[rng.uniform(-9, 9, (700, 2)), rng.normal(-1.7, 0.02, 700)]
            wall = np.c_[rng.uniform(-9, 9, 400), np.full(400, 7.0), rng.uniform(-1.7, 2, 400)]
            table = np.zeros(1100, "<f4,<f4,<f4,<f4,<u2")
            coord = np.concatenate([floor, wall])
            for field, values in zip(
                table.dtype.names, [*coord.T, rng.uniform(0, 255, 1100), np.arange(1100)],
                strict=True,
            ):  # fmt: skip
                table[field] = values
            labels = np.r_[np.tile([5, 6], 350), np.full(400, 300)]
            labels[::50] = 0
            for part, content in (
                ("velodyne", table), ("labels", labels.astype("<u2")),
            ):  # fmt: skip
                ending = "bin" if part == "velodyne" else "label"
                path = folder / "data" / name / part / f"{number}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.tobytes())
    words = [
        *("--dataset", "kitti-layout", "--model", "tiny", "--device", "cpu", "--method", "kd"),
        *("--data-root", str(folder / "data"), "--output", str(folder / "run")),
        *("--data.grid-size-m", "0.3", "--data.class-map", str(folder / "classes.yaml"), *LAYOUT),
        *("--optim.teacher-epochs", "1", "--optim.student-epochs", "1", "--no-baseline"),
    ]
    assert run(words) == 0
    return folder


def test_the_run_learns_the_classes_of_the_map(own: Path):
    _, card = load_model(own / "run/student.pt")
    assert (card.dataset, card.class_names) == ("kitti-layout", ("ground", "wall"))
    assert card.trained_on == ("hill",)
    metrics = json.loads((own / "run/metrics.json").read_text())
    assert set(metrics["student"]["iou"]) == {"ground", "wall"}
    assert metrics["student"]["labeled_points"] == 1100 - 22
    config = json.loads((own / "run/config.json").read_text())["config"]["data"]
    assert config["class_map"] == str(own / "classes.yaml")
    assert config["point_columns"] == "x,y,z,intensity,ring:u2"


def test_a_finished_run_is_resumed_and_reported_with_its_recorded_options(own: Path, capsys):
    words = ["--dataset", "kitti-layout", "--output", str(own / "run"), "--resume"]
    assert run([*words, "--stage", "evaluate"]) == 0
    assert report(["--run", str(own / "run")]) == 0
    assert "No frames are drawn" not in (own / "run/report.html").read_text()
    assert run([*words, "--data.strength-scale", "1"]) == 2
    assert "--data.strength-scale 255.0, now 1.0" in capsys.readouterr().err


def test_evaluate_scores_the_same_frames_alike(own: Path, capsys):
    words = ["--checkpoint", str(own / "run/student.pt"), "--data-root", str(own / "data")]
    output = own / "scores.json"
    words += ["--num-workers", "0", "--device", "cpu", "--output", str(output), "--overwrite"]
    metrics = json.loads((own / "run/metrics.json").read_text())
    given = ["--data.class-map", str(own / "classes.yaml"), *LAYOUT]
    for flags in ([], given):
        assert evaluate([*words, *flags]) == 0
        scores = json.loads(output.read_text())
        assert scores["miou"] == pytest.approx(metrics["student"]["miou"], abs=1e-6)
    assert "warning" not in capsys.readouterr().err
    other = own / "other.yaml"
    text = (own / "classes.yaml").read_text()
    other.write_text(text.replace("wall", "fence"))
    assert evaluate([*words, "--data.class-map", str(other)]) == 2
    assert "its 2 classes are not the 2 of kitti-layout here; give its --data.class-map" in (
        capsys.readouterr().err
    )


def test_inspect_counts_the_classes_of_the_map(own: Path, tmp_path: Path):
    words = ["--dataset", "kitti-layout", "--data-root", str(own / "data"), "--pictures", "1"]
    given = ["--data.class-map", str(own / "classes.yaml"), *LAYOUT, "--output", str(tmp_path)]
    assert inspect([*words, *given]) == 0
    found = json.loads((tmp_path / REPORT).read_text())
    assert found["sequences"] == ["hill", "lake"]
    assert found["points_by_class"] == {"ignored": 66, "ground": 3 * 686, "wall": 3 * 392}
    assert found["strength_by_class"]["ground"] == pytest.approx(0.5, abs=0.05)


def test_predict_writes_the_ids_and_the_width_of_the_data(own: Path, tmp_path: Path):
    words = ["--checkpoint", str(own / "run/student.pt"), "--input", str(own / "data/lake")]
    given = ["--data.class-map", str(own / "classes.yaml"), *LAYOUT]
    for name, flags in (("out", []), ("given", given)):
        told = [*words, *flags, "--device", "cpu", "--output", str(tmp_path / name)]
        assert predict(told) == 0
    same = (tmp_path / "given/0.label").read_bytes()
    assert (tmp_path / "out/0.label").read_bytes() == same
    labels = np.fromfile(tmp_path / "out/0.label", "<u2")
    assert len(labels) == 1100
    assert set(labels.tolist()) <= {5, 300}


def test_a_run_without_a_class_map_says_what_is_missing(own: Path, tmp_path: Path, capsys):
    words = [
        *("--dataset", "kitti-layout", "--data-root", str(own / "data"), "--device", "cpu"),
        *("--method", "kd", "--output", str(tmp_path / "out")),
    ]
    assert run(words) == 2
    assert "what do its labels mean? Give --data.class-map FILE" in capsys.readouterr().err
    assert run([*words, "--data.class-map", str(own / "gone.yaml")]) == 2
    assert "gone.yaml: cannot be read" in capsys.readouterr().err


def test_simulated_frames_need_no_class_map(tmp_path: Path):
    words = [
        *("--dataset", "kitti-layout", "--simulate", "--method", "none", "--device", "cpu"),
        *("--data-root", str(tmp_path / "data"), "--output", str(tmp_path / "run")),
        *("--data.simulated-frames", "1", "--data.simulated-validation-frames", "1"),
        *("--data.simulated-azimuth-steps", "60", "--data.grid-size-m", "0.3"),
        *("--optim.student-epochs", "1"),
    ]
    assert run(words) == 0
    checkpoint = ["--checkpoint", str(tmp_path / "run/student.pt"), "--device", "cpu"]
    root = ["--data-root", str(tmp_path / "data"), "--num-workers", "0"]
    assert evaluate([*checkpoint, *root]) == 0


@pytest.mark.parametrize("cached", [False, True])
def test_rows_that_are_no_points_are_counted_in_the_log_and_the_report(tmp_path, capsys, cached):
    root, output, rng = tmp_path / "data", tmp_path / "run", np.random.default_rng(5)
    (tmp_path / "classes.yaml").write_text("labels: {0: ground, 1: wall}\nlearning_ignore: {}\n")
    header = (
        "VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        "WIDTH 1100\nHEIGHT 1\nPOINTS 1100\nDATA binary\n"
    )
    for number in range(2):
        rows = rng.uniform(0, 1, (1100, 4)).astype("<f4")
        rows[:, :2] = rng.uniform(-12, 12, (1100, 2))
        rows[: 7 * number, :3] = np.nan
        labels = np.repeat([0, 1], 550).astype("<u4")
        for part, content in (
            ("velodyne", header.encode() + rows.tobytes()), ("labels", labels.tobytes()),
        ):  # fmt: skip
            path = root / "00" / part / f"{number}.{'pcd' if part == 'velodyne' else 'label'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    words = [
        *("--dataset", "kitti-layout", "--model", "tiny", "--device", "cpu", "--method", "none"),
        *("--data-root", str(root), "--output", str(output), "--optim.student-epochs", "2"),
        *("--data.class-map", str(tmp_path / "classes.yaml"), "--data.grid-size-m", "0.3"),
        *("--data.train-sequences", "00", "--data.validation-sequences", "00"),
        *(["--data.cache-decoded"] if cached else []),
    ]
    assert run(words) == 0
    steps = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [step.get("rays_without_return") for step in steps] == [{"00/1": 7}] * 2
    counted = "7 rows of 1 frames are rays without a return (NaN), and left out"
    assert f"student training: {counted}; log.jsonl says which" in capsys.readouterr().err
    assert f"Trained on: {counted}." in (output / "report.html").read_text()
