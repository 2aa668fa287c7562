"""Waymo's images in both formats: the same pixels for the same points, and one line for damage."""

import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.train.data.damage import refused, refused_at
from tests.train.data.test_cameras import jpeg
from tests.train.data.waymo.conftest import tiny_frame, transform
from train.data.cameras import project
from train.data.decoded import DecodedCache
from train.data.waymo import SPEC, Waymo, schema
from train.data.waymo.frame import CameraCalibration, CameraName, Frame, Shot
from train.data.waymo.write import write_segment_v1, write_segment_v2

LENS = (0.04, -0.3, 0.001, -0.0004, 0.0)
FORMATS = ("v1", "v2")


def shot(name: CameraName, frame: Frame, **changes) -> Shot:
    """Return an image taken 20 ms and 16 cm after the frame, by a camera turned a little."""
    moved = transform([0.0, 0.0, 0.01], [0.16, 0.0, 0.0])
    calibration = CameraCalibration(
        np.array([2060.0, 2055.0, 950.0, 640.0, *LENS]),
        transform([0.01, -0.02, 0.5 * name], [1.5, 0.1 * name, 2.1]),
        1920,
        1280,
    )
    usual = {
        "name": name,
        "calibration": calibration,
        "jpeg": jpeg(seed=int(name)),
        "pose": frame.pose @ moved,
        "pose_timestamp_s": frame.timestamp_micros * 1e-6 + 0.02,
    }
    return Shot(**(usual | changes))


def seeing_frame(timestamp: int = 1_000_000, **changes) -> Frame:
    frame = tiny_frame(timestamp=timestamp)
    # In no order, as in the dataset.
    names = [CameraName.SIDE_LEFT, CameraName.FRONT, CameraName.FRONT_RIGHT]
    return dataclasses.replace(frame, shots=tuple(shot(name, frame, **changes) for name in names))


def write(root: Path, data_format: str, frames) -> Path:
    if data_format == "v1":
        write_segment_v1(root / "training/segment-seg_a_with_camera_labels.tfrecord", frames)
    else:
        write_segment_v2(root / "training", "seg_a", frames, cameras=True)
    return root


@pytest.fixture(params=FORMATS)
def source(request, tmp_path: Path) -> Waymo:
    frames = [seeing_frame(1_000_000), seeing_frame(1_100_000)]
    return SPEC.open(write(tmp_path, request.param, frames), cameras=True)


def test_what_is_written_is_read_back(source):
    frame, wanted = source[1], seeing_frame(1_100_000)
    assert [image.name for image in frame.images] == ["FRONT", "FRONT_RIGHT", "SIDE_LEFT"]
    by_name = {each.name.name: each for each in wanted.shots}
    for image in frame.images:
        written = by_name[image.name]
        assert image.encoded == written.jpeg
        assert image.distortion == LENS
        assert (image.width, image.height) == (1920, 1280)
        assert image.time_offset_s == pytest.approx(0.02, abs=1e-6)
        assert image.intrinsic.tolist() == [[2060, 0, 950], [0, 2055, 640], [0, 0, 1]]
    again = source.images(1)
    for image, other in zip(frame.images, again, strict=True):
        np.testing.assert_array_equal(image.camera_from_points, other.camera_from_points)
        assert image.encoded == other.encoded


def test_points_go_through_the_image_s_own_pose(source):
    """vehicle -> world -> vehicle at the image's time -> camera, by solving step by step."""
    frame, wanted = source[0], seeing_frame(1_000_000)
    points = np.random.default_rng(0).uniform([4, -8, -1], [30, 8, 3], (50, 3))
    ones = np.c_[points, np.ones(50)].T
    for image in frame.images:
        written = next(each for each in wanted.shots if each.name.name == image.name)
        in_world = wanted.pose @ ones
        in_vehicle = np.linalg.solve(written.pose, in_world)
        forward, left, up = np.linalg.solve(written.calibration.extrinsic, in_vehicle)[:3]
        pixel, depth = project(points, dataclasses.replace(image, distortion=()))
        seen = forward > 1.0
        np.testing.assert_allclose(depth[seen], forward[seen], atol=1e-6)
        by_hand = np.stack([950 - 2060 * left / forward, 640 - 2055 * up / forward], axis=1)
        np.testing.assert_allclose(pixel[seen], by_hand[seen], atol=1e-3)
    # Without the pose of the image pixels would be several off.
    late = 2060 * 0.16 / 10
    assert late > 30


def test_without_cameras_nothing_of_them_is_read(tmp_path: Path):
    for data_format in FORMATS:
        broken = seeing_frame(pose=np.zeros((4, 4)))
        root = write(tmp_path / data_format, data_format, [broken])
        bare = SPEC.open(root)
        assert bare[0].images == ()
        assert bare.images(0) == ()
        refused(lambda root=root: SPEC.open(root, cameras=True)[0], "pose of camera")


def test_kept_frames_have_their_images(source, tmp_path: Path):
    cache = DecodedCache(source, tmp_path / "kept")
    for _ in range(2):  # decoded, then from the folder
        frame = cache[1]
        assert [image.name for image in frame.images] == ["FRONT", "FRONT_RIGHT", "SIDE_LEFT"]
        for image, own in zip(frame.images, source[1].images, strict=True):
            np.testing.assert_array_equal(image.camera_from_points, own.camera_from_points)
    assert list((tmp_path / "kept").rglob("*.frame"))


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calibration": None}, "has no calibration"),
        ({"pose_timestamp_s": 77.0}, "belongs to another"),
        ({"pose": np.diag([1.0, 1, -1, 1])}, "no rotation"),
    ],
)
def test_damage_is_one_line_that_names_the_file(tmp_path, data_format, changes, said):
    source = SPEC.open(write(tmp_path, data_format, [seeing_frame(**changes)]), cameras=True)
    assert refused(lambda: source[0], said).startswith(str(tmp_path))


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_frame_without_images_is_named(tmp_path, data_format):
    frames = [seeing_frame(), tiny_frame(timestamp=1_200_000)]
    source = SPEC.open(write(tmp_path, data_format, frames), cameras=True)
    assert len(source[0].images) == 3
    refused(lambda: source[1], "frame 1200000 has no camera images")


def test_a_missing_table_of_cameras_and_one_without_a_column_are_named(tmp_path: Path):
    root = write(tmp_path, "v2", [seeing_frame()])
    path = root / "training/camera_image/seg_a.parquet"
    whole = pq.read_table(path)
    for column in (schema.IMAGE, schema.IMAGE_POSE, schema.CAMERA):
        pq.write_table(whole.drop_columns([column]), path)
        refused_at(path, lambda: SPEC.open(root, cameras=True)[0], f"has no column {column}")
    path.unlink()
    refused_at(path, lambda: SPEC.open(root, cameras=True)[0], "no such file")


def test_extra_columns_and_another_order_do_no_harm(tmp_path: Path):
    root = write(tmp_path, "v2", [seeing_frame(1_000_000), seeing_frame(1_100_000)])
    wanted = [image.encoded for image in SPEC.open(root, cameras=True)[1].images]
    path = root / "training/camera_image/seg_a.parquet"
    rows = pq.read_table(path)
    shuffled = rows.take(np.random.default_rng(0).permutation(len(rows)))
    pq.write_table(shuffled.add_column(0, "index", [["x"] * len(rows)]), path)
    again = [image.encoded for image in SPEC.open(root, cameras=True)[1].images]
    assert again == wanted


def test_a_source_with_cameras_goes_to_another_process(source):
    source[0]
    other = pickle.loads(pickle.dumps(source))
    assert len(other[0].images) == 3
    shutil.rmtree(source.root / "training")
    refused(lambda: pickle.loads(pickle.dumps(source))[0])
