"""Frames as clouds: what is drawn, in which unit; own files, simulated ones; what is refused."""

import dataclasses

import numpy as np
import pytest

from tests.train.dataset_distillation.frames.toy_scenes import (
    CLASSES,
    TAKE,
    scene,
    scenes,
    write_scenes,
)
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS, dataset_spec
from train.dataset_distillation.frames.read import (
    FrameData,
    frame_clouds,
    read_frame_data,
    read_frames,
    within,
)


def test_points_are_the_frames_own_in_a_known_unit():
    frame = scene(3)
    found = frame_clouds([frame], CLASSES, TAKE)
    assert found.classes == ("scene",)
    assert found.part_names == CLASSES
    assert (found.meters, found.names) == (10.0, ("toy/000003",))
    assert np.abs(found.points).max() <= 1.0
    rows = {
        (*np.round(xyz, 3), s): part
        for xyz, s, part in zip(
            frame.coord.tolist(), frame.strength[:, 0].tolist(), frame.segment, strict=True
        )
    }
    taken = set()
    for xyz, s, part in zip(
        found.coord_m[0].tolist(), found.strength[0].tolist(), found.parts[0], strict=True
    ):
        key = (*np.round(xyz, 3), s)
        assert rows[key] == part
        taken.add(key)
    assert len(taken) == 120  # without repeats


def test_frames_are_cropped_along_the_ground_and_in_height():
    coord = np.array([[3, 4, 0], [3, 4.1, 0], [0, 0, 5], [0, 0, -5.1], [-5, 0, 0]], np.float32)
    assert within(coord, 5.0).tolist() == [0, 2, 4]


def test_a_draw_depends_on_the_seed_and_the_place_alone():
    first = scenes(2)
    again = scenes(2)
    other = scenes(2, take=dataclasses.replace(TAKE, seed=1))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    alone = frame_clouds([scene(0)], CLASSES, TAKE)
    assert np.array_equal(alone.points[0], first.points[0])


def test_labels_that_do_not_count_are_no_part():
    found = frame_clouds([scene(0, unlabeled=300)], CLASSES, TAKE)
    share = (found.parts == -1).mean()
    assert 0.6 < share < 0.9
    assert found.part_counts().sum() == (found.parts >= 0).sum()


def test_a_frame_without_a_point_that_counts_is_left_out():
    found = frame_clouds([scene(0, unlabeled=400), scene(1)], CLASSES, TAKE)
    assert found.names == ("toy/000001",)
    with pytest.raises(UserError, match="none of 1 frames has a point with a class that counts"):
        frame_clouds([scene(0, unlabeled=400)], CLASSES, TAKE)


def test_classes_without_points_are_known():
    assert scenes(2).absent_parts() == ("nowhere",)
    assert scenes(2).part_counts()[3] == 0


@pytest.mark.parametrize(
    ("frame", "take", "words"),
    [
        (scene(0, points=100), TAKE, "has 90 points within 10 m, fewer than the 120 asked for"),
        (scene(0), dataclasses.replace(TAKE, range_m=1.0), "within 1 m, fewer than the 120"),
        (dataclasses.replace(scene(0), segment=None), TAKE, "toy/000000 has no labels"),
    ],
)
def test_a_frame_that_cannot_be_taken_is_named(frame, take, words):
    with pytest.raises(UserError, match=words):
        frame_clouds([frame], CLASSES, take)


def test_frames_are_read_evenly_over_the_source():
    class Source(list):
        names = ()

    source = Source(scene(seed) for seed in range(9))
    found = read_frames(source, CLASSES, dataclasses.replace(TAKE, frames=3))
    assert found.names == ("toy/000000", "toy/000004", "toy/000008")
    assert len(read_frames(source, CLASSES, TAKE)) == 9


def test_a_frame_that_is_taken_keeps_what_it_has():
    found = scenes(2)
    assert found.take([1]).names == ("toy/000001",)
    assert np.array_equal(found.take([1]).strength, found.strength[1:])


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("own") / "scenes")
    return FrameData(
        dataset="kitti-layout",
        root=folder / "data",
        layout={"class_map": folder / "classes.yaml"},
        points=TAKE.points,
        range_m=TAKE.range_m,
    )


def test_frames_of_ones_own_are_read_by_their_class_map(own):
    train, test = read_frame_data(own)
    assert train.names == ("hill/000000", "hill/000001", "hill/000002")
    assert test.names == ("lake/000000", "lake/000001")
    assert train.part_names == CLASSES
    assert train.part_counts()[0] > 100
    assert read_frame_data(dataclasses.replace(own, test_frames=0))[1] is None
    assert len(read_frame_data(dataclasses.replace(own, test_frames=1))[1]) == 1


@pytest.mark.parametrize(
    "dataset", sorted(name for name in DATASETS if dataset_spec(name).submission)
)  # own frames: above
def test_every_dataset_is_simulated_and_read_by_its_own_source(dataset, tmp_path):
    wanted = FrameData(
        dataset=dataset,
        root=tmp_path / "data",
        points=64,
        range_m=30.0,
        frames=1,
        test_frames=1,
        simulate=True,
        simulated_frames=1,
        simulated_test_frames=1,
        azimuth_steps=60,
    )
    train, test = read_frame_data(wanted, needs_test=True)
    assert (len(train), len(test)) == (1, 1)
    assert train.part_names == test.part_names
    assert train.names != test.names
    assert train.part_counts().sum() > 30


def test_data_without_held_out_frames_is_told_of(own, capsys):
    alone = dataclasses.replace(
        own, train_sequences=("hill",), layout={"class_map": own.root.parent / "no_split.yaml"}
    )
    text = (own.root.parent / "classes.yaml").read_text().replace(", valid: [lake]", "")
    (own.root.parent / "no_split.yaml").write_text(text)
    assert read_frame_data(alone)[1] is None
    assert "no held-out frames" in capsys.readouterr().err
    with pytest.raises(UserError, match="does not say which sequences are for validation"):
        read_frame_data(alone, needs_test=True)


@pytest.mark.parametrize(
    ("change", "needs_test", "words"),
    [
        ({"validation_sequences": ("hill",)}, False, "are both trained on and held out"),
        ({"test_frames": -1}, False, "--test-frames -1"),
        ({"test_frames": 0}, True, "--test-frames 0"),
    ],
)
def test_mistakes_are_named(own, change, needs_test, words):
    with pytest.raises(UserError, match=words):
        read_frame_data(dataclasses.replace(own, **change), needs_test=needs_test)
