"""One frame of a Waymo file is what the dataset's own source reads, and the command takes it."""

import numpy as np
import pytest
import torch

from tests.train.predict.line import run
from tests.train.toys import toy_metadata
from train.core.errors import UserError
from train.data.waymo import CLASS_NAMES, SPEC
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model
from train.predict.cloud_files import read_cloud
from train.predict.waymo_frame import read_frame
from train.simulation.waymo import simulate_waymo


@pytest.fixture(scope="module", params=["v1", "v2"])
def frames(request, tmp_path_factory):
    """A simulated split, its source, and the file of its first segment."""
    root = tmp_path_factory.mktemp(request.param)
    simulate_waymo(root, num_frames=2, azimuth_steps=40, file_format=request.param)
    source = SPEC.open(root, "training", require_labels=False)
    return source, source.files(0)[0]


def time_of(source, index):
    return int(source.names[index].split("/")[1])


def test_a_frame_is_the_source_s_without_labels(frames):
    source, path = frames
    for index in range(2):
        want = source[index]
        got = read_frame(source.files(index)[0], time_of(source, index))
        np.testing.assert_array_equal(got.coord, want.coord)
        np.testing.assert_array_equal(got.strength, want.strength)
        np.testing.assert_array_equal(got.pose, want.pose)
        assert (got.name, got.path, got.segment) == (want.name, want.path, None)
    cloud = read_cloud(path, time_of(source, 0))
    assert (cloud.kind, cloud.strength_from) == ("Waymo frame", "tanh of the intensity")


def test_a_drive_of_several_frames_asks_for_one_and_lists_them(frames):
    source, path = frames
    with pytest.raises(UserError, match=rf"--frame TIMESTAMP_MICROS: {time_of(source, 0)}"):
        read_frame(path, None)
    with pytest.raises(UserError, match=rf"no frame of time 7; its times are {time_of(source, 0)}"):
        read_frame(path, 7)


def test_a_time_is_for_waymo_files_alone(frames, tmp_path):
    np.save(tmp_path / "cloud.npy", np.zeros((5, 4)))
    with pytest.raises(UserError, match=r"cloud\.npy: --frame chooses a frame of a Waymo file"):
        read_cloud(tmp_path / "cloud.npy", 3)


@pytest.mark.parametrize("name", ["gone.tfrecord", "gone.parquet"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(UserError, match=rf"{name}: cannot be read \(no such file\)"):
        read_frame(tmp_path / name, 1)


@pytest.mark.parametrize("name", ["drive.tfrecord", "lidar/drive.parquet", "elsewhere.parquet"])
def test_what_is_no_waymo_file_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no frame " * 20)
    with pytest.raises(UserError) as caught:
        read_frame(path, 1)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_labels_every_point_of_a_frame(frames, tmp_path, capsys):
    source, path = frames
    torch.manual_seed(0)
    model = build_segmentor("tiny-student", len(CLASS_NAMES)).eval()
    card = toy_metadata(dataset="waymo", class_names=CLASS_NAMES, grid_size_m=0.4)
    save_model(model, card, tmp_path / "student.pt")
    files = "--output @l.npy --probabilities @p.npy"
    line = f"--checkpoint @student.pt --input {path} {files}"
    assert run(tmp_path, line) == 2
    assert "choose a frame with --frame" in capsys.readouterr().err
    assert run(tmp_path, f"{line} --frame {time_of(source, 0)}") == 0
    assert "Waymo frame" in capsys.readouterr().err
    count = len(source[0].coord)
    labels, probabilities = np.load(tmp_path / "l.npy"), np.load(tmp_path / "p.npy")
    assert (labels.shape, probabilities.shape) == ((count,), (count, len(CLASS_NAMES)))
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))
