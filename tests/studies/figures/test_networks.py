"""Networks of a run or from files are opened, checked, and asked about frames."""

import json

import numpy as np
import pytest
import torch

from benchmarks.studies.figures.networks import (
    ALONE,
    FILES,
    ROLES,
    STUDENT,
    TEACHER,
    checkpoints_of_run,
    load,
    look,
    open_frames_of_run,
    spread,
)
from tests.train.toys import Toy
from train.core.errors import UserError
from train.data.dataset_spec import SimulatedData, dataset_spec
from train.networks.weights import ModelMetadata, save_model
from train.predict.cloud import predict_frame

CPU = torch.device("cpu")
SPEC = dataset_spec("semantickitti")


def write_network(path, size="small", seed=0, grid_size_m=0.2, class_names=SPEC.class_names):
    torch.manual_seed(seed)
    network = Toy(size, len(class_names), 4)
    card = ModelMetadata(
        network="toy", size=size, num_classes=len(class_names), in_channels=4, overrides={},
        dataset="semantickitti", class_names=tuple(class_names), grid_size_m=grid_size_m,
    )  # fmt: skip
    save_model(network, card, path)
    return path


def write_run(folder, frames, **config):
    """Write what a finished run leaves: three networks and its configuration."""
    folder.mkdir()
    for seed, role in enumerate(ROLES):
        write_network(folder / FILES[role], "wide" if role == TEACHER else "small", seed)
    content = {"dataset": "semantickitti", "data_root": str(frames), "simulate": False}
    content |= {"data": {"validation_sequences": ["08"], "cache_dir": None}} | config
    (folder / "config.json").write_text(json.dumps({"config": content}))
    return folder


@pytest.fixture
def run(tmp_path, toy_frames, toys_registered):
    return write_run(tmp_path / "run", toy_frames)


def test_a_runs_networks_say_what_they_say_alone(run):
    spec, source = open_frames_of_run(run, None, None, ())
    assert list(source.names) == ["08/000000"]
    trained = load(checkpoints_of_run(run), spec, source, CPU)
    assert list(trained.networks) == list(ROLES)
    (shown,) = look(trained, [0], CPU)
    frame = source[0]
    assert (shown.name, len(shown.coord)) == ("08/000000", 1200)
    assert (shown.truth == frame.segment).all()
    for role, network in trained.networks.items():
        labels, _ = predict_frame(network, frame, 0.2)
        assert (shown.predictions[role] == labels).all()
        assert shown.features[role].shape == (len(shown.voxel_truth), {TEACHER: 10}.get(role, 6))
    assert any((shown.predictions[TEACHER] != shown.predictions[role]).any() for role in ROLES[1:])
    labeled = shown.truth >= 0
    right = np.mean(shown.predictions[STUDENT][labeled] == shown.truth[labeled])
    assert shown.right(STUDENT) == right


def test_the_record_tells_networks_apart(run):
    spec, source = open_frames_of_run(run, "semantickitti", None, ())
    networks = load(checkpoints_of_run(run), spec, source, CPU).described()["networks"]
    assert len({networks[role]["file"] for role in ROLES}) == 3
    assert networks[TEACHER]["parameters"] > networks[STUDENT]["parameters"]


def test_sequences_and_root_of_the_command_line_come_first(run, toy_frames, tmp_path):
    assert len(open_frames_of_run(run, None, None, ["00"])[1]) == 4
    moved = write_run(tmp_path / "moved", "nowhere")
    assert len(open_frames_of_run(moved, None, toy_frames, ())[1]) == 1
    with pytest.raises(UserError, match=r"nowhere holds no data any more.*--data-root"):
        open_frames_of_run(moved, None, None, ())


def test_a_run_of_simulated_frames_asks_the_simulator_which_are_for_validation(
    tmp_path, toy_frames, toys_registered, monkeypatch
):
    asked = []

    def simulate(root, **numbers):
        asked.append((root, numbers))
        return SimulatedData(root, ("08",), ("00",), reused=True)

    monkeypatch.setattr("train.simulation.semantickitti.simulate_semantickitti", simulate)
    data = {"validation_sequences": [], "cache_dir": None}
    data |= {"simulated_frames": 5, "simulated_validation_frames": 2}
    data |= {"simulated_azimuth_steps": 60, "simulated_seed": 3}
    folder = write_run(tmp_path / "run", toy_frames, simulate=True, data=data)
    _, source = open_frames_of_run(folder, None, None, ())
    assert [name.partition("/")[0] for name in source.names] == ["00"] * 4
    wanted = {"num_frames": 5, "num_validation_frames": 2, "azimuth_steps": 60, "seed": 3}
    assert asked == [(toy_frames, wanted)]


@pytest.mark.parametrize("role", [TEACHER, STUDENT])
def test_a_run_without_a_network_is_refused(run, role):
    (run / FILES[role]).unlink()
    with pytest.raises(UserError, match=f"no {FILES[role]}; give the --output of a finished run"):
        checkpoints_of_run(run)


def test_a_run_without_a_student_alone_is_taken(run):
    (run / FILES[ALONE]).unlink()
    assert list(checkpoints_of_run(run)) == [TEACHER, STUDENT]


def test_what_is_no_run_is_refused(tmp_path, run):
    with pytest.raises(UserError, match="no such folder; give the --output of a finished run"):
        checkpoints_of_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"--dataset waymo: the run in .* is of semantickitti"):
        open_frames_of_run(run, "waymo", None, ())
    for content in ("{", "{}", '{"config": {"dataset": "semantickitti"}}'):
        (run / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config.json cannot be read"):
            open_frames_of_run(run, None, None, ())


def test_networks_that_cannot_stand_side_by_side_are_refused(run, tmp_path):
    spec, source = open_frames_of_run(run, None, None, ())
    networks = checkpoints_of_run(run)
    coarse = write_network(tmp_path / "coarse.pt", grid_size_m=0.4)
    with pytest.raises(UserError, match=r"coarse.pt: was trained on voxels of 0.4 m .* on 0.2 m"):
        load(networks | {STUDENT: coarse}, spec, source, CPU)
    others = write_network(tmp_path / "others.pt", class_names=("a", "b"))
    with pytest.raises(UserError, match=r"others.pt: knows the 2 classes"):
        load(networks | {STUDENT: others}, spec, source, CPU)
    with pytest.raises(UserError, match=r"--student .*nowhere.pt: no such file"):
        load(networks | {STUDENT: tmp_path / "nowhere.pt"}, spec, source, CPU)


def test_frames_are_evenly_spread():
    assert spread(4, 4) == [0, 1, 2, 3]
    assert spread(80, 4) == [10, 30, 50, 70]
    assert spread(2, 4) == [0, 1]
    assert spread(9, 1) == [4]
