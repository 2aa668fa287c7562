"""The comparison of simulated frames with a real one: its numbers, its page, its refusals."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.compare.command import main, real_frame
from benchmarks.studies.compare.page import PUBLISHED_SHARES, page
from benchmarks.studies.compare.statistics import RANGE_EDGES_M, rings, shares, statistics
from train.data.frame import IGNORE_INDEX, LidarFrame
from train.data.semantickitti import CLASS_NAMES
from train.simulation.semantickitti import simulate_semantickitti
from train.simulation.write import SIMULATOR_VERSION

NUM_CLASSES = len(CLASS_NAMES)


def frame_of(rows):
    """Return a frame of points at (azimuth, elevation in degrees, range, strength, train id)."""
    azimuth, elevation, range_m, strength, segment = np.array(rows).T
    level = range_m * np.cos(np.radians(elevation))
    coord = np.stack(
        [
            level * np.cos(np.radians(azimuth)),
            level * np.sin(np.radians(azimuth)),
            range_m * np.sin(np.radians(elevation)),
        ],
        axis=1,
    )
    return LidarFrame(
        coord.astype(np.float32),
        strength.astype(np.float32)[:, None],
        segment.astype(np.int64),
        "made",
        Path("made"),
    )


MADE = frame_of(
    [
        (5.0, 2.0, 4.0, 0.1, 8),
        (120.0, 2.1, 6.0, 0.2, 8),
        (230.0, 2.2, 6.5, 0.3, 8),
        (10.0, -3.0, 12.0, 0.5, 0),
        (250.0, -3.0, 45.0, 0.7, IGNORE_INDEX),
    ]
)


def test_a_ring_ends_where_the_azimuth_falls_back():
    assert rings(MADE.coord).tolist() == [0, 0, 0, 1, 1]


def test_the_statistics_of_a_frame_made_by_hand():
    found = statistics(MADE, NUM_CLASSES)
    assert found.points == 5
    assert found.by_ring.tolist() == [3, 2]
    np.testing.assert_allclose(found.elevation_deg, [2.1, -3.0], atol=1e-4)
    by_range = dict(zip(RANGE_EDGES_M[:-1], found.by_range.tolist(), strict=True))
    assert {low: count for low, count in by_range.items() if count} == {3: 1, 5: 2, 10: 1, 40: 1}
    assert found.by_class[[0, 1, 9]].tolist() == [1, 1, 3]
    assert found.by_class.sum() == 5
    np.testing.assert_allclose(found.strength[9], [0.15, 0.2, 0.25], atol=1e-6)
    assert np.isnan(found.strength[2]).all()
    # The point without a class is left out.
    np.testing.assert_allclose(shares([found])[0, [0, 8]], [0.25, 0.75])


def test_a_frame_without_labels_is_refused():
    bare = LidarFrame(MADE.coord, MADE.strength, None, "bare", Path("bare"))
    with pytest.raises(ValueError, match="frame bare has no labels"):
        statistics(bare, NUM_CLASSES)


def test_the_published_shares_are_of_all_classes():
    assert tuple(PUBLISHED_SHARES) == CLASS_NAMES
    # The rest has no class that counts.
    assert sum(PUBLISHED_SHARES.values()) == pytest.approx(1.0 - 0.0315, abs=2e-4)


def test_the_page_says_how_far_apart_the_frames_are():
    found = statistics(MADE, NUM_CLASSES)
    same = page(found, [found, found], MADE, "picture.png", "the command", 7)
    assert "0 % of the points would have to move to another ring" in same
    assert "simulator version 7" in same
    assert "![simulated frame made, and histograms](picture.png)" in same
    assert "| road | 75.00 | 75.00 (75.00–75.00) | 2 of 2 | 19.88 |" in same
    other = statistics(frame_of([(5.0, 2.0, 4.0, 0.1, 0)] * 5), NUM_CLASSES)
    apart = page(found, [other], MADE, "picture.png", "the command", 7)
    # All points of the other are in the first ring, and are cars.
    assert "40 % of the points would have to move to another ring" in apart
    assert "75 % to another class;" in apart


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Return the files of a simulated frame that plays the real one."""
    root = tmp_path_factory.mktemp("stand-in") / "data"
    simulate_semantickitti(root, num_frames=1, num_validation_frames=1, seed=9, azimuth_steps=80)
    folder = root / "sequences" / "00"
    return folder / "velodyne" / "000000.bin", folder / "labels" / "000000.label"


def run(stand_in, output, *more):
    points, labels = map(str, stand_in)
    words = ["--real", points, "--labels", labels, "--output", str(output)]
    return main([*words, "--frames", "2", "--azimuth-steps", "80", *more])


def test_the_command_writes_a_page_and_a_picture_again_the_same(stand_in, tmp_path):
    assert run(stand_in, tmp_path / "a") == 0
    text = (tmp_path / "a" / "simulated_lidar.md").read_text()
    assert "--frames 2 --seed 0 --azimuth-steps 80" in text
    assert "## Classes" in text
    assert text.count("\n| ") > 50
    # No path of this machine, and no name of the real file.
    assert str(tmp_path) not in text
    picture = (tmp_path / "a" / "simulated_lidar.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert run(stand_in, tmp_path / "b") == 0
    assert (tmp_path / "b" / "simulated_lidar.md").read_text() == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--frames", "0"), "--frames 0: at least 1"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--real", "nowhere.bin"), "nowhere.bin: cannot be read"),
        (("--labels", "nowhere.label"), "nowhere.label: cannot be read"),
    ],
)
def test_mistakes_are_one_line(stand_in, tmp_path, capsys, change, message):
    assert run(stand_in, tmp_path / "out", *change) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "simulated_lidar.md").exists()


def test_an_output_that_is_a_file_is_refused(stand_in, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(stand_in, tmp_path / "file") == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert run(stand_in, tmp_path / "file" / "below") == 2
    assert "--output" in capsys.readouterr().err


def test_the_real_frame_has_64_rings(real_data):
    folder = real_data / "semantickitti" / "dev" / "sequences" / "00"
    real = real_frame(folder / "velodyne" / "000000.bin", folder / "labels" / "000000.label")
    found = statistics(real, NUM_CLASSES)
    assert found.points == 124_668
    assert len(found.by_ring) == 64
    assert found.by_ring.sum() == found.points
    assert (np.diff(found.elevation_deg) < 0.0).all()


def test_the_recorded_page_is_of_this_version_of_the_simulator():
    recorded = Path(__file__).resolve().parents[2] / "docs" / "results" / "simulated_lidar.md"
    text = recorded.read_text()
    assert f"(simulator version {SIMULATOR_VERSION}," in text
    assert recorded.with_suffix(".png").is_file()
