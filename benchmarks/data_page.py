"""The generated page of reading: sweeps a second, opening, simulating, and their targets."""

from benchmarks.markdown import GENERATED, measured_on, mebibytes, per_second, seconds, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, newest, ratio
from benchmarks.targets import Target, targets_table
from train.core.blocks import DASH, number, page, table

TITLES = {"semantickitti": "SemanticKITTI", "nuscenes": "nuScenes", "waymo": "Waymo"}

KEPT_BYTES_PER_POINT = 17
WAYMO_LABELED_FRAMES = 23_691
WAYMO_POINTS_PER_FRAME = 136_000
"""Both returns of all lidars in a real frame, as the dataset's own tutorial prints them."""

OPENING_TARGET_S = 2.0
SIMULATION_TARGET = 20.0
SIMULATION_RAYS = 100_000
RENDERING_TARGET = 5.0


def data_page(records: dict[str, Record]) -> str:
    """Return the page of reading."""
    reading, opening, simulation, rendering = (
        newest(records, suite) for suite in ("data", "opening", "simulation", "rendering")
    )
    return page(
        GENERATED,
        "# From disk to tensors",
        "Simulated sweeps with as many rays as the real sensor's, in the dataset's own files, "
        "which the system holds in memory from the second call on. Sweeps a second.",
        _reading(reading),
        "`numpy` reads the same files into arrays of bytes and does nothing with them. "
        "`decoded` has coordinates, strengths and train ids, every value checked; `kept` reads "
        "them from a folder of decoded sweeps instead. `tensors` are batches of 4 as training "
        "gets them: augmented, voxelized at 5 cm, collated; in the process itself, and by one "
        "and two worker processes. Peak memory is that of the process without workers, above "
        "what it held before.",
        "## Waymo, decoded once",
        "Frames of Waymo lie in row groups of 50, which can only be decoded from their start, "
        "and one of about seven has labels. A segment of 100 such frames, labeled frames a "
        "second: read alone in an order that never goes forward, and all decoded into an empty "
        "folder in the order of the file; then any frames from that folder.",
        _segment(reading),
        f"A kept sweep takes {KEPT_BYTES_PER_POINT} bytes per point. The "
        f"{WAYMO_LABELED_FRAMES:,} labeled frames of training have some "
        f"{WAYMO_POINTS_PER_FRAME:,} points each: {_waymo_gigabytes():.0f} GB of disk, and "
        f"{_first_hours(reading)} on one core before the first epoch, which worker processes "
        "share among them. Later epochs and later runs read what is kept.",
        "## Opening",
        "A training split of very small sweeps. The first time makes the index (SemanticKITTI "
        "has none: its folders are listed), later ones find it on disk.",
        _opening(opening),
        "## Simulating",
        f"Streets, rays and files from nothing, {SIMULATION_RAYS:,} rays a turn of the main "
        "sensor. Waymo's four small lidars, and its frames without labels, come on top.",
        _simulation(simulation),
        "With `--method` of cameras every sweep has images too, here the six of nuScenes, as "
        "numbers in memory: rays, light, sky, colors, exposure and noise.",
        _rendering(rendering),
        "## Targets",
        targets_table(data_targets(records)),
        measured_on(reading, opening, simulation, rendering),
    )


def data_targets(records: dict[str, Record]) -> list[Target]:
    """Return what opening and simulating set out for, each dataset by itself."""
    opening, simulation = newest(records, "opening"), newest(records, "simulation")
    found = []
    for name, title in TITLES.items():
        opened = opening.one(data=name)
        found.append(
            Target(
                f"{title}, opening 20,000 sweeps the second time",
                OPENING_TARGET_S,
                None if opened is None else opened.p50_s,
                seconds,
                at_least=False,
            )
        )
    for name, title in TITLES.items():
        rate = per_second(simulation.one(data=name))
        found.append(
            Target(
                f"{title}, simulated sweeps of {SIMULATION_RAYS:,} rays a minute",
                SIMULATION_TARGET,
                None if rate is None else 60 * rate,
                _number,
            )
        )
    views = _largest(newest(records, "rendering"))
    found.append(
        Target(
            "Rendered views of 320 x 160 pixels a second, two threads",
            RENDERING_TARGET,
            per_second(views),
            _number,
        )
    )
    return found


def _reading(source: Source) -> str:
    rows = []
    for name, title in TITLES.items():
        plain = source.one(data=name, op="bytes")
        one = source.one(data=name, op="tensors by workers", implementation="ours", threads=1)
        in_process = source.one(data=name, op="tensors")
        results = [
            plain,
            source.one(data=name, op="sweeps", implementation="ours"),
            source.one(data=name, op="sweeps", implementation="ours, kept"),
            in_process,
            one,
            source.one(data=name, op="tensors by workers", implementation="ours", threads=2),
            source.one(data=name, op="tensors by workers", implementation="ours, kept", threads=1),
            source.one(data=name, op="tensors by workers", implementation="ours, kept", threads=2),
        ]
        rows.append(
            [
                title,
                *(_number(per_second(result)) for result in results),
                times(ratio(one, plain)),
                mebibytes(in_process),
            ]
        )
    return table(
        ["", "numpy", "decoded", "kept", "tensors", "1 worker", "2 workers", "1 worker, kept",
         "2 workers, kept", "numpy over 1 worker", "peak"],
        rows,
    )  # fmt: skip


def _segment(source: Source) -> str:
    filling = source.one(data="waymo segment", op="fill")
    results = [
        source.one(data="waymo segment", op="alone"),
        filling,
        source.one(data="waymo", op="sweeps", implementation="ours, kept"),
    ]
    rates = [_number(per_second(result)) for result in results]
    return table(
        ["", "alone", "filling the folder", "kept", "peak of filling"],
        [["Waymo", *rates, mebibytes(filling)]],
    )


def _waymo_gigabytes() -> float:
    """Return how much the kept training frames take."""
    return WAYMO_LABELED_FRAMES * WAYMO_POINTS_PER_FRAME * KEPT_BYTES_PER_POINT / 1e9


def _first_hours(source: Source) -> str:
    """Return how long decoding all of them takes."""
    rate = per_second(source.one(data="waymo segment", op="fill"))
    return DASH if rate is None else f"{WAYMO_LABELED_FRAMES / rate / 3600:.1f} hours"


def _opening(source: Source) -> str:
    rows = []
    for name, title in TITLES.items():
        result = source.one(data=name)
        first = None if result is None else result.first_call_s
        later = None if result is None else result.p50_s
        count = DASH if result is None else f"{result.num_points:,}"
        rows.append([title, count, seconds(first), seconds(later), mebibytes(result)])
    return table(["", "sweeps", "the first time", "later", "peak"], rows)


def _simulation(source: Source) -> str:
    rows = []
    for name, title in TITLES.items():
        result = source.one(data=name)
        rate = per_second(result)
        rows.append(
            [
                title,
                DASH if result is None else str(result.threads),
                _number(None if rate is None else 60 * rate),
                mebibytes(result),
            ]
        )
    return table(["", "threads", "sweeps a minute", "peak"], rows)


def _rendering(source: Source) -> str:
    result = _largest(source)
    size = DASH if result is None else f"{result.num_points:,}"
    threads = DASH if result is None else str(result.threads)
    row = [size, threads, _number(per_second(result)), mebibytes(result)]
    return table(["pixels of a view", "threads", "views a second", "peak"], [row])


def _largest(source: Source) -> Result | None:
    """Return the result with most pixels and, of these, with most threads."""
    return max(source.results, key=lambda each: (each.num_points, each.threads), default=None)


def _number(value: float | None) -> str:
    return number(value, ",.0f" if value is not None and value >= 100 else ".1f")
