"""What cameras see goes into a batch with the voxels that it belongs to, and to nobody else."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.data.damage import refused
from tests.train.data.test_cameras import camera, frame, jpeg, looking
from train.data.batch import BadFrame, collate, split_batch
from train.data.cameras import CAMERA_FIELDS, project
from train.data.frame import CameraImage
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.transforms import Augmentation

SIZE = (80, 160)


class Frames(list):
    """Frames in memory."""

    unreadable, skipped_unlabeled = {}, 0

    @property
    def names(self):
        return [each.name for each in self]


def lidar_frame(number: int, views: int = 2):
    """Return a frame of 600 points all around, and cameras that look ahead, left and back."""
    rng = np.random.default_rng(number)
    azimuth = rng.uniform(-np.pi, np.pi, 600)
    coord = np.stack([9 * np.cos(azimuth), 9 * np.sin(azimuth), rng.uniform(-2, 2, 600)], axis=1)
    images = [
        camera(name=f"C{at}", camera_from_points=looking(90.0 * at), encoded=jpeg(seed=at))
        for at in range(views)
    ]
    return dataclasses.replace(frame(coord, *images), name=f"s/{number}")


@pytest.fixture
def source():
    return Frames([lidar_frame(0), lidar_frame(1, views=3), lidar_frame(2, views=1)])


def pixels_by_hand(coord, image: CameraImage) -> np.ndarray:
    pixel, _ = project(coord, image)
    return np.floor(pixel * (SIZE[1] / image.width, SIZE[0] / image.height)).astype(int)[:, ::-1]


def test_rows_of_the_batch_are_at_the_pixels_where_their_points_are(source):
    frames = EvaluationFrames(source, 0.05, fields=CAMERA_FIELDS, image_size=SIZE)
    batch = collate([frames[index] for index in range(3)])
    assert batch["images"].shape == (6, 3, *SIZE)
    assert batch["images"].dtype == torch.uint8
    assert batch["view_cloud"].tolist() == [0, 0, 1, 1, 1, 2]
    assert {batch[name].dtype for name in ("view_cloud", "point_pixel")} == {torch.int64}
    view, pixels, rows = np.split(batch["point_pixel"].numpy(), [1, 3], axis=1)
    assert len(np.unique(batch["point_pixel"][:, [0, 3]], axis=0)) == len(view) > 300
    cameras = [image for each in source for image in each.images]
    for number, image in enumerate(cameras):
        own = view[:, 0] == number
        cloud = batch["view_cloud"][number]
        start, end = [0, *batch["offset"].tolist()][cloud : cloud + 2]
        assert ((rows[own] >= start) & (rows[own] < end)).all()
        coord = batch["coord"].numpy()[rows[own, 0]]
        np.testing.assert_array_equal(pixels_by_hand(coord, image), pixels[own])
        np.testing.assert_array_equal(batch["images"][number].permute(1, 2, 0), image.resized(SIZE))


def test_augmentation_and_cropping_leave_a_voxel_its_pixels(source):
    # Turned, mirrored and scaled, but nothing that hides which point it was: the strength says.
    for number, each in enumerate(source):
        strength = np.arange(len(each.coord), dtype=np.float32)[:, None]
        source[number] = dataclasses.replace(each, strength=strength)
    frames = TrainingFrames(
        source, augmentation=Augmentation(rotation_probability=1.0), max_voxels=400, seed=3,
        fields=CAMERA_FIELDS, image_size=SIZE,
    )  # fmt: skip
    total = 0
    for index in range(3):
        voxels = frames[index]
        assert len(voxels.coord) == 400
        rows = voxels.views.point_pixel
        total += len(rows)
        for number, image in enumerate(source[index].images):
            own = rows[rows[:, 0] == number]
            points = voxels.strength[own[:, 3], 0].astype(int)
            by_hand = pixels_by_hand(source[index].coord[points], image)
            np.testing.assert_array_equal(by_hand, own[:, 1:3])
    assert total > 200


def test_cameras_change_nothing_else_of_a_sample(source):
    bare, seeing = (
        TrainingFrames(source, max_voxels=200, seed=3, fields=fields, image_size=SIZE)
        for fields in ((), CAMERA_FIELDS)
    )
    for index in range(3):
        for field in dataclasses.fields(bare[index]):
            mine, other = (getattr(each[index], field.name) for each in (bare, seeing))
            if field.name == "views":
                assert mine is None
                assert other is not None
            else:
                np.testing.assert_array_equal(mine, other)
    assert not {"images", "view_cloud", "point_pixel"} & set(collate([bare[0], bare[1]]))


def test_a_batch_has_what_was_asked_for(source):
    for fields in ({"images"}, {"point_pixel"}):
        frames = TrainingFrames(source, fields=fields, image_size=SIZE)
        batch = collate([frames[0], frames[1]])
        assert {"images", "point_pixel"} & set(batch) == fields
        assert batch["view_cloud"].tolist() == [0, 0, 1, 1, 1]


def test_parts_of_a_batch_have_their_own_views_and_rows(source):
    frames = EvaluationFrames(source, 0.05, fields=CAMERA_FIELDS, image_size=SIZE)
    alone = [collate([frames[index]]) for index in range(3)]
    whole = collate([frames[index] for index in range(3)])
    for part, own in zip(split_batch(whole, 3), alone, strict=True):
        for name in ("images", "view_cloud", "point_pixel"):
            assert torch.equal(part[name], own[name]), name
    two = split_batch(whole, 2)
    assert [part["view_cloud"].tolist() for part in two] == [[0, 0, 1, 1, 1], [0]]


def test_no_view_and_no_pair_are_fine(source):
    frames = EvaluationFrames(source, 0.05, fields=CAMERA_FIELDS, image_size=SIZE)
    blind = frames[0]
    views = dataclasses.replace(
        blind.views,
        num_views=0,
        images=np.zeros((0, 3, *SIZE), np.uint8),
        point_pixel=np.zeros((0, 4), np.int64),
    )
    blind = dataclasses.replace(blind, views=views)
    batch = collate([blind, blind])
    assert batch["images"].shape == (0, 3, *SIZE)
    assert batch["view_cloud"].shape == (0,)
    assert batch["point_pixel"].shape == (0, 4)
    for part in split_batch(batch, 2):
        assert part["images"].shape == (0, 3, *SIZE)
        assert part["point_pixel"].shape == (0, 4)
    mixed = collate([blind, frames[1]])
    assert mixed["view_cloud"].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(
        mixed["point_pixel"][:, 3] - len(blind.coord), frames[1].views.point_pixel[:, 3]
    )


def test_a_mix_of_views_and_none_and_an_unknown_field_are_refused(source):
    frames = EvaluationFrames(source, 0.05, fields=CAMERA_FIELDS, image_size=SIZE)
    with pytest.raises(ValueError, match="not s/1"):
        collate([frames[0], dataclasses.replace(frames[1], views=None)])
    with pytest.raises(ValueError, match="lidar_tags; known: images, point_pixel"):
        TrainingFrames(source, fields={"lidar_tags"})


@pytest.mark.parametrize("damage", ["truncated", "blind", "none"])
def test_bad_images_stop_the_run_or_are_skipped_and_counted(source, damage):
    good = source[1].images
    source[1] = dataclasses.replace(
        source[1],
        images={
            "truncated": (good[0], dataclasses.replace(good[1], encoded=jpeg()[:3000])),
            "blind": (good[0], dataclasses.replace(good[1], camera_from_points=up())),
            "none": (),
        }[damage],
    )
    stop = TrainingFrames(source, fields=CAMERA_FIELDS)
    said = {"truncated": "truncated", "blind": "sees none", "none": "no camera images"}[damage]
    refused(lambda: stop[1], said)
    for kind in (TrainingFrames, EvaluationFrames):
        skip = kind(source, on_bad_frame="skip", fields=CAMERA_FIELDS)
        batch = collate(skip.__getitems__([0, 1]))
        assert [bad.name for bad in batch.skipped] == ["s/1"]
        assert said in batch.skipped[0].message
        names = ["s/0", "s/2"] if kind is TrainingFrames else ["s/0"]
        assert list(batch.names) == names
        assert isinstance(batch.skipped[0], BadFrame)


def up() -> np.ndarray:
    """Return camera from points, of a camera that looks straight up."""
    moved = np.eye(4)
    moved[:3, :3] = [[0, -1, 0], [-1, 0, 0], [0, 0, 1]]
    moved[:3, :3] *= np.linalg.det(moved[:3, :3])
    return moved if moved[2, 2] > 0 else moved @ np.diag([1.0, -1.0, -1.0, 1.0])
