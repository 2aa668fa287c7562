"""The files beside the checkout: real frames without lidar, constructed ones with known counts."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.waymo import SPEC
from train.data.waymo.frame import LaserName
from train.data.waymo.frame_proto import read_frame
from train.data.waymo.layout import read_frame_list
from train.data.waymo.range_image import points
from train.data.waymo.tfrecord import read_record, walk

pytestmark = pytest.mark.real_data

CONTEXT = "CONSTRUCTED_NOT_REAL_0000_000_0020_000"
NAMES = (f"{CONTEXT}/1507315488219118", f"{CONTEXT}/1507315488319118")

# Points of both returns, then the least and the greatest x, y, z of the first, in meters.
PUBLISHED = {
    "TOP": (125_413, 7_405, (-71.5, -71.3, 0), (76.1, 74.9, 4.2)),
    "FRONT": (4_610, 246, (-15.4, -19.0, 0), (23.3, 19.7, 9.9)),
    "SIDE_LEFT": (4_634, 282, (-16.1, -18.6, 0), (22.6, 18.4, 9.7)),
    "SIDE_RIGHT": (4_553, 257, (-15.7, -18.8, 0), (22.6, 18.8, 10.1)),
    "REAR": (4_707, 303, (-18.6, -18.7, 0), (18.3, 18.4, 10.0)),
}
LABELS = {
    0: 1240, 1: 4128, 2: 5709, 6: 347, 7: 1378, 10: 1048, 14: 24580, 15: 6879, 17: 1306, 18: 23519,
    19: 699, 21: 34403, 22: 20177,
}  # fmt: skip


@pytest.fixture
def v1(real_data: Path, tmp_path: Path) -> Path:
    """Return a data root with the constructed records."""
    (tmp_path / "v1/training").mkdir(parents=True)
    name = "CONSTRUCTED_NOT_REAL_two_frames.tfrecord"
    (tmp_path / "v1/training" / name).symlink_to(real_data / "waymo/constructed" / name)
    return tmp_path / "v1"


@pytest.fixture
def v2(real_data: Path) -> Path:
    """Return the data root with the constructed tables."""
    return real_data / "waymo/constructed/v2"


@pytest.mark.parametrize("which", ["v1", "v2"])
def test_the_constructed_frames_have_the_published_points(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
):
    root = request.getfixturevalue(which)
    source = SPEC.open(root, require_labels=False, cache_dir=tmp_path)
    assert (source.format, source.names) == (which, NAMES)
    frame = source[0]
    counts = np.array([row[:2] for row in PUBLISHED.values()])
    assert len(frame.coord) == counts.sum() == 152_410
    ends = np.cumsum(counts.T.reshape(-1))
    parts = np.split(frame.coord, ends[:-1])
    for coord, (_, _, low, high) in zip(parts, PUBLISHED.values(), strict=False):
        np.testing.assert_allclose(coord.min(axis=0), low, atol=0.051)
        np.testing.assert_allclose(coord.max(axis=0), high, atol=0.051)
    assert frame.segment is not None
    of_top = frame.segment[: PUBLISHED["TOP"][0]]
    found = np.bincount(of_top + 1)
    assert {raw: count for raw, count in enumerate(found.tolist()) if count} == LABELS
    second = slice(ends[4], ends[5])
    assert (frame.segment[second] >= 0).any()
    others = np.ones(len(frame.segment), dtype=bool)
    others[: PUBLISHED["TOP"][0]] = others[second] = False
    assert (frame.segment[others] == -1).all()
    assert 0.0 <= frame.strength.min() <= frame.strength.max() <= 1.0
    assert frame.pose is not None
    assert np.abs(frame.pose[:3, 3]).max() > 1000.0
    assert source[1].segment is None


@pytest.mark.parametrize("which", ["v1", "v2"])
def test_the_frame_without_labels_is_counted(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
):
    source = SPEC.open(request.getfixturevalue(which), cache_dir=tmp_path)
    assert (source.names, source.skipped_unlabeled) == (NAMES[:1], 1)


def test_both_formats_hold_the_same_to_the_last_bit(v1: Path, v2: Path, tmp_path: Path):
    first, second = (SPEC.open(root, require_labels=False, cache_dir=tmp_path) for root in (v1, v2))
    for index in range(2):
        one, other = first[index], second[index]
        assert one.coord.tobytes() == other.coord.tobytes()
        assert one.strength.tobytes() == other.strength.tobytes()
        np.testing.assert_array_equal(one.pose, other.pose)
    np.testing.assert_array_equal(first[0].segment, second[0].segment)


def test_a_segment_is_found_by_its_name_in_a_file_of_another(v1: Path, tmp_path: Path):
    assert SPEC.open(v1, sequences=[CONTEXT], cache_dir=tmp_path).names == NAMES[:1]


def test_leaving_out_the_pixel_poses_would_show(v1: Path):
    # The vehicle drives 8 m/s: without each pixel's pose points are off by most of a meter.
    path = next((v1 / "training").iterdir())
    with path.open("rb") as file:
        place = next(iter(walk(path, file, path.stat().st_size)))
        frame = read_frame(read_record(path, file, *place))
    top = next(laser for laser in frame.lasers if laser.name == LaserName.TOP)
    assert top.pixel_pose is not None
    one_pose = np.broadcast_to(top.pixel_pose[32, 1325], top.pixel_pose.shape).copy()
    still = dataclasses.replace(top, pixel_pose=one_pose)
    right, wrong = (
        points(dataclasses.replace(frame, lasers=(laser,))).coord for laser in (top, still)
    )
    off = np.abs(wrong - right).max()
    assert 0.3 < off < 2.0


def test_a_real_frame_without_lidar_is_counted_and_not_a_failure(
    real_data: Path, v1: Path, tmp_path: Path
):
    shutil.copy(real_data / "waymo/val_no_lidar.tfrecord", v1 / "training")
    source = SPEC.open(v1, require_labels=False, cache_dir=tmp_path)
    assert (source.names, source.skipped_without_lidar) == (NAMES, 1)
    (v1 / "validation").mkdir()
    shutil.move(v1 / "training/val_no_lidar.tfrecord", v1 / "validation")
    with pytest.raises(UserError, match="no frame is left: 0 have no labels, 1 no range images"):
        SPEC.open(v1, "validation", cache_dir=tmp_path)


def test_a_real_frame_s_calibrations_and_pose_are_read(real_data: Path):
    path = real_data / "waymo/val_no_lidar.tfrecord"
    with path.open("rb") as file:
        ((start, length),) = walk(path, file, path.stat().st_size)
        frame = read_frame(read_record(path, file, start, length))
    assert frame.name == "1071392229495085036_1844_790_1864_790/1507315488219118"
    assert frame.lasers == ()
    np.testing.assert_allclose(frame.pose[:3, :3] @ frame.pose[:3, :3].T, np.eye(3), atol=1e-6)


def test_the_official_list_of_test_frames_is_read(real_data: Path):
    names = read_frame_list(real_data / "waymo/splits/3d_semseg_test_set_frames.txt")
    assert len(names) == 2982
    assert len({name.split("/")[0] for name in names}) == 150
