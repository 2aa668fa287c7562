"""The main command from its flags to its files: a whole small run, a killed one, every refusal."""

import json
import shlex
import shutil
import struct
import sys

import numpy as np
import pytest
import torch

from tests.train.data.submissions import read_semantickitti
from tests.train.processes import run_code
from tests.train.toy_runs import killed, refused, resumed
from train.data.semantickitti import SPEC
from train.networks.ptv3.attention import load_flash_attention
from train.networks.ptv3.convolution_spconv import load_spconv
from train.networks.weights import load_model
from train.predict.cloud import predict_frame
from train.run import main
from train.simulation.semantickitti import simulate_semantickitti

SMALL = shlex.split(
    "--dataset semantickitti --model tiny --device cpu --data.grid-size-m 0.2 "
    "--data.max-voxels 1500 --data.batch-size 2 --method.num-samples 64 "
    "--optim.teacher-epochs 2 --optim.student-epochs 2"
)
TOY_TEACHER = ("--stage", "teacher", "--teacher", "toy:wide")


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A folder of four simulated training frames and one for validation."""
    root = tmp_path_factory.mktemp("frames") / "semantickitti"
    simulate_semantickitti(root, num_frames=4, num_validation_frames=1, azimuth_steps=120)
    return root


@pytest.fixture
def damaged(frames, tmp_path):
    """The same frames in a folder of their own, to be damaged by a test."""
    return shutil.copytree(frames, tmp_path / "data")


def flags(frames, output):
    return [
        *SMALL,
        *("--data-root", str(frames), "--output", str(output)),
        *("--data.train-sequences", "00", "--data.validation-sequences", "08"),
    ]


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(frames, tmp_path_factory):
    """A whole run, left alone by the tests that read it."""
    output = tmp_path_factory.mktemp("finished") / "run"
    assert main(flags(frames, output)) == 0
    return output


def test_a_run_leaves_what_the_readme_promises(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["dataset"] == "semantickitti"
    for role in ("teacher", "student"):
        row = metrics[role]
        assert row["parameters"] > 0
        known = [value for value in row["iou"].values() if value is not None]
        assert len(row["iou"]) == 19
        assert row["miou"] == pytest.approx(sum(known) / len(known))
    assert metrics["teacher"]["parameters"] > 14 * metrics["student"]["parameters"]
    assert set(metrics["seconds"]) == {"teacher", "student", "evaluation"}
    assert metrics["student"]["miou_untrained"] is not None

    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["model"] == "tiny"
    assert config["config"]["options"]["topology"] == 8.0
    assert config["versions"]["torch"] == torch.__version__

    parts = {"segmentation", "topology", "saliency", "distillation", "total"}
    student_steps = [step for step in log_of(finished) if step["stage"] == "student"]
    assert [step["step"] for step in student_steps] == [1, 2, 3, 4]
    assert all(parts <= step.keys() for step in student_steps)
    assert list((finished / "tensorboard" / "student").glob("events*"))
    assert sorted(p.name for p in finished.iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "evaluation.json",
        "log.jsonl",
        "metrics.json",
        "report.html",
        "student",
        "student.pt",
        "teacher.pt",
        "tensorboard",
    ]


def test_the_deployed_file_holds_the_student_only(finished):
    model, card = load_model(finished / "student.pt")
    assert (card.network, card.size) == ("ptv3", "tiny-student")
    assert (card.num_classes, card.class_names[0]) == (19, "car")
    assert card.trained_on == ("00",)
    weights = sum(p.numel() for p in model.parameters()) * 4
    assert (finished / "student.pt").stat().st_size < 1.5 * weights + 200_000


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(frames, finished, tmp_path):
    output = tmp_path / "killed"
    killed(flags(frames, output), "student", 3)  # after its first epoch's checkpoint
    assert not (output / "student.pt").exists()

    # Only where the run is has to be said.
    assert main(resumed(output)) == 0
    want, got = load_model(finished / "student.pt")[0], load_model(output / "student.pt")[0]
    for (name, a), (_, b) in zip(want.state_dict().items(), got.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}")
    steps = [(step["stage"], step["step"]) for step in log_of(output)]
    assert steps == [(step["stage"], step["step"]) for step in log_of(finished)]


def test_a_finished_teacher_serves_another_run(frames, finished, tmp_path):
    output = tmp_path / "student-only"
    arguments = [
        *flags(frames, output),
        *("--stage", "student", "--teacher-checkpoint", str(finished / "teacher.pt")),
        *("--method.topology", "0", "--method.saliency", "0", "--optim.student-epochs", "1"),
    ]
    assert main(arguments) == 0
    steps = log_of(output)
    assert {step["stage"] for step in steps} == {"student"}
    assert not {"topology", "saliency"} & steps[0].keys()


def test_evaluation_alone_repeats_the_scores(frames, finished):
    before = json.loads((finished / "metrics.json").read_text())
    assert main(resumed(finished, "--stage", "evaluate")) == 0
    after = json.loads((finished / "metrics.json").read_text())
    assert before["student"]["iou"] == after["student"]["iou"]
    assert after["seconds"]["student"] == before["seconds"]["student"]


def test_the_test_split_is_predicted_for_the_server(frames, finished, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(frames, root)
    for number in range(11, 22):  # the official test split, one unlabeled frame each
        folder = root / "sequences" / f"{number}" / "velodyne"
        folder.mkdir(parents=True)
        shutil.copy(root / "sequences/08/velodyne/000000.bin", folder / "000000.bin")
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    arguments = [*flags(root, output), "--stage", "evaluate", "--resume", "--submit"]
    assert main(arguments) == 0
    submission = read_semantickitti(output / "submission.zip")
    assert list(submission) == [f"{number}/000000" for number in range(11, 22)]
    frame = SPEC.open(root, "validation")[0]
    model, card = load_model(output / "student.pt")
    wanted, _ = predict_frame(model, frame, card.grid_size_m)
    for prediction in submission.values():
        np.testing.assert_array_equal(prediction, wanted)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "submission.zip is there already" in capsys.readouterr().err


def test_augmented_scores_stand_apart_from_single_passes(frames, finished, tmp_path):
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    before = json.loads((output / "metrics.json").read_text())["student"]
    more = ["--stage", "evaluate", "--resume", "--tta", "rotations"]
    assert main([*flags(frames, output), *more]) == 0
    after = json.loads((output / "metrics.json").read_text())["student"]
    assert after["miou"] == before["miou"]
    assert after["iou"] == before["iou"]
    assert (after["tta"]["augmentation"], after["tta"]["passes"]) == ("rotations", 4)
    assert after["tta"]["points"] == after["points"]
    assert after["tta"]["iou"] != after["iou"]


@pytest.mark.usefixtures("toys_registered")
def test_a_damaged_frame_is_left_out_and_listed_where_that_is_asked_for(frames, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(frames, root)
    empty = root / "sequences/00/velodyne/000001.bin"
    empty.write_bytes(b"")
    shutil.copytree(root / "sequences/08", root / "sequences/09")
    damaged = root / "sequences/09/velodyne/000000.bin"
    damaged.write_bytes(np.full(4, np.nan, "<f4").tobytes() + damaged.read_bytes()[16:])
    output = tmp_path / "run"
    arguments = [*flags(root, output), *TOY_TEACHER, "--on-bad-frame", "skip"]
    arguments[arguments.index("08")] = "09"
    # Two of the validation frames: a good one must be left.
    arguments.insert(arguments.index("09"), "08")
    assert main(arguments) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["skipped_frames"]) == {"00/000001", "09/000000"}
    assert metrics["skipped_frames"]["00/000001"].startswith(str(empty))
    assert metrics["teacher"]["frames"] == 1
    printed = capsys.readouterr().err
    assert "frames that could not be read: 2" in printed
    assert f"{damaged}: 1 of " in printed
    # As many steps as with four good frames.
    assert [step["step"] for step in log_of(output)] == [1, 2, 3, 4]
    arguments = [*flags(root, tmp_path / "other"), *TOY_TEACHER]
    assert str(empty) in refused(arguments, capsys)


@pytest.mark.usefixtures("toys_registered")
def test_voxels_of_a_step_can_be_bounded(frames, tmp_path):
    output = tmp_path / "run"
    arguments = [*flags(frames, output), *TOY_TEACHER, "--data.max-batch-voxels", "2000"]
    cache = ("--data.cache-dir", str(tmp_path / "cache"), "--data.cache-decoded")
    assert main([*arguments, *cache]) == 0
    # Crops of 1,500 voxels: no two fit, so that every frame is a step of its own.
    assert [len(step["frames"]) for step in log_of(output)] == [1] * 8
    assert len(list((tmp_path / "cache" / "decoded").glob("*/*.frame"))) == 5


# ---- refusals: one line, exit code 2, nothing written ------------------------------------------


def test_an_unknown_dataset(capsys):
    assert "'kitty'" in refused(["--dataset", "kitty"], capsys)
    assert "--dataset is missing" in refused([], capsys)


def test_a_data_root_that_is_not_there_or_not_one(tmp_path, capsys):
    output = tmp_path / "out"
    for name, content, expected in (
        ("missing", None, "no such folder"),
        ("empty", [], "is empty"),
        ("other", ["samples/LIDAR_TOP/x.bin"], "not laid out as SemanticKITTI"),
    ):
        root = tmp_path / name
        if content is not None:
            root.mkdir()
            for file in content:
                (root / file).parent.mkdir(parents=True)
                (root / file).touch()
        line = refused(flags(root, output), capsys, output)
        assert expected in line
        assert "sequences/" in line


@pytest.mark.parametrize(
    ("file", "damage", "what"),
    [
        ("00/velodyne/000001.bin", lambda whole: whole[:-3], "no multiple of 16"),
        ("00/labels/000001.label", lambda whole: whole[:-4], "one uint32 each"),
        (
            "08/labels/000000.label",
            lambda whole: struct.pack("<I", 7) + whole[4:],
            "(7; first at point 0)",
        ),
        (
            "00/velodyne/000000.bin",
            lambda whole: np.float32(np.nan).tobytes() + whole[4:],
            "NaN or infinite",
        ),
        (
            "00/velodyne/000000.bin",
            lambda whole: whole[:4] + np.float32(np.inf).tobytes() + whole[8:],
            "NaN or infinite",
        ),
    ],
)
def test_a_damaged_frame_is_named_before_anything_is_written(
    file, damage, what, damaged, tmp_path, capsys
):
    path = damaged / "sequences" / file
    path.write_bytes(damage(path.read_bytes()))
    line = refused(flags(damaged, tmp_path / "out"), capsys, tmp_path / "out")
    assert path.name in line
    assert what in line


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("--submit", "11/velodyne"),  # there is no test split
        (f"--device cuda:{torch.cuda.device_count()}", "is not there"),
        ("--device gpu", "is no device"),
        ("--method.topology -1", "--method.topology is -1"),
        ("--resume", "holds no run"),
        ("--optim.lrr 1", "(did you mean --optim.lr?)"),
    ],
)
def test_what_cannot_be_is_refused_before_training(frames, tmp_path, capsys, more, what):
    output = tmp_path / "out"
    assert what in refused([*flags(frames, output), *more.split()], capsys, output)


def test_a_checkpoint_of_another_architecture_or_a_damaged_one(frames, finished, tmp_path, capsys):
    output = tmp_path / "out"
    given = [*flags(frames, output), "--stage", "student", "--teacher-checkpoint"]
    other = [*given, str(finished / "student.pt"), "--teacher", "ptv3:tiny-teacher"]
    line = refused(other, capsys, output)
    assert "holds a ptv3:tiny-student, but this run needs a ptv3:tiny-teacher" in line
    broken = tmp_path / "broken.pt"
    broken.write_bytes((finished / "teacher.pt").read_bytes()[:5000])
    assert "not readable" in refused([*given, str(broken)], capsys, output)
    assert "no such file" in refused([*given, str(tmp_path / "gone.pt")], capsys, output)


def test_packages_that_are_not_there(frames, tmp_path, capsys, monkeypatch):
    for name in ("spconv", "flash_attn"):
        # None in place of a module makes its import fail.
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)
    load_flash_attention.cache_clear()
    load_spconv.cache_clear()
    for option, package in (
        ("--convolution spconv", "spconv"),
        ("--attention flash", "flash-attn"),
    ):
        line = refused([*flags(frames, tmp_path / "run"), *option.split()], capsys)
        assert f"the package {package}" in line
    assert not (tmp_path / "run").exists()


def test_an_output_that_holds_another_run(frames, finished, capsys):
    before = sorted(finished.rglob("*"))
    assert "holds another run" in refused(flags(frames, finished), capsys)
    changed = [*flags(frames, finished), "--resume", "--method.topology", "4"]
    assert "--method.topology 8.0, now 4.0" in refused(changed, capsys)
    line = refused(resumed(finished, "--method", "kd"), capsys)
    assert "--method topology-gradient, now kd" in line
    assert "--method.topology" not in line
    assert sorted(finished.rglob("*")) == before


def test_an_output_that_cannot_be_made(frames, tmp_path, capsys):
    (tmp_path / "file").touch()
    line = refused(flags(frames, tmp_path / "file" / "out"), capsys)
    assert "cannot be made" in line
    assert "is a file" in refused(flags(frames, tmp_path / "file"), capsys)


def test_help_lists_the_options_without_a_dataset(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    captured = capsys.readouterr()
    assert "--method.topology" in captured.out
    assert "semantickitti" in captured.out + captured.err


def test_a_loss_that_is_no_number_stops_and_names_part_step_and_frame(frames, tmp_path, capsys):
    output = tmp_path / "nan"
    arguments = [*flags(frames, output), "--optim.lr", "1e30", "--optim.block-lr", "1e30"]
    line = refused([*arguments, "--optim.teacher-epochs", "20"], capsys)
    assert "teacher training stopped at step" in line
    assert "part of the loss is nan" in line or "part of the loss is inf" in line
    assert "00/00000" in line


def test_the_command_line_shows_no_traceback(tmp_path):
    code = "import runpy, sys; del sys.modules['train.run']; "
    code += "runpy.run_module('train.run', run_name='__main__', alter_sys=True)"
    ended = run_code(code, "--dataset", "semantickitti", "--data-root", tmp_path / "none")
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""
