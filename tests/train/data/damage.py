"""What tests of readers share: damaged bytes, and refusals in one line."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import strategies as st

from train.core.errors import UserError
from train.data.frame import LidarFrame

Edits = list[tuple[str, int, bytes]]

edits: st.SearchStrategy[Edits] = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert"]),
        st.integers(0, 1 << 20),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=4,
)


def mutate(data: bytes, changes: Edits) -> bytes:
    """Return the bytes with some overwritten, cut off or put in."""
    for what, where, new in changes:
        at = where % (len(data) + 1)
        if what == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif what == "cut":
            data = data[:at]
        else:
            data = data[:at] + new + data[at:]
    return data


def refused(use: Callable[[], object], *said: object) -> str:
    """Check that something is refused in one line with all of the parts; return the line."""
    with pytest.raises(UserError) as error:
        use()
    message = str(error.value)
    assert message.isprintable(), message
    for part in said:
        assert str(part) in message, f"{part!r} is not in {message!r}"
    return message


def refused_at(path: object, use: Callable[[], object], *said: object) -> str:
    """Check as `refused`, and that the line begins with a path."""
    message = refused(use, *said)
    assert message.startswith(f"{path}: "), message
    return message


def check_sound(frame: LidarFrame, num_classes: int, num_points: int | None = None) -> None:
    """Check that whatever was read has the promised form."""
    count = len(frame.coord) if num_points is None else num_points
    assert count > 0
    assert (frame.coord.shape, frame.strength.shape) == ((count, 3), (count, 1))
    assert np.isfinite(frame.coord).all()
    assert np.isfinite(frame.strength).all()
    assert np.abs(frame.coord).max() <= 1100.0
    if frame.segment is not None:
        assert frame.segment.shape == (count,)
        assert -1 <= frame.segment.min() <= frame.segment.max() < num_classes
    if frame.pose is not None:
        assert np.isfinite(frame.pose).all()
