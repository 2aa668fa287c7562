"""An exported PTv3 computes what the network computes, at every size, and says what it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.train.toys import build_toy
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.data.semantickitti import CLASS_NAMES
from train.data.transforms import voxelize
from train.export import onnx_geometry, onnx_runner
from train.export.onnx_export import export_onnx, export_program
from train.export.onnx_network import ExportedPTv3, plan_of
from train.export.onnx_quantize import int8_quantizer
from train.export.onnx_runner import ExportedNetwork, ExportError
from train.networks.weights import checksum
from train.predict.cloud import predict

TOLERANCE = 1e-4


def logits_of(network, batch):
    with torch.no_grad():
        return network.float().eval()(batch).logits.numpy()


def tables_of(network, batch):
    plan = plan_of(network)
    tables = onnx_geometry.build_tables(batch["grid_coord"].numpy(), plan)
    return [torch.from_numpy(tables[name]) for name in onnx_geometry.input_names(plan)[1:]]


# ---- the network of gathers and products, without ONNX ------------------------------------------


@pytest.mark.parametrize("form", ["main", "v1.5.1"])
@pytest.mark.parametrize("fused", [False, True])
def test_the_same_function_of_the_same_weights(telling_network, voxel_batch, form, fused):
    network = telling_network(
        cpe_input=form, depth_rule=form, patch_size=16, enc_depths=(2, 1, 1, 5, 2)
    )
    program = ExportedPTv3(network, fused_attention=fused)
    for count in (1, 16, 333):
        batch = voxel_batch(count)
        with torch.no_grad():
            found = program(batch["feat"], tables_of(network, batch))
        np.testing.assert_allclose(found, logits_of(network, batch), atol=2e-5, rtol=0)


def test_the_forms_differ(telling_network, voxel_batch):
    """The comparison above would see a form that is ignored."""
    batch = voxel_batch(333)
    depths = {"enc_depths": (2, 1, 1, 2, 1)}
    one, other = (telling_network(cpe_input=form, **depths) for form in ("main", "v1.5.1"))
    assert np.abs(logits_of(one, batch) - logits_of(other, batch)).max() > 1e-2


# ---- ONNX Runtime --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 500, 1777])
def test_onnx_runtime_gives_our_logits_at_every_size(exported, voxel_batch, count):
    folder, network, _ = exported
    batch = voxel_batch(count, side=120)
    found = ExportedNetwork(folder).logits(batch["feat"].numpy(), batch["grid_coord"].numpy())
    wanted = logits_of(network, batch)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dataset", ["semantickitti", "waymo"])
def test_a_simulated_frame(exported, tmp_path, dataset):
    folder, network, _ = exported
    spec = dataset_spec(dataset)
    made = spec.simulate(tmp_path, num_frames=1, num_validation_frames=1, azimuth_steps=90, seed=1)
    frame = spec.open(made.root, sequences=made.validation_sequences)[0]
    voxels = voxelize(frame, 0.2)
    feat = np.concatenate([voxels.coord, voxels.strength], axis=1)
    batch = {
        "feat": torch.from_numpy(feat),
        "coord": torch.from_numpy(voxels.coord),
        "grid_coord": torch.from_numpy(voxels.grid_coord),
        "offset": torch.tensor([len(feat)]),
    }
    found = ExportedNetwork(folder).logits(feat, voxels.grid_coord)
    np.testing.assert_allclose(found, logits_of(network, batch), atol=TOLERANCE, rtol=0)


@pytest.mark.real_data
def test_a_real_frame(exported, real_data):
    folder, network, _ = exported
    path = real_data / "semantickitti/dev/sequences/00/velodyne/000000.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    runner = ExportedNetwork(folder)
    voxels = onnx_geometry.voxelize(points, 0.2)
    batch = {
        "feat": torch.from_numpy(voxels.feat),
        "coord": torch.from_numpy(voxels.feat[:, :3]),
        "grid_coord": torch.from_numpy(voxels.grid_coord),
        "offset": torch.tensor([len(voxels.feat)]),
    }
    assert len(voxels.feat) > 30_000
    found = runner.logits(voxels.feat, voxels.grid_coord)
    np.testing.assert_allclose(found, logits_of(network, batch), atol=TOLERANCE, rtol=0)


def test_the_graph_is_of_standard_operators_with_free_axes(exported):
    folder, network, _ = exported
    model = onnx.load(folder / "model.onnx")
    assert [opset.domain for opset in model.opset_import] == [""]
    assert not model.functions
    plan = plan_of(network)
    assert [value.name for value in model.graph.input] == list(onnx_geometry.input_names(plan))
    assert [value.name for value in model.graph.output] == ["logits"]
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes["feat"] == ["voxels_0", 4]
    assert shapes["logits"] == ["voxels_0", 19]
    assert shapes["children_2"] == ["voxels_2", 8]
    assert shapes["parent_2"] == ["voxels_1"]
    assert shapes["patches_4"] == [1, "patches_4", "slots_4"]
    assert shapes["patch_place_4"] == [1, "voxels_4"]
    assert shapes["neighbors_3"] == ["voxels_3", 27]


def test_the_files_say_what_they_are_and_nothing_of_the_machine(exported):
    folder, network, _ = exported
    model = onnx.load(folder / "model.onnx")
    props = {prop.key: prop.value for prop in model.metadata_props}
    described = json.loads(props["topodistill"])
    manifest = json.loads((folder / "export.json").read_text())
    assert manifest["metadata"] == described
    assert json.loads(props["class_names"]) == list(CLASS_NAMES)
    assert json.loads(props["grid_size_m"]) == 0.2
    assert json.loads(props["clip_range_m"]) == [-6, -6, -6, 6, 6, 6]
    assert props["weights_checksum"] == checksum(network)
    page = (folder / "README.md").read_text()
    for name in onnx_geometry.input_names(plan_of(network)):
        assert f"| `{name}` |" in page
    here = str(Path(onnx_runner.__file__).parents[2])
    for path in filter(Path.is_file, folder.rglob("*")):
        content = path.read_bytes()
        assert here.encode() not in content, path
        assert b"site-packages" not in content, path


def test_the_copied_runner_labels_a_cloud_without_this_package(exported, tmp_path):
    """In a process whose path has neither topodistill nor torch's users."""
    folder, network, _ = exported
    rng = np.random.default_rng(2)
    points = np.c_[rng.normal(0, 2.5, (3000, 3)), rng.random(3000)].astype("<f4")
    points.tofile(tmp_path / "cloud.bin")
    copied = shutil.copytree(folder, tmp_path / "moved together")
    program = (
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'train', 'topodistill', 'fast', 'numba']))\n"
        f"sys.path.insert(0, {str(copied)!r})\n"
        f"sys.argv = ['run.py', '--input', {str(tmp_path / 'cloud.bin')!r},"
        f" '--output', {str(tmp_path / 'labels.npy')!r}]\n"
        f"runpy.run_path({str(copied / 'run.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3000 points" in done.stderr
    box = np.array([-6, -6, -6, 6, 6, 6], dtype=np.float32)
    points[:, :3] = np.clip(points[:, :3], box[:3], box[3:])
    np.testing.assert_array_equal(
        np.load(tmp_path / "labels.npy"), predict(network, points, 0.2)[0]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mine, _: (mine / "export.json").unlink(), "has no export.json"),
        (lambda mine, _: (mine / "export.json").write_text("{}"), "is damaged"),
        (lambda mine, _: (mine / "model.onnx").unlink(), "no such file; keep the files"),
        (
            lambda mine, other: shutil.copy(other / "model.onnx", mine),
            r"model\.onnx: is not the file that .* was written with",
        ),
        (
            lambda mine, other: shutil.copy(other / "export.json", mine),
            r"model\.onnx: is not the file that .* was written with",
        ),
        (
            lambda mine, _: (mine / "model.onnx").write_bytes(
                (mine / "model.onnx").read_bytes()[:-9]
            ),
            "is damaged or of another export",
        ),
    ],
)
def test_files_moved_apart_are_refused_in_one_line(
    exported, tmp_path_factory, metadata_of, change, message
):
    base = tmp_path_factory.mktemp("apart")
    mine = shutil.copytree(exported[0], base / "mine")
    other = shutil.copytree(exported[0], base / "other")
    if "other" in change.__code__.co_varnames:
        model = onnx.load(other / "model.onnx")
        model.doc_string = "another export"
        onnx.save(model, other / "model.onnx")
        manifest = json.loads((other / "export.json").read_text())
        manifest["files"]["model.onnx"] = "0" * 64
        (other / "export.json").write_text(json.dumps(manifest))
    change(mine, other)
    with pytest.raises(ExportError, match=message) as raised:
        ExportedNetwork(mine)
    assert "\n" not in str(raised.value)


def test_a_geometry_builder_of_another_version_is_refused(exported, tmp_path):
    copied = shutil.copytree(exported[0], tmp_path / "copied")
    with (copied / "geometry.py").open("a") as file:
        file.write("# changed\n")

    def said(name):
        done = subprocess.run(
            [sys.executable, "run.py", "--input", name, "--output", "labels.npy"],
            cwd=copied, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        return done.stderr

    assert said("none.bin") == "error: --input none.bin: no such file\n"
    np.save(copied / "one.npy", np.zeros((1, 4), np.float32))
    (line,) = said("one.npy").splitlines()
    assert "geometry.py: is not the file that" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([[0, 0, 0, 0], [900, 0, 0, 0]]), "the curves hold 65535"),
        (np.zeros((3, 5)), "the array has shape (3, 5)"),
        (np.array([[1, 2, 3, np.nan]] * 2), "2 of 2 points have NaN"),
        (np.full((2, 4), np.nan), "0 points"),
        (np.array([[4e5, 5e6, 30, 0]]), "lie more than 1000 m out"),
    ],
)
def test_the_runner_refuses_a_cloud_in_one_line(exported, tmp_path, capsys, content, message):
    np.save(tmp_path / "cloud.npy", content.astype(np.float32))
    manifest = json.loads((exported[0] / "export.json").read_text())
    copied = shutil.copytree(exported[0], tmp_path / "wide")
    manifest["metadata"] |= {"clip_range_m": None, "grid_size_m": 0.01}
    (copied / "export.json").write_text(json.dumps(manifest))
    words = ["--input", tmp_path / "cloud.npy", "--output", tmp_path / "l.npy", "--export", copied]
    assert onnx_runner.main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "l.npy").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "@gone.bin", "--output", "@l.npy"], "no such file"),
        (["--input", "@odd.bin", "--output", "@l.npy"], "is damaged or of another format"),
        (["--input", "@cloud.txt", "--output", "@l.npy"], "end the name in one of .bin"),
        (["--input", "@odd.bin", "--output", "@l.txt"], "give a .npy or .label file"),
        (["--input", "@odd.bin", "--output", "@no/l.npy"], "in an existing folder"),
    ],
)
def test_the_runner_refuses_files_in_one_line(exported, tmp_path, capsys, words, message):
    (tmp_path / "odd.bin").write_bytes(b"12345678")
    (tmp_path / "cloud.txt").write_text("0 0 0 0")
    words = [word.replace("@", f"{tmp_path}/") for word in words]
    assert onnx_runner.main([*words, "--export", str(exported[0])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_features_of_another_width_are_refused(exported, voxel_batch):
    batch = voxel_batch(20)
    with pytest.raises(onnx_geometry.GeometryError, match=r"takes \(20, 4\)"):
        ExportedNetwork(exported[0]).logits(np.zeros((20, 3)), batch["grid_coord"].numpy())


# ---- fp16, int8, torch.export --------------------------------------------------------------------


@pytest.mark.thorough
def test_half_precision_is_near_and_half_as_large(two_stages, tmp_path, metadata_of, voxel_batch):
    export_onnx(two_stages, metadata_of(two_stages), tmp_path, precision="fp16")
    batch = voxel_batch(500)
    found = ExportedNetwork(tmp_path).logits(batch["feat"].numpy(), batch["grid_coord"].numpy())
    wanted = logits_of(two_stages, batch)
    assert found.dtype == np.float32
    assert 1e-5 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    kinds = {
        tensor.name: tensor.data_type
        for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer
        if len(tensor.dims) == 2
    }
    full = [name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT]
    assert len(full) == 1  # the stem's
    assert len(kinds) == 1 + 4 * 6 + 1 + 2 + 1  # stem, blocks, pooling, the way up, head


def test_int8_weights_ranges_and_results(exported, tmp_path, voxel_batch):
    folder, network, _ = exported
    batches = [voxel_batch(count) for count in (400, 600)]
    frames = [(batch["feat"].numpy(), batch["grid_coord"].numpy()) for batch in batches]
    target = tmp_path / "int8.onnx"
    int8_quantizer(frames, plan_of(network))(folder / "model.onnx", target)
    model = onnx.load(target)
    kinds = [node.op_type for node in model.graph.node]
    linear = 1 + 9 * 6 + 4 + 8 + 1  # stem, blocks, pooling, the way up, head
    assert kinds.count("MatMul") == linear + 2 * 9  # and attention's two
    weights = [tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 2]
    assert weights.count(onnx.TensorProto.INT8) == linear - 2
    assert {opset.domain for opset in model.opset_import} == {""}
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    inputs = ExportedNetwork(folder).inputs(*frames[1])
    (found,) = session.run(["logits"], inputs)
    wanted = logits_of(network, batches[1])
    error = np.abs(found - wanted)
    assert error.max() > 1e-3
    assert error.mean() < 0.25 * wanted.std()


def test_ranges_are_those_of_the_frames(exported, tmp_path, voxel_batch):
    """A frame ten times as far away makes ranges, and so steps, as much wider."""
    folder, network, _ = exported
    batch = voxel_batch(40)
    steps = []
    for factor in (1, 10):
        frame = (factor * batch["feat"].numpy(), batch["grid_coord"].numpy())
        int8_quantizer([frame], plan_of(network))(folder / "model.onnx", tmp_path / "int8.onnx")
        model = onnx.load(tmp_path / "int8.onnx")
        scale = next(node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear")
        (tensor,) = (each for each in model.graph.initializer if each.name == scale)
        steps.append(float(onnx.numpy_helper.to_array(tensor)))
    assert steps[1] > 4 * steps[0]


def test_no_frame_to_calibrate_with_is_refused(exported, tmp_path):
    quantize = int8_quantizer([], plan_of(exported[1]))
    with pytest.raises(UserError, match="no frame to calibrate with"):
        quantize(exported[0] / "model.onnx", tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_precision_and_quantizer_belong_together(two_stages, tmp_path, metadata_of):
    network = two_stages
    for arguments in ({"precision": "int8"}, {"quantize": lambda source, target: None}):
        with pytest.raises(ValueError, match="quantize is for precision 'int8'"):
            export_onnx(network, metadata_of(network), tmp_path, **arguments)


def test_a_program_of_torch_export_runs_at_other_sizes(
    two_stages, tmp_path, metadata_of, voxel_batch
):
    network = two_stages
    export_program(network, metadata_of(network), tmp_path)
    program = torch.export.load(tmp_path / "model.pt2").module()
    for count in (2, 31, 64, 500):
        batch = voxel_batch(count)
        with torch.no_grad():
            found = program(batch["feat"], tables_of(network, batch))
        np.testing.assert_allclose(found, logits_of(network, batch), atol=2e-5, rtol=0)
    assert json.loads((tmp_path / "export.json").read_text())["metadata"]["precision"] == "fp32"


def test_another_network_is_refused(tmp_path, metadata_of, two_stages):
    with pytest.raises(UserError, match="only PTv3 can"):
        export_onnx(build_toy("wide", 19, 4), metadata_of(two_stages), tmp_path)


def test_what_is_not_installed_is_named(exported, tmp_path, metadata_of, monkeypatch):
    monkeypatch.setattr("train.export.onnx_export.EXTRA", ("onnx", "no-such-package"))
    with pytest.raises(UserError, match=r"no-such-package: pip install 'topodistill\[onnx\]'"):
        export_onnx(exported[1], metadata_of(exported[1]), tmp_path)


def test_onnx_runtime_takes_every_input(exported):
    """An input that the graph does not use would be one that nobody could check."""
    session = onnxruntime.InferenceSession(
        exported[0] / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [each.name for each in session.get_inputs()] == list(
        onnx_geometry.input_names(plan_of(exported[1]))
    )
