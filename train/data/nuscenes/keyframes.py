"""An index of a version's LiDAR keyframes: what the tables say of them, joined once and kept.

Shape letters: K keyframes.
"""

from pathlib import Path
from typing import Final

import numpy as np

from train.core.console import logger
from train.core.errors import UserError
from train.data.files import reading
from train.data.index import Index, cached_index
from train.data.nuscenes.tables import Row, read_rows, table_files, utf_8

INDEX_VERSION: Final = 2
"""Raised whenever `_build` makes something else of the same tables."""

_CHANNEL: Final = "LIDAR_TOP"
_TABLES: Final = ("scene", "sample", "calibrated_sensor", "sample_data", "ego_pose")
_LABELS: Final = "lidarseg"
_LARGE_BYTES: Final = 100_000_000


def keyframe_index(root: Path, version: str, cache_dir: Path | None) -> Index:
    """Return what a version's tables say of its LiDAR keyframes.

    Parameters
    ----------
    root
        The data root.
    version
        The folder of tables below it.
    cache_dir
        See `cached_index`.

    Returns
    -------
    Index
        In order of time: "scene" (K,) names, "token" (K,) of the sample_data row, "points" and
        "labels" (K,) paths below the root as UTF-8, the latter empty where there are none,
        "timestamp_us" (K,) int64, "pose" (K, 4, 4) float64, world from sensor; and besides them
        "scenes": the names of all scenes, also of those without a keyframe.

    Raises
    ------
    UserError
        If a table is missing, damaged, or points to what is not there.
    """
    folder = root / version
    tables = table_files(root, version, _TABLES)
    labels = folder / f"{_LABELS}.json"
    with reading(folder):
        if labels.is_file():
            tables[_LABELS] = labels
    return cached_index(
        root,
        f"nuscenes-{version}",
        list(tables.values()),
        lambda: _build(folder, tables),
        cache_dir,
        version=INDEX_VERSION,
    )


def _build(folder: Path, tables: dict[str, Path]) -> Index:
    """Join the tables; of the two largest only the keyframes' rows are ever held."""
    with reading(folder):
        num_bytes = sum(path.stat().st_size for path in tables.values())
    if num_bytes >= _LARGE_BYTES:
        logger.info(f"{folder}: reading {num_bytes / 1e9:.1f} GB of tables, once; about 10 s a GB")
    scene_names = {row.token(): row.text("name") for row in read_rows(tables["scene"])}
    if len(set(scene_names.values())) != len(scene_names):
        raise UserError(f"{tables['scene']}: two scenes have the same name; unpack it again")
    scene_of = {
        row.token(): row.found("scene_token", scene_names, tables["scene"])
        for row in read_rows(tables["sample"])
    }
    mounting = {row.token(): row for row in read_rows(tables["calibrated_sensor"])}
    rows = [row for row in read_rows(tables["sample_data"]) if _is_keyframe(row)]
    tokens = [row.token() for row in rows]
    if len(set(tokens)) != len(tokens):
        raise UserError(f"{tables['sample_data']}: two rows have the same token; unpack it again")
    wanted = {row.token("ego_pose_token") for row in rows}
    ego = {
        token: row.transform()
        for row in read_rows(tables["ego_pose"])
        if (token := row.token()) in wanted
    }
    sensors = {
        row.token("calibrated_sensor_token"): row.found(
            "calibrated_sensor_token", mounting, tables["calibrated_sensor"]
        )
        for row in rows
    }
    mounted = {token: row.transform() for token, row in sensors.items()}
    label_files = _label_files(tables[_LABELS]) if _LABELS in tables else {}
    scenes = [row.found("sample_token", scene_of, tables["sample"]) for row in rows]
    times = [row.integer("timestamp") for row in rows]
    order = sorted(range(len(rows)), key=lambda at: (times[at], tokens[at]))
    poses = [
        rows[at].found("ego_pose_token", ego, tables["ego_pose"])
        @ mounted[rows[at].token("calibrated_sensor_token")]
        for at in order
    ]
    return {
        "scenes": np.array(sorted(scene_names.values()), dtype=np.str_),
        "scene": np.array([scenes[at] for at in order], dtype=np.str_),
        "token": utf_8([tokens[at] for at in order]),
        "points": utf_8([rows[at].file_name() for at in order]),
        "labels": utf_8([label_files.get(tokens[at], "") for at in order]),
        "timestamp_us": np.array([times[at] for at in order], dtype=np.int64),
        "pose": np.array(poses, dtype=np.float64).reshape(-1, 4, 4),
    }


def _is_keyframe(row: Row) -> bool:
    """Return whether a row of sample_data is a LiDAR frame that may have labels."""
    # The folder is the channel, which saves a join over the largest table.
    return row.flag("is_key_frame") and f"/{_CHANNEL}/" in f"/{row.file_name()}"


def _label_files(path: Path) -> dict[str, str]:
    """Return the label file of each sample_data token."""
    return {row.token("sample_data_token"): row.file_name() for row in read_rows(path)}
