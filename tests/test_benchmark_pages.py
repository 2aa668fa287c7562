"""Pages of the benchmarks and the guides' blocks say what their records say."""

import json
from dataclasses import asdict

import pytest

from benchmarks import schema
from benchmarks.data_page import data_page, data_targets
from benchmarks.frames import BEAMS, columns
from benchmarks.guides_page import GUIDES, LOOP, MONITOR, guide_blocks, pages_with_blocks
from benchmarks.readme_block import readme_block
from benchmarks.small_batches_page import FORWARD_AND_BACKWARD
from benchmarks.suite_pages import (
    convolution_page,
    persistence_image_page,
    processes_page,
    vectorizations_page,
)
from benchmarks.targets import convolution_targets
from tests.benchmark_results import record_of, timed
from train.data.dataset_spec import DATASETS


def records(*results):
    return {"one.json": record_of(results)}


@pytest.mark.parametrize(
    "page", [convolution_page, persistence_image_page, processes_page, vectorizations_page]
)
def test_a_page_without_a_record_says_so(page):
    assert "Not measured in a committed record." in page({})


# From disk to tensors.


def reading(seconds, **fields):
    shared = {"implementation": "ours", "data": "waymo", "num_points": 100_000, "threads": 1}
    return timed(seconds, **{**shared, **fields}, first_call_s=30 * seconds)


def test_the_page_of_reading_has_frames_a_second_and_the_ratio():
    page = data_page(
        records(
            reading(0.1, suite="data", op="bytes", implementation="numpy", batch=24),
            reading(1.2, suite="data", op="frames", batch=24),
            reading(0.6, suite="data", op="frames", implementation="ours, kept", batch=24),
            reading(2.4, suite="data", op="tensors", batch=24),
            reading(2.0, suite="data", op="tensors by workers", batch=24),
            reading(1.0, suite="data", op="tensors by workers", threads=2, batch=24),
            reading(4.0, suite="data", op="alone", data="waymo segment", batch=2),
            reading(5.0, suite="data", op="fill", data="waymo segment", batch=15),
            reading(0.5, suite="opening", op="open", num_points=20_000),
            reading(10.0, suite="simulation", op="simulate", batch=8),
            reading(1.5, suite="rendering", op="render views", batch=6, num_points=51_200),
            reading(
                1.0, suite="rendering", op="render views", batch=6, num_points=51_200, threads=2
            ),
        )
    )
    (row,) = [line for line in page.splitlines() if line.startswith("| Waymo | 240 |")]
    assert row == "| Waymo | 240 | 20.0 | 40.0 | 10.0 | 12.0 | 24.0 | – | – | 20.0x | 3.00 MiB |"
    # 23,691 frames at 3 a second, of 136,000 points of 17 bytes.
    assert "| Waymo | 0.5 | 3.0 | 40.0 | 3.00 MiB |" in page
    assert "55 GB of disk, and 2.2 hours on one core" in page
    assert "| Waymo | 20,000 | 15.0 s | 500 ms | 3.00 MiB |" in page
    assert "| Waymo | 1 | 48.0 | 3.00 MiB |" in page
    assert "| 51,200 | 2 | 6.0 | 3.00 MiB |" in page
    assert "Measured 2026-01-31 at commit 1a2b3c4d5e" in page


def test_targets_are_met_only_if_they_are():
    measured = records(
        reading(2.1, suite="opening", op="open", num_points=20_000),
        reading(1.9, suite="opening", op="open", num_points=20_000, data="nuscenes"),
        reading(24.1, suite="simulation", op="simulate", batch=8),
        reading(23.9, suite="simulation", op="simulate", batch=8, data="nuscenes"),
        reading(1.19, suite="rendering", op="render views", batch=6, num_points=51_200, threads=2),
    )
    verdicts = [target.verdict.partition(",")[0] for target in data_targets(measured)]
    assert verdicts == ["not measured", "yes", "no", "not measured", "yes", "no", "yes"]


def test_frames_that_are_timed_have_their_beams():
    # Frames of the KITTI layout are those of SemanticKITTI.
    assert set(BEAMS) <= set(DATASETS)
    assert [columns(name, 100_000) for name in ("semantickitti", "nuscenes")] == [1562, 3125]


def test_a_page_without_the_segment_says_so():
    page = data_page(records(reading(0.6, suite="data", op="bytes", implementation="numpy")))
    assert "| Waymo | – | – | – | – |" in page
    assert "and – on one core" in page


# The sparse convolution.


@pytest.fixture
def measured():
    """A run in which our forward is faster than spconv's and our backward is not."""
    shared = {"suite": "convolution", "data": "scene", "num_points": 30_000}
    times = (
        (0.010, "ours", {}),
        (0.060, "ours", {"direction": "backward"}),
        (0.004, "ours", {"op": "neighbours"}),
        (0.025, "spconv", {"remark": "7 of 30000 rows of out are wrong"}),
        (0.045, "spconv", {"direction": "backward"}),
        (0.030, "spconv, one thread", {"threads": 1}),
    )
    return records(
        *(
            timed(seconds, implementation=name, **{"op": "convolution", **shared, **more})
            for seconds, name, more in times
        )
    )


def test_convolutions_times_peaks_remarks_and_verdicts_are_on_the_page(measured):
    page = convolution_page(measured)
    assert "| **ours** (2 threads) | 10.0 ms | 60.0 ms | 4.00 ms | 3.00 MiB | 3.00 MiB |" in page
    assert "(1 thread) | 30.0 ms | – | – |" in page
    assert "- spconv, 2 threads, forward: 7 of 30000 rows of out are wrong." in page
    assert (
        "| convolution forward, times faster than spconv | at least 1.00x | 2.50x | yes |" in page
    )
    assert "| 0.75x | no, short by 1.33x |" in page


def test_targets_without_a_record_are_not_measured():
    assert [target.verdict for target in convolution_targets({})] == ["not measured"] * 2


def test_records_from_before_spconv_was_measured_are_still_read(measured):
    data = json.loads(json.dumps(asdict(measured["one.json"])))
    del data["software"]["spconv"]
    assert schema.parse(data).software.spconv is None
    del data["software"]["torch"]
    with pytest.raises(ValueError, match="software lacks"):
        schema.parse(data)


# One persistence image, processes, vectorizations, the README.


def test_times_of_images_stand_beside_the_papers():
    def image(seconds, name, size, batch=1):
        return timed(
            seconds, suite="image", implementation=name, num_points=size, threads=1, batch=batch
        )

    page = persistence_image_page(
        records(
            image(0.0004, "fast", 64),
            image(0.002, "fast", 256),
            image(0.0012, "GUDHI", 64),
            image(0.004, "fast, together", 64, batch=16),
        )
    )
    assert "| GUDHI, in the paper (Table 13) | 1.07 ms | 22.83 ms | – | – |" in page
    assert "| **ours**, exact | 400 µs | 2.00 ms | – | – |" in page
    assert "in one call, each | 250 µs | – | – | – |" in page
    assert "| 1.20 ms | – | 3.00x | – |" in page
    assert "| RipsNet, a forward pass | – | – | – | – |" in page


def test_processes_have_frames_a_second_and_the_share():
    def steps(seconds, name, threads, op="steps"):
        return timed(
            seconds, suite="processes", op=op, implementation=name, threads=threads,
            num_points=16_384, batch=16,
        )  # fmt: skip

    page = processes_page(
        records(
            steps(16.0, "one process", 1),
            steps(10.0, "one process", 2),
            steps(8.0, "two processes", 2),
            steps(0.8, "two processes", 2, "exchange"),
        )
    )
    assert "frames of 16,384 rays" in page
    assert "| one process, one thread | 1.00 | 1.00x | 0.62x |" in page
    assert "| two processes of one thread | 2.00 | 2.00x | 1.25x |" in page
    assert "| two processes of one thread, `--sync-batch-norm` | – | – | – |" in page
    assert "| two processes of one thread | 200 ms | 10.0% |" in page


def test_processes_without_a_record_have_dashes():
    assert "| one process, one thread | – | – | – |" in processes_page({})


def test_vectorizations_stand_beside_gudhis_and_the_slower_are_named():
    shared = {"suite": "vectorizations", "data": "cube", "batch": 16}
    page = vectorizations_page(
        records(
            timed(0.002, implementation="fast", op="betti_curve", num_points=64, **shared),
            timed(0.008, implementation="GUDHI", op="betti_curve", num_points=64, **shared),
            timed(0.004, implementation="fast", op="sliced_wasserstein", num_points=64, **shared),
            timed(0.002, implementation="GUDHI", op="sliced_wasserstein", num_points=64, **shared),
        )
    )
    assert "| Betti curve at 100 places | 2.00 ms | 8.00 ms | 4.00x |" in page
    assert "We are slower at: sliced Wasserstein, 50 lines of clouds of 64 (2.00x)." in page


def test_the_readme_names_the_next_library_of_small_batches_and_of_large_clouds():
    small = {"suite": "small", "op": FORWARD_AND_BACKWARD, "num_points": 64, "data": "features"}
    large = {"suite": "large", "op": "rips", "num_points": 4096, "data": "features"}
    block = readme_block(
        records(
            timed(0.02, implementation="fast", **small),
            timed(0.5, implementation="torch-topological", **small),
            timed(0.2, implementation="fast", **large),
            timed(4.0, implementation="giotto-ph", **large),
            timed(3.0, implementation="holos-tda", **large),
            timed(
                16.0, suite="scaling", op="rips of points, without distances", data="cube",
                num_points=100_000,
            ),
        )
    )  # fmt: skip
    batch, families, features, points = (
        line for line in block.splitlines() if line.startswith(("| 256 clouds", "| one cloud"))
    )
    assert batch.endswith("| 20.0 ms | 25.0x | torch-topological |")
    assert families.endswith("| – | – | – |")
    assert features.endswith("| 200 ms | 15.0x | holos-tda |")
    assert points.endswith("| 16.0 s, 3.00 MiB | – | none: 40 GB of distances |")


# The guides' blocks.


@pytest.fixture
def found():
    backward = {"suite": "backward", "direction": "backward", "data": "cube"}
    peer = {"implementation": "torch-topological"}
    return records(
        timed(0.001, suite="guides", op=LOOP, num_points=64),
        timed(0.012, suite="guides", op=LOOP, num_points=64, **peer),
        timed(0.002, suite="guides", op=MONITOR, num_points=256),
        timed(2e-4, **backward),
        timed(5e-4, **backward, **peer),
        timed(0.5, suite="scaling", num_points=2048),
        timed(0.1, suite="scaling", num_points=2048, max_dim=0),
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
