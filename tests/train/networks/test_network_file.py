"""A network, method or dataset of a user's file: built, named, refused in one line."""

import pytest
import torch

from tests.train.toys import toy_metadata
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.methods.registry import method_class
from train.networks.protocol import NetworkSpec
from train.networks.registry import build_network, parse_network
from train.networks.weights import load_model, save_model
from train.presets import preset

SOURCE = """
from tests.train.toys import Toy


class Mine(Toy):
    def spec(self):
        return super(Toy, self).spec()


def build(num_classes, in_channels):
    return Mine("small", num_classes, in_channels)
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_file_s_function_builds_a_network_that_says_where_it_is_from(source, monkeypatch):
    monkeypatch.chdir(source.parent)
    network, function = parse_network("student", "mine.py:build")
    assert (network, function) == (str(source), "build"), "the path that a checkpoint needs"
    spec = NetworkSpec(network, function, 7, 4)
    model = build_network(spec)
    assert model.spec() == spec
    assert model.head.out_features == 7
    assert type(build_network(spec)) is type(model), "the file is run once"
    source.write_text(SOURCE.replace('"small"', '"wide"'))
    assert build_network(spec).stage_channels["top"] == 10, "and again when it has changed"


def test_its_checkpoint_is_loaded_again_while_the_file_is_there(source, tmp_path):
    spec = NetworkSpec(str(source), "build", 2, 4)
    model = build_network(spec)
    save_model(model, toy_metadata(model), tmp_path / "student.pt")
    loaded, found = load_model(tmp_path / "student.pt")
    assert found.spec == spec == loaded.spec()
    want = model.state_dict()
    assert all(torch.equal(value, want[key]) for key, value in loaded.state_dict().items())
    source.unlink()
    with pytest.raises(UserError, match=r"mine\.py: the file that has the function build is not"):
        load_model(tmp_path / "student.pt")


def test_a_network_that_nobody_built_by_name_asks_for_its_spec(source):
    model = build_network(NetworkSpec(str(source), "build", 2, 4))
    with pytest.raises(NotImplementedError, match="say what builds this network"):
        type(model)("small", 2, 4).spec()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py:build", "--student gone.py:build: there is no file gone.py"),
        ("mine.py", "say which function"),
        ("mine.py:", "say which function"),
        ("mine:build", "unknown network 'mine'; known: .*FILE.py:FUNCTION"),
    ],
)
def test_a_name_of_no_file_is_refused(source, monkeypatch, name, message):
    monkeypatch.chdir(source.parent)
    with pytest.raises(UserError, match=message):
        parse_network("student", name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("def build", "def make"), "has no function build"),
        (("def build", "build = 3\ndef make"), "has no function build"),
        (("class Mine(Toy):", "class Mine(Toy)"), r"mine\.py:5: SyntaxError"),
        (("from tests.train.toys", "from no_such_place"), r"mine\.py:2: ModuleNotFoundError"),
        (("num_classes, in_channels):", "num_classes):"), r"build failed: TypeError: .*argument"),
        (('"small"', '"huge"'), r"mine\.py:11: build failed: ValueError: Toy: no size 'huge'"),
        (('return Mine("small", num_classes, in_channels)', "return 3"), "returned a int, not a"),
        (('"small", num_classes', '"small", 5'), "num_classes is 5, it was asked for 7"),
        (("    def spec", '    encoder_stages = ("fine",)\n    def spec'), "has no width of fine"),
        (("    def spec", "    decoder_stages = ()\n    def spec"), "has no decoder_stages"),
    ],
)
def test_a_file_that_builds_no_network_is_one_line(source, change, message):
    source.write_text(SOURCE.replace(*change))
    with pytest.raises(UserError, match=message) as caught:
        build_network(NetworkSpec(str(source), "build", 7, 4))
    assert "\n" not in str(caught.value)


OTHERS = """
from dataclasses import dataclass, replace
from train.config import MethodConfig
from train.data.semantickitti import SPEC as KITTI
from train.methods.none import CrossEntropy

class Bare(CrossEntropy):
    Config = dict

SPEC = replace(KITTI, clip_range_m=(-1.0, -1.0, -1.0, 1.0, 1.0, 1.0))
OTHER = replace(KITTI, class_names=("a", "b"))
"""


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (method_class, "SPEC", "SPEC is no train.methods.DistillationMethod; docs/guides/extend"),
        (method_class, "MethodConfig", "MethodConfig is no train.methods.DistillationMethod"),
        (method_class, "Bare", "its Config is no dataclass with train.config.MethodConfig as base"),
        (method_class, "Gone", "has no class Gone; name it as FILE.py:CLASS"),
        (dataset_spec, "Bare", "Bare is a ABCMeta, not a train.data.dataset_spec.DatasetSpec"),
        (dataset_spec, "Gone", "has no dataset Gone"),
        (dataset_spec, "OTHER", r"its classes \(a, b\) are not those of SemanticKITTI"),
        (dataset_spec, "", "say which spec, FILE.py:SPEC"),
    ],
)
def test_a_method_or_a_dataset_that_is_none_is_one_line(tmp_path, find, name, message):
    (tmp_path / "mine.py").write_text(OTHERS)
    with pytest.raises(UserError, match=message) as caught:
        find(f"{tmp_path / 'mine.py'}:{name}")
    assert "\n" not in str(caught.value)


def test_a_dataset_of_a_file_has_its_name_its_box_and_its_ids(tmp_path):
    (tmp_path / "mine.py").write_text(OTHERS)
    name = f"{tmp_path / 'mine.py'}:SPEC"
    found = dataset_spec(name)
    assert found.name == "mine"
    assert found.layout["class_map"]["train_to_raw"][0] == 10
    run = preset(name, "tiny")
    assert run.data.clip_range_m == found.clip_range_m == (-1, -1, -1, 1, 1, 1)
    assert (str(run.resolved_data_root), str(run.resolved_output)) == ("data/mine", "runs/mine")
    assert dataset_spec(name, found.layout).name == "mine", "what its checkpoint keeps"
    with pytest.raises(UserError, match=r"--data.class-map b.yaml: is for --dataset kitti-layout"):
        dataset_spec(name, {"class_map": "b.yaml"})
