"""A kept frame is the source's own, bit for bit, and never an old or a damaged one."""

import dataclasses
import os
import pickle
import shutil
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.train.data.damage import refused, refused_at
from tests.train.data.waymo.conftest import tiny_frame
from train.data import decoded, waymo
from train.data.batch import collate
from train.data.dataset_spec import OpenOptions
from train.data.decoded import DecodedCache, decoded_frames
from train.data.frame import LidarFrame
from train.data.loader import TrainingFrames
from train.data.semantickitti import SPEC, SemanticKitti
from train.data.waymo import Waymo
from train.data.waymo.write import write_segment_v2


class Watched(SemanticKitti):
    """Frames with a pose, and a count of how often they are read."""

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
    return Watched(root, OpenOptions(sequences=["00"], require_labels=False))


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


def test_a_frame_is_read_from_the_source_once_and_stays_itself(source, cache):
    assert (len(cache), cache.names, cache.skipped_unlabeled) == (4, source.names, 0)
    assert cache.files(1) == source.files(1)
    first = [cache[index] for index in range(4)]
    again = [cache[index] for index in range(4)]
    beside = DecodedCache(source, cache.folder)
    for index in range(4):
        assert_same(beside[index], again[index])
    assert Watched.reads == 4
    for index in range(4):
        assert_same(first[index], source[index])
        assert_same(again[index], source[index])
    assert again[2].segment is None
    again[0].coord[0] = 7.0  # as with a source, what is returned is the caller's
    assert_same(cache[0], source[0])


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
    refused_at(path, lambda: cache[0])


def test_two_roots_keep_their_frames_apart(source, cache, root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / "copy")
    other = Watched(tmp_path / "copy", OpenOptions(sequences=["00"], require_labels=False))
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


def test_the_reader_s_code_is_all_of_its_package_and_the_shared_readers(
    tmp_path: Path, monkeypatch
):
    package = tmp_path / "somereader"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "source.py").write_text("class Source:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    from somereader.source import Source

    before = decoded._reader_hash(Source)
    assert decoded._reader_hash(Source) == before
    (package / "points.py").write_text("SCALE = 2\n")
    changed = decoded._reader_hash(Source)
    assert changed != before
    shared = shutil.copytree(decoded._READERS, tmp_path / "shared")
    monkeypatch.setattr(decoded, "_READERS", shared)
    assert decoded._reader_hash(Source) == changed
    with (shared / "cloud_file.py").open("a") as file:
        file.write("SCALE = 2\n")
    assert decoded._reader_hash(Source) != changed
    assert {path.name for path in shared.iterdir()} >= {"frame_files.py", "las.py", "ply.py"}


@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "other version"])
def test_a_damaged_entry_is_decoded_again(source, cache, damage: str):
    whole = cache[1]
    (path,) = entries(cache)
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "empty": b"",
            "longer": data + b"\0",
            "other version": data.replace(b"frame 2", b"frame 1", 1),
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
    assert len(data) < 110 * 17 + 16 * 8 + 1024  # an entry is small
    places = np.random.default_rng(0).integers(len(data), size=40).tolist()
    for place in [0, 20, 24, len(data) - 1, *places]:
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        Watched.reads = 0
        assert_same(cache[1], whole)
        assert Watched.reads == 1


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
        frames = TrainingFrames(read_from, repeats=3, seed=1)
        loader = DataLoader(frames, batch_size=2, collate_fn=collate, num_workers=workers)
        return [batch["feat"].numpy().tobytes() for batch in loader]

    source = SPEC.open(source.root, sequences=["00"])
    cache = DecodedCache(source, tmp_path / "cache")
    plain = features(source, 0)
    assert features(cache, 2) == plain
    assert features(cache, 2) == plain
    assert len(entries(cache)) == 3  # nothing unfinished is left
    assert len(pickle.dumps(cache)) < 10_000


def test_a_frame_that_cannot_be_read_is_not_kept(source, cache, root: Path):
    path = root / "sequences/00/labels/000001.label"
    path.write_bytes(np.full(110, 77, "<u4").tobytes())
    refused_at(path, lambda: cache[1])
    assert entries(cache) == []


def test_a_place_that_cannot_hold_frames_is_named(source, tmp_path: Path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    said = "cannot keep decoded frames", "leave it out"
    refused_at(taken, lambda: DecodedCache(source, taken), *said)
    cache = DecodedCache(source, tmp_path / "cache")
    for folder in (f"{number:02x}" for number in range(256)):
        (cache.folder / folder).write_text("in the way")
    said = ".frame: a decoded frame cannot be written"
    refused(lambda: cache[0], said)
    for num_workers in (0, 2):
        refused(partial(cache.fill, on_bad_frame="skip", num_workers=num_workers), said)


def test_what_the_kept_form_cannot_hold_is_refused(source, cache, monkeypatch):
    frame = source[0]
    wide = dataclasses.replace(frame, segment=np.full(100, 300))
    monkeypatch.setattr(Watched, "__getitem__", lambda self, index: wide)
    with pytest.raises(ValueError, match="segment of frame 00/000000"):
        cache[0]


# ------------------------------------------------------------------ filling


@pytest.mark.parametrize("num_workers", [0, 2])
def test_filling_keeps_every_frame_and_draws_nothing_from_torch(
    source, cache, num_workers: int, capsys
):
    cache[1]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    cache.fill(num_workers=num_workers)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(entries(cache)) == 4
    assert "decoding frames, file by file: 3/3" in capsys.readouterr().err
    Watched.reads = 0
    found = [cache[index] for index in range(4)]
    assert Watched.reads == 0
    for index in range(4):
        assert_same(found[index], source[index])


def test_a_folder_that_is_filled_is_not_filled_again(source, cache, capsys):
    cache.fill()
    capsys.readouterr()
    before = [path.stat().st_mtime_ns for path in entries(cache)]
    again = decoded_frames(source, cache.folder)
    assert Watched.reads == 4
    assert [path.stat().st_mtime_ns for path in entries(again)] == before
    assert capsys.readouterr().err == ""


def test_filling_replaces_what_is_stale_or_cut_short(source, cache, root: Path):
    cache.fill()
    changed, cut, header = (cache._path(cache._identity(index)) for index in range(3))
    label = root / "sequences/00/labels/000000.label"
    label.write_bytes(np.full(100, 40, "<u4").tobytes())
    cut.write_bytes(cut.read_bytes()[:-1])
    header.write_bytes(header.read_bytes().replace(b"shapes", b"shapez"))
    assert changed == cache._path(cache._identity(0))
    Watched.reads = 0
    cache.fill()
    assert Watched.reads == 3
    for index in range(4):
        assert_same(cache[index], source[index])
    assert Watched.reads == 3 + 4


def _killed_while_filling(source: SemanticKitti, folder: Path) -> None:
    cache = DecodedCache(source, folder)
    keep = cache._keep
    written = []

    def keep_or_die(path: Path, data: bytes) -> None:
        if len(written) == 2:
            path.parent.mkdir(exist_ok=True)
            path.with_name(f".{path.stem}-1-0").write_bytes(data[:50])
            os._exit(9)
        written.append(path)
        keep(path, data)

    cache._keep = keep_or_die
    cache.fill()


def test_a_killed_filling_goes_on(source, tmp_path: Path):
    process = get_context("fork").Process(
        target=_killed_while_filling, args=(source, tmp_path / "cache")
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    cache = DecodedCache(source, tmp_path / "cache")
    assert len(entries(cache)) == 3
    Watched.reads = 0
    cache.fill()
    assert Watched.reads == 2
    (left,) = [path for path in entries(cache) if path.name.startswith(".")]
    # It might be another process's; it is removed when it is surely not.
    long_ago = time.time() - 2 * 3600
    os.utime(left, (long_ago, long_ago))
    DecodedCache(source, tmp_path / "cache")
    assert not left.exists()
    assert len(entries(cache)) == 4


def _fill(source: SemanticKitti, folder: Path, rank: int) -> None:
    decoded_frames(source, folder, rank=rank, num_ranks=2)


def test_processes_fill_a_folder_together(write_tree, tmp_path: Path):
    source = SPEC.open(
        write_tree({"00": {f"{n:06d}": (2000 + n, True) for n in range(40)}}), sequences=["00"]
    )
    with get_context("fork").Pool(2) as pool:
        pool.starmap(_fill, [(source, tmp_path / "cache", rank) for rank in (0, 1)], chunksize=1)
    cache = DecodedCache(source, tmp_path / "cache")
    assert len(entries(cache)) == 40
    assert all(cache._path(one) in entries(cache) for one in map(cache._identity, range(40)))
    for index in range(40):
        assert_same(cache[index], source[index])


def test_a_rank_begins_with_its_own_share(source, cache, monkeypatch):
    order = []
    read = SemanticKitti.__getitem__
    monkeypatch.setattr(
        SemanticKitti, "__getitem__", lambda self, index: order.append(index) or read(self, index)
    )
    cache.fill(rank=1, num_ranks=2)
    assert order == [2, 3, 0, 1]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_frame_ends_the_filling_or_is_named(
    source, tmp_path: Path, root: Path, num_workers: int
):
    bad = root / "sequences/00/labels/000001.label"
    bad.write_bytes(np.full(110, 77, "<u4").tobytes())
    gone = root / "sequences/00/velodyne/000003.bin"
    whole = gone.read_bytes()
    options = {"num_workers": num_workers}
    refused_at(bad, lambda: decoded_frames(source, tmp_path / "stop", **options))
    gone.unlink()
    said = "cannot be read"
    refused_at(gone, lambda: decoded_frames(source, tmp_path / "stop", **options), said)
    cache = decoded_frames(source, tmp_path / "skip", on_bad_frame="skip", **options)
    assert list(cache.bad) == ["00/000001", "00/000003"]
    assert [message.partition(": ")[0] for message in cache.bad.values()] == [str(bad), str(gone)]
    assert len(entries(cache)) == 2
    gone.write_bytes(whole)
    cache.fill(on_bad_frame="skip")
    assert list(cache.bad) == ["00/000001"]
    assert len(entries(cache)) == 3


def test_filling_stops_at_the_bound(source, tmp_path: Path, caplog, monkeypatch):
    lines = []
    monkeypatch.setattr(decoded.logger, "info", lines.append)
    cache = decoded_frames(source, tmp_path / "cache", max_bytes=4000)
    kept = len(entries(cache))
    assert 1 <= kept < 4
    assert len(lines) == 1
    assert f"the 4,000 bytes that they may; {4 - kept} are not kept" in lines[0]
    Watched.reads = 0
    for index in range(4):
        assert_same(cache[index], source[index])
    assert Watched.reads == 4 + 4 - kept
    assert len(entries(cache)) == kept


def test_a_full_folder_replaces_what_is_stale(source, tmp_path: Path, monkeypatch):
    decoded_frames(source, tmp_path / "cache")
    monkeypatch.setattr(decoded, "_reader_hash", lambda kind: "changed")
    cache = decoded_frames(source, tmp_path / "cache", max_bytes=1)
    Watched.reads = 0
    for index in range(4):
        cache[index]
    assert Watched.reads == 0


def test_what_others_write_counts_towards_the_bound(write_tree, tmp_path: Path):
    root = write_tree({"00": {f"{n:06d}": (100, True) for n in range(60)}})
    source = SPEC.open(root, sequences=["00"])
    one = DecodedCache(source, tmp_path / "size")
    one[0]
    size = entries(one)[0].stat().st_size
    caches = [DecodedCache(source, tmp_path / "cache", max_bytes=20 * size) for _ in range(3)]
    for index in range(60):
        caches[index % 3][index]
    # Without a look at the folder each would write 20.
    assert 20 <= len(entries(caches[0])) <= 23


def _read_all(cache: DecodedCache) -> None:
    for index in range(len(cache)):
        cache[index]


def test_a_forked_process_counts_what_was_written_since_the_fork_s_parent_looked(
    source, tmp_path: Path
):
    cache = DecodedCache(source, tmp_path / "cache", max_bytes=4000)
    _read_all(DecodedCache(source, tmp_path / "cache"))
    for path in entries(cache)[:1]:
        path.unlink()
    process = get_context("fork").Process(target=_read_all, args=(cache,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert len(entries(cache)) == 3


def test_a_disk_without_room_for_the_rest_is_refused_early(source, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: SimpleNamespace(free=7000))
    said = "the disk has 0.0 GB left, the decoded frames"
    refused_at(tmp_path / "cache", lambda: decoded_frames(source, tmp_path / "cache"), said)
    # What is there goes on; what is bounded needs no more than its bound.
    assert Watched.reads == 1
    decoded_frames(source, tmp_path / "bounded", max_bytes=6000)
    decoded_frames(source, tmp_path / "cache")
    monkeypatch.setattr(decoded, "_reader_hash", lambda kind: "changed")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    decoded_frames(source, tmp_path / "cache")  # entries that are replaced take no more


def test_frames_of_a_shared_file_are_decoded_in_its_order(tmp_path: Path, monkeypatch):
    frames = [tiny_frame(timestamp=1000 + number, seed=number) for number in range(6)]
    jumbled = [frames[number] for number in (3, 0, 5, 2, 4, 1)]
    write_segment_v2(tmp_path / "training", "seg_a", jumbled, frames_per_group=4)
    source = waymo.SPEC.open(tmp_path)
    monkeypatch.setattr(Waymo, "__getitem__", None)  # none is read alone
    cache = decoded_frames(source, tmp_path / "cache")
    assert len(entries(cache)) == 6
    monkeypatch.undo()
    for index in range(6):
        assert_same(cache[index], source[index])
