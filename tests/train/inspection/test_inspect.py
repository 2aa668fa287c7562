"""The command that looks a dataset over: its numbers against independent counts, its errors."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from train.data import nuscenes, waymo
from train.data.dataset_spec import dataset_spec
from train.data.semantickitti import CLASS_NAMES
from train.inspection.inspect import REPORT, main
from train.inspection.views import (
    CLASS_COLORS,
    NO_POINT,
    class_colors,
    directions,
    from_above,
    from_sensor,
    indexed_png,
    values_seen,
)


def run(root: Path, output: Path, *more: str) -> int:
    return main(
        ["--dataset", "semantickitti", "--data-root", str(root), "--output", str(output), *more]
    )


def test_the_report_counts_what_is_on_disk(write_tree, tmp_path: Path, capsys):
    root = write_tree(
        {"00": {"000000": (100, True), "000001": (60, False)}, "08": {"000000": (80, True)}}
    )
    assert run(root, tmp_path / "out", "--pictures", "0") == 0
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert report["sequences"] == ["00", "08"]
    assert (report["frames"], report["unlabeled_frames"], report["points"]) == (3, 1, 240)
    assert report["points_a_frame"] == [60, 80, 100]
    labels = np.concatenate([np.fromfile(path, "<u4") & 0xFFFF for path in root.rglob("*.label")])
    expected = {"ignored": (labels == 0).sum(), "road": (labels == 40).sum()}
    expected["car"] = np.isin(labels, [10, 252]).sum()
    for name, count in report["points_by_class"].items():
        assert count == expected.get(name, 0)
    assert list(report["points_by_class"]) == ["ignored", *CLASS_NAMES]
    coord = np.concatenate([np.fromfile(p, "<f4").reshape(-1, 4) for p in root.rglob("*.bin")])
    far = np.linalg.norm(coord[:, :3], axis=1)
    for span, count in report["points_by_range_m"].items():
        low, high = map(float, span.split("-"))
        assert count == ((far >= low) & (far < high)).sum()
    assert sum(report["points_by_range_m"].values()) == 240
    labeled = [np.fromfile(p, "<f4").reshape(-1, 4) for p in sorted(root.rglob("000000.bin"))]
    classes = [np.fromfile(p, "<u4") & 0xFFFF for p in sorted(root.rglob("000000.label"))]
    road = np.concatenate(labeled)[np.concatenate(classes) == 40, 3]
    lower_median = np.sort(road)[(len(road) - 1) // 2]
    assert report["strength_by_class"]["road"] == pytest.approx(lower_median, abs=0.0051)
    assert report["pictures"] == []
    shown = capsys.readouterr().out
    assert "3 of 3 frames, 1 of them without labels" in shown
    assert "not present: bicycle, motorcycle" in shown
    assert "problems: none" in shown
    assert "warnings: none" in shown
    assert report["warnings"] == []


def test_chosen_sequences_alone_are_looked_at(write_tree, tmp_path: Path):
    root = write_tree({"00": {"000000": (10, True)}, "08": {"000000": (20, True)}})
    assert run(root, tmp_path / "out", "--pictures", "0", "--sequences", "08") == 0
    assert json.loads((tmp_path / "out" / REPORT).read_text())["points"] == 20


def test_frames_with_problems_are_listed_and_the_rest_is_counted(
    write_tree, tmp_path: Path, capsys
):
    root = write_tree({"00": {f"{n:06d}": (50, True) for n in range(3)}})
    bad = root / "sequences/00/labels/000001.label"
    bad.write_bytes(np.full(50, 77, "<u4").tobytes())
    assert run(root, tmp_path / "out", "--pictures", "0") == 1
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert (report["frames"], report["points"], len(report["problems"])) == (2, 100, 1)
    assert str(bad) in report["problems"][0]
    assert str(bad) in capsys.readouterr().out


def test_what_opening_finds_is_listed_too(write_tree, tmp_path: Path, capsys):
    root = write_tree({"00": {f"{n:06d}": (50, True) for n in range(3)}})
    bad = root / "sequences/00/velodyne/000002.bin"
    bad.write_bytes(b"")
    assert run(root, tmp_path / "out", "--pictures", "0") == 1
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert (report["frames_there"], report["frames"]) == (2, 2)
    (problem,) = report["problems"]
    assert problem.startswith(f"{bad}: ")
    assert problem in capsys.readouterr().out


def test_what_looks_wrong_is_listed_and_exits_with_1(write_tree, tmp_path: Path, capsys):
    root = write_tree({"00": {f"{n:06d}": (50, True) for n in range(3)}})
    for path in root.rglob("*.bin"):
        points = np.fromfile(path, "<f4").reshape(-1, 4)
        points[:, 3] *= 255
        path.write_bytes(points.tobytes())
    (root / "sequences/00/velodyne/000001.bin").unlink()
    assert run(root, tmp_path / "out", "--pictures", "0") == 1
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    (alone,), (strengths,) = report["problems"], report["warnings"]
    label = root / "sequences/00/labels/000001.label"
    assert alone.startswith(f"{label}: is a label file without its frame")
    assert strengths.startswith(
        "00/000000 and 1 more of 2 frames: strengths (remission, intensity)"
    )
    shown = capsys.readouterr().out
    assert f"problems: 1\n{alone}\n" in shown
    assert f"warnings: 1\n{strengths}\n" in shown


def test_labels_that_never_count_are_a_problem(write_tree, tmp_path: Path, capsys):
    root = write_tree({"00": {f"{n:06d}": (50, True) for n in range(3)}})
    for path in root.rglob("*.label"):
        path.write_bytes(np.zeros(50, "<u4").tobytes())
    assert run(root, tmp_path / "out", "--pictures", "0") == 1
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    (problem,) = report["problems"]
    assert problem.startswith("none of the 3 labeled frames that were looked at has a point")
    assert report["warnings"] == []


@pytest.mark.parametrize("name", ["nuscenes", "waymo"])
def test_every_dataset_can_be_looked_at(tmp_path: Path, name: str, capsys):
    made = dataset_spec(name).simulate(
        tmp_path / "data", num_frames=2, num_validation_frames=1, seed=0, azimuth_steps=48
    )
    output = tmp_path / "out"
    arguments = ["--dataset", name, "--data-root", str(made.root), "--output", str(output)]
    assert main([*arguments, "--pictures", "1"]) == 0
    report = json.loads((output / REPORT).read_text())
    assert report["sequences"] == [*made.training_sequences, *made.validation_sequences]
    spec = dataset_spec(name)
    sources = [
        spec.open(made.root, split, require_labels=False) for split in ("training", "validation")
    ]
    frames = [source[index] for source in sources for index in range(len(source))]
    assert report["frames"] == len(frames)
    assert report["points"] == sum(len(frame.coord) for frame in frames)
    assert list(report["points_by_class"]) == ["ignored", *spec.class_names]
    for number, count in enumerate(report["points_by_class"].values()):
        labels = [frame.segment == number - 1 for frame in frames if frame.segment is not None]
        assert count == sum(int(here.sum()) for here in labels)
    assert report["points_by_class"]["vegetation"] > 0
    (picture,) = report["pictures"]
    assert imread(output / picture).shape[1] == 2000


def test_a_picture_shows_the_classes_that_are_there(write_tree, tmp_path: Path):
    root = write_tree({"00": {"000000": (4000, True), "000001": (50, False)}})
    assert run(root, tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / REPORT).read_text())["pictures"] == [
        "00_000000.png",
        "00_000001.png",
    ]
    whole = imread(tmp_path / "out/00_000000.png")[..., :3]
    image = whole[:, :1780]  # without the bars of strength and range
    assert image.shape[0] > 1000
    colors = class_colors(CLASS_NAMES)

    def pixels(picture: np.ndarray, color: np.ndarray) -> int:
        # Small dots are blended with the black behind them, which keeps the color's direction.
        length = np.linalg.norm(picture, axis=-1)
        along = picture @ (color / np.linalg.norm(color))
        return int(((length > 0.2) & (along > 0.999 * length)).sum())

    # From above, then the first of three panoramas, which are as high as they get.
    above, around = image[: len(image) // 4], image[len(image) // 3 : len(image) // 2]
    for name in ("car", "road"):
        for view in (above, around):
            assert pixels(view, colors[CLASS_NAMES.index(name)]) > 200
    assert pixels(image, colors[CLASS_NAMES.index("traffic-sign")]) == 0
    bare = imread(tmp_path / "out/00_000001.png")[:, :1780, :3]
    assert pixels(bare, colors[CLASS_NAMES.index("road")]) == 0


@pytest.mark.parametrize(
    "names",
    [CLASS_NAMES, nuscenes.CLASS_NAMES, waymo.CLASS_NAMES],
    ids=["kitti", "nuscenes", "waymo"],
)
def test_colors_of_classes_are_apart(names):
    assert set(names) <= set(CLASS_COLORS)
    colors = class_colors(names)
    apart = np.abs(colors[:, None] - colors[None]).max(axis=-1) + np.eye(len(colors))
    assert apart.min() > 0.1


def test_a_class_that_is_not_known_has_a_color():
    unknown = class_colors(("a", "b", "c"))
    assert unknown.shape == (4, 3)
    assert unknown.min() >= 0.0
    assert unknown.max() <= 1.0


def test_a_sensor_looks_from_its_own_place_along_the_vehicle():
    coord = np.array([[1, 2, 3], [0, 5, 2], [4, 1, 2], [0, 1, 0], [0, 1, 2]], dtype=np.float32)
    azimuth, elevation, range_m = directions(coord, (0.0, 1.0, 2.0), 90.0)
    # y is ahead: x is to the right, which is negative.
    np.testing.assert_allclose(azimuth[:3], [-45, 0, -90], atol=1e-9)
    np.testing.assert_allclose(elevation, [np.rad2deg(np.arctan(1 / 2**0.5)), 0, 0, -90, 0])
    np.testing.assert_allclose(range_m, [3**0.5, 4, 4, 2, 0])


def test_an_official_split_can_be_looked_at(write_tree, tmp_path: Path, capsys):
    root = write_tree({"00": {"000000": (10, True)}, "08": {"000000": (20, True)}})
    assert run(root, tmp_path / "out", "--pictures", "0", "--split", "validation") == 0
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert (report["split"], report["sequences"], report["points"]) == ("validation", [], 20)
    assert "validation split" in capsys.readouterr().out


def test_a_few_frames_of_many_are_evenly_spread(write_tree, tmp_path: Path, capsys):
    root = write_tree({"00": {f"{n:06d}": (10 + n, True) for n in range(9)}})
    assert run(root, tmp_path / "out", "--frames", "3", "--pictures", "1") == 0
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert (report["frames"], report["frames_there"]) == (3, 9)
    assert report["points_a_frame"] == [10, 14, 18]
    assert report["pictures"] == ["00_000000.png"]
    assert "3 of 9 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--dataset", "kitti"], "unknown dataset 'kitti'"),
        (["--data-root", "/nowhere/at/all"], "/nowhere/at/all: no such folder"),
        (["--sequences", "07"], "missing 07/velodyne"),
        (["--pictures", "-1"], "--pictures"),
        (["--max-frames", "-1"], "--max-frames"),
        (["--split", "training"], "missing 01/velodyne"),
        (["--split", "training", "--sequences", "00"], "give one of them"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    write_tree, tmp_path: Path, capsys, more: list[str], said: str
):
    root = write_tree({"00": {"000000": (10, True)}})
    assert run(root, tmp_path / "out", *more) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out" / REPORT).exists()


def test_an_output_that_is_a_file_is_refused(write_tree, tmp_path: Path, capsys):
    root = write_tree({"00": {"000000": (10, True)}})
    (tmp_path / "out").write_text("mine")
    assert run(root, tmp_path / "out") == 2
    assert "is a file" in capsys.readouterr().err
    assert run(root, tmp_path / "out" / "below") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_without_sequences_the_root_is_named(tmp_path: Path, capsys):
    (tmp_path / "sequences/00").mkdir(parents=True)
    assert run(tmp_path, tmp_path / "out") == 2
    assert "no sequences found" in capsys.readouterr().err


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
