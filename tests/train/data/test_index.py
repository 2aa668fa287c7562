"""Stored indices: built once, rebuilt when stale or damaged, never half there."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.train.data.damage import refused, refused_at
from train.data.index import FOLDER, cached_index

ARRAYS = {
    "size": np.array([3, 1, 2], dtype=np.int64),
    "token": np.array([b"ab", b"c", b""]),
    "name": np.array(["straße", "x"]),
    "pose": np.eye(4)[None],
    "none": np.zeros((0, 4)),
}


class Builder:
    """Counts how often the index is built."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return ARRAYS | {"times": np.array(self.times)}


@pytest.fixture
def source(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "root/v1/table.json"
    path.parent.mkdir(parents=True)
    path.write_text("one")
    return path


def same(found, times: int) -> None:
    assert set(found) == {*ARRAYS, "times"}
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert found["times"] == times


def test_it_is_built_once_and_then_read_beside_the_data(tmp_path: Path, source: Path):
    root, build = tmp_path / "root", Builder()
    same(cached_index(root, "key", [source], build), 1)
    assert [path.name for path in (root / FOLDER).iterdir()] == ["key.index"]
    same(cached_index(root, "key", [source], build), 1)
    assert build.times == 1
    assert not (tmp_path / "cache").exists()


def test_another_key_size_time_list_or_version_makes_another(tmp_path: Path, source: Path):
    root, build = tmp_path / "root", Builder()
    same(cached_index(root, "a", [source], build), 1)
    same(cached_index(root, "b", [source], build), 2)
    same(cached_index(root, "a", [source], build), 1)
    build.times = 0
    other = source.with_name("other.json")
    other.write_text("one")
    status = source.stat()
    same(cached_index(root, "key", [source], build), 1)
    source.write_text("four")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    same(cached_index(root, "key", [source], build), 2)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    same(cached_index(root, "key", [source], build), 3)
    same(cached_index(root, "key", [source, other], build), 4)
    same(cached_index(root, "key", [source, other], build, version=2), 5)
    same(cached_index(root, "key", [source, other], build, version=2), 5)


def test_data_moved_with_its_index_stays_indexed(tmp_path: Path, source: Path):
    build = Builder()
    same(cached_index(tmp_path / "root", "key", [source], build), 1)
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere/v1/table.json"
    same(cached_index(tmp_path / "elsewhere", "key", [moved], build), 1)


def test_a_cache_folder_serves_several_roots(tmp_path: Path, source: Path):
    build, cache = Builder(), tmp_path / "made/for/this"
    second = tmp_path / "second/v1/table.json"
    second.parent.mkdir(parents=True)
    os.link(source, second)
    same(cached_index(tmp_path / "root", "key", [source], build, cache), 1)
    same(cached_index(tmp_path / "second", "key", [second], build, cache), 2)
    same(cached_index(tmp_path / "root", "key", [source], build, cache), 1)
    assert not (tmp_path / "root" / FOLDER).exists()


def test_where_the_data_cannot_be_written_to_the_user_s_cache_is_used(tmp_path: Path, source: Path):
    root, build = tmp_path / "root", Builder()
    (root / FOLDER).write_text("a file where the folder should be: refused even to root")
    same(cached_index(root, "key", [source], build), 1)
    assert len(list((tmp_path / "cache/topodistill").iterdir())) == 1
    same(cached_index(root, "key", [source], build), 1)


def test_where_nothing_can_be_written_the_places_and_the_hint_are_named(
    tmp_path: Path, source: Path
):
    root = tmp_path / "root"
    (root / FOLDER).write_text("")
    (tmp_path / "cache").write_text("")
    places = f"{root / FOLDER} (", f"{tmp_path / 'cache/topodistill'} ("
    refused_at(
        root, lambda: cached_index(root, "key", [source], Builder()), *places, "cache folder"
    )
    gone = source.with_name("gone.json")
    refused_at(
        gone,
        lambda: cached_index(root, "key", [source, gone], Builder()),
        f"{gone}: cannot be read (No such file",
    )


def test_a_failed_write_leaves_the_old_index_and_no_rubbish(
    tmp_path: Path, source: Path, monkeypatch
):
    root, build = tmp_path / "root", Builder()
    same(cached_index(root, "key", [source], build), 1)
    before = (root / FOLDER / "key.index").read_bytes()

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    refused(lambda: cached_index(root, "key", [source], build, version=2), "No space left")
    monkeypatch.undo()
    assert (root / FOLDER / "key.index").read_bytes() == before
    assert [path.name for path in (root / FOLDER).iterdir()] == ["key.index"]


def test_objects_are_not_stored(tmp_path: Path, source: Path):
    with pytest.raises(ValueError, match="x holds objects"):
        cached_index(
            tmp_path / "root", "key", [source], lambda: {"x": np.array([{}], dtype=object)}
        )
    assert not (tmp_path / "root" / FOLDER).exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 10_000), new=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_any_damage_is_noticed_and_repaired(
    tmp_path: Path, source: Path, where: int, new: bytes, cut: bool
):
    root, build = tmp_path / "root", Builder()
    cached_index(root, "damage", [source], Builder(), version=7)
    path = root / FOLDER / "damage.index"
    whole = path.read_bytes()
    at = where % len(whole)
    damaged = whole[:at] if cut else whole[:at] + new + whole[at + len(new) :]
    path.write_bytes(damaged)
    same(cached_index(root, "damage", [source], build, version=7), 1)
    assert build.times == (0 if damaged == whole else 1)
    assert path.read_bytes() == whole


def test_a_pickle_in_its_place_is_not_opened(tmp_path: Path, source: Path):
    (tmp_path / "root" / FOLDER).mkdir()
    (tmp_path / "root" / FOLDER / "key.index").write_bytes(pickle.dumps(ARRAYS))
    same(cached_index(tmp_path / "root", "key", [source], Builder()), 1)
