"""Finding results in records: the newest run of a suite, one case's result, ratios of two."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.schema import Record, Result


@dataclass(frozen=True)
class Source:
    """The results of one suite of one run; every ratio is within one of these."""

    name: str  # of the record's file; "" where no record has the suite
    record: Record | None
    results: tuple[Result, ...]

    def where(self, **wanted: object) -> list[Result]:
        """Return the results whose fields have the given values."""
        return [
            result
            for result in self.results
            if all(getattr(result, field) == value for field, value in wanted.items())
        ]

    def one(self, **wanted: object) -> Result | None:
        """Return the only such result, or None."""
        found = self.where(**wanted)
        if len(found) > 1:
            raise ValueError(f"{self.name}: {len(found)} results have {wanted}; want one")
        return found[0] if found else None

    def pair(self, theirs: str, **wanted: object) -> tuple[Result | None, Result | None]:
        """Return our result of a case, and that of another implementation."""
        return self.one(implementation="fast", **wanted), self.one(implementation=theirs, **wanted)

    def implementations(self, **wanted: object) -> list[str]:
        """Return who has such results, in the order measured."""
        return list(dict.fromkeys(result.implementation for result in self.where(**wanted)))


def newest(records: dict[str, Record], suite: str) -> Source:
    """Return a suite's results from the newest CPU record that has it; `records` oldest first."""
    for name, record in reversed(records.items()):
        results = tuple(r for r in record.results if r.suite == suite and r.device == "cpu")
        if results:
            return Source(name, record, results)
    return Source("", None, ())


def median(result: Result | None) -> float | None:
    """Return the median of a result's seconds; None if it was not timed."""
    return None if result is None else result.p50_s


def ratio(peer: Result | None, ours: Result | None) -> float | None:
    """Return how many times faster ours is than the peer; None if either was not timed."""
    theirs, own = median(peer), median(ours)
    return None if theirs is None or own is None else theirs / own


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean; None if there is nothing, or anything missing."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    if not numbers or len(numbers) < len(known):
        return None
    return math.exp(sum(math.log(number) for number in numbers) / len(numbers))


def exponent(results: Iterable[Result]) -> float | None:
    """Return p of the least-squares fit time = c N^p, in logarithms; None below two sizes."""
    points = [(math.log(r.num_points), math.log(r.p50_s)) for r in results if r.p50_s is not None]
    if len(points) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
