"""Predict clouds from files, one or a drive of them: read, ask the networks, write, show.

Shape letters: N points, C classes.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.console import Progress, logger
from train.core.device import describe_device
from train.core.errors import UserError
from train.data.readers.frame_files import FrameFiles
from train.evaluation.load_network import LoadedNetwork
from train.evaluation.network_pass import (
    SINGLE_PASS,
    TEST_TIME_AUGMENTATIONS,
    Precision,
    TTATransform,
)
from train.inspection.frame_checks import prediction_warnings
from train.predict.cloud import predict_frame
from train.predict.cloud_files import (
    LABELED_ENDINGS,
    Cloud,
    LabelWriter,
    read_cloud,
    write_prediction,
)
from train.predict.frame_list import CloudToPredict
from train.predict.recording import DriveRecording, Shown

_LOST: Final = "rays without a return; they get no class"


@dataclass(frozen=True)
class Reading:
    """How clouds are read, predicted and written.

    Attributes
    ----------
    network, grid_size_m
        The network, and the edge of its voxels.
    device, precision, tta
        Where and how it computes.
    writer
        Writes labels.
    files
        As `read_cloud` takes them.
    """

    network: LoadedNetwork
    grid_size_m: float
    device: torch.device
    precision: Precision
    tta: str | None
    writer: LabelWriter
    files: FrameFiles

    @property
    def num_classes(self) -> int:
        """C."""
        return self.network.model.num_classes

    @property
    def passes(self) -> str:
        """How the network is asked, for people."""
        if self.tta is None:
            return "a single pass"
        views = TEST_TIME_AUGMENTATIONS[self.tta]
        return f"test-time augmentation {self.tta}, mean of {len(views)} passes"

    def tell(self) -> None:
        """Say which network this is and on which voxels."""
        if self.network.note:
            logger.info(self.network.note)
        logger.info(self.network.model.describe())
        if self.grid_size_m != self.network.grid_size_m:
            logger.info(
                f"note: voxels of {self.grid_size_m:g} m, in training "
                f"{self.network.grid_size_m:g} m"
            )

    def read(self, path: Path) -> Cloud:
        """Read a cloud."""
        return read_cloud(path, files=self.files)

    def ask(self, cloud: Cloud) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the classes and the probabilities of a cloud's points.

        Raises
        ------
        UserError
            If the voxels do not fit the cloud, or the cloud the memory.
        """
        views = SINGLE_PASS if self.tta is None else TEST_TIME_AUGMENTATIONS[self.tta]
        return self._ask(self.network, cloud, self.grid_size_m, views)

    def ask_teacher(self, teacher: LoadedNetwork, cloud: Cloud) -> NDArray[np.int64]:
        """Return the classes that a second network gives, on its own voxels in a single pass."""
        return self._ask(teacher, cloud, teacher.grid_size_m, SINGLE_PASS)[0]

    def _ask(
        self,
        network: LoadedNetwork,
        cloud: Cloud,
        grid_size_m: float,
        views: Sequence[TTATransform],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        try:
            return predict_frame(
                network.model.to(self.device),
                cloud.frame,
                grid_size_m,
                clip_range_m=network.clip_range_m,
                views=views,
                precision=self.precision,
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{cloud.frame.path}: {self.device} has too little memory for this cloud and "
                "network; use --device cpu, or a larger --grid-size-m"
            ) from error

    def truth(self, wanted: CloudToPredict, cloud: Cloud) -> NDArray[np.int64] | None:
        """Return the true classes of a cloud's points; None where they are not known."""
        class_map = self.writer.class_map
        if wanted.truth is None or class_map is None or class_map != self.files.class_map:
            return None
        num_rows = len(cloud.frame.coord) if cloud.there is None else len(cloud.there)
        segment = self.files.read_segment(wanted.truth, num_rows)
        return segment if cloud.there is None else segment[cloud.there]


@dataclass(frozen=True)
class Recording:
    """A recording and the teacher that it shows beside the student."""

    drive: DriveRecording
    teacher: LoadedNetwork | None

    def add(
        self, reading: Reading, wanted: CloudToPredict, cloud: Cloud, labels: NDArray[np.int64]
    ) -> None:
        """Show one frame."""
        teacher = None if self.teacher is None else reading.ask_teacher(self.teacher, cloud)
        self.drive.add(
            Shown(
                wanted.points.name, cloud.frame.coord, labels, teacher, reading.truth(wanted, cloud)
            )
        )


@contextmanager
def open_recording(
    path: Path | None, reading: Reading, teacher: LoadedNetwork | None
) -> Iterator[Recording | None]:
    """Give a recording that is on the disk, whole, when the block ends without an error.

    Parameters
    ----------
    path
        An `.rrd` file; None gives None.
    reading
        Says the classes.
    teacher
        Shown beside the student; None for none.

    Raises
    ------
    UserError
        If the package for it is not installed, or the file cannot be written.
    """
    if path is None:
        yield None
        return
    class_map = reading.writer.class_map
    names = reading.network.class_names or tuple(str(at) for at in range(reading.num_classes))
    colors = None if class_map is None else class_map.colors
    with DriveRecording.to_file(path, names, colors, with_teacher=teacher is not None) as drive:
        yield Recording(drive, teacher)


def predict_single(
    reading: Reading,
    wanted: CloudToPredict,
    cloud: Cloud,
    probabilities_path: Path | None,
    recording: Recording | None,
) -> NDArray[np.int64]:
    """Predict one cloud, write what was asked for, and say how it was done.

    Returns
    -------
    ndarray
        (C,) how many points each class has.
    """
    _tell_cloud(wanted.points, cloud, reading.network.class_names)
    started = time.monotonic()
    labels, probabilities = reading.ask(cloud)
    seconds = time.monotonic() - started
    logger.info(
        f"{reading.passes} on {describe_device(reading.device)}, {reading.precision}, "
        f"{seconds:.1f} s"
    )
    contents = reading.writer.contents(wanted.output, cloud, labels)
    write_prediction(wanted.output, contents, probabilities_path, probabilities)
    if recording is not None:
        recording.add(reading, wanted, cloud, labels)
    return np.bincount(labels, minlength=reading.num_classes)


def predict_drive(
    reading: Reading,
    clouds: Sequence[CloudToPredict],
    recording: Recording | None,
    *,
    skip_bad: bool,
) -> NDArray[np.int64]:
    """Predict clouds one after the other and write each at once; say how fast it went.

    Parameters
    ----------
    reading, clouds, recording
        What to do.
    skip_bad
        Leave out clouds that cannot be read, and list them; otherwise the first one ends it all.

    Returns
    -------
    ndarray
        (C,) how many points of all clouds each class has.

    Raises
    ------
    UserError
        If a cloud cannot be read, unless such are left out, or if none can.
    """
    counts = np.zeros(reading.num_classes, dtype=np.int64)
    left_out: list[UserError] = []
    lost_rays = 0
    progress = Progress("predicting", len(clouds))
    started = time.monotonic()
    for number, wanted in enumerate(clouds):
        try:
            cloud = reading.read(wanted.points)
        except UserError as error:
            if not skip_bad:
                progress.close()
                raise
            left_out.append(error)
            progress.advance({"left out": len(left_out)})
            continue
        if number == 0:
            _tell_cloud(wanted.points, cloud, reading.network.class_names)
        lost_rays += cloud.lost_rays
        labels, _ = reading.ask(cloud)
        write_prediction(wanted.output, reading.writer.contents(wanted.output, cloud, labels))
        if recording is not None:
            recording.add(reading, wanted, cloud, labels)
        counts += np.bincount(labels, minlength=reading.num_classes)
        progress.advance({"points": len(labels)})
    progress.close()
    seconds = time.monotonic() - started
    for reason in left_out:
        logger.info(f"left out: {reason}")
    done = len(clouds) - len(left_out)
    if done == 0:
        raise UserError(f"none of {len(clouds)} clouds can be read; the first: {left_out[0]}")
    if lost_rays:
        logger.info(f"note: {lost_rays} rows of all clouds are {_LOST}")
    logger.info(
        f"{done} frames in {seconds:.1f} s, {done / seconds:.2f} frames a second with reading and "
        f"writing; {reading.passes} on {describe_device(reading.device)}, {reading.precision}"
    )
    return counts


def _tell_cloud(path: Path, cloud: Cloud, class_names: tuple[str, ...] | None) -> None:
    """Say what was read, and what looks odd about it."""
    strength = cloud.frame.strength
    logger.info(f"{path}: {cloud.kind}, {len(strength)} points; strength: {cloud.strength_from}")
    if cloud.there is not None:
        logger.info(f"note: {cloud.lost_rays} of {len(cloud.there)} rows are {_LOST}")
    for line in prediction_warnings(cloud.frame, class_names):
        logger.warning(f"warning: {path}: {line}")
    if path.suffix.lower() in LABELED_ENDINGS and 0.0 < float(strength.max()) < 0.01:
        logger.info(
            f"note: strengths run to {float(strength.max()):g} only, networks are trained on 0 to "
            "1; if intensities run to 255, give --data.strength-scale 255"
        )


def class_summary(counts: NDArray[np.int64], class_names: tuple[str, ...] | None) -> str:
    """Return the shares of the five largest classes, for people."""
    shown = [
        f"{train_id if class_names is None else class_names[train_id]} "
        f"{100.0 * counts[train_id] / counts.sum():.1f} %"
        for train_id in np.argsort(-counts, kind="stable")[:5].tolist()
        if counts[train_id]
    ]
    return ", ".join(shown)
