"""Checkpoints of others: the network is found in the file or the nearest named; nothing runs."""

import io
import pickle

import pytest
import torch
from safetensors.torch import save_file

from tests.train.networks.official.official_files import Bomb, write_official
from train.core.errors import UserError
from train.networks.litept import build_litept
from train.networks.official.checkpoint import OfficialFile, official_file, read_content
from train.networks.official.identify import identify, load_state
from train.networks.official.ptv3 import to_pointcept_keys
from train.networks.protocol import NetworkSpec
from train.networks.ptv3 import build_segmentor
from train.networks.registry import build_network


def state_of(name, num_classes=16):
    """Return the shapes of a network's weights, without memory for them."""
    network, size = name.split(":")
    with torch.device("meta"):
        return build_network(NetworkSpec(network, size, num_classes, 4)).state_dict()


def file_of(state, path="model_best.pth"):
    return OfficialFile(path, dict(state))


@pytest.mark.parametrize("form", ["main", "v1.5.1"])
@pytest.mark.parametrize("name", ["ptv3:teacher", "ptv3:student", "ptv3:tiny-student"])
def test_a_ptv3_is_known_by_its_keys_and_takes_the_form_that_is_said(name, form):
    spec = identify(file_of(state_of(name)), form)
    network, size = name.split(":")
    assert spec == NetworkSpec(network, size, 16, 4, {"cpe_input": form, "depth_rule": form})


@pytest.mark.parametrize("size", ["S", "S*", "B", "L", "tiny"])
def test_a_litept_is_known_by_its_keys(size):
    spec = identify(file_of(state_of(f"litept:{size}", 22)))
    assert spec == NetworkSpec("litept", size, 22, 4)


def test_widths_and_depths_of_nobody_s_are_found(capsys):
    changed = {
        "enc_depths": (2, 2, 2, 2, 2), "enc_channels": (32, 48, 64, 96, 128),
        "enc_heads": (2, 3, 4, 6, 8), "dec_depths": (0, 0, 1, 1),
        "dec_channels": (32, 48, 64, 96), "dec_heads": (2, 3, 4, 6),
    }  # fmt: skip
    with torch.device("meta"):
        ptv3 = build_segmentor("teacher", 9, 5, **changed)
        lite = build_litept("S", 9, 5, enc_depths=(1, 2, 3, 4, 5), dec_depths=(0, 0, 2, 1))
    spec = identify(file_of(ptv3.state_dict()), "main")
    assert spec.overrides | changed == spec.overrides
    assert (spec.num_classes, spec.in_channels) == (9, 5)
    assert "none of the published; taken to have 16 channels per head" in capsys.readouterr().err
    spec = identify(file_of(lite.state_dict()))
    with torch.device("meta"):
        assert build_network(spec).config.dec_depths == (0, 0, 2, 1)


def test_the_form_of_a_ptv3_is_asked_for_in_one_line_and_a_litept_has_none():
    with pytest.raises(UserError, match=r"say v1\.5\.1 for the weights that Pointcept released"):
        identify(file_of(state_of("ptv3:student")))
    with pytest.raises(UserError, match="a LitePT, which has one form alone"):
        identify(file_of(state_of("litept:tiny")), "main")


def without(part):
    return lambda state: {key: value for key, value in state.items() if part not in key}


def renamed(old, new):
    return lambda state: {key.replace(old, new): value for key, value in state.items()}


def added(key):
    return lambda state: {**state, key: torch.zeros(3)}


def reshaped(part):
    return lambda state: {
        key: value[:-1] if key.endswith(part) else value for key, value in state.items()
    }


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ptv3:student", without("enc1.block0.attn.qkv.bias"), r"nearly a ptv3:student, but lacks "
         r"backbone\.enc\.enc1\.block0\.attn\.qkv\.bias; no network"),
        ("ptv3:student", added("backbone.extra"), "but has besides backbone.extra"),
        ("litept:S", reshaped("enc0.block1.conv.1.bias"), r"other shapes: .* \(35,\) instead of"),
        ("ptv3:student", without("enc.enc2."), "has stages enc0, enc1, enc3, enc4 of a PTv3"),
        ("ptv3:student", without("enc.enc"), "has stages none of a PTv3"),
        ("ptv3:student", without("enc3.down"), "no 'backbone.enc.enc3.down.proj.weight'"),
        ("ptv3:student", renamed("stem.conv", "stem.linear"), "a PT-v3m2"),
        ("ptv3:student", added("backbone.enc.enc0.block0.attn.rpe.rpe_table"), "enable_rpe"),
        ("ptv3:student", added("backbone.enc.enc1.down.norm.0.norm.1.weight"), "PDNorm"),
        ("ptv3:student", without("seg_head"), "no 'seg_head.weight' .* a backbone without a head"),
        ("ptv3:student", renamed("block", "layer"), r"nearest is ptv3:student \(\d+ of 272 keys\), "
         r"but it lacks .*block0.* and \d+ more; has besides .*layer0"),
        ("litept:S", renamed("block", "layer"), r"nearest is litept:S \(\d+ of 240 keys\)"),
        ("litept:S", renamed("backbone", "net"), r"nearest is litept:\S+ \(2 of 240 keys\)"),
        ("litept:S", renamed("", "x"), "fits no network here: none of its 240 keys"),
    ],
)  # fmt: skip
def test_a_file_of_no_network_names_the_nearest_and_what_differs(name, change, message):
    form = "main" if name.startswith("ptv3") else None
    state = state_of(name)
    identify(file_of(state), form)
    with pytest.raises(UserError, match=message) as caught:
        identify(file_of(change(state)), form)
    assert "\n" not in str(caught.value)


def test_widths_that_no_head_divides_are_refused():
    with torch.device("meta"):
        state = build_segmentor(
            "student", 4, enc_channels=(16, 16, 32, 60, 128), enc_heads=(1, 1, 2, 4, 8)
        ).state_dict()
        lite = build_litept("tiny", 4, head_width=12, enc_channels=(18, 36, 36, 72, 96))
    with pytest.raises(UserError, match="do not divide into heads of 16 channels"):
        identify(file_of(state), "main")
    with pytest.raises(UserError, match="enc4 has 96 channels, must be a multiple of the head"):
        identify(file_of(lite.state_dict()))


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("kind", ["ptv3", "litept"])
def test_a_file_of_the_trainer_gives_the_same_weights(tmp_path, kind, wrapped):
    network = (
        build_segmentor("tiny-student", 7) if kind == "ptv3" else build_litept("tiny", 7)
    ).eval()
    path = write_official(tmp_path / "model_best.pth", network, wrapped=wrapped)
    file = official_file(read_content(path), path)
    assert (file.epoch, file.best_metric) == (50, 0.783)
    spec = identify(file, "main" if kind == "ptv3" else None)
    loaded = load_state(spec, file)
    assert not loaded.training
    want = network.state_dict()
    assert all(torch.equal(value, want[key]) for key, value in loaded.state_dict().items())


def test_a_safetensors_file_is_read_as_well(tmp_path):
    network = build_litept("tiny", 7)
    path = tmp_path / "model.safetensors"
    save_file(dict(network.state_dict()), path, metadata={"format": "pt"})
    file = official_file(read_content(path), path)
    assert identify(file) == NetworkSpec("litept", "tiny", 7, 4)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged"):
        read_content(path)


def test_names_go_to_pointcept_and_back():
    state = build_litept("tiny", 3).state_dict()
    wrapped = to_pointcept_keys(state)
    assert next(iter(wrapped)) == "module.seg_head.weight"
    assert list(official_file(wrapped, "m.pth").state) == list(state)
    assert list(to_pointcept_keys(state, wrapped=False)) == list(state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "bare-pickle"])
def test_a_litept_that_would_run_code_is_refused_unrun(tmp_path, zipped):
    mark, path = tmp_path / "ran", tmp_path / "litept.pth"
    if zipped:
        write_official(path, build_litept("tiny", 3), hooks=Bomb(mark))
    else:
        stream = io.BytesIO()
        pickle.dump({"state_dict": Bomb(mark)}, stream)
        path.write_bytes(stream.getvalue())
    with pytest.raises(UserError, match=r"litept\.pth: .*(never code|not readable)") as caught:
        read_content(path)
    assert not mark.exists()
    assert str(caught.value).isprintable(), "no escape codes, one line"


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    network = build_litept("tiny", 3)
    network.seg_head.bias.data[1] = torch.nan
    path = write_official(tmp_path / "m.pth", network)
    file = official_file(read_content(path), path)
    with pytest.raises(UserError, match=r"seg_head\.bias has NaN"):
        load_state(identify(file), file)


@pytest.mark.parametrize(
    "content", [{"state_dict": [1]}, {"state_dict": {}}, {"a": 1}, {"state_dict": {"a": "b"}}]
)
def test_a_file_without_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "m.pth")
    path = tmp_path / "m.pth"
    with pytest.raises(UserError, match="no 'state_dict' of tensors"):
        official_file(read_content(path), path)
