"""The generated page of reading: frames a second, opening, simulating, and their targets."""

from benchmarks.markdown import GENERATED, measured_on, mebibytes, per_second, seconds, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, median, newest, ratio
from benchmarks.targets import Target, targets_table
from train.core.blocks import DASH, number, page, table

TITLES = {"semantickitti": "SemanticKITTI", "nuscenes": "nuScenes", "waymo": "Waymo"}

WAYS = {
    "numpy": ("bytes", "numpy", 0),
    "decoded": ("frames", "ours", 0),
    "kept": ("frames", "ours, kept", 0),
    "tensors": ("tensors", "ours", 0),
    "1 worker": ("tensors by workers", "ours", 1),
    "2 workers": ("tensors by workers", "ours", 2),
    "1 worker, kept": ("tensors by workers", "ours, kept", 1),
    "2 workers, kept": ("tensors by workers", "ours, kept", 2),
}
"""By column: what is done, by whom, with how many worker processes (0: in the process itself)."""

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
        "Simulated frames with as many rays as the real sensor's, in the dataset's own files, "
        "which the system holds in memory from the second call on. Frames a second.",
        _reading(reading),
        "`numpy` reads the same files into arrays of bytes and does nothing with them. "
        "`decoded` has coordinates, strengths and train ids, every value checked; `kept` reads "
        "them from a folder of decoded frames instead. `tensors` are batches of 4 as training "
        "gets them: augmented, voxelized at 5 cm, collated; in the process itself, and by one "
        "and two worker processes. Peak memory is that of the process without workers, above "
        "what it held before.",
        "## Waymo, decoded once",
        "Frames of Waymo lie in row groups of 50, which can only be decoded from their start, "
        "and one of about seven has labels. A segment of 100 such frames, labeled frames a "
        "second: read alone in an order that never goes forward, and all decoded into an empty "
        "folder in the order of the file; then any frames from that folder.",
        _segment(reading),
        f"A kept frame takes {KEPT_BYTES_PER_POINT} bytes per point. The "
        f"{WAYMO_LABELED_FRAMES:,} labeled frames of training have some "
        f"{WAYMO_POINTS_PER_FRAME:,} points each: {_waymo_gigabytes():.0f} GB of disk, and "
        f"{_first_hours(reading)} on one core before the first epoch, which worker processes "
        "share among them. Later epochs and later runs read what is kept.",
        "## Opening",
        "A training split of very small frames. The first time makes the index (SemanticKITTI "
        "has none: its folders are listed), later ones find it on disk.",
        _opening(opening),
        "## Simulating",
        f"Scenes, rays and files from nothing, {SIMULATION_RAYS:,} rays a turn of the main "
        "sensor. Waymo's four small lidars, and its frames without labels, come on top.",
        _simulation(simulation),
        "With `--method` of cameras every frame has images too, here the six of nuScenes, as "
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
        what = f"{title}, opening 20,000 frames the second time"
        measured = median(opening.one(data=name))
        found.append(Target(what, OPENING_TARGET_S, measured, seconds, at_least=False))
    for name, title in TITLES.items():
        what = f"{title}, simulated frames of {SIMULATION_RAYS:,} rays a minute"
        rate = _per_minute(simulation.one(data=name))
        found.append(Target(what, SIMULATION_TARGET, rate, _number))
    what = "Rendered views of 320 x 160 pixels a second, two threads"
    views = per_second(_largest(newest(records, "rendering")))
    return [*found, Target(what, RENDERING_TARGET, views, _number)]


def _reading(source: Source) -> str:
    rows = []
    for name, title in TITLES.items():
        found = {
            column: source.one(
                data=name, op=op, implementation=implementation, threads=max(1, workers)
            )
            for column, (op, implementation, workers) in WAYS.items()
        }
        rates = [_number(per_second(result)) for result in found.values()]
        over = times(ratio(found["1 worker"], found["numpy"]))
        rows.append([title, *rates, over, mebibytes(found["tensors"])])
    return table(["", *WAYS, "numpy over 1 worker", "peak"], rows)


def _segment(source: Source) -> str:
    filling = source.one(data="waymo segment", op="fill")
    results = [
        source.one(data="waymo segment", op="alone"),
        filling,
        source.one(data="waymo", op="frames", implementation="ours, kept"),
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
        count = DASH if result is None else f"{result.num_points:,}"
        rows.append([title, count, seconds(first), seconds(median(result)), mebibytes(result)])
    return table(["", "frames", "the first time", "later", "peak"], rows)


def _simulation(source: Source) -> str:
    rows = []
    for name, title in TITLES.items():
        result = source.one(data=name)
        threads = DASH if result is None else str(result.threads)
        rows.append([title, threads, _number(_per_minute(result)), mebibytes(result)])
    return table(["", "threads", "frames a minute", "peak"], rows)


def _rendering(source: Source) -> str:
    result = _largest(source)
    size = DASH if result is None else f"{result.num_points:,}"
    threads = DASH if result is None else str(result.threads)
    row = [size, threads, _number(per_second(result)), mebibytes(result)]
    return table(["pixels of a view", "threads", "views a second", "peak"], [row])


def _per_minute(result: Result | None) -> float | None:
    rate = per_second(result)
    return None if rate is None else 60 * rate


def _largest(source: Source) -> Result | None:
    """Return the result with most pixels and, of these, with most threads."""
    return max(source.results, key=lambda each: (each.num_points, each.threads), default=None)


def _number(value: float | None) -> str:
    return number(value, ",.0f" if value is not None and value >= 100 else ".1f")
