"""Official checkpoint files: read as data, never silently wrong, and written bit for bit."""

import pickle

import pytest
import torch

from tests.train.networks.official.official_files import Bomb, write_official
from tests.train.toys import toy_metadata
from train.core.errors import UserError
from train.networks.official.ptv3 import (
    load_pointcept_checkpoint,
    pointcept_config,
    save_pointcept_checkpoint,
)
from train.networks.ptv3 import build_segmentor
from train.networks.weights import save_model


@pytest.fixture
def network(make_network):
    return make_network("tiny-student", num_classes=7).float().eval()


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_network_read_back_gives_the_same_logits(tmp_path, network, make_batch, wrapped):
    batch = make_batch([80, 30], dtype=torch.float32)
    file = write_official(tmp_path / "model_best.pth", network, wrapped=wrapped)
    loaded, report = load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student")
    assert not loaded.training
    assert torch.equal(loaded(batch).logits, network(batch).logits)
    assert (report.epoch, report.best_metric) == (50, 0.783)
    assert (report.missing, report.unexpected) == ((), ())
    assert loaded.num_classes == 7


def test_a_bare_state_dict_is_read_too(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    _, report = load_pointcept_checkpoint(
        tmp_path / "weights.pth", cpe_input="main", size="tiny-student"
    )
    assert (report.epoch, report.best_metric) == (None, None)


def test_the_metric_may_be_a_scalar_as_numpy_1_wrote_it(tmp_path, network, monkeypatch):
    import io
    import zipfile

    file = write_official(tmp_path / "new.pth", network)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    assert b"cnumpy._core.multiarray\nscalar" in parts[name]
    parts[name] = parts[name].replace(b"cnumpy._core.", b"cnumpy.core.")
    rewritten = io.BytesIO()
    with zipfile.ZipFile(rewritten, "w", zipfile.ZIP_STORED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    (tmp_path / "old.pth").write_bytes(rewritten.getvalue())
    _, report = load_pointcept_checkpoint(
        tmp_path / "old.pth", cpe_input="main", size="tiny-student"
    )
    assert report.best_metric == 0.783


def test_the_choice_of_cpe_input_must_be_made_and_is_reported(tmp_path, network):
    file = write_official(tmp_path / "model.pth", network)
    with pytest.raises(TypeError, match="cpe_input"):
        load_pointcept_checkpoint(file, size="tiny-student")
    loaded, report = load_pointcept_checkpoint(file, cpe_input="v1.5.1", size="tiny-student")
    assert (loaded.config.cpe_input, loaded.config.depth_rule) == ("v1.5.1", "v1.5.1")
    assert "cpe_input=v1.5.1" in str(report)
    between, _ = load_pointcept_checkpoint(
        file, cpe_input="main", depth_rule="v1.5.1", size="tiny-student"
    )
    assert (between.config.cpe_input, between.config.depth_rule) == ("main", "v1.5.1")


def test_missing_and_unexpected_keys_are_named(tmp_path, network):
    def change(state):
        state = dict(state)
        del state["module.backbone.enc.enc1.block0.attn.qkv.bias"]
        state["module.backbone.embedding_table.weight"] = torch.zeros(3, 256)
        return state

    file = write_official(tmp_path / "odd.pth", network, change=change)
    with pytest.raises(UserError, match=r"missing backbone\.enc\.enc1.*unexpected .*table"):
        load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student")
    _, report = load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student", strict=False)
    assert report.missing == ("backbone.enc.enc1.block0.attn.qkv.bias",)
    assert report.unexpected == ("backbone.embedding_table.weight",)
    assert "missing backbone.enc" in str(report)
    assert "embedding_table" in str(report)


def test_another_architecture_is_refused(tmp_path, network):
    file = write_official(tmp_path / "model.pth", network)
    with pytest.raises(UserError, match=r"missing .* and [0-9]+ more"):
        load_pointcept_checkpoint(file, cpe_input="main", size="tiny-teacher")
    with pytest.raises(UserError, match="has shape"):
        load_pointcept_checkpoint(
            file, cpe_input="main", size="tiny-student",
            enc_channels=(16, 16, 16, 32, 64), enc_heads=(1, 1, 1, 2, 4),
        )  # fmt: skip


def test_a_file_that_would_run_code_is_refused_unrun(tmp_path, network):
    mark = tmp_path / "ran"
    file = write_official(tmp_path / "bomb.pth", network, best_metric_value=Bomb(mark))
    with pytest.raises(UserError, match="never code"):
        load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student")
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["absent", "text", "cut", "empty", "list", "foreign"])
def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path, network, kind):
    file = tmp_path / "model.pth"
    if kind == "text":
        file.write_text("not a checkpoint\n")
    elif kind == "cut":
        whole = write_official(tmp_path / "whole.pth", network).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "list":
        torch.save([1, 2], file)
    elif kind == "foreign":
        torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, file)
    with pytest.raises(UserError, match=r"model\.pth: ") as caught:
        load_pointcept_checkpoint(file, cpe_input="main")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_our_own_is_sent_to_its_own_reader(tmp_path, network):
    save_model(network, toy_metadata(network), tmp_path / "student.pt")
    with pytest.raises(
        UserError, match=r"student\.pt: is a checkpoint of this package .*load_model"
    ):
        load_pointcept_checkpoint(tmp_path / "student.pt", cpe_input="main", size="tiny-student")


def test_another_class_count_than_the_wanted_one_is_refused(tmp_path, network):
    file = write_official(tmp_path / "model.pth", network)
    load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student", num_classes=7)
    # A user's mistake and a wrong argument at once: callers of either kind can catch it.
    for kind in (UserError, ValueError):
        with pytest.raises(kind, match="has 7 classes, 19 are wanted"):
            load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student", num_classes=19)


def test_the_allowed_names_end_with_the_call(tmp_path, network):
    file = write_official(tmp_path / "model.pth", network)
    load_pointcept_checkpoint(file, cpe_input="main", size="tiny-student")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)


# ---- a student goes to Pointcept and comes back --------------------------------------------------


@pytest.mark.parametrize("form", ["main", "v1.5.1"])
def test_the_way_there_and_back_changes_no_bit(tmp_path, make_network, make_batch, form):
    network = make_network("tiny-student", num_classes=7, cpe_input=form, depth_rule=form)
    network = network.float().eval()
    save_pointcept_checkpoint(network, tmp_path / "model.pth")
    loaded, report = load_pointcept_checkpoint(
        tmp_path / "model.pth", cpe_input=form, size="tiny-student"
    )
    assert (report.missing, report.unexpected) == ((), ())
    mine, theirs = network.state_dict(), loaded.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
    batch = make_batch([80], dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(loaded(batch).logits, network(batch).logits)


@pytest.mark.parametrize("size", ["student", "teacher"])
def test_the_file_is_what_pointcepts_loader_strips_and_loads(tmp_path, size):
    """Its loader takes `state_dict`, drops ``module.`` on one GPU and loads strictly."""
    from pathlib import Path

    network = build_segmentor(size, 16)
    save_pointcept_checkpoint(network, tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert {"epoch", "best_metric_value"} <= content.keys()
    assert all(name.startswith("module.") for name in content["state_dict"])
    found = [
        f"{name[len('module.') :]} {'x'.join(map(str, tensor.shape))}".rstrip()
        for name, tensor in content["state_dict"].items()
    ]
    listed = (Path(__file__).parent / "keys" / f"{size}.txt").read_text().splitlines()
    assert len(found) == len(listed)
    names = {line.split()[0] for line in listed}
    assert {line.split()[0] for line in found} == names


def test_the_config_builds_this_network_there():
    network = build_segmentor("tiny-student", 19, 5)
    made = {}
    exec(pointcept_config(network), made)
    model = made["model"]
    assert (model["type"], model["num_classes"]) == ("DefaultSegmentorV2", 19)
    assert model["backbone_out_channels"] == network.config.dec_channels[0]
    backbone = model["backbone"]
    assert backbone["type"] == "PT-v3m1"
    assert backbone["in_channels"] == 5
    assert backbone["enc_channels"] == network.config.enc_channels
    assert backbone["enc_patch_size"] == (128,) * 5
    assert backbone["dec_patch_size"] == (128,) * 4
    assert backbone["dec_num_head"] == network.config.dec_heads
    assert backbone["stride"] == (2, 2, 2, 2)
    assert backbone["order"] == ["z", "z-trans", "hilbert", "hilbert-trans"]


@pytest.mark.parametrize(
    ("forms", "version"),
    [
        ({}, "v1.6.0 or later"),
        ({"cpe_input": "v1.5.1", "depth_rule": "v1.5.1"}, "v1.5.1: from its commit"),
        ({"depth_rule": "v1.5.1"}, "before v1.6.0"),
    ],
)
def test_the_config_says_which_version_computes_the_same(forms, version):
    assert version in pointcept_config(build_segmentor("tiny-student", 4, **forms))
