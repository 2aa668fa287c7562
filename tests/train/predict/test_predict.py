"""Prediction for one's own cloud: the function against an independent path, the command's files."""

import errno
import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.predict.line import refused, run
from tests.train.toys import toy_metadata
from train.config import RunConfig
from train.core.errors import UserError
from train.data.batch import collate
from train.data.dataset_spec import dataset_spec
from train.data.frame import LidarFrame
from train.data.semantickitti import CLASS_NAMES, FILES
from train.data.transforms import voxelize
from train.engine.training_state import STATE_FORMAT
from train.evaluation.network_pass import SINGLE_PASS, TEST_TIME_AUGMENTATIONS, TTATransform
from train.networks.protocol import NetworkOutput
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model
from train.predict.cloud import predict
from train.predict.command import main
from train.predict.submit import check_submission

GRID_SIZE_M = 0.2


@pytest.fixture(scope="module")
def points():
    """A floor and a wall, several points in many of their voxels."""
    rng = np.random.default_rng(7)
    floor = np.c_[rng.uniform(-4, 4, (900, 2)), rng.normal(0, 0.02, 900)]
    wall = np.c_[rng.uniform(-4, 4, 400), np.full(400, 3.99), rng.uniform(0, 2, 400)]
    coord = np.concatenate([floor, wall])
    return np.c_[coord, rng.uniform(0, 1, len(coord))].astype(np.float32)


def voxels_of(points):
    path = Path("points")
    return voxelize(LidarFrame(points[:, :3], points[:, 3:], None, "points", path), GRID_SIZE_M)


class Toy(nn.Module):
    """Logits from height, distance from the axis and strength: z rotations change nothing."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.2, 3.0], [-2.0, 0.5, 0.0], [0.5, 0, 1]]))

    def forward(self, batch):
        x, y, z, strength = batch["feat"].unbind(1)
        logits = torch.stack([z, torch.hypot(x, y), strength], dim=1) @ self.weight.T
        return NetworkOutput(logits, {}, {})


class ToldByX(Toy):
    """Two classes with logits (x, 0): sees every rotation and scale."""

    def forward(self, batch):
        x = batch["feat"][:, 0] + 0.0 * self.weight.sum()
        return NetworkOutput(torch.stack([x, torch.zeros_like(x)], dim=1), {}, {})


def test_every_point_gets_what_batch_and_network_give_its_voxel(student, points):
    labels, probabilities = predict(student, points, GRID_SIZE_M)
    assert labels.dtype == np.int64
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (len(points), 4)
    assert len(np.unique(labels)) > 1

    batch = collate([voxels_of(points)])
    with torch.no_grad():
        logits = student.eval()(batch).logits
    want = torch.softmax(logits, dim=1)
    # The way back by cells, without `inverse`: the voxel that a point lies in.
    cells = np.floor(points[:, :3].astype(np.float64) / GRID_SIZE_M).astype(int)
    cells -= cells.min(axis=0)
    row_of = {tuple(cell): row for row, cell in enumerate(batch["grid_coord"].tolist())}
    rows = [row_of[tuple(cell)] for cell in cells.tolist()]
    assert len(set(rows)) < len(points)  # some voxels hold several points
    np.testing.assert_allclose(probabilities, want[rows].numpy(), atol=1e-6)
    np.testing.assert_array_equal(labels, logits.argmax(dim=1)[rows].numpy())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_points_in_another_order_get_the_same_labels(student, points):
    labels, probabilities = predict(student, points, GRID_SIZE_M)
    order = np.random.default_rng(0).permutation(len(points))
    shuffled_labels, shuffled_probabilities = predict(student, points[order], GRID_SIZE_M)
    np.testing.assert_array_equal(shuffled_labels, labels[order])
    np.testing.assert_array_equal(shuffled_probabilities, probabilities[order])


def test_the_network_keeps_its_mode_and_its_statistics(student, points):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert student.training
    predict(student, points, GRID_SIZE_M)
    assert student.training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("size", ["tiny-student", "student"])
def test_one_point_is_enough(size):
    labels, probabilities = predict(build_segmentor(size, 4), np.zeros((1, 4)), GRID_SIZE_M)
    assert labels.shape == (1,)
    assert probabilities.shape == (1, 4)


def test_rotations_change_nothing_for_a_network_that_does_not_see_them(points):
    single = predict(Toy(), points, GRID_SIZE_M)
    rotated = predict(Toy(), points, GRID_SIZE_M, views=TEST_TIME_AUGMENTATIONS["rotations"])
    np.testing.assert_array_equal(rotated[0], single[0])
    np.testing.assert_allclose(rotated[1], single[1], atol=1e-6)
    other = predict(Toy(), points, GRID_SIZE_M, views=TEST_TIME_AUGMENTATIONS["scales-flips"])
    assert np.abs(other[1] - single[1]).max() > 1e-3


def test_probabilities_are_averaged_and_not_logits():
    point = np.array([[3.0, 1.0, 0.0, 0.0]])
    labels, probabilities = predict(
        ToldByX(), point, 0.05, views=(TTATransform(), TTATransform(quarter_turns=1))
    )
    # x is 3 as it is and -1 after a quarter turn; the mean of the logits would give 1 / (1 + 1/e).
    by_hand = (1 / (1 + np.exp(-3.0)) + 1 / (1 + np.exp(1.0))) / 2
    np.testing.assert_allclose(probabilities, [[by_hand, 1 - by_hand]], atol=1e-7)
    assert labels.tolist() == [0]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 3)), r"points has shape \(3, 3\)"),
        (np.zeros(4), r"points has shape \(4,\)"),
        (np.zeros((0, 4)), "points is empty"),
        (np.array([[0.0, np.nan, 0.0, 0.0]]), "NaN or infinite"),
        (np.array([[0.0, 0.0, 0.0, 1e300]]), "NaN or infinite"),
    ],
)
def test_points_that_are_none(points, message):
    with pytest.raises(ValueError, match=message):
        predict(Toy(), points, GRID_SIZE_M)


def test_no_view_no_grid_and_no_finite_weight(points):
    with pytest.raises(ValueError, match="views is empty"):
        predict(Toy(), points, GRID_SIZE_M, views=())
    with pytest.raises(UserError, match="grid_size_m must be a positive number"):
        predict(Toy(), points, 0.0)
    with pytest.raises(UserError, match="set grid_size_m to at least"):
        predict(Toy(), points, 1e-5)
    broken = Toy()
    broken.weight.data[0, 0] = torch.inf
    with pytest.raises(UserError, match="output has NaN or infinite values"):
        predict(broken, points, GRID_SIZE_M)


# ---- the command -------------------------------------------------------------------------------


def save_card(path, model, class_names, **changes):
    values = {"class_names": class_names, "grid_size_m": GRID_SIZE_M}
    save_model(model, toy_metadata(**{**values, **changes}), path)


@pytest.fixture
def network():
    """A tiny student with SemanticKITTI's classes."""
    torch.manual_seed(3)
    return build_segmentor("tiny-student", len(CLASS_NAMES)).eval()


@pytest.fixture
def folder(tmp_path, network, points):
    """A checkpoint and one cloud in three formats; `out` is empty."""
    save_card(tmp_path / "student.pt", network, CLASS_NAMES, dataset="semantickitti")
    points.astype("<f4").tofile(tmp_path / "frame.bin")
    np.save(tmp_path / "cloud.npy", points)
    np.save(tmp_path / "bare.npy", points[:, :3])
    (tmp_path / "out").mkdir()
    return tmp_path


GIVEN = "--checkpoint @student.pt --input @frame.bin"


def test_a_frame_to_benchmark_labels_and_probabilities(folder, network, points, capsys):
    files = "--output @out/frame.label --probabilities @out/p.npy"
    assert run(folder, f"{GIVEN} {files}") == 0
    labels, probabilities = predict(network, points, GRID_SIZE_M)
    np.testing.assert_array_equal(
        FILES.read_segment(folder / "out/frame.label", len(points)), labels
    )
    np.testing.assert_array_equal(np.load(folder / "out/p.npy"), probabilities)
    said = capsys.readouterr().err
    assert "SemanticKITTI frame, 1300 points; strength: remission" in said
    assert network.describe() in said
    assert "a single pass on cpu" in said
    assert "augmentation" not in said
    assert CLASS_NAMES[np.bincount(labels).argmax()] in said
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["frame.label", "p.npy"]


def test_an_array_to_train_ids(folder, network, points, capsys):
    assert run(folder, "--checkpoint @student.pt --input @bare.npy --output @out/l.npy") == 0
    without = np.c_[points[:, :3], np.zeros(len(points))]
    labels = np.load(folder / "out/l.npy")
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, predict(network, without, GRID_SIZE_M)[0])
    assert "0 for every point" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--tta", "rotations"),
        ("--tta rotations", "rotations"),
        ("--tta scales-flips", "scales-flips"),
    ],
)
def test_augmentation_is_done_when_asked_for_and_named(folder, network, points, capsys, flag, name):
    assert run(folder, f"{GIVEN} --output @out/l.npy --probabilities @out/p.npy {flag}") == 0
    views = TEST_TIME_AUGMENTATIONS[name]
    want = predict(network, points, GRID_SIZE_M, views=views)
    np.testing.assert_array_equal(np.load(folder / "out/l.npy"), want[0])
    np.testing.assert_array_equal(np.load(folder / "out/p.npy"), want[1])
    single = predict(network, points, GRID_SIZE_M, views=SINGLE_PASS)
    assert not np.array_equal(want[1], single[1])
    said = capsys.readouterr().err
    assert f"test-time augmentation {name}, mean of {len(views)} passes" in said
    assert "single pass" not in said


def test_the_precision_asked_for_is_used_and_told(folder, network, points, capsys):
    found = {}
    for name in ("fp32", "bf16"):
        asked = f"--precision {name}" if name == "bf16" else ""
        line = f"{GIVEN} --output @out/l.npy --overwrite --probabilities @out/{name}.npy {asked}"
        assert run(folder, line) == 0
        assert f"threads), {name}, " in capsys.readouterr().err
        found[name] = np.load(folder / f"out/{name}.npy")
        want = predict(network, points, GRID_SIZE_M, precision=name)[1]
        np.testing.assert_array_equal(found[name], want)
    gap = np.abs(found["bf16"] - found["fp32"]).max()
    assert 0 < gap < 0.05  # 8 bits in each product


def test_a_precision_that_does_not_exist_is_refused(network, points):
    with pytest.raises(ValueError, match="precision is 'fp16'; pass one of"):
        predict(network, points, GRID_SIZE_M, precision="fp16")


def test_another_grid_is_used_and_told(folder, network, points, capsys):
    assert run(folder, f"{GIVEN} --output @out/l.npy --grid-size-m 0.5") == 0
    want = predict(network, points, 0.5)[0]
    np.testing.assert_array_equal(np.load(folder / "out/l.npy"), want)
    assert "voxels of 0.5 m, in training 0.2 m" in capsys.readouterr().err


def test_strengths_of_another_scale_are_told(folder, points, capsys):
    np.save(folder / "counts.npy", points * np.float32([1, 1, 1, 255]))
    assert run(folder, "--checkpoint @student.pt --input @counts.npy --output @out/l.npy") == 0
    assert "trained on 0 to 1" in capsys.readouterr().err


@pytest.fixture
def pointcept(folder):
    """A Table 8 student in the layout of Pointcept's trainer; the other behavior differs."""
    torch.manual_seed(5)
    model = build_segmentor("student", len(CLASS_NAMES), cpe_input="v1.5.1", depth_rule="v1.5.1")
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, folder / "model_best.pth")
    return model.eval()


FOREIGN = "--checkpoint @model_best.pth --input @frame.bin"


def test_a_file_of_pointcept(folder, pointcept, points, capsys):
    files = "--output @out/l.npy --probabilities @out/p.npy"
    assert run(folder, f"{FOREIGN} --form v1.5.1 {files}") == 0
    labels, probabilities = predict(pointcept, points, 0.05)
    np.testing.assert_array_equal(np.load(folder / "out/l.npy"), labels)
    np.testing.assert_array_equal(np.load(folder / "out/p.npy"), probabilities)
    assert "cpe_input=v1.5.1" in capsys.readouterr().err
    asked = "--form v1.5.1 --dataset semantickitti --output @out/l.label"
    assert run(folder, f"{FOREIGN} {asked}") == 0
    np.testing.assert_array_equal(FILES.read_segment(folder / "out/l.label", len(points)), labels)


# ---- refusals: one line, exit code 2, nothing written ------------------------------------------


OUT = "--output @out/l.npy"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"--checkpoint @student.pt --input @gone.bin {OUT}", "gone.bin: cannot be read"),
        (f"--checkpoint @student.pt --input @cloud.txt {OUT}", "clouds are read from files"),
        (f"--checkpoint @gone.pt --input @frame.bin {OUT}", "gone.pt: no such file"),
        (f"--checkpoint @frame.bin --input @cloud.npy {OUT}", "not readable as a model"),
        (f"{GIVEN} --output @out/l.txt", "end the name in .label or .npy"),
        (f"{GIVEN} {OUT} --probabilities @out/p.txt", "--probabilities"),
        (f"{GIVEN} {OUT} --probabilities @out/l.npy", "is --output too"),
        ("--checkpoint @student.pt --input @cloud.npy --output @cloud.npy --overwrite", "is --inp"),
        (f"{GIVEN} --output @cloud.npy", "exists; choose another name"),
        (f"{GIVEN} {OUT} --probabilities @cloud.npy", "exists; choose another name"),
        (f"{GIVEN} {OUT} --grid-size-m 0", "grid_size_m must be a positive"),
        (f"{GIVEN} {OUT} --grid-size-m 1e-6", "frame.bin: at grid_size_m=1e-06"),
        (f"{GIVEN} {OUT} --form main", "--form is for files of Pointcept"),
        (f"{GIVEN} {OUT} --dataset semantickitti", "--dataset is for files of Pointcept"),
        ("", "--checkpoint, --input, --output are missing"),
        (f"{GIVEN} {OUT} --tta mirror", "invalid choice 'mirror' for argument '--tta'"),
        (f"{GIVEN} {OUT} --out x", "Unrecognized options: --out"),
    ],
)
def test_a_wrong_command(folder, capsys, line, message):
    assert message in refused(folder, capsys, line)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (bytes(30), "no multiple of 16"),
        (np.full(4, np.nan, "<f4").tobytes(), "NaN or infinite"),
    ],
)
def test_a_damaged_frame(folder, capsys, data, message):
    (folder / "bad.bin").write_bytes(data)
    line = refused(folder, capsys, f"--checkpoint @student.pt --input @bad.bin {OUT}")
    assert "bad.bin" in line
    assert message in line


def test_an_output_that_exists_is_replaced_only_when_asked(folder, network, points, capsys):
    (folder / "out/m.npy").mkdir()
    assert "is a folder" in refused(folder, capsys, f"{GIVEN} --output @out/m.npy")
    (folder / "out/l.npy").write_text("precious")
    assert "give --overwrite" in refused(folder, capsys, f"{GIVEN} {OUT}")
    assert run(folder, f"{GIVEN} {OUT} --overwrite") == 0
    np.testing.assert_array_equal(
        np.load(folder / "out/l.npy"), predict(network, points, GRID_SIZE_M)[0]
    )


def test_networks_that_do_not_fit_the_command(folder, capsys, student):
    given = "--checkpoint @other.pt --input @frame.bin"
    save_card(folder / "other.pt", student, ("a", "b", "c", "d"))
    line = refused(folder, capsys, f"{given} --output @out/l.label")
    assert ".label files hold SemanticKITTI ids" in line
    save_card(
        folder / "other.pt", build_segmentor("tiny-student", 4, 5), tuple("abcd"), in_channels=5
    )
    assert "takes 5 input channels" in refused(folder, capsys, f"{given} {OUT}")
    save_card(folder / "other.pt", student, ("a", "b"), num_classes=4)
    assert "4 classes but names 2" in refused(folder, capsys, f"{given} {OUT}")
    torch.save({"format": STATE_FORMAT, "stage": "teacher"}, folder / "other.pt")
    assert "not a model checkpoint" in refused(folder, capsys, f"{given} {OUT}")
    student.seg_head.bias.data[:] = torch.nan
    save_card(folder / "other.pt", student, ("a", "b", "c", "d"))
    assert "NaN or infinite" in refused(folder, capsys, f"{given} {OUT}")


def test_a_file_of_pointcept_with_other_classes_than_the_dataset(folder, capsys):
    state = build_segmentor("student", 16).state_dict()
    torch.save({"state_dict": state}, folder / "model_best.pth")
    given = f"{FOREIGN} --form main"
    line = refused(folder, capsys, f"{given} --dataset semantickitti {OUT}")
    assert "has 16 classes, semantickitti has 19" in line
    assert "classes are others or unknown" in refused(
        folder, capsys, f"{given} --output @out/a.label"
    )


def test_a_device_that_is_not_there(folder, capsys):
    device = f"cuda:{torch.cuda.device_count()}"
    words = f"--checkpoint @student.pt --input @frame.bin {OUT} --device {device}"
    assert main([word.replace("@", f"{folder}/") for word in shlex.split(words)]) == 2
    assert f"--device {device} is not there" in capsys.readouterr().err
    assert list((folder / "out").iterdir()) == []


def test_too_little_memory_is_said(folder, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("train.predict.drive.predict_frame", fail)
    assert "has too little memory" in refused(folder, capsys, f"{GIVEN} {OUT}")


def test_help_tells_formats_and_examples(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert not stopped.value.code
    told = capsys.readouterr().out
    for word in (".pcd.bin", ".ply", "ids of the class map", "--tta", "scales-flips", "0..255"):
        assert word in told


def test_a_full_disk_is_one_line_and_leaves_nothing(folder, capsys, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    files = "--output @out/l.npy --probabilities @out/p.npy"
    assert run(folder, f"--checkpoint @student.pt --input @frame.bin {files}") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "p.npy: cannot be written (No space left on device)" in lines[-1]
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert list((folder / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused_before_predicting(folder, capsys):
    if not sys.platform.startswith("linux"):
        pytest.skip("needs a folder that root cannot write to either: Linux's /sys")
    line = refused(
        folder, capsys, "--checkpoint @student.pt --input @frame.bin --output /sys/labels.npy"
    )
    assert line.startswith("error: --output /sys: cannot be written to (")


# What a submission needs before anything is trained.


def submission(tmp_path, dataset, **options):
    return RunConfig(dataset=dataset, output=tmp_path, submit=True, **options)


@pytest.mark.parametrize("account", ["", "me"])
def test_waymo_s_server_wants_an_account(tmp_path, account):
    asked = submission(tmp_path, "waymo", submit_account=account)
    with pytest.raises(UserError, match="add --submit-account NAME@HOST"):
        check_submission(asked, dataset_spec("waymo"), [])


def test_simulated_frames_go_to_no_server(tmp_path):
    planned = check_submission(
        submission(tmp_path, "waymo", simulate=True), dataset_spec("waymo"), []
    )
    assert planned.path == tmp_path / "submission.bin"


def test_without_a_submission_nothing_is_wanted(tmp_path):
    asked = RunConfig(dataset="waymo", output=tmp_path)
    assert check_submission(asked, dataset_spec("waymo"), []) is None


@pytest.mark.parametrize("dataset", ["semantickitti", "nuscenes"])
def test_other_servers_take_a_file_from_anyone(tmp_path, dataset):
    # What is missing is the data.
    asked = submission(tmp_path, dataset, data_root=tmp_path / "no")
    with pytest.raises(UserError, match="no such folder"):
        check_submission(asked, dataset_spec(dataset), [])
