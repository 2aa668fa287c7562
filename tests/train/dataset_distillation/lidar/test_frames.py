"""Frames as clouds: what is drawn, in which unit, and what is refused."""

import dataclasses

import numpy as np
import pytest

from tests.train.dataset_distillation.lidar.toy_streets import CLASSES, TAKE, street, streets
from train.core.errors import UserError
from train.dataset_distillation.lidar.frames import (
    FrameClouds,
    FrameOptions,
    frame_clouds,
    read_frames,
    within,
)


def test_points_are_the_frames_own_in_a_known_unit():
    frame = street(3)
    found = frame_clouds([frame], CLASSES, TAKE)
    assert found.clouds.classes == ("street",)
    assert found.class_names == CLASSES
    assert (found.meters, found.names) == (10.0, ("toy/000003",))
    assert np.abs(found.clouds.points).max() <= 1.0
    rows = {
        (*np.round(xyz, 3), s): part
        for xyz, s, part in zip(
            frame.coord.tolist(), frame.strength[:, 0].tolist(), frame.segment, strict=True
        )
    }
    taken = set()
    for xyz, s, part in zip(
        found.coord_m[0].tolist(), found.strength[0].tolist(), found.segment[0], strict=True
    ):
        key = (*np.round(xyz, 3), s)
        assert rows[key] == part
        taken.add(key)
    assert len(taken) == 120  # without repeats


def test_frames_are_cropped_along_the_ground_and_in_height():
    coord = np.array([[3, 4, 0], [3, 4.1, 0], [0, 0, 5], [0, 0, -5.1], [-5, 0, 0]], np.float32)
    assert within(coord, 5.0).tolist() == [0, 2, 4]


def test_a_draw_depends_on_the_seed_and_the_place_alone():
    first = streets(2)
    again = streets(2)
    other = streets(2, take=dataclasses.replace(TAKE, seed=1))
    assert np.array_equal(first.clouds.points, again.clouds.points)
    assert not np.array_equal(first.clouds.points, other.clouds.points)
    alone = frame_clouds([street(0)], CLASSES, TAKE)
    assert np.array_equal(alone.clouds.points[0], first.clouds.points[0])


def test_labels_that_do_not_count_are_no_part():
    found = frame_clouds([street(0, unlabeled=300)], CLASSES, TAKE)
    share = (found.segment == -1).mean()
    assert 0.6 < share < 0.9
    assert found.class_counts().sum() == (found.segment >= 0).sum()


def test_a_frame_without_a_point_that_counts_is_left_out():
    found = frame_clouds([street(0, unlabeled=400), street(1)], CLASSES, TAKE)
    assert found.names == ("toy/000001",)
    with pytest.raises(UserError, match="none of 1 frames has a point with a class that counts"):
        frame_clouds([street(0, unlabeled=400)], CLASSES, TAKE)


def test_classes_without_points_are_known():
    assert streets(2).absent() == ("nowhere",)
    assert streets(2).class_counts()[3] == 0


@pytest.mark.parametrize(
    ("frame", "take", "words"),
    [
        (street(0, points=100), TAKE, "has 90 points within 10 m, fewer than the 120 asked for"),
        (street(0), dataclasses.replace(TAKE, range_m=1.0), "within 1 m, fewer than the 120"),
        (dataclasses.replace(street(0), segment=None), TAKE, "toy/000000 has no labels"),
    ],
)
def test_a_frame_that_cannot_be_taken_is_named(frame, take, words):
    with pytest.raises(UserError, match=words):
        frame_clouds([frame], CLASSES, take)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": 1}, "--points 1"),
        ({"most": 0}, "--frames 0"),
        ({"range_m": 0.0}, "--range-m 0"),
        ({"range_m": float("nan")}, "--range-m nan"),
    ],
)
def test_options_that_take_nothing_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        FrameOptions(**change)


def test_frames_are_read_evenly_over_the_source():
    class Source(list):
        names = ()

    source = Source(street(seed) for seed in range(9))
    found = read_frames(source, CLASSES, dataclasses.replace(TAKE, most=3))
    assert found.names == ("toy/000000", "toy/000004", "toy/000008")
    assert len(read_frames(source, CLASSES, TAKE)) == 9


def test_parts_of_the_record_must_fit():
    found = streets(2)
    assert found.take([1]).names == ("toy/000001",)
    assert np.array_equal(found.take([1]).strength, found.strength[1:])
    with pytest.raises(ValueError, match="strength has shape"):
        dataclasses.replace(found, strength=found.strength[:, 1:])
    with pytest.raises(ValueError, match="1 names of 2 frames"):
        dataclasses.replace(found, names=("a",))
    bare = dataclasses.replace(found.clouds, parts=None, part_names=())
    with pytest.raises(ValueError, match="have no parts"):
        FrameClouds(bare, found.strength, 10.0, found.names)
