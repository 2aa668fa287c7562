"""Simulated cameras: pixels that are where the geometry says, light that comes from the sun."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.train.simulation.test_raycast import FLAT
from train.core.errors import UserError
from train.data.cameras import CAMERA_FIELDS, camera_views, point_pixels, project
from train.data.image_files import decode_labels
from train.data.nuscenes import CLASS_NAMES, SPEC, NuScenes
from train.data.nuscenes.tables import read_rows
from train.inspection.inspect import main as inspect
from train.simulation.camera_images import labeled_images, street_looks
from train.simulation.nuscenes import simulate_nuscenes
from train.simulation.simulator import raycast
from train.simulation.simulator.appearance import PALETTE, Appearance
from train.simulation.simulator.camera import (
    NOTHING,
    kitti_cameras,
    nuscenes_cameras,
    pinhole,
    render,
    share_of_turn,
    waymo_cameras,
)
from train.simulation.simulator.models import hdl32, waymo_top
from train.simulation.simulator.scene import Frame, Scene, SceneBuilder, Shape
from train.simulation.simulator.sensor import rotations
from train.simulation.simulator.surfaces import Kind, Material

AT_ORIGIN = Frame(0.0, 0.0, 0.0, 0.0)
LOOKS = street_looks((0, 0))
SHAPES = {
    Shape.BOX: ((1.0, 1.2, 0.8), (0.0, 0.0, 0.0)),
    Shape.FACADE: ((1.0, 1.2, 0.8), (50.0, 0.0, 0.0)),
    Shape.CYLINDER: ((0.8, 0.8, 1.0), (0.0, 0.0, 0.0)),
    Shape.WHEEL: ((1.0, 0.6, 1.0), (0.0, 0.0, 0.0)),
    Shape.ELLIPSOID: ((1.0, 0.7, 0.9), (0.0, 0.0, 0.0)),
}


def scene_of(*rows, ground=FLAT) -> Scene:
    builder = SceneBuilder()
    for shape, place, half, extra, turn in rows:
        more = {"extra": extra, "turn": turn, "group": builder.new_group()}
        builder.add(shape, AT_ORIGIN, place, half, Kind.CAR, Material.METAL, **more)
    return builder.build(ground)


def pose(x=0.0, y=0.0, yaw_deg=0.0, roll_deg=0.0, pitch_deg=0.0) -> np.ndarray:
    moved = np.eye(4)
    moved[:3, :3] = rotations(*(np.deg2rad([angle]) for angle in (roll_deg, pitch_deg, yaw_deg)))[0]
    moved[:3, 3] = (x, y, 0.0)
    return moved


@pytest.mark.parametrize("rig", [nuscenes_cameras, waymo_cameras, kitti_cameras])
def test_a_camera_looks_where_its_yaw_says_and_is_level(rig):
    for camera in rig():
        right, down, forward = camera.mount[:3, :3].T
        np.testing.assert_allclose(np.linalg.det(camera.mount[:3, :3]), 1.0)
        yaw = np.deg2rad(camera.yaw_deg)
        np.testing.assert_allclose(forward, [np.cos(yaw), np.sin(yaw), 0.0], atol=1e-12)
        np.testing.assert_allclose(down, [0.0, 0.0, -1.0], atol=1e-12)
        assert right @ forward == pytest.approx(0.0)


def test_images_are_taken_when_the_lidar_looks_where_the_camera_does():
    for lidar, cameras in ((hdl32(500), nuscenes_cameras()), (waymo_top(500), waymo_cameras())):
        for camera in cameras:
            column = round(share_of_turn(lidar, camera.yaw_deg) * lidar.azimuth_steps - 0.5)
            azimuth = lidar._columns()[column % lidar.azimuth_steps]
            seen = lidar.mount[:3, :3] @ [np.cos(azimuth), np.sin(azimuth), 0.0]
            wanted = camera.mount[:3, 2]
            assert np.rad2deg(np.arccos(np.clip(seen @ wanted, -1, 1))) < 1.0


def test_a_pixel_shows_what_one_ray_through_it_meets():
    # Rolled and pitched: columns are no vertical planes then, and nothing may get lost.
    rng = np.random.default_rng(0)
    rows = [
        (Shape.BOX, (float(x), float(y), 1.0), (0.3, 0.3, 1.0), (0, 0, 0), float(t))
        for x, y, t in rng.uniform([4, -15, 0], [40, 15, 3], (150, 3))
    ]
    scene, camera = scene_of(*rows), pinhole("C", (0, 0, 1.5), 20.0, view_deg=80.0)
    moved = pose(roll_deg=3.0, pitch_deg=-4.0)
    taken = render(camera, scene, moved, LOOKS, np.random.default_rng(0))
    world = moved @ camera.mount
    picks = rng.integers([0, 0], [camera.height, camera.width], (400, 2))
    hits = 0
    for row, column in picks:
        x = (column + 0.5 - camera.width / 2) / camera.focal_px
        y = (row + 0.5 - camera.height / 2) / camera.focal_px
        ray = world[:3, :3] @ (np.array([x, y, 1.0]) / np.sqrt(x * x + y * y + 1))
        one = raycast.cast(scene, world[:3, 3], ray[None, None], reach_m=180.0, seed=0)
        kind = one.kind[0, 0] if one.hit[0, 0] > -2 else NOTHING
        assert taken.kind[row, column] == kind
        depth = one.range_m[0, 0] / np.sqrt(x * x + y * y + 1)
        np.testing.assert_allclose(taken.depth_m[row, column], depth)
        hits += one.hit[0, 0] >= 0
    assert hits > 40


@pytest.mark.parametrize("shape", SHAPES)
def test_a_normal_is_the_direction_in_which_the_surface_changes_least(shape: Shape):
    """Hold the normal against the places that neighboring rays meet: no formula of a shape."""
    half, extra = SHAPES[shape]
    scene = scene_of((shape, (8.0, 0.5, 2.0), half, extra, 0.4))
    camera = pinhole("C", (0, 0, 3.5), 0.0, view_deg=30.0)
    origin = camera.mount[:3, 3]
    directions = np.ascontiguousarray(camera.rays @ camera.mount[:3, :3].T)
    hits = raycast.cast(scene, origin, directions, reach_m=60.0, seed=0)
    normals = raycast.surface_normals(scene, hits, origin, directions)
    on = hits.hit == 0
    assert on.sum() > 2000
    np.testing.assert_allclose(np.linalg.norm(normals[on], axis=1), 1.0)
    assert ((normals * directions).sum(axis=-1)[on] < 0).all()
    # The cosine that the ray caster gives is of the same normal.
    np.testing.assert_allclose(-(normals * directions).sum(axis=-1)[on], hits.cosine[on], atol=2e-3)
    places = origin + np.where(on, hits.range_m, np.nan)[..., None] * directions
    across, down = places[2:, 1:-1] - places[:-2, 1:-1], places[1:-1, 2:] - places[1:-1, :-2]
    crossed = np.cross(across, down)
    crossed /= np.linalg.norm(crossed, axis=-1, keepdims=True)
    agree = np.abs((crossed * normals[1:-1, 1:-1]).sum(axis=-1))
    inner = np.isfinite(agree)
    # All but pixels whose neighbors lie on another face.
    assert np.mean(agree[inner] > 0.995) > 0.9


def test_the_ground_faces_up_and_a_slope_does_not():
    camera = pinhole("C", (0, 0, 2.0), 0.0, view_deg=70.0)
    directions = np.ascontiguousarray(camera.rays @ camera.mount[:3, :3].T)
    hits = raycast.cast(scene_of(), camera.mount[:3, 3], directions, reach_m=60.0, seed=0)
    normals = raycast.surface_normals(scene_of(), hits, camera.mount[:3, 3], directions)
    on, sky = hits.hit == -1, hits.hit == -2
    assert (normals[on][:, 2] > 0.99).all()
    assert (normals[sky] == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shadow_lies_where_a_ray_towards_the_sun_meets_something(shape: Shape):
    half, extra = SHAPES[shape]
    scene = scene_of((shape, (6.0, 0.0, 1.5), half, extra, 0.7))
    towards = np.array([0.5, 0.3, 0.6]) / np.linalg.norm([0.5, 0.3, 0.6])
    grid = np.stack(np.meshgrid(np.arange(-2, 12, 0.43), np.arange(-5, 5, 0.41)), axis=-1)
    places = np.concatenate([grid.reshape(-1, 2), np.zeros((grid[..., 0].size, 1))], axis=1)
    light = raycast.sunlight(scene, places, np.full(len(places), -1), towards)
    wanted = np.ones(len(places))
    # The ray caster, with one column of one ray for each place.
    for number, place in enumerate(places + 0.3 * towards):
        hits = raycast.cast(scene, place, towards[None, None], reach_m=50.0, seed=0)
        wanted[number] = hits.hit[0, 0] < 0
    assert 10 < (wanted == 0).sum() < len(places) / 2
    np.testing.assert_array_equal(light, wanted)


def test_leaves_let_through_as_much_as_their_free_path_says():
    scene = scene_of((Shape.FOLIAGE, (0.0, 0.0, 3.0), (1.0, 1.0, 1.0), (0.8, 0, 0), 0.0))
    up = np.array([0.0, 0.0, 1.0])
    places = np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    light = raycast.sunlight(scene, places, np.full(4, -1), up)
    # Straight up through a ball of radius 1: 2 m, 1.6 m, nothing; and from above it nothing.
    np.testing.assert_allclose(light, [np.exp(-2 / 0.8), np.exp(-1.6 / 0.8), 1.0, 1.0])


def test_nothing_shades_itself_and_threads_change_nothing():
    rows = [
        (Shape.BOX, (float(x), 0.0, 1.0), (0.5, 0.5, 1.0), (0, 0, 0), 0.0) for x in range(0, 40, 4)
    ]
    scene = scene_of(*rows)
    towards = np.array([0.0, 0.6, 0.8])
    top = np.array([[x, 0.0, 2.0] for x in range(0, 40, 4)])
    assert (raycast.sunlight(scene, top, np.arange(10), towards) == 1).all()
    many = np.random.default_rng(0).uniform([-2, -4, 0], [42, 4, 2], (999, 3))
    one, three = (
        raycast.sunlight(scene, many, np.full(999, -1), towards, threads=threads)
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one, three)
    assert 0 < (one == 0).sum() < 999


def test_colors_are_drawn_alike_for_all_kinds():
    """Draw many streets: the color of an object says nothing of what it is."""
    builder = SceneBuilder()
    kinds = [Kind.CAR, Kind.VEGETATION, Kind.BUILDING, Kind.PERSON]
    for number in range(4000):
        what = (kinds[number % 4], Material.METAL)
        builder.add(Shape.BOX, AT_ORIGIN, (0, 0, 0), (1, 1, 1), *what, group=builder.new_group())
    scene = builder.build(FLAT)
    hit = np.arange(4000)
    material = np.where(hit % 4 == 1, int(Material.FOLIAGE), int(Material.METAL))

    def albedo_of(looks: Appearance, places: np.ndarray) -> np.ndarray:
        return looks.albedo(scene, hit, scene.kind, material, places, np.full(4000, 100.0))

    albedo = albedo_of(LOOKS, np.zeros((4000, 3)))
    hue = albedo / albedo.sum(axis=1, keepdims=True)
    wanted = PALETTE / PALETTE.sum(axis=1, keepdims=True)
    color = np.argmin(((hue[:, None] - wanted) ** 2).sum(axis=-1), axis=1)
    counts = np.stack([np.bincount(color[hit % 4 == k], minlength=len(PALETTE)) for k in range(4)])
    expected = counts.sum(axis=0) / 4
    chi_square = ((counts - expected) ** 2 / np.maximum(expected, 1)).sum()
    # 63 degrees of freedom: 120 is beyond one in 10,000.
    assert chi_square < 120
    # And one object is one color, another street has another.
    np.testing.assert_allclose(albedo, albedo_of(LOOKS, np.ones((4000, 3))), rtol=0.02)
    other = albedo_of(street_looks((0, 1)), np.zeros((4000, 3)))
    assert np.mean(np.abs(other - albedo).max(axis=1) > 0.02) > 0.8


def test_an_image_depends_on_its_seed_alone():
    scene, camera = scene_of((Shape.BOX, (9, 0, 1), (1, 1, 1), (0, 0, 0), 0.3)), nuscenes_cameras()
    first, again, noisier = (
        render(camera[0], scene, pose(), LOOKS, np.random.default_rng(seed), threads=threads)
        for seed, threads in ((1, 1), (1, 3), (2, 1))
    )
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert (first.pixels != noisier.pixels).any()
    np.testing.assert_array_equal(first.kind, noisier.kind)
    # Neither black nor white.
    assert 60 < first.pixels.mean() < 200


SMALL = {"num_frames": 2, "num_validation_frames": 1, "azimuth_steps": 300}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cameras") / "data"
    simulate_nuscenes(root, cameras=True, **SMALL)
    return root


@pytest.fixture(scope="module")
def seeing(root: Path) -> NuScenes:
    return SPEC.open(root, sequences=["scene-0001"], cameras=True)


def test_points_are_the_same_with_and_without_images(root: Path, seeing, tmp_path: Path):
    simulate_nuscenes(tmp_path / "bare", **SMALL)
    bare = SPEC.open(tmp_path / "bare", sequences=["scene-0001"])
    assert bare.names == seeing.names
    for index in range(2):
        assert bare[index].images == ()
        assert len(seeing[index].images) == 6
        np.testing.assert_array_equal(bare[index].coord, seeing[index].coord)
        np.testing.assert_array_equal(bare[index].segment, seeing[index].segment)
    assert not list((tmp_path / "bare").rglob("*.jpg"))
    # Who needs no images takes frames that have some; who needs them refuses the others.
    assert simulate_nuscenes(root, **SMALL).reused
    assert simulate_nuscenes(root, cameras=True, **SMALL).reused
    with pytest.raises(UserError, match="without camera images"):
        simulate_nuscenes(tmp_path / "bare", cameras=True, **SMALL)


def test_the_chain_of_tables_is_followed_by_hand(root: Path, seeing):
    """lidar -> ego(t) -> global -> ego(t') -> camera, step by step with other arithmetic."""
    folder = root / "v1.0-trainval"
    tables = {
        name: {row.token(): row.values for row in read_rows(folder / f"{name}.json")}
        for name in ("sample_data", "ego_pose", "calibrated_sensor")
    }

    def turned(q, v):
        # Rotation by a quaternion: v + 2 w (u x v) + 2 u x (u x v).
        w, u = q[0], np.array(q[1:])
        return v + 2 * w * np.cross(u, v) + 2 * np.cross(u, np.cross(u, v))

    def outwards(row, v):
        return turned(row["rotation"], v) + row["translation"]

    def inwards(row, v):
        w, x, y, z = row["rotation"]
        return turned((w, -x, -y, -z), v - row["translation"])

    frame = seeing[1]
    lidar = tables["sample_data"][frame.name]
    point = frame.coord[100].astype(np.float64)
    in_ego = outwards(tables["calibrated_sensor"][lidar["calibrated_sensor_token"]], point)
    in_world = outwards(tables["ego_pose"][lidar["ego_pose_token"]], in_ego)
    rows = {
        row["filename"].split("/")[1]: row
        for row in tables["sample_data"].values()
        if row["sample_token"] == lidar["sample_token"] and row["fileformat"] == "jpg"
    }
    assert len(rows) == len(frame.images) == 6
    for image in frame.images:
        row = rows[image.name]
        back = inwards(tables["ego_pose"][row["ego_pose_token"]], in_world)
        sensor = tables["calibrated_sensor"][row["calibrated_sensor_token"]]
        by_hand = inwards(sensor, back)
        found = image.camera_from_points @ np.append(point, 1.0)
        np.testing.assert_allclose(found[:3], by_hand, atol=1e-9)
        assert image.time_offset_s == pytest.approx((row["timestamp"] - lidar["timestamp"]) * 1e-6)
        assert image.intrinsic.tolist() == sensor["camera_intrinsic"]
    offsets = [image.time_offset_s for image in frame.images]
    assert -0.05 <= min(offsets) < max(offsets) <= 0.0


def test_pixels_show_what_their_points_are(root: Path, seeing):
    """The classes of points and of the pixels that they are paired with: images fit the points."""
    agree = total = 0
    for index in range(len(seeing)):
        frame = seeing[index]
        pairs = point_pixels(frame, frame.images)
        for view, image in enumerate(frame.images):
            labels = decode_labels(image.encoded.with_suffix(".labels.png").read_bytes(), "")
            _, row, column, point = pairs[pairs[:, 0] == view].T
            known = frame.segment[point] >= 0
            agree += (labels[row, column] == frame.segment[point])[known].sum()
            total += known.sum()
            off = (labels[row, np.minimum(column + 12, 319)] == frame.segment[point])[known]
            assert len(row) > 100
            assert off.mean() < (labels[row, column] == frame.segment[point])[known].mean()
    assert total > 5000
    # The rest are edges, and leaves that one of the two looks through.
    assert agree / total > 0.93


def test_label_images_hold_train_ids_and_lie_beside_each_image(root: Path, seeing):
    found = list(labeled_images(seeing, root))
    assert len(found) == 12
    seen = np.zeros(256, dtype=bool)
    for _, image, labels in found:
        assert labels.shape == (image.height, image.width)
        seen[np.unique(labels)] = True
    assert seen[255]
    assert not seen[len(CLASS_NAMES) : 255].any()
    assert seen[:255].sum() >= 6
    found[0][1].encoded.with_suffix(".labels.png").rename(root / "elsewhere.png")
    with pytest.raises(UserError, match=r"labels\.png: cannot be read"):
        list(labeled_images(seeing, root))
    (root / "elsewhere.png").rename(found[0][1].encoded.with_suffix(".labels.png"))


def test_a_frame_of_the_simulation_becomes_views(seeing):
    frame = seeing[0]
    views = camera_views(frame, CAMERA_FIELDS)
    assert views.images.shape == (6, 3, 160, 320)
    for view, image in enumerate(frame.images):
        np.testing.assert_array_equal(views.images[view].transpose(1, 2, 0), image.read())
        own = views.point_pixel[views.point_pixel[:, 0] == view]
        pixel, depth = project(frame.coord[own[:, 3]], image)
        np.testing.assert_array_equal(np.floor(pixel[:, ::-1]), own[:, 1:3])
        assert (depth > 1).all()


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns(".topodistill-index"))
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("calibrated_sensor", {"camera_intrinsic": []}, "camera .* no calibration"),
        ("calibrated_sensor", {"camera_intrinsic": [[0, 0, 0]] * 3}, "camera .* no inverse"),
        ("calibrated_sensor", {"rotation": [0.0, 0.0, 0.0, 0.0]}, "camera .* no rotation"),
        ("calibrated_sensor", {"rotation": [1.0, 1.0, 0.0, 0.0]}, "camera .* no rotation"),
        ("sample_data", {"timestamp": 1514768405000000}, r"taken \+5\.0\d* s from the frame"),
    ],
)
def test_bad_values_in_the_tables_are_one_line_once_they_are_read(copied, table, change, said):
    folder = copied / "v1.0-trainval"
    sensors = {row.token(): row.text("channel") for row in read_rows(folder / "sensor.json")}
    path = folder / f"{table}.json"
    rows = json.loads(path.read_text())
    for row in rows:
        camera = sensors.get(row.get("sensor_token")) or row["filename"].split("/")[1]
        row.update(change if camera == "CAM_BACK" else {})
    path.write_text(json.dumps(rows))
    source = SPEC.open(copied, sequences=["scene-0001"], cameras=True)
    with pytest.raises(UserError, match=rf"/CAM_BACK/.*\.jpg: .*{said}"):
        source[0]
    assert SPEC.open(copied, sequences=["scene-0001"])[0].images == ()


def test_a_missing_image_is_refused_or_its_frame_left_out(copied):
    source = SPEC.open(copied, sequences=["scene-0001"], cameras=True)
    gone = source.images(0)[2].encoded
    gone.unlink()
    with pytest.raises(UserError, match="no such image") as error:
        SPEC.open(copied, sequences=["scene-0001"], cameras=True)
    assert str(error.value).startswith(f"{gone}: ")
    lenient = SPEC.open(copied, sequences=["scene-0001"], cameras=True, strict=False)
    assert list(lenient.unreadable) == [source.names[0]]
    assert lenient.names == source.names[1:]
    assert lenient[0].images[0].time_offset_s == source[1].images[0].time_offset_s


def test_tables_without_cameras_are_refused_where_images_are_needed(tmp_path: Path):
    simulate_nuscenes(tmp_path / "bare", num_frames=1, num_validation_frames=1, azimuth_steps=16)
    with pytest.raises(UserError, match="holds simulated frames without camera images; remove it"):
        SPEC.open(tmp_path / "bare", sequences=["scene-0001"], cameras=True)
    (tmp_path / "bare" / "simulation.json").unlink()  # as recorded ones
    with pytest.raises(UserError, match="no key frame of a camera"):
        SPEC.open(tmp_path / "bare", sequences=["scene-0001"], cameras=True)


def test_inspect_draws_points_on_images_and_says_what_cannot_be_drawn(copied, tmp_path, capsys):
    flags = ["--dataset", "nuscenes", "--data-root", str(copied), "--frames", "1"]
    output = tmp_path / "looked"
    # Warnings of the small frames aside.
    assert inspect([*flags, "--output", str(output), "--pictures", "1", "--images"]) in (0, 1)
    found = json.loads((output / "inspection.json").read_text())
    assert sorted(found["points_by_camera"]) == sorted(c.name for c in nuscenes_cameras())
    assert min(found["points_by_camera"].values()) > 100
    assert found["problems"] == []
    (drawn,) = output.glob("*.cameras.png")
    assert drawn.name in found["pictures"]
    assert drawn.read_bytes().startswith(b"\x89PNG")
    source = SPEC.open(copied, sequences=["scene-0001"], cameras=True)
    source.images(0)[0].encoded.write_bytes(b"cut")
    assert inspect([*flags, "--output", str(output), "--pictures", "1", "--images"]) == 1
    found = json.loads((output / "inspection.json").read_text())
    assert "no JPEG and no PNG" in found["problems"][0]
    capsys.readouterr()
    other = ["--dataset", "kitti-layout", "--data-root", str(copied), "--output", str(output)]
    assert inspect([*other, "--images"]) == 2
    assert "without camera images" in capsys.readouterr().err
