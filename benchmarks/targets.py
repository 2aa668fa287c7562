"""What the project set out for, each with what was measured; nothing is met by rounding."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.clouds import FAMILIES, MORE_FAMILIES
from benchmarks.imports import EVERY_NAME
from benchmarks.markdown import seconds, times
from benchmarks.rips_cases import OF_POINTS
from benchmarks.schema import Record, Result
from benchmarks.selection import geometric_mean, median, newest, ratio
from train.core.blocks import DASH, table


@dataclass(frozen=True)
class Target:
    """A bound and the measured number; `at_least` or at most."""

    what: str
    bound: float
    measured: float | None
    show: Callable[[float | None], str]
    at_least: bool = True

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        if met:
            return "yes"
        short = self.bound / self.measured if self.at_least else self.measured / self.bound
        return f"no, short by {times(short)}"


def targets_table(found: list[Target]) -> str:
    """Return the table of some targets."""
    rows = [
        [
            target.what,
            ("at least " if target.at_least else "at most ") + target.show(target.bound),
            target.show(target.measured),
            target.verdict,
        ]
        for target in found
    ]
    return table(["what", "target", "measured", "met"], rows)


def targets(records: dict[str, Record]) -> list[Target]:
    """Return every target with its number from the newest records."""
    found = []
    for name, mean, worst in (("ripser.py", 100, 40), ("giotto-ph", 50, 12), ("holos-tda", 20, 5)):
        ratios = _family_ratios(records, name)
        known = [value for value in ratios if value is not None]
        smallest = min(known) if len(known) == len(ratios) else None
        what = f"N = 1024, eight families, times faster than {name}"
        found.append(Target(f"{what}, geometric mean", mean, geometric_mean(ratios), times))
        found.append(Target(f"{what}, worst family", worst, smallest, times))
    found += [*_large(records), *_growth(records), _adversarial(records)]
    found += [_backward(records), _batch(records), _sampling(records), _importing(records)]
    return found


def _family_ratios(records: dict[str, Record], name: str) -> list[float | None]:
    """Return the ratios of all families; those of one suite are of one run."""
    peers, others = newest(records, "peers"), newest(records, "families")
    pairs = [
        source.pair(name, data=family, num_points=1024)
        for source, families in ((peers, FAMILIES), (others, MORE_FAMILIES))
        for family in families
    ]
    return [ratio(theirs, ours) for ours, theirs in pairs]


def _large(records: dict[str, Record]) -> list[Target]:
    source = newest(records, "large")
    ours, theirs = source.pair("giotto-ph", data="features", num_points=4096)
    return [
        Target("N = 4096 features, times faster than giotto-ph", 8, ratio(theirs, ours), times),
        Target("N = 4096 features", 0.25, median(ours), seconds, at_least=False),
        Target("N = 4096 features, peak memory", 1.5, _peak(ours), _gibibytes, at_least=False),
    ]


def _growth(records: dict[str, Record]) -> list[Target]:
    """Return the targets of clouds that are larger than others are asked to work on."""
    source = newest(records, "scaling")
    found = []
    for family, bound in (("features", 6.0), ("cube", 3.0)):
        dense = source.one(op="rips", data=family, num_points=16_384, max_dim=1)
        what = f"N = 16,384, {family}"
        found.append(Target(what, bound, median(dense), seconds, at_least=False))
        matrices = None
        if dense is not None and dense.peak_bytes is not None:
            matrices = 1 + dense.peak_bytes / (4 * 16_384**2)
        found.append(
            Target(f"{what}, distances and peak memory", 1.3, matrices, _matrices, at_least=False)
        )
    features, cube = (
        source.one(op=OF_POINTS, data=family, num_points=size)
        for family, size in (("features", 16_384), ("cube", 100_000))
    )
    found.append(
        Target(
            "N = 16,384 features without distances, peak memory",
            1e9 / 2**30,
            _peak(features),
            _gibibytes,
            at_least=False,
        )
    )
    what = "N = 100,000 in R^3 without distances"
    found.append(Target(what, 60, median(cube), seconds, at_least=False))
    found.append(
        Target(f"{what}, peak memory", 2e9 / 2**30, _peak(cube), _gibibytes, at_least=False)
    )
    return found


def _adversarial(records: dict[str, Record]) -> Target:
    """Return how we compare with the best of the others where we compare worst."""
    source = newest(records, "adversarial")
    ratios = []
    for ours in source.where(implementation="fast"):
        others = [
            value
            for other in source.where(data=ours.data, num_points=ours.num_points)
            if other is not ours and (value := ratio(other, ours)) is not None
        ]
        ratios += [min(others)] if others else []
    return Target(
        "distances made to be hard, times faster than the best other, worst family",
        1, min(ratios, default=None), times,
    )  # fmt: skip


def _backward(records: dict[str, Record]) -> Target:
    source = newest(records, "backward")
    found = [
        source.one(implementation="fast", op="rips", data=family, num_points=1024)
        for family in FAMILIES
    ]
    known = [value for value in map(median, found) if value is not None]
    slowest = max(known) if len(known) == len(found) else None
    return Target(
        "N = 1024, backward to the distances, slowest family", 1e-3, slowest, seconds, False
    )


def _batch(records: dict[str, Record]) -> Target:
    source = newest(records, "batch")
    by_threads = {result.threads: result for result in source.where(num_points=1024)}
    measured = ratio(by_threads.get(1), by_threads.get(2))
    return Target("24 clouds of N = 1024, two cores over one", 1.7, measured, times)


def _sampling(records: dict[str, Record]) -> Target:
    source = newest(records, "sampling")
    ours = source.one(implementation="fast", num_points=30_000)
    ratios = [
        value
        for result in source.where(num_points=30_000)
        if result is not ours and (value := ratio(result, ours)) is not None
    ]
    return Target(
        "sampling 30,000 x 64 to 1,024, times faster than the best other",
        3,
        min(ratios, default=None),
        times,
    )


def _importing(records: dict[str, Record]) -> Target:
    measured = median(newest(records, "import").one(op=EVERY_NAME))
    return Target("import topodistill and every name, beyond torch", 0.3, measured, seconds, False)


def convolution_targets(records: dict[str, Record]) -> list[Target]:
    """Return what the convolution set out for, beside spconv on as many threads."""
    source = newest(records, "convolution")
    found = []
    for direction in ("forward", "backward"):
        of = {"op": "convolution", "direction": direction, "num_points": 30_000}
        ours, theirs = (source.one(implementation=name, **of) for name in ("ours", "spconv"))
        what = f"convolution {direction}, times faster than spconv"
        found.append(Target(what, 1, ratio(theirs, ours), times))
    return found


def _peak(result: Result | None) -> float | None:
    """Return the peak memory in GiB."""
    if result is None or result.peak_bytes is None:
        return None
    return result.peak_bytes / 2**30


def _matrices(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f} matrices"


def _gibibytes(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f} GiB"
