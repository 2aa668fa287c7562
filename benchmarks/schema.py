"""The record of a run, its strict schema, and its file's name. Seconds and bytes, in the names."""

import json
import math
import re
import types
import typing
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

SCHEMA = 1

Suite = Literal[
    "table6", "peers", "large", "batch", "backward", "sampling", "figure7", "figure8", "scaling",
    "first-call", "gpu", "convolution", "data", "opening", "simulation", "rendering", "import",
    "processes", "image", "adversarial", "small", "guides", "vectorizations",
    "families",
]  # fmt: skip
State = Literal["timed", "stopped", "not run"]
Check = Literal["passed", "failed", "not run"]

_TIMES = ("first_call_s", "p20_s", "p50_s", "p80_s")


@dataclass(frozen=True, kw_only=True)
class Run:
    """When and from which code; `at_most` is the largest size, if the run was cut down."""

    utc: str
    commit: str
    dirty: bool
    command: str
    threads: int
    time_limit_s: float
    noisy: bool
    at_most: int | None
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What it ran on."""

    cpu: str
    cores: int
    ram_bytes: int
    gpu: str | None
    load_1m_before: float


@dataclass(frozen=True, kw_only=True)
class Software:
    """Versions; None: not installed."""

    python: str
    numpy: str | None
    scipy: str | None
    torch: str | None
    numba: str | None
    triton: str | None
    ripser: str | None
    giotto_ph: str | None
    holos_tda: str | None
    gudhi: str | None
    torch_topological: str | None
    fpsample: str | None
    torch_cluster: str | None
    pytorch3d: str | None
    spconv: str | None = None  # older records do not name it
    numba_cuda: str | None = None  # nor this


@dataclass(frozen=True, kw_only=True)
class Result:
    """One case: what was run, whether it was right, and how long it took.

    `first_call_s` is the first call in the process at this size (compilation or loading of kernels
    included where it was the very first); the percentiles are of the calls after it. `peak_bytes`
    is what the process held at most during a call, above what it held before; None where the
    system does not tell. `error` says why a case was not timed, `remark` what is known to be wrong
    with a result that was timed all the same.
    """

    suite: Suite
    op: str
    implementation: str
    yields: str
    direction: Literal["forward", "backward"]
    data: str
    seed: int
    num_points: int
    channels: int | None
    batch: int
    num_samples: int | None
    max_dim: int | None
    dtype: str
    device: Literal["cpu", "cuda"]
    threads: int
    state: State
    check: Check
    repeats: int
    first_call_s: float | None
    p20_s: float | None
    p50_s: float | None
    p80_s: float | None
    peak_bytes: int | None
    error: str | None
    remark: str | None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes a case: no two results of a record share it."""
        return (
            self.suite, self.op, self.implementation, self.yields, self.direction, self.data,
            self.seed, self.num_points, self.batch, self.num_samples, self.max_dim, self.dtype,
            self.device, self.threads,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of the benchmarks."""

    schema: int
    run: Run
    machine: Machine
    software: Software
    results: list[Result]


T = TypeVar("T")


def parse(data: object) -> Record:
    """Return the record that `data` (decoded JSON) is.

    Raises
    ------
    ValueError
        If a key is missing or unknown, a type is wrong, or the numbers contradict each other.
    """
    record = _build(Record, data, "record")
    if record.schema != SCHEMA:
        raise ValueError(f"record.schema is {record.schema}; this code reads {SCHEMA}")
    if not re.fullmatch(r"[0-9a-f]{7,40}|unknown", record.run.commit):
        raise ValueError(f"record.run.commit is {record.run.commit!r}; want a git hash")
    if datetime.fromisoformat(record.run.utc).utcoffset() is None:
        raise ValueError(f"record.run.utc is {record.run.utc!r}; want a time with its zone")
    if not record.results:
        raise ValueError("record.results is empty; a run without a case is no record")
    seen = set()
    for index, result in enumerate(record.results):
        where = f"record.results[{index}]"
        _check_result(result, where)
        if result.key in seen:
            raise ValueError(f"{where} is a second result of the case {result.key}")
        seen.add(result.key)
    return record


def _check_result(result: Result, where: str) -> None:
    """Refuse a result that says two things."""
    times = [getattr(result, name) for name in _TIMES]
    if result.state == "timed":
        if result.check != "passed":
            raise ValueError(f"{where} is timed but its check is {result.check!r}")
        if any(time is None or not math.isfinite(time) or time <= 0 for time in times):
            raise ValueError(f"{where} is timed but has times {times}")
        if not result.p20_s <= result.p50_s <= result.p80_s:  # type: ignore[operator]
            raise ValueError(f"{where} has percentiles out of order: {times[1:]}")
        if result.repeats < 1 or result.error is not None:
            raise ValueError(f"{where} is timed but repeats or error say otherwise")
    elif result.repeats or result.error is None or any(time is not None for time in times):
        raise ValueError(f"{where} is {result.state!r}: want no times, no repeats, and an error")
    if result.num_points < 1 or result.batch < 1 or result.threads < 1:
        raise ValueError(f"{where} has a count below 1")
    if result.peak_bytes is not None and result.peak_bytes < 0:
        raise ValueError(f"{where} has peak_bytes {result.peak_bytes}")


def _build(kind: type[T], data: object, where: str) -> T:
    """Make a dataclass of decoded JSON: its keys, all but those with a default, its types."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} is {data!r}; want an object")
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    needed = {name for name, default in defaults.items() if default is MISSING}
    if missing := sorted(needed - data.keys()):
        raise ValueError(f"{where} lacks {missing}")
    if unknown := sorted(data.keys() - defaults.keys()):
        raise ValueError(f"{where} has unknown keys {unknown}")
    hints = typing.get_type_hints(kind)
    return kind(**{n: _convert(hints[n], data[n], f"{where}.{n}") for n in sorted(data)})


def _convert(hint: Any, value: object, where: str) -> object:
    """Return `value` as the annotation wants it, or raise."""
    origin = typing.get_origin(hint)
    if is_dataclass(hint):
        return _build(typing.cast("type[object]", hint), value, where)
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{where} is {value!r}; want a list")
        (item,) = typing.get_args(hint)
        return [_convert(item, entry, f"{where}[{k}]") for k, entry in enumerate(value)]
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{where} is {value!r}; want one of {typing.get_args(hint)}")
        return value
    allowed = typing.get_args(hint) if origin is types.UnionType else (hint,)
    if type(value) not in allowed:  # exactly: True is no int, 1 is no float
        raise ValueError(f"{where} is {value!r}; want {hint}")
    return value


def file_name(record: Record, slug: str, number: int = 1) -> str:
    """Return `<utc-date>--<machine>--<commit>.json`; a day's second run of a commit is numbered."""
    date = datetime.fromisoformat(record.run.utc).date().isoformat()
    suffix = "" if number == 1 else f"--{number}"
    return f"{date}--{slug}--{record.run.commit}{suffix}.json"


def write(record: Record, folder: Path, slug: str) -> Path:
    """Validate a record and write it to a new file; files are never overwritten."""
    text = json.dumps(asdict(record), indent=1, sort_keys=False) + "\n"
    parse(json.loads(text))
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / file_name(record, slug, number)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            number += 1
        else:
            return path


def read(path: Path) -> Record:
    """Return the record in a file; a ValueError names the file."""
    try:
        record = parse(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    date = datetime.fromisoformat(record.run.utc).date().isoformat()
    pattern = rf"{date}--[a-z0-9-]+?--{record.run.commit}(--[0-9]+)?\.json"
    if not re.fullmatch(pattern, path.name):
        raise ValueError(f"{path.name}: the name does not fit the record; want {pattern}")
    return record


def read_all(folder: Path) -> dict[str, Record]:
    """Return every record of a folder by file name, oldest run first."""
    records = {path.name: read(path) for path in sorted(folder.glob("*.json"))}
    return dict(sorted(records.items(), key=lambda item: datetime.fromisoformat(item[1].run.utc)))
