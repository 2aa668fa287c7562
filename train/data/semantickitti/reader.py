"""SemanticKITTI as it lies on disk: `sequences/SS/velodyne/NNNNNN.bin` and `labels/NNNNNN.label`.

Points are little-endian float32 (x, y, z, remission), labels little-endian uint32 with the class in
the lower and the instance in the upper 16 bits.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.dataset_spec import OpenOptions
from train.data.files import RootLayout, reading
from train.data.frame import CameraImage, LidarFrame
from train.data.readers.frame_files import Drive, FrameFiles, FrameFolders
from train.data.semantickitti.camera_images import (
    DriveCalibration,
    calibration_path,
    drive_image,
    image_path,
    read_calibration,
)
from train.data.semantickitti.classes import CLASS_MAP

_LAYOUT: Final = RootLayout(
    "SemanticKITTI",
    "the folder that holds sequences/SS/velodyne/NNNNNN.bin (or dataset/sequences/...)",
    "it holds sequences/",
)
FILES: Final = FrameFiles(class_map=CLASS_MAP)
"""How its points and labels lie in their files."""


class SemanticKitti(FrameFolders):
    """The frames of some sequences, in order of sequence and number, read one at a time.

    Parameters
    ----------
    root
        The folder that holds `sequences/` or `dataset/sequences/`.
    options
        `sequences` are two-digit names. `cache_dir` is not used, there is no index: folders are
        listed each time. The image is that of the left color camera: `image_2/`, with the
        sequence's `calib.txt`, which are a download of their own.

    Raises
    ------
    UserError
        If the folder or a sequence is missing or laid out otherwise, a file is empty or of an
        impossible size, labels have no frame, or no frame is left.
    """

    def __init__(self, root: Path, options: OpenOptions) -> None:
        chosen = tuple(options.sequences) or CLASS_MAP.split[options.split]
        self.root = root
        folder = find_sequences(root)
        _check_present(folder, chosen)
        super().__init__(
            [Drive(name, folder / name / "velodyne", folder / name / "labels") for name in chosen],
            FILES,
            point_endings=(".bin",),
            label_endings=(".label",),
            options=options,
            root=folder,
        )
        self._calibrations: dict[Path, DriveCalibration] | None = None
        if options.cameras:
            paths = sorted({calibration_path(path) for path in self._point_paths})
            self._calibrations = {path: read_calibration(path) for path in paths}
            self._find_images(options.strict)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame.

        Raises
        ------
        UserError
            If a file cannot be read or its contents are damaged.
        """
        return dataclasses.replace(super().__getitem__(index), images=self.images(index))

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """Return the image of one frame, not decoded; none if opened without cameras.

        Raises
        ------
        UserError
            If it is not there, or the calibration cannot be used.
        """
        if self._calibrations is None:
            return ()
        path = self._point_paths[index]
        calibration = self._calibrations[calibration_path(path)]
        return (drive_image(image_path(path), calibration),)

    def _find_images(self, strict: bool) -> None:
        """Refuse frames without an image, or leave them out."""
        kept = []
        for index, path in enumerate(self._point_paths):
            try:
                image_path(path)
            except UserError as error:
                if strict:
                    raise
                self.unreadable[self._names[index]] = str(error)
            else:
                kept.append(index)
        if not kept:
            raise UserError(next(iter(self.unreadable.values())))
        self._names = [self._names[index] for index in kept]
        self._point_paths = [self._point_paths[index] for index in kept]
        self._label_paths = [self._label_paths[index] for index in kept]


def find_sequences(root: Path) -> Path:
    """Return the folder `sequences` under the data root, or say what is there instead.

    Raises
    ------
    UserError
        If the root is missing, a file, empty, a level too high or too low, or something else.
    """
    _LAYOUT.check(root)
    with reading(root):
        for folder in (root / "sequences", root / "dataset" / "sequences"):
            if folder.is_dir():
                return folder
        raise _LAYOUT.refusal(root, lambda folder: (folder / "sequences").is_dir())


def list_sequences(root: Path) -> tuple[str, ...]:
    """Return the names of the sequences that have a `velodyne` folder.

    Raises
    ------
    UserError
        If the root is laid out otherwise, or there is none.
    """
    folder = find_sequences(root)
    present = _present(folder)
    if not present:
        raise UserError(f"{folder}: no sequences found, expected SS/velodyne/NNNNNN.bin")
    return present


def _check_present(folder: Path, sequences: Sequence[str]) -> None:
    """Refuse sequences that are not on disk, naming those that are."""
    with reading(folder):
        missing = [name for name in sequences if not (folder / name / "velodyne").is_dir()]
    if missing:
        raise UserError(
            f"{folder}: missing {', '.join(f'{name}/velodyne' for name in missing)}; present: "
            f"{', '.join(_present(folder)) or 'none'}; copy them there or choose other sequences"
        )


def _present(folder: Path) -> tuple[str, ...]:
    """Return the sequences that have a `velodyne` folder."""
    with reading(folder):
        return tuple(
            sorted(entry.name for entry in folder.iterdir() if (entry / "velodyne").is_dir())
        )
