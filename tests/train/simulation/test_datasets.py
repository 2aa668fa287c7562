"""What holds of every dataset's simulation: the same bytes anywhere, labels for all, refusals."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.data.nuscenes.classes import CATEGORY_TO_TRAIN
from train.data.readers.class_map_file import CLASS_MAP_FILE
from train.data.semantickitti.classes import RAW_TO_TRAIN
from train.simulation.nuscenes import simulate_nuscenes
from train.simulation.semantickitti import simulate_kitti_layout, simulate_semantickitti
from train.simulation.simulator.surfaces import Kind
from train.simulation.waymo import simulate_waymo

ROOT = Path(__file__).resolve().parents[3]
SMALL = {"num_frames": 2, "num_validation_frames": 1, "azimuth_steps": 60}
SIMULATORS = {
    "semantickitti": (simulate_semantickitti, {}),
    "kitti-layout": (simulate_kitti_layout, {}),
    "nuscenes": (simulate_nuscenes, {}),
    "waymo-v1": (simulate_waymo, {"file_format": "v1"}),
    "waymo-v2": (simulate_waymo, {"file_format": "v2"}),
}
ANY = pytest.mark.parametrize("name", SIMULATORS)


def digest(root: Path) -> dict[str, str]:
    """Return what every file below a folder holds, without a reader's index."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }


def simulate(name: str, root: Path, **settings):
    function, options = SIMULATORS[name]
    return function(root, **{**SMALL, **options, **settings})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all of them."""
    base = tmp_path_factory.mktemp("datasets")
    for name in SIMULATORS:
        simulate(name, base / name, seed=4)
    return base


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all of them, made by another process on other threads."""
    folder = tmp_path_factory.mktemp("elsewhere")
    lines = [
        f"{function.__name__}({str(folder / name)!r}, seed=4, **{ ({**SMALL, **options})!r})"
        for name, (function, options) in SIMULATORS.items()
    ]
    lines[:0] = sorted({f"from {f.__module__} import {f.__name__}" for f, _ in SIMULATORS.values()})
    environment = os.environ | {
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": str(ROOT),
        "NUMBA_NUM_THREADS": "3",
    }
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, env=environment)
    return folder


@ANY
def test_the_same_seed_gives_the_same_bytes_in_any_process(base: Path, elsewhere: Path, name: str):
    assert len(digest(base / name)) >= 3
    assert digest(elsewhere / name) == digest(base / name)


def says_nothing(path: Path) -> bool:
    """Return whether a file is the same for every seed: a map, calibrations, an empty table."""
    empty = path.suffix == ".json" and json.loads(path.read_text()) == []
    return empty or path.name == "class_map.yaml" or path.parent.name == "lidar_calibration"


@ANY
def test_another_seed_gives_other_bytes_everywhere(base: Path, tmp_path: Path, name: str):
    root = simulate(name, tmp_path / "other", seed=5).root
    values = set(digest(base / name).values())
    same = {path for path, value in digest(root).items() if value in values}
    assert same == {path for path in digest(root) if says_nothing(root / path)}


WRONG = (("num_frames", 0), ("num_validation_frames", -3), ("seed", -1), ("azimuth_steps", 3))
EVERYWHERE = [(name, *wrong) for name in SIMULATORS for wrong in WRONG]


@pytest.mark.parametrize(
    ("name", "setting", "value"), [*EVERYWHERE, ("waymo-v1", "file_format", "v3")]
)
def test_an_impossible_setting_is_named(tmp_path: Path, name: str, setting: str, value):
    with pytest.raises(
        UserError, match=rf"{setting} must be (at least \d+|v1 or v2), not '?{value}"
    ):
        simulate(name, tmp_path / "data", **{setting: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "class_of", "classes"),
    [
        ("semantickitti", RAW_TO_TRAIN, range(-1, 19)),
        ("nuscenes", CATEGORY_TO_TRAIN, range(-1, 16)),
        ("waymo", {value: value - 1 for value in range(23)}, range(-1, 22)),
    ],
)
def test_every_kind_has_an_official_label_and_every_class_a_kind(dataset, class_of, classes: range):
    labels = {getattr(kind, dataset) for kind in Kind}
    assert {class_of[label] for label in labels} == set(classes)
    if class_of is not RAW_TO_TRAIN:
        # What is too far away is id 0 in SemanticKITTI, which is no kind's.
        assert labels == set(class_of)


def test_a_class_map_explains_the_same_frames(base: Path):
    """With the map that was written, by its split, and without one, since they are simulated."""
    own = base / "kitti-layout"
    for path in (own / "sequences").rglob("*.??*"):
        twin = base / "semantickitti" / path.relative_to(own)
        assert path.read_bytes() == twin.read_bytes()
    kitti = dataset_spec("semantickitti").open(base / "semantickitti", sequences=["00"])
    given = dataset_spec("kitti-layout", {"class_map": own / CLASS_MAP_FILE})
    plain = dataset_spec("kitti-layout").open(own, sequences=["00"])
    for source in (given.open(own, "training"), plain):
        assert source.names == kitti.names
        np.testing.assert_array_equal(source[1].coord, kitti[1].coord)
        np.testing.assert_array_equal(source[1].segment, kitti[1].segment)
    assert given.open(own, "validation").names == ("08/000000",)
