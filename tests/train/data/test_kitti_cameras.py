"""KITTI's color camera beside SemanticKITTI's sweeps."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.cameras import point_pixels, project
from train.data.semantickitti import SPEC
from train.data.semantickitti.camera_images import read_calibration
from train.simulation.camera_images import labeled_images
from train.simulation.semantickitti import simulate_semantickitti

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
        root, num_sweeps=1, num_validation_sweeps=1, azimuth_steps=300, cameras=True
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


def test_a_missing_image_is_named_or_its_sweep_left_out(root: Path):
    image = root / "sequences/00/image_2/000000.png"
    image.unlink()
    with pytest.raises(UserError, match="no such image"):
        SPEC.open(root, sequences=["00"], cameras=True)
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
    with pytest.raises(UserError, match=said) as error:
        SPEC.open(root, sequences=["00"], cameras=True)
    assert str(error.value).startswith(f"{path}: ")


def test_a_calibration_that_is_no_rotation_is_refused_when_a_sweep_is_read(root: Path):
    path = root / "sequences/00/calib.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("Tr")]
    path.write_text("\n".join([*lines, "Tr: " + " ".join(["1.0"] * 12)]))
    source = SPEC.open(root, sequences=["00"], cameras=True)
    with pytest.raises(UserError, match="no rotation"):
        source[0]


def test_an_image_that_is_none_is_named(root: Path):
    path = root / "sequences/00/image_2/000000.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(UserError, match="no JPEG and no PNG") as error:
        SPEC.open(root, sequences=["00"], cameras=True)[0]
    assert str(error.value).startswith(f"{path}: ")
