"""The profile of Rips persistence: phases add up, nothing changes, the page is current."""

import json
import time

import torch

from benchmarks import rips_profile
from benchmarks.clouds import distances
from benchmarks.rips_profile import FOLDER, NAME, PHASES, Clock, markdown, profile, watched
from fast import rips


def test_diagrams_are_the_same_while_they_are_watched():
    square = torch.from_numpy(distances("features", 300))
    plain = rips.rips_persistence(square)
    with watched():
        seen = rips.rips_persistence(square)
    for ours, theirs in zip(plain, seen, strict=True):
        assert torch.equal(ours.births, theirs.births)
        assert torch.equal(ours.death_simplices, theirs.death_simplices)


def test_phases_of_a_cloud_add_up_to_its_time(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(rips_profile, "_REPEATS", 1)
    torch.set_num_threads(1)
    try:
        begin = time.thread_time()
        found = profile("cube", 300)
        total = time.thread_time() - begin
    finally:
        torch.set_num_threads(threads)
    assert 0 < found["examined"] <= found["edges"]
    assert set(found["seconds"]) == set(PHASES)
    assert all(found["seconds"][phase] > 0 for phase in ("checks", "edges", "lunes", "pairing"))
    assert sum(found["seconds"].values()) <= total


def test_edges_count_once_where_relations_abound():
    square = torch.from_numpy(distances("tripartite", 270))
    with watched() as clock:
        rips.rips_persistence(square)
    # Between the parts, all of length 1; those inside are longer than the last death.
    assert 3 * 90 * 90 <= clock.examined <= 270 * 269 // 2


def test_a_phase_within_another_counts_once(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0, 12.0, 20.0])
    monkeypatch.setattr(time, "thread_time", lambda: next(now))
    clock = Clock()  # 0
    inner = clock.timed("edges", lambda: None)
    clock.timed("pairing", inner)()  # 1; the inner one from 3 to 7; 12
    clock.stop()  # 20
    assert clock.spent["edges"] == 4.0
    assert clock.spent["pairing"] == 2.0 + 5.0
    assert clock.spent["else"] == 1.0 + 8.0


def test_the_page_is_that_of_its_record():
    record = json.loads((FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))
    assert markdown(record) == (FOLDER / f"{NAME}.md").read_text(encoding="utf-8")
