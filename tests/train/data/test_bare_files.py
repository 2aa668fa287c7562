"""Files without a header, which show damage by their size alone: the same for every dataset."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.train.data.damage import Edits, check_sound, edits, mutate, refused_at
from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec, dataset_spec

# Numbers of a point, type of a label, and a label that means nothing.
FORMS = {
    "kitti-layout": (4, "<u4", 2 | 9 << 16),
    "nuscenes": (5, "u1", 77),
    "semantickitti": (4, "<u4", 251 | 9 << 16),
}


@dataclass
class Pair:
    """The two files of a dataset's first frame."""

    spec: DatasetSpec
    root: Path
    points: Path
    labels: Path

    def open(self):
        return self.spec.open(self.root, sequences=self.spec.list_sequences(self.root)[:1])

    def values(self) -> np.ndarray:
        """Return the points' numbers."""
        numbers, _, _ = FORMS[self.spec.name]
        return np.frombuffer(self.points.read_bytes(), "<f4").reshape(-1, numbers).copy()


@pytest.fixture(scope="module", params=sorted(FORMS))
def simulated(request, tmp_path_factory):
    spec = dataset_spec(request.param)
    root = tmp_path_factory.mktemp(request.param) / "data"
    spec.simulate(root, num_frames=1, num_validation_frames=1, azimuth_steps=40, seed=0)
    return spec, root


@pytest.fixture
def pair(simulated, tmp_path: Path) -> Pair:
    spec, root = simulated
    shutil.copytree(root, tmp_path / "data")
    found = Pair(spec, tmp_path / "data", Path(), Path())
    found.points, found.labels = found.open().files(0)[:2]
    return found


def test_sizes_that_cannot_be_are_found_when_opening(pair: Pair):
    numbers, kind, _ = FORMS[pair.spec.name]
    points, labels = pair.points.read_bytes(), pair.labels.read_bytes()
    size, count = 4 * numbers, len(pair.values())
    for cut in (1, 8, size - 1, size + 1, len(points) - 1, len(points) + 1):
        pair.points.write_bytes((points + b"\0")[:cut])
        refused_at(pair.points, pair.open, f"{cut} bytes", f"no multiple of {size}")
    pair.points.write_bytes(b"")
    refused_at(pair.points, pair.open, "(0 bytes)")
    pair.points.write_bytes(points)
    width = np.dtype(kind).itemsize
    for cut in (0, len(labels) - width, len(labels) - 1, len(labels) + width):
        pair.labels.write_bytes((labels + bytes(width))[:cut])
        refused_at(pair.labels, pair.open, f"{cut} bytes", f"{count} points and needs")


def test_files_that_change_after_opening_are_found_when_reading(pair: Pair):
    source = pair.open()
    labels = pair.labels.read_bytes()
    pair.labels.write_bytes(labels[:-1])
    refused_at(pair.labels, lambda: source[0], f"{len(labels) - 1} bytes")
    pair.labels.write_bytes(labels)
    pair.points.write_bytes(pair.points.read_bytes()[:-1])
    refused_at(pair.points, lambda: source[0], "no multiple of")
    pair.points.unlink()
    refused_at(pair.points, lambda: source[0], "cannot be read", "No such file")
    pair.points.mkdir()
    refused_at(pair.points, lambda: source[0], "cannot be read")


def test_a_value_that_no_frame_has_is_named(pair: Pair):
    source, whole = pair.open(), pair.values()
    cases = [
        (value, column, "NaN or infinite values (first: point 3")
        for value in (np.nan, np.inf, -np.inf)
        for column in range(whole.shape[1])
    ]
    cases += [
        (value, column, "more than 1000 m out (first: point 3")
        for value in (1000.5, -1e30)
        for column in range(3)
    ]
    for value, column, said in cases:
        points = whole.copy()
        points[3, column] = value
        pair.points.write_bytes(points.tobytes())
        refused_at(pair.points, lambda: source[0], f"1 of {len(whole)} points", said)


def test_a_label_that_means_nothing_is_named(pair: Pair):
    _, kind, unknown = FORMS[pair.spec.name]
    labels = np.frombuffer(pair.labels.read_bytes(), kind).copy()
    labels[[2, 5]] = unknown
    pair.labels.write_bytes(labels.tobytes())
    source = pair.open()
    refused_at(pair.labels, lambda: source[0], "2 labels", f"({unknown & 0xFFFF};", "at point 2")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(point_edits=edits, label_edits=edits)
def test_damaged_files_give_a_sound_frame_or_the_documented_error(
    pair: Pair, point_edits: Edits, label_edits: Edits
):
    originals = {path: path.read_bytes() for path in (pair.points, pair.labels)}
    pair.points.write_bytes(mutate(originals[pair.points], point_edits))
    pair.labels.write_bytes(mutate(originals[pair.labels], label_edits))
    try:
        frame = pair.open()[0]
    except UserError as error:
        message = str(error)
        assert message.startswith((f"{pair.points}: ", f"{pair.labels}: "))
        assert "\n" not in message
    else:
        count = pair.points.stat().st_size // (4 * FORMS[pair.spec.name][0])
        check_sound(frame, len(pair.spec.class_names), count)
        assert frame.segment is not None
        if pair.spec.name == "nuscenes":
            assert 0 <= frame.strength.min() <= frame.strength.max() <= 1
    finally:
        for path, data in originals.items():
            path.write_bytes(data)
