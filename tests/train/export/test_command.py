"""The command: a run's student to every format, scores, their page, and mistakes in one line."""

import json
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.studies.exports import main as write_page
from tests.train.networks.conftest import randomize
from topodistill.commands import main as topodistill
from train.core.provenance import sha256_of
from train.data.semantickitti import CLASS_NAMES
from train.data.terms import DATA_TERMS
from train.export.command import main
from train.export.onnx_runner import ExportedNetwork
from train.networks.official.ptv3 import load_pointcept_checkpoint, save_pointcept_checkpoint
from train.networks.protocol import NetworkSpec
from train.networks.registry import build_network
from train.networks.weights import save_model
from train.predict import from_pretrained


@pytest.fixture(scope="module")
def network(exported):
    return exported[1]


@pytest.fixture(scope="module")
def checkpoint(exported):
    """Return the file of a student that learned from SemanticKITTI, as it says."""
    return exported[2]


@pytest.fixture(scope="module")
def onnx_folder(exported):
    """Return what the command wrote of it; to be read only."""
    return exported[0]


def run(line, command=main, **places):
    """Run the command; NAME@ in the line is a place."""
    return command([_placed(word, places) for word in shlex.split(line)])


def _placed(word, places):
    for name, place in places.items():
        word = word.replace(f"{name}@", str(place))
    return word


def same_weights(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in mine.items()
    )


def test_safetensors_is_what_one_gets_without_a_format(checkpoint, network, tmp_path, capsys):
    assert run("--checkpoint c@ --output o@/s", c=checkpoint, o=tmp_path) == 0
    loaded, metadata = from_pretrained(tmp_path / "s")
    assert same_weights(loaded, network)
    assert metadata.class_names == CLASS_NAMES
    assert DATA_TERMS["semantickitti"] in (tmp_path / "s" / "README.md").read_text()
    assert "model.safetensors" in capsys.readouterr().err
    # From that folder on, nothing is lost.
    again = "--checkpoint o@/s --output o@/t --data-license 'Mine, CC0.'"
    assert run(again, o=tmp_path) == 0
    assert same_weights(from_pretrained(tmp_path / "t")[0], network)
    assert "Mine, CC0." in (tmp_path / "t" / "README.md").read_text()


def test_to_pointcept_and_back(checkpoint, network, tmp_path):
    assert run("--checkpoint c@ --output o@/p --format pointcept", c=checkpoint, o=tmp_path) == 0
    assert "Needs Pointcept v1.6.0" in (tmp_path / "p" / "pointcept_model.py").read_text()
    loaded, _ = load_pointcept_checkpoint(
        tmp_path / "p" / "model.pth", cpe_input="main", size="tiny-student", patch_size=32
    )
    assert same_weights(loaded, network)


def test_from_pointcept_to_a_folder(telling_network, tmp_path):
    theirs = telling_network("student", len(CLASS_NAMES), cpe_input="v1.5.1", depth_rule="v1.5.1")
    save_pointcept_checkpoint(theirs, tmp_path / "model_best.pth")
    line = "--checkpoint o@/model_best.pth --form v1.5.1 --dataset semantickitti --output o@/s"
    assert run(line, o=tmp_path) == 0
    loaded, metadata = from_pretrained(tmp_path / "s")
    assert same_weights(loaded, theirs)
    assert loaded.config.cpe_input == "v1.5.1"
    assert (metadata.size, metadata.grid_size_m) == ("student", 0.05)


def test_the_doors_of_other_commands_take_the_folder(checkpoint, tmp_path):
    assert run("--checkpoint c@ --output o@/s", c=checkpoint, o=tmp_path) == 0
    rng = np.random.default_rng(0)
    np.save(tmp_path / "cloud.npy", np.c_[rng.normal(0, 3, (400, 3)), rng.random(400)])
    found = []
    for given in (checkpoint, tmp_path / "s", tmp_path / "s" / "model.safetensors"):
        words = ["predict", "--checkpoint", given, "--input", tmp_path / "cloud.npy", "--output"]
        words += [tmp_path / "labels.npy", "--probabilities", tmp_path / "p.npy", "--overwrite"]
        assert topodistill([*map(str, words), "--device", "cpu"]) == 0
        found.append(np.load(tmp_path / "p.npy"))
    assert len(np.unique(found[0])) > 100
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_scores_and_times_beside_torch_and_their_page(
    checkpoint, onnx_folder, toy_frames, tmp_path, capsys
):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    line = "--score f@ --checkpoint c@ --data-root d@ --repeats 1 --remark busy"
    assert run(line, f=folder, c=checkpoint, d=toy_frames) == 0
    assert re.search(r"mIoU: torch (\S+), exported \1, loss \+0\.00", capsys.readouterr().out)
    record = json.loads((folder / "scores.json").read_text())
    scores = record["scores"]
    assert scores["torch"]["frames"] == scores["exported"]["frames"] == 1
    assert scores["torch"]["miou"] is not None
    assert scores["same_class"] > 0.999
    assert 0 < scores["largest_difference"] < 1e-4
    assert record["scored"] == "the validation split"
    assert set(record["latency"]["seconds"]) == {
        "torch_geometry", "torch_network", "exported_geometry", "exported_network"
    }  # fmt: skip
    assert all(value > 0 for value in record["latency"]["seconds"].values())
    assert run("--page o@/export.md --exports f@", write_page, o=tmp_path, f=folder) == 0
    text = (tmp_path / "export.md").read_text()
    miou = f"{100 * scores['torch']['miou']:.2f}"
    assert "| ptv3:tiny-student, semantickitti | fp32 | " in text
    assert f"| {miou} | {miou} | +0.00 |" in text
    assert "1 of the validation split" in text
    assert "; busy" in text
    assert json.loads((tmp_path / "export.json").read_text())[0]["measured"] == record


def test_fresh_weights_are_timed_and_not_scored(checkpoint, onnx_folder, toy_frames, tmp_path):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    line = "--score f@ --checkpoint c@ --data-root d@ --repeats 1 --untrained"
    assert run(line, f=folder, c=checkpoint, d=toy_frames) == 0
    assert run("--page o@/p.md --exports f@", write_page, o=tmp_path, f=folder) == 0
    assert "| not trained | - | - | - | - | - |" in (tmp_path / "p.md").read_text()


@pytest.mark.slow
def test_int8_is_calibrated_on_training_frames(
    two_stages, metadata_of, toy_frames, tmp_path, capsys
):
    metadata = metadata_of(two_stages, dataset="semantickitti", class_names=CLASS_NAMES)
    save_model(two_stages, metadata, tmp_path / "small.pt")
    line = (
        "--checkpoint o@/small.pt --output o@/i --format onnx --precision int8 "
        "--calibration-frames 2 --data-root d@ --sequences 00"
    )
    assert run(line, o=tmp_path, d=toy_frames) == 0
    assert "calibrating on 2 frames" in capsys.readouterr().err
    runner = ExportedNetwork(tmp_path / "i")
    assert runner.metadata["precision"] == "int8"
    labels = runner.predict(np.random.default_rng(0).normal(0, 3, (300, 4)))
    assert labels.shape == (300,)
    kinds = {path.name for path in (tmp_path / "i").iterdir()}
    assert kinds == {"model.onnx", "export.json", "geometry.py", "readers", "run.py", "README.md"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--checkpoint c@", "give one of --output"),
        ("--checkpoint c@ --output o@/x --score o@/y", "give one of --output"),
        ("--output o@/x", "--checkpoint is missing"),
        ("--checkpoint c@ --output o@/x --precision int8", "--precision int8 is for --format onnx"),
        ("--checkpoint c@ --output o@/x --calibration-frames 2", "is for --precision int8"),
        ("--checkpoint c@ --output o@/x --format onnx --data-license CC0", "--data-license is for"),
        ("--checkpoint c@ --output o@/x --data-license ''", "--data-license is empty"),
        ("--checkpoint c@ --output o@/x --format tflite", "invalid choice 'tflite'"),
        ("--checkpoint c@ --output o@/x --calibration-frames 0", "--calibration-frames is 0"),
        ("--checkpoint c@ --output o@/x --form main", "says its form itself"),
        ("--checkpoint c@ --output o@/x --dataset waymo", "--dataset is for files of Pointcept"),
        ("--checkpoint o@/gone.pt --output o@/x", "gone.pt: no such file"),
        ("--checkpoint o@ --output o@/x", "has no config.json"),
        ("--score o@ --checkpoint c@", "has no export.json"),
        (
            "--checkpoint c@ --output o@/x --format onnx --precision int8 --data-root o@/none",
            "o@/none",
        ),
    ],
)
def test_a_mistake_is_one_line(line, message, checkpoint, tmp_path, capsys):
    assert run(line, c=checkpoint, o=tmp_path) == 2
    captured = capsys.readouterr()
    (error,) = [each for each in captured.err.splitlines() if each.startswith("error:")]
    assert message.replace("o@", str(tmp_path)) in error
    assert "Traceback" not in captured.err
    assert not (tmp_path / "x").exists()


def test_nothing_is_replaced_unasked(checkpoint, tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    assert run("--checkpoint c@ --output o@", c=checkpoint, o=tmp_path) == 2
    assert "has README.md already" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "mine"
    assert run("--checkpoint c@ --output o@ --overwrite", c=checkpoint, o=tmp_path) == 0
    assert (tmp_path / "README.md").read_text() != "mine"


def test_a_runs_own_files_are_never_replaced(checkpoint, tmp_path, capsys):
    (tmp_path / "log.jsonl").touch()
    (tmp_path / "config.json").write_text("{}")
    assert run("--checkpoint c@ --output o@ --overwrite", c=checkpoint, o=tmp_path) == 2
    assert "holds a training run" in capsys.readouterr().err
    assert (tmp_path / "config.json").read_text() == "{}"


def test_terms_of_a_dataset_that_nobody_knows_are_demanded(network, metadata_of, tmp_path, capsys):
    save_model(network, metadata_of(network), tmp_path / "own.pt")
    assert run("--checkpoint o@/own.pt --output o@/s", o=tmp_path) == 2
    assert "frames of toy, whose terms are not known here" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert run("--checkpoint o@/own.pt --output o@/s --data-license Ours.", o=tmp_path) == 0


def test_the_score_of_another_checkpoint_is_refused(
    onnx_folder, telling_network, metadata_of, toy_frames, tmp_path, capsys
):
    other = telling_network(num_classes=len(CLASS_NAMES))
    with torch.no_grad():
        other.seg_head.bias += 1
    metadata = metadata_of(other, dataset="semantickitti", class_names=CLASS_NAMES)
    save_model(other, metadata, tmp_path / "other.pt")
    line = "--score f@ --checkpoint o@/other.pt --data-root d@"
    assert run(line, f=onnx_folder, o=tmp_path, d=toy_frames) == 2
    assert "was exported from weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--page o@/p.md", "--exports is missing"),
        ("--page o@/p.txt --exports f@", "end the name in .md"),
        ("--page o@/p.md --exports o@", "is no scored export"),
        ("--page o@/p.md --exports f@", "is of another export; score it again"),
    ],
)
def test_a_page_without_the_scores_of_this_export_is_refused(
    line, message, onnx_folder, tmp_path, capsys
):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    content = {"format": "topodistill-export-scores-2", "export_id": "of another"}
    (folder / "scores.json").write_text(json.dumps(content))
    assert run(line, write_page, o=tmp_path, f=folder) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]


OWN = """
from torch import nn
from tests.train.toys import Toy
from train.networks.ptv3 import build_segmentor
from train.networks.ptv3.segmentor import Segmentor


class Mine(Segmentor):
    def forward(self, *arguments, **options):
        found = super().forward(*arguments, **options)
        found.logits.mul_(-1)
        return found


def build(num_classes, in_channels):
    made = build_segmentor(
        "tiny-student", num_classes, in_channels, patch_size=32, enc_depths=(1, 1),
        enc_channels=(16, 16), enc_heads=(1, 1), dec_depths=(1,), dec_channels=(16,), dec_heads=(1,)
    )
    return made
"""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("made", ""),
        ("Mine(made.config, num_classes, in_channels, size='tiny-student')", "something else than"),
        ("setattr(made, 'seg_head', nn.Sequential(made.seg_head)) or made", "parts are not those"),
        ("Toy('small', num_classes, in_channels)", "a Toy cannot be exported so, only PTv3 can"),
    ],
)
def test_a_network_of_ones_own_file_is_exported_where_it_is_a_ptv3(
    metadata_of, tmp_path, capsys, changed, message
):
    (tmp_path / "mine.py").write_text(OWN.replace("return made\n", f"return {changed}\n"))
    spec = NetworkSpec(str(tmp_path / "mine.py"), "build", 2, 4)
    torch.manual_seed(0)
    network = randomize(build_network(spec)).eval()
    metadata = metadata_of(network, class_names=("road", "wall"))
    metadata = replace(metadata, network=spec.network, size="build", overrides={})
    save_model(network, metadata, tmp_path / "a.pt")
    for form in ("onnx", "pointcept") if message else ("onnx",):
        code = run(f"--checkpoint o@/a.pt --output o@/o --format {form}", o=tmp_path)
        assert code == (2 if message else 0)
        assert message in capsys.readouterr().err
    assert (tmp_path / "o").exists() is not bool(message)
    if not message:
        points = np.random.default_rng(0).normal(0, 2, (500, 4)).astype("f4")
        points[:, 3] %= 1
        found = ExportedNetwork(tmp_path / "o", num_threads=1).predict(points)
        np.testing.assert_array_equal(found, from_pretrained(tmp_path / "a.pt").predict(points))


def test_a_program_of_torch_export_and_the_checkpoint_as_it_was(two_stages, metadata_of, tmp_path):
    metadata = metadata_of(two_stages, dataset="semantickitti", class_names=CLASS_NAMES)
    save_model(two_stages, metadata, tmp_path / "small.pt")
    before = sha256_of(tmp_path / "small.pt")
    line = "--checkpoint o@/small.pt --output o@/t --format torch-export"
    assert run(line, o=tmp_path) == 0
    kinds = {path.name for path in (tmp_path / "t").iterdir()}
    assert kinds == {"model.pt2", "export.json", "geometry.py", "README.md"}
    assert sha256_of(tmp_path / "small.pt") == before
