"""Pictures pixel by pixel: which point is seen where, and a PNG that others can read."""

import io

import numpy as np
import pytest
from PIL import Image

from train.inspection.views import NO_POINT, from_above, from_sensor, indexed_png, values_seen


def points(*rows):
    return np.array(rows, dtype=np.float32)


def test_from_above_the_highest_point_is_seen_with_x_to_the_right_and_y_up():
    # Three points in one pixel, one far right, one far up, one outside.
    coord = points((1, 1, 0), (1, 1, 2), (1, 1, 1), (9, -9, 0), (-9, 9, 0), (0, 11, 5))
    # Ten pixels of 2 m; six points on 100 pixels get squares of three.
    view = from_above(coord, pixels=10, extent_m=10.0)
    assert view[4, 5] == 1
    assert view[9, 9] == 3
    assert view[0, 0] == 4
    assert 5 not in view
    assert view[9, 0] == NO_POINT
    # The same points in another order are the same picture.
    order = np.array([5, 2, 0, 4, 1, 3])
    again = from_above(coord[order], pixels=10, extent_m=10.0)
    assert np.array_equal(np.where(again == NO_POINT, NO_POINT, order[again]), view)


def test_from_the_sensor_the_nearest_point_is_seen_ahead_in_the_middle_left_on_the_left():
    rng = np.random.default_rng(0)
    around = rng.uniform(-180, 180, 4000)
    ring = np.c_[20 * np.cos(np.deg2rad(around)), 20 * np.sin(np.deg2rad(around))]
    ring = np.c_[ring, rng.uniform(-3, 3, 4000)]
    # Beyond and before the ring, in equal directions: ahead, and to the left (y is left).
    coord = np.concatenate([ring, points((5, 0, 0), (0, 5, 0), (40, 0, 0))]).astype(np.float32)
    view = from_sensor(coord, pixels=360)
    height, width = view.shape
    assert width == 360
    assert height == 55  # 17 degrees at 3 pixels each, and a border
    rows, columns = np.nonzero(view == 4000)
    assert set(columns) <= {180, 181, 182}
    assert abs(rows.mean() - height / 2) < 3
    assert set(np.nonzero(view == 4001)[1]) <= {90, 91, 92}
    assert 4002 not in view
    # A point far below counts for the height only where it is asked for.
    below = np.concatenate([coord, np.tile(points((1, 0, -9)), (40, 1))])
    assert from_sensor(below, pixels=360).shape[0] == 120
    is_ring = np.arange(len(below)) < len(coord)
    assert from_sensor(below, pixels=360, height_from=is_ring).shape == view.shape
    none = np.zeros(len(below), dtype=bool)
    assert from_sensor(below, pixels=360, height_from=none).shape[0] == 120
    # The heading turns the picture: what was on the left is ahead for a car that heads there.
    turned = from_sensor(coord, pixels=360, forward_deg=90.0)
    assert set(np.nonzero(turned == 4001)[1]) <= {180, 181, 182}
    # Seen from beyond the ring the point there is the nearest of its direction.
    moved = from_sensor(coord, pixels=360, origin_m=(60.0, 0.0, 0.0))
    assert 4002 in moved


def test_the_values_of_the_points_that_are_seen():
    view = np.array([[0, NO_POINT], [2, 2]])
    seen = values_seen(view, np.array([7, 8, 9]), background=3)
    assert seen.tolist() == [[7, 3], [9, 9]]
    assert seen.dtype == np.uint8
    with pytest.raises(ValueError, match="from 0 to 256, outside 0 to 255"):
        values_seen(view, np.array([0, 1, 256]), background=0)


def test_a_png_is_what_others_read_and_the_same_every_time():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 3, (5, 9)).astype(np.uint8)
    palette = np.array([(0, 0, 0), (1.0, 0.5, 0.0), (0.2, 0.4, 1.0)])
    content = indexed_png(pixels, palette)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.size == (9, 5)
        colors = np.asarray(image.convert("RGB"))
    want = np.round(palette * 255).astype(np.uint8)[pixels]
    assert np.array_equal(colors, want)
    assert indexed_png(pixels, palette) == content


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_above(points((0, 0, 0)), pixels=0), "pixels is 0"),
        (lambda: from_above(points((0, 0, 0)), extent_m=0.0), "extent_m 0.0"),
        (lambda: from_sensor(points((0, 0, 0)), pixels=11), "at least 12"),
        (lambda: indexed_png(np.zeros((2, 2), np.uint8), np.zeros((0, 3))), r"shape \(0, 3\)"),
        (lambda: indexed_png(np.full((2, 2), 3, np.uint8), np.zeros((3, 3))), "not all below 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
