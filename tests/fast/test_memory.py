"""fast.memory: what does not fit is refused before it is allocated."""

import pytest
import torch

import fast
from fast import memory


@pytest.mark.parametrize("function", [fast.pairwise_distances, fast.rips_persistence_of_points])
def test_distances_that_do_not_fit_are_refused_with_their_size(function):
    points = torch.zeros(3_000_000, 4)  # 33,528 GiB of distances
    points[0, 0] = 1e-30  # whose square is lost: such clouds are not worked on block by block
    with pytest.raises(MemoryError, match=r"3,000,000 points.* take (33527\.6|67055\.2) GiB"):
        function(points)


def test_many_clouds_are_counted(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    points = torch.zeros(30, 4096, 1, dtype=torch.float64)
    with pytest.raises(MemoryError, match=r"30 clouds of 4,096 points.* 3\.8 GiB.* 1\.0 GiB are"):
        memory.refuse_distances_beyond_memory("f", points, 1)
    memory.refuse_distances_beyond_memory("f", points[:8], 1)


def test_a_container_s_limit_counts(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_bytes() == 4096 * 1024
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() == 4096 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    assert memory.available_bytes() == 2_000_000
    (tmp_path / "meminfo").unlink()
    assert memory.available_bytes() is None


def test_small_distances_are_not_asked_about(monkeypatch):
    def ask():
        raise AssertionError("the system was asked")

    monkeypatch.setattr(memory, "available_bytes", ask)
    assert fast.pairwise_distances(torch.zeros(5, 2)).shape == (5, 5)
    with pytest.raises(AssertionError, match="asked"):
        memory.refuse_distances_beyond_memory("f", torch.zeros(10_000, 1), 1)
