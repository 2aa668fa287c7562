"""Frames that are none are told what is wrong with them; sound ones, real or simulated, nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.dataset_spec import DATASETS, dataset_spec
from train.data.frame import IGNORE_INDEX, LidarFrame
from train.data.readers.bare_points import refuse_other_columns
from train.data.semantickitti import FILES
from train.inspection.frame_checks import (
    FrameChecks,
    check_frame,
    ground_height_m,
    prediction_warnings,
)

SPEC = dataset_spec("semantickitti")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, list[LidarFrame]]:
    """Return simulated frames of every dataset that has a simulator."""
    found = {}
    for name in DATASETS:
        spec = dataset_spec(name)
        if spec.simulator is None:
            continue
        made = spec.simulate(
            tmp_path_factory.mktemp(name),
            num_frames=2,
            num_validation_frames=1,
            azimuth_steps=72,
            seed=5,
        )
        sequences = (*made.training_sequences, *made.validation_sequences)
        source = spec.open(made.root, sequences=sequences)
        found[name] = [source[index] for index in range(len(source))]
    return found


@pytest.fixture
def scene(scenes) -> LidarFrame:
    return scenes["semantickitti"][0]


def looked_at(frames, name="semantickitti", **options) -> FrameChecks:
    checks = FrameChecks(dataset_spec(name), **options)
    for frame in frames:
        checks.add(frame)
    return checks


@pytest.mark.parametrize("name", ["semantickitti", "nuscenes", "waymo"])
def test_simulated_frames_are_told_nothing(scenes, name):
    assert min(len(frame.coord) for frame in scenes[name]) > 1000, "or most checks are not made"
    checks = looked_at(scenes[name], name)
    assert (checks.problems(), checks.warnings()) == ([], [])
    for frame in scenes[name]:
        assert prediction_warnings(frame, dataset_spec(name).class_names) == []


@pytest.mark.real_data
def test_real_frames_are_told_nothing(real_data):
    for name, root in (
        ("semantickitti", "semantickitti/dev"),
        ("semantickitti", "semantickitti/dev_tiny"),
        ("nuscenes", "nuscenes/dev_tiny40"),
        ("waymo", "waymo/constructed/v2"),
    ):
        spec = dataset_spec(name)
        if not (real_data / root).is_dir():
            pytest.skip(f"{root} is not beside this checkout")
        source = spec.open(
            real_data / root, sequences=spec.list_sequences(real_data / root), require_labels=False
        )
        frames = [source[index] for index in range(len(source))]
        checks = looked_at(frames, name)
        assert (checks.problems(), checks.warnings()) == ([], []), root
        for frame in frames:
            assert prediction_warnings(frame, spec.class_names) == [], frame.name


def scaled_strength(frame, factor, shift=0.0):
    return dataclasses.replace(frame, strength=frame.strength * np.float32(factor) + shift)


def moved(frame, **axes):
    """Return a frame whose axes are computed from those it had."""
    x, y, z = frame.coord.T
    columns = [axes.get(name, {"x": x, "y": y, "z": z}[name]) for name in "xyz"]
    return dataclasses.replace(frame, coord=np.stack(columns, axis=1).astype(np.float32))


def half_at_the_origin(frame):
    coord = frame.coord.copy()
    coord[::2] = 0.0
    return dataclasses.replace(frame, coord=coord)


WRONG = {
    "counts for strengths": (lambda f: scaled_strength(f, 255), "strength", "divide them"),
    "strengths about 0": (lambda f: scaled_strength(f, 2, -1), "strength", "subtract the lowest"),
    "no strengths": (lambda f: scaled_strength(f, 0), "equal strength", "has the strength 0"),
    "twice divided": (lambda f: scaled_strength(f, 1 / 255), "equal strength", "by 255 twice"),
    "one place": (
        lambda f: dataclasses.replace(f, coord=np.full_like(f.coord, 3.01)),
        "one place",
        "lie in one voxel of 5 cm, at 3.01 3.01 3.01",
    ),
    "kilometers": (lambda f: dataclasses.replace(f, coord=f.coord / 1000), "too small", "meters"),
    "on the map": (
        lambda f: dataclasses.replace(f, coord=f.coord + np.float32([300, 400, 0])),
        "far away",
        "relative to the sensor",
    ),
    "missing returns": (half_at_the_origin, "at the origin", "50% of the points lie at 0 0 0"),
    "z is to the left": (
        lambda f: moved(f, y=f.coord[:, 2], z=f.coord[:, 1]),
        "not upright",
        "z points up",
    ),
    "z points down": (lambda f: moved(f, z=-f.coord[:, 2]), "upside down", "z points up"),
    "nothing labeled": (
        lambda f: dataclasses.replace(f, segment=np.full_like(f.segment, IGNORE_INDEX)),
        "no label",
        "no point with a class",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_found_and_said_with_a_hint(scene, case):
    change, kind, said = WRONG[case]
    assert check_frame(scene) == []
    found = check_frame(change(scene))
    assert [each.kind for each in found] == [kind]
    assert said in f"{found[0].seen}; {found[0].hint}"


@pytest.mark.parametrize("count", [1, 40, 999])
def test_how_few_points_are_spread_says_nothing(scene, count):
    few = dataclasses.replace(
        scene,
        coord=scene.coord[:count] / 100 + np.float32([500, 0, 0]),
        strength=np.zeros((count, 1), np.float32),
        segment=scene.segment[:count] * 0,
    )
    assert {each.kind for each in check_frame(few)} <= {"one place"}


def file_of(frame, columns, rng=None):
    """Return the values of a frame as a file of other columns, and how many are read."""
    x, y, z = frame.coord.T
    ring = np.arange(len(x)) % 64
    every = [x, y, z, frame.strength[:, 0], ring, ring * 0.1]
    rows = np.stack(every[:columns], axis=1).astype("<f4")
    if rng is not None:
        rng.shuffle(rows)
    values = rows.reshape(-1)
    return values[: len(values) // 4 * 4].reshape(-1, 4)


@pytest.mark.parametrize("columns", [3, 5, 6])
@pytest.mark.parametrize("order", ["of the sensor", "shuffled"])
def test_rows_of_another_length_are_refused(scene, tmp_path, columns, order):
    rng = np.random.default_rng(0) if order == "shuffled" else None
    path = tmp_path / "000000.bin"
    path.write_bytes(file_of(scene, columns, rng).tobytes())
    with pytest.raises(UserError, match=rf"looks like {columns} columns of float32.*write four"):
        FILES.read_points(path)


def test_coordinates_that_are_all_positive_are_refused_too(scene, tmp_path):
    corner = dataclasses.replace(scene, coord=scene.coord - scene.coord.min(axis=0))
    path = tmp_path / "000000.bin"
    path.write_bytes(file_of(corner, 3).tobytes())
    with pytest.raises(UserError, match="looks like 3 columns"):
        FILES.read_points(path)


@pytest.mark.parametrize("order", ["of the sensor", "shuffled"])
@pytest.mark.parametrize(("factor", "shift"), [(1, 0), (255, 0), (65535, 0), (4, -2), (100, -50)])
def test_four_columns_are_not_taken_for_others(scene, factor, shift, order):
    rng = np.random.default_rng(0) if order == "shuffled" else None
    points = file_of(scaled_strength(scene, factor, shift), 4, rng)
    refuse_other_columns(Path("x.bin"), points)


@pytest.mark.real_data
@pytest.mark.parametrize("columns", [3, 5])
def test_a_real_frame_with_other_columns_is_refused(real_data, tmp_path, columns):
    path = real_data / "semantickitti/dev/sequences/00/velodyne/000000.bin"
    if not path.is_file():
        pytest.skip("the real frame is not beside this checkout")
    coord, strength, _ = FILES.read_points(path)
    frame = LidarFrame(coord, strength, None, "x", path)
    written = tmp_path / "x.bin"
    written.write_bytes(file_of(frame, columns).tobytes())
    with pytest.raises(UserError, match=f"looks like {columns} columns"):
        FILES.read_points(written)
    refuse_other_columns(path, file_of(scaled_strength(frame, 255), 4))


@pytest.mark.parametrize("name", ["semantickitti", "nuscenes", "waymo"])
def test_the_ground_is_where_the_dataset_has_it(scenes, name):
    expected = dataset_spec(name).ground_z_m
    for frame in scenes[name]:
        assert ground_height_m(frame.coord) == pytest.approx(expected, abs=0.5)
        shifted = frame.coord + np.float32([0, 0, 7.3])
        assert ground_height_m(shifted) == pytest.approx(expected + 7.3, abs=0.5)


def test_where_no_layer_stands_out_there_is_no_ground():
    rng = np.random.default_rng(0)
    assert ground_height_m(rng.uniform(-15, 15, (5000, 3))) is None
    assert ground_height_m(np.zeros((5000, 3))) is None
    assert ground_height_m(np.empty((0, 3))) is None


def test_frames_of_another_mount_are_said(scenes):
    lifted = [moved(f, z=f.coord[:, 2] + 1.73) for f in scenes["semantickitti"]]
    checks = looked_at(lifted)
    assert checks.problems() == []
    (line,) = checks.warnings()
    assert line.startswith("the ground lies at z = 0.0 m, in semantickitti at -1.7 m: ")


def test_many_frames_with_one_trouble_are_one_line(scenes):
    frames = scenes["semantickitti"]
    checks = looked_at([scaled_strength(frame, 255) for frame in frames])
    (line,) = checks.warnings()
    assert line.startswith(f"{frames[0].name} and {len(frames) - 1} more of {len(frames)} frames: ")


def test_a_frame_without_a_label_is_a_warning_and_none_with_one_a_problem(scenes):
    frames = scenes["semantickitti"]
    bare = [dataclasses.replace(f, segment=np.full_like(f.segment, IGNORE_INDEX)) for f in frames]
    some = looked_at([bare[0], *frames[1:]])
    assert some.problems() == []
    assert "no point with a class" in some.warnings()[0]
    none = looked_at(bare)
    assert "none of the" in none.problems()[0]
    assert none.warnings() == []
    assert looked_at(bare, needs_labels=False).problems() == []
    unlabeled = looked_at([dataclasses.replace(f, segment=None) for f in frames])
    assert (unlabeled.problems(), unlabeled.warnings()) == ([], [])


def test_what_cannot_be_trained_on_can_be_scored(scene):
    one_place = dataclasses.replace(scene, coord=np.full_like(scene.coord, 3.01))
    assert len(looked_at([scene, one_place]).problems()) == 1
    scored = looked_at([scene, one_place], trains=False)
    assert scored.problems() == []
    assert len(scored.warnings()) == 1


def test_a_network_of_another_dataset_is_said(scenes):
    kitti = dataclasses.replace(scenes["semantickitti"][0], path=Path("000000.bin"))
    names = {name: dataset_spec(name).class_names for name in DATASETS}
    (axes,) = prediction_warnings(kitti, names["nuscenes"])
    assert "trained on nuscenes, whose vehicle heads along y" in axes
    assert "a file of semantickitti, whose vehicle heads along x" in axes
    (ground,) = prediction_warnings(kitti, names["waymo"])
    assert "in waymo, which the network was trained on, it lies at 0.0 m; add 1.7 m" in ground
    assert prediction_warnings(kitti, None) == []
    assert prediction_warnings(kitti, ("a", "b")) == []
    bare = dataclasses.replace(kitti, strength=kitti.strength * 0)
    assert prediction_warnings(bare, names["semantickitti"]) == [], "predict says it itself"
