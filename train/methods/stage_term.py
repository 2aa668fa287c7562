"""Softened logits and one term more, on the features of a stage: what the controls share.

Shape letters: N_s voxels at a stage, B clouds, C channels (T teacher, S student).
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from train.methods.balance import GradientBalance, check_balance
from train.methods.kd import KDConfig, SoftenedLogits
from train.methods.stages import describe_pairs, one_pair, refuse_other_rows
from train.methods.targets import geometry_and_targets
from train.methods.terms import LossTerm, TargetChoice
from train.networks.protocol import Network


@dataclass(frozen=True, kw_only=True)
class StageTermConfig(KDConfig):
    """Which stage is compared, and how the term is weighted."""

    stage: str = "last"
    """Stage whose features are compared: last (before the classifier) or a name, enc4."""
    balance: float = 0.0
    """Instead of a weight: hold the gradient of the features' term at this share of the other
    terms'; 0 for a fixed weight."""

    own_weight: ClassVar[str | None] = None
    """The field that is the term's weight, whose default stands beside a balance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_balance(self, "balance", self.own_weight)


class StageTerm(SoftenedLogits):
    """The student of `--method kd` with a term on features added; a subclass says which.

    Attributes
    ----------
    name
        Of the term.
    """

    Config = StageTermConfig
    name: ClassVar[str]

    def __init__(
        self,
        config: StageTermConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        assert teacher is not None
        self.stages = one_pair("stage", config.stage, student, teacher)
        self.is_wanted = config.balance > 0 or self.fixed_weight > 0
        self.choice = TargetChoice(features=self.stages[1:] if self.is_wanted else ())
        self.gradient_balance = GradientBalance(config.balance) if config.balance > 0 else None

    @classmethod
    def check(cls, config: StageTermConfig, student: Network, teacher: Network | None) -> None:
        """Refuse a stage that a network does not have."""
        assert teacher is not None
        one_pair("stage", config.stage, student, teacher)

    def describe(self, student: Network, teacher: Network) -> str:
        """Return the stage that is compared."""
        if not self.is_wanted:
            return ""
        return f"{self.name} compares {describe_pairs([self.stages], student, teacher)}"

    @property
    def fixed_weight(self) -> float:
        """Weight of the term where nothing balances it; 0 leaves the term out."""
        return float(getattr(self.config, self.config.own_weight))

    @abstractmethod
    def term(self, target: Tensor, features: Tensor, offset: Tensor) -> LossTerm:
        """Return the term, with `fixed_weight`.

        Parameters
        ----------
        target, features
            [N_s, T] of the teacher, without gradient, and [N_s, S] of the student: the same voxels.
        offset
            [B] int64: where each cloud ends.
        """

    def compared(
        self, batch: Mapping[str, Any], target: Tensor, features: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows that `term` is given, and where each cloud ends among them: all."""
        del batch
        return target, features, offset

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy, divergence and the term, those of weight 0 left out."""
        geometry, targets = geometry_and_targets(student, teacher, batch, self.choice)
        output = student(batch, geometry)
        terms = self.common_terms(output.logits, targets, batch)
        if self.is_wanted:
            own, others = self.stages
            features, target = output.features[own], targets.features[others]
            refuse_other_rows("stage", own, features, target)
            terms[self.name] = self.term(
                *self.compared(batch, target, features, output.offsets[own])
            )
        if self.gradient_balance is not None:
            terms[self.name] = self.gradient_balance.weighted(terms, self.name, student)
        return terms

    def synchronize(self) -> None:
        """Let the processes agree on the weight of the term."""
        if self.gradient_balance is not None:
            self.gradient_balance.synchronize()
