"""A drive to look at in the Rerun viewer: points by student, teacher, truth and disagreement.

Shape letters: N points.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX
from train.inspection.views import class_colors

TIMELINE: Final = "frame"
"""The timeline's name: frames are numbered from 0."""

VIEWS: Final = ("student", "teacher", "truth", "disagreement")
"""What is shown side by side; each has its points below its name."""

_APPLICATION: Final = "topodistill_predict"
_RADIUS_M: Final = 0.04

AGREE, TEACHER_ALONE_RIGHT, STUDENT_ALONE_RIGHT, BOTH_WRONG, DIFFER = range(5)
"""What `disagreement` says of a point."""

# The colors of Okabe and Ito, which color-blind readers can tell apart; gray for the rest.
_VERDICTS: Final = (
    (AGREE, "right, or the same", (110, 110, 110)),
    (TEACHER_ALONE_RIGHT, "the student alone is wrong", (213, 94, 0)),
    (STUDENT_ALONE_RIGHT, "the teacher alone is wrong", (0, 158, 115)),
    (BOTH_WRONG, "wrong", (204, 121, 167)),
    (DIFFER, "student and teacher differ", (240, 228, 66)),
)


@dataclass(frozen=True)
class Shown:
    """A frame to show.

    Attributes
    ----------
    name
        The file's.
    coord
        (N, 3) meters.
    student
        (N,) train ids.
    teacher, truth
        (N,) train ids, `IGNORE_INDEX` where there is no truth; None where they are not known.
    """

    name: str
    coord: NDArray[np.float32]
    student: NDArray[np.int64]
    teacher: NDArray[np.int64] | None = None
    truth: NDArray[np.int64] | None = None


def disagreement(shown: Shown) -> NDArray[np.uint8] | None:
    """Return what there is to say about each point; None with neither teacher nor truth.

    Returns
    -------
    ndarray
        (N,). Without a teacher: `AGREE` or `BOTH_WRONG`, the student's errors. Of points without
        truth: `AGREE` or `DIFFER`.
    """
    if shown.teacher is None and shown.truth is None:
        return None
    if shown.teacher is None:
        assert shown.truth is not None
        wrong = (shown.truth != IGNORE_INDEX) & (shown.student != shown.truth)
        return np.where(wrong, BOTH_WRONG, AGREE).astype(np.uint8)
    verdict = np.where(shown.student == shown.teacher, AGREE, DIFFER).astype(np.uint8)
    if shown.truth is not None:
        known = shown.truth != IGNORE_INDEX
        student, teacher = shown.student == shown.truth, shown.teacher == shown.truth
        verdict[known & student & teacher] = AGREE
        verdict[known & student & ~teacher] = STUDENT_ALONE_RIGHT
        verdict[known & ~student & teacher] = TEACHER_ALONE_RIGHT
        verdict[known & ~student & ~teacher] = BOTH_WRONG
    return verdict


class DriveRecording:
    """Frames as they come, in a file of the Rerun viewer.

    Use `to_file`.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._frames = 0
        self._unlabeled = 0

    @classmethod
    @contextmanager
    def to_file(
        cls,
        path: Path,
        class_names: Sequence[str],
        colors: Sequence[tuple[float, float, float]] | None,
        *,
        with_teacher: bool,
    ) -> Iterator["DriveRecording"]:
        """Give a recording; the file is there, whole, when the block ends without an error.

        Parameters
        ----------
        path
            An `.rrd` file.
        class_names
            By train id.
        colors
            (red, green, blue), 0 to 1, by train id; None for those of our pictures.
        with_teacher
            Whether a view for the teacher is laid out.

        Raises
        ------
        UserError
            If rerun-sdk is not installed, or the file cannot be written.
        """
        if importlib.util.find_spec("rerun") is None:
            raise UserError(
                f"--rerun {path}: recordings are written by rerun-sdk, which is not installed: "
                "pip install 'topodistill[rerun]'"
            )
        import rerun

        with atomic_write(path) as unfinished:
            stream = rerun.RecordingStream(_APPLICATION)
            # Frames are the one timeline: when a frame was predicted is of no interest.
            stream.set_log_time_enabled(False)
            stream.set_log_tick_enabled(False)
            stream.save(unfinished, default_blueprint=_blueprint(with_teacher))
            made = cls(stream)
            made._log_classes(class_names, colors)
            yield made
            stream.flush()
            stream.disconnect()

    def add(self, shown: Shown) -> None:
        """Put a frame behind the others."""
        import rerun

        self._stream.set_time(TIMELINE, sequence=self._frames)
        self._frames += 1
        self._stream.log("name", rerun.TextDocument(shown.name))
        for view, classes in (
            ("student", shown.student),
            ("teacher", shown.teacher),
            ("truth", shown.truth),
            ("disagreement", disagreement(shown)),
        ):
            # What is not known of this frame is cleared: the viewer would show the last one's.
            entity = rerun.Clear(recursive=False)
            if classes is not None:
                ids = np.where(classes == IGNORE_INDEX, self._unlabeled, classes)
                entity = rerun.Points3D(
                    shown.coord, class_ids=ids.astype(np.uint16), radii=_RADIUS_M
                )
            self._stream.log(f"{view}/points", entity)

    def _log_classes(
        self, class_names: Sequence[str], colors: Sequence[tuple[float, float, float]] | None
    ) -> None:
        """Say what the ids mean; the last one is for points without a class."""
        import rerun

        rows = class_colors(tuple(class_names))
        if colors is not None:
            rows[:-1] = colors
        self._unlabeled = len(class_names)
        names = [*class_names, "no label"]
        infos = [
            rerun.AnnotationInfo(id=number, label=name, color=(255 * row).round().astype(int))
            for number, (name, row) in enumerate(zip(names, rows, strict=True))
        ]
        verdicts = [
            rerun.AnnotationInfo(id=number, label=label, color=color)
            for number, label, color in _VERDICTS
        ]
        for view in VIEWS:
            context = rerun.AnnotationContext(verdicts if view == "disagreement" else infos)
            self._stream.log(view, context, static=True)


def _blueprint(with_teacher: bool) -> Any:
    """Return how the viewer lays the views out."""
    import rerun.blueprint

    views = [view for view in VIEWS if with_teacher or view != "teacher"]
    return rerun.blueprint.Blueprint(
        rerun.blueprint.Grid(
            *(
                rerun.blueprint.Spatial3DView(origin=f"/{view}", name=view.capitalize())
                for view in views
            )
        ),
        collapse_panels=True,
    )
