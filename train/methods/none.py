"""`--method none`: cross-entropy against the labels alone, without a teacher."""

from collections.abc import Mapping
from typing import Any

from train.data.batch import Batch
from train.methods.losses import segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.terms import LossTerm
from train.networks.protocol import Network


class CrossEntropy(DistillationMethod):
    """The baseline of every comparison, and how a teacher is trained."""

    needs_teacher = False

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return the loss against the labels."""
        del teacher
        kept = Batch.of(batch).kept
        logits = student(batch, None if kept is None else kept.geometry).logits
        return {"segmentation": segmentation_term(logits, batch, self.config.segmentation)}
