"""Training states: a round trip, files that are none, and random numbers that go on."""

import pytest
import torch
from torch import nn

from train.core.errors import UserError
from train.engine.training_state import (
    TrainingState,
    load_state,
    own_state,
    restore_own_state,
    save_state,
)


def state_of(network, processes=None):
    return TrainingState(
        stage="student",
        step=7,
        best=0.25,
        network=network.state_dict(),
        method={"adapter.weight": torch.ones(2, 3)},
        optimizer={"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-3}]},
        processes=[own_state(network)] if processes is None else processes,
        scored_step=4,
        finished_epochs=3,
    )


def plain(state):
    """All entries that torch can compare: numbers and tensors, nested."""
    without = [{k: v for k, v in own.items() if v is not None} for own in state.processes]
    entries = {**vars(state), "network": dict(state.network), "processes": without}
    del entries["stage"]
    return entries


def test_a_state_comes_back_as_it_was(tmp_path):
    network = nn.BatchNorm1d(3)
    network(torch.randn(5, 3))
    state = state_of(network)
    save_state(state, tmp_path / "state.pt")
    loaded = load_state(tmp_path / "state.pt")
    torch.testing.assert_close(plain(loaded), plain(state), rtol=0, atol=0)
    assert loaded.stage == "student"


def test_random_numbers_and_statistics_go_on(tmp_path):
    torch.manual_seed(3)
    network = nn.BatchNorm1d(3)
    network(torch.randn(5, 3))
    save_state(state_of(network), tmp_path / "state.pt")
    want = torch.rand(4)
    torch.manual_seed(4)
    other = nn.BatchNorm1d(3)
    restore_own_state(load_state(tmp_path / "state.pt"), other)
    assert torch.equal(torch.rand(4), want)
    assert torch.equal(other.running_mean, network.running_mean)
    assert torch.equal(other.num_batches_tracked, torch.tensor(1))


def test_another_number_of_processes_gets_the_mean_statistics_and_says_so(tmp_path, capsys):
    networks = [nn.BatchNorm1d(3), nn.BatchNorm1d(3)]
    for number, network in enumerate(networks):
        network.running_mean.fill_(float(number))
    state = state_of(networks[0], [own_state(network) for network in networks])
    own = nn.BatchNorm1d(3)
    restore_own_state(state, own)
    assert own.running_mean.tolist() == [0.5, 0.5, 0.5]
    assert "2 processes began this stage, 1 goes on" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0, 10, 1000, -100])
def test_a_cut_file_is_refused(tmp_path, keep):
    path = tmp_path / "state.pt"
    save_state(state_of(nn.BatchNorm1d(3)), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not readable as a training state"):
        load_state(path)


def test_a_missing_file_and_another_kind_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pt: no such file"):
        load_state(tmp_path / "gone.pt")
    torch.save({"format": "topodistill-training-state-1"}, tmp_path / "old.pt")
    with pytest.raises(UserError, match="not a training state of this package"):
        load_state(tmp_path / "old.pt")


def test_a_full_disk_leaves_the_earlier_state(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state(state_of(nn.BatchNorm1d(3)), path)
    before = path.read_bytes()

    def no_space(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", no_space)
    with pytest.raises(UserError, match="No space left on device"):
        save_state(state_of(nn.BatchNorm1d(3)), path)
    assert path.read_bytes() == before
