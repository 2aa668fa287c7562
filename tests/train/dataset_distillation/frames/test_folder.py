"""Frames on disk: the KITTI layout's own source reads what was made, and a generator again."""

import json

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.frames.test_make import OPTIONS
from tests.train.dataset_distillation.frames.toy_streets import CLASSES, streets
from train.core.errors import UserError
from train.data.registry import dataset_spec
from train.dataset_distillation.folder import sample_again, write_made
from train.dataset_distillation.frames.folder import DISTILLED, write_frame_folder
from train.dataset_distillation.generator import load_generator, save_generator
from train.dataset_distillation.make import make
from train.dataset_distillation.prepare import prepare

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def real():
    return prepare(streets(4), streets(2, first=70), OPTIONS)


@pytest.fixture(scope="module")
def written(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    made = make(real, OPTIONS, CPU, points=90)
    write_made(folder, made, real, OPTIONS, "toys")
    return folder, made


def opened(folder, split):
    spec = dataset_spec("kitti-layout", {"class_map": folder / "class_map.yaml"})
    return spec, spec.open(folder, split)


def test_the_layouts_own_source_reads_the_frames(written, real):
    folder, made = written
    spec, source = opened(folder, "training")
    assert spec.class_names == CLASSES
    assert list(source.names) == ["distilled/000000", "distilled/000001"]
    for row in range(2):
        frame = source[row]
        assert np.array_equal(frame.coord, made.clouds.coord_m[row])
        assert np.array_equal(frame.segment, made.clouds.parts[row])
        np.testing.assert_allclose(frame.strength[:, 0], made.clouds.strength[row])
    _, held_out = opened(folder, "validation")
    assert len(held_out) == 2
    assert np.array_equal(held_out[1].segment, real.test.parts[1])  # -1 comes back as -1
    assert (held_out[1].segment == -1).any()


def test_the_report_says_what_was_stored(written):
    folder, made = written
    report = json.loads((folder / "distill.json").read_text())
    assert report["numbers_stored"] == made.generator.num_parameters() + made.strengths.size
    assert (report["frames"], report["points"], report["range_m"]) == (2, 90, 10.0)
    assert report["points_by_class"]["nowhere"] == 0
    assert (folder / "frames.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("points", [2, 90, 700])
def test_a_generators_file_gives_frames_of_any_resolution(written, tmp_path, points):
    folder, made = written
    sample_again(folder / "generator.safetensors", tmp_path, points, OPTIONS.seed)
    _, source = opened(tmp_path, "training")
    assert source[0].coord.shape == (points, 3)
    assert np.abs(source[0].coord).max() <= 10.0
    if points == 90:
        assert np.array_equal(source[1].coord, made.clouds.coord_m[1])
        np.testing.assert_allclose(source[1].strength[:, 0], made.clouds.strength[1])


def test_fewer_frames_over_an_earlier_set_leave_none_of_it(written, tmp_path):
    folder, made = written
    generator = folder / "generator.safetensors"
    sample_again(generator, tmp_path, 20, 0)
    one = made.clouds.take([0])
    write_frame_folder(tmp_path, {DISTILLED: one})
    assert len(opened(tmp_path, "training")[1]) == 1


def test_frames_of_others_are_not_written_over(written, tmp_path):
    _, made = written
    strange = tmp_path / "sequences/distilled/velodyne"
    strange.mkdir(parents=True)
    (strange / "000000.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match="did not write"):
        write_frame_folder(tmp_path, {DISTILLED: made.clouds})
    assert (strange / "000000.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "of version 2 with heights times 4.0, this version reads 1 with 4"),
        ({"height": 2.0}, "of version 1 with heights times 2.0, this version reads 1 with 4"),
        ({"strengths": [[0.0, 1.0]]}, "strengths of shape"),
        ({"meters": None}, "does not say what its clouds need"),
    ],
)
def test_a_generator_of_another_version_is_refused(written, tmp_path, change, words):
    folder, _ = written
    generator, made_from = load_generator(folder / "generator.safetensors")
    facts = made_from["frames"] | change
    file = tmp_path / "g.safetensors"
    save_generator(file, generator, made_from | {"frames": facts})
    with pytest.raises(UserError, match=words):
        sample_again(file, tmp_path, 20, 0)
    assert not (tmp_path / "sequences").exists()
