"""Runs with the teachers that people have: files of Pointcept and LitePT, networks of two kinds."""

import json

import pytest
import torch

from tests.train.networks.official.official_files import write_official
from tests.train.toy_runs import flags, kitti_metadata, log_of, refused, resumed
from train.core.errors import UserError
from train.data.semantickitti import CLASS_NAMES
from train.engine.command_line import parse
from train.engine.teacher_score import TeacherScore, check_teacher_score
from train.methods.registry import METHODS, method_class
from train.networks.litept import build_litept
from train.networks.ptv3 import build_segmentor
from train.networks.weights import load_model, save_model
from train.run import main

NUM_CLASSES = len(CLASS_NAMES)
SMALL = {
    "topology-gradient": ("--method.num-samples", "32"),
    "rkd": ("--method.num-samples", "32"),
    "affinity": ("--method.num-samples", "32"),
    "topkd": (
        *("--method.num-points", "32", "--method.num-clouds", "8"),
        *("--method.clouds-per-frame", "2", "--method.fit-epochs", "2"),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of untrained teachers, as others write them, and ours of a LitePT."""
    path = tmp_path_factory.mktemp("teachers")
    torch.manual_seed(5)
    write_official(path / "ptv3.pth", build_segmentor("tiny-teacher", NUM_CLASSES))
    lite = build_litept("tiny", NUM_CLASSES)
    write_official(path / "litept.pth", lite)
    write_official(path / "waymo.pth", build_litept("tiny", 22))
    save_model(lite, kitti_metadata(lite), path / "litept.pt")
    return path


def student_of(toy_frames, teacher, output, *more):
    given = ("--stage", "student", "--teacher-checkpoint", str(teacher), "--teacher-check", "warn")
    return flags(toy_frames, output, *given, *more)


@pytest.mark.parametrize("method", [name for name in METHODS if method_class(name).needs_teacher])
@pytest.mark.parametrize(
    ("teacher", "student"),
    [("ptv3.pth", "litept:tiny"), ("litept.pth", "ptv3:tiny-student")],
    ids=["ptv3-teaches-litept", "litept-teaches-ptv3"],
)
def test_two_steps_of_every_method_between_the_networks(
    toy_frames, folder, tmp_path, capsys, method, teacher, student
):
    output = tmp_path / "run"
    form = ("--teacher-form", "v1.5.1") if teacher == "ptv3.pth" else ()
    more = ("--student", student, "--method", method, *SMALL.get(method, ()), *form)
    assert main(student_of(toy_frames, folder / teacher, output, *more)) == 0
    steps = log_of(output)
    assert len(steps) == 2
    assert all(step["total"] == step["total"] for step in steps)
    network = student.split(":")[0]
    assert load_model(output / "student.pt")[1].network == network
    said = capsys.readouterr().err
    if method == "topology-gradient":
        stages = "dec3 (72 of 128 channels), dec2 (36 of 64 channels)"
        assert (f"saliency compares {stages}" in said) == (network == "litept")
        assert "topology-gradient: topology compares dec0 (" in said
    elif method not in ("kd", "dist", "cwd", "dkd"):  # what compares logits names no stage
        assert f"{method}: " in said
        assert "compares dec0 (" in said


def test_a_released_ptv3_is_named_scored_converted_and_its_student_takes_its_form(
    toy_frames, folder, tmp_path, capsys
):
    output = tmp_path / "run"
    more = ("--teacher-form", "v1.5.1", "--method", "kd")
    assert main(student_of(toy_frames, folder / "ptv3.pth", output, *more)) == 0
    said = capsys.readouterr().err
    assert (
        "ptv3:tiny-teacher, 19 classes (taken to be those of semantickitti, in its order)" in said
    )
    assert "teacher: mIoU" in said
    assert "on 4 training frames (naming road everywhere: " in said
    assert "try main" in said
    forms = ("v1.5.1", "v1.5.1")
    for name in ("teacher", "student"):
        overrides = load_model(output / f"{name}.pt")[1].overrides
        assert (overrides["cpe_input"], overrides["depth_rule"]) == forms
    origin = json.loads((output / "config.json").read_text())["teacher"]
    assert origin["from"] == "--teacher-checkpoint"
    assert "ptv3:tiny-teacher" in origin["converted"]
    # What goes on needs the copy alone.
    (tmp_path / "elsewhere").mkdir()
    teacher = folder / "ptv3.pth"
    moved = teacher.rename(tmp_path / "elsewhere" / "ptv3.pth")
    try:
        assert main(resumed(output, "--optim.student-epochs", "2")) == 0
    finally:
        moved.rename(teacher)
    assert len(log_of(output)) == 4
    assert "teacher: mIoU" not in capsys.readouterr().err, "it has been looked at"


def test_a_teacher_of_other_classes_teaches_those_that_both_know(
    toy_frames, folder, tmp_path, capsys
):
    output = tmp_path / "run"
    more = ("--teacher-classes", "waymo", "--student", "litept:tiny", *SMALL["topology-gradient"])
    assert main(student_of(toy_frames, folder / "waymo.pth", output, *more)) == 0
    said = capsys.readouterr().err
    assert "13 of 19 classes are known to it by name; not known, and taught by labels" in said
    assert "known to it alone, and dropped: bus, pedestrian" in said
    teacher, metadata = load_model(output / "teacher.pt")
    assert metadata.class_names == CLASS_NAMES
    assert sum(teacher.known_classes) == 13
    assert all(step["distillation"] < 10 for step in log_of(output)), (
        "an unknown class would be 1e4"
    )
    scores = json.loads((output / "metrics.json").read_text())
    assert scores["teacher"]["iou"]["person"] in (None, 0.0)


def test_weights_of_others_can_be_trained_further(toy_frames, folder, tmp_path):
    output = tmp_path / "run"
    given = ("--stage", "teacher", "--initial-teacher", str(folder / "waymo.pth"))
    given += ("--teacher-classes", "waymo")
    assert main(flags(toy_frames, output, *given)) == 0
    trained, metadata = load_model(output / "teacher.pt")
    assert (metadata.network, metadata.class_names) == ("litept", CLASS_NAMES)
    assert all(trained.known_classes)


@pytest.mark.parametrize(
    ("file", "more", "message"),
    [
        ("ptv3.pth", (), "cannot say which version of the code it was trained with"),
        ("waymo.pth", (), "has 22 classes, the data has 19; say which they are with --teacher-cl"),
        ("waymo.pth", ("--teacher-classes", "nuscenes"), "has 22 classes, but nuscenes names 16"),
        ("waymo.pth", ("--teacher-classes", "no-such"), "no-such: cannot be read"),
        ("litept.pth", ("--teacher-form", "main"), "a LitePT, which has one form alone"),
        ("litept.pt", ("--teacher-form", "main"), "says its form itself; leave out the form"),
        ("litept.pt", ("--teacher-classes", "waymo"), "says its classes itself"),
        ("litept.pth", ("--teacher", "ptv3:teacher"), "holds a litept:tiny, but this run needs a "
         "ptv3:teacher; leave out --teacher"),
        ("gone.pth", (), "gone.pth: no such file"),
        ("litept.pth", ("--initial-teacher", "x.pt"), "--initial-teacher: is trained further, and"),
        ("litept.pth", ("--teacher-check", "stop"), "does hardly better on the training frames tha"
         "n naming one class everywhere; check --teacher-classes"),
        ("litept.pth", ("--teacher-check", "auto"), "--teacher-check warn goes on all the same"),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_be_used_is_one_line_before_anything_is_written(
    toy_frames, folder, tmp_path, capsys, file, more, message
):
    output = tmp_path / "run"
    command = student_of(toy_frames, folder / file, output, *more)
    assert message in refused(command, capsys, output)


def test_what_is_said_of_a_file_needs_the_file(toy_frames, tmp_path, capsys):
    command = flags(toy_frames, tmp_path / "run", "--teacher-form", "main")
    line = refused(command, capsys, tmp_path / "run")
    assert "--teacher-form: says something of the file of --teacher-checkpoint" in line


def test_a_run_takes_the_voxels_that_its_teacher_was_trained_on(folder, capsys):
    given = ["--dataset", "waymo", "--device", "cpu", "--model", "tiny"]
    assert parse(given).data.grid_size_m == 0.1
    lite = [*given, "--teacher-checkpoint", str(folder / "litept.pth")]
    config = parse(lite)
    assert (config.data.grid_size_m, config.data.clip_range_m) == (0.05, None)
    assert "as the teacher was trained: --data.grid-size-m 0.05" in capsys.readouterr().err
    assert parse([*lite, "--data.grid-size-m", "0.3"]).data.grid_size_m == 0.3
    assert parse([*lite, "--data.grid_size_m=0.3"]).data.grid_size_m == 0.3
    ptv3 = parse([*given, "--teacher-checkpoint", str(folder / "ptv3.pth")])
    assert ptv3.data.clip_range_m == (-75.2, -75.2, -4.0, 75.2, 75.2, 2.0)
    ours = parse([*given, "--teacher-checkpoint", str(folder / "litept.pt")])
    assert ours.data.grid_size_m == 0.2


def test_a_teacher_of_another_grid_is_warned_of(toy_frames, folder, tmp_path, capsys):
    output = tmp_path / "run"
    assert main(student_of(toy_frames, folder / "litept.pth", output, "--method", "kd")) == 0
    said = capsys.readouterr().err
    assert "warning: the teacher was trained with --data.grid-size-m 0.05" in said
    assert "this run has 0.2:" in said


def score(**changes):
    usual = {
        "frames": 4, "voxels": 100, "miou": 0.5, "accuracy": 0.8, "chance_miou": 0.05,
        "chance_accuracy": 0.4, "most_frequent": 8,
    }  # fmt: skip
    return TeacherScore(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({}, False),
        ({"miou": 0.09}, True),
        ({"accuracy": 0.39}, True),
        ({"voxels": 0, "miou": float("nan")}, False),
        ({"chance_miou": 1.0, "chance_accuracy": 1.0, "miou": 1.0, "accuracy": 1.0}, False),
    ],
)
def test_what_near_chance_is(changes, near):
    assert score(**changes).is_near_chance == near


def test_a_good_teacher_of_others_goes_on(folder, capsys):
    del folder
    check_teacher_score(score(), None, None, CLASS_NAMES)
    assert "mIoU 50.0, accuracy 80.0 on 4 training frames (naming road" in capsys.readouterr().err


def test_a_teacher_s_score_is_that_of_counting_by_hand(toy_frames, folder):
    from train.core.device import resolve_device
    from train.data.semantickitti import SPEC
    from train.data.transforms import voxelize
    from train.engine.teacher_score import score_teacher

    config = parse(flags(toy_frames, folder / "none"))
    source = SPEC.open(toy_frames, sequences=("00",))
    teacher = load_model(folder / "litept.pt")[0].eval()
    found = score_teacher(teacher, source, config, resolve_device("cpu"), NUM_CLASSES)
    hits, truths, guesses, total = {}, {}, {}, 0
    for frame in source:
        voxels = voxelize(frame, 0.2)
        batch = {
            "feat": torch.from_numpy(voxels.coord).new_tensor(0),
            "coord": torch.from_numpy(voxels.coord),
            "grid_coord": torch.from_numpy(voxels.grid_coord),
            "offset": torch.tensor([len(voxels.coord)]),
        }
        batch["feat"] = torch.cat([batch["coord"], torch.from_numpy(voxels.strength)], 1)
        said = teacher(batch).logits.argmax(1).tolist()
        for guess, truth in zip(said, voxels.segment.tolist(), strict=True):
            if truth >= 0:
                total += 1
                truths[truth] = truths.get(truth, 0) + 1
                guesses[guess] = guesses.get(guess, 0) + 1
                hits[truth] = hits.get(truth, 0) + (guess == truth)
    ious = [hits[c] / (truths[c] + guesses.get(c, 0) - hits[c]) for c in truths]
    assert found.voxels == total
    assert found.miou == pytest.approx(sum(ious) / len(ious))
    assert found.accuracy == pytest.approx(sum(hits.values()) / total)
    assert found.chance_accuracy == pytest.approx(max(truths.values()) / total)
    assert found.chance_miou == pytest.approx(max(truths.values()) / total / len(truths))


def test_a_bad_frame_ends_the_look_or_is_left_out(toy_frames, folder):
    import dataclasses

    from train.engine.teacher_score import score_teacher

    class Damaged:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            raise UserError("frame 0 is damaged")

    config = parse(flags(toy_frames, folder / "none"))
    teacher = load_model(folder / "litept.pt")[0].eval()
    device = torch.device("cpu")
    with pytest.raises(UserError, match="frame 0 is damaged"):
        score_teacher(teacher, Damaged(), config, device, NUM_CLASSES)
    config = dataclasses.replace(config, on_bad_frame="skip")
    found = score_teacher(teacher, Damaged(), config, device, NUM_CLASSES)
    assert (found.frames, found.voxels) == (0, 0)
    assert "no labeled voxel" in found.line(CLASS_NAMES)
