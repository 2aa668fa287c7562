"""distill-data on LiDAR frames: end to end, trained on by train.run, resumed, and its mistakes."""

import json

import pytest

from tests.train.dataset_distillation.frames.toy_scenes import write_scenes
from topodistill.commands import main as topodistill
from train.data.dataset_spec import dataset_spec
from train.dataset_distillation.command import main
from train.run import main as run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "own")


def words(data, output, *more):
    return [
        *("--dataset", "kitti-layout", "--data", str(data / "data"), "--output", str(output)),
        *("--data.class-map", str(data / "classes.yaml"), "--range-m", "10", "--cpc", "2"),
        *("--points", "300", "--distill-points", "60", "--iterations", "2", "--outer", "2"),
        *("--real-batch", "2", "--width", "16", "--pointnet-widths", "8", "16", "32"),
        *("--start-steps", "20"),
        *("--device", "cpu", *more),
    ]


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    given = words(data, folder, "--evaluate", "ptv3", "pointnet", "--epochs", "2")
    assert topodistill(["distill-data", *given]) == 0
    return folder


def opened(folder):
    spec = dataset_spec("kitti-layout", {"class_map": folder / "class_map.yaml"})
    return spec.open(folder, "training")


def test_train_run_learns_from_the_folder(made, tmp_path):
    given = [
        *("--dataset", "kitti-layout", "--data-root", str(made), "--model", "tiny"),
        *("--data.class-map", str(made / "class_map.yaml"), "--data.grid-size-m", "0.2"),
        *("--method", "none", "--stage", "student", "--device", "cpu"),
        *("--optim.student-epochs", "1", "--output", str(tmp_path / "run")),
    ]
    assert run(given) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert set(metrics["student"]["iou"]) == {"ground", "wall", "box", "nowhere"}
    assert metrics["student"]["labeled_points"] > 0


def test_a_network_of_each_kind_is_scored(data, tmp_path, capsys):
    given = words(data, tmp_path, "--method", "random", "--evaluate", "ptv3", "pointnet")
    assert main([*given, "--epochs", "2"]) == 0
    shown = capsys.readouterr().err
    assert "ptv3: " in shown
    assert "pointnet: " in shown
    assert "mIoU after the last epoch" in shown
    assert "topodistill run --dataset kitti-layout" in shown
    assert not (tmp_path / "generator.safetensors").exists()
    assert len(opened(tmp_path)) == 2


def test_a_generator_is_sampled_in_meters(made, tmp_path):
    generator = str(made / "generator.safetensors")
    assert main(["--generator", generator, "--points", "77", "--output", str(tmp_path)]) == 0
    frame = opened(tmp_path)[0]
    assert frame.coord.shape == (77, 3)
    assert 1.0 < abs(frame.coord).max() <= 10.0
    assert (frame.segment >= 0).all()


def test_a_stopped_distillation_is_gone_on_with(data, made, refused):
    assert "--resume" in refused(*words(data, made))
    before = opened(made)[0].coord
    assert main(words(data, made, "--resume")) == 0
    assert (opened(made)[0].coord == before).all()


def test_frames_are_turned_about_z_alone(data, tmp_path, refused):
    more = ("--method", "random", "--rotator", "frozen")
    assert "--upright" in refused(*words(data, tmp_path, *more))
    assert main(words(data, tmp_path, *more, "--upright")) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--dataset", "kitty"], "unknown dataset 'kitty'"),
        (["--points", "5000"], "fewer than the 5000 asked for"),
        (["--range-m", "-1"], "--range-m -1"),
        (["--frames", "0"], "--frames 0"),
        (["--start-steps", "-1"], "--start-steps -1"),
        (["--start-frames", "-1"], "--start-frames -1"),
        (["--cpc", "9"], "--cpc 9: there are 3 frames"),
        (["--task", "classes"], "--task classes"),
        (["--rotated"], "--rotated"),
        (["--evaluate", "dgcnn"], "--evaluate dgcnn"),
        (["--evaluate", "ptv3", "--grid-size-m", "2"], "--grid-size-m 2"),
        (["--method", "distribution-matching"], "--method distribution-matching"),
        (["--train-sequences", "dale"], "missing dale"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line(data, tmp_path, refused, more, said):
    assert said in refused(*words(data, tmp_path / "out", "--method", "random", *more))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--simulate"], "--simulate: is for LiDAR frames"),
        (["--evaluate", "ptv3"], "--evaluate ptv3: is for LiDAR frames"),
    ],
)
def test_flags_of_frames_want_a_dataset(tmp_path, refused, given, said):
    assert said in refused("--output", tmp_path / "out", *given)


def test_no_labeled_point_is_one_line(tmp_path, refused):
    other = write_scenes(tmp_path / "own")
    for file in other.glob("data/*/labels/*.label"):
        file.write_bytes(bytes(len(file.read_bytes())))
    assert "a point with a class that counts" in refused(*words(other, tmp_path / "out"))
