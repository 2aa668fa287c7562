"""Mutated bytes: a sound frame or the documented error, never a crash, a hang or much memory."""

import contextlib
import resource
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.damage import Edits, check_sound, edits, mutate
from tests.train.data.waymo.conftest import tiny_frame, write_split
from train.core.errors import UserError
from train.data.waymo import SPEC, schema
from train.data.waymo.frame import FrameError
from train.data.waymo.frame_proto import read_floats, read_frame, read_integers, write_frame
from train.data.waymo.protobuf import WireError, write_content, write_integer
from train.data.waymo.tfrecord import write_records

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

MUCH_BYTES = 500 << 20


@pytest.fixture(autouse=True)
def _memory_stays_bounded():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < MUCH_BYTES


def read_all(root: Path) -> None:
    """Read every frame; check that what comes is sound, or that the error is ours."""
    try:
        source = SPEC.open(root, require_labels=False)
        for index in range(len(source)):
            check_sound(source[index], 22)
    except UserError as error:
        message = str(error)
        assert message.startswith(str(root / "training"))
        assert "\n" not in message
        assert message.isprintable()


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return where a record file belongs."""
    folder = tmp_path / "training"
    folder.mkdir()
    return folder / "x.tfrecord"


FRAME = write_frame(tiny_frame())


@quick
@given(changes=edits)
def test_mutated_record_files(record: Path, changes: Edits):
    write_records(record, [FRAME, FRAME[:200]])
    record.write_bytes(mutate(record.read_bytes(), changes))
    read_all(record.parent.parent)


@quick
@given(changes=edits)
def test_mutated_frames_in_sound_records(record: Path, changes: Edits):
    write_records(record, [mutate(FRAME, changes)])
    read_all(record.parent.parent)


@quick
@given(
    changes=edits,
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5), max_size=4),
    unpack=st.sampled_from([read_floats, read_integers]),
)
def test_mutated_matrices(changes: Edits, shape: list[int], unpack):
    dims = b"".join(write_integer(1, size) for size in shape)
    data = write_content(1, bytes(range(64))) + write_content(2, dims)
    for broken in (zlib.compress(mutate(data, changes)), mutate(zlib.compress(data), changes)):
        try:
            image = unpack(memoryview(broken), 4, "it")
        except (WireError, FrameError):
            continue
        assert image.ndim == 3
        assert image.shape[2] == 4


@quick
@given(changes=edits)
def test_mutated_frames_parse_or_are_refused(changes: Edits):
    with contextlib.suppress(WireError, FrameError):
        read_frame(mutate(FRAME, changes))


class Tables:
    """A data root of tables, and what its files hold; failures show this short name."""

    def __init__(self, root: Path, contents: dict[str, bytes]) -> None:
        self.root, self.contents = root, contents


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Return a data root of two frames."""
    root = tmp_path_factory.mktemp("fuzz")
    frames = [tiny_frame(timestamp=time) for time in (1, 2)]
    write_split(root / "training", "v2", {"seg_a": frames}, frames_per_group=2)
    paths = {table.tag: root / "training" / table.tag / "seg_a.parquet" for table in schema.TABLES}
    return Tables(root, {tag: path.read_bytes() for tag, path in paths.items()})


@pytest.mark.parametrize("tag", [table.tag for table in schema.TABLES])
@quick
@given(changes=edits)
def test_mutated_tables(tables: Tables, tag: str, changes: Edits):
    path = tables.root / "training" / tag / "seg_a.parquet"
    path.write_bytes(mutate(tables.contents[tag], changes))
    try:
        read_all(tables.root)
    finally:
        path.write_bytes(tables.contents[tag])
