"""Checkpoints: a round trip, and every way in which a file can be the wrong one."""

import pickle

import pytest
import torch

from tests.train.toys import toy_metadata as card
from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.engine.training_state import TrainingState, load_state, save_state
from train.networks.pretrained_folder import save_pretrained
from train.networks.ptv3 import build_segmentor
from train.networks.weights import load_model, load_teacher, save_model

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def saved(tmp_path, student):
    path = tmp_path / "student.pt"
    save_model(student, card(), path)
    return path


def test_a_saved_model_gives_the_same_logits(saved, student, batch):
    loaded, found = load_model(saved)
    assert found == card()
    with torch.no_grad():
        assert torch.equal(loaded.eval()(batch).logits, student.eval()(batch).logits)


def test_overrides_are_part_of_the_card(tmp_path):
    model = build_segmentor("tiny-student", 4, cpe_input="v1.5.1")
    save_model(model, card(overrides={"cpe_input": "v1.5.1"}), tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt")[0].config.cpe_input == "v1.5.1"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pt: no such file"):
        load_model(tmp_path / "gone.pt")


@pytest.mark.parametrize("keep", [0, 10, 1000, -100])
def test_a_cut_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(UserError, match="not readable as a model checkpoint"):
        load_model(saved)


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (print, ("code ran",))

    path = tmp_path / "bad.pt"
    torch.save({"format": "topodistill-segmentor-1", "card": Payload()}, path)
    with pytest.raises(UserError, match="more than plain data"):
        load_model(path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(UserError, match="not readable as a model checkpoint"):
        load_model(path)


@pytest.mark.parametrize(
    "content",
    [
        {"weights": torch.zeros(3)},
        torch.zeros(3),
        TrainingState("teacher", 0, None, None, {}, {}, {}, []),
    ],
    ids=["dictionary", "tensor", "training-state"],
)
def test_another_kind_of_file_is_refused(tmp_path, content):
    write = save_state if isinstance(content, TrainingState) else torch.save
    write(content, tmp_path / "other.pt")
    with pytest.raises(UserError, match="not a model checkpoint of this package"):
        load_model(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("weight", "size", "message"),
    [
        (0.0, "tiny-teacher", r"of another architecture: \d+ missing .* reshaped"),
        (float("nan"), "tiny-student", r"seg_head\.weight has NaN or infinite entries"),
        (0.0, "colossal", "cannot build"),
    ],
)
def test_weights_and_a_card_that_no_network_has_are_refused(
    tmp_path, student, weight, size, message
):
    with torch.no_grad():
        student.seg_head.weight[0, 0] = weight
    save_model(student, card(size=size), tmp_path / "student.pt")
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "student.pt")


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"wanted": "ptv3:tiny-teacher"}, "ptv3:tiny-student, but this run needs a ptv3:tiny-t"),
        ({"in_channels": 5}, "takes 4 input channels, but the data has 5"),
        ({"class_names": ("x", "y")}, "was trained on the 4 classes of toy"),
    ],
)
def test_a_teacher_for_another_run_is_refused(saved, needs, message):
    fits = {"wanted": "ptv3:tiny-student", "in_channels": 4, "class_names": NAMES}
    load_teacher(saved, **fits)
    with pytest.raises(UserError, match=message):
        load_teacher(saved, **{**fits, **needs})


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as unfinished:
            unfinished.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"


def flip_a_bit_of(path, tensor):
    """Change one bit of a tensor's first number where a file has it."""
    content = bytearray(path.read_bytes())
    content[bytes(content).index(tensor.contiguous().numpy().tobytes())] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_flipped_bit_in_a_weight_is_found(tmp_path, student, kind):
    path = tmp_path / f"student.{kind}"
    if kind == "pt":
        save_model(student, card(), path)
    else:
        save_pretrained(
            student, tmp_path, metadata=card(), data_license="x", weights_name=path.name
        )
    flip_a_bit_of(path, student.seg_head.weight.detach())
    with pytest.raises(UserError, match=r"not readable as a model checkpoint .*SHA-256 differs"):
        load_model(path)


def test_a_flipped_bit_in_a_training_state_is_found(tmp_path):
    weight = torch.linspace(0.1, 0.9, 64)
    nested = {"state": {0: {"step": weight}}}
    path = tmp_path / "checkpoint.pt"
    save_state(TrainingState("teacher", 0, None, {}, {}, nested, []), path)
    assert torch.equal(load_state(path).optimizer["state"][0]["step"], weight)
    flip_a_bit_of(path, weight)
    with pytest.raises(UserError, match="SHA-256 differs"):
        load_state(path)


def test_a_file_without_a_checksum_loads_as_before(saved):
    content = torch.load(saved, weights_only=True)
    del content["tensors_sha256"]
    torch.save(content, saved)
    load_model(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"grid_size_m": "0.1"},
        {"grid_size_m": float("nan")},
        {"grid_size_m": -0.1},
        {"grid_size_m": True},
        {"clip_range_m": "abcdef"},
        {"clip_range_m": [0, 0, 0, 1, 1]},
        {"clip_range_m": [0, 0, 0, 1, -1, 1]},
        {"num_classes": 10**10},
        {"num_classes": 60_000},
        {"num_classes": 4.0},
        {"in_channels": 0},
        {"class_names": "abcd"},
        {"class_names": [1, 2, 3, 4]},
        {"dataset": None},
        {"simulated_seed": "1"},
        {"overrides": []},
        {"overrides": {"enc_depths": [400] * 5}},
        {"overrides": {"enc_channels": [60_000] * 5}},
        {"overrides": {"mlp_ratio": 10**9}},
        {"overrides": {"mlp_ratio": 60_000}},
    ],
    ids=str,
)
def test_a_value_that_no_card_has_is_named(saved, changes):
    content = torch.load(saved, weights_only=True)
    content["card"].update(changes)
    torch.save(content, saved)
    ((field, value),) = changes.items()
    if isinstance(value, dict):
        ((field, value),) = value.items()
    with pytest.raises(UserError) as refused:
        load_model(saved)
    found = repr(value)[1:-1] if isinstance(value, list) else repr(value)
    assert f"{field} is " in str(refused.value)
    assert found in str(refused.value)
    assert "copy or write the file again" in str(refused.value)
