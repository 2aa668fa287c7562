"""The list of the frames that are to be predicted for the server."""

from pathlib import Path
from typing import Final

from train.core.errors import UserError

OFFICIAL_TEST_FRAMES: Final = "3d_semseg_test_set_frames.txt"
"""What the dataset's own repository calls the list for the server; users put it into the root."""


def read_frame_list(path: Path) -> set[str]:
    """Return the names of the frames in a file of lines `context,timestamp_micros`.

    Raises
    ------
    UserError
        If it cannot be read, a line is something else, or there is none.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); give another list") from error
    names = set()
    for number, line in enumerate(lines, start=1):
        context, comma, timestamp = line.strip().partition(",")
        if not line.strip():
            continue
        if not (context and comma and timestamp.isdecimal()):
            raise UserError(
                f"{path}: line {number} is {line[:80]!r}, expected context,timestamp_micros"
            )
        names.add(f"{context}/{int(timestamp)}")
    if not names:
        raise UserError(f"{path}: names no frame; expected lines context,timestamp_micros")
    return names
