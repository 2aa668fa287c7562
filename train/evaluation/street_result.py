"""What a pass gave on one street, or on several taken together: what a record keeps of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from train.data.benchmark_rule import BenchmarkRule
from train.evaluation.feature_agreement import OwnOther
from train.evaluation.structure import StructureCounts

_NAMES: Final = frozenset({"counts", "correlations", "own_other"})


@dataclass(frozen=True)
class StreetResult:
    """Counts and agreement with the teacher on some sweeps; adds up with ``+``.

    Attributes
    ----------
    counts
        Of all sweeps.
    correlations
        The distance correlations of those sweeps that have one.
    own_other
        Name of a loss -> its own/other test on these sweeps.
    """

    counts: StructureCounts
    correlations: tuple[float, ...]
    own_other: Mapping[str, OwnOther]

    def __add__(self, other: "StreetResult") -> "StreetResult":
        if not isinstance(other, StreetResult):
            return NotImplemented
        if self.own_other.keys() != other.own_other.keys():
            raise ValueError(
                f"StreetResult: own/other tests of {sorted(self.own_other)} and of "
                f"{sorted(other.own_other)} do not add up"
            )
        return StreetResult(
            self.counts + other.counts,
            self.correlations + other.correlations,
            {name: test + other.own_other[name] for name, test in self.own_other.items()},
        )

    def scores(
        self,
        class_names: Sequence[str],
        rule: BenchmarkRule,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> dict[str, float | None]:
        """Return the scores of the counts, and those of the agreement.

        Parameters
        ----------
        class_names, rule, groups
            As of `StructureCounts.scores`.

        Returns
        -------
        dict
            What `StructureCounts.scores` returns, `distance_correlation` (mean over sweeps; None
            without one), and for each loss ``own_other_NAME``, the ratio of its test.
        """
        number = len(self.correlations)
        return {
            **self.counts.scores(class_names, rule, groups),
            "distance_correlation": sum(self.correlations) / number if number else None,
            **{f"own_other_{name}": test.ratio for name, test in self.own_other.items()},
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "counts": self.counts.to_json(),
            "correlations": list(self.correlations),
            "own_other": {name: test.to_json() for name, test in self.own_other.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the result that `to_json` gave.

        Raises
        ------
        ValueError
            If it has other entries, or one of them is damaged.
        """
        if record.keys() != _NAMES:
            odd = sorted(_NAMES ^ record.keys())
            raise ValueError(f"StreetResult: a record lacks, or should not have: {odd}")
        return cls(
            StructureCounts.from_json(record["counts"]),
            tuple(float(value) for value in record["correlations"]),
            {name: OwnOther.from_json(test) for name, test in record["own_other"].items()},
        )
