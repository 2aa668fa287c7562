"""A kept sweep is the source's own, bit for bit, and never an old or a damaged one."""

import dataclasses
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from train.core.errors import UserError
from train.data import decoded
from train.data.collate import collate
from train.data.decoded import DecodedCache
from train.data.frame import LidarFrame
from train.data.loader import TrainingFrames
from train.data.semantickitti import SemanticKitti


class Watched(SemanticKitti):
    """Sweeps with a pose, and a count of how often they are read."""

    reads = 0

    def __getitem__(self, index: int) -> LidarFrame:
        type(self).reads += 1
        pose = np.diag([1.0, 1.0, 1.0, 1.0]) + index / 3
        return dataclasses.replace(super().__getitem__(index), pose=pose)


@pytest.fixture
def root(write_tree) -> Path:
    return write_tree({"00": {f"{n:06d}": (100 + 10 * n, n != 2) for n in range(4)}})


@pytest.fixture
def source(root: Path) -> Watched:
    Watched.reads = 0
    return Watched(root, sequences=["00"], require_labels=False)


@pytest.fixture
def cache(source, tmp_path: Path) -> DecodedCache:
    return DecodedCache(source, tmp_path / "cache")


def assert_same(one: LidarFrame, other: LidarFrame) -> None:
    for field in dataclasses.fields(LidarFrame):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right


def entries(cache: DecodedCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_a_sweep_is_read_from_the_source_once_and_stays_itself(source, cache):
    assert (len(cache), cache.names, cache.skipped_unlabeled) == (4, source.names, 0)
    assert cache.files(1) == source.files(1)
    first = [cache[index] for index in range(4)]
    again = [cache[index] for index in range(4)]
    assert Watched.reads == 4
    for index in range(4):
        assert_same(first[index], source[index])
        assert_same(again[index], source[index])
    assert again[2].segment is None
    again[0].coord[0] = 7.0  # as with a source, what is returned is the caller's
    assert_same(cache[0], source[0])


def test_another_cache_on_the_same_folder_finds_the_entries(source, cache, tmp_path: Path):
    for index in range(4):
        cache[index]
    other = DecodedCache(source, tmp_path / "cache")
    for index in range(4):
        assert_same(other[index], other[index])
    assert Watched.reads == 4


def test_a_file_that_changed_is_read_again(source, cache, root: Path):
    cache[0], cache[1]
    label = root / "sequences/00/labels/000000.label"
    label.write_bytes(np.full(100, 40, "<u4").tobytes())
    assert (cache[0].segment == cache[0].segment[0]).all()
    assert Watched.reads == 3
    status = label.stat()
    os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    cache[0], cache[1]
    assert Watched.reads == 4
    assert len(entries(cache)) == 2


def test_a_file_that_is_gone_is_named(cache, root: Path):
    cache[0]
    path = root / "sequences/00/velodyne/000000.bin"
    path.unlink()
    with pytest.raises(UserError, match=rf"^{path}: "):
        cache[0]


def test_two_roots_keep_their_sweeps_apart(source, cache, root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / "copy")
    other = Watched(tmp_path / "copy", sequences=["00"], require_labels=False)
    beside = DecodedCache(other, cache.folder)
    cache[0], beside[0], cache[0], beside[0]
    assert Watched.reads == 2
    assert beside[0].path == other[0].path


def test_entries_of_other_code_are_not_used(source, cache, monkeypatch):
    cache[0]
    monkeypatch.setattr(decoded, "_reader_hash", lambda kind: "changed")
    other = DecodedCache(source, cache.folder)
    assert_same(other[0], other[0])
    assert Watched.reads == 2


def test_the_reader_s_code_is_all_of_its_package(tmp_path: Path, monkeypatch):
    package = tmp_path / "somereader"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "source.py").write_text("class Source:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    from somereader.source import Source

    before = decoded._reader_hash(Source)
    assert decoded._reader_hash(Source) == before
    (package / "points.py").write_text("SCALE = 2\n")
    assert decoded._reader_hash(Source) != before


@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "other version"])
def test_a_damaged_entry_is_made_anew(source, cache, damage: str):
    whole = cache[1]
    (path,) = entries(cache)
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "empty": b"",
            "longer": data + b"\0",
            "other version": data.replace(b"sweep 1", b"sweep 0", 1),
        }[damage]
    )
    assert_same(cache[1], whole)
    assert Watched.reads == 2
    assert path.read_bytes() == data
    assert_same(cache[1], whole)
    assert Watched.reads == 2


def test_a_changed_byte_anywhere_is_seen(source, cache):
    whole = cache[1]
    (path,) = entries(cache)
    data = path.read_bytes()
    places = np.random.default_rng(0).integers(len(data), size=40).tolist()
    for place in [0, 20, 24, len(data) - 1, *places]:
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        Watched.reads = 0
        assert_same(cache[1], whole)
        assert Watched.reads == 1


def test_an_entry_is_small(source, cache):
    cache[1]
    (path,) = entries(cache)
    assert path.stat().st_size < 110 * 17 + 16 * 8 + 1024


def test_nothing_is_kept_beyond_the_bound(source, tmp_path: Path):
    cache = DecodedCache(source, tmp_path / "cache", max_bytes=4000)
    for _ in range(2):
        for index in range(4):
            assert_same(cache[index], source[index])
    kept = len(entries(cache))
    assert 1 <= kept < 4
    assert sum(path.stat().st_size for path in entries(cache)[:-1]) < 4000
    # A later cache counts what lies there.
    full = DecodedCache(source, tmp_path / "cache", max_bytes=1)
    full[3]
    assert len(entries(full)) == kept


def test_workers_share_one_folder(source, tmp_path: Path):
    def features(read_from, workers: int) -> list[bytes]:
        sweeps = TrainingFrames(read_from, repeats=3, seed=1)
        loader = DataLoader(sweeps, batch_size=2, collate_fn=collate, num_workers=workers)
        return [batch["feat"].numpy().tobytes() for batch in loader]

    source = SemanticKitti(source.root, sequences=["00"])
    cache = DecodedCache(source, tmp_path / "cache")
    plain = features(source, 0)
    assert features(cache, 2) == plain
    assert features(cache, 2) == plain
    assert len(entries(cache)) == 3  # nothing unfinished is left
    assert int(cache._used_bytes) > 0  # what workers wrote is known here
    assert len(pickle.dumps(cache)) < 10_000


def test_a_sweep_that_cannot_be_read_is_not_kept(source, cache, root: Path):
    path = root / "sequences/00/labels/000001.label"
    path.write_bytes(np.full(110, 77, "<u4").tobytes())
    with pytest.raises(UserError, match=r"000001\.label"):
        cache[1]
    assert entries(cache) == []


def test_a_place_that_cannot_hold_sweeps_is_named(source, tmp_path: Path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(UserError, match=r"taken: cannot keep decoded sweeps .*leave it out"):
        DecodedCache(source, taken)
    cache = DecodedCache(source, tmp_path / "cache")
    for folder in (f"{number:02x}" for number in range(256)):
        (cache.folder / folder).write_text("in the way")
    with pytest.raises(UserError, match=r"\.sweep: a decoded sweep cannot be written"):
        cache[0]


def test_what_the_kept_form_cannot_hold_is_refused(source, cache, monkeypatch):
    sweep = source[0]
    wide = dataclasses.replace(sweep, segment=np.full(100, 300))
    monkeypatch.setattr(Watched, "__getitem__", lambda self, index: wide)
    with pytest.raises(ValueError, match="segment of sweep 00/000000"):
        cache[0]
