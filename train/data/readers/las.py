"""Read the points of a LAS or LAZ file, and write them again with classifications: by laspy.

Shape letters: N points.
"""

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import read_bytes
from train.data.readers.cloud_file import CloudFile

_LARGEST_OLD: Final = 31
_LARGEST: Final = 255
_FIRST_NEW_FORMAT: Final = 6  # of points: from here on a classification has 8 bits instead of 5


@dataclass(frozen=True)
class LasFile(CloudFile):
    """The points, and laspy's object for the whole file.

    Attributes
    ----------
    las
        A `laspy.LasData`.
    """

    las: Any

    kind: ClassVar[str] = "LAS points"
    own_scale: ClassVar[float] = 65535.0  # the format wants intensities to use their 16 bits

    def labeled(self, labels: NDArray[np.int64]) -> bytes:
        """Return the file with other classifications."""
        number = self.las.header.point_format.id
        largest = _LARGEST if number >= _FIRST_NEW_FORMAT else _LARGEST_OLD
        if len(labels) and (labels.min() < 0 or labels.max() > largest):
            wrong = int(labels.max() if labels.max() > largest else labels.min())
            raise UserError(
                f"{self.path}: classifications of its point format {number} are 0 to {largest}, "
                f"and a label is {wrong}; give --label-ids train, or an --output that ends in .npy"
            )
        self.las.classification = labels.astype(np.uint8)
        stream = io.BytesIO()
        self.las.write(stream, do_compress=self.path.suffix.lower() == ".laz")
        return stream.getvalue()


def read_las(path: Path) -> LasFile:
    """Read a `.las` or `.laz` file.

    Raises
    ------
    UserError
        If laspy is not installed, or the file cannot be read or is damaged.
    """
    needed = ("laspy", "lazrs") if path.suffix.lower() == ".laz" else ("laspy",)
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"{path}: {path.suffix} files are read by {' and '.join(missing)}, which is not "
            "installed: pip install 'topodistill[las]'"
        )
    import laspy

    data = read_bytes(path)
    try:
        las = laspy.read(io.BytesIO(data))
        columns = {axis: np.asarray(las[axis], dtype=np.float64) for axis in "xyz"}
        columns["intensity"] = np.asarray(las["intensity"], dtype=np.float64)
    # What laspy and its decoder in Rust raise for damaged bytes is of no common class.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as LAS ({reason}); copy it again") from error
    return LasFile(path, columns, las)
