"""Files of clouds and of RipsNet come back as they were; others are refused in one line."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.train.methods.topkd.conftest import SMALL
from tests.train.toys import build_toy
from train.core.errors import UserError
from train.methods.topkd import command
from train.methods.topkd.artifacts import (
    ImageMaker,
    check_output,
    load_maker,
    load_targets,
    save_maker,
    save_targets,
)
from train.methods.topkd.method import TopKD
from train.methods.topkd.options import TopKDConfig
from train.methods.topkd.targets import make_targets
from train.networks.weights import checksum

WANTED = {"dims": (0, 1), "birth_margin": 3.0}


@pytest.fixture
def targets(toy_teacher, frames):
    config = TopKDConfig(**SMALL | WANTED | {"sampling": "mixed", "normalization": "rms"})
    return make_targets(
        toy_teacher,
        frames,
        config.choice(toy_teacher),
        dims=config.dims,
        birth_margin=config.birth_margin,
        per_frame=8,
        at_most=40,
    )


def test_targets_come_back(targets, toy_teacher, tmp_path):
    path = tmp_path / "targets.safetensors"
    save_targets(targets, path)
    found = load_targets(path)
    assert found.card == targets.card
    assert found.card.teacher == checksum(toy_teacher)
    assert torch.equal(found.clouds, targets.clouds)
    assert torch.equal(found.images, targets.images)
    assert targets.clouds.shape == (40, 16, 10)
    assert targets.images.min() >= 0
    assert targets.images.max() == pytest.approx(1, abs=1e-6)


def test_a_maker_comes_back_and_its_header_says_what_it_is(prepared):
    _, path = prepared(dims=(0, 1))
    maker = load_maker(path)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    card = json.loads(header["card"])
    assert card["scale"]["bandwidth"] == maker.card.scale.bandwidth
    assert {"birth_range", "persistence_range", "maximum", "weight"} <= card["scale"].keys()
    assert (card["channels"], card["dims"], card["choice"]["num_points"]) == (10, [0, 1], 16)
    assert json.loads(header["operator"]) == maker.ripsnet.operator
    assert json.loads(header["losses"]).keys() == {"constant", "mean", "sum"}
    assert json.loads(header["made_by"])["versions"]["torch"] == torch.__version__


def test_a_checksum_is_that_of_the_weights(toy_teacher):
    before = checksum(toy_teacher)
    assert checksum(toy_teacher) == before
    with torch.no_grad():
        toy_teacher.top.bias[3] += 1e-6
    assert checksum(toy_teacher) != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_points": 32}, "made with --method.num-points 16, and here it is 32; give --method"),
        ({"sampling": "farthest"}, "made with --method.sampling random, and here it is farthest"),
        ({"normalization": "l2"}, "made with --method.normalization none, and here it is l2"),
        ({"stage": "enc1"}, "made with --method.stage top, and here it is enc1"),
        ({"dims": (0, 1)}, "made with --method.dims 0, and here it is 0 1"),
        ({"birth_margin": 3.0}, "made with --method.birth-margin 0.0, and here it is 3.0"),
    ],
)
def test_images_of_other_clouds_are_refused(prepared, toy_student, toy_teacher, changes, message):
    config, path = prepared()
    other = dataclasses.replace(config, artifacts=path, **changes)
    for refuse in (
        lambda: TopKD.check(other, toy_student, toy_teacher),
        lambda: TopKD.prepare(other, toy_teacher, iter(()), path.parent),
        lambda: TopKD(other, toy_student, toy_teacher, artifacts=path),
    ):
        with pytest.raises(UserError, match=message) as caught:
            refuse()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")


def test_another_teacher_is_refused(prepared, toy_student, toy_teacher):
    config, path = prepared()
    given = dataclasses.replace(config, artifacts=path)
    torch.manual_seed(8)
    narrow = build_toy("small", 4, 4)
    with pytest.raises(UserError, match=r"the teacher's width at its stage 10, and here it is 6;"):
        TopKD.check(given, toy_student, narrow)
    other = build_toy("wide", 4, 4)
    TopKD.check(given, toy_student, other)  # whose weights are not known yet
    for refuse in (
        lambda: TopKD.prepare(given, other, iter(()), path.parent),
        lambda: TopKD(given, toy_student, other, artifacts=path),
    ):
        with pytest.raises(UserError, match=r"made for another teacher \([0-9a-f]{12}, this one"):
            refuse()


def test_images_without_ripsnet_serve_the_exact_ones_alone(prepared, toy_student, toy_teacher):
    config, path = prepared(exact=True)
    assert load_maker(path).ripsnet is None
    with pytest.raises(UserError, match=r"holds no RipsNet; add --method.exact"):
        TopKD(dataclasses.replace(config, exact=False), toy_student, toy_teacher, artifacts=path)


def test_a_fitted_ripsnet_serves_exact_images_too(prepared, toy_student, toy_teacher, frame):
    config, path = prepared()
    exact = TopKD(dataclasses.replace(config, exact=True), toy_student, toy_teacher, artifacts=path)
    fitted = TopKD(config, toy_student, toy_teacher, artifacts=path)
    values = [each(toy_student, toy_teacher, frame)["image"].value for each in (exact, fitted)]
    assert not torch.equal(*values)


def test_what_is_half_written_or_something_else_is_refused(prepared, targets, tmp_path):
    _, path = prepared()
    whole = path.read_bytes()
    other = tmp_path / "targets.safetensors"
    save_targets(targets, other)
    for size in (0, 5, 300, len(whole) - 1):
        half = tmp_path / "half.safetensors"
        half.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"not readable as a file of topkd-fit \(damaged"):
            load_maker(half)
    with pytest.raises(UserError, match=r"not a file of topkd-fit of this package \(its format is"):
        load_maker(other)
    with pytest.raises(UserError, match=r"not a file of topkd-targets of this package"):
        load_targets(path)
    with pytest.raises(UserError, match=r"no such file"):
        load_maker(tmp_path / "none.safetensors")


def changed(path, into, tensors=None, **header):
    """Write a file again with another header or other tensors."""
    with safe_open(path, "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file({**found, **(tensors or {})}, into, metadata | header)
    return into


def test_a_header_that_does_not_fit_the_weights_is_refused(prepared, targets, tmp_path):
    _, path = prepared()
    into = tmp_path / "changed.safetensors"
    card = json.loads(json.dumps(load_maker(path).card.to_plain()))
    for header, message in (
        ({"card": json.dumps(card | {"channels": 12})}, "weights do not fit its header"),
        ({"card": json.dumps(card | {"more": 1})}, "header is not one of this version"),
        ({"card": "{"}, "header is not one of this version"),
        ({"operator": '"max"'}, "weights do not fit its header"),
    ):
        with pytest.raises(UserError, match=message):
            load_maker(changed(path, into, **header))
    broken = {"image_layers.0.weight": torch.full((50, 16), torch.nan)}
    with pytest.raises(UserError, match="weights are not finite"):
        load_maker(changed(path, into, broken))
    save_targets(targets, path)
    with pytest.raises(UserError, match="clouds and images do not fit its header"):
        load_targets(changed(path, into, {"images": torch.zeros(3, 400)}))


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path):
    for path, message in (
        (tmp_path / "a.pt", r"end the name in \.safetensors"),
        (tmp_path / "no" / "a.safetensors", r"there is no folder"),
    ):
        with pytest.raises(UserError, match=message):
            check_output(path)
    check_output(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


# ---- topkd-fit ----------------------------------------------------------------------------------


@pytest.fixture
def file_of_targets(targets, tmp_path):
    path = tmp_path / "targets.safetensors"
    save_targets(targets, path)
    return path


def test_the_fit_by_command_is_that_of_prepare(toy_teacher, frames, tmp_path, prepared):
    config, path = prepared()
    made = make_targets(
        toy_teacher,
        frames,
        config.choice(toy_teacher),
        dims=(0,),
        birth_margin=0.0,
        per_frame=8,
        at_most=40,
    )
    save_targets(made, tmp_path / "targets.safetensors")
    output = tmp_path / "topkd.safetensors"
    words = ["--targets", str(tmp_path / "targets.safetensors"), "--output", str(output)]
    assert command.main([*words, "--epochs", "3", "--device", "cpu"]) == 0
    found, want = load_maker(output), load_maker(path)
    assert (found.card, found.losses) == (want.card, want.losses)
    for name, weight in want.ripsnet.weights().items():
        assert torch.equal(found.ripsnet.weights()[name], weight)
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == [
        "targets.safetensors",
        "topkd.safetensors",
    ]


def test_for_exact_images_nothing_is_fitted(file_of_targets, targets, tmp_path):
    output = tmp_path / "exact.safetensors"
    words = ["--targets", str(file_of_targets), "--output", str(output), "--exact"]
    assert command.main(words) == 0
    maker = load_maker(output)
    assert (maker.card, maker.ripsnet) == (targets.card, None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--epochs", "0"], "--epochs 0: at least 1"),
        (["--lr", "0"], "--lr 0: above 0"),
        (["--patience", "0"], "--patience 0: at least 1"),
        (["--seed", "-1"], "--seed -1: 0 or more"),
        (["--output", "a.pt"], "--output a.pt: end the name in .safetensors"),
        (["--targets", "none.safetensors"], "none.safetensors: no such file"),
    ],
)
def test_the_commands_mistakes_are_one_line(file_of_targets, tmp_path, capsys, more, message):
    output = tmp_path / "topkd.safetensors"
    words = ["--targets", str(file_of_targets), "--output", str(output), *more]
    assert command.main(words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not output.exists()


def test_a_maker_of_a_frozen_ripsnet_is_written_the_same(prepared, tmp_path):
    _, path = prepared()
    maker = load_maker(path)
    again = ImageMaker(card=maker.card, ripsnet=load_maker(path).ripsnet.frozen())
    save_maker(again, tmp_path / "again.safetensors")
    found = load_maker(tmp_path / "again.safetensors").ripsnet
    for name, weight in maker.ripsnet.weights().items():
        assert torch.equal(found.weights()[name], weight)
