"""The command: one set from end to end, sampled again, resumed, and its mistakes in one line."""

import json

import numpy as np
import pytest

from tests.train.dataset_distillation.conftest import toy_clouds
from topodistill.commands import main as topodistill
from train.dataset_distillation.command import main
from train.dataset_distillation.objects.read import read_objects, write_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    write_folder(folder, {"train": toy_clouds(6, 0), "test": toy_clouds(3, 1)}, {})
    return folder


SMALL = [
    *("--points", "40", "--distill-points", "24", "--iterations", "2", "--outer", "2"),
    *("--real-batch", "4", "--width", "16", "--start-steps", "40", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    assert topodistill(["distill-data", "--data", str(data), "--output", str(folder), *SMALL]) == 0
    return folder


def test_the_result_is_a_set_like_any_other(made, data, tmp_path):
    clouds = read_objects(made, "train", 40)
    assert clouds.points.shape == (4, 40, 3)
    assert clouds.labels.tolist() == [0, 1, 2, 3]
    report = json.loads((made / "distill.json").read_text())
    assert len(report["losses"]) == 2
    assert report["coordinates"] == 4 * 40 * 3
    assert report["numbers_stored"] > 0
    assert (made / "clouds.png").read_bytes().startswith(b"\x89PNG")
    # It can be distilled again, from itself, like any other.
    again = ["--method", "random", "--data", str(made), "--output", str(tmp_path)]
    assert main([*again, "--device", "cpu"]) == 0


@pytest.mark.parametrize("points", [2, 40, 333])
def test_a_generator_is_sampled_at_any_resolution(made, tmp_path, points):
    generator = made / "generator.safetensors"
    arguments = ["--generator", str(generator), "--points", str(points), "--output", str(tmp_path)]
    assert main(arguments) == 0
    clouds = read_objects(tmp_path, "train", points)
    assert clouds.points.shape == (4, points, 3)
    if points == 40:
        assert np.array_equal(clouds.points, read_objects(made, "train", 40).points)


@pytest.mark.parametrize(
    "method", ["gradient-matching", "distribution-matching", "random", "herding", "k-center"]
)
def test_every_other_method_writes_a_set(data, tmp_path, method):
    arguments = ["--method", method, "--data", str(data), "--cpc", "2", "--output", str(tmp_path)]
    assert main([*arguments, *SMALL]) == 0
    clouds = read_objects(tmp_path, "train", 24)
    assert clouds.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert not (tmp_path / "generator.safetensors").exists()


def test_rotated_clouds_are_learned_in_one_orientation(data, tmp_path):
    arguments = ["--data", str(data), "--rotated", "--rotator", "straight-through", "--proper"]
    assert main([*arguments, "--output", str(tmp_path / "a"), *SMALL]) == 0
    generator = str(tmp_path / "a" / "generator.safetensors")
    again = ["--generator", generator, "--points", "40", "--output", str(tmp_path / "b")]
    assert main(again) == 0
    first, second = (read_objects(tmp_path / name, "train", 40).points for name in "ab")
    assert np.array_equal(first, second)


def test_a_stopped_distillation_is_not_written_over(data, made, refused):
    arguments = ["--data", str(data), "--output", str(made), *SMALL]
    assert "--resume" in refused(*arguments)
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cpc", "7"], "class rod has 6 clouds, fewer than the 7 asked for"),
        (["--cpc", "0"], "--cpc 0"),
        (["--points", "0"], "--points 0"),
        (["--distill-points", "99"], "the clouds have 40 points"),
        (["--seed", "-1"], "--seed -1"),
        (["--data", "nowhere"], "no such folder"),
        (["--generator", "nowhere.safetensors"], "no such file"),
        (["--rotator", "frozen", "--rotator-periods", "0"], "--rotator-periods 0"),
        (["--evaluate", "pointnet", "--epochs", "0"], "epochs 0"),
        (["--start-steps", "0"], "--start-steps 0"),
    ],
)
def test_a_mistake_is_one_line(data, tmp_path, refused, arguments, words):
    given = ["--data", data, "--output", tmp_path / "out", *SMALL, *arguments]
    assert words in refused(*given)


def test_a_generator_that_gives_no_clouds_is_one_line(made, tmp_path, refused):
    from safetensors.numpy import save_file

    file = tmp_path / "g.safetensors"
    save_file({"a": np.zeros(1)}, file, metadata={"format": "topodistill-generator-0"})
    assert "topodistill-generator-0" in refused("--generator", file, "--output", tmp_path)
    known = ("--generator", made / "generator.safetensors", "--output", tmp_path)
    assert "--points 0" in refused(*known, "--points", "0")


def test_the_result_is_scored(data, tmp_path, capsys):
    arguments = ["--method", "random", "--data", str(data), "--output", str(tmp_path), *SMALL]
    assert main([*arguments, "--evaluate", "pointnet", "--epochs", "2"]) == 0
    shown = capsys.readouterr().err
    assert "% right after the last epoch" in shown
    report = json.loads((tmp_path / "distill.json").read_text())
    assert report["command"].startswith("topodistill distill-data --method random")
    assert 0 <= report["scores"]["pointnet"]["last"] <= report["scores"]["pointnet"]["best"] <= 1
    assert report["wall_seconds"] > report["seconds"] == 0


def test_clouds_that_nothing_can_be_learned_from_are_one_line(tmp_path, refused):
    """A set in our own layout that something else has damaged."""
    folder = tmp_path / "bad"
    folder.mkdir()
    write_folder(folder, {"train": toy_clouds(2, 0)}, {})
    arrays = dict(np.load(folder / "train.npz"))
    arrays["points"][3, 5, 1] = np.nan
    np.savez(folder / "train.npz", **arrays)
    assert "not finite" in refused("--data", folder, "--output", tmp_path / "out", *SMALL)
