"""The page of reading says what its record says."""

from benchmarks import harness, schema
from benchmarks.data_page import data_page, data_targets
from benchmarks.harness import Case
from benchmarks.machine import describe_machine, describe_software
from benchmarks.sweeps import BEAMS, columns
from train.data.registry import DATASETS


def timed(seconds: float, **fields) -> schema.Result:
    case = Case(
        **(
            {"yields": "", "threads": 1, "num_points": 100_000, "data": "waymo", "build": None,
             "implementation": "ours", "channels": None}
            | fields
        )
    )  # fmt: skip
    return harness.result_of(
        case, "timed", repeats=5, first_call_s=30 * seconds,
        p20_s=0.9 * seconds, p50_s=seconds, p80_s=1.1 * seconds, peak_bytes=3 * 2**20,
    )  # fmt: skip


def records(*results: schema.Result) -> dict[str, schema.Record]:
    run = schema.Run(
        utc="2026-01-31T10:00:00+00:00", commit="1a2b3c4d5e", dirty=False, command="pytest",
        threads=2, time_limit_s=60.0, noisy=False, at_most=None, wall_s=1.5,
    )  # fmt: skip
    record = schema.Record(
        schema=schema.SCHEMA, run=run, machine=describe_machine(), software=describe_software(),
        results=list(results),
    )  # fmt: skip
    return {"one.json": record}


def test_the_page_has_sweeps_a_second_and_the_ratio():
    page = data_page(
        records(
            timed(0.1, suite="data", op="bytes", implementation="numpy", batch=24),
            timed(1.2, suite="data", op="sweeps", batch=24),
            timed(0.6, suite="data", op="sweeps", implementation="ours, kept", batch=24),
            timed(2.4, suite="data", op="tensors", batch=24),
            timed(2.0, suite="data", op="tensors by workers", batch=24),
            timed(1.0, suite="data", op="tensors by workers", threads=2, batch=24),
            timed(4.0, suite="data", op="alone", data="waymo segment", batch=2),
            timed(5.0, suite="data", op="fill", data="waymo segment", batch=15),
            timed(0.5, suite="opening", op="open", num_points=20_000),
            timed(10.0, suite="simulation", op="simulate", batch=8),
            timed(1.5, suite="rendering", op="render views", batch=6, num_points=51_200),
            timed(1.0, suite="rendering", op="render views", batch=6, num_points=51_200, threads=2),
        )
    )
    (reading,) = [line for line in page.splitlines() if line.startswith("| Waymo | 240 |")]
    assert (
        reading == "| Waymo | 240 | 20.0 | 40.0 | 10.0 | 12.0 | 24.0 | – | – | 20.0x | 3.00 MiB |"
    )
    # 23,691 frames at 3 a second, of 136,000 points of 17 bytes.
    assert "| Waymo | 0.5 | 3.0 | 40.0 | 3.00 MiB |" in page
    assert "55 GB of disk, and 2.2 hours on one core" in page
    assert "| Waymo | 20,000 | 15.0 s | 500 ms | 3.00 MiB |" in page
    assert "| Waymo | 1 | 48.0 | 3.00 MiB |" in page
    assert "| 51,200 | 2 | 6.0 | 3.00 MiB |" in page
    assert "Measured 2026-01-31 at commit 1a2b3c4d5e" in page


def test_targets_are_met_only_if_they_are():
    measured = records(
        timed(2.1, suite="opening", op="open", num_points=20_000),
        timed(1.9, suite="opening", op="open", num_points=20_000, data="nuscenes"),
        timed(24.1, suite="simulation", op="simulate", batch=8),
        timed(23.9, suite="simulation", op="simulate", batch=8, data="nuscenes"),
        timed(1.19, suite="rendering", op="render views", batch=6, num_points=51_200, threads=2),
    )
    verdicts = [target.verdict.partition(",")[0] for target in data_targets(measured)]
    assert verdicts == ["not measured", "yes", "no", "not measured", "yes", "no", "yes"]


def test_every_dataset_has_its_beams():
    # Frames of the KITTI layout are those of SemanticKITTI.
    assert set(BEAMS) == set(DATASETS) - {"kitti-layout"}
    assert [columns(name, 100_000) for name in ("semantickitti", "nuscenes")] == [1562, 3125]


def test_a_page_without_the_segment_says_so():
    page = data_page(records(timed(0.6, suite="data", op="bytes", implementation="numpy")))
    assert "| Waymo | – | – | – | – |" in page
    assert "and – on one core" in page
