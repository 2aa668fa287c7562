"""Simulated frames of one's own: SemanticKITTI's bytes, and the map that explains them."""

from pathlib import Path

import numpy as np

from train.data.registry import dataset_spec
from train.simulation.kitti_layout import CLASS_MAP_FILE, simulate_kitti_layout
from train.simulation.semantickitti import simulate_semantickitti

SMALL = {"num_sweeps": 2, "num_validation_sweeps": 1, "azimuth_steps": 60, "seed": 3}


def test_sweeps_are_semantickitti_s_and_the_map_reads_them(tmp_path: Path):
    made = simulate_kitti_layout(tmp_path / "own", **SMALL)
    simulate_semantickitti(tmp_path / "kitti", **SMALL)
    files = sorted(
        path.relative_to(made.root) for path in made.root.rglob("*.??*") if path.is_file()
    )
    assert Path(CLASS_MAP_FILE) in files
    for path in files:
        if path.parts[0] == "sequences":
            assert (made.root / path).read_bytes() == (tmp_path / "kitti" / path).read_bytes()
    kitti = dataset_spec("semantickitti").open(tmp_path / "kitti", sequences=["00"])
    # With the map that was written, by its split, and without one, since the frames are simulated.
    given = dataset_spec("kitti-layout", {"class_map": made.root / CLASS_MAP_FILE})
    for source in (
        given.open(made.root, "training"),
        dataset_spec("kitti-layout").open(made.root, sequences=made.training_sequences),
    ):
        assert source.names == kitti.names
        np.testing.assert_array_equal(source[1].coord, kitti[1].coord)
        np.testing.assert_array_equal(source[1].segment, kitti[1].segment)
    assert given.open(made.root, "validation").names == ("08/000000",)
    assert simulate_kitti_layout(tmp_path / "own", **SMALL).reused
