"""The cost of the networks: counts against the paper and against counting by hand, the command."""

import dataclasses
import errno
import json
import math
import os
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from train.core.errors import UserError
from train.networks.litept import build_litept
from train.networks.ptv3 import SIZES, build_hierarchy, build_segmentor
from train.profiling import command, macs, timing
from train.profiling.command import in_short, main, parse, shown_command
from train.profiling.measure import describe_network, measure, nearest

TINY = ("tiny-teacher", "tiny-student")
NUM_CLASSES = 4


@pytest.fixture(scope="module")
def bin_file(tmp_path_factory):
    """Nine hundred points, a floor with a wall on it, as a SemanticKITTI file."""
    rng = np.random.default_rng(0)
    floor = np.c_[rng.uniform(-4, 4, (600, 2)), rng.normal(-1.7, 0.02, 600)]
    wall = np.c_[rng.uniform(-4, 4, 300), np.full(300, 4.0), rng.uniform(-1.7, 0.5, 300)]
    points = np.c_[np.concatenate([floor, wall]), rng.uniform(0, 1, 900)].astype("<f4")
    path = tmp_path_factory.mktemp("frame") / "000000.bin"
    path.write_bytes(points.tobytes())
    return path


def _command(bin_file, folder, *more):
    options = ["--output", str(folder), "--input", str(bin_file), "--grid-size-m", "0.2"]
    return main([*options, "--repeats", "2", "--device", "cpu", *more])


@pytest.fixture(scope="module")
def written(bin_file, tmp_path_factory):
    """The folder that the command wrote for the tiny pair."""
    folder = tmp_path_factory.mktemp("results") / "new"
    assert _command(bin_file, folder, "--models", ",".join(TINY), "--voxels", "500") == 0
    return folder


@pytest.fixture(scope="module")
def record(written):
    return json.loads((written / "efficiency.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("size", "parameters"), [("teacher", 46_159_312), ("student", 2_777_344)])
def test_the_papers_networks_have_its_parameters(size, parameters):
    assert describe_network(size)["parameters"] == parameters


@pytest.mark.parametrize("name", macs.CONVENTIONS)
@pytest.mark.parametrize("size", macs.PAPER_TOTALS)
def test_table_8s_totals_follow_from_a_profile_to_the_printed_digits(name, size):
    totals = macs.convention_totals(macs.CONVENTIONS[name], size)
    for side in ("encoder", "decoder"):
        assert f"{totals[side]:.2f}" == f"{macs.PAPER_TOTALS[size][side]:.2f}"


def test_the_ratios_of_teacher_to_student_are_the_papers():
    for number, convention in enumerate(macs.CONVENTIONS.values()):
        teacher, student = (
            macs.convention_totals(convention, size) for size in ("teacher", "student")
        )
        assert f"{teacher['encoder'] / student['encoder']:.1f}" == "36.7"
        assert f"{teacher['decoder'] / student['decoder']:.2f}" == "3.48"
        if number == 0:  # the attention's follows from the first profile alone
            assert f"{teacher['attention'] / student['attention']:.1f}" == "37.6"


def _pairs_by_hand(grid, cloud, radius):
    cells = {(int(b), *map(int, cell)) for b, cell in zip(cloud, grid, strict=True)}
    steps = range(-radius, radius + 1)
    return sum(
        (b, x + dx, y + dy, z + dz) in cells
        for b, x, y, z in cells
        for dx in steps
        for dy in steps
        for dz in steps
    )


@pytest.fixture
def counted(batch):
    """A tiny teacher, its hierarchy of two clouds, and its full count."""
    config = SIZES["tiny-teacher"]
    model = build_segmentor("tiny-teacher", NUM_CLASSES, attention="plain").eval()
    hierarchy = build_hierarchy(batch)
    geometry = macs.geometry_of(hierarchy, config.patch_size)
    counts = macs.count_operations(config, geometry, in_channels=4, num_classes=NUM_CLASSES)
    return model, hierarchy, geometry, counts


def test_the_geometry_is_what_one_finds_by_hand(counted):
    _, hierarchy, geometry, _ = counted
    for stage, level in enumerate(hierarchy.levels):
        assert geometry.voxels[stage] == len(level.grid_coord)
        assert geometry.pairs[stage] == _pairs_by_hand(level.grid_coord, level.batch, 1)
        scores = sum(
            n * n if n < 128 else math.ceil(n / 128) * 128 * 128
            for n in torch.bincount(level.batch).tolist()
        )
        assert geometry.scores[stage] == scores
    finest = hierarchy.levels[0]
    assert geometry.stem_pairs == _pairs_by_hand(finest.grid_coord, finest.batch, 2)
    assert any(n > 128 and n % 128 for n in finest.counts), "no borrowed voxels in this cloud"


def test_linear_layers_are_counted_as_hooks_see_them(counted, batch):
    model, hierarchy, _, counts = counted
    seen = 0

    def count(module, inputs, output):
        nonlocal seen
        seen += len(inputs[0]) * module.in_features * module.out_features

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(batch, hierarchy)
    others = ("stem", "position_convolution", "attention_scores")
    linear = tuple(part for part in macs.PARTS if part not in others)
    assert seen == macs.total(counts, parts=linear)


def test_the_full_count_is_what_torch_counts(counted, batch, monkeypatch):
    """Torch sees the products of the convolution as a GPU makes them: all neighbors are there."""
    model, hierarchy, geometry, _ = counted
    every = macs.paper_geometry(geometry.voxels)
    counts = macs.count_operations(
        SIZES["tiny-teacher"],
        dataclasses.replace(every, scores=geometry.scores),
        in_channels=4,
        num_classes=NUM_CLASSES,
    )
    monkeypatch.setattr("train.networks.ptv3.convolution._runs_compiled", lambda tensor: False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch, hierarchy)
    assert counter.get_total_flops() == 2 * macs.total(counts)


def test_a_total_of_stages_and_parts_leaves_the_others_out():
    counts = {"stem": {"stem": 1}, "enc0": {"MLP": 10, "pooling": 100}, "head": {"head": 7}}
    assert macs.total(counts) == 118
    assert macs.total(counts, stages=macs.ENCODER) == 111
    assert macs.total(counts, parts=("pooling", "head")) == 107


def test_counting_refuses_the_geometry_of_another_network():
    with pytest.raises(ValueError, match="geometry has 2 stages, config has 5"):
        macs.count_operations(
            SIZES["student"], macs.paper_geometry((9, 3)), in_channels=4, num_classes=16
        )


@pytest.mark.parametrize("dec_depths", [(0, 0, 0, 0), (1, 2, 1, 2)])
def test_a_litept_is_counted_as_torch_counts_it(batch, monkeypatch, dec_depths):
    options = {"attention": "plain", "dec_depths": dec_depths}
    model = build_litept("tiny", NUM_CLASSES, **options).eval()
    hierarchy = model.prepare(batch)
    real = macs.geometry_of(hierarchy, model.config.patch_size)
    every = dataclasses.replace(macs.paper_geometry(real.voxels), scores=real.scores)
    counts = macs.count_operations(model.config, every, in_channels=4, num_classes=NUM_CLASSES)
    assert set(counts["enc0"]) == {"position_convolution", "position_linear"}
    assert "attention_scores" in counts["enc3"]
    assert set(counts["dec3"]) >= {"skip_projection", "up_projection"}
    assert ("MLP" in counts["dec3"]) == bool(dec_depths[3])
    monkeypatch.setattr("train.networks.ptv3.convolution._runs_compiled", lambda tensor: False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch, hierarchy)
    assert counter.get_total_flops() == 2 * macs.total(counts)


@pytest.mark.thorough
def test_the_command_measures_a_litept_beside_a_ptv3(bin_file, tmp_path):
    names = ("litept:tiny", "tiny-student")
    assert _command(bin_file, tmp_path, "--models", ",".join(names), "--voxels", "300") == 0
    record = json.loads((tmp_path / "efficiency.json").read_text(encoding="utf-8"))
    models = record["models"]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build_litept("tiny", 16).parameters())
    assert models["litept:tiny"]["parameters"] == parameters
    assert models["litept:tiny"]["enc_heads"] == [0, 0, 0, 4, 5]
    assert models["litept:tiny"]["dec_heads"] == [0, 0, 0, 0]
    assert in_short(record)[0].startswith(f"litept:tiny: {parameters:,} parameters; 300 voxels")


def test_the_whole_hierarchy_leaves_no_table_to_the_network(batch):
    for size in (*SIZES, "litept:tiny", "litept:S*"):
        model = timing.make_network(size, torch.device("cpu"))
        hierarchy = model.prepare_whole(batch)
        before = (set(hierarchy._tables), set(hierarchy._patches))
        with torch.no_grad():
            model(batch, hierarchy)
        assert (set(hierarchy._tables), set(hierarchy._patches)) == before


def test_the_nearest_voxels_are_those_around_the_sensor():
    class Voxels:
        coord = np.array([[9, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, -2]], np.float32)
        strength = np.array([[0.9], [0.1], [0.3], [0.2]], np.float32)
        grid_coord = np.array([[18, 4, 4], [2, 4, 4], [0, 10, 4], [0, 4, 0]])

    arrays = nearest(Voxels, 2)
    np.testing.assert_array_equal(arrays["coord"], [[1, 0, 0], [0, 0, -2]])
    np.testing.assert_array_equal(arrays["grid_coord"], [[2, 0, 4], [0, 0, 0]])
    np.testing.assert_array_equal(arrays["feat"][:, 3], np.float32([0.1, 0.2]))
    np.testing.assert_array_equal(arrays["offset"], [2])


@pytest.mark.slow
def test_the_command_measures_both_networks(record):
    assert set(record["models"]) == set(TINY)
    for name, model in record["models"].items():
        assert model["parameters"] == sum(p.numel() for p in build_segmentor(name, 16).parameters())
        assert [size["geometry"]["voxels"][0] for size in model["sizes"]] == [500]
        for size in model["sizes"]:
            for clock in size["seconds"].values():
                assert 0 < clock["p20_s"] <= clock["p50_s"] <= clock["p80_s"]
            memory = size["memory"]
            weights = 4 * model["parameters"]
            assert memory["peak_bytes"] - memory["before_bytes"] > weights
        names = {row["name"] for row in model["operators"]}
        layers = {"aten::addmm", "aten::gelu", "aten::native_layer_norm"}
        assert {*layers, "submanifold_convolution"} <= names


def test_the_operators_allocations_are_the_layers_outputs(record):
    """The MLPs' hidden layers, the stem, pooling and unpooling are all that GELU sees."""
    for name, model in record["models"].items():
        config, voxels = SIZES[name], model["sizes"][-1]["geometry"]["voxels"]
        enc, dec = config.enc_channels, config.dec_channels
        values = voxels[0] * enc[0]
        for stage, (width, depth) in enumerate(zip(enc, config.enc_depths, strict=True)):
            values += voxels[stage] * width * (4 * depth + (stage > 0))
        for stage, (width, depth) in enumerate(zip(dec, config.dec_depths, strict=True)):
            values += (voxels[stage] * (4 * depth + 1) + voxels[stage + 1]) * width
        (gelu,) = (row for row in model["operators"] if row["name"] == "aten::gelu")
        assert gelu["bytes"] == 4 * values


def test_the_record_says_where_it_is_from_and_names_no_folder(record, written, bin_file):
    assert record["device"].startswith("cpu")
    assert record["threads"] == torch.get_num_threads()
    assert record["versions"]["torch"] == torch.__version__
    assert record["input"] == {
        "name": "000000.bin",
        "points": 900,
        "grid_size_m": 0.2,
        "voxels": record["input"]["voxels"],
    }
    assert 500 < record["input"]["voxels"] < 900
    (path,) = written.iterdir()
    text = path.read_text(encoding="utf-8")
    assert str(bin_file.parent) not in text
    assert str(written) not in text


def test_one_network_at_several_sizes_where_memory_cannot_be_read(bin_file, tmp_path, monkeypatch):
    nothing = {"before_bytes": None, "peak_bytes": None}
    monkeypatch.setattr(timing, "peak_memory", lambda *_, **__: nothing)
    assert (
        _command(bin_file, tmp_path, "--models", "tiny-student", "--voxels", "300", "70", "300")
        == 0
    )
    record = json.loads((tmp_path / "efficiency.json").read_text(encoding="utf-8"))
    sizes = record["models"]["tiny-student"]["sizes"]
    assert [size["geometry"]["voxels"][0] for size in sizes] == [70, 300]
    (line,) = in_short(record)
    assert line.startswith("tiny-student: ")
    assert "300 voxels" in line
    assert line.endswith("at a peak of unknown memory")


def test_a_batch_of_several_clouds_is_timed(record):
    for model in record["models"].values():
        batch = model["batch"]
        assert (batch["clouds"], batch["voxels_each"], batch["repeats"]) == (12, 500, 2)
        assert 0 < batch["seconds"]["p20_s"] <= batch["seconds"]["p80_s"]


def test_the_official_modules_are_stood_in_for_by_spconv_and_plain_attention(record):
    """In the same run, where spconv is installed; where it is not, the record says so."""
    for model in record["models"].values():
        other = model["spconv_plain"]
        if find_spec("spconv") is None:
            assert "needs the package spconv" in other["missing"]
        else:
            assert other["memory"]["peak_bytes"] > 4 * model["parameters"]
            assert other["seconds"]["p50_s"] > 0


def test_a_repeated_batch_holds_the_cloud_again(batch):
    one = {
        "offset": torch.tensor([3]),
        **{k: batch[k][:3] for k in ("feat", "coord", "grid_coord")},
    }
    several = timing.repeat(one, 4)
    assert several["offset"].tolist() == [3, 6, 9, 12]
    for start in range(0, 12, 3):
        assert torch.equal(several["feat"][start : start + 3], one["feat"])


def test_without_sizes_shares_of_the_frame_are_measured(bin_file, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "train.profiling.measure.measure_model",
        lambda name, request, batches: [len(arrays["coord"]) for arrays in batches],
    )
    request = parse(["--output", "x", "--input", str(bin_file), "--grid-size-m", "0.2"])
    record = measure(request, "")
    whole = record["input"]["voxels"]
    assert record["models"]["student"] == [whole // 8, whole // 4, whole // 2, whole]


def test_without_a_file_a_whole_simulated_frame_is_measured(monkeypatch):
    monkeypatch.setattr("train.profiling.measure.measure_model", lambda *_: None)
    source = measure(parse(["--output", "x"]), "")["input"]
    assert source["name"] == "simulated"
    assert 90_000 < source["points"] < 128_000  # 2,000 columns of 64 rays, some without a return
    assert 50_000 < source["voxels"] < source["points"]


def test_folders_are_left_out_of_the_command():
    shown = shown_command(["--output=/a/b", "--input", "/c/d.bin", "--repeats", "3"])
    assert shown == "python -m train.efficiency --output DIR --input d.bin --repeats 3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output is missing"),
        (["--output", "x", "--nonsense"], "--nonsense"),
        (["--output", "x", "--models", "teacher,pupil"], "different names of teacher, student"),
        (["--output", "x", "--models", "student,student"], "different names"),
        (["--output", "x", "--voxels", "100", "-5"], "--voxels: whole numbers of at least 1"),
        (["--output", "x", "--voxels", "0"], "--voxels: whole numbers of at least 1"),
        (["--output", "x", "--voxels", "ten"], "--voxels: .*'ten'"),
        (["--output", "x", "--voxels"], "--voxels: give at least one N"),
        (["--output", "x", "--repeats", "0"], "--repeats and --voxels: whole numbers"),
        (["--output", "x", "--repeats", "many"], "--repeats: .*'many'"),
        (["--output", "x", "--device", "tpu"], "'tpu'"),
        (["--output", "x", "--device", "cuda:99"], "cuda:99 is not there"),
        (["--output", "x", "--precision", "int8"], "'int8' for argument '--precision'"),
        (["--output", "x", "--grid-size-m", "fine"], "--grid-size-m: .*'fine'"),
    ],
)
def test_a_wrong_option_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "{folder}/missing.bin"], "missing.bin"),
        (["--input", "{input}", "--voxels", "901"], "901 is more than the"),
        (["--input", "{input}", "--grid-size-m", "0"], "grid_size_m must be a positive number"),
        (["--input", "{input}", "--output", "{input}"], "is a file; give a folder"),
        (["--models", "pupil"], "pupil"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(options, message, bin_file, tmp_path, capsys):
    filled = [word.format(folder=tmp_path, input=bin_file) for word in options]
    assert main(["--output", str(tmp_path / "out"), "--device", "cpu", *filled]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    assert message in said[0]
    assert not list(tmp_path.rglob("efficiency.*"))


def fill_the_disk(monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    record, bin_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(command, "measure", lambda request, command: record)
    fill_the_disk(monkeypatch)
    assert _command(bin_file, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "efficiency.json: cannot be written (No space left on device)" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused_before_measuring(
    bin_file, capsys, monkeypatch
):
    if not sys.platform.startswith("linux"):
        pytest.skip("needs a folder that root cannot write to either: Linux's /sys")
    monkeypatch.setattr(command, "measure", None)  # must not be reached
    assert _command(bin_file, "/sys") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--output /sys: cannot be written to (" in line


def test_percentiles_are_named():
    assert timing.percentiles([float(value) for value in range(101)]) == {
        "p20_s": 20.0,
        "p50_s": 50.0,
        "p80_s": 80.0,
    }
