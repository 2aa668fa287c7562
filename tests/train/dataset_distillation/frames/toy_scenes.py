"""Small scenes: a ground, a wall to the left, a box ahead; told apart by where they are."""

from pathlib import Path

import numpy as np

from train.data.frame import LidarFrame
from train.dataset_distillation.frames.read import FrameData, frame_clouds

CLASSES = ("ground", "wall", "box", "nowhere")
"""No scene has a point of the last one."""
TAKE = FrameData(root=Path(), points=120, range_m=10.0)


def scene(seed, *, unlabeled=10, points=400):
    """A frame of a scene; the first points have no label that counts."""
    rng = np.random.default_rng(seed)
    ground = np.c_[rng.uniform(-9, 9, (points // 2, 2)), rng.normal(-1.7, 0.02, points // 2)]
    side, rest = 4 + rng.uniform(0, 1), points // 4
    wall = np.c_[rng.uniform(-9, 9, rest), np.full(rest, side), rng.uniform(-1.7, 4, rest)]
    box = rng.uniform(-1, 1, (rest, 3)) + np.array([5 + rng.uniform(0, 1), 0.0, -0.7])
    coord = np.concatenate([ground, wall, box]).astype(np.float32)
    segment = np.repeat([0, 1, 2], [points // 2, rest, rest]).astype(np.int64)
    strength = (0.2 + 0.2 * segment + 0.05 * rng.random(len(segment))).astype(np.float32)
    order = rng.permutation(len(coord))
    coord, segment, strength = coord[order], segment[order], strength[order]
    segment[:unlabeled] = -1
    return LidarFrame(coord, strength[:, None], segment, f"toy/{seed:06d}", Path(f"{seed}.bin"))


def scenes(number, first=0, take=TAKE):
    """Frames of several scenes as clouds."""
    return frame_clouds((scene(first + each) for each in range(number)), CLASSES, take)


CLASS_MAP = """
labels: {0: nothing, 5: ground, 6: wall, 7: box, 8: nowhere}
learning_ignore: {0: true}
split: {train: [hill], valid: [lake]}
"""


def write_scenes(folder, frames=3):
    """Write two drives of different scenes in the KITTI layout, with their class map."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.yaml").write_text(CLASS_MAP)
    for name, first, count in (("hill", 0, frames), ("lake", 50, 2)):
        drive = folder / "data" / name
        for part in ("velodyne", "labels"):
            (drive / part).mkdir(parents=True)
        for number in range(count):
            frame = scene(first + number)
            points = np.concatenate([frame.coord, frame.strength], axis=1).astype("<f4")
            (drive / "velodyne" / f"{number:06d}.bin").write_bytes(points.tobytes())
            raw = np.where(frame.segment < 0, 0, frame.segment + 5).astype("<u4")
            (drive / "labels" / f"{number:06d}.label").write_bytes(raw.tobytes())
    return folder
