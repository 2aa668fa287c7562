"""Which pixel shows which point: projection, occlusion, and images that cannot be used."""

import dataclasses
import io
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.data.damage import refused, refused_at
from train.data.cameras import camera_views, point_pixels, project
from train.data.frame import CameraImage, LidarFrame
from train.data.semantickitti import SPEC
from train.data.semantickitti.camera_images import read_calibration
from train.simulation.camera_images import labeled_images
from train.simulation.semantickitti import simulate_semantickitti

WIDTH, HEIGHT, FOCAL = 320, 160, 228.0


def jpeg(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG")
    return stream.getvalue()


def looking(yaw_deg: float, place=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Return camera from points, of a level camera that looks this far to the left of x."""
    yaw = np.deg2rad(yaw_deg)
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    moved = np.eye(4)
    moved[:3, :3] = [right, [0.0, 0.0, -1.0], forward]
    moved[:3, 3] = -moved[:3, :3] @ np.array(place)
    return moved


def camera(**changes) -> CameraImage:
    usual = {
        "name": "CAM_FRONT",
        "intrinsic": np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]]),
        "camera_from_points": looking(0.0),
        "width": WIDTH,
        "height": HEIGHT,
        "time_offset_s": -0.01,
        "encoded": jpeg(),
        "place": "frame.bin",
    }
    return CameraImage(**(usual | changes))


def frame(coord, *images: CameraImage) -> LidarFrame:
    coord = np.asarray(coord, dtype=np.float32).reshape(-1, 3)
    strength = np.zeros((len(coord), 1), dtype=np.float32)
    segment = np.zeros(len(coord), dtype=np.int64)
    return LidarFrame(coord, strength, segment, "00/0", Path("frame.bin"), images=images)


def test_a_point_ahead_left_and_above_lies_left_of_and_above_the_middle():
    pixel, depth = project(np.array([[10.0, 1.0, 2.0]]), camera())
    # By hand: 1 m in 10 to the left, 2 m in 10 up.
    np.testing.assert_allclose(pixel[0], [160 - 22.8, 80 - 45.6])
    np.testing.assert_allclose(depth, 10.0)


def test_projection_round_trip():
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = np.eye(4)
    moved[:3, :3] = turned * np.linalg.det(turned)
    moved[:3, 3] = rng.normal(size=3)
    skewed = np.array([[231.0, 0.3, 155.0], [0, 225.0, 84.0], [0, 0, 1.0]])
    image = camera(camera_from_points=moved, intrinsic=skewed)
    wanted = rng.uniform([0, 0], [WIDTH, HEIGHT], (500, 2))
    depth = rng.uniform(1.5, 90.0, 500)
    rays = np.linalg.solve(skewed, np.c_[wanted, np.ones(500)].T).T
    points = np.linalg.solve(moved, np.c_[rays * depth[:, None], np.ones(500)].T).T[:, :3]
    pixel, found = project(points.astype(np.float32), image)
    assert np.abs(pixel - wanted).max() < 0.5
    np.testing.assert_allclose(pixel, wanted, atol=1e-2)  # float32 at 90 m
    np.testing.assert_allclose(found, depth, atol=1e-4)


def test_a_lens_bends_as_brown_says_and_never_brings_the_outside_back():
    k1, k2, p1, p2, k3 = lens = (0.05, -0.33, 0.001, -0.0006, 0.01)
    image = camera(distortion=lens)
    points = np.array([[10.0, 2.0, 1.0], [10.0, -3.0, -2.0], [10.0, 60.0, 0.0]])
    pixel, _ = project(points, image)
    for (forward, left, up), found in zip(points[:2], pixel[:2], strict=True):
        x, y = -left / forward, -up / forward
        r2 = x**2 + y**2
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        bent_y = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
        np.testing.assert_allclose(found, [160 + FOCAL * bent_x, 80 + FOCAL * bent_y])
    # 80 degrees to the side: the polynomial alone would put it far off, or anywhere.
    assert np.isnan(pixel[2]).all()


def test_points_behind_and_beside_have_no_pixel():
    points = [[-10, 0, 0], [0.5, 0, 0], [10, 9, 0], [10, 0, 0]]
    pairs = point_pixels(frame(points), [camera()])
    assert pairs.tolist() == [[0, 80, 160, 3]]


def test_of_points_on_one_pixel_the_nearest_is_seen():
    points = [[20, 0, 0], [10, 0, 0], [10.2, 0, 0]]
    pairs = point_pixels(frame(points), [camera()])
    # 20 cm behind is the same surface, 10 m behind is not.
    assert pairs[:, 3].tolist() == [1, 2]


def test_pixels_are_those_of_the_working_size():
    image = camera(
        width=1600, height=900, intrinsic=np.array([[1266.0, 0, 816], [0, 1266, 491], [0, 0, 1]])
    )
    pairs = point_pixels(frame([[10, 1, 0.5]]), [image], image_size=(160, 320))
    # By hand: u = 816 - 126.6 = 689.4, v = 491 - 63.3 = 427.7 of 1600 x 900.
    assert pairs.tolist() == [[0, int(427.7 * 160 / 900), int(689.4 * 320 / 1600), 0]]


def lidar_rays(height_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the origin and the directions of 32 beams, 4/3 degrees apart, over the front."""
    azimuth, elevation = np.meshgrid(
        np.deg2rad(np.arange(-40, 40, 0.7)), np.deg2rad(np.linspace(10.67, -30.67, 32))
    )
    flat = np.cos(elevation)
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)
    return np.array([0.0, 0.0, height_m]), rays.reshape(-1, 3)


def meet(origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where rays end, and on what: 0 the ground, 1 the near box, 2 the wall behind it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(rays[:, 2] < 0, (-1.8 - origin[2]) / rays[:, 2], np.inf)
        to_front, to_wall = (
            np.where(rays[:, 0] > 0, (x - origin[0]) / rays[:, 0], np.inf) for x in (8.0, 20.0)
        )
        at_front, at_wall = (origin + t[:, None] * rays for t in (to_front, to_wall))
    box = (np.abs(at_front[:, 1]) < 1.5) & (at_front[:, 2] < 0.0)
    wall = (np.abs(at_wall[:, 1]) < 9.0) & (at_wall[:, 2] < 4.0)
    far = np.stack([ground, np.where(box, to_front, np.inf), np.where(wall, to_wall, np.inf)])
    return origin + far.min(axis=0)[:, None] * rays, np.where(
        np.isfinite(far.min(axis=0)), far.argmin(axis=0), -1
    )


def test_what_a_box_hides_from_the_camera_alone_is_not_paired():
    # The lidar looks over a box at the wall behind it, the camera below it does not.
    place, what = meet(*lidar_rays(height_m=1.2))
    points, what = place[what >= 0], what[what >= 0]
    camera_at = np.array([0.0, 0.0, -0.6])
    rays = points - camera_at
    met, first = meet(np.broadcast_to(camera_at, rays.shape)[0], rays)
    hidden = first != what
    inside_the_wall = (what == 2) & hidden
    assert inside_the_wall.sum() > 30
    pairs = point_pixels(frame(points), [camera(camera_from_points=looking(0.0, camera_at))])
    paired = np.zeros(len(points), dtype=bool)
    paired[pairs[:, 3]] = True
    # What is hidden lies within the box's outline; where that ends between two beams is not known.
    edge = np.abs(met[:, 2]) < 0.3
    edge |= np.abs(np.abs(met[:, 1]) - 1.5) < 0.2
    assert not (paired & inside_the_wall & ~edge).any()
    assert (paired & inside_the_wall).sum() < 0.3 * inside_the_wall.sum()
    # And all but all that can be seen is: the box, the wall above and beside it, the ground.
    pixel, _ = project(points, camera(camera_from_points=looking(0.0, camera_at)))
    within = (pixel > 0).all(axis=1) & (pixel < (WIDTH, HEIGHT)).all(axis=1)
    for each in range(3):
        visible = within & ~hidden & (what == each)
        assert visible.sum() > 50
        assert paired[visible].mean() > 0.93, each


def test_the_ground_hides_nothing_of_itself():
    _, rays = lidar_rays(height_m=0.0)
    down = rays[rays[:, 2] < -0.02]
    points = down * (-1.8 / down[:, 2])[:, None]
    pairs = point_pixels(frame(points), [camera(camera_from_points=looking(0.0, (1, 0, -0.3)))])
    pixel, _ = project(points, camera(camera_from_points=looking(0.0, (1, 0, -0.3))))
    within = (pixel > 0).all(axis=1) & (pixel < (WIDTH, HEIGHT)).all(axis=1)
    assert len(pairs) == within.sum() > 500


FRONT = "frame.bin: camera CAM_FRONT"
NAN = np.full((3, 3), np.nan)
MIRROR = np.diag([1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera_from_points": MIRROR}, "no rotation"),
        ({"camera_from_points": np.diag([2.0, 2, 2, 1])}, "no rotation"),
        ({"camera_from_points": np.full((4, 4), np.nan)}, "no rotation"),
        ({"camera_from_points": np.eye(3)}, "no rotation"),
        ({"intrinsic": np.zeros((3, 3))}, "no inverse"),
        ({"intrinsic": np.array([[0.0, 0, 160], [0, 228, 80], [0, 0, 1]])}, "no inverse"),
        ({"intrinsic": np.array([[228.0, 0, 160], [0, 228, 80], [0, 0, 0]])}, "no inverse"),
        ({"intrinsic": NAN}, "no calibration"),
        ({"intrinsic": np.zeros((0, 3))}, "no calibration"),
        ({"width": 0}, "0 x 160"),
        ({"width": 1 << 20, "height": 1 << 20}, "1048576 x 1048576"),
        ({"time_offset_s": 3.0}, "belongs to another"),
        ({"time_offset_s": float("nan")}, "belongs to another"),
        ({"distortion": (0.1,)}, "1 numbers, not 5"),
    ],
)
def test_a_bad_calibration_is_one_clear_line(changes, said):
    refused_at(FRONT, lambda: camera(**changes), said, "--on-bad-frame skip")


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (jpeg()[:2000], "truncated"),
        (jpeg()[:20], "cannot be decoded"),
        (b"", "no JPEG and no PNG"),
        (b"GIF89a" + bytes(100), "no JPEG and no PNG"),
        (jpeg(300, 160), "300 x 160 pixels, its calibration is for 320 x 160"),
    ],
)
def test_an_image_that_cannot_be_read_is_one_clear_line(encoded, said):
    image = camera(encoded=encoded)
    refused_at(FRONT, image.read, said)
    refused_at(FRONT, lambda: image.resized((80, 160)), said)


def test_any_cut_of_an_image_is_a_user_error():
    data = jpeg(64, 32)
    for end in range(0, len(data), 37):
        refused(camera(encoded=data[:end], width=64, height=32).read)


def test_an_image_is_decoded_only_when_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "front.jpg"
    image = camera(encoded=path)
    frame([[10, 0, 0]], image)
    refused_at(path, image.read, "cannot be read")
    path.write_bytes(jpeg())
    assert image.read().shape == (HEIGHT, WIDTH, 3)
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused(image.read, "topodistill[cameras]")


def test_colors_and_rows_are_where_they_were():
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[: HEIGHT // 2] = (200, 30, 30)
    pixels[HEIGHT // 2 :, : WIDTH // 2] = (30, 30, 200)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    image = camera(encoded=stream.getvalue())
    np.testing.assert_array_equal(image.read(), pixels)
    small = image.resized((16, 32))
    assert small.shape == (16, 32, 3)
    np.testing.assert_array_equal(small[:7], np.broadcast_to([200, 30, 30], (7, 32, 3)))
    np.testing.assert_array_equal(small[9:, :15], np.broadcast_to([30, 30, 200], (7, 15, 3)))


def test_a_camera_that_sees_no_point_and_a_frame_without_images_are_named():
    back = camera(name="CAM_BACK", camera_from_points=looking(180.0))
    for images, field, said in (
        ((camera(), back), "point_pixel", "CAM_BACK sees none of the 1 points of frame 00/0"),
        ((), "images", "00/0 has no camera images"),
    ):
        refused(partial(camera_views, frame([[10, 0, 0]], *images), {field}), said)


def test_only_what_is_asked_for_is_computed():
    broken = dataclasses.replace(camera(), encoded=b"")
    views = camera_views(frame([[10, 0, 0]], broken), {"point_pixel"})
    assert views.images is None
    assert views.point_pixel.tolist() == [[0, 80, 160, 0]]
    elsewhere = camera(camera_from_points=looking(180.0))
    views = camera_views(frame([[10, 0, 0]], elsewhere), {"images"}, (80, 160))
    assert views.point_pixel is None
    assert views.images.shape == (1, 3, 80, 160)
    assert views.images.dtype == np.uint8


# As the download has it: sequence 00's, cut to what matters.
REAL = """\
P0: 7.188560e+02 0.0 6.071928e+02 0.0 0.0 7.188560e+02 1.852157e+02 0.0 0.0 0.0 1.0 0.0
P2: 718.856 0.0 607.1928 45.38225 0.0 718.856 185.2157 -0.1130887 0.0 0.0 1.0 0.003779761
Tr: 4.276802e-04 -9.999672e-01 -8.084491e-03 -1.198459e-02 -7.210626e-03 8.081198e-03 \
-9.999413e-01 -5.403984e-02 9.999738e-01 4.859485e-04 -7.206933e-03 -2.921968e-01
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kitti") / "data"
    simulate_semantickitti(
        root, num_frames=1, num_validation_frames=1, azimuth_steps=300, cameras=True
    )
    return root


@pytest.fixture
def root(simulated: Path, tmp_path: Path) -> Path:
    shutil.copytree(simulated, tmp_path / "data")
    return tmp_path / "data"


def test_a_real_calibration_projects_as_the_benchmark_says(tmp_path: Path):
    path = tmp_path / "calib.txt"
    path.write_text(REAL)
    found = read_calibration(path)
    p2 = np.array([float(word) for word in REAL.splitlines()[1].split()[1:]]).reshape(3, 4)
    tr = np.array([float(word) for word in REAL.splitlines()[2].split()[1:]]).reshape(3, 4)
    for point in ([10.0, 2.0, -1.0], [30.0, -8.0, 1.0]):
        by_hand = p2 @ np.append(tr @ np.append(point, 1.0), 1.0)
        at = found.camera_from_points @ np.append(point, 1.0)
        here = found.intrinsic @ at[:3]
        np.testing.assert_allclose(here, by_hand, atol=1e-9)
        # Ahead of the car is in front of the camera, left of it to the left.
        assert at[2] == pytest.approx(point[0], abs=0.5)


def test_pixels_show_what_their_points_are(simulated: Path):
    source = SPEC.open(simulated, sequences=["00"], cameras=True)
    frame = source[0]
    assert [image.name for image in frame.images] == ["image_2"]
    ((_, image, labels),) = labeled_images(source, simulated)
    assert image.encoded.suffix == ".png"
    _, row, column, point = point_pixels(frame, frame.images).T
    known = frame.segment[point] >= 0
    assert known.sum() > 500
    assert (labels[row, column] == frame.segment[point])[known].mean() > 0.9
    pixel, _ = project(frame.coord[point], image)
    np.testing.assert_array_equal(np.floor(pixel[:, 0]), column)
    assert SPEC.open(simulated, sequences=["00"])[0].images == ()


def test_a_missing_image_is_named_or_its_frame_left_out(root: Path):
    image = root / "sequences/00/image_2/000000.png"
    image.unlink()
    refused_at(image, lambda: SPEC.open(root, sequences=["00"], cameras=True), "no such image")
    both = SPEC.open(root, sequences=["00", "08"], cameras=True, strict=False)
    assert both.names == ("08/000000",)
    assert list(both.unreadable) == ["00/000000"]
    assert both[0].name == "08/000000"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("P2:", "P9:"), "no line P2"),
        (lambda text: text.replace("Tr:", "T:"), "no line Tr"),
        (lambda text: text.replace("Tr: ", "Tr: x "), "no numbers"),
        (lambda text: text.replace("Tr: ", "Tr: 1.0 "), "12 finite numbers"),
        (lambda _: "", "no line P2"),
    ],
)
def test_a_bad_calibration_is_one_line(root: Path, change, said: str):
    path = root / "sequences/00/calib.txt"
    path.write_text(change(path.read_text()))
    refused_at(path, lambda: SPEC.open(root, sequences=["00"], cameras=True), said)


def test_a_calibration_that_is_no_rotation_is_refused_when_a_frame_is_read(root: Path):
    path = root / "sequences/00/calib.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("Tr")]
    path.write_text("\n".join([*lines, "Tr: " + " ".join(["1.0"] * 12)]))
    source = SPEC.open(root, sequences=["00"], cameras=True)
    refused(lambda: source[0], "no rotation")


def test_an_image_that_is_none_is_named(root: Path):
    path = root / "sequences/00/image_2/000000.png"
    path.write_bytes(b"not a picture")
    source = SPEC.open(root, sequences=["00"], cameras=True)
    refused_at(path, lambda: source[0], "no JPEG and no PNG")
