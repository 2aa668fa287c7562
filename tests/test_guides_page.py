"""The guides' blocks say what the records say, and stand between a guide's markers."""

import pytest

from benchmarks import harness
from benchmarks.guides_page import GUIDES, LOOP, MONITOR, guide_blocks, pages_with_blocks
from benchmarks.harness import Case
from tests.test_benchmark_data import records


def timed(seconds: float, op: str, implementation: str, num_points: int, **fields):
    case = Case(
        **{
            "suite": "guides", "op": op, "implementation": implementation, "yields": "",
            "build": None, "num_points": num_points, "threads": 1, "max_dim": 1,
        }
        | fields
    )  # fmt: skip
    return harness.result_of(
        case, "timed", repeats=5, first_call_s=seconds,
        p20_s=0.9 * seconds, p50_s=seconds, p80_s=1.1 * seconds,
    )  # fmt: skip


@pytest.fixture
def found():
    backward = {"suite": "backward", "direction": "backward", "data": "cube"}
    return records(
        timed(0.001, LOOP, "fast", 64),
        timed(0.012, LOOP, "torch-topological", 64),
        timed(0.002, MONITOR, "fast", 256),
        timed(2e-4, "rips", "fast", 1024, **backward),
        timed(5e-4, "rips", "torch-topological", 1024, **backward),
        timed(0.5, "rips", "fast", 2048, suite="scaling"),
        timed(0.1, "rips", "fast", 2048, suite="scaling", max_dim=0),
    )


def test_an_example_stands_beside_torch_topological(found):
    block = guide_blocks(found)["keep_a_loop.md"]
    assert f"| {LOOP}, N = 64 | 1.00 ms | 12.0 ms | 12.0x |" in block
    assert f"| {LOOP}, N = 256 | – | – | – |" in block
    assert MONITOR not in block
    assert "at commit 1a2b3c4d5e" in block


def test_the_backward_pass_has_a_row_per_family(found):
    block = guide_blocks(found)["gradients_at_ties.md"]
    assert "| uniform in R^3 | 200 µs | 500 µs | 2.50x |" in block


def test_the_page_of_costs_has_all_of_it(found):
    block = guide_blocks(found)["cost.md"]
    assert "| N = 2,048 | 100 ms | 500 ms | 244 µs | 16.0 MiB |" in block
    for op in GUIDES.values():
        assert f"| {op}, N = 64 |" in block


def test_without_a_record_a_block_says_so():
    for block in guide_blocks({}).values():
        assert "Not measured in a committed record." in block


def test_blocks_stand_between_the_markers_and_a_guide_without_them_is_an_error(found, tmp_path):
    assert pages_with_blocks(tmp_path / "nowhere", found) == {}
    for name in guide_blocks(found):
        (tmp_path / name).write_text("before\n<!-- cost:begin -->\nold\n<!-- cost:end -->\nafter\n")
    pages = pages_with_blocks(tmp_path, found)
    text = pages[tmp_path / "keep_a_loop.md"]
    assert text.startswith("before\n<!-- cost:begin -->\n| processor time, one thread |")
    assert text.endswith("\n<!-- cost:end -->\nafter\n")
    assert "old" not in text
    (tmp_path / "cost.md").write_text("no markers\n")
    with pytest.raises(ValueError, match=r"cost\.md: .*<!-- cost:begin -->"):
        pages_with_blocks(tmp_path, found)
