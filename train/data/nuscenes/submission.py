"""Predictions as nuScenes' server takes them: a zip of challenge ids, one file a keyframe."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import FrameSource, LidarFrame
from train.data.nuscenes.classes import CLASS_NAMES
from train.data.nuscenes.source import NuScenes
from train.data.submission import WholeZip, checked_prediction

META: Final = {
    "use_camera": False,
    "use_lidar": True,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}
"""Which sensors the predictions use, as the server asks: the LiDAR and nothing else."""

_ENDING = "_lidarseg.bin"


class NuScenesSubmission:
    """Writes `lidarseg/SET/TOKEN_lidarseg.bin` and `SET/submission.json` into one zip.

    SET is what the benchmark's own tools call the split: "test", "val", "train", or "mini_val" and
    "mini_train" for v1.0-mini. Labels are uint8, train id + 1: 1 to 16 and never 0.

    Parameters
    ----------
    output
        The zip to write; it must not exist.
    source
        The keyframes that are to be predicted, all of them.

    Raises
    ------
    UserError
        If the file exists or cannot be written.
    TypeError
        If the source is another dataset's.
    """

    def __init__(self, output: Path, source: FrameSource) -> None:
        if not isinstance(source, NuScenes):
            raise TypeError(
                f"NuScenesSubmission: source must be a NuScenes, not a {type(source).__name__}"
            )
        self._set = source.evaluation_set
        self._missing = set(source.names)
        self._zip = WholeZip(output)
        self._zip.write(f"{self._set}/submission.json", json.dumps({"meta": META}).encode())

    def add(self, sweep: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Take one sweep's train ids, (N,) int64, one for each of its points in their order."""
        checked_prediction(sweep, prediction, len(CLASS_NAMES), self._missing)
        labels = (prediction + 1).astype(np.uint8)
        self._zip.write(f"lidarseg/{self._set}/{sweep.name}{_ENDING}", labels)

    def finish(self) -> Path:
        """Close the zip and return it; refuse one that lacks a sweep."""
        return self._zip.finish(self._missing)


def read_submission(path: Path) -> dict[str, NDArray[np.int64]]:
    """Return the train ids of every keyframe in a submission, by the sweep's name.

    Raises
    ------
    UserError
        If the file is no zip of predictions for one set, lacks or contradicts what the server asks
        about them, or holds an id that is not predicted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except (
        *(OSError, EOFError, zipfile.BadZipFile, zlib.error),
        *(NotImplementedError, RuntimeError, ValueError),  # what zipfile says of odd headers
    ) as error:
        raise UserError(f"{path}: is no zip that can be read ({error})") from error


def _read(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[np.int64]]:
    names = archive.namelist()
    sets = [name.removesuffix("/submission.json") for name in names if name.count("/") == 1]
    if len(sets) != 1 or f"{sets[0]}/submission.json" not in names:
        raise UserError(f"{path}: holds no SET/submission.json, or more than one set")
    meta = json.loads(archive.read(f"{sets[0]}/submission.json"))
    if meta != {"meta": META}:
        raise UserError(f"{path}: {sets[0]}/submission.json is not {json.dumps({'meta': META})}")
    found = {}
    start = f"lidarseg/{sets[0]}/"
    for name in names:
        if name == f"{sets[0]}/submission.json":
            continue
        token = name.removeprefix(start).removesuffix(_ENDING)
        if name != f"{start}{token}{_ENDING}" or "/" in token:
            raise UserError(f"{path}: holds {name!r}; expected {start}TOKEN{_ENDING}")
        train = np.frombuffer(archive.read(name), dtype=np.uint8).astype(np.int64) - 1
        if len(train) and not (train.min() >= 0 and train.max() < len(CLASS_NAMES)):
            raise UserError(
                f"{path}: {name} has labels from {train.min() + 1} to {train.max() + 1}, outside "
                f"1 to {len(CLASS_NAMES)}"
            )
        found[token] = train
    return found
