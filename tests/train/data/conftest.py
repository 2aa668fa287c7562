"""Folders in SemanticKITTI's layout, made by the test's own few lines and not by the simulator."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from train.data.frame import LidarFrame

# (number of points, whether there are labels) of each frame of each sequence
Layout = Mapping[str, Mapping[str, tuple[int, bool]]]


@pytest.fixture
def write_tree(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of random frames; it gives the data root."""

    def write(layout: Layout, below: str = "sequences") -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / "kitti"
        for sequence, frames in layout.items():
            folder = root / below / sequence
            (folder / "velodyne").mkdir(parents=True)
            for stem, (count, labeled) in frames.items():
                points = rng.uniform(-40, 40, (count, 4)).astype("<f4")
                points[:, 3] = rng.uniform(0, 1, count)
                (folder / "velodyne" / f"{stem}.bin").write_bytes(points.tobytes())
                if labeled:
                    (folder / "labels").mkdir(exist_ok=True)
                    classes = rng.choice([0, 10, 40, 252], count)
                    labels = (classes | rng.integers(0, 1 << 16, count) << 16).astype("<u4")
                    (folder / "labels" / f"{stem}.label").write_bytes(labels.tobytes())
        return root

    return write


@pytest.fixture
def frame() -> LidarFrame:
    """Return a frame of 2,000 points, several to a 0.5 m voxel."""
    rng = np.random.default_rng(1)
    return LidarFrame(
        coord=rng.uniform([-4, -3, -2], [4, 3, 1], (2000, 3)).astype(np.float32),
        strength=rng.uniform(0, 1, (2000, 1)).astype(np.float32),
        segment=rng.integers(-1, 19, 2000),
        name="00/000000",
        path=Path("nowhere.bin"),
    )
