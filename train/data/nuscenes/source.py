"""nuScenes-lidarseg as it lies on disk: tables, `samples/LIDAR_TOP/*.pcd.bin`, `lidarseg/`."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.dataset_spec import OpenOptions
from train.data.files import reading
from train.data.frame import CameraImage, LidarFrame, NoLabelsError
from train.data.index import Index
from train.data.nuscenes.camera_images import KeyframeImages, missing_files
from train.data.nuscenes.classes import CATEGORY_TO_TRAIN, CLASS_NAMES
from train.data.nuscenes.keyframes import keyframe_index
from train.data.nuscenes.layout import SCENES, choose_version, find_versions
from train.data.nuscenes.points import (
    POINT_BYTES,
    check_point_bytes,
    label_files,
    read_points,
)
from train.data.nuscenes.tables import read_rows

_NO_LABELS = label_files({})
"""By which files of labels are looked at before the categories are read."""


class NuScenes:
    """The LiDAR keyframes of some scenes, in order of scene and time, read one at a time.

    The first time a version of the tables is opened an index of them is built, which takes some
    20 s for v1.0-trainval. Opening looks at the sizes of all files, so that a damaged or partial
    download is found before training; what only the contents show is found when a frame is
    read.

    Points are in the sensor's own frame, as the files have them: x to the right, y forward, z up.

    Parameters
    ----------
    root
        The folder that holds `samples/`, `lidarseg/` and one or more of `v1.0-trainval/`,
        `v1.0-mini/` and `v1.0-test/`.
    options
        A split is the official scenes; training and validation are v1.0-trainval's if it is there,
        otherwise v1.0-mini's. `sequences` are names of scenes ("scene-0061"). Images are those of a
        sample's cameras, the key frames of `samples/CAM_*/`, for which a further index is built.

    Attributes
    ----------
    version
        The folder of tables that was taken.
    sequences
        The scenes that were taken.
    missing_sequences
        The official split's scenes that the tables do not have; none in a whole download.

    Raises
    ------
    UserError
        If the folder is missing or laid out otherwise, a table is missing or damaged, a scene is
        not in it, a file it names is missing or of an impossible size, or no frame is left.
    """

    class_names = CLASS_NAMES

    def __init__(self, root: Path, options: OpenOptions) -> None:
        split, sequences, strict = options.split, options.sequences, options.strict
        self.root, self.split = root, split
        self.version = choose_version(root, split, sequences)
        index = keyframe_index(root, self.version, options.cache_dir)
        present = set(index["scenes"].tolist())
        if sequences:
            self.sequences, self.missing_sequences = tuple(sequences), tuple[str, ...]()
        else:
            official = SCENES[split][self.version]
            self.sequences = tuple(name for name in official if name in present)
            self.missing_sequences = tuple(name for name in official if name not in present)
        self._select(index, options.require_labels)
        self._images = (
            KeyframeImages(root, self.version, options.cache_dir) if options.cameras else None
        )
        self.unreadable = self._check_sizes(strict) | self._check_images(strict)
        if self.unreadable:
            self._leave_out(self.unreadable)
        labeled = bool((self._label_files != b"").any())
        self._labels = label_files(self._read_categories()) if labeled else None

    @property
    def names(self) -> tuple[str, ...]:
        """The frames' names, tokens of their rows in sample_data.json, in index order."""
        return tuple(token.decode() for token in self._tokens.tolist())

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._tokens)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame.

        Raises
        ------
        UserError
            If a file cannot be read or its contents are damaged, see `read_points`.
        """
        path = self.root / self._point_files[index].decode()
        coord, strength = read_points(path)
        segment = None
        if self._labels is not None and self._label_files[index]:
            label_path = self.root / self._label_files[index].decode()
            segment = self._labels.read_segment(label_path, len(coord))
        name = self._tokens[index].decode()
        pose = self._poses[index].copy()
        return LidarFrame(coord, strength, segment, name, path, pose, self.images(index))

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """Return the images of one frame, not decoded; none if opened without cameras.

        Raises
        ------
        UserError
            If a calibration cannot be used, or an image belongs to another time.
        """
        if self._images is None:
            return ()
        time_us = int(self._timestamps_us[index])
        return self._images.of(self._tokens[index], time_us, self._poses[index])

    @property
    def evaluation_set(self) -> str:
        """What the benchmark's own tools call the split: "train", "val", "test", "mini_val" ..."""
        name = {"training": "train", "validation": "val", "test": "test"}[self.split]
        return f"mini_{name}" if self.version == "v1.0-mini" and name != "test" else name

    def files(self, index: int) -> tuple[Path, ...]:
        """Return a frame's file of points, its labels if any, and the tables that it depends on."""
        tables = ["sample_data", "calibrated_sensor", "ego_pose"]
        found = [self.root / self._point_files[index].decode()]
        if self._labels is not None and self._label_files[index]:
            found.append(self.root / self._label_files[index].decode())
            tables += ["lidarseg", "category"]
        return (*found, *(self.root / self.version / f"{name}.json" for name in tables))

    def _select(self, index: Index, require_labels: bool) -> None:
        """Keep the wanted scenes' keyframes, in the order in which the scenes were asked for."""
        place = {name: at for at, name in enumerate(self.sequences)}
        rank = np.array([place.get(name, -1) for name in index["scene"].tolist()], dtype=np.int64)
        wanted = np.argsort(rank, kind="stable")[np.count_nonzero(rank < 0) :]
        labeled = index["labels"][wanted] != b""
        self.skipped_unlabeled = 0
        if require_labels:
            self.skipped_unlabeled = int(np.count_nonzero(~labeled))
            if not labeled.any():
                self._refuse_unlabeled(len(wanted))
            wanted = wanted[labeled]
        elif not len(wanted):
            raise UserError(
                f"{self.root / self.version / 'sample_data.json'}: has no LIDAR_TOP keyframe of "
                f"the {len(self.sequences)} scenes; unpack it again or choose other scenes"
            )
        self._tokens = index["token"][wanted]
        self._point_files, self._label_files = index["points"][wanted], index["labels"][wanted]
        self._poses: NDArray[np.float64] = index["pose"][wanted]
        self._timestamps_us = index["timestamp_us"][wanted]

    def _refuse_unlabeled(self, num_frames: int) -> None:
        path = self.root / self.version / "lidarseg.json"
        with reading(path):
            there = path.is_file()
        if not there:
            raise NoLabelsError(
                f"{path}: no such file; the labels are a download of their own "
                f"(nuScenes-lidarseg), unpack it into {self.root}"
            )
        raise NoLabelsError(
            f"{path}: has no row for any of the {num_frames} keyframes of the "
            f"{len(self.sequences)} scenes; unpack the labels (nuScenes-lidarseg) into "
            f"{self.root} or choose other scenes"
        )

    def _check_sizes(self, strict: bool) -> dict[str, str]:
        """Return what is wrong with frames whose files are missing or of an impossible size."""
        base = os.fsencode(self.root) + b"/"
        damaged: dict[str, str] = {}
        missing: list[str] = []
        for token, points, labels in zip(
            self._tokens.tolist(),
            self._point_files.tolist(),
            self._label_files.tolist(),
            strict=True,
        ):
            before = len(missing)
            num_bytes = _size(base + points, missing)
            label_bytes = _size(base + labels, missing) if labels else None
            if len(missing) > before:
                damaged[token.decode()] = (
                    f"{missing[-1]}: cannot be read; it is named by the tables in "
                    f"{self.root / self.version} but not there; unpack all parts of the download"
                )
                continue
            assert num_bytes is not None
            try:
                check_point_bytes(self.root / points.decode(), num_bytes)
                if label_bytes is not None:
                    label_path, count = self.root / labels.decode(), num_bytes // POINT_BYTES
                    _NO_LABELS.check_label_bytes(label_path, label_bytes, count)
            except UserError as error:
                if strict:
                    raise
                damaged[token.decode()] = str(error)
        if missing and strict:
            more = f" and {len(missing) - 1} more files are" if len(missing) > 1 else " is"
            raise UserError(
                f"{missing[0]}: cannot be read; it{more} named by the tables in "
                f"{self.root / self.version} but not there; unpack all parts of the download, or "
                "choose scenes that are there whole"
            )
        return damaged

    def _check_images(self, strict: bool) -> dict[str, str]:
        """Return what is wrong with frames that lack an image file."""
        if self._images is None:
            return {}
        missing = missing_files(self._images, self._tokens.tolist())
        damaged = {
            token.decode(): (
                f"{path}: no such image, but {self.root / self.version / 'sample_data.json'} names "
                "it; unpack all parts of the download that hold camera key frames"
            )
            for token, path in missing.items()
        }
        if damaged and strict:
            raise UserError(next(iter(damaged.values())))
        return damaged

    def _leave_out(self, damaged: Mapping[str, str]) -> None:
        """Keep the frames that are not named; refuse if none is left."""
        kept = np.array([name not in damaged for name in self.names])
        if not kept.any():
            raise UserError(next(iter(damaged.values())))
        self._tokens, self._poses = self._tokens[kept], self._poses[kept]
        self._timestamps_us = self._timestamps_us[kept]
        self._point_files, self._label_files = self._point_files[kept], self._label_files[kept]

    def _read_categories(self) -> dict[int, str]:
        """Return the category of each of the 256 numbers that a label can be."""
        path = self.root / self.version / "category.json"
        categories: dict[int, str] = {}
        for row in read_rows(path):
            name = row.text("name")
            if "index" not in row.values:
                raise UserError(
                    f"{path}: its categories have no 'index' ({name} is the first); this is the "
                    "table of the base download, unpack nuScenes-lidarseg's over it"
                )
            number = row.integer("index")
            if name not in CATEGORY_TO_TRAIN:
                raise row.error(f"category {name!r} is not one of nuScenes-lidarseg's 32")
            if not 0 <= number < 256 or number in categories:
                raise row.error(f"'index' {number} of {name} is taken or not in 0..255")
            categories[number] = name
        return categories


def list_scenes(root: Path) -> tuple[str, ...]:
    """Return the names of all scenes in all versions' tables below a data root, sorted.

    Raises
    ------
    UserError
        If the root is laid out otherwise, or a table of scenes is missing or damaged.
    """
    return tuple(sorted(set().union(*find_versions(root).values())))


def _size(path: bytes, missing: list[str]) -> int | None:
    """Return a file's size; None, and its name noted, if it is not there."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a Path for each of 60,000 takes seconds
    except OSError:
        missing.append(os.fsdecode(path))
        return None
